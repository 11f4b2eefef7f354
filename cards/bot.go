package cards

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// botVersion heads the cards of the bot: Teams shows it what it does not show to webhooks.
const botVersion = "1.5"

// VerbView shows the card anew. It changes nothing.
const VerbView Verb = "view"

// The fields of what a button of the bot sends: the notification, the token, how far a question has come, and what was typed.
const (
	FieldAlert  = "a"
	FieldToken  = "t"
	FieldStep   = "step"
	FieldReason = "reason"
	FieldVerb   = "verb"
)

// Steps of what needs a reason.
const (
	// StepReason: the reason was typed.
	StepReason = "reason"
	// StepConfirm: the person has read it again and confirms.
	StepConfirm = "confirm"
)

// Press is a button of the bot.
type Press struct {
	Verb Verb
	// Token is an action token for this alert, verb and conversation.
	Token string
}

// Standing is what was done about an alert, as its card shows it.
type Standing struct {
	// State is open, acknowledged, escalated, retrying, discarded or resolved. Nothing is shown for open.
	State string
	// By is who did it, "" for nobody; At may be zero; Reason is the person's words.
	By     string
	At     time.Time
	Reason string
	// Note is for the reader alone: what came of their press.
	Note string
}

// standings are the words for states.
var standings = map[string]struct{ alone, by phrase }{
	"acknowledged": {"Acknowledged", "Acknowledged by %s"},
	"escalated":    {"Escalated", "Escalated by %s"},
	"retrying":     {"Tried again", "Tried again by %s"},
	"discarded":    {"Discarded", "Discarded by %s"},
	"resolved":     {"Resolved", "Resolved by %s"},
}

// Words of the questions.
const (
	askDiscard  phrase = "Why is it given up? Those who come after must understand the decision."
	askRetry    phrase = "Why is it tried again? Those who come after must understand the decision."
	askHint     phrase = "Reason"
	askNext     phrase = "Continue"
	askBack     phrase = "Back"
	askConfirm  phrase = "Discard for good"
	askYourWord phrase = "Your reason:"
)

type executeAction struct {
	Type     string            `json:"type"`
	Title    string            `json:"title,omitempty"`
	Verb     string            `json:"verb"`
	Data     map[string]string `json:"data"`
	Fallback any               `json:"fallback,omitempty"`
}

type submitAction struct {
	Type  string            `json:"type"`
	Title string            `json:"title"`
	Data  map[string]string `json:"data"`
}

type actionSet struct {
	Type    string          `json:"type"`
	ID      string          `json:"id"`
	Actions []executeAction `json:"actions"`
}

type inputText struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	Label       string `json:"label"`
	Multiline   bool   `json:"isMultiline"`
	MaxLength   int    `json:"maxLength"`
	Required    bool   `json:"isRequired"`
	Value       string `json:"value,omitempty"`
	ErrorHint   string `json:"errorMessage"`
	Placeholder string `json:"placeholder,omitempty"`
}

// maxReason is the longest reason, in characters.
const maxReason = 500

// execute is a button with its fallback for clients that do not know Action.Execute.
func execute(w Language, title phrase, p Press, alert string, more map[string]string, fallback bool) executeAction {
	data := map[string]string{FieldAlert: alert, FieldToken: p.Token}
	maps.Copy(data, more)
	a := executeAction{Type: "Action.Execute", Title: string(w.say(title)), Verb: "alert." + string(p.Verb), Data: data}
	if fallback {
		plain := map[string]string{FieldVerb: a.Verb}
		maps.Copy(plain, data)
		a.Fallback = submitAction{Type: "Action.Submit", Title: a.Title, Data: plain}
	}
	return a
}

// opened is a card taken apart.
type opened struct {
	top      map[string]json.RawMessage
	body     []json.RawMessage
	language Language
}

