package cards

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Sizes of a serialised request in bytes. Teams drops a message of more than about 28 KB after having accepted it, so that
// nobody is told: cards must be small enough beforehand.
const (
	// SoftLimit is what Render keeps.
	SoftLimit = 24_576
	// HardLimit is what Envelope refuses to exceed.
	HardLimit = 28_000
)

// content is what a builder wants to show. Every text in it may be untrusted: render escapes, cleans and cuts.
type content struct {
	title   string // empty: the table's
	object  string // what it is about: a claim reference, a task, a node
	counter string // a few characters for the right side of the header
	facts   []fact
	detail  []block
	actions []action

	priority      Priority
	id            string
	environment   string
	correlationID string
	at            time.Time
}

// fact is a line of the fact set. An optional one without a value is left out, a required one shows a dash.
type fact struct {
	title    string
	value    string
	required bool
}

func must(title, value string) fact { return fact{title: title, value: value, required: true} }

func may(title, value string) fact { return fact{title: title, value: value} }

// block is a piece of free text with a heading of ours.
type block struct {
	heading string
	text    string
	ours    bool // built from texts that are clean already: claim references in it may look like a person's number
}

// step is one rung of the ladder a card goes down until it fits.
type step struct {
	text     int  // runes of each free text
	value    int  // runes of each fact value
	optional bool // optional facts are shown
	detail   bool // the free texts are shown
	facts    bool // any fact is shown
}

var ladder = []step{
	{text: 2000, value: 256, optional: true, detail: true, facts: true},
	{text: 500, value: 256, optional: true, detail: true, facts: true},
	{text: 120, value: 256, optional: true, detail: true, facts: true},
	{text: 120, value: 80, optional: true, detail: true, facts: true},
	{text: 120, value: 80, detail: true, facts: true},
	{value: 80, facts: true},
	{}, // the minimal card: title, id, actions
}

// render goes down the ladder to the first card that fits.
func (c content) render() ([]byte, error) {
	c = c.prepared()
	size := 0
	for _, s := range ladder {
		card, fallback := c.on(s)
		raw, err := marshal(card)
		if err != nil {
			return nil, fmt.Errorf("encode card: %w", err)
		}
		request, err := wrap(fallback, raw)
		if err != nil {
			return nil, err
		}
		if size = len(request); size <= SoftLimit {
			return raw, nil
		}
	}
	return nil, fmt.Errorf("%w: %d bytes at least", ErrCardTooLarge, size)
}

// prepared returns c with every text clean, as the rungs only cut.
func (c content) prepared() content {
	c.title = cut(line(c.title), 120)
	c.object = cut(line(c.object), 160)
	c.counter = cut(line(c.counter), 24)
	c.environment = cut(line(c.environment), 40)
	c.correlationID = cut(line(c.correlationID), 80)
	c.facts = slices.Clone(c.facts)
	for i := range c.facts {
		c.facts[i].value = line(c.facts[i].value)
	}
	c.detail = slices.Clone(c.detail)
	for i, b := range c.detail {
		if !b.ours {
			c.detail[i].text = freeText(b.text)
		}
	}
	return c
}

// styles of the header per priority. The word is always there too: colour is never the only sign. Its text keeps the default
// colour: a coloured one cannot be read on a ground of the same colour, least of all yellow on yellow.
var styles = map[Priority]string{
	Critical: "attention", High: "warning", Medium: "accent", Low: "emphasis", Info: "default",
}

// on builds the card on rung s, and its fallback text.
func (c content) on(s step) (adaptiveCard, string) {
	body := []any{c.header()}
	if s.facts {
		if f := c.factSet(s); len(f.Facts) > 0 {
			body = append(body, f)
		}
	}
	if s.detail {
		if d := c.detailContainer(s); len(d.Items) > 0 {
			body = append(body, d)
		}
	}
	body = append(body, c.footer())

	fallback := fmt.Sprintf("%s: %s", c.priority, c.title)
	if c.object != "" {
		fallback += ": " + c.object
	}
	fallback += " (" + c.id + ")"
	card := adaptiveCard{
		Type: "AdaptiveCard", Schema: schemaURL, Version: version, FallbackText: fallback,
		MSTeams: &msTeams{Width: "Full"}, Body: body,
	}
	for _, b := range buttons(c.actions) {
		card.Actions = append(card.Actions, openAction{Type: "Action.OpenUrl", Title: b.title, URL: b.url})
	}
	return card, fallback
}

func (c content) header() container {
	left := []any{textBlock{
		Type: "TextBlock", Text: string(c.priority) + " · " + escape(c.title),
		Weight: "Bolder", Size: "Medium", Wrap: true,
	}}
	if c.object != "" {
		left = append(left, textBlock{Type: "TextBlock", Text: escape(c.object), Spacing: "None", Wrap: true})
	}
	columns := []column{{Type: "Column", Width: "stretch", Items: left}}
	if c.counter != "" {
		columns = append(columns, column{Type: "Column", Width: "auto", VerticalAlignment: "Center", Items: []any{
			textBlock{Type: "TextBlock", Text: escape(c.counter), Weight: "Bolder", Align: "Right"},
		}})
	}
	return container{
		Type: "Container", ID: "header", Style: styles[c.priority], Bleed: true,
		Items: []any{columnSet{Type: "ColumnSet", Columns: columns}},
	}
}

func (c content) factSet(s step) factSet {
	set := factSet{Type: "FactSet", ID: "facts"}
	for _, f := range c.facts {
		value := cut(f.value, s.value)
		switch {
		case value == "" && f.required:
			value = "–"
		case value == "", !f.required && !s.optional:
			continue
		}
		if len(set.Facts) == maxFacts {
			break
		}
		set.Facts = append(set.Facts, cardFact{Title: escape(f.title), Value: escape(value)})
	}
	return set
}

func (c content) detailContainer(s step) container {
	d := container{Type: "Container", ID: "detail", Style: "emphasis"}
	for _, b := range c.detail {
		text := cut(b.text, s.text)
		if text == "" {
			continue
		}
		d.Items = append(d.Items,
			textBlock{Type: "TextBlock", Text: escape(b.heading), Weight: "Bolder", Size: "Small", Wrap: true},
			richTextBlock{Type: "RichTextBlock", Spacing: "Small", Inlines: []textRun{
				{Type: "TextRun", Text: text, FontType: "Monospace", Size: "Small"},
			}})
	}
	return d
}

func (c content) footer() container {
	parts := []string{c.id}
	if c.environment != "" {
		parts = append(parts, c.environment)
	}
	parts = append(parts, moment(c.at))
	lines := []string{strings.Join(parts, " · ")}
	if c.correlationID != "" && c.correlationID != c.id {
		lines = append(lines, "correlation "+c.correlationID)
	}
	f := container{Type: "Container", ID: "footer"}
	for i, l := range lines {
		t := textBlock{Type: "TextBlock", Text: escape(l), Size: "Small", Subtle: true, Wrap: true}
		if i > 0 {
			t.Spacing = "None"
		}
		f.Items = append(f.Items, t)
	}
	return f
}
