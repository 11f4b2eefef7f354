package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/claimlinc/nphiesq/internal/signin"
)

// session is somebody who is signed in.
type session = signin.Session

// signedIn returns the session that the wall found.
func signedIn(ctx context.Context) *session { return signin.From(ctx) }

// signInPages shows signing in in the look of the other pages.
type signInPages struct{ s *Server }

// SignIn shows the sign-in page.
func (p signInPages) SignIn(w http.ResponseWriter, r *http.Request, status int, f signin.Form) {
	if f.Error != "" {
		f.Error = say(f.Error).in(languageOf(r.Context()))
	}
	p.s.render(w, r, status, "login", "Sign in", f)
}

// Problem shows what is wrong.
func (p signInPages) Problem(w http.ResponseWriter, r *http.Request, status int, text string) {
	p.s.problem(w, r, status, text)
}

// formerLogin leads from the page's former address to where it is now.
func formerLogin(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, signin.Path+"?next="+url.QueryEscape(signin.Local(r.FormValue("next"))), http.StatusSeeOther)
}

// noPage reports requests of asynqmon's script, which no person reads.
func noPage(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, queuesPath+"/api/") }

// form lets only posts through that came from a form of this session.
func (s *Server) form(role signin.Role, next http.HandlerFunc) http.HandlerFunc {
	return s.door.Form(role, next)
}
