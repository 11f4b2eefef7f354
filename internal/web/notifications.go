package web

import (
	"log/slog"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/store"
)

var notificationStates = []string{"waiting", "sent", "dead"}

var priorities = []cards.Priority{cards.Critical, cards.High, cards.Medium, cards.Low, cards.Info}

type notificationListPage struct {
	Notifications                            []store.Notification
	Channels, EventTypes, States             []string
	Priorities                               []cards.Priority
	Status, Channel, EventType, PriorityOnly string
	Unacknowledged                           bool
	Pager                                    pager
}

func (s *Server) notificationList(w http.ResponseWriter, r *http.Request) {
	p := notificationListPage{
		States: notificationStates, Priorities: priorities, Status: r.FormValue("status"), Channel: typed(r, "channel"), EventType: typed(r, "event"),
		PriorityOnly: r.FormValue("priority"), Unacknowledged: r.FormValue("unacknowledged") != "",
	}
	if !slices.Contains(notificationStates, p.Status) {
		p.Status = ""
	}
	if !slices.Contains(priorities, cards.Priority(p.PriorityOnly)) {
		p.PriorityOnly = ""
	}
	values, err := s.opt.Store.NotificationValues(r.Context())
	if err != nil {
		s.failed(w, r, err)
		return
	}
	p.Channels, p.EventTypes = values.Channels, values.EventTypes
	found, err := s.opt.Store.SearchNotifications(r.Context(), store.NotificationSearch{
		Status: p.Status, Channel: p.Channel, EventType: p.EventType, Priority: p.PriorityOnly, Unacknowledged: p.Unacknowledged,
	}, turnOf(r))
	if err != nil {
		s.failed(w, r, err)
		return
	}
	p.Notifications, p.Pager = found.Rows, pagerOf(r, found)
	s.render(w, r, http.StatusOK, "notifications", "Notifications", p)
}

type notificationPage struct {
	ID uuid.UUID
	// Notifications are those that went out in one digest, when the id is that of a digest; else there is One.
	Notifications []store.Notification
	One           *store.Notification
	Proof         store.Proof
	Card          card
	Actions       []store.Action
	Result        *result
	// Decide is true when this user may decide, Resend when there is something to send again.
	Decide, Resend bool
	User           *session
	Alert          store.Alert
	Verbs          []verbButton
}

// notificationPage shows one notification, or all that went out in one digest card, which links here.
func (s *Server) notificationPage(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	p := notificationPage{ID: id, User: signedIn(r.Context()), Result: resultOf(r)}
	one, proof, err := s.opt.Store.NotificationCard(r.Context(), id)
	switch {
	case store.IsNotFound(err):
		if p.Notifications, err = s.opt.Store.DigestMembers(r.Context(), id.String(), listed); err == nil && len(p.Notifications) == 0 {
			err = store.ErrNotFound
		}
		if err != nil {
			s.failed(w, r, err)
			return
		}
		s.render(w, r, http.StatusOK, "notification", "Notifications of one card", p)
		return
	case err != nil:
		s.failed(w, r, err)
		return
	}
	p.One, p.Proof, p.Card = &one, proof, readCard(one.Card)
	if p.Alert, err = s.opt.Store.AlertOf(r.Context(), id); err != nil {
		s.failed(w, r, err)
		return
	}
	p.Verbs = s.verbsFor(p.Alert, p.User)
	targets := []string{id.String(), p.Alert.ID.String()}
	if p.Alert.LetterID != nil {
		targets = append(targets, p.Alert.LetterID.String())
	}
	if p.Actions, err = s.opt.Store.ActionsOn(r.Context(), targets...); err != nil {
		s.failed(w, r, err)
		return
	}
	p.Decide = p.User.Operator()
	p.Resend = p.Decide && (one.SentAt != nil || one.DeadAt != nil)
	s.render(w, r, http.StatusOK, "notification", "Notification", p)
}

// resend sends a card again for a reason.
func (s *Server) resend(w http.ResponseWriter, r *http.Request) {
	id, err := pathID(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	to := id
	back := func(result string) {
		http.Redirect(w, r, "/notifications/"+to.String()+"?result="+result, http.StatusSeeOther) //nolint:gosec // an id and a word of ours
	}
	reason, bad := reasonOf(r)
	if bad != "" {
		back(bad)
		return
	}
	ctx, done := lasting(r.Context())
	defer done()
	out, err := s.core.Resend(ctx, store.Decision{ID: id, Actor: signedIn(ctx).Actor(), Source: Source, Reason: reason})
	switch {
	case store.IsNotFound(err):
		s.failed(w, r, err)
	case err != nil && out.Applied:
		s.opt.Log.WarnContext(ctx, "decision is on record, the queue has to follow", slog.String("verb", "resend"), slog.String("error", err.Error()))
		back("later")
	case err != nil:
		s.opt.Log.ErrorContext(ctx, "decision failed", slog.String("verb", "resend"), slog.String("error", err.Error()))
		back("not-recorded")
	case !out.Applied:
		back("waits")
	default:
		to = out.Notification.ID
		back("resent")
	}
}
