package actions

import "github.com/claimlinc/nphiesq/internal/store"

// step is what a verb does to an alert in a state.
type step struct {
	outcome Outcome
	next    store.AlertState
}

// machine is the table of section 5 of the protocol. Poll is not in it: it changes no state.
var machine = map[store.AlertState]map[Verb]step{
	store.AlertOpen: {
		Acknowledge: {Applied, store.AlertAcknowledged}, Escalate: {Applied, store.AlertEscalated},
		Retry: {Applied, store.AlertRetrying}, Discard: {Applied, store.AlertDiscarded}, Resolve: {Applied, store.AlertResolved},
	},
	store.AlertAcknowledged: {
		Acknowledge: {Already, store.AlertAcknowledged}, Escalate: {Applied, store.AlertEscalated},
		Retry: {Applied, store.AlertRetrying}, Discard: {Applied, store.AlertDiscarded}, Resolve: {Applied, store.AlertResolved},
	},
	store.AlertEscalated: {
		Acknowledge: {Applied, store.AlertAcknowledged}, Escalate: {Already, store.AlertEscalated},
		Retry: {Applied, store.AlertRetrying}, Discard: {Applied, store.AlertDiscarded}, Resolve: {Applied, store.AlertResolved},
	},
	store.AlertRetrying: {
		Acknowledge: {Applied, store.AlertRetrying}, Escalate: {Applied, store.AlertEscalated},
		Retry: {Already, store.AlertRetrying}, Discard: {Refused, store.AlertRetrying}, Resolve: {Applied, store.AlertResolved},
	},
	store.AlertDiscarded: {
		Acknowledge: {Refused, store.AlertDiscarded}, Escalate: {Refused, store.AlertDiscarded},
		Retry: {Refused, store.AlertDiscarded}, Discard: {Already, store.AlertDiscarded}, Resolve: {Already, store.AlertDiscarded},
	},
	store.AlertResolved: {
		Acknowledge: {Refused, store.AlertResolved}, Escalate: {Refused, store.AlertResolved},
		Retry: {Refused, store.AlertResolved}, Discard: {Refused, store.AlertResolved}, Resolve: {Already, store.AlertResolved},
	},
}

// Offered lists what can be done about an alert now, in the order of its buttons.
func Offered(a store.Alert) []Verb {
	var out []Verb
	for _, v := range []Verb{Acknowledge, Escalate, Retry, Poll, Resolve, Discard} {
		switch {
		case v == Poll:
			if a.License == "" || a.State.Over() {
				continue
			}
		case machine[a.State][v].outcome != Applied:
			continue
		case (v == Retry || v == Discard) && a.LetterID == nil:
			continue
		case v == Acknowledge && a.AcknowledgedAt != nil && a.State == store.AlertRetrying:
			continue
		}
		out = append(out, v)
	}
	return out
}
