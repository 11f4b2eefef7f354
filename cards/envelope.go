package cards

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

type envelope struct {
	Type        string       `json:"type"`
	Summary     string       `json:"summary"`
	Attachments []attachment `json:"attachments"`
}

type attachment struct {
	ContentType string          `json:"contentType"`
	ContentURL  *string         `json:"contentUrl"` // null: Teams refuses ""
	Content     json.RawMessage `json:"content"`
}

// Envelope wraps a card into the message that a Workflows webhook takes: one attachment, one card. An empty summary is replaced
// by the card's fallback text. The card may come from a jsonb column: spaces and the order of keys do not matter.
//
// Errors wrap ErrCard, ErrActionNotSupportedByTransport or ErrCardTooLarge; all are permanent.
func Envelope(summary string, card json.RawMessage) ([]byte, error) {
	if err := check(card); err != nil {
		return nil, err
	}
	if summary == "" {
		summary = Summary(card)
	}
	request, err := wrap(summary, card)
	if err != nil {
		return nil, err
	}
	if len(request) > HardLimit {
		return nil, fmt.Errorf("%w: %d bytes", ErrCardTooLarge, len(request))
	}
	return request, nil
}

func wrap(summary string, card json.RawMessage) ([]byte, error) {
	request, err := marshal(envelope{
		Type: "message", Summary: string(English.cut(ownLine(summary), 300)),
		Attachments: []attachment{{ContentType: "application/vnd.microsoft.card.adaptive", Content: card}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return request, nil
}

// Summary returns a card's fallback text ("HIGH: Claim rejected: CLM-1 (id)"), or "" if it has none.
func Summary(card json.RawMessage) string {
	var c struct {
		FallbackText string `json:"fallbackText"`
	}
	_ = json.Unmarshal(card, &c) // no card, no summary
	return c.FallbackText
}

// Minimal returns the card without everything but its header, footer, actions and what was done: what is sent once more when Teams found the
// card too large. A card that is minimal already is returned as it is.
//
// Errors wrap ErrCard.
func Minimal(card json.RawMessage) (json.RawMessage, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(card, &top); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCard, err)
	}
	var body []json.RawMessage
	if err := json.Unmarshal(top["body"], &body); err != nil {
		return nil, fmt.Errorf("%w: body: %w", ErrCard, err)
	}
	body = slices.DeleteFunc(body, func(e json.RawMessage) bool {
		var element struct {
			ID string `json:"id"`
		}
		_ = json.Unmarshal(e, &element) // without an id it is not kept
		return !slices.Contains([]string{"header", "footer", "status", "actions"}, element.ID)
	})
	raw, err := marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode card: %w", err)
	}
	top["body"] = raw
	return marshal(top)
}

// check refuses what a webhook cannot show.
func check(card json.RawMessage) error {
	return checkWith(card, func(string, map[string]any, bool) (bool, error) { return false, nil })
}

// allowance says whether an action that is no link may stand in a card: known is false for those that it does not decide.
type allowance func(kind string, action map[string]any, fallback bool) (known bool, err error)

func checkWith(card json.RawMessage, more allowance) error {
	var top struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(card, &top); err != nil {
		return fmt.Errorf("%w: %w", ErrCard, err)
	}
	if top.Type != "AdaptiveCard" {
		return fmt.Errorf("%w: its type is %q", ErrCard, top.Type)
	}
	var all any
	if err := json.Unmarshal(card, &all); err != nil {
		return fmt.Errorf("%w: %w", ErrCard, err)
	}
	return checkActions(all, more, false)
}

// checkActions walks through every value: actions hide in containers, columns, text runs and the refresh property too.
func checkActions(v any, more allowance, fallback bool) error {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if err := checkActions(e, more, false); err != nil {
				return err
			}
		}
	case map[string]any:
		if t, _ := v["type"].(string); strings.HasPrefix(t, "Action.") {
			if t == "Action.ShowCard" { // unfolds in the reader's own view; what is in it is checked, too
				return checkActions(v["card"], more, false)
			}
			known, err := more(t, v, fallback)
			if err != nil {
				return err
			}
			if !known && t != "Action.OpenUrl" {
				return fmt.Errorf("%w: %s", ErrActionNotSupportedByTransport, t)
			}
			if address, _ := v["url"].(string); !known && !usable(address) {
				return fmt.Errorf("%w: Action.OpenUrl with an address that is neither https nor loopback", ErrActionNotSupportedByTransport)
			}
		}
		for name, e := range v {
			if err := checkActions(e, more, name == "fallback"); err != nil {
				return err
			}
		}
	}
	return nil
}
