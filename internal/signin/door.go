package signin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
)

// Paths of signing in and out.
const (
	Path         = "/signin"
	StartPath    = "/signin/start"
	CallbackPath = "/signin/callback"
	OutPath      = "/signout"
)

// maxForm is the largest form, in bytes.
const maxForm = 8 << 10

// Record keeps who is signed in: *store.Store.
type Record interface {
	CreateSignIn(ctx context.Context, n store.SignIn, replaces []byte) error
	SignIn(ctx context.Context, site string, key []byte, now time.Time) (store.SignIn, error)
	EndSignIn(ctx context.Context, key []byte) error
	BeginSignIn(ctx context.Context, n store.SignInStart, now time.Time) error
	TakeSignIn(ctx context.Context, site string, state []byte, now time.Time) (store.SignInStart, error)
}

// Form is what the sign-in page shows.
type Form struct {
	// Error says what went wrong, "" when nothing did.
	Error string
	// Next is the page to go to afterwards and Start the address that leads to the provider.
	Next, Start string
	// Provider is what single sign-on is called, "" when there is none; Away is true while it cannot be reached.
	Provider string
	Away     bool
	// Passwords is true when names and passwords are taken, Name what was typed before.
	Passwords bool
	Name      string
}

// Pages shows what people see here. A listener with pages of its own shows these in the same look.
type Pages interface {
	SignIn(w http.ResponseWriter, r *http.Request, status int, f Form)
	Problem(w http.ResponseWriter, r *http.Request, status int, text string)
}

