package cards

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// shown is what a card's reader gets.
type shown struct {
	texts    []string // TextBlock texts, fact titles and values: Markdown
	literals []string // text runs
	actions  []string // addresses
	titles   []string
	headings []string // titles of facts, headings of free texts
	values   []string // of facts
	ids      []string
}

func (s *shown) walk(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			s.walk(e)
		}
	case map[string]any:
		if id, ok := v["id"].(string); ok {
			s.ids = append(s.ids, id)
		}
		text, _ := v["text"].(string)
		switch v["type"] {
		case "TextBlock":
			s.texts = append(s.texts, text)
			if v["weight"] == "Bolder" && v["size"] == "Small" {
				s.headings = append(s.headings, text)
			}
		case "TextRun":
			s.literals = append(s.literals, text)
		case "FactSet":
			for _, f := range v["facts"].([]any) {
				f := f.(map[string]any)
				s.texts = append(s.texts, f["title"].(string), f["value"].(string))
				s.headings, s.values = append(s.headings, f["title"].(string)), append(s.values, f["value"].(string))
			}
		case "Action.OpenUrl":
			s.actions = append(s.actions, v["url"].(string))
			s.titles = append(s.titles, v["title"].(string))
		}
		for _, e := range v {
			s.walk(e)
		}
	}
}

func read(tb testing.TB, card []byte) (map[string]any, shown) {
	tb.Helper()
	var top map[string]any
	require.NoError(tb, json.Unmarshal(card, &top))
	var s shown
	s.walk(top)
	return top, s
}

// checkCard asserts what holds for every card.
func checkCard(tb testing.TB, schema *jsonschema.Schema, card []byte) shown {
	tb.Helper()
	require.True(tb, utf8.Valid(card))
	require.NotContains(tb, string(card), `\u0000`, "jsonb refuses it")
	top, s := read(tb, card)
	require.Equal(tb, "1.4", top["version"])
	require.NotEmpty(tb, top["fallbackText"])

	request, err := Envelope("", card)
	require.NoError(tb, err)
	require.LessOrEqual(tb, len(request), SoftLimit)

	delete(top, "msteams") // the schema knows no host's own properties
	stripped, err := json.Marshal(top)
	require.NoError(tb, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(stripped))
	require.NoError(tb, err)
	require.NoError(tb, schema.Validate(doc))

	require.LessOrEqual(tb, len(s.actions), 5)
	for i, a := range s.actions {
		require.True(tb, usable(a), a)
		require.LessOrEqual(tb, utf8.RuneCountInString(s.titles[i]), maxTitle)
	}
	slices.Sort(s.ids)
	require.Len(tb, slices.Compact(slices.Clone(s.ids)), len(s.ids), "element ids repeat")
	return s
}

// eventConstants reads the values of the EventType constants from the source.
func eventConstants(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "cards.go", nil, 0)
	require.NoError(t, err)
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Type == nil {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); !ok || id.Name != "EventType" {
			return true
		}
		for _, v := range spec.Values {
			s, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			require.NoError(t, err)
			out = append(out, s)
		}
		return true
	})
	require.NotEmpty(t, out)
	return out
}
