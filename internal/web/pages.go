package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/claimlinc/nphiesq/internal/store"
)

//go:embed templates static
var files embed.FS

// pages are the parsed templates, one set per language and page.
type pages struct {
	byName map[lang]map[string]*template.Template
}

// frame is what the layout needs around a page.
type frame struct {
	Title       any
	Section     string
	User        *session
	Environment string
	Version     string
	Style       string
	Script      string
	// Lang and Dir are of this page; Other is the language to switch to, at OtherURL.
	Lang, Dir, Other, OtherURL string
	// Live names what of the record the page shows, "" when it does not change by itself.
	Live string
	// Refresh is after how many seconds the page loads itself anew where there is no script, 0 for never.
	Refresh int
	Page    any
}

func parsePages(now func() time.Time) (*pages, error) {
	p := &pages{byName: map[lang]map[string]*template.Template{english: {}, arabic: {}}}
	entries, err := files.ReadDir("templates")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		for l := range p.byName {
			t, err := template.New("layout.html").Funcs(funcs(now, l)).ParseFS(files, "templates/layout.html", "templates/parts.html", "templates/"+e.Name())
			if err != nil {
				return nil, err
			}
			p.byName[l][name] = t
		}
	}
	return p, nil
}

// liveTopics are what of the record each page shows, see store.Pulse. Pages that are not named do not change by themselves.
var liveTopics = map[string]string{
	"overview": "claims dead notifications pauses conditions", "claims": "claims", "claim": "claims dead notifications", "letters": "dead bulk", "letter": "dead",
	"bulk": "bulk", "notifications": "notifications", "notification": "notifications", "inbox": "claims", "pauses": "pauses", "audit": "audit", "check": "claims", "checks": "claims",
}

// render writes a page. It is built in full first, so that an error never leaves half a page. The title is a phrase or a text.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name string, title, page any) {
	who, l := signedIn(r.Context()), languageOf(r.Context())
	f := frame{
		Title: title, Section: section(r.URL.Path), User: who, Environment: s.opt.Environment, Version: s.opt.Version, Style: stylePath, Script: scriptPath, Page: page,
		Lang: string(l), Dir: l.dir(), Other: string(l.other()),
	}
	query := r.URL.Query()
	query.Set("lang", f.Other)
	f.OtherURL = here(r, query)
	if who != nil && status == http.StatusOK {
		f.Live = liveTopics[name]
	}
	if check, ok := page.(checkPage); ok && len(check.Benefits) > 0 {
		f.Live = "" // each look at them is put on record: a page does not look by itself
	}
	if name == "overview" {
		f.Refresh = 30
	}
	if run, ok := page.(bulkPage); ok && run.Run != nil && run.Run.State == store.BulkRunning {
		f.Refresh = 5
	}
	var b bytes.Buffer
	if err := s.pages.byName[l][name].ExecuteTemplate(&b, "layout.html", f); err != nil {
		s.opt.Log.ErrorContext(r.Context(), "page cannot be rendered", slog.String("page", name), slog.String("error", err.Error()))
		http.Error(w, "This page cannot be shown; the log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", string(l))
	w.WriteHeader(status)
	_, _ = b.WriteTo(w)
}

type problemPage struct {
	Status int
	Text   string
}

// problem shows a page that says what is wrong.
func (s *Server) problem(w http.ResponseWriter, r *http.Request, status int, text string) {
	s.render(w, r, status, "problem", http.StatusText(status), problemPage{status, text})
}

// section is the first part of a path, which the navigation marks.
func section(p string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	return first
}

// stylePath and scriptPath change with the content of the files, so that browsers may keep them.
var stylePath, scriptPath = versioned("static/style.css"), versioned("static/live.js")

func versioned(name string) string {
	body, err := files.ReadFile(name)
	if err != nil {
		panic("web: " + err.Error()) // embedded: cannot happen
	}
	sum := sha256.Sum256(body)
	return "/" + name + "?v=" + hex.EncodeToString(sum[:6])
}

var staticTypes = map[string]string{".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".js": "text/javascript; charset=utf-8"}

// static serves the style sheet, the script and the icon, which the login page needs too.
func static(w http.ResponseWriter, r *http.Request) {
	kind, known := staticTypes[path.Ext(r.URL.Path)]
	body, err := files.ReadFile(strings.TrimPrefix(path.Clean(r.URL.Path), "/"))
	if err != nil || !known {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=86400")
	_, _ = w.Write(body) //nolint:gosec // one of our embedded files
}
