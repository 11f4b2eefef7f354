package signin

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/claimlinc/nphiesq/internal/store"
)

const (
	// Life is how long a sign-in lasts.
	Life = 8 * time.Hour
	// startLife is how long one may be under way at the provider.
	startLife = 10 * time.Minute
	// tokenChars is the length of our random values as text.
	tokenChars = 43
)

// Session is somebody who is signed in.
type Session struct {
	Person
	// CSRF is the token that every form of this session carries.
	CSRF        string
	Began, Ends time.Time
	key         []byte
}

// Genuine reports whether a form came from a page of this session.
func (s *Session) Genuine(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.PostFormValue("csrf")), []byte(s.CSRF)) == 1
}

// token is 256 random bits.
func token() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// digest is what is stored of a value.
func digest(value string) []byte { sum := sha256.Sum256([]byte(value)); return sum[:] }

// derived is a value that only the holder of a secret can make.
func derived(secret, what string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(what)) // never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

type sessionKey struct{}

// With returns a context in which From finds s.
func With(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

// From returns the session that Wall found, nil outside of it.
func From(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionKey{}).(*Session)
	return s
}

// cookie makes one of our cookies; a life of 0 takes it back.
func (d *Door) cookie(what, value string, life time.Duration) *http.Cookie {
	c := &http.Cookie{Name: "__Host-" + d.opt.Site + "-" + what, Value: value, Path: "/", MaxAge: int(life.Seconds()), HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	if d.opt.InsecureCookies { // loopback and the demo, by a setting of its own
		c.Name, c.Secure = d.opt.Site+"-"+what, false
	}
	if life <= 0 {
		c.MaxAge = -1
	}
	return c
}

// presented is the value of one of our cookies in a request, "" when there is none.
func (d *Door) presented(r *http.Request, what string) string {
	c, err := r.Cookie(d.cookie(what, "", 0).Name)
	if err != nil || len(c.Value) != tokenChars {
		return ""
	}
	return c.Value
}

// begin signs p in. The cookie is a new one, whatever the browser had before; a session that it had ends.
func (d *Door) begin(w http.ResponseWriter, r *http.Request, p Person, origin [32]byte) error {
	value, now := token(), d.opt.Now()
	roles := make([]string, len(p.Roles))
	for i, role := range p.Roles {
		roles[i] = string(role)
	}
	var old []byte
	if v := d.presented(r, "session"); v != "" {
		old = digest(v)
	}
	if err := d.opt.Record.CreateSignIn(r.Context(), store.SignIn{
		Key: digest(value), Site: d.opt.Site, PersonID: p.ID, Name: p.Name, Tenant: p.Tenant, Roles: roles, Method: p.Method, Origin: origin[:],
		CreatedAt: now, EndsAt: now.Add(Life),
	}, old); err != nil {
		return err
	}
	http.SetCookie(w, d.cookie("session", value, Life))
	return nil
}

// Session returns the session of a request, nil when there is none. A session ends early when what its roles rest on has changed.
//
// An error is one of the record.
func (d *Door) Session(r *http.Request) (*Session, error) {
	value := d.presented(r, "session")
	if value == "" {
		return nil, nil //nolint:nilnil // nobody is signed in, and nothing is wrong
	}
	ctx, key := r.Context(), digest(value)
	row, err := d.opt.Record.SignIn(ctx, d.opt.Site, key, d.opt.Now())
	switch {
	case store.IsNotFound(err):
		return nil, nil //nolint:nilnil // as above
	case err != nil:
		return nil, err
	}
	roles, err := rolesOf(row.Roles)
	if origin, ok := d.origin(ctx, row.Method, row.PersonID); !ok || err != nil || len(roles) == 0 || subtle.ConstantTimeCompare(origin[:], row.Origin) != 1 {
		return nil, d.opt.Record.EndSignIn(ctx, key)
	}
	return &Session{
		Person: Person{ID: row.PersonID, Name: row.Name, Tenant: row.Tenant, Roles: roles, Method: row.Method},
		CSRF:   derived(value, "csrf"), Began: row.CreatedAt, Ends: row.EndsAt, key: key,
	}, nil
}

// origin is what the roles of a person rest on now; ok is false when the way is closed by which they signed in.
func (d *Door) origin(ctx context.Context, method, id string) (sum [32]byte, ok bool) {
	switch {
	case method == ByPassword && d.opt.Users != nil:
		return d.opt.Users.origin(ctx, id)
	case method == ByOIDC && d.opt.Provider != nil:
		return d.opt.Provider.origin, true
	default:
		return sum, false
	}
}
