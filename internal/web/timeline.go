package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/claimlinc/nphiesq/internal/store"
)

// happening is one thing that happened.
type happening struct {
	At time.Time
	// Kind is the class of its mark: out, in, answer, failure, letter, decision, card, money, request, state.
	Kind string
	What phrase
	// Badge is a word of the record beside it, "" for none.
	Badge string
	// Text is of others, or a fact with no words of ours in it.
	Text string
	// Code is an identifier.
	Code string
	Link string
}

// timeline is all that is known to have happened, in order.
type timeline struct {
	Events []happening
	// Newest first, or oldest first; Turned is the address of the same page the other way round.
	NewestFirst bool
	Turned      string
}

// turn puts the timeline in the order that was asked for: the oldest first, unless ?order=newest.
func (t *timeline) turn(r *http.Request) {
	slices.SortStableFunc(t.Events, func(a, b happening) int { return a.At.Compare(b.At) })
	t.NewestFirst = r.FormValue("order") == "newest"
	t.Turned = with(r, "order", "newest")
	if t.NewestFirst {
		slices.Reverse(t.Events)
		t.Turned = with(r, "order", "")
	}
}

func (t *timeline) add(h happening) {
	if !h.At.IsZero() {
		t.Events = append(t.Events, h)
	}
}

// timeline tells the story of a claim.
func (p *claimPage) timeline() (t timeline) {
	c := p.Claim
	t.add(happening{At: c.CreatedAt, Kind: "state", What: say("Taken in"), Text: sar(c.Claimed) + " SAR"})
	if c.FirstFailedAt != nil {
		t.add(happening{At: *c.FirstFailedAt, Kind: "failure", What: say("An attempt failed; attempts so far: %s, budgets: %s", c.Attempts, c.Episode), Badge: c.ErrorKind, Code: c.ErrorCode, Text: c.ErrorText})
	}
	for _, v := range p.Versions {
		text := strings.TrimSpace(v.Outcome + " " + v.Adjudication)
		if v.Approved.Valid {
			text += ", " + sar(v.Approved) + " SAR"
		}
		t.add(happening{At: v.CreatedAt, Kind: "answer", What: say("Version %s of the answer", v.Version), Badge: string(v.State), Text: text, Link: fmt.Sprintf("#version-%d", v.Version)})
	}
	for _, x := range p.Requests {
		t.add(happening{At: x.CreatedAt, Kind: "request", What: say("The payer asks for information"), Text: strings.Join(x.Reasons, ", "), Code: x.Identifier.Value, Link: "/messages/" + x.MessageID.String()})
	}
	for _, x := range p.Tasks {
		what := say("Status check asked")
		if x.Code == "cancel" {
			what = say("Cancellation asked")
		}
		t.add(happening{At: x.CreatedAt, Kind: "out", What: what, Badge: string(x.State), Text: x.Reason, Link: "/messages/" + x.MessageID.String()})
		if x.AnsweredAt != nil {
			t.add(happening{At: *x.AnsweredAt, Kind: "in", What: say("It was answered"), Text: strings.TrimSpace(x.Result + " " + x.StatusReason)})
		}
		if x.FirstFailedAt != nil {
			t.add(happening{At: *x.FirstFailedAt, Kind: "failure", What: say("An attempt failed; attempts so far: %s, budgets: %s", x.Attempts, x.Episode), Badge: x.ErrorKind, Code: x.ErrorCode, Text: x.ErrorText})
		}
	}
	for _, x := range p.Notifications {
		link := "/notifications/" + x.ID.String()
		t.add(happening{At: x.CreatedAt, Kind: "card", What: say("Card for channel %s", x.Channel), Badge: x.Priority, Text: x.EventType, Link: link})
		if x.SentAt != nil {
			what := say("Card delivered to channel %s", x.Channel)
			if x.DigestID != nil {
				what = say("Card delivered to channel %s in a digest", x.Channel)
			}
			t.add(happening{At: *x.SentAt, Kind: "card", What: what, Badge: "sent", Text: httpStatus(x.StatusCode), Link: link})
		}
		if x.DeadAt != nil && x.SentAt == nil {
			text := ""
			if x.ErrorMessage != nil {
				text = *x.ErrorMessage
			}
			t.add(happening{At: *x.DeadAt, Kind: "failure", What: say("Card for channel %s given up", x.Channel), Badge: "dead", Text: text, Link: link})
		}
	}
	p.into(&t)
	return t
}

// into adds what claims and eligibility checks have in common.
func (p *story) into(t *timeline) {
	for _, m := range p.Messages {
		h := happening{At: m.CreatedAt, Kind: "out", What: say("Message to NPHIES"), Text: strings.TrimSpace(m.Event + " " + httpStatus(m.HTTPStatus)), Link: "/messages/" + m.ID.String(), Code: m.ID.String()}
		switch {
		case m.Direction == store.Out:
		case m.ParentID != nil:
			h.Kind, h.What = "in", say("Message from NPHIES, by the mailbox")
		default:
			h.Kind, h.What = "in", say("Message from NPHIES, as answer")
		}
		if h.Text == "" {
			h.Badge = "unreadable"
		}
		t.add(h)
	}
	for _, l := range p.Letters {
		link := "/dead/" + l.ID.String()
		if !l.FirstFailedAt.Equal(l.LastFailedAt) {
			t.add(happening{At: l.FirstFailedAt, Kind: "failure", What: say("First failure of a task that failed for good"), Text: l.TaskType, Link: link})
		}
		t.add(happening{
			At: l.LastFailedAt, Kind: "letter", What: say("Dead letter after %s retries", l.Retried), Badge: string(l.State), Code: l.ErrorCode,
			Text: strings.TrimSpace(l.ErrorText), Link: link,
		})
	}
	for _, a := range p.Actions {
		h := happening{At: a.At, Kind: "decision", What: say("%s: %s", a.Actor, say(strings.ReplaceAll(a.Verb, "_", " "))), Badge: a.Outcome, Text: a.Reason}
		switch a.TargetKind {
		case "dead_letter":
			h.Link = "/dead/" + a.Target
		case "message":
			h.Link = "/messages/" + a.Target
		case "notification":
			h.Link = "/notifications/" + a.Target
		case "task":
			h.Code = a.Target
		}
		t.add(h)
	}
	for _, x := range p.Money {
		what := say("Payment")
		t.add(happening{At: x.At, Kind: "money", What: what, Text: strings.TrimSpace(x.Detail.Type + " " + sar(x.Detail.Amount) + " SAR"), Link: "/payments/" + x.Detail.MessageID.String()})
	}
}

func httpStatus(n *int) string {
	if n == nil {
		return ""
	}
	return fmt.Sprintf("HTTP %d", *n)
}
