package web

import (
	"errors"
	"net/http"
	"slices"

	"github.com/claimlinc/nphiesq/internal/store"
)

// verified is how many of the newest rows of the audit trail each look at it checks. ?verify=all checks all of them.
const verified = 5_000

// sources are what may stand behind a row of the audit trail.
var sources = []string{"monitor", "cli", "link", "api", "bot", "flow", "outgoing", "system"}

type auditPage struct {
	Actions                               []store.Action
	Actor, Verb, Target, Source, From, To string
	Sources                               []string
	Pager                                 pager
	// Verified says how much of the trail was checked; Broken is true when a row does not fit: Trouble says which.
	Verified store.Verified
	Broken   bool
	Trouble  string
	// VerifyAll checks the whole trail.
	VerifyAll string
}

func (s *Server) audit(w http.ResponseWriter, r *http.Request) {
	p := auditPage{Actor: typed(r, "actor"), Verb: typed(r, "verb"), Target: typed(r, "target"), Source: r.FormValue("source"), Sources: sources, VerifyAll: with(r, "verify", "all")}
	if !slices.Contains(sources, p.Source) {
		p.Source = ""
	}
	f := store.ActionSearch{Actor: p.Actor, Verb: p.Verb, Target: p.Target, Source: p.Source}
	p.From, f.From = day(r, "from", false)
	p.To, f.To = day(r, "to", true)
	found, err := s.opt.Store.SearchActions(r.Context(), f, turnOf(r))
	if err != nil {
		s.failed(w, r, err)
		return
	}
	p.Actions, p.Pager = found.Rows, pagerOf(r, found)
	newest := int64(verified)
	if r.FormValue("verify") == "all" {
		newest = 0
	}
	p.Verified, err = s.opt.Store.VerifyTrail(r.Context(), newest)
	switch {
	case errors.Is(err, store.ErrBrokenTrail):
		p.Broken, p.Trouble = true, err.Error()
	case err != nil:
		s.failed(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, "audit", "Audit trail", p)
}
