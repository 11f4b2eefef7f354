package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"sync"
	"time"
)

// sessionLife is how long a login lasts.
const sessionLife = 8 * time.Hour

// maxSessions bounds memory; each takes a password to make.
const maxSessions = 10_000

// session is a login. It lives in memory: a restart of the monitor ends all of them.
type session struct {
	Name string
	Role Role
	// CSRF is the token that every form of this session carries.
	CSRF string
	ends time.Time
	key  [32]byte
}

// Operator reports whether the user may decide.
func (s *session) Operator() bool { return s.Role == Operator }

// token is 256 random bits.
func token() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// sessions keeps logins under the hash of their cookie, so that a look into memory gives nobody a cookie.
type sessions struct {
	mu       sync.Mutex
	byKey    map[[32]byte]*session
	now      func() time.Time
	insecure bool
}

func newSessions(now func() time.Time, insecure bool) *sessions {
	return &sessions{byKey: map[[32]byte]*session{}, now: now, insecure: insecure}
}

func (s *sessions) cookie(value string, age time.Duration) *http.Cookie {
	c := &http.Cookie{Name: "__Host-session", Value: value, Path: "/", MaxAge: int(age.Seconds()), HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	if s.insecure { // loopback and the demo, by a setting of its own
		c.Name, c.Secure = "session", false
	}
	if age <= 0 {
		c.MaxAge = -1
	}
	return c
}

// begin signs u in.
func (s *sessions) begin(w http.ResponseWriter, u user) {
	value, now := token(), s.now()
	n := &session{Name: u.name, Role: u.role, CSRF: token(), ends: now.Add(sessionLife), key: sha256.Sum256([]byte(value))}
	s.mu.Lock()
	for key, old := range s.byKey {
		if !old.ends.After(now) || len(s.byKey) >= maxSessions {
			delete(s.byKey, key)
		}
	}
	s.byKey[n.key] = n
	s.mu.Unlock()
	http.SetCookie(w, s.cookie(value, sessionLife))
}

// of returns the session of a request, nil when there is none.
func (s *sessions) of(r *http.Request) *session {
	c, err := r.Cookie(s.cookie("", 0).Name)
	if err != nil || c.Value == "" {
		return nil
	}
	key := sha256.Sum256([]byte(c.Value))
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.byKey[key]
	if found != nil && !found.ends.After(s.now()) {
		delete(s.byKey, key)
		return nil
	}
	return found
}

// end signs out.
func (s *sessions) end(w http.ResponseWriter, old *session) {
	s.mu.Lock()
	delete(s.byKey, old.key)
	s.mu.Unlock()
	http.SetCookie(w, s.cookie("", 0))
}

// genuine reports whether a form came from a page of this session.
func (s *session) genuine(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.PostFormValue("csrf")), []byte(s.CSRF)) == 1
}

type sessionKey struct{}

func withSession(ctx context.Context, s *session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

// signedIn returns the session that the login wall found.
func signedIn(ctx context.Context) *session {
	s, _ := ctx.Value(sessionKey{}).(*session)
	return s
}
