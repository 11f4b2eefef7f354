package web

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

type inboxPage struct {
	Entries []store.InboxEntry
	Events  []string
	Event   string
	// Unmatched: only what belongs to nothing of ours.
	Unmatched bool
	Full      bool
}

// inboxEvents are those that a mailbox is known to bring.
var inboxEvents = []string{
	nphiesclient.EventClaimResponse, nphiesclient.EventPriorAuthResponse, nphiesclient.EventAdvancedAuthorization,
	nphiesclient.EventCommunicationRequest, nphiesclient.EventPaymentReconcile,
}

func (s *Server) inbox(w http.ResponseWriter, r *http.Request) {
	p := inboxPage{Events: inboxEvents, Event: r.FormValue("event"), Unmatched: r.FormValue("unmatched") != ""}
	var err error
	if p.Entries, err = s.opt.Store.Inbox(r.Context(), store.InboxFilter{Event: p.Event, Unmatched: p.Unmatched, Limit: listed}); err != nil {
		s.failed(w, r, err)
		return
	}
	p.Full = len(p.Entries) == listed
	s.render(w, r, http.StatusOK, "inbox", "Inbox", p)
}

type paymentListPage struct {
	Payments []store.Payment
	Full     bool
}

func (s *Server) paymentList(w http.ResponseWriter, r *http.Request) {
	found, err := s.opt.Store.Payments(r.Context(), listed)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, "payments", "Payments", paymentListPage{found, len(found) == listed})
}

func (s *Server) paymentPage(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	p, err := s.opt.Store.Payment(r.Context(), id)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, "payment", say("Payment %s", p.Identifier.Value), p)
}

type pausesPage struct {
	Pauses []store.Pause
	Result *result
	// Decide is true when this user may resume.
	Decide bool
	User   *session
}

func (s *Server) pauses(w http.ResponseWriter, r *http.Request) {
	p := pausesPage{User: signedIn(r.Context())}
	var err error
	if p.Pauses, err = s.opt.Store.Pauses(r.Context()); err != nil {
		s.failed(w, r, err)
		return
	}
	p.Result = resultOf(r)
	p.Decide = p.User.Operator()
	s.render(w, r, http.StatusOK, "pauses", "Pauses", p)
}

// resume ends a pause for a reason.
func (s *Server) resume(w http.ResponseWriter, r *http.Request) {
	back := func(result string) {
		http.Redirect(w, r, "/pauses?result="+result, http.StatusSeeOther) //nolint:gosec // our own page: the result is a word of ours
	}
	reason, bad := reasonOf(r)
	if bad != "" {
		back(bad)
		return
	}
	ctx, done := lasting(r.Context())
	defer done()
	applied, err := s.opt.Store.Resume(ctx, strings.TrimSpace(r.PostFormValue("license")), strings.TrimSpace(r.PostFormValue("payer")),
		store.Decision{Actor: signedIn(ctx).Actor(), Source: Source, Reason: reason})
	switch {
	case err != nil:
		s.opt.Log.ErrorContext(ctx, "pause not ended", slog.String("error", err.Error()))
		back("not-recorded")
	case !applied:
		back("no-pause")
	default:
		back("resumed")
	}
}