func open(card json.RawMessage) (o opened, err error) {
	if err = json.Unmarshal(card, &o.top); err != nil {
		return o, fmt.Errorf("%w: %w", ErrCard, err)
	}
	if err = json.Unmarshal(o.top["body"], &o.body); err != nil {
		return o, fmt.Errorf("%w: body: %w", ErrCard, err)
	}
	if string(o.top["rtl"]) == "true" {
		o.language = Arabic
	}
	return o, nil
}

// close puts the card together again.
func (o opened) close() (json.RawMessage, error) {
	body, err := marshal(o.body)
	if err != nil {
		return nil, fmt.Errorf("encode card: %w", err)
	}
	o.top["body"] = body
	o.top["version"] = json.RawMessage(`"` + botVersion + `"`)
	out, err := marshal(o.top)
	if err != nil {
		return nil, fmt.Errorf("encode card: %w", err)
	}
	return out, nil
}

// insert puts an element into the body.
func (o *opened) insert(at int, element any) error {
	raw, err := marshal(element)
	if err != nil {
		return fmt.Errorf("encode card: %w", err)
	}
	o.body = slices.Insert(o.body, min(at, len(o.body)), raw)
	return nil
}

// Interactive is a card of the bot: the alert's own one with what was done about it below its header, and the buttons of what can still be
// done as Action.Execute. A press with VerbView becomes its refresh. alert is the notification's id. If the message becomes too large by it,
// the rest of the card is made minimal.
//
// Errors wrap ErrCard, ErrEvent (an unknown verb).
func Interactive(card json.RawMessage, s Standing, alert string, presses []Press) (json.RawMessage, error) {
	o, err := open(card)
	if err != nil {
		return nil, err
	}
	w := o.language
	if status := s.container(w); status != nil {
		if err := o.insert(1, status); err != nil {
			return nil, err
		}
	}
	set := actionSet{Type: "ActionSet", ID: "actions"}
	for _, p := range presses {
		if p.Verb == VerbView {
			refresh, err := marshal(map[string]any{"action": execute(w, "", p, alert, nil, false)})
			if err != nil {
				return nil, fmt.Errorf("encode card: %w", err)
			}
			o.top["refresh"] = refresh
			continue
		}
		title, ok := verbTitles[p.Verb]
		if !ok {
			return nil, fmt.Errorf("%w: a button with the verb %q", ErrEvent, p.Verb)
		}
		set.Actions = append(set.Actions, execute(w, title, p, alert, nil, true))
	}
	if len(set.Actions) > 0 {
		if err := o.insert(len(o.body), set); err != nil {
			return nil, err
		}
	}
	out, err := o.close()
	if err != nil {
		return nil, err
	}
	if request, err := wrap(Summary(out), out); err != nil || len(request) > SoftLimit {
		return Minimal(out)
	}
	return out, nil
}

// container shows what was done, nil for nothing.
func (s Standing) container(w Language) *container {
	c := &container{Type: "Container", ID: "status", Style: "emphasis"}
	if words, ok := standings[s.State]; ok {
		text := w.say(words.alone)
		if s.By != "" {
			text = w.say(words.by, s.By)
		}
		if !s.At.IsZero() {
			text += " · " + moment(s.At)
		}
		c.Items = append(c.Items, textBlock{Type: "TextBlock", Text: escape(string(text)), Weight: "Bolder", Wrap: true})
		if s.State != "escalated" && s.State != "retrying" {
			c.Style = "good"
		}
	}
	if s.Reason != "" && len(c.Items) > 0 {
		c.Items = append(c.Items, quote(s.Reason))
	}
	if s.Note != "" {
		c.Items = append(c.Items, textBlock{Type: "TextBlock", ID: "note", Text: escape(string(plain(s.Note))), Wrap: true, Separator: len(c.Items) > 0})
	}
	if len(c.Items) == 0 {
		return nil
	}
	return c
}

// quote shows a person's words: free text stands in a run, where nothing of it is a link.
func quote(text string) richTextBlock {
	return richTextBlock{Type: "RichTextBlock", Inlines: []textRun{{Type: "TextRun", Text: SafeLine(text, maxReason)}}}
}

