package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
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
	Groups                       []letterGroup
	Runs                         []store.BulkRun
	States                       []store.LetterState
	Queues                       []string
	Kinds                        []fault.Kind
	State, Queue, Kind, Referred string
	// Code is nil for any code.
	Code *string
	Full bool
	// Bulk leads to a decision about all open letters of this filter, "" for those who may not decide.
	Bulk string
}

// letterGroup is a group with the ways to its letters and to a decision about them.
type letterGroup struct {
	store.LetterGroup
	Link, Bulk string
}

// letterFilter reads which letters are asked for.
func letterFilter(r *http.Request) store.LetterFilter {
	f := store.LetterFilter{Queue: r.FormValue("queue"), ErrorKind: r.FormValue("kind"), Reference: typed(r, "reference"), Limit: listed}
	if !slices.Contains(tasks.Queues(), f.Queue) {
		f.Queue = ""
	}
	if !slices.Contains(fault.Kinds(), fault.Kind(f.ErrorKind)) {
		f.ErrorKind = ""
	}
	if r.Form.Has("code") && (typed(r, "code") != "" || r.FormValue("exact") != "") {
		code := typed(r, "code")
		f.ErrorCode = &code
	}
	if state := store.LetterState(r.FormValue("state")); slices.Contains(letterStates, state) {
		f.States = []store.LetterState{state}
	}
	return f
}

// letterQuery writes a filter as a query.
func letterQuery(f store.LetterFilter) url.Values {
	q := url.Values{}
	set := func(name, v string) {
		if v != "" {
			q.Set(name, v)
		}
	}
	set("queue", f.Queue)
	set("kind", f.ErrorKind)
	set("reference", f.Reference)
	if f.ErrorCode != nil {
		q.Set("code", *f.ErrorCode)
		if *f.ErrorCode == "" {
			q.Set("exact", "1")
		}
	}
	return q
}

func (s *Server) letterList(w http.ResponseWriter, r *http.Request) {
	f := letterFilter(r)
	p := letterListPage{States: letterStates, Queues: tasks.Queues(), Kinds: fault.Kinds(), Queue: f.Queue, Kind: f.ErrorKind, Referred: f.Reference, Code: f.ErrorCode}
	if len(f.States) > 0 {
		p.State = string(f.States[0])
	}
	decides := signedIn(r.Context()).Operator()
	var err error
	if p.Letters, err = s.opt.Store.DeadLetters(r.Context(), f); err != nil {
		s.failed(w, r, err)
		return
	}
	groups := f
	if len(groups.States) == 0 {
		groups.States = []store.LetterState{store.LetterOpen}
	}
	found, err := s.opt.Store.LetterGroups(r.Context(), groups)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	open := 0
	for _, g := range found {
		one := store.LetterFilter{Queue: g.Queue, ErrorKind: g.ErrorKind, ErrorCode: &g.ErrorCode, Reference: f.Reference}
		q := letterQuery(one)
		x := letterGroup{LetterGroup: g, Link: "/dead?" + q.Encode() + "&state=" + string(groups.States[0])}
		if decides && groups.States[0] == store.LetterOpen {
			x.Bulk = "/dead/bulk?" + q.Encode()
			open += g.Count
		}
		p.Groups = append(p.Groups, x)
	}
	if open > 0 {
		p.Bulk = "/dead/bulk?" + letterQuery(f).Encode()
	}
	if p.Runs, err = s.opt.Store.BulkRuns(r.Context(), false, 5); err != nil {
		s.failed(w, r, err)
		return
	}
	p.Full = len(p.Letters) == listed
	s.render(w, r, http.StatusOK, "letters", "Dead letters", p)
}

// result is what came of a decision, as ?result= after the form was sent.
type result struct {
	Good bool
	Text phrase
}

var results = map[string]result{
	"retry":        {true, say("It will be tried again with a fresh budget of attempts.")},
	"discard":      {true, say("It was given up.")},
	"later":        {true, say("The decision is on record. Redis does not answer at the moment; the work follows by itself when it is back.")},
	"already":      {false, say("Somebody decided before you: see below. Nothing was changed.")},
	"no-reason":    {false, say("A reason is needed: those who come after you must understand the decision.")},
	"reason-long":  {false, say("The reason is too long: 500 characters at most.")},
	"resumed":      {true, say("It goes on: what waited is sent within seconds.")},
	"no-pause":     {false, say("There is no such pause any more. Nothing was changed.")},
	"not-recorded": {false, say("The decision could not be put on record, so nothing was changed. Try again.")},
	"resent":       {true, say("It is sent again.")},
	"waits":        {false, say("It waits to be sent anyway. Nothing was changed.")},
	"begun":        {true, say("It has begun, and goes on without this page.")},
	"stopped":      {true, say("It was stopped. What was decided before stays decided.")},
	"over":         {false, say("It was over already.")},
	"nothing":      {false, say("No open dead letter is chosen any more. Nothing was changed.")},
	"not-possible": {false, say("That is not possible any more: see its state. Nothing was changed.")},

	"alert-acknowledge": {true, say("Acknowledged: it is not told again for a while.")},
	"alert-escalate":    {true, say("Escalated: the next group hears of it.")},
	"alert-retry":       {true, say("It will be tried again with a fresh budget of attempts.")},
	"alert-discard":     {true, say("It was given up.")},
	"alert-poll":        {true, say("The mailbox is asked now.")},
	"alert-resolve":     {true, say("Resolved.")},

	"bad-rate": {false, say("The rate must be between 1 and 6000 a minute.")},
}

// resultOf returns the result that an address names, nil for none.
func resultOf(r *http.Request) *result {
	if res, ok := results[r.FormValue("result")]; ok {
		return &res
	}
	return nil
}

type letterPage struct {
	Letter  store.DeadLetter
	Actions []store.Action
	Result  *result
	// Decide is true when this user may decide about this letter.
	Decide bool
	User   *session
	// Runbook leads to what to do about letters of this kind, "" for nowhere.
	Runbook string
}

// runbook is the address of the runbook for a kind of error.
func runbook(base, kind string) string {
	if strings.HasSuffix(base, "/") {
		return base + kind + ".md"
	}
	return base
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
	p.Result, p.Runbook = resultOf(r), runbook(s.opt.Runbook, p.Letter.ErrorKind)
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
		ctx, done := lasting(r.Context())
		defer done()
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
