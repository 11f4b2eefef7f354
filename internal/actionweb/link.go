// Package actionweb answers on the public address of actions: the pages behind the links on cards, and the signed API. Each of them finds
// out who asks, and hands a command to internal/actions.
package actionweb

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/internal/actionlink"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/signin"
	"github.com/claimlinc/nphiesq/internal/store"
)

// maxForm is the largest form, in bytes.
const maxForm = 8 << 10

// Core carries out commands: *actions.Core.
type Core interface {
	Do(ctx context.Context, cmd actions.Command) (actions.Result, error)
	Forbid(ctx context.Context, cmd actions.Command) (actions.Result, error)
	Intruder(ctx context.Context, source actions.Source, reason, address string)
}

// Record is what the pages read: *store.Store.
type Record interface {
	AlertOf(ctx context.Context, notification uuid.UUID) (store.Alert, error)
	DeadLetter(ctx context.Context, id uuid.UUID) (store.DeadLetter, error)
	CommandResult(ctx context.Context, key string) (json.RawMessage, error)
}

// Metrics counts those who are not let in. reason is from a closed set.
type Metrics interface {
	AuthFailure(source actions.Source, reason string)
}

// Links answers to the links on cards. GET and HEAD change nothing, whoever fetches the address: the change is a form that a person
// who has signed in sends.
type Links struct {
	Keys   actionlink.Keys
	Core   Core
	Record Record
	Door   *signin.Door
	Roles  actions.Permissions
	// Failures counts addresses that try out tokens; nil counts none.
	Failures *ratelimit.Failures
	Metrics  Metrics // may be nil
	// Monitor is the address of the monitor, "" for none.
	Monitor string
	Log     *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Mount adds the routes to mux.
func (l *Links) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /a/{token}", l.ask)
	mux.Handle("POST /a/{token}", l.Door.SameOrigin(http.HandlerFunc(l.press)))
	mux.HandleFunc("GET /a/{token}/done/{form}", l.done)
}

//go:embed link.html
var linkHTML string

var linkPage = template.Must(template.New("link").Parse(linkHTML))

// view is what the page shows.
type view struct {
	Title, Text string
	Good        bool // the text is good news
	Alert       *store.Alert
	Letter      *store.DeadLetter // behind the alert, if there is one
	Person      *signin.Session
	Verb        actions.Verb
	What        string // the verb on the button
	Will        string // what will happen
	Action      string // where the form goes; "" for no form
	Reason      bool   // a reason is needed
	Danger      bool
	Form, Proof string
	Monitor     string
	Nonce       string
}

// words are a verb's button and what it will do.
var words = map[actions.Verb]struct{ button, will string }{
	actions.Acknowledge: {"Acknowledge", "You say that you see to it. It is not told again for a while."},
	actions.Escalate:    {"Escalate", "The next group hears of it, one step more urgently, and whoever is on call is paged where that is set up."},
	actions.Retry:       {"Retry", "The work is tried again with a fresh budget of attempts. The same bytes are sent: nothing can be billed twice by it."},
	actions.Discard:     {"Discard", "The work is given up for good, and the claim ends in error. To bill it after all, it has to be handed in as a new version."},
	actions.Poll:        {"Ask NPHIES now", "The mailbox of the licence is asked at once."},
	actions.Resolve:     {"Resolve", "You say that it is over."},
}

