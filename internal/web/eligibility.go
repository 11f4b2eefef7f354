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
	// Benefits are what the answer's coverages offer, and what the patient has used of it: for those who may see messages. Private: this
	// person may.
	Benefits []nphiesclient.Benefit
	Private  bool
	Timeline timeline
	story
}

func (s *Server) checkPage(w http.ResponseWriter, r *http.Request) {
	p, err := s.check(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	p.Timeline = p.timeline()
	p.Timeline.turn(r)
	s.render(w, r, http.StatusOK, "check", say("Eligibility check %s", p.Check.Identifier.Value), p)
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
	if err := s.benefits(r, &p); err != nil {
		return p, err
	}
	p.Letters, p.Actions, err = s.decisions(r.Context(), id, p.Messages, nil)
	return p, err
}

// benefits reads the benefits out of the answer, for somebody who may see it; that is a look at the message, and on record first.
func (s *Server) benefits(r *http.Request, p *checkPage) error {
	who := signedIn(r.Context())
	if p.Private = who.Privacy(); !p.Private || !p.Check.Answered() {
		return nil
	}
	var answer *store.Message // the last one
	for i, m := range p.Messages {
		if m.Direction == store.In {
			answer = &p.Messages[i]
		}
	}
	if answer == nil {
		return nil
	}
	body, err := s.opt.Store.ViewMessage(r.Context(), answer.ID, who.Actor(), Source, "benefits")
	if err != nil {
		return err
	}
	if a, err := nphiesclient.Parse(body); err == nil && a.Eligibility != nil {
		p.Benefits = a.Eligibility.Benefits
	}
	return nil
}

// timeline tells the story of a check.
func (p *checkPage) timeline() (t timeline) {
	c := p.Check
	t.add(happening{At: c.CreatedAt, Kind: "state", What: say("Taken in")})
	if c.FirstFailedAt != nil {
		t.add(happening{At: *c.FirstFailedAt, Kind: "failure", What: say("An attempt failed; attempts so far: %s, budgets: %s", c.Attempts, c.Episode), Badge: c.ErrorKind, Code: c.ErrorCode, Text: c.ErrorText})
	}
	if c.AnsweredAt != nil {
		t.add(happening{At: *c.AnsweredAt, Kind: "answer", What: say("It was answered"), Badge: string(c.State), Text: c.SiteEligibility})
	}
	p.into(&t)
	return t
}
