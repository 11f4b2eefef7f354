package doccheck

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

const root = "../.."

// page is one file of the documentation.
type page struct {
	name   string // from the root of the repository
	text   string
	blocks []block
	// code is what stands between backquotes; links are the targets of links; anchors those of the headings.
	code, links []span
	anchors     []string
	headings    []heading
}

type span struct {
	text string
	line int
}

type heading struct {
	level int
	text  string
}

// block is a fenced block. lang is the first word behind the fence, kind the rest; part is the heading of level 2 that it is below.
type block struct {
	lang, kind, text, part string
	line                   int // of its first line
}

// executed reports whether TestCommands executes the block.
func (b block) executed() bool {
	return b.lang == "sh" && (b.kind == "" || b.kind == "serve")
}

// byScript are the parts of pages, as page#heading, whose commands a script of ours executes, since the servers here will not do: it calls
// doc-blocks.sh with them. A mention in a comment is no call.
var byScript = sync.OnceValue(func() map[string]bool {
	out := map[string]bool{}
	scripts, _ := filepath.Glob(filepath.Join(root, "scripts/*.sh"))
	for _, name := range scripts {
		body, err := os.ReadFile(name)
		if err != nil {
			panic(err)
		}
		for _, words := range commands(string(body)) {
			if len(words) == 3 && words[0] == "scripts/doc-blocks.sh" {
				out[words[1]+"#"+words[2]] = true
			}
		}
	}
	return out
})

// pages reads all of the documentation.
func pages(t *testing.T) []page {
	t.Helper()
	names := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}
	for _, dir := range []string{"docs", "examples", "deploy"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".md") && !d.IsDir() {
				rel, err := filepath.Rel(root, path)
				names = append(names, filepath.ToSlash(rel))
				return err
			}
			return err
		}))
	}
	out := make([]page, 0, len(names))
	for _, name := range names {
		out = append(out, read(t, name))
	}
	return out
}

func read(t *testing.T, name string) page {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return parse(name, body)
}

func parse(name string, body []byte) page {
	p := page{name: name, text: string(body)}
	line := func(at int) int { return 1 + bytes.Count(body[:at], []byte("\n")) }
	part := ""
	last := 1 // where a node without a place of its own is, about
	doc := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(body))
	seen := map[string]int{}
	_ = ast.Walk(doc, func(n ast.Node, in bool) (ast.WalkStatus, error) {
		if !in {
			return ast.WalkContinue, nil
		}
		if n.Type() == ast.TypeBlock && n.Lines().Len() > 0 {
			last = line(n.Lines().At(0).Start)
		}
		switch n := n.(type) {
		case *ast.FencedCodeBlock:
			b := block{line: last, part: part}
			if n.Info != nil {
				b.lang, b.kind, _ = strings.Cut(strings.TrimSpace(string(n.Info.Segment.Value(body))), " ")
			}
			for i := range n.Lines().Len() {
				s := n.Lines().At(i)
				b.text += string(s.Value(body))
			}
			p.blocks = append(p.blocks, b)
		case *ast.CodeBlock:
			p.blocks = append(p.blocks, block{line: last, lang: "indented"})
		case *ast.CodeSpan:
			p.code = append(p.code, span{plain(n, body), last})
		case *ast.Link:
			p.links = append(p.links, span{string(n.Destination), last})
		case *ast.Image:
			p.links = append(p.links, span{string(n.Destination), last})
		case *ast.Heading:
			h := plain(n, body)
			p.headings = append(p.headings, heading{n.Level, h})
			if n.Level <= 2 {
				part = h
			}
			a := anchor(h)
			if c := seen[a]; c > 0 {
				p.anchors = append(p.anchors, a+"-"+string(rune('0'+c)))
			} else {
				p.anchors = append(p.anchors, a)
			}
			seen[a]++
		}
		return ast.WalkContinue, nil
	})
	return p
}

// plain is the text of a node without its marks.
func plain(n ast.Node, body []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, in bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && in {
			b.Write(t.Segment.Value(body))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// anchor is the name that GitHub gives a heading.
func anchor(h string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, h)
}

var comment = regexp.MustCompile(`(?s)<!--.*?-->`)

// section is the text below a heading of level 2, up to the next one.
func (p page) section(title string) (string, bool) {
	_, rest, ok := strings.Cut("\n"+p.text, "\n## "+title+"\n")
	if !ok {
		return "", false
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	return strings.TrimSpace(comment.ReplaceAllString(rest, "")), true
}

func (p page) has(anchor string) bool { return slices.Contains(p.anchors, anchor) }
