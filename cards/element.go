package cards

import (
	"bytes"
	"encoding/json"
)

// schema and version head every card. Teams documents 1.5 for bots, but its Workflows post action refuses what is above 1.4.
const (
	schemaURL = "http://adaptivecards.io/schemas/adaptive-card.json"
	version   = "1.4"

	maxActions = 5  // Teams shows six
	maxTitle   = 24 // of an action: longer ones are cut on the one line they have
	maxFacts   = 10
)

// The structs below are the elements of Adaptive Cards 1.4 that we use, with their properties' names. "rtl" came with 1.5: what
// is in the card inherits it, older hosts pass over it, and the reference renderer takes it at 1.4 without complaint.

type adaptiveCard struct {
	Type         string       `json:"type"`
	Schema       string       `json:"$schema"`
	Version      string       `json:"version"`
	FallbackText string       `json:"fallbackText"`
	RTL          bool         `json:"rtl,omitempty"`
	MSTeams      *msTeams     `json:"msteams,omitempty"`
	Body         []any        `json:"body"`
	Actions      []openAction `json:"actions,omitempty"`
}

type msTeams struct {
	Width string `json:"width"`
}

type openAction struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

type container struct {
	Type    string `json:"type"`
	ID      string `json:"id,omitempty"`
	Style   string `json:"style,omitempty"`
	Bleed   bool   `json:"bleed,omitempty"`
	Spacing string `json:"spacing,omitempty"`
	Items   []any  `json:"items"`
}

type columnSet struct {
	Type    string   `json:"type"`
	Columns []column `json:"columns"`
}

type column struct {
	Type              string `json:"type"`
	Width             string `json:"width"`
	VerticalAlignment string `json:"verticalContentAlignment,omitempty"`
	Items             []any  `json:"items"`
}

type textBlock struct {
	Type      string `json:"type"`
	ID        string `json:"id,omitempty"`
	Text      string `json:"text"`
	Weight    string `json:"weight,omitempty"`
	Size      string `json:"size,omitempty"`
	Align     string `json:"horizontalAlignment,omitempty"`
	Spacing   string `json:"spacing,omitempty"`
	Separator bool   `json:"separator,omitempty"`
	Subtle    bool   `json:"isSubtle,omitempty"`
	Wrap      bool   `json:"wrap,omitempty"`
}

type factSet struct {
	Type  string     `json:"type"`
	ID    string     `json:"id,omitempty"`
	Facts []cardFact `json:"facts"`
}

type cardFact struct {
	Title string `json:"title"`
	Value string `json:"value"`
}

type richTextBlock struct {
	Type    string    `json:"type"`
	Align   string    `json:"horizontalAlignment,omitempty"`
	Spacing string    `json:"spacing,omitempty"`
	Inlines []textRun `json:"inlines"`
}

type textRun struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	FontType string `json:"fontType,omitempty"`
	Size     string `json:"size,omitempty"`
}

// marshal writes v compactly and leaves &, < and > as they are: escaped they would grow to six bytes each.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
