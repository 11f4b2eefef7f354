package web

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/internal/store"
)

// listed is how many rows a list shows.
const listed = 200

type claimListPage struct {
	Claims []store.Claim
	States []store.State
	State  store.State
	Query  string
	Full   bool
}

func (s *Server) claimList(w http.ResponseWriter, r *http.Request) {
	p := claimListPage{States: store.States(), State: store.State(r.FormValue("state")), Query: strings.TrimSpace(r.FormValue("q"))}
	f := store.ClaimFilter{Limit: listed}
	if slices.Contains(p.States, p.State) {
		f.States = []store.State{p.State}
	} else {
		p.State = ""
	}
	if p.Query != "" {
		if id, err := uuid.Parse(p.Query); err == nil {
			if _, err := s.opt.Store.Claim(r.Context(), id); err == nil {
				http.Redirect(w, r, "/claims/"+id.String(), http.StatusSeeOther)
				return
			}
		}
		f.Values = strings.Fields(p.Query)
	}
	var err error
	if p.Claims, err = s.opt.Store.Claims(r.Context(), f); err != nil {
		s.failed(w, r, err)
		return
	}
	p.Full = len(p.Claims) == listed
	s.render(w, r, http.StatusOK, "claims", "Claims", p)
}

// story is what a claim and an eligibility check have in common: what went to and fro, and what people did.
type story struct {
	Messages      []store.Message
	Notifications []store.Notification
	Letters       []store.DeadLetter
	Actions       []store.Action
}

type claimPage struct {
	Claim    store.Claim
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
	what := "Claim "
	if p.Claim.Use == store.UsePreauthorization {
		what = "Authorization "
	}
	s.render(w, r, http.StatusOK, "claim", what+p.Claim.Identifier.Value, p)
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
	p.Letters, p.Actions, err = s.decisions(ctx, id)
	return p, err
}

// decisions are the dead letters of a claim or check and what people did about them.
func (s *Server) decisions(ctx context.Context, id uuid.UUID) ([]store.DeadLetter, []store.Action, error) {
	letters, err := s.opt.Store.LettersOf(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	targets := []string{id.String()}
	for _, l := range letters {
		targets = append(targets, l.ID.String(), taskTarget(l.Queue, l.TaskID))
	}
	found, err := s.opt.Store.ActionsOn(ctx, targets...)
	return letters, found, err
}
