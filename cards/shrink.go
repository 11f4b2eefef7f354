package cards

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Sizes of a serialised request in bytes. Teams drops a message of more than about 28 KB after having accepted it, so that
// nobody is told: cards must be small enough beforehand.
const (
	// SoftLimit is what Render keeps.
	SoftLimit = 24_576
	// HardLimit is what Envelope refuses to exceed.
	HardLimit = 28_000
)

// content is what a builder wants to show. What is no said may be untrusted: render cleans it, and escapes and cuts all.
type content struct {
	title   said   // empty: the table's
	object  string // what it is about: a claim reference, a task, a node
	counter said   // a few characters for the right side of the header
	facts   []fact
	detail  []block
	actions []action
	head    said   // stands before the title; empty: the priority's word
	style   string // of the header; empty: the priority's
	seen    said   // how often it happened, in the footer

	language      Language
	priority      Priority
	id            string
	environment   string
	correlationID string
	at            time.Time
}

// fact is a line of the fact set. An optional one without a value is left out, a required one shows a dash.
type fact struct {
	title    phrase
	value    said
	required bool
}

func must[T string | said](title phrase, value T) fact {
	return fact{title: title, value: plain(value), required: true}
}

func may[T string | said](title phrase, value T) fact { return fact{title: title, value: plain(value)} }

// block is a piece of free text, of one or more lines, with a heading of ours.
type block struct {
	heading phrase
	text    said
}

// free is a block with the text of another party.
func free(heading phrase, text string) block { return block{heading, said(freeText(text))} }

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
	c.object = cut(line(c.object), 160)
	c.title, c.counter = c.language.cut(c.title, 120), c.language.cut(c.counter, 24)
	c.environment, c.correlationID = cut(line(c.environment), 40), cut(line(c.correlationID), 80)
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

	w := c.language
	fallback := w.headed(c.head, c.priority) + ": " + w.isolate(c.title)
	if c.object != "" {
		fallback += ": " + w.isolate(said(c.object))
	}
	fallback = w.frame(fallback + " (" + w.isolate(said(c.id)) + ")")
	card := adaptiveCard{
		Type: "AdaptiveCard", Schema: schemaURL, Version: version, FallbackText: string(fallback), RTL: w == Arabic,
		MSTeams: &msTeams{Width: "Full"}, Body: body,
	}
	for _, b := range buttons(c.actions) {
		card.Actions = append(card.Actions, openAction{Type: "Action.OpenUrl", Title: string(w.say(b.title)), URL: b.url})
	}
	return card, string(fallback)
}

// headed is the word before the title: what became of the event, or its priority.
func (l Language) headed(head said, p Priority) said {
	if head != "" {
		return head
	}
	return l.word(string(p))
}

func (c content) header() container {
	w := c.language
	left := []any{textBlock{
		Type: "TextBlock", Text: escape(string(w.frame(w.headed(c.head, c.priority) + " · " + w.isolate(c.title)))),
		Weight: "Bolder", Size: "Medium", Wrap: true,
	}}
	if c.object != "" {
		left = append(left, textBlock{Type: "TextBlock", Text: escape(string(w.isolate(said(c.object)))), Spacing: "None", Wrap: true})
	}
	columns := []column{{Type: "Column", Width: "stretch", Items: left}}
	if c.counter != "" {
		columns = append(columns, column{Type: "Column", Width: "auto", VerticalAlignment: "Center", Items: []any{
			textBlock{Type: "TextBlock", Text: escape(string(w.isolate(c.counter))), Weight: "Bolder", Align: "Right"},
		}})
	}
	style := c.style
	if style == "" {
		style = styles[c.priority]
	}
	return container{
		Type: "Container", ID: "header", Style: style, Bleed: true,
		Items: []any{columnSet{Type: "ColumnSet", Columns: columns}},
	}
}

func (c content) factSet(s step) factSet {
	set := factSet{Type: "FactSet", ID: "facts"}
	for _, f := range c.facts {
		value := c.language.cut(f.value, s.value)
		switch {
		case value == "" && f.required:
			value = "–"
		case value == "", !f.required && !s.optional:
			continue
		}
		if len(set.Facts) == maxFacts {
			break
		}
		set.Facts = append(set.Facts, cardFact{
			Title: escape(string(c.language.say(f.title))), Value: escape(string(c.language.isolate(value))),
		})
	}
	return set
}

func (c content) detailContainer(s step) container {
	d := container{Type: "Container", ID: "detail", Style: "emphasis"}
	for _, b := range c.detail {
		text := c.language.paragraph(b.text, s.text)
		if text == "" {
			continue
		}
		d.Items = append(d.Items,
			textBlock{Type: "TextBlock", Text: escape(string(c.language.say(b.heading))), Weight: "Bolder", Size: "Small", Wrap: true},
			richTextBlock{Type: "RichTextBlock", Spacing: "Small", Align: align(c.language, text), Inlines: []textRun{
				{Type: "TextRun", Text: text, FontType: "Monospace", Size: "Small"},
			}})
	}
	return d
}

// align puts text that begins in Arabic to the right of a card that runs from left to right.
func align(l Language, text string) string {
	first := strings.IndexFunc(text, unicode.IsLetter)
	if r, _ := utf8.DecodeRuneInString(text[max(0, first):]); l != Arabic && rightToLeft(r) {
		return "Right"
	}
	return ""
}

func (c content) footer() container {
	w := c.language
	parts := []said{said(c.id)}
	if c.environment != "" {
		parts = append(parts, said(c.environment))
	}
	parts = append(parts, moment(c.at))
	lines := []said{w.list(parts, len(parts), " · ")}
	if c.seen != "" {
		lines = append(lines, c.seen)
	}
	if c.correlationID != "" && c.correlationID != c.id {
		lines = append(lines, w.say("correlation %s", said(c.correlationID)))
	}
	f := container{Type: "Container", ID: "footer"}
	for i, l := range lines {
		t := textBlock{Type: "TextBlock", Text: escape(string(w.frame(l))), Size: "Small", Subtle: true, Wrap: true}
		if i > 0 {
			t.Spacing = "None"
		}
		f.Items = append(f.Items, t)
	}
	return f
}