// Ask is the form that asks for the reason of a verb: retry or discard. back shows the card again.
//
// Errors wrap ErrCard.
func Ask(card json.RawMessage, p Press, back Press, alert, note string) (json.RawMessage, error) {
	question := askRetry
	if p.Verb == VerbDiscard {
		question = askDiscard
	}
	return form(card, note, func(w Language) ([]any, actionSet) {
		body := []any{textBlock{Type: "TextBlock", Text: escape(string(w.say(question))), Wrap: true}}
		if p.Verb == VerbDiscard {
			body = append([]any{textBlock{Type: "TextBlock", Text: escape(string(w.say(discardWarning))), Wrap: true, Weight: "Bolder"}}, body...)
		}
		body = append(body, inputText{
			Type: "Input.Text", ID: FieldReason, Label: string(w.say(askHint)), Multiline: true, MaxLength: maxReason, Required: true, ErrorHint: string(w.say(askHint)),
		})
		return body, actionSet{Type: "ActionSet", ID: "actions", Actions: []executeAction{
			execute(w, askNext, p, alert, map[string]string{FieldStep: StepReason}, false), execute(w, askBack, back, alert, nil, false),
		}}
	})
}

// Confirm shows the reason once more and asks whether the work is to be given up.
//
// Errors wrap ErrCard.
func Confirm(card json.RawMessage, p Press, back Press, alert, reason string) (json.RawMessage, error) {
	return form(card, "", func(w Language) ([]any, actionSet) {
		body := []any{
			textBlock{Type: "TextBlock", Text: escape(string(w.say(discardWarning))), Wrap: true, Weight: "Bolder"},
			textBlock{Type: "TextBlock", Text: escape(string(w.say(askYourWord))), Wrap: true},
			quote(reason),
		}
		return body, actionSet{Type: "ActionSet", ID: "actions", Actions: []executeAction{
			execute(w, askConfirm, p, alert, map[string]string{FieldStep: StepConfirm, FieldReason: reason}, false), execute(w, askBack, back, alert, nil, false),
		}}
	})
}

// form keeps of a card its header and footer and puts a question between them.
func form(card json.RawMessage, note string, ask func(Language) ([]any, actionSet)) (json.RawMessage, error) {
	small, err := Minimal(card)
	if err != nil {
		return nil, err
	}
	o, err := open(small)
	if err != nil {
		return nil, err
	}
	delete(o.top, "actions")
	delete(o.top, "refresh")
	elements, set := ask(o.language)
	if note != "" {
		elements = append(elements, textBlock{Type: "TextBlock", ID: "note", Text: escape(string(plain(note))), Wrap: true})
	}
	for i, e := range append(elements, set) {
		if err := o.insert(1+i, e); err != nil {
			return nil, err
		}
	}
	return o.close()
}

// BotEnvelope wraps a card into the message that the bot posts. Its card may have Action.Execute, with a verb, and Action.Submit as the
// fallback of one; a card of a webhook never.
//
// Errors wrap ErrCard, ErrActionNotSupportedByTransport or ErrCardTooLarge; all are permanent.
func BotEnvelope(summary string, card json.RawMessage) ([]byte, error) {
	if err := checkWith(card, botActions); err != nil {
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

// botActions allows what the bot's own endpoint answers to.
func botActions(kind string, action map[string]any, fallback bool) (known bool, err error) {
	switch kind {
	case "Action.Execute":
		if verb, _ := action["verb"].(string); !strings.HasPrefix(verb, "alert.") {
			return true, fmt.Errorf("%w: Action.Execute without a verb of ours", ErrActionNotSupportedByTransport)
		}
		return true, nil
	case "Action.Submit":
		if !fallback {
			return true, fmt.Errorf("%w: Action.Submit that is no fallback", ErrActionNotSupportedByTransport)
		}
		return true, nil
	}
	return false, nil
}
