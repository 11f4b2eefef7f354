package nphiessim

import "net/http"

func (s *Sim) controlPage(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNoContent)
}
func (s *Sim) cardsPage(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
