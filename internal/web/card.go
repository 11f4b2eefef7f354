package web

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
)

// cardNode is an element of an Adaptive Card, of the kinds that our cards are made of. It is shown as inert text: what is
// no kind of ours is left out, and links go only where cards may lead.
type cardNode struct {
	Kind string
	// Text of a TextBlock or a RichTextBlock; Bold, Subtle, Large and Mono are how it looks, End puts it at the end of its line.
	Text                           string
	Bold, Subtle, Large, Mono, End bool
	// Style of a Container: attention, warning, good, accent, emphasis.
	Style string
	// Wide: a column that takes what is left.
	Wide bool
	// Separated: there is a line above it.
	Separated bool
	Facts     []fact
	Children  []cardNode
	// Links are actions that open an address.
	Links []cardLink
}

type cardLink struct{ Title, URL string }

// card is an Adaptive Card taken apart.
type card struct {
	Body  []cardNode
	Links []cardLink
	// RTL: the card is written from right to left.
	RTL bool
	// Broken: it is no card that we can read.
	Broken bool
	Raw    string
}

const cardDepth = 12

// rawElement are the properties of all kinds that are read.
type rawElement struct {
	Type      string            `json:"type"`
	Text      string            `json:"text"`
	Weight    string            `json:"weight"`
	Size      string            `json:"size"`
	Subtle    bool              `json:"isSubtle"`
	Separator bool              `json:"separator"`
	Align     string            `json:"horizontalAlignment"`
	Style     string            `json:"style"`
	Width     any               `json:"width"`
	Items     []json.RawMessage `json:"items"`
	Columns   []json.RawMessage `json:"columns"`
	Actions   []json.RawMessage `json:"actions"`
	Inlines   []json.RawMessage `json:"inlines"`
	Facts     []struct {
		Title string `json:"title"`
		Value string `json:"value"`
	} `json:"facts"`
	FontType string `json:"fontType"`
	Title    string `json:"title"`
	URL      string `json:"url"`
}

// readCard takes a card apart for the page.
func readCard(raw json.RawMessage) card {
	var top struct {
		Type    string            `json:"type"`
		Body    []json.RawMessage `json:"body"`
		Actions []json.RawMessage `json:"actions"`
		RTL     bool              `json:"rtl"`
	}
	c := card{Raw: indented(raw)}
	if err := json.Unmarshal(raw, &top); err != nil || top.Type != "AdaptiveCard" {
		c.Broken = true
		return c
	}
	c.RTL, c.Body, c.Links = top.RTL, cardNodes(top.Body, 0), cardLinks(top.Actions)
	return c
}

func indented(raw json.RawMessage) string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // it was read from JSON
	return b.String()
}

func cardNodes(raw []json.RawMessage, depth int) (out []cardNode) {
	if depth > cardDepth {
		return nil
	}
	for _, r := range raw {
		var e rawElement
		if json.Unmarshal(r, &e) != nil {
			continue
		}
		n := cardNode{
			Kind: e.Type, Text: plain(e.Text), Bold: e.Weight == "Bolder", Subtle: e.Subtle, Separated: e.Separator, Large: e.Size == "Medium" || e.Size == "Large" || e.Size == "ExtraLarge",
			End: e.Align == "Right", Style: cardStyle(e.Style), Wide: e.Width == "stretch",
		}
		switch e.Type {
		case "TextBlock":
		case "RichTextBlock":
			for _, in := range e.Inlines {
				var run rawElement
				var text string
				if json.Unmarshal(in, &text) == nil {
					n.Text += text
				} else if json.Unmarshal(in, &run) == nil {
					n.Text += run.Text // runs know no markdown
					n.Mono = n.Mono || run.FontType == "Monospace"
				}
			}
		case "FactSet":
			for _, f := range e.Facts {
				n.Facts = append(n.Facts, fact{plain(f.Title), plain(f.Value)})
			}
		case "Container", "Column":
			n.Children = cardNodes(e.Items, depth+1)
		case "ColumnSet":
			n.Children = cardNodes(columnsOf(e.Columns), depth+1)
		case "ActionSet":
			n.Links = cardLinks(e.Actions)
		default:
			continue
		}
		out = append(out, n)
	}
	return out
}

// columnsOf gives columns their type, which cards may leave out.
func columnsOf(raw []json.RawMessage) (out []json.RawMessage) {
	for _, r := range raw {
		var e map[string]json.RawMessage
		if json.Unmarshal(r, &e) != nil {
			continue
		}
		if _, ok := e["type"]; !ok {
			e["type"] = json.RawMessage(`"Column"`)
			r, _ = json.Marshal(e)
		}
		out = append(out, r)
	}
	return out
}

func cardLinks(raw []json.RawMessage) (out []cardLink) {
	for _, r := range raw {
		var e rawElement
		if json.Unmarshal(r, &e) != nil || e.Type != "Action.OpenUrl" {
			continue
		}
		if u, err := url.Parse(e.URL); err != nil || (u.Scheme != "https" && u.Scheme != "http") {
			e.URL = ""
		}
		out = append(out, cardLink{e.Title, e.URL})
	}
	return out
}

var cardStyles = map[string]bool{"attention": true, "warning": true, "good": true, "accent": true, "emphasis": true}

func cardStyle(s string) string {
	if cardStyles[s] {
		return s
	}
	return ""
}

var escaped = regexp.MustCompile(`\\([\\` + "`" + `*_{}\[\]()#+\-.!<>~|&])`)

// plain takes the escapes of markdown out of a text.
func plain(s string) string { return escaped.ReplaceAllString(s, "$1") }
