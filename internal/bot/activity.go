package bot

import (
	"encoding/json"
	"strings"
)

// Activity is what the Bot Framework sends, as far as it is read here.
type Activity struct {
	Type       string `json:"type"`
	Name       string `json:"name"`
	Action     string `json:"action"` // of installationUpdate: add or remove
	ID         string `json:"id"`
	ChannelID  string `json:"channelId"`
	ServiceURL string `json:"serviceUrl"`
	ReplyToID  string `json:"replyToId"`
	Text       string `json:"text"`
	From       struct {
		ID          string `json:"id"`
		AADObjectID string `json:"aadObjectId"`
		Name        string `json:"name"`
	} `json:"from"`
	Recipient struct {
		ID string `json:"id"`
	} `json:"recipient"`
	Conversation struct {
		ID       string `json:"id"`
		TenantID string `json:"tenantId"`
	} `json:"conversation"`
	ChannelData struct {
		Tenant struct {
			ID string `json:"id"`
		} `json:"tenant"`
		Team struct {
			ID string `json:"id"`
		} `json:"team"`
		Channel struct {
			ID string `json:"id"`
		} `json:"channel"`
		Settings struct {
			SelectedChannel struct {
				ID string `json:"id"`
			} `json:"selectedChannel"`
		} `json:"settings"`
		EventType string `json:"eventType"`
	} `json:"channelData"`
	MembersAdded   []member        `json:"membersAdded"`
	MembersRemoved []member        `json:"membersRemoved"`
	Value          json.RawMessage `json:"value"`
}

type member struct {
	ID string `json:"id"`
}

// The types of activities that are acted on.
const (
	typeInvoke       = "invoke"
	typeMessage      = "message"
	typeConversation = "conversationUpdate"
	typeInstallation = "installationUpdate"
	invokeCard       = "adaptiveCard/action"
)

// acts reports whether a person wants something done by it. The events of an installation name nobody, or only the installer.
func (a Activity) acts() bool { return a.Type != typeConversation && a.Type != typeInstallation }

// tenants are all that the activity names.
func (a Activity) tenants() []string {
	var out []string
	for _, t := range []string{a.ChannelData.Tenant.ID, a.Conversation.TenantID} {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}

// Conversation is an id without the message that a thread belongs to.
func Conversation(id string) string {
	id, _, _ = strings.Cut(id, ";messageid=")
	return id
}
