package cards

import (
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"strings"
	"testing"

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
