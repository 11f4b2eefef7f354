package web

import (
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
)

const (
	// previewed is how many letters a preview shows.
	previewed = 20
	// usualRate is what the form offers: slow enough for NPHIES to take it beside the day's work.
	usualRate = 60
)

// bulkPage is the preview of a decision about many letters, or a run that carries one out.
type bulkPage struct {
	Filter  store.LetterFilter
	Preview store.BulkPreview
	// Until is the time of the newest letter, to the digit: later ones are not touched.
	Until string
	Rate  int
	// Back is the list with the same filter.
	Back string
	// Run is nil for a preview.
	Run *store.BulkRun
	// Left is how long the rest of a run takes at its rate.
	Left   time.Duration
	Result *result
	Decide bool
	User   *session
}

// bulkPreview shows what a decision about all open letters of a filter would touch.
func (s *Server) bulkPreview(w http.ResponseWriter, r *http.Request) {
	p := bulkPage{Filter: letterFilter(r), Rate: usualRate, User: signedIn(r.Context()), Result: resultOf(r)}
	p.Decide = p.User.Operator()
	p.Back = "/dead?" + letterQuery(p.Filter).Encode()
	var err error
	if p.Preview, err = s.opt.Store.PreviewBulk(r.Context(), choiceOf(p.Filter), previewed); err != nil {
		s.failed(w, r, err)
		return
	}
	if p.Preview.Until != nil {
		p.Until = p.Preview.Until.UTC().Format(time.RFC3339Nano)
	}
	s.render(w, r, http.StatusOK, "bulk", "Decide about many dead letters", p)
}

func choiceOf(f store.LetterFilter) store.BulkChoice {
	return store.BulkChoice{Queue: f.Queue, ErrorKind: f.ErrorKind, ErrorCode: f.ErrorCode, Reference: f.Reference}
}

// bulkBegin puts a run on record. It is worked off in the background, whatever becomes of the browser.
func (s *Server) bulkBegin(w http.ResponseWriter, r *http.Request) {
	f := letterFilter(r)
	back := func(result string) {
		q := letterQuery(f)
		q.Set("result", result)
		http.Redirect(w, r, "/dead/bulk?"+q.Encode(), http.StatusSeeOther)
	}
	reason, bad := reasonOf(r)
	if bad != "" {
		back(bad)
		return
	}
	perMinute, err := strconv.Atoi(r.PostFormValue("rate"))
	if err != nil || perMinute < 1 || perMinute > store.MaxPerMinute {
		back("bad-rate")
		return
	}
	verb := store.BulkVerb(r.PostFormValue("verb"))
	if who := signedIn(r.Context()); !who.Has(s.roleOf(actions.Verb(verb))) {
		s.forbidden(r, string(verb), "dead letters")
		s.problem(w, r, http.StatusForbidden, "Your role may look but not decide.")
		return
	}
	choice := choiceOf(f)
	choice.Until, err = time.Parse(time.RFC3339Nano, r.PostFormValue("until"))
	if err != nil || (verb != store.BulkRetry && verb != store.BulkDiscard) {
		s.problem(w, r, http.StatusBadRequest, "This form is out of date. Go back, reload the page and try again.")
		return
	}
	ctx, done := lasting(r.Context())
	defer done()
	run, err := s.opt.Store.BeginBulk(ctx, verb, choice, perMinute, store.Decision{Actor: signedIn(ctx).Actor(), Source: Source, Reason: reason})
	switch {
	case fault.Is(err, fault.Conflict):
		back("nothing")
	case err != nil:
		s.opt.Log.ErrorContext(ctx, "bulk run not begun", slog.String("error", err.Error()))
		back("not-recorded")
	default:
		select {
		case s.bulkBegun <- struct{}{}:
		default:
		}
		http.Redirect(w, r, "/dead/bulk/"+run.ID.String()+"?result=begun", http.StatusSeeOther)
	}
}

// bulkRun shows how far a run is.
func (s *Server) bulkRun(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	run, err := s.opt.Store.BulkRun(r.Context(), id)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	p := bulkPage{Run: &run, User: signedIn(r.Context()), Result: resultOf(r)}
	p.Decide = p.User.Operator() && run.State == store.BulkRunning
	p.Left = time.Duration(max(run.Total-run.Seen(), 0)) * time.Minute / time.Duration(run.PerMinute)
	p.Back = "/dead?" + url.Values{"queue": {run.Queue}, "kind": {run.ErrorKind}, "reference": {run.Reference}}.Encode()
	s.render(w, r, http.StatusOK, "bulk", say("Bulk run %s", run.ID.String()[:8]), p)
}

// bulkStop stops a run for a reason.
func (s *Server) bulkStop(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	reason, bad := reasonOf(r)
	if bad != "" {
		bulkBack(w, r, id, bad)
		return
	}
	ctx, done := lasting(r.Context())
	defer done()
	stopped, err := s.opt.Store.StopBulk(ctx, store.Decision{ID: id, Actor: signedIn(ctx).Actor(), Source: Source, Reason: reason})
	switch {
	case store.IsNotFound(err):
		s.failed(w, r, err)
	case err != nil:
		s.opt.Log.ErrorContext(ctx, "bulk run not stopped", slog.String("bulk_run_id", id.String()), slog.String("error", err.Error()))
		bulkBack(w, r, id, "not-recorded")
	case !stopped:
		bulkBack(w, r, id, "over")
	default:
		bulkBack(w, r, id, "stopped")
	}
}

func bulkBack(w http.ResponseWriter, r *http.Request, id uuid.UUID, result string) {
	http.Redirect(w, r, "/dead/bulk/"+id.String()+"?result="+result, http.StatusSeeOther) //nolint:gosec // an id and a word of ours
}