func (l *Links) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// show writes a page.
func (l *Links) show(w http.ResponseWriter, r *http.Request, status int, v view) {
	v.Nonce, v.Monitor = rand.Text(), l.Monitor
	if v.Alert != nil && v.Alert.LetterID != nil {
		if letter, err := l.Record.DeadLetter(r.Context(), *v.Alert.LetterID); err == nil { // without it the page says less
			v.Letter = &letter
		}
	}
	var b bytes.Buffer
	if err := linkPage.Execute(&b, v); err != nil {
		l.Log.ErrorContext(r.Context(), "page of a link cannot be made", slog.String("error", err.Error()))
		http.Error(w, "This page cannot be shown.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+v.Nonce+"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	guard(h)
	w.WriteHeader(status)
	_, _ = b.WriteTo(w)
}

// guard sets what all answers have in common.
func guard(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Strict-Transport-Security", "max-age=31536000") // browsers take it over https only
}

// verified reads the token of the address and the alert it is for. If it returns false, it has answered. With old set an expired one will do.
func (l *Links) verified(w http.ResponseWriter, r *http.Request, old bool) (t actionlink.Token, a store.Alert, ok bool) {
	ctx, from := r.Context(), ratelimit.Address(r.RemoteAddr)
	guard(w.Header()) // also for the way to the sign-in
	if l.Failures != nil {
		if wait, err := l.Failures.Blocked(ctx, from); err == nil && wait > 0 { // with Redis away the signature is guard enough
			w.Header().Set("Retry-After", retryAfter(wait))
			l.show(w, r, http.StatusTooManyRequests, view{Title: "Too many attempts", Text: "Too many links from your address were not ours. Wait a while."})
			return t, a, false
		}
	}
	t, err := l.Keys.Verify(r.PathValue("token"), l.now())
	id, parseErr := uuid.Parse(t.Alert)
	switch {
	case errors.Is(err, actionlink.ErrExpired) && old:
	case errors.Is(err, actionlink.ErrExpired):
		l.failed(ctx, "expired", "")
		l.show(w, r, http.StatusGone, view{Title: "Link expired", Text: "This link is too old. Open the alert in the monitor, or use a newer card."})
		return t, a, false
	case err != nil || parseErr != nil || !actions.Verb(t.Verb).Valid():
		l.failed(ctx, "token", from)
		l.show(w, r, http.StatusBadRequest, view{Title: "Not a valid link", Text: "This is none of our links, or it was changed on its way. Open it from the card again."})
		return t, a, false
	}
	a, err = l.Record.AlertOf(ctx, id)
	switch {
	case store.IsNotFound(err):
		l.show(w, r, http.StatusNotFound, view{Title: "Alert gone", Text: "There is no such alert any more."})
		return t, a, false
	case err != nil:
		l.Log.ErrorContext(ctx, "alert of a link cannot be read", slog.String("link", t.ID), slog.String("error", err.Error()))
		l.show(w, r, http.StatusServiceUnavailable, view{Title: "Not now", Text: "The record does not answer at the moment. Nothing was changed. Try again."})
		return t, a, false
	}
	return t, a, true
}

// failed counts somebody who was not let in; address is "" where that proves nothing against it.
func (l *Links) failed(ctx context.Context, reason, address string) {
	if l.Metrics != nil {
		l.Metrics.AuthFailure(actions.FromLink, reason)
	}
	if address != "" {
		l.Core.Intruder(ctx, actions.FromLink, reason, address)
	}
	if l.Failures == nil || address == "" {
		return
	}
	if err := l.Failures.Failed(ctx, address); err != nil {
		l.Log.WarnContext(ctx, "failure not counted", slog.String("error", err.Error()))
	}
}

// proof binds a form to the session and the link, so that no other page can make one.
func proof(s *signin.Session, link, form string) string {
	h := hmac.New(sha256.New, []byte(s.CSRF))
	h.Write([]byte("action-form." + link + "." + form)) // never fails
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// ask shows what would be done, and a button. It changes nothing.
func (l *Links) ask(w http.ResponseWriter, r *http.Request) {
	t, a, ok := l.verified(w, r, false)
	if !ok {
		return
	}
	l.Door.Wall(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.form(w, r, t, a, http.StatusOK, "")
	})).ServeHTTP(w, r)
}

// form shows the page of a link; problem says what was wrong with the one before.
func (l *Links) form(w http.ResponseWriter, r *http.Request, t actionlink.Token, a store.Alert, status int, problem string) {
	who, verb := signin.From(r.Context()), actions.Verb(t.Verb)
	v := view{Title: words[verb].button, Alert: &a, Person: who, Verb: verb, What: words[verb].button, Will: words[verb].will, Text: problem}
	switch {
	case !who.Has(signin.Role(l.Roles.Role(verb))):
		v.Text = "You may look but not do this: it needs the role " + l.Roles.Role(verb) + "."
	case !slices.Contains(actions.Offered(a), verb):
		v.Text = "There is nothing to do: it is " + string(a.State) + "."
		if a.TakenBy != "" {
			v.Text += " By " + a.TakenBy + ", " + a.TakenAt.UTC().Format("2006-01-02 15:04:05 UTC") + "."
		}
		v.Good = true
	default:
		v.Action, v.Form = r.URL.EscapedPath(), rand.Text()
		v.Proof = proof(who, t.ID, v.Form)
		v.Reason, v.Danger = verb.NeedsReason(), verb == actions.Discard
	}
	l.show(w, r, status, v)
}

// press carries out what a person confirmed.
func (l *Links) press(w http.ResponseWriter, r *http.Request) {
	t, a, ok := l.verified(w, r, false)
	if !ok {
		return
	}
	l.Door.Wall(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.pressed(w, r, t, a) })).ServeHTTP(w, r)
}

