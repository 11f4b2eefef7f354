package cards

import "time"

// ChannelTrouble is the details of "teams.channel.failing": the webhook of a channel refuses what is posted to it, or cannot be used.
// The card goes to another channel.
type ChannelTrouble struct {
	Channel string    `json:"channel"`           // a stakeholder
	Webhook string    `json:"webhook,omitempty"` // redacted
	Failure string    `json:"failure"`           // safe text
	Since   time.Time `json:"since,omitzero"`
	Effect  string    `json:"effect,omitempty"` // what becomes of its notifications
	Remedy  string    `json:"remedy,omitempty"`
}

func buildChannelTrouble(d ChannelTrouble, e Event, l Links) content {
	since := d.Since
	if since.IsZero() {
		since = e.At
	}
	return content{
		object: d.Channel,
		facts: []fact{
			must("Channel", d.Channel),
			must("Failure", d.Failure),
			must("Since", moment(since)),
			may("Webhook", d.Webhook),
			may("Effect", d.Effect),
			may("What to do", d.Remedy),
		},
		actions: []action{{"Details", l.Monitor}},
	}
}
