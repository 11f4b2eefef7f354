package actionweb

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/signing"
)

// APIPath is where signed calls come in.
const APIPath = "/api/v1/actions"

// APIRoute names the calls among those whose ids are remembered.
const APIRoute = "actions"

// API answers signed calls (Standard Webhooks) that carry an action. Who acts is what the caller says: it goes on record as asserted by
// the key.
type API struct {
	Receiver *signing.Receiver
	Core     Core
	// Failures counts addresses whose calls are not signed well; nil counts none.
	Failures *ratelimit.Failures
	Metrics  Metrics // may be nil
	// Roles: what needs another role than actions.DefaultRole is not done for a caller, who has only that.
	Roles actions.Permissions
	Log   *slog.Logger
}

// call is the body: {"type":"alert.acknowledge","alert_id":"…","reason":"…","actor":{"id":"…","name":"…"}}.
type call struct {
	Type    string `json:"type"`
	AlertID string `json:"alert_id"`
	Reason  string `json:"reason"`
	Actor   struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"actor"`
}

// exact reports whether the names of a call's fields are spelled as they should be, each once: Go's decoder takes "TYPE", too, and of two
// "type" the last.
func exact(body []byte) bool {
	d := json.NewDecoder(bytes.NewReader(body))
	allowed := []string{"type", "alert_id", "reason", "actor", "id", "name"}
	seen, name, depth := map[string]bool{}, true, 0
	for {
		tok, err := d.Token()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		switch t := tok.(type) {
		case json.Delim:
			if t == '{' {
				depth++
			} else {
				depth--
			}
			name = true
			continue
		case string:
			if name {
				at := strconv.Itoa(depth) + t
				if seen[at] || !slices.Contains(allowed, t) {
					return false
				}
				seen[at] = true
			}
		}
		name = !name
	}
}

// patience is how long a caller, or a person who pressed a button, may have to wait for PostgreSQL.
const patience = 20 * time.Second

// retryAfter is the value of the header, in whole seconds.
func retryAfter(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(max(d, time.Second).Seconds())))
}

// problem answers with application/problem+json (RFC 9457).
func problem(w http.ResponseWriter, status int, code, detail, request string) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	b, err := json.Marshal(map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "code": code, "detail": detail, "request_id": request})
	if err == nil {
		_, _ = w.Write(append(b, '\n'))
	}
}

// ServeHTTP answers 200 (applied, or already so), 400, 401, 403, 404, 405, 409, 413, 415, 422, 429 with Retry-After, 503. What is
// refused for its signature is told no reason.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, request, from := r.Context(), rand.Text(), ratelimit.Address(r.RemoteAddr)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		problem(w, http.StatusMethodNotAllowed, "method", "Only POST.", request)
		return
	}
	if a.Failures != nil {
		wait, err := a.Failures.Blocked(ctx, from)
		if err != nil {
			a.away(w, request)
			return
		}
		if wait > 0 {
			w.Header().Set("Retry-After", retryAfter(wait))
			problem(w, http.StatusTooManyRequests, "too_many_failures", "Too many calls from this address were not signed well.", request)
			return
		}
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) != "application/json" {
		problem(w, http.StatusUnsupportedMediaType, "media_type", "Want Content-Type application/json.", request)
		return
	}
	signed, err := a.Receiver.Check(w, r)
	if err != nil {
		a.refuse(ctx, w, err, request, from)
		return
	}
	var c call
	d := json.NewDecoder(bytes.NewReader(signed.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil || !exact(signed.Body) || !errors.Is(d.Decode(&struct{}{}), io.EOF) {
		problem(w, http.StatusBadRequest, "body", `Want one JSON object with type, alert_id, reason and actor {id, name}, and nothing else.`, request)
		return
	}
	verb, known := strings.CutPrefix(c.Type, "alert.")
	id, err := uuid.Parse(c.AlertID)
	switch {
	case !known || !actions.Verb(verb).Valid():
		problem(w, http.StatusBadRequest, "type", "type is not one of alert.acknowledge, alert.escalate, alert.retry, alert.discard, alert.poll, alert.resolve.", request)
		return
	case err != nil:
		problem(w, http.StatusBadRequest, "alert_id", "alert_id is not the id of a notification (a UUID).", request)
		return
	case c.Actor.ID == "":
		problem(w, http.StatusBadRequest, "actor", "actor.id is missing: who acts goes on record.", request)
		return
	}
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	do := a.Core.Do
	if a.Roles.Role(actions.Verb(verb)) != actions.DefaultRole {
		do = a.Core.Forbid
	}
	res, err := do(work, actions.Command{
		Key: "api:" + signed.ID, Notification: id, Verb: actions.Verb(verb), Reason: c.Reason,
		Actor: actions.Actor{Type: actions.Service, ID: c.Actor.ID, Name: c.Actor.Name, AssertedBy: signed.Key}, Source: actions.FromAPI, AuthMethod: "hmac", KeyID: signed.Key,
		RequestID: request, Address: from, UserAgent: r.UserAgent(),
	})
	if err != nil {
		a.Log.ErrorContext(ctx, "action not carried out", slog.String("request_id", request), slog.String("verb", verb), slog.String("error", err.Error()))
		a.away(w, request)
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

func (a *API) away(w http.ResponseWriter, request string) {
	w.Header().Set("Retry-After", "5")
	problem(w, http.StatusServiceUnavailable, "unavailable", "It cannot be done now. Send it again under the same webhook-id.", request)
}

// refuse answers a call whose check failed, with a text that is the same for all reasons of one status.
func (a *API) refuse(ctx context.Context, w http.ResponseWriter, err error, request, from string) {
	reason, status := signing.Reason(err), signing.Status(err)
	if a.Metrics != nil {
		a.Metrics.AuthFailure(actions.FromAPI, reason)
	}
	a.Log.WarnContext(ctx, "signed call refused", slog.String("request_id", request), slog.String("reason", err.Error()), slog.String("address", from))
	if status == http.StatusUnauthorized {
		a.Core.Intruder(ctx, actions.FromAPI, reason, from)
	}
	if status == http.StatusUnauthorized && a.Failures != nil {
		if err := a.Failures.Failed(ctx, from); err != nil {
			a.Log.WarnContext(ctx, "failure not counted", slog.String("error", err.Error()))
		}
	}
	if status == http.StatusServiceUnavailable {
		a.away(w, request)
		return
	}
	problem(w, status, "refused", http.StatusText(status), request)
}