func (l *Links) pressed(w http.ResponseWriter, r *http.Request, t actionlink.Token, a store.Alert) {
	ctx, who, verb := r.Context(), signin.From(r.Context()), actions.Verb(t.Verb)
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != "application/x-www-form-urlencoded" {
		l.show(w, r, http.StatusUnsupportedMediaType, view{Title: "Not a form", Text: "Only the form of the page is taken."})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			status = http.StatusRequestEntityTooLarge
		}
		l.show(w, r, status, view{Title: "Not taken", Text: "The form is too large or not readable. A reason may have 500 characters."})
		return
	}
	form := r.PostForm.Get("form")
	if form == "" || len(form) > 64 || !hmac.Equal([]byte(r.PostForm.Get("proof")), []byte(proof(who, t.ID, form))) {
		l.failed(ctx, "form", "")
		l.form(w, r, t, a, http.StatusForbidden, "The form was out of date, so nothing was done. Here is a new one.")
		return
	}
	cmd := actions.Command{
		Key: key(t, form), Notification: a.Notification, Verb: verb, Reason: r.PostForm.Get("reason"),
		Actor: actions.Actor{ID: who.ID, Name: who.Name, Tenant: who.Tenant}, Source: actions.FromLink, AuthMethod: who.Method, KeyID: t.KeyID,
		RequestID: rand.Text(), Address: ratelimit.Address(r.RemoteAddr), UserAgent: r.UserAgent(),
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience) // a browser that goes away stops no decision half-way
	defer cancel()
	do := l.Core.Do
	if !who.Has(signin.Role(l.Roles.Role(verb))) {
		do = l.Core.Forbid
	}
	res, err := do(ctx, cmd)
	switch {
	case err != nil:
		l.Log.ErrorContext(ctx, "link not carried out", slog.String("link", t.ID), slog.String("verb", t.Verb), slog.String("error", err.Error()))
		l.show(w, r, http.StatusServiceUnavailable, view{Title: "Not done", Text: res.Message, Alert: &a, Person: who})
	case res.Code == actions.CodeNoReason:
		l.form(w, r, t, a, res.Code.Status(), res.Message)
	case res.Outcome == actions.Refused:
		l.show(w, r, res.Code.Status(), view{Title: "Not done", Text: res.Message, Alert: &a, Person: who})
	default:
		http.Redirect(w, r, "/a/"+r.PathValue("token")+"/done/"+form, http.StatusSeeOther) //nolint:gosec // both are ours: the token's and the form's signature were good
	}
}

// key makes the second sending of one form known. A new page has a new form: pressing there is a new command, and the state of the alert
// says what it does.
func key(t actionlink.Token, form string) string { return "link:" + t.ID + ":" + form }

// done shows what came of a form.
func (l *Links) done(w http.ResponseWriter, r *http.Request) {
	t, a, ok := l.verified(w, r, true)
	if !ok {
		return
	}
	l.Door.Wall(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := view{Title: words[actions.Verb(t.Verb)].button, Alert: &a, Person: signin.From(r.Context())}
		raw, err := l.Record.CommandResult(r.Context(), key(t, r.PathValue("form")))
		var res actions.Result
		if err == nil {
			err = json.Unmarshal(raw, &res)
		}
		if err != nil {
			l.show(w, r, http.StatusNotFound, view{Title: "Nothing here", Text: "No form was sent from this page.", Alert: &a, Person: v.Person})
			return
		}
		v.Text, v.Good = res.Message, true
		l.show(w, r, http.StatusOK, v)
	})).ServeHTTP(w, r)
}
