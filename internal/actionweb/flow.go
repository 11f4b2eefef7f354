package actionweb

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/internal/actionlink"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/bot"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
)

// FlowPath is where a flow that waited for a response brings it.
const FlowPath = "/api/v1/flow-actions"

const maxFlow = 64 << 10

// Flow answers flows: each call has a token of Entra for the app that the flow runs as, and an action token for the alert and the verb. Who
// pressed is what the flow says: it goes on record as asserted by the app.
type Flow struct {
	Entra     *bot.Entra
	Keys      actionlink.Keys
	Core      Core
	Record    Record
	Operators Operators
	// Tenants are the directories whose people may act.
	Tenants []string
	// Failures counts addresses that come without a token of Entra's; nil counts none.
	Failures *ratelimit.Failures
	Metrics  Metrics // may be nil
	Log      *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// response is the body. A flow adds what it likes, so unknown fields are passed over.
type response struct {
	Data struct {
		Verb   string `json:"verb"`
		Alert  string `json:"a"`
		Token  string `json:"t"`
		Reason string `json:"reason"`
	} `json:"data"`
	SubmitActionID string `json:"submitActionId"`
	Responder      struct {
		ObjectID    string `json:"objectId"`
		Email       string `json:"email"`
		DisplayName string `json:"displayName"`
		TenantID    string `json:"tenantId"`
	} `json:"responder"`
}

// ServeHTTP answers as API does: 200 (applied, or already so), 400, 401, 403, 404, 405, 409, 410 (the action token is too old), 413, 415, 422, 429
// with Retry-After, 503.
func (f *Flow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, request, from := r.Context(), rand.Text(), ratelimit.Address(r.RemoteAddr)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		problem(w, http.StatusMethodNotAllowed, "method", "Only POST.", request)
		return
	}
	if f.Failures != nil {
		if wait, err := f.Failures.Blocked(ctx, from); err == nil && wait > 0 { // with Redis away the signature is guard enough
			w.Header().Set("Retry-After", retryAfter(wait))
			problem(w, http.StatusTooManyRequests, "too_many_failures", "Too many calls from this address had no token of Entra.", request)
			return
		}
	}
	app, err := f.Entra.Authenticate(r)
	if err != nil {
		f.refuse(ctx, w, err, request, from)
		return
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) != "application/json" {
		problem(w, http.StatusUnsupportedMediaType, "media_type", "Want Content-Type application/json.", request)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFlow))
	if err != nil {
		problem(w, http.StatusRequestEntityTooLarge, "body", "The body is too large or broke off.", request)
		return
	}
	var c response
	if err := json.Unmarshal(body, &c); err != nil {
		problem(w, http.StatusBadRequest, "body", "Want JSON with data {verb, a, t, reason} and responder {objectId, email, displayName, tenantId}.", request)
		return
	}
	cmd, ok := f.command(ctx, w, c, app, request)
	if !ok {
		return
	}
	sum := sha256.Sum256(body)
	cmd.Key = "flow:" + hex.EncodeToString(sum[:16]) // a flow that tries again sends the same
	cmd.Address, cmd.UserAgent = from, r.UserAgent()
	do := f.Core.Do
	if !f.Operators.May(cmd.Actor.ID, cmd.Verb) {
		do = f.Core.Forbid
	}
	res, err := do(context.WithoutCancel(ctx), cmd)
	if err != nil {
		f.Log.ErrorContext(ctx, "action of a flow not carried out", slog.String("request_id", request), slog.String("verb", string(cmd.Verb)), slog.String("error", err.Error()))
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, "unavailable", "It cannot be done now. Send the same again.", request)
		return
	}
	if res.Outcome == actions.Refused {
		problem(w, res.Code.Status(), string(res.Code), res.Message, request)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(res)
}

