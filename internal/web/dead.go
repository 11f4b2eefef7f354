package web

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

// maxReason is the longest reason, in characters.
const maxReason = 500

var letterStates = []store.LetterState{store.LetterOpen, store.LetterRetrying, store.LetterDiscarded, store.LetterResolved}

type letterListPage struct {
	Letters                      []store.DeadLetter
	States                       []store.LetterState
	Queues                       []string
	Kinds                        []fault.Kind
	State, Queue, Kind, Referred string
	Full                         bool
}

func (s *Server) letterList(w http.ResponseWriter, r *http.Request) {
	p := letterListPage{
		States: letterStates, Queues: tasks.Queues(), Kinds: fault.Kinds(),
		State: r.FormValue("state"), Queue: r.FormValue("queue"), Kind: r.FormValue("kind"), Referred: strings.TrimSpace(r.FormValue("reference")),
	}
	f := store.LetterFilter{Queue: p.Queue, ErrorKind: p.Kind, Reference: p.Referred, Limit: listed}
	if slices.Contains(letterStates, store.LetterState(p.State)) {
		f.States = []store.LetterState{store.LetterState(p.State)}
	}
	var err error
	if p.Letters, err = s.opt.Store.DeadLetters(r.Context(), f); err != nil {
		s.failed(w, r, err)
		return
	}
	p.Full = len(p.Letters) == listed
	s.render(w, r, http.StatusOK, "letters", "Dead letters", p)
}

// result is what came of a decision, as ?result= after the form was sent.
type result struct {
	Good bool
	Text string
}

var results = map[string]result{
	"retry":        {true, "It will be tried again with a fresh budget of attempts."},
	"discard":      {true, "It was given up."},
	"later":        {true, "The decision is on record. Redis does not answer at the moment; the work follows by itself when it is back."},
	"already":      {false, "Somebody decided before you: see below. Nothing was changed."},
	"no-reason":    {false, "A reason is needed: those who come after you must understand the decision."},
	"reason-long":  {false, "The reason is too long: 500 characters at most."},
	"resumed":      {true, "It goes on: what waited is sent within seconds."},
	"no-pause":     {false, "There is no such pause any more. Nothing was changed."},
	"not-recorded": {false, "The decision could not be put on record, so nothing was changed. Try again."},
}

type letterPage struct {
	Letter  store.DeadLetter
	Actions []store.Action
	Result  *result
	// Decide is true when this user may decide about this letter.
	Decide bool
	User   *session
}

func (s *Server) letterPage(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	p := letterPage{User: signedIn(r.Context())}
	if p.Letter, err = s.opt.Store.DeadLetter(r.Context(), id); err != nil {
		s.failed(w, r, err)
		return
	}
	if p.Actions, err = s.opt.Store.ActionsOn(r.Context(), id.String(), taskTarget(p.Letter.Queue, p.Letter.TaskID)); err != nil {
		s.failed(w, r, err)
		return
	}
	if res, ok := results[r.FormValue("result")]; ok {
		p.Result = &res
	}
	p.Decide = p.User.Operator() && p.Letter.State == store.LetterOpen
	s.render(w, r, http.StatusOK, "letter", "Dead letter", p)
}

// reasonOf reads the reason of a form; bad is the result to show when it will not do.
func reasonOf(r *http.Request) (reason, bad string) {
	reason = strings.Join(strings.Fields(strings.ToValidUTF8(strings.ReplaceAll(r.PostFormValue("reason"), "\x00", ""), "")), " ")
	switch {
	case reason == "":
		return "", "no-reason"
	case len([]rune(reason)) > maxReason:
		return "", "reason-long"
	}
	return reason, ""
}

// decide carries out a decision about a dead letter and leads back to its page, which says what came of it.
func (s *Server) decide(verb string, apply func(context.Context, store.Decision) (store.Decided, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := pathID(r)
		if err != nil {
			s.failed(w, r, err)
			return
		}
		back := func(result string) {
			http.Redirect(w, r, "/dead/"+id.String()+"?result="+result, http.StatusSeeOther) //nolint:gosec // our own page: the id was parsed, the result is a word of ours
		}
		reason, bad := reasonOf(r)
		if bad != "" {
			back(bad)
			return
		}
		// A browser that goes away does not stop a decision half-way.
		ctx := context.WithoutCancel(r.Context())
		out, err := apply(ctx, store.Decision{ID: id, Actor: signedIn(ctx).Actor(), Source: Source, Reason: reason})
		switch {
		case store.IsNotFound(err):
			s.failed(w, r, err)
		case err != nil && out.Applied && out.Letter.State != store.LetterOpen:
			s.opt.Log.WarnContext(ctx, "decision is on record, the queue has to follow", slog.String("verb", verb), slog.String("dead_letter_id", id.String()), slog.String("error", err.Error()))
			back("later")
		case err != nil:
			s.opt.Log.ErrorContext(ctx, "decision failed", slog.String("verb", verb), slog.String("dead_letter_id", id.String()), slog.String("error", err.Error()))
			back("not-recorded")
		case !out.Applied:
			back("already")
		default:
			back(verb)
		}
	}
}
