package cards

import (
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"
)

// phrases are the values of all constants of type phrase in the source, and the titles in the table.
func phrases(t *testing.T) map[phrase]bool {
	t.Helper()
	names, err := os.ReadDir(".")
	require.NoError(t, err)
	fset := token.NewFileSet()
	var files []*ast.File
	for _, n := range names {
		if !strings.HasSuffix(n.Name(), ".go") || strings.HasSuffix(n.Name(), "_test.go") || n.Name() == "arabic.go" {
			continue
		}
		f, err := parser.ParseFile(fset, n.Name(), nil, 0)
		require.NoError(t, err)
		files = append(files, f)
	}
	info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	conf := types.Config{Importer: importer.Default(), Error: func(error) {}}
	pkg, _ := conf.Check("cards", fset, files, &info) // the table of translations was left out
	require.NotNil(t, pkg)
	out := map[phrase]bool{}
	for _, tv := range info.Types {
		if tv.Value != nil && tv.Value.Kind() == constant.String && types.TypeString(tv.Type, nil) == "cards.phrase" {
			out[phrase(constant.StringVal(tv.Value))] = true
		}
	}
	for _, r := range Table() {
		out[phrase(r.Title)] = true
	}
	delete(out, "")
	return out
}

// TestEveryPhraseIsTranslated says what still lacks its Arabic, and what is translated for nothing.
func TestEveryPhraseIsTranslated(t *testing.T) {
	all := phrases(t)
	require.Greater(t, len(all), 100)
	for p := range all {
		ar, ok := arabic[p]
		if !ok {
			t.Errorf("%q has no Arabic in arabic.go", p)
			continue
		}
		require.Equal(t, strings.Count(string(p), "%s"), strings.Count(ar, "%s"), "%q: pieces", p)
		require.Equal(t, strings.Count(ar, "%s"), strings.Count(ar, "%"), "%q: only %%s", p)
	}
	for p := range arabic {
		require.True(t, all[p], "%q is translated and never said", p)
	}
}

// own finds words in Latin letters that are neither names of products nor data of the golden events.
var own = regexp.MustCompile(`[A-Za-z]{2,}`)

var products = []string{"Vault", "Redis", "PostgreSQL", "Grafana", "Kibana", "ClaimLinc", "Asia", "Riyadh", "MiB", "GiB"}

// TestArabicCards: titles of facts, buttons and headings are Arabic, the card runs from right to left, and every text that begins
// with a number or a code keeps its order to itself.
func TestArabicCards(t *testing.T) {
	links := testLinks
	links.Language = Arabic
	cases := goldenCases(t)
	for name, c := range cases {
		c.Language = Arabic
		top, s := read(t, c.render(t, cases))
		require.Equal(t, true, top["rtl"], name)
		for _, text := range append(s.headings, s.titles...) {
			for _, w := range own.FindAllString(text, -1) {
				require.Contains(t, products, w, "%s: %q", name, text)
			}
		}
		for _, v := range s.values {
			if first := strings.IndexFunc(v, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }); first >= 0 && !rightToLeft([]rune(v[first:])[0]) {
				require.True(t, strings.HasPrefix(v, isolateFirst), "%s: %q", name, v)
			}
		}
	}
	for p, ar := range arabic {
		letter := strings.IndexFunc(strings.ReplaceAll(ar, "%s", ""), unicode.IsLetter)
		if !slices.Contains(products, string(p)) {
			require.True(t, rightToLeft([]rune(strings.ReplaceAll(ar, "%s", "")[letter:])[0]), "%q must begin in Arabic: %q", p, ar)
		}
	}
}

func TestLanguageNeedsNoSetting(t *testing.T) {
	e := Event{ID: "a", Type: ClaimSubmittedEvent, At: time.Unix(1, 0), Details: ClaimSubmitted{ClaimRef: "C", Payer: "\u0634\u0631\u0643\u0629 1"}}
	plainly, err := Render(e, Links{})
	require.NoError(t, err)
	english, err := Render(e, Links{Language: English})
	require.NoError(t, err)
	require.Equal(t, string(plainly), string(english))
	require.NotContains(t, string(english), `"rtl"`)
	require.Contains(t, string(english), "\u2068\u0634\u0631\u0643\u0629 1\u2069", "a name in Arabic keeps its order to itself")
	require.True(t, Arabic.Valid())
	require.False(t, Language("fr").Valid())
}

func TestBalance(t *testing.T) {
	require.Equal(t, "\u2068a\u2067b\u2069\u2069", balance("\u2068a\u2067b"))
	require.Equal(t, "ab", balance("a\u2069b"))
	require.Equal(t, "\u2068a\u2069b", balance("\u2068a\u2069b\u2069"))
	require.EqualValues(t, "\u2068\u0634\u0631\u2069… (+2 bytes)", English.cut("\u0634\u0631\u0643", 2), "the note stands outside")
}