// command checks the action token and makes the command. If ok is false, it has answered.
func (f *Flow) command(ctx context.Context, w http.ResponseWriter, c response, app bot.App, request string) (cmd actions.Command, ok bool) {
	now := time.Now()
	if f.Now != nil {
		now = f.Now()
	}
	name, known := strings.CutPrefix(c.Data.Verb, "alert.")
	verb := actions.Verb(name)
	if !known || !verb.Valid() {
		problem(w, http.StatusBadRequest, "verb", "data.verb is not one of alert.acknowledge, alert.escalate, alert.retry, alert.discard, alert.poll, alert.resolve.", request)
		return cmd, false
	}
	if c.Responder.ObjectID == "" {
		problem(w, http.StatusBadRequest, "responder", "responder.objectId is missing: who acts goes on record.", request)
		return cmd, false
	}
	t, err := f.Keys.Verify(c.Data.Token, now)
	if errors.Is(err, actionlink.ErrExpired) {
		f.failed("expired")
		problem(w, http.StatusGone, "expired", "The action token is too old. Use a newer card.", request)
		return cmd, false
	}
	id, parse := uuid.Parse(t.Alert)
	if err != nil || parse != nil || t.Alert != c.Data.Alert || t.Verb != name {
		f.failed("action_token")
		problem(w, http.StatusForbidden, "action_token", "data.t is no action token for this alert and verb.", request)
		return cmd, false
	}
	a, err := f.Record.AlertOf(ctx, id)
	switch {
	case store.IsNotFound(err):
		problem(w, http.StatusNotFound, string(actions.CodeUnknownAlert), "There is no such alert any more.", request)
		return cmd, false
	case err != nil:
		f.Log.ErrorContext(ctx, "alert of a flow cannot be read", slog.String("request_id", request), slog.String("error", err.Error()))
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, "unavailable", "It cannot be done now. Send the same again.", request)
		return cmd, false
	case t.Audience != a.Channel:
		f.failed("action_token")
		problem(w, http.StatusForbidden, "action_token", "data.t was made for another channel.", request)
		return cmd, false
	}
	tenant := c.Responder.TenantID
	if tenant == "" {
		tenant = app.Tenant
	}
	for _, allowed := range f.Tenants {
		if strings.EqualFold(allowed, tenant) {
			return actions.Command{
				Notification: id, Verb: verb, Reason: c.Data.Reason,
				Actor:  actions.Actor{ID: c.Responder.ObjectID, Name: first(c.Responder.DisplayName, c.Responder.Email), Tenant: tenant, AssertedBy: app.ID},
				Source: actions.FromFlow, AuthMethod: "entra", KeyID: t.KeyID, RequestID: request,
			}, true
		}
	}
	f.failed("tenant")
	problem(w, http.StatusForbidden, "tenant", "responder.tenantId is no directory whose people may act.", request)
	return cmd, false
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func (f *Flow) failed(reason string) {
	if f.Metrics != nil {
		f.Metrics.AuthFailure(actions.FromFlow, reason)
	}
}

// refuse answers a call without a good token of Entra's, with a text that is the same for all reasons of one status.
func (f *Flow) refuse(ctx context.Context, w http.ResponseWriter, err error, request, from string) {
	reason, signed := "other", false
	if r, ok := errors.AsType[*bot.RefusalError](err); ok {
		reason, signed = r.Reason, r.Signed
	}
	f.failed(reason)
	f.Log.WarnContext(ctx, "call of a flow refused", slog.String("request_id", request), slog.String("reason", reason), slog.String("address", from))
	status := http.StatusUnauthorized
	switch {
	case errors.Is(err, bot.ErrKeys):
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	case errors.Is(err, bot.ErrPolicy):
		status = http.StatusForbidden
	}
	if status == http.StatusUnauthorized && !signed && f.Failures != nil { // power platform's addresses are shared by all tenants
		if err := f.Failures.Failed(ctx, from); err != nil {
			f.Log.WarnContext(ctx, "failure not counted", slog.String("error", err.Error()))
		}
	}
	problem(w, status, "refused", http.StatusText(status), request)
}