// Options is what a Door needs.
type Options struct {
	Record Record
	// Redis counts failures; nil counts them in memory only.
	Redis redis.UniversalClient
	// Site names the listener; cookies and sessions of one are worth nothing at another.
	Site string
	// Base is the public address of the listener, https://host; needed with a Provider only.
	Base string
	// Users sign in with passwords, those of Provider there. One of them may be nil.
	Users    *Users
	Provider *Provider
	// Pages shows the pages; nil means plain ones.
	Pages Pages
	// NoPage reports requests that no person reads: they are refused, not led to the sign-in page. nil means none.
	NoPage func(*http.Request) bool
	// Forbidden hears of posts that the role of a person who is signed in does not permit; nil for nobody.
	Forbidden func(r *http.Request)
	// InsecureCookies lets the cookies travel over http.
	InsecureCookies bool
	Log             *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Door lets people in to one listener. It is safe for concurrent use.
type Door struct {
	opt     Options
	lockout *lockout
	foreign *http.CrossOriginProtection
}

// New returns a Door. It does not dial.
func New(o Options) (*Door, error) {
	switch {
	case o.Record == nil || o.Log == nil || o.Site == "":
		return nil, errors.New("signin: Record, Log or Site is missing")
	case o.Users == nil && o.Provider == nil:
		return nil, errors.New("signin: nobody may sign in: neither Users nor Provider is there")
	case o.Provider != nil:
		if err := checkBase(o.Base); err != nil {
			return nil, err
		}
		o.Base = strings.TrimSuffix(o.Base, "/")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Pages == nil {
		o.Pages = Plain{}
	}
	if o.NoPage == nil {
		o.NoPage = func(*http.Request) bool { return false }
	}
	return &Door{opt: o, lockout: newLockout(o.Redis, o.Log, o.Now), foreign: http.NewCrossOriginProtection()}, nil
}

// Mount adds the routes of signing in and out to mux.
func (d *Door) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET "+Path, d.page)
	mux.Handle("POST "+Path, d.SameOrigin(http.HandlerFunc(d.password)))
	mux.HandleFunc("GET "+StartPath, d.start)
	mux.HandleFunc("GET "+CallbackPath, d.callback)
	mux.Handle("POST "+OutPath, d.SameOrigin(d.Wall(d.Form(Viewer, d.out))))
}

// SameOrigin refuses what a page of another origin posts, by Sec-Fetch-Site or else Origin.
func (d *Door) SameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := d.foreign.Check(r); err != nil {
			d.opt.Pages.Problem(w, r, http.StatusForbidden, "This form came from another site, so it was not carried out.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Wall lets only those in who are signed in, with their session in the context: others are led to the sign-in page, or refused
// where no person is reading.
func (d *Door) Wall(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found, err := d.Session(r)
		switch {
		case err != nil:
			d.broken(w, r, err)
		case found != nil:
			next.ServeHTTP(w, r.WithContext(With(r.Context(), found)))
		case (r.Method == http.MethodGet || r.Method == http.MethodHead) && !d.opt.NoPage(r):
			http.Redirect(w, r, Path+"?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			d.opt.Pages.Problem(w, r, http.StatusUnauthorized, "Sign in first.")
		}
	})
}

// Form lets only posts of at most 8 KiB through that came from a form of this session (its field csrf), sent by somebody with the
// role. It stands behind Wall.
func (d *Door) Form(role Role, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		who := From(r.Context())
		switch {
		case who == nil:
			d.opt.Pages.Problem(w, r, http.StatusUnauthorized, "Sign in first.")
		case d.foreign.Check(r) != nil:
			d.opt.Pages.Problem(w, r, http.StatusForbidden, "This form came from another site, so it was not carried out.")
		case role == Operator && !who.Has(role):
			d.forbidden(r)
			d.opt.Pages.Problem(w, r, http.StatusForbidden, "Your role may look but not decide.")
		case !who.Has(role):
			d.forbidden(r)
			d.opt.Pages.Problem(w, r, http.StatusForbidden, "This needs the role "+string(role)+".")
		case !who.Genuine(r):
			d.opt.Pages.Problem(w, r, http.StatusForbidden, "This form is out of date. Go back, reload the page and try again.")
		default:
			next(w, r)
		}
	}
}

func (d *Door) forbidden(r *http.Request) {
	if d.opt.Forbidden != nil {
		d.opt.Forbidden(r)
	}
}

// broken shows that the record does not answer.
func (d *Door) broken(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	d.opt.Log.ErrorContext(r.Context(), "sign-in cannot be looked up", slog.String("error", err.Error()))
	d.opt.Pages.Problem(w, r, http.StatusServiceUnavailable, "The record does not answer at the moment. Try again; if this stays, look at PostgreSQL and the log.")
}

// show shows the sign-in page.
func (d *Door) show(w http.ResponseWriter, r *http.Request, status int, f Form) {
	f.Next = Local(f.Next)
	f.Start = StartPath + "?next=" + url.QueryEscape(f.Next)
	f.Passwords = d.opt.Users != nil
	if p := d.opt.Provider; p != nil {
		f.Provider = p.Name()
		_, err := p.discover(r.Context())
		f.Away = err != nil
	}
	d.opt.Pages.SignIn(w, r, status, f)
}

func (d *Door) page(w http.ResponseWriter, r *http.Request) {
	next := Local(r.FormValue("next"))
	switch found, err := d.Session(r); {
	case err != nil:
		d.broken(w, r, err)
	case found != nil:
		http.Redirect(w, r, next, http.StatusSeeOther)
	default:
		d.show(w, r, http.StatusOK, Form{Next: next})
	}
}

// password signs in with a name and a password.
func (d *Door) password(w http.ResponseWriter, r *http.Request) {
	if d.opt.Users == nil {
		d.opt.Pages.Problem(w, r, http.StatusNotFound, "There is no sign-in with a password.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	ctx := r.Context()
	name, password, address := strings.TrimSpace(r.PostFormValue("name")), r.PostFormValue("password"), ratelimit.Address(r.RemoteAddr)
	f := Form{Next: r.PostFormValue("next"), Name: name}
	if len(name) > 64 {
		f.Name, name = "", ""
	}
	done, err := d.opt.Users.turn(ctx)
	switch {
	case errors.Is(err, errBusy):
		f.Error = "Too many people are signing in at the moment. Try again."
		d.show(w, r, http.StatusServiceUnavailable, f)
		return
	case err != nil:
		return
	}
	defer done()
	// Looked at in turn, or a thousand attempts at once would all pass here before the first of them fails.
	pair := d.opt.Users.blind(name, address)
	if d.lockout.locked(ctx, pair, address) {
		f.Error = "Too many failed attempts. Wait 15 minutes, or ask for a new password."
		w.Header().Set("Retry-After", "900")
		d.show(w, r, http.StatusTooManyRequests, f)
		return
	}
	u, ok := d.opt.Users.verify(ctx, name, password)
	if !ok {
		d.lockout.failed(ctx, pair, address)
		// The name is not logged: people type passwords into that field.
		d.opt.Log.WarnContext(ctx, "login failed", slog.String("site", d.opt.Site), slog.String("method", ByPassword), slog.String("address", address))
		f.Error = "Name or password is wrong."
		d.show(w, r, http.StatusUnauthorized, f)
		return
	}
	d.lockout.passed(ctx, pair)
	d.enter(w, r, u.Person, u.origin, f.Next)
}

// enter signs p in and leads on.
func (d *Door) enter(w http.ResponseWriter, r *http.Request, p Person, origin [32]byte, next string) {
	if err := d.begin(w, r, p, origin); err != nil {
		d.broken(w, r, err)
		return
	}
	d.opt.Log.InfoContext(r.Context(), "signed in", slog.String("site", d.opt.Site), slog.String("user", p.ID), slog.String("method", p.Method),
		slog.String("roles", p.Role()), slog.String("address", ratelimit.Address(r.RemoteAddr)))
	http.Redirect(w, r, Local(next), http.StatusSeeOther)
}

func (d *Door) out(w http.ResponseWriter, r *http.Request) {
	who := From(r.Context())
	if err := d.opt.Record.EndSignIn(r.Context(), who.key); err != nil {
		d.broken(w, r, err)
		return
	}
	http.SetCookie(w, d.cookie("session", "", 0))
	d.opt.Log.InfoContext(r.Context(), "signed out", slog.String("site", d.opt.Site), slog.String("user", who.ID), slog.String("method", who.Method))
	http.Redirect(w, r, Path, http.StatusSeeOther)
}

// Local keeps an address only if it is one of our own pages; else it is the first page.
func Local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || len(next) > 2000 ||
		strings.ContainsFunc(next, func(r rune) bool { return r == '\\' || r < ' ' || r == 0x7f }) {
		return "/"
	}
	return next
}
