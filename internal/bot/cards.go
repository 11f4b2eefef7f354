package bot

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/actionlink"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/store"
)

// Record is what the bot reads and keeps: *store.Store.
type Record interface {
	AlertOf(ctx context.Context, notification uuid.UUID) (store.Alert, error)
	Notification(ctx context.Context, id uuid.UUID) (store.Notification, error)
	BotConversation(ctx context.Context, id string) (store.BotConversation, error)
	SaveBotConversation(ctx context.Context, c store.BotConversation) error
	DropBotConversations(ctx context.Context, team, conversation string) (int, error)
}

// Painter makes the bot's cards.
type Painter struct {
	Record Record
	// Buttons signs what the buttons carry; its Base is not used.
	Buttons actionlink.Buttons
}

// Reader is the one person who sees a card, if it is not everyone.
type Reader struct {
	// Note is what they are told, "" for nothing.
	Note string
	// May says which verbs they may use: they get no other buttons. nil: all.
	May func(actions.Verb) bool
}

// Card is a notification's card as it stands now, for a conversation: what was done, and buttons of what can be done.
func (p Painter) Card(ctx context.Context, n store.Notification, conversation string, r Reader) (json.RawMessage, error) {
	a, err := p.Record.AlertOf(ctx, n.ID)
	if err != nil {
		return nil, err
	}
	list := verbs(n, a)
	if r.May != nil {
		list = slices.DeleteFunc(list, func(v cards.Verb) bool { return v != cards.VerbView && !r.May(actions.Verb(v)) })
	}
	presses, err := p.Buttons.Presses(n, conversation, list)
	if err != nil {
		return nil, err
	}
	s := standing(n)
	s.Note = r.Note
	return cards.Interactive(n.Card, s, n.ID.String(), presses)
}

// verbs are the buttons of a card: what can be done about the alert, as far as this card offers it, and looking again.
func verbs(n store.Notification, a store.Alert) []cards.Verb {
	var out []cards.Verb
	if actionlink.Asks(n) {
		for _, v := range actions.Offered(a) {
			switch {
			case v == actions.Poll && cards.EventType(n.EventType) != cards.APIErrorEvent:
			case v == actions.Escalate && cards.Priority(n.Priority) == cards.Low:
			default:
				out = append(out, cards.Verb(v))
			}
		}
	}
	if n.State != store.AlertNotice {
		out = append(out, cards.VerbView)
	}
	return out
}

// last is the verb that leads to a state.
var last = map[store.AlertState]actions.Verb{
	store.AlertAcknowledged: actions.Acknowledge, store.AlertEscalated: actions.Escalate, store.AlertRetrying: actions.Retry,
	store.AlertDiscarded: actions.Discard, store.AlertResolved: actions.Resolve,
}

// standing is what was done about the alert of a notification, and by whom: only who brought it into the state it is in.
func standing(n store.Notification) cards.Standing {
	s := cards.Standing{State: string(n.State)}
	if n.State == store.AlertOpen || n.State == store.AlertNotice {
		return cards.Standing{}
	}
	text := func(p *string) string {
		if p == nil {
			return ""
		}
		return *p
	}
	switch {
	case text(n.Taken) == string(last[n.State]):
		s.By, s.Reason = text(n.TakenBy), text(n.TakenWhy)
		if at, err := time.Parse(time.RFC3339, text(n.TakenAt)); err == nil { // else it was written before times were kept
			s.At = at
		}
	case n.State == store.AlertAcknowledged:
		s.By = text(n.AcknowledgedBy)
	}
	if s.At.IsZero() && n.State == store.AlertAcknowledged && n.AcknowledgedAt != nil {
		s.At = *n.AcknowledgedAt
	}
	return s
}

// Transport posts the cards of channels through the bot.
type Transport struct {
	Record  Record
	Painter Painter
	Poster  Poster
	Login   notify.Login
	// Channels leads from a channel to its conversation: *notify.Directory.
	Channels Channels
	// Hosts are the domains that tokens may be sent to; Insecure permits loopback hosts.
	Hosts    []string
	Insecure bool
}

// Poster posts one message: *notify.Poster.
type Poster interface {
	Activity(ctx context.Context, a notify.Activity) (notify.Result, string)
}

// Channels knows the conversations of channels.
type Channels interface {
	Bot(channel string) (conversation string, ok bool)
}

// Conversation returns where a channel's cards go; ok is false when the settings name no conversation, or the bot is not in it.
func (t *Transport) Conversation(ctx context.Context, channel string) (to notify.WebhookURL, conversation string, ok bool, err error) {
	conversation, ok = t.Channels.Bot(channel)
	if !ok {
		return to, "", false, nil
	}
	to, ok, err = t.Address(ctx, conversation)
	return to, conversation, ok, err
}

// Address returns where a conversation is reached; ok is false when the bot is not in it, or it may not be reached there.
func (t *Transport) Address(ctx context.Context, conversation string) (to notify.WebhookURL, ok bool, err error) {
	c, err := t.Record.BotConversation(ctx, conversation)
	switch {
	case store.IsNotFound(err):
		return to, false, nil
	case err != nil:
		return to, false, err
	case !AllowedService(c.ServiceURL, t.Hosts, t.Insecure):
		return to, false, nil
	}
	to, err = notify.ConversationURL(c.ServiceURL, conversation)
	return to, err == nil, nil // an address that cannot be used is none
}

// Card is a row's card for a conversation.
func (t *Transport) Card(ctx context.Context, n store.Notification, conversation string) ([]byte, error) {
	return t.Painter.Card(ctx, n, conversation, Reader{})
}

// Send posts a message, or changes the one that update names.
func (t *Transport) Send(ctx context.Context, to notify.WebhookURL, update string, body []byte) (notify.Result, string) {
	return t.Poster.Activity(ctx, notify.Activity{To: to, Update: update, Body: body, Login: t.Login})
}
