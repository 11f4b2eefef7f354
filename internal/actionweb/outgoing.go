package actionweb

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/signing"
)

// OutgoingPath is where an outgoing webhook of Teams brings typed commands.
const OutgoingPath = "/api/outgoing"

// outgoingRoute names its activities among those whose ids are remembered.
const outgoingRoute = "outgoing"

// Bounds of an outgoing webhook.
const (
	maxOutgoing    = 64 << 10
	outgoingSkew   = 5 * time.Minute
	outgoingBy     = 4500 * time.Millisecond // Teams waits 5 s
	outgoingWithin = 3 * time.Second         // for a command, before the answer is that it goes on
)

// Operators say who may do what from within Teams, by Entra object id.
type Operators interface {
	May(id string, v actions.Verb) bool
}

// OutgoingKey is the security token of an outgoing webhook. It cannot be printed.
type OutgoingKey struct{ secret []byte }

// ParseOutgoingKey reads a security token as Teams shows it: base64. The error does not show it.
func ParseOutgoingKey(text string) (OutgoingKey, error) {
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(secret) < 16 {
		return OutgoingKey{}, errors.New("not a security token of Teams; want base64 of 16 bytes or more")
	}
	return OutgoingKey{secret}, nil
}

// String hides the key.
func (OutgoingKey) String() string { return "<secret>" }

// GoString hides the key.
func (OutgoingKey) GoString() string { return "<secret>" }

// Format hides the key whatever the verb.
func (OutgoingKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "<secret>") }

// Signed reports whether the header Authorization ("HMAC <base64>") is that of a body.
func (k OutgoingKey) Signed(header string, body []byte) bool {
	scheme, text, ok := strings.Cut(header, " ")
	given, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || scheme != "HMAC" || err != nil || strings.ContainsAny(text, "\r\n") || len(k.secret) == 0 {
		return false
	}
	h := hmac.New(sha256.New, k.secret)
	h.Write(body) // never fails
	return hmac.Equal(given, h.Sum(nil))
}

// Outgoing answers an outgoing webhook of Teams: "@ops ack <id>". Teams signs each call and says who typed it.
type Outgoing struct {
	Key       OutgoingKey
	Core      Core
	Operators Operators
	// Tenants are the directories whose people are listened to.
	Tenants []string
	Replays signing.Replays
	// Failures counts addresses whose calls are not signed well; nil counts none.
	Failures *ratelimit.Failures
	Metrics  Metrics // may be nil
	Log      *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// typed is the activity, as far as it is read.
type typed struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Text      string    `json:"text"`
	Timestamp time.Time `json:"timestamp"`
	From      struct {
		Name        string `json:"name"`
		AADObjectID string `json:"aadObjectId"`
	} `json:"from"`
	Conversation struct {
		TenantID string `json:"tenantId"`
	} `json:"conversation"`
	ChannelData struct {
		Tenant struct {
			ID string `json:"id"`
		} `json:"tenant"`
	} `json:"channelData"`
}

var activityID = regexp.MustCompile(`^[A-Za-z0-9:;=@._|-]{1,200}$`)

// ServeHTTP answers 200 with a message that a person understands once the call is known to be Teams'; else 401, 403, 405, 413, 429.
func (o *Outgoing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), outgoingBy)
	defer cancel()
	request, from := rand.Text(), ratelimit.Address(r.RemoteAddr)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		problem(w, http.StatusMethodNotAllowed, "method", "Only POST.", request)
		return
	}
	if o.Failures != nil {
		look, stop := context.WithTimeout(ctx, time.Second)
		wait, err := o.Failures.Blocked(look, from)
		stop()
		if err == nil && wait > 0 { // with Redis away the signature is guard enough
			w.Header().Set("Retry-After", retryAfter(wait))
			problem(w, http.StatusTooManyRequests, "too_many_failures", "Too many calls from this address were not signed well.", request)
			return
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOutgoing))
	if err != nil {
		problem(w, http.StatusRequestEntityTooLarge, "body", "The body is too large or broke off.", request)
		return
	}
	if headers := r.Header.Values("Authorization"); len(headers) != 1 || !o.Key.Signed(headers[0], body) {
		o.refuse(ctx, w, http.StatusUnauthorized, "signature", request, from)
		return
	}
	var a typed
	now := time.Now()
	if o.Now != nil {
		now = o.Now()
	}
	err = json.Unmarshal(body, &a)
	age := now.Sub(a.Timestamp)
	tenants := slices.DeleteFunc([]string{a.ChannelData.Tenant.ID, a.Conversation.TenantID}, func(t string) bool { return t == "" })
	allowed := func(t string) bool {
		return slices.ContainsFunc(o.Tenants, func(s string) bool { return strings.EqualFold(s, t) })
	}
	switch {
	case err != nil, a.Type != "message", !activityID.MatchString(a.ID):
		problem(w, http.StatusBadRequest, "body", "Want a message activity with an id.", request)
		return
	case a.Timestamp.IsZero() || age > outgoingSkew || age < -outgoingSkew: // nothing but the body is signed: this bounds a replay
		o.refuse(ctx, w, http.StatusUnauthorized, "timestamp", request, "")
		return
	case len(tenants) == 0 || slices.ContainsFunc(tenants, func(t string) bool { return !allowed(t) }):
		o.refuse(ctx, w, http.StatusForbidden, "tenant", request, "")
		return
	case a.From.AADObjectID == "":
		o.refuse(ctx, w, http.StatusForbidden, "person_missing", request, "")
		return
	}
	hash := sha256.Sum256(body)
	sum := hex.EncodeToString(hash[:])
	before, err := o.Replays.Remember(ctx, outgoingRoute, a.ID, sum)
	switch {
	case err != nil:
		o.Log.ErrorContext(ctx, "typed command not carried out", slog.String("request_id", request), slog.String("error", err.Error()))
		o.say(w, "It cannot be done now, so nothing was done. Try again in a moment.")
		return
	case before != "" && before != sum:
		o.refuse(ctx, w, http.StatusUnauthorized, "reused", request, "")
		return
	}
	o.say(w, o.run(ctx, r, a, tenants[0], request, from))
}

