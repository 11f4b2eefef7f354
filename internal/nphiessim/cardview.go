package nphiessim

import (
	"slices"
	"strings"
)

// block is a card element made ready for the page. Its strings are untrusted; the template escapes them.
type block struct {
	Kind    string
	Class   string
	Runs    []run
	Facts   []fact
	Actions []action
	Blocks  []block
}

// run is a piece of text; with a URL it is a link.
type run struct{ Text, Class, URL string }

type fact struct{ Title, Value []run }

// action is a button: a link, a card that opens, or a bare title.
type action struct {
	Title  string
	URL    string
	Blocks []block
}

// blocksOf renders a whole card: the elements of its body, then its actions.
func blocksOf(card node) []block {
	out := elements(card.get("body"))
	if actions := actionsOf(card.get("actions")); len(actions) > 0 {
		out = append(out, block{Kind: "actions", Actions: actions})
	}
	return out
}

func elements(list node) []block {
	var out []block
	for _, e := range list.list() {
		b := element(e)
		if visible, ok := e.get("isVisible").v.(bool); ok && !visible {
			b = block{Kind: "hidden", Blocks: []block{b}}
		}
		out = append(out, b)
	}
	return out
}

func element(e node) block {
	class := classOf(e)
	switch kind := e.get("type").str(); kind {
	case "TextBlock":
		return block{Kind: "text", Class: class, Runs: markdown(e.get("text").str())}
	case "RichTextBlock":
		b := block{Kind: "rich", Class: class}
		for _, r := range e.get("inlines").list() {
			text := r.str()
			if text == "" {
				text = r.get("text").str()
			}
			b.Runs = append(b.Runs, run{Text: text, Class: classOf(r)})
		}
		return b
	case "FactSet":
		b := block{Kind: "facts", Class: class}
		for _, f := range e.get("facts").list() {
			b.Facts = append(b.Facts, fact{markdown(f.get("title").str()), markdown(f.get("value").str())})
		}
		return b
	case "Container":
		return block{Kind: "container", Class: strings.TrimSpace(class + containerClass(e)), Blocks: elements(e.get("items"))}
	case "ColumnSet":
		b := block{Kind: "columns", Class: class}
		for _, c := range e.get("columns").list() {
			width := ""
			if c.get("width").str() == "auto" {
				width = " auto"
			}
			b.Blocks = append(b.Blocks, block{Kind: "column", Class: classOf(c) + width, Blocks: elements(c.get("items"))})
		}
		return b
	case "ActionSet":
		return block{Kind: "actions", Class: class, Actions: actionsOf(e.get("actions"))}
	case "":
		return block{Kind: "An element without a type"}
	default:
		return block{Kind: kind}
	}
}

func actionsOf(list node) []action {
	var out []action
	for _, a := range list.list() {
		act := action{Title: a.get("title").str()}
		switch a.get("type").str() {
		case "Action.OpenUrl":
			act.URL = a.get("url").str()
		case "Action.ShowCard":
			act.Blocks = blocksOf(a.get("card"))
		default:
		}
		out = append(out, act)
	}
	return out
}

// classOf translates the looks of an element; only known words become class names.
func classOf(e node) string {
	var out []string
	add := func(element, prefix string, known ...string) {
		for _, k := range known {
			if strings.EqualFold(e.get(element).str(), k) {
				out = append(out, prefix+k)
			}
		}
	}
	add("weight", "", "bolder", "lighter")
	add("size", "", "small", "medium", "large", "extraLarge")
	add("color", "tone-", "good", "attention", "warning", "accent")
	if e.get("isSubtle").isTrue() {
		out = append(out, "subtle")
	}
	if e.get("separator").isTrue() {
		out = append(out, "sep")
	}
	if strings.EqualFold(e.get("fontType").str(), "monospace") {
		out = append(out, "mono")
	}
	return strings.Join(out, " ")
}

func containerClass(e node) string {
	style := strings.ToLower(e.get("style").str())
	if !slices.Contains([]string{"emphasis", "good", "attention", "warning", "accent"}, style) {
		return " plain"
	}
	if e.get("bleed").isTrue() {
		style += " bleed"
	}
	return " " + style
}

// markdown reads the subset that Teams processes in text blocks and facts: backslash escapes, **bold**, _italic_ is left
// as it is, [links](https://…).
func markdown(text string) []run {
	var out []run
	var plain strings.Builder
	bold := false
	flush := func() {
		if plain.Len() == 0 {
			return
		}
		class := ""
		if bold {
			class = "bolder"
		}
		out = append(out, run{Text: plain.String(), Class: class})
		plain.Reset()
	}
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && strings.IndexByte("\\`*_[]()<>#~|-+.!{}", text[i+1]) >= 0:
			i++
			plain.WriteByte(text[i])
		case strings.HasPrefix(text[i:], "**") && (bold || strings.Contains(text[i+2:], "**")):
			flush()
			bold = !bold
			i++
		case text[i] == '[':
			label, url, size := link(text[i:])
			if size == 0 {
				plain.WriteByte(text[i])
				continue
			}
			flush()
			out = append(out, run{Text: label, URL: url})
			i += size - 1
		default:
			plain.WriteByte(text[i])
		}
	}
	flush()
	return out
}

// link reads "[label](url)" at the beginning of text; size is 0 if there is none.
func link(text string) (label, url string, size int) {
	end := strings.Index(text, "](")
	if end < 0 {
		return "", "", 0
	}
	closing := strings.IndexByte(text[end:], ')')
	if closing < 0 || strings.ContainsAny(text[1:end], "[]\n") {
		return "", "", 0
	}
	url = text[end+2 : end+closing]
	if !openable(url) {
		return "", "", 0
	}
	return text[1:end], url, end + closing + 1
}
