package web

import (
	"net/http"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
)

type auditPage struct {
	Actions []store.Action
	// Rows is how many rows the whole record has; Broken says what is wrong with it, "" when nothing is.
	Rows   int64
	Broken string
	Full   bool
}

func (s *Server) audit(w http.ResponseWriter, r *http.Request) {
	var p auditPage
	var err error
	if p.Actions, err = s.opt.Store.Actions(r.Context(), "", listed); err != nil {
		s.failed(w, r, err)
		return
	}
	if p.Rows, err = s.opt.Store.VerifyActions(r.Context()); err != nil {
		if fault.Is(err, fault.Unavailable) {
			s.failed(w, r, err)
			return
		}
		p.Broken = err.Error()
	}
	p.Full = len(p.Actions) == listed
	s.render(w, r, http.StatusOK, "audit", "Audit trail", p)
}
