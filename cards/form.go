package cards

import (
	"strings"
	"time"
)

// Resolution says that the trouble of an event is over: its card repeats the title with RESOLVED and asks for nothing.
type Resolution struct {
	At time.Time `json:"at"`
	// Since is when the trouble began; zero: at Event.At.
	Since time.Time `json:"since,omitzero"`
	// AcknowledgedBy is who had taken it on, if anyone had.
	AcknowledgedBy string `json:"acknowledged_by,omitempty"`
}

// Decision is what a person decided about an event.
type Decision string

// The decisions that a card tells of.
const (
	DecisionAcknowledged Decision = "acknowledged"
	DecisionEscalated    Decision = "escalated"
	DecisionRetried      Decision = "retried"
	DecisionDiscarded    Decision = "discarded"
)

// Acknowledgement says that a person took an event on, or decided otherwise: a small card that follows the event's own, since
// a card that went through a webhook cannot be changed.
type Acknowledgement struct {
	By string    `json:"by"` // name of the person; "" when nobody knows
	At time.Time `json:"at"`
	// Decision is empty for DecisionAcknowledged.
	Decision Decision `json:"decision,omitempty"`
	Reason   string   `json:"reason,omitempty"` // the person's words
}

// Escalation says that an event is passed on to another group: its card is the event's own with who did it, why, and who knew before.
type Escalation struct {
	By     string        `json:"by"` // name of the person or program
	At     time.Time     `json:"at"`
	Reason string        `json:"reason,omitempty"` // the person's words
	From   []Stakeholder `json:"from,omitempty"`   // who heard of it before
}

// escalated puts into the card of an event that it was passed on.
func (c content) escalated(e Event, w Language) content {
	x := e.Escalated
	by := plain(x.By)
	if by == "" {
		by = w.say("unknown")
	}
	told := make([]string, 0, len(x.From))
	for _, s := range x.From {
		told = append(told, string(s))
	}
	c.counter = w.say("ESCALATED")
	c.facts = append([]fact{
		must("Escalated by", by),
		must("Escalated at", moment(x.At)),
		may("Reason", mask(x.Reason)),
		may("Told before", strings.Join(told, ", ")),
	}, c.facts...)
	return c
}

// resolved turns the card of an event into that of its end.
func (c content) resolved(e Event, w Language) content {
	r := e.Resolved
	since := r.Since
	if since.IsZero() {
		since = e.At
	}
	lasted := w.span(r.At.Sub(since))
	c.head, c.style = w.say("RESOLVED"), "good"
	c.counter = lasted
	c.facts = []fact{
		must("Resolved at", moment(r.At)),
		must("Since", moment(since)),
		must("Duration", lasted),
		must("Acknowledged by", r.AcknowledgedBy),
		may("Priority was", w.word(string(c.priority))),
	}
	c.at = r.At
	return c.small()
}

// acknowledged turns the card of an event into that of what a person decided about it.
func (c content) acknowledged(e Event, w Language) content {
	a := e.Acknowledged
	by := plain(a.By)
	if by == "" {
		by = w.say("unknown")
	}
	d := map[Decision]struct{ head, by, at phrase }{
		DecisionEscalated: {"ESCALATED", "Escalated by", "Escalated at"},
		DecisionRetried:   {"RETRIED", "Retried by", "Retried at"},
		DecisionDiscarded: {"DISCARDED", "Discarded by", "Discarded at"},
	}[a.Decision]
	if d.head == "" {
		d.head, d.by, d.at = "ACKNOWLEDGED", "Acknowledged by", "Acknowledged at"
	}
	c.head, c.style = w.say(d.head), "emphasis"
	c.counter = ""
	c.facts = []fact{
		must(d.by, by),
		must(d.at, moment(a.At)),
		may("Reason", mask(a.Reason)),
		may("Priority", w.word(string(c.priority))),
		may("Happened at", moment(c.at)),
	}
	c.at = a.At
	return c.small()
}

// small leaves of the card what a follow-up needs: no free text, and of the actions "Details".
func (c content) small() content {
	c.detail = nil
	c.actions = c.actions[max(0, len(c.actions)-1):]
	return c
}
