package cards

import (
	"encoding/json"
	"fmt"
)

// Verb is what a button of a card does.
type Verb string

// The verbs of buttons.
const (
	VerbAcknowledge Verb = "acknowledge"
	VerbEscalate    Verb = "escalate"
	VerbRetry       Verb = "retry"
	VerbDiscard     Verb = "discard"
	VerbPoll        Verb = "poll"
	VerbResolve     Verb = "resolve"
)

// Button leads to a page on which a person confirms a verb.
type Button struct {
	Verb Verb
	// URL is https, or http on a loopback host. It is a credential: it stands in no card that is kept.
	URL string
}

var verbTitles = map[Verb]phrase{
	VerbAcknowledge: "Acknowledge", VerbEscalate: "Escalate", VerbRetry: "Retry", VerbDiscard: "Discard…", VerbPoll: "Ask NPHIES now", VerbResolve: "Resolve",
}

// discardWarning stands between the button and the link of what cannot be taken back.
const discardWarning phrase = "The work behind it is given up for good, and the claim ends in error. A reason is needed."

type showCard struct {
	Type  string    `json:"type"`
	Title string    `json:"title"`
	Card  innerCard `json:"card"`
}

// innerCard unfolds below its button.
type innerCard struct {
	Type    string       `json:"type"`
	Version string       `json:"version"`
	RTL     bool         `json:"rtl,omitempty"`
	Body    []any        `json:"body"`
	Actions []openAction `json:"actions"`
}

// WithButtons puts buttons before the card's own ones, in their order; of those, the last ("Details") stays last, and others give way when
// there would be more than five. If the message becomes too large by it, the rest of the card is made minimal.
//
// Errors wrap ErrCard, ErrActionNotSupportedByTransport (an address that may not stand in a card), ErrEvent (an unknown verb).
func WithButtons(card json.RawMessage, buttons []Button) (json.RawMessage, error) {
	if len(buttons) == 0 {
		return card, nil
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(card, &top); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCard, err)
	}
	var w Language
	if string(top["rtl"]) == "true" {
		w = Arabic
	}
	var own []json.RawMessage
	if raw, ok := top["actions"]; ok {
		if err := json.Unmarshal(raw, &own); err != nil {
			return nil, fmt.Errorf("%w: actions: %w", ErrCard, err)
		}
	}
	var all []json.RawMessage
	for _, b := range buttons {
		title, ok := verbTitles[b.Verb]
		if !ok {
			return nil, fmt.Errorf("%w: a button with the verb %q", ErrEvent, b.Verb)
		}
		if !usable(b.URL) {
			return nil, fmt.Errorf("%w: a button with an address that is neither https nor loopback", ErrActionNotSupportedByTransport)
		}
		var what any = openAction{Type: "Action.OpenUrl", Title: string(w.say(title)), URL: b.URL}
		if b.Verb == VerbDiscard {
			what = showCard{Type: "Action.ShowCard", Title: string(w.say(title)), Card: innerCard{
				Type: "AdaptiveCard", Version: version, RTL: w == Arabic,
				Body:    []any{textBlock{Type: "TextBlock", Text: escape(string(w.say(discardWarning))), Wrap: true}},
				Actions: []openAction{{Type: "Action.OpenUrl", Title: string(w.say(title)), URL: b.URL}},
			}}
		}
		raw, err := marshal(what)
		if err != nil {
			return nil, fmt.Errorf("encode button: %w", err)
		}
		all = append(all, raw)
	}
	if len(own) > 0 { // those in the middle give way
		details := own[len(own)-1]
		room := max(0, maxActions-1-len(all))
		all = append(append(all[:min(len(all), maxActions-1)], own[:min(room, len(own)-1)]...), details)
	}
	raw, err := marshal(all[:min(len(all), maxActions)])
	if err != nil {
		return nil, fmt.Errorf("encode buttons: %w", err)
	}
	top["actions"] = raw
	out, err := marshal(top)
	if err != nil {
		return nil, fmt.Errorf("encode card: %w", err)
	}
	if request, err := wrap(Summary(out), out); err != nil || len(request) > SoftLimit {
		return Minimal(out)
	}
	return out, nil
}
