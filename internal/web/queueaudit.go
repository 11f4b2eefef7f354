package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/claimlinc/nphiesq/asynqmon"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/store"
)

// queueRole tells asynqmon who is signed in.
func queueRole(r *http.Request) (name string, operator bool) {
	who := signedIn(r.Context())
	if who == nil {
		return "", false
	}
	return who.Actor(), who.Operator()
}

// noted puts on record what viewers want to change on the queue pages. asynqmon refuses it.
func (s *Server) noted(queues http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && !signedIn(r.Context()).Operator() {
			s.forbidden(r, "post", r.URL.Path)
		}
		queues.ServeHTTP(w, r)
	})
}

// taskTarget is how the audit trail names a task.
func taskTarget(queue, id string) string { return queue + "/" + id }

// archived is asynq's name for the list of tasks that failed for good.
const archived = "archived"

// queueAudit puts what is done on the queue pages into the audit trail, and onto the dead letters it concerns.
type queueAudit struct{ s *Server }

// Before puts the wish on record. What failed for good is tried again or given up by those whose role permits it, and given up for a
// reason only, which the dead letter's page asks for.
func (q queueAudit) Before(ctx context.Context, a asynqmon.Action) error {
	if a.State == archived {
		verb := actions.Retry
		if a.Verb == asynqmon.Delete || a.Verb == asynqmon.BatchDelete {
			verb = actions.Discard
		}
		who := signedIn(ctx)
		switch {
		case who == nil || !who.Has(q.s.roleOf(verb)):
			return errors.Join(q.record(ctx, a, "refused", nil), asynqmon.Refuse(http.StatusForbidden, "this needs the role "+string(q.s.roleOf(verb))))
		case verb == actions.Discard && a.Reason == "":
			letter, err := q.s.opt.Store.LetterByTask(ctx, a.Queue, a.Tasks[0])
			if err == nil && letter.State == store.LetterOpen {
				return asynqmon.Refuse(http.StatusConflict, "to give it up a reason is needed: use its page, /dead/"+letter.ID.String())
			}
		}
	}
	return q.record(ctx, a, "requested", nil)
}

// After puts on record what came of it.
func (q queueAudit) After(ctx context.Context, a asynqmon.Action, r asynqmon.Result) {
	outcome := "applied"
	if !r.OK() {
		outcome = "failed"
	}
	errs := []error{q.record(ctx, a, outcome, map[string]string{"status": strconv.Itoa(r.Status), "done": strings.Join(r.Done, " "), "failed": strings.Join(r.Failed, " ")})}
	if a.State == archived {
		for _, id := range r.Done {
			errs = append(errs, q.settle(ctx, a, id))
		}
	}
	if err := errors.Join(errs...); err != nil {
		q.s.opt.Log.ErrorContext(ctx, "queue action was carried out, its outcome is not fully on record", slog.String("command_id", a.ID.String()), slog.String("error", err.Error()))
	}
}

func (q queueAudit) record(ctx context.Context, a asynqmon.Action, outcome string, detail map[string]string) error {
	row := store.Action{CommandID: a.ID, Actor: a.User, Source: Source, Verb: a.Verb, TargetKind: "queue", Target: a.Queue, Reason: a.Reason, Outcome: outcome, Detail: map[string]string{}}
	switch a.Verb {
	case asynqmon.Run, asynqmon.Delete:
		row.TargetKind, row.Target = "task", taskTarget(a.Queue, a.Tasks[0])
	}
	if a.State != "" {
		row.Detail["list"], row.Detail["tasks"] = a.State, strings.Join(a.Tasks, " ")
	}
	for key, value := range detail {
		if value != "" {
			row.Detail[key] = value
		}
	}
	return q.s.opt.Store.AppendAction(ctx, &row)
}

// settle brings the dead letter of an archived task in line: it runs once more, or it is given up.
func (q queueAudit) settle(ctx context.Context, a asynqmon.Action, id string) error {
	reason := a.Reason
	if reason == "" {
		reason = a.Verb + " on the queue pages"
	}
	if a.Verb == asynqmon.Run || a.Verb == asynqmon.BatchRun {
		return q.s.opt.Store.LetterRerun(ctx, a.Queue, id, a.User, reason, false)
	}
	// Marking the letter alone would not do: its claim would still wish to be sent, and get a new task.
	letter, err := q.s.opt.Store.LetterByTask(ctx, a.Queue, id)
	if store.IsNotFound(err) || (err == nil && letter.State != store.LetterOpen) {
		return nil
	}
	if err == nil {
		_, err = q.s.opt.Store.DiscardLetter(ctx, store.Decision{ID: letter.ID, Actor: a.User, Source: Source, Reason: reason})
	}
	return err
}
