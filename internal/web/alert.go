package web

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
)

// verbButton is a button of the form about an alert.
type verbButton struct {
	Verb   actions.Verb
	Words  phrase
	Danger bool
}

var verbWords = map[actions.Verb]phrase{
	actions.Acknowledge: say("Acknowledge"), actions.Escalate: say("Escalate"), actions.Retry: say("Retry"), actions.Discard: say("Discard"),
	actions.Poll: say("Ask NPHIES now"), actions.Resolve: say("Resolve"),
}

// verbsFor are the buttons of an alert for somebody: what can be done now, and they may do.
func (s *Server) verbsFor(a store.Alert, who *session) (out []verbButton) {
	for _, v := range actions.Offered(a) {
		if who.Has(s.roleOf(v)) {
			out = append(out, verbButton{v, verbWords[v], v == actions.Discard})
		}
	}
	return out
}

// act carries out a verb about the alert of a notification.
func (s *Server) act(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	back := func(result string) {
		http.Redirect(w, r, "/notifications/"+id.String()+"?result="+result, http.StatusSeeOther) //nolint:gosec // an id and a word of ours
	}
	reason, bad := reasonOf(r)
	verb, who := actions.Verb(r.PostFormValue("verb")), signedIn(r.Context())
	switch {
	case !verb.Valid():
		s.problem(w, r, http.StatusBadRequest, "There is no such button.")
		return
	case bad == "reason-long" || bad != "" && verb.NeedsReason():
		back(bad)
		return
	}
	do := s.core.Do
	if !who.Has(s.roleOf(verb)) {
		do = s.core.Forbid
	}
	ctx, done := lasting(r.Context()) // a browser that goes away does not stop a decision half-way
	defer done()
	res, err := do(ctx, actions.Command{
		Notification: id, Verb: verb, Reason: reason, Actor: actions.Actor{ID: who.ID, Name: who.Name, Tenant: who.Tenant}, Source: actions.FromMonitor, AuthMethod: who.Method,
		Address: ratelimit.Address(r.RemoteAddr), UserAgent: r.UserAgent(),
	})
	switch {
	case err != nil:
		s.opt.Log.ErrorContext(ctx, "decision failed", slog.String("verb", string(verb)), slog.String("error", err.Error()))
		back("not-recorded")
	case res.Code == actions.CodeNotPermitted:
		s.problem(w, r, http.StatusForbidden, "Your role may look but not decide.")
	case res.Code == actions.CodeUnknownAlert:
		s.failed(w, r, store.ErrNotFound)
	case res.Outcome == actions.Already:
		back("already")
	case res.Outcome == actions.Refused:
		back("not-possible")
	case res.Later:
		back("later")
	default:
		back("alert-" + strings.ToLower(string(verb)))
	}
}

// patience is how long somebody who pressed a button may have to wait for PostgreSQL.
const patience = 20 * time.Second

// lasting is a context for a decision: a browser that goes away does not stop it half-way, and a server that hangs does not hold it for ever.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), patience)
}

// forbidden puts on record that somebody wanted what their role does not permit.
func (s *Server) forbidden(r *http.Request, verb, target string) {
	who := signedIn(r.Context())
	if who == nil {
		return
	}
	ctx, done := lasting(r.Context())
	defer done()
	a := store.Action{
		Actor: who.Actor(), Source: Source, Verb: verb, TargetKind: "page", Target: target, Outcome: string(actions.Refused),
		Detail: map[string]string{"code": string(actions.CodeNotPermitted), "actor_id": who.ID, "ip": ratelimit.Address(r.RemoteAddr)},
	}
	if err := s.opt.Store.AppendAction(ctx, &a); err != nil {
		s.opt.Log.ErrorContext(ctx, "what was refused is not on record", slog.String("error", err.Error()))
	}
}
