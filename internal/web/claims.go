package web

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/internal/store"
)

// listed is how many rows a list that is not paged shows.
const listed = 200

type claimListPage struct {
	Claims   []store.Claim
	States   []store.State
	Payers   []string
	Licenses []string
	// Number, Payer, Code, License, From and To are what was asked for.
	Number, Payer, Code, License, From, To string
	State                                  store.State
	Use                                    string
	Pager                                  pager
}

func (s *Server) claimList(w http.ResponseWriter, r *http.Request) {
	p := claimListPage{
		States: store.States(), State: store.State(r.FormValue("state")), Number: typed(r, "q"), Payer: typed(r, "payer"), Code: typed(r, "code"), License: typed(r, "license"),
		Use: r.FormValue("use"),
	}
	if !slices.Contains(p.States, p.State) {
		p.State = ""
	}
	if p.Use != store.UseClaim && p.Use != store.UsePreauthorization {
		p.Use = ""
	}
	if id, err := uuid.Parse(p.Number); err == nil {
		if _, err := s.opt.Store.Claim(r.Context(), id); err == nil {
			http.Redirect(w, r, "/claims/"+id.String(), http.StatusSeeOther)
			return
		}
	}
	f := store.ClaimSearch{Number: p.Number, State: p.State, Payer: p.Payer, ErrorCode: p.Code, License: p.License, Use: p.Use}
	p.From, f.From = day(r, "from", false)
	p.To, f.To = day(r, "to", true)
	found, err := s.opt.Store.SearchClaims(r.Context(), f, turnOf(r))
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if p.Payers, p.Licenses, err = s.opt.Store.ClaimValues(r.Context()); err != nil {
		s.failed(w, r, err)
		return
	}
	p.Claims, p.Pager = found.Rows, pagerOf(r, found)
	s.render(w, r, http.StatusOK, "claims", "Claims", p)
}

// story is what a claim and an eligibility check have in common: what went to and fro, and what people did.
type story struct {
	Messages      []store.Message
	Notifications []store.Notification
	Letters       []store.DeadLetter
	Actions       []store.Action
	Money         []money
}

// money is a line of a payment with the time at which it came.
type money struct {
	At     time.Time
	Detail store.PaymentDetail
}

type claimPage struct {
	Claim    store.Claim
	Timeline timeline
	Versions []version
	// Tasks are the status checks and cancellations; Requests what the payer asked for; Payments what was paid.
	Tasks    []store.FHIRTask
	Requests []store.Communication
	Payments []store.PaymentDetail
	story
}

// version is a version of the answer with its details read.
type version struct {
	store.ClaimVersion
	Items   []answerItem
	Reasons []string
	Errors  []answerError
	// Unreadable are the categories of totals that are no number of riyals.
	Unreadable []string
}

type answerItem struct {
	Sequence int                    `json:"sequence"`
	Outcome  string                 `json:"outcome"`
	Amounts  map[string]json.Number `json:"amounts"`
	Reasons  []string               `json:"reasons"`
	// Unreadable are the categories whose amount is no number of riyals.
	Unreadable []string `json:"unreadable"`
}

type answerError struct {
	Code       string `json:"code"`
	Display    string `json:"display"`
	Expression string `json:"expression"`
	Count      int    `json:"count"`
}

// readVersion takes the details of an answer apart. Details of another make are not shown.
func readVersion(v store.ClaimVersion) version {
	out := version{ClaimVersion: v}
	var d struct {
		Items   []answerItem  `json:"items"`
		Reasons []string      `json:"reasons"`
		Errors  []answerError `json:"errors"`

		Unreadable []string `json:"unreadable"`
	}
	if err := json.Unmarshal(v.Detail, &d); err == nil {
		out.Items, out.Reasons, out.Errors, out.Unreadable = d.Items, d.Reasons, d.Errors, d.Unreadable
	}
	return out
}

// pathID reads {id}; what is no UUID does not exist.
func pathID(r *http.Request) (uuid.UUID, error) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return uuid.Nil, store.ErrNotFound
	}
	return id, nil
}

func (s *Server) claimPage(w http.ResponseWriter, r *http.Request) {
	p, err := s.claim(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	title := say("Claim %s", p.Claim.Identifier.Value)
	if p.Claim.Use == store.UsePreauthorization {
		title = say("Authorization %s", p.Claim.Identifier.Value)
	}
	p.Timeline = p.timeline()
	p.Timeline.turn(r)
	s.render(w, r, http.StatusOK, "claim", title, p)
}

func (s *Server) claim(r *http.Request) (p claimPage, err error) {
	ctx := r.Context()
	id, err := pathID(r)
	if err != nil {
		return p, err
	}
	if p.Claim, err = s.opt.Store.Claim(ctx, id); err != nil {
		return p, err
	}
	versions, err := s.opt.Store.ClaimVersions(ctx, id)
	if err != nil {
		return p, err
	}
	for _, v := range slices.Backward(versions) {
		p.Versions = append(p.Versions, readVersion(v))
	}
	if p.Messages, err = s.opt.Store.ClaimMessages(ctx, id); err != nil {
		return p, err
	}
	if p.Tasks, err = s.opt.Store.FHIRTasksOf(ctx, id); err != nil {
		return p, err
	}
	if p.Requests, err = s.opt.Store.Communications(ctx, id); err != nil {
		return p, err
	}
	if p.Payments, err = s.opt.Store.PaymentsOf(ctx, id); err != nil {
		return p, err
	}
	if p.Notifications, err = s.opt.Store.ListNotifications(ctx, store.NotificationFilter{Claim: &id, Limit: listed}); err != nil {
		return p, err
	}
	for _, x := range p.Payments {
		came, err := s.opt.Store.Payment(ctx, x.MessageID)
		if err != nil {
			return p, err
		}
		p.Money = append(p.Money, money{came.CreatedAt, x})
	}
	p.Letters, p.Actions, err = s.decisions(ctx, id, p.Messages, p.Notifications)
	return p, err
}

// decisions are the dead letters of a claim or check and what people did about them, its messages and its notifications.
func (s *Server) decisions(ctx context.Context, id uuid.UUID, messages []store.Message, notes []store.Notification) ([]store.DeadLetter, []store.Action, error) {
	letters, err := s.opt.Store.LettersOf(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	targets := []string{id.String()}
	for _, l := range letters {
		targets = append(targets, l.ID.String(), taskTarget(l.Queue, l.TaskID))
	}
	for _, m := range messages {
		targets = append(targets, m.ID.String())
	}
	for _, n := range notes {
		targets = append(targets, n.ID.String(), store.AlertID(n.AlertKey).String())
	}
	found, err := s.opt.Store.ActionsOn(ctx, targets...)
	return letters, found, err
}
