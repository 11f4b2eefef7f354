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
		case "TextRun":
			s.literals = append(s.literals, text)
		case "FactSet":
			for _, f := range v["facts"].([]any) {
				f := f.(map[string]any)
				s.texts = append(s.texts, f["title"].(string), f["value"].(string))
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

func read(t testing.TB, card []byte) (map[string]any, shown) {
	t.Helper()
	var top map[string]any
	require.NoError(t, json.Unmarshal(card, &top))
	var s shown
	s.walk(top)
	return top, s
}

// checkCard asserts what holds for every card.
func checkCard(t testing.TB, schema *jsonschema.Schema, card []byte) shown {
	t.Helper()
	require.True(t, utf8.Valid(card))
	require.NotContains(t, string(card), `\u0000`, "jsonb refuses it")
	top, s := read(t, card)
	require.Equal(t, "1.4", top["version"])
	require.NotEmpty(t, top["fallbackText"])

	request, err := Envelope("", card)
	require.NoError(t, err)
	require.LessOrEqual(t, len(request), SoftLimit)

	delete(top, "msteams") // the schema knows no host's own properties
	stripped, err := json.Marshal(top)
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(stripped))
	require.NoError(t, err)
	require.NoError(t, schema.Validate(doc))

	require.LessOrEqual(t, len(s.actions), 5)
	for i, a := range s.actions {
		require.True(t, usable(a), a)
		require.LessOrEqual(t, utf8.RuneCountInString(s.titles[i]), maxTitle)
	}
	slices.Sort(s.ids)
	require.Len(t, slices.Compact(slices.Clone(s.ids)), len(s.ids), "element ids repeat")
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
