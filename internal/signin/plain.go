package signin

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
)

//go:embed plain.html
var plainHTML string

var plain = template.Must(template.New("plain").Parse(plainHTML))

// Plain shows the pages by themselves, for a listener that has no look of its own.
type Plain struct{}

// SignIn shows the sign-in page.
func (Plain) SignIn(w http.ResponseWriter, _ *http.Request, status int, f Form) {
	writePlain(w, status, map[string]any{"Title": "Sign in", "Form": f})
}

// Problem shows what is wrong.
func (Plain) Problem(w http.ResponseWriter, _ *http.Request, status int, text string) {
	writePlain(w, status, map[string]any{"Title": http.StatusText(status), "Text": text})
}

func writePlain(w http.ResponseWriter, status int, page map[string]any) {
	nonce := token()
	page["Nonce"] = nonce
	var b bytes.Buffer
	if err := plain.Execute(&b, page); err != nil {
		http.Error(w, "This page cannot be shown.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+nonce+"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = b.WriteTo(w)
}
