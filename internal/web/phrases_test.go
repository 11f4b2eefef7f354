package web

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	tmpl "text/template/parse"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/asynqmon"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/signin"
	"github.com/claimlinc/nphiesq/internal/store"
)

var attribute = regexp.MustCompile(`\b(data-label|data-yes|data-no|aria-label|title|placeholder|alt)="([^"{]*\pL[^"{]*)"`)

// said collects what the templates and the code say.
func said(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	p, err := parsePages(time.Now)
	require.NoError(t, err)
	for name, page := range p.byName[english] {
		for _, one := range page.Templates() {
			if one.Tree == nil {
				continue
			}
			walk(one.Tree.Root, func(n tmpl.Node) {
				c, ok := n.(*tmpl.CommandNode)
				if !ok || len(c.Args) < 2 || c.Args[0].String() != "t" {
					return
				}
				text, ok := c.Args[1].(*tmpl.StringNode)
				require.True(t, ok, "%s: t wants a text: %s", name, c)
				out[text.Text] = name
			})
		}
	}
	set := token.NewFileSet()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, e.Name(), nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			at := -1
			switch f := c.Fun.(type) {
			case *ast.Ident:
				if f.Name == "say" {
					at = 0
				}
			case *ast.SelectorExpr:
				switch f.Sel.Name {
				case "problem":
					at = 3
				case "render":
					at = 4
				}
			}
			if at < 0 || at >= len(c.Args) {
				return true
			}
			if l, ok := c.Args[at].(*ast.BasicLit); ok && l.Kind == token.STRING {
				text, err := strconv.Unquote(l.Value)
				require.NoError(t, err)
				out[text] = e.Name()
			}
			return true
		})
	}
	return out
}

func walk(n tmpl.Node, f func(tmpl.Node)) {
	f(n)
	pipe := func(p *tmpl.PipeNode) {
		if p != nil {
			walk(p, f)
		}
	}
	list := func(l *tmpl.ListNode) {
		if l != nil {
			walk(l, f)
		}
	}
	branch := func(b *tmpl.BranchNode) { pipe(b.Pipe); list(b.List); list(b.ElseList) }
	switch n := n.(type) {
	case *tmpl.ListNode:
		for _, x := range n.Nodes {
			walk(x, f)
		}
	case *tmpl.ActionNode:
		pipe(n.Pipe)
	case *tmpl.PipeNode:
		for _, c := range n.Cmds {
			walk(c, f)
		}
	case *tmpl.CommandNode:
		for _, a := range n.Args {
			if p, ok := a.(*tmpl.PipeNode); ok {
				walk(p, f)
			}
		}
	case *tmpl.TemplateNode:
		pipe(n.Pipe)
	case *tmpl.IfNode:
		branch(&n.BranchNode)
	case *tmpl.RangeNode:
		branch(&n.BranchNode)
	case *tmpl.WithNode:
		branch(&n.BranchNode)
	}
}

var (
	verbs      = regexp.MustCompile(`%[sd]`)
	arabicText = regexp.MustCompile(`\p{Arabic}`)
)

func TestEveryPhraseHasArabic(t *testing.T) {
	found := said(t)
	require.Greater(t, len(found), 300)
	for text, where := range found {
		if where == "login" || text == "" {
			continue
		}
		_, ok := phrases[text]
		require.True(t, ok, "%s says %q, which has no Arabic text in phrases.txt", where, text)
	}
	for text, translated := range phrases {
		require.Equal(t, verbs.FindAllString(text, -1), verbs.FindAllString(translated, -1), text)
		if text != "%s: %s" && text != "jwt" {
			require.Regexp(t, arabicText, translated, text)
		}
	}
	var words []string
	add := func(v any) { words = append(words, fmt.Sprint(v)) }
	for _, s := range store.States() {
		add(s)
	}
	for _, s := range letterStates {
		add(s)
	}
	for _, k := range fault.Kinds() {
		add(k)
	}
	for _, s := range []store.CheckState{store.CheckReceived, store.CheckSubmitting, store.CheckEligible, store.CheckNotEligible} {
		add(s)
	}
	for _, r := range signin.Roles() {
		add(r)
	}
	for _, p := range priorities {
		add(p)
	}
	for _, s := range sources {
		add(s)
	}
	for _, s := range notificationStates {
		add(s)
	}
	for _, w := range []any{
		store.BulkRunning, store.BulkDone, store.BulkStopped, "requested", "applied", "already", "refused", "failed", "view", "retry", "discard", "resend", "resume", "cancel", "lost", "erase",
		"bulk_retry", "bulk_discard", "bulk_stop", asynqmon.Run, asynqmon.Delete, asynqmon.BatchRun, asynqmon.BatchDelete, asynqmon.Pause, asynqmon.Resume, "queue", "task", "license",
	} {
		add(w)
	}
	for _, w := range words {
		_, ok := phrases[strings.ReplaceAll(w, "_", " ")]
		require.True(t, ok, "the value %q has no Arabic word in phrases.txt", w)
	}
}

// TestTemplatesSayNothingByThemselves: a word outside the table would stay English in every language.
func TestTemplatesSayNothingByThemselves(t *testing.T) {
	entries, err := fs.Glob(files, "templates/*.html")
	require.NoError(t, err)
	tag, action, comment := regexp.MustCompile(`(?s)<[^>]*>`), regexp.MustCompile(`(?s)\{\{.*?\}\}`), regexp.MustCompile(`(?s)\{\{/\*.*?\*/\}\}`)
	kept := regexp.MustCompile(`\b(nphiesq|HTTP|SAR|webhook-id|English|JSON)\b|العربية|&amp;|&nbsp;`)
	for _, path := range entries {
		body, err := fs.ReadFile(files, path)
		require.NoError(t, err)
		text := comment.ReplaceAllString(string(body), "")
		for _, m := range attribute.FindAllStringSubmatch(action.ReplaceAllString(text, "{}"), -1) {
			require.Regexp(t, `^(JSON)$`, m[2], "%s: attribute %s", path, m[1])
		}
		text = kept.ReplaceAllString(tag.ReplaceAllString(action.ReplaceAllString(text, ""), ""), "")
		i := strings.IndexFunc(text, unicode.IsLetter)
		if i >= 0 {
			t.Errorf("%s says %q by itself", path, strings.TrimSpace(text[i:min(i+40, len(text))]))
		}
	}
}

func TestArabicKeepsNumbersInTheirDirection(t *testing.T) {
	require.Equal(t, "المطالبة \u2068CLM-1\u2069", say("Claim %s", "CLM-1").in(arabic))
	require.Equal(t, "Claim CLM-1", say("Claim %s", "CLM-1").in(english))
	require.Equal(t, "قبل 2 س 5 د", arabic.ago(time.Unix(0, 0), time.Unix(2*3600+5*60, 0)))
	require.Equal(t, "2 h 5 min ago", english.ago(time.Unix(0, 0), time.Unix(2*3600+5*60, 0)))
	require.Equal(t, "مشغّل، خصوصية", arabic.word("operator, privacy"))
	require.Equal(t, "something else", arabic.word("something_else"))
	require.Equal(t, "3 claims", plural(3, say("1 claim"), say("%s claims")).in(english))
}