func (o *Outgoing) refuse(ctx context.Context, w http.ResponseWriter, status int, reason, request, blame string) {
	if o.Metrics != nil {
		o.Metrics.AuthFailure(actions.FromOutgoing, reason)
	}
	o.Log.WarnContext(ctx, "typed command refused", slog.String("request_id", request), slog.String("reason", reason))
	if blame != "" && o.Failures != nil {
		if err := o.Failures.Failed(ctx, blame); err != nil {
			o.Log.WarnContext(ctx, "failure not counted", slog.String("error", err.Error()))
		}
	}
	problem(w, status, "refused", http.StatusText(status), request)
}

// say answers in words.
func (o *Outgoing) say(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	b, err := json.Marshal(map[string]string{"type": "message", "text": text})
	if err == nil {
		_, _ = w.Write(b)
	}
}

// words of the grammar.
var typedVerbs = map[string]actions.Verb{
	"ack": actions.Acknowledge, "escalate": actions.Escalate, "retry": actions.Retry, "discard": actions.Discard, "poll": actions.Poll, "resolve": actions.Resolve,
}

const typedHelp = "Type: ack, escalate, retry, discard, poll or resolve, then the id that stands at the foot of the card, then the reason (retry and discard need one). For example: ack 0190a8f0-0000-7000-8000-000000000000"

var (
	mention = regexp.MustCompile(`(?is)<at\b[^>]*>.*?</at>`)
	markup  = regexp.MustCompile(`(?s)<[^>]*>`)
)

// parseTyped reads "ack <id> [reason]" out of a message with mentions and markup; problem is what to tell who typed it.
func parseTyped(text string) (verb actions.Verb, id uuid.UUID, reason, problem string) {
	text = html.UnescapeString(markup.ReplaceAllString(mention.ReplaceAllString(text, " "), " "))
	words := strings.Fields(text) // also at no-break spaces
	if len(words) < 2 {
		return "", id, "", typedHelp
	}
	verb, ok := typedVerbs[strings.ToLower(words[0])]
	if !ok {
		return "", id, "", "I don't know that word. " + typedHelp
	}
	id, err := uuid.Parse(words[1])
	if err != nil || len(words[1]) != 36 {
		return "", id, "", "That is not the id of a notification. " + typedHelp
	}
	return verb, id, strings.Join(words[2:], " "), ""
}

// run carries out what was typed and says what came of it.
func (o *Outgoing) run(ctx context.Context, r *http.Request, a typed, tenant, request, from string) string {
	verb, id, reason, wrong := parseTyped(a.Text)
	if wrong != "" {
		return wrong
	}
	cmd := actions.Command{
		Key: "outgoing:" + a.ID, Notification: id, Verb: verb, Reason: reason, Actor: actions.Actor{ID: a.From.AADObjectID, Name: a.From.Name, Tenant: tenant},
		Source: actions.FromOutgoing, AuthMethod: "hmac", RequestID: request, Address: from, UserAgent: r.UserAgent(),
	}
	do := o.Core.Do
	if !o.Operators.May(a.From.AADObjectID, verb) {
		do = o.Core.Forbid
	}
	type outcome struct {
		res actions.Result
		err error
	}
	ch := make(chan outcome, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second) // a caller that goes away stops no decision half-way
		defer cancel()
		var out outcome
		defer func() {
			if v := recover(); v != nil { // outside the server's goroutine it would end the program
				out.err = errors.New("the command panicked")
			}
			if out.err != nil {
				o.Log.ErrorContext(ctx, "typed command not carried out", slog.String("request_id", request), slog.String("verb", string(verb)), slog.String("error", out.err.Error()))
			}
			ch <- out
		}()
		out.res, out.err = do(ctx, cmd)
	}()
	wait := time.NewTimer(outgoingWithin)
	defer wait.Stop()
	select {
	case <-wait.C:
		return "It takes longer than usual and goes on. Look at the alert in a moment."
	case out := <-ch:
		switch {
		case out.err != nil:
			return "It cannot be done now, so nothing was done. Try again in a moment."
		case out.res.Outcome == actions.Refused:
			return "Nothing was done. " + out.res.Message
		}
		return out.res.Message
	}
}
