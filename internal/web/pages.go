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
)

//go:embed templates static
var files embed.FS

// pages are the parsed templates, one set per page.
type pages struct{ byName map[string]*template.Template }

// frame is what the layout needs around a page.
type frame struct {
	Title       string
	Section     string
	User        *session
	Environment string
	Version     string
	Style       string
	// Refresh is after how many seconds the page loads itself anew, 0 for never.
	Refresh int
	Page    any
}

func parsePages(now func() time.Time) (*pages, error) {
	p := &pages{byName: map[string]*template.Template{}}
	entries, err := files.ReadDir("templates")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		t, err := template.New("layout.html").Funcs(funcs(now)).ParseFS(files, "templates/layout.html", "templates/parts.html", "templates/"+e.Name())
		if err != nil {
			return nil, err
		}
		p.byName[name] = t
	}
	return p, nil
}

// render writes a page. It is built in full first, so that an error never leaves half a page.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name, title string, page any) {
	who := signedIn(r.Context())
	f := frame{
		Title: title, Section: section(r.URL.Path), User: who, Environment: s.opt.Environment, Version: s.opt.Version, Style: stylePath, Page: page,
	}
	if name == "overview" {
		f.Refresh = 30
	}
	var b bytes.Buffer
	if err := s.pages.byName[name].ExecuteTemplate(&b, "layout.html", f); err != nil {
		s.opt.Log.ErrorContext(r.Context(), "page cannot be rendered", slog.String("page", name), slog.String("error", err.Error()))
		http.Error(w, "This page cannot be shown; the log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
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

// stylePath changes with the content of the style sheet, so that browsers may keep it.
var stylePath = func() string {
	body, err := files.ReadFile("static/style.css")
	if err != nil {
		panic("web: " + err.Error()) // embedded: cannot happen
	}
	sum := sha256.Sum256(body)
	return "/static/style.css?v=" + hex.EncodeToString(sum[:6])
}()

var staticTypes = map[string]string{".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

// static serves the style sheet and the icon, which the login page needs too.
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
