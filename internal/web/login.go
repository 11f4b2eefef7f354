package web

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// hashing is how many passwords are compared at a time: each takes a processor for a quarter of a second.
	hashing = 2
	// hashWait is how long a login waits for its turn.
	hashWait = 3 * time.Second
)

type loginPage struct {
	Next  string
	Name  string
	Error string
}

func (s *Server) loginForm(w http.ResponseWriter, r *http.Request) {
	if s.sessions.of(r) != nil {
		http.Redirect(w, r, local(r.FormValue("next")), http.StatusSeeOther)
		return
	}
	s.render(w, r, http.StatusOK, "login", "Sign in", loginPage{Next: local(r.FormValue("next"))})
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
	name, password := strings.TrimSpace(r.PostFormValue("name")), r.PostFormValue("password")
	p, address := loginPage{Next: local(r.PostFormValue("next")), Name: name}, client(r)
	if len(name) > 64 {
		p.Name, name = "", ""
	}
	select {
	case s.hashing <- struct{}{}:
		defer func() { <-s.hashing }()
	case <-r.Context().Done():
		return
	case <-time.After(hashWait):
		p.Error = "Too many people are signing in at the moment. Try again."
		s.render(w, r, http.StatusServiceUnavailable, "login", "Sign in", p)
		return
	}
	if s.lockout.locked(name, address) {
		p.Error = "Too many failed attempts. Wait 15 minutes, or ask for a new password."
		w.Header().Set("Retry-After", "900")
		s.render(w, r, http.StatusTooManyRequests, "login", "Sign in", p)
		return
	}
	u, ok := s.opt.Users.verify(name, password)
	if !ok {
		s.lockout.failed(name, address)
		// The name is not logged: people type passwords into that field.
		s.opt.Log.WarnContext(r.Context(), "login failed", slog.String("address", address))
		p.Error = "Name or password is wrong."
		s.render(w, r, http.StatusUnauthorized, "login", "Sign in", p)
		return
	}
	s.lockout.passed(name, address)
	s.sessions.begin(w, u)
	s.opt.Log.InfoContext(r.Context(), "signed in", slog.String("user", u.name), slog.String("address", address))
	http.Redirect(w, r, p.Next, http.StatusSeeOther)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	s.sessions.end(w, signedIn(r.Context()))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// local keeps an address only if it is one of our own pages.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

// wall lets only those in who are signed in: others are led to the login, or refused where no person is reading.
func (s *Server) wall(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found := s.sessions.of(r)
		if found == nil {
			if r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, queuesPath+"/api/") {
				http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
				return
			}
			s.problem(w, r, http.StatusUnauthorized, "Sign in first.")
			return
		}
		next.ServeHTTP(w, r.WithContext(withSession(r.Context(), found)))
	})
}

// form lets only posts through that came from a form of this session.
func (s *Server) form(role Role, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
		who := signedIn(r.Context())
		switch {
		case role == Operator && !who.Operator():
			s.problem(w, r, http.StatusForbidden, "Your role may look but not decide.")
		case !who.genuine(r):
			s.problem(w, r, http.StatusForbidden, "This form is out of date. Go back, reload the page and try again.")
		default:
			next(w, r)
		}
	}
}
