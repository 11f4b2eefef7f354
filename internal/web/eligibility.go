package web

import (
	"net/http"
	"strings"

	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

type checkListPage struct {
	Checks []store.Check
	Query  string
	Full   bool
}

func (s *Server) checkList(w http.ResponseWriter, r *http.Request) {
	p := checkListPage{Query: strings.TrimSpace(r.FormValue("q"))}
	var err error
	if p.Checks, err = s.opt.Store.Checks(r.Context(), strings.Fields(p.Query), listed); err != nil {
		s.failed(w, r, err)
		return
	}
	p.Full = len(p.Checks) == listed
	s.render(w, r, http.StatusOK, "checks", "Eligibility", p)
}

type checkPage struct {
	Check store.Check
	// Benefits are what the answer's coverages offer.
	Benefits []nphiesclient.Benefit
	story
}

func (s *Server) checkPage(w http.ResponseWriter, r *http.Request) {
	p, err := s.check(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, "check", "Eligibility check "+p.Check.Identifier.Value, p)
}

func (s *Server) check(r *http.Request) (p checkPage, err error) {
	id, err := pathID(r)
	if err != nil {
		return p, err
	}
	if p.Check, err = s.opt.Store.Check(r.Context(), id); err != nil {
		return p, err
	}
	if p.Messages, err = s.opt.Store.CheckMessages(r.Context(), id); err != nil {
		return p, err
	}
	if p.Check.Answered() {
		body, err := s.opt.Store.CheckReply(r.Context(), id)
		if err != nil {
			return p, err
		}
		if a, err := nphiesclient.Parse(body); err == nil && a.Eligibility != nil {
			p.Benefits = a.Eligibility.Benefits
		}
	}
	p.Letters, p.Actions, err = s.decisions(r.Context(), id)
	return p, err
}
