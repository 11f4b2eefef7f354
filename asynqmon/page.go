package asynqmon

import (
	"bytes"
	"html"
	"net/http"
	"path"
	"regexp"
	"strings"
)

// recorder keeps an answer until it has been judged.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

func capture(h http.Handler, r *http.Request) *recorder {
	rec := &recorder{header: http.Header{}}
	h.ServeHTTP(rec, r)
	rec.WriteHeader(http.StatusOK)
	return rec
}

// contentTypes mends what asynqmon guesses from the bytes; with nosniff a wrong guess is not displayed.
var contentTypes = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".json": "application/json", ".png": "image/png",
	".ico": "image/x-icon", ".txt": "text/plain; charset=utf-8",
}

// answer passes an answer of asynqmon on, mended.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, name string, rec *recorder) {
	api := name == "api" || strings.HasPrefix(name, "api/")
	isHTML := bytes.HasPrefix(bytes.TrimSpace(rec.body.Bytes()), []byte("<!doctype html"))
	body := rec.body.Bytes()
	switch {
	case rec.status >= 500:
		// asynqmon would show the text of Redis' error, which holds addresses. It says 500 for an unknown queue, too.
		refuse(w, http.StatusBadGateway, "no such queue, or Redis did not answer, or the queue holds an entry that cannot be read")
		return
	case rec.status >= 300 && rec.status < 400:
		refuse(w, http.StatusNotFound, "not found") // only a path that was not clean
		return
	case api && isHTML:
		refuse(w, http.StatusNotFound, "no such route") // asynqmon answers unknown routes with its page
		return
	case rec.status >= 400:
		refuse(w, rec.status, strings.TrimSpace(string(body)))
		return
	case api:
		harden(w.Header(), "")
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	case isHTML:
		n := nonce()
		body = rewrite(body, n, h.opt.Home)
		harden(w.Header(), n)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
	default:
		harden(w.Header(), "")
		if strings.HasPrefix(name, "static/") { // their names change with their content
			w.Header().Set("Cache-Control", "private, max-age=86400, immutable")
		}
		if t, ok := contentTypes[path.Ext(name)]; ok {
			w.Header().Set("Content-Type", t)
		} else {
			w.Header().Set("Content-Type", "application/octet-stream")
		}
	}
	w.WriteHeader(rec.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// harden sets the headers of every answer; nonce is that of the page's scripts, "" where there are none.
func harden(h http.Header, nonce string) {
	policy := "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if nonce != "" {
		policy = "default-src 'none'; script-src 'self' 'nonce-" + nonce + "'; style-src 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	}
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

var (
	// Google's fonts, and the manifest: browsers fetch that one without the session's cookie.
	dropped    = regexp.MustCompile(`<link rel="stylesheet" href="https://fonts\.googleapis\.com/[^"]*"/>|<link rel="manifest"[^>]*/>`)
	scriptOpen = []byte("<script>")
)

// rewrite drops the links that must not be followed, gives the inline scripts their nonce and puts the link home under the page.
func rewrite(page []byte, nonce, home string) []byte {
	page = dropped.ReplaceAll(page, nil)
	page = bytes.ReplaceAll(page, scriptOpen, []byte(`<script nonce="`+nonce+`">`))
	if home != "" {
		link := `<a href="` + html.EscapeString(home) + `" style="position:fixed;right:16px;bottom:16px;z-index:2000;padding:8px 14px;border-radius:999px;` +
			`background:#14532d;color:#fff;font:600 14px system-ui,sans-serif;text-decoration:none;box-shadow:0 1px 4px rgba(0,0,0,.4)">&larr; Overview</a>`
		page = bytes.Replace(page, []byte(`<div id="root">`), []byte(link+`<div id="root">`), 1)
	}
	return page
}
