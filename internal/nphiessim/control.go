package nphiessim

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxControl bounds a control request in bytes.
const maxControl = 64 << 10

// Control returns the handler of the control API and its page, below /sim/. It has no authentication: serve it on a
// loopback address only. Requests that change something must not come from another site's page.
func (s *Sim) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sim/{$}", s.controlPage)
	mux.HandleFunc("GET /sim/claims", func(w http.ResponseWriter, _ *http.Request) { writeList(w, s.Claims()) })
	mux.HandleFunc("GET /sim/eligibility", func(w http.ResponseWriter, _ *http.Request) { writeList(w, s.Eligibility()) })
	mux.HandleFunc("GET /sim/requests", func(w http.ResponseWriter, _ *http.Request) { writeList(w, s.Requests()) })
	mux.HandleFunc("GET /sim/stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.Stats()) })
	mux.HandleFunc("GET /sim/faults", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.Faults()) })
	mux.HandleFunc("POST /sim/faults", s.postFault)
	mux.HandleFunc("DELETE /sim/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.SetFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /sim/choices", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.Choices()) })
	mux.HandleFunc("POST /sim/choices", s.postChoice)
	mux.HandleFunc("GET /sim/settings", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.CurrentSettings()) })
	mux.HandleFunc("POST /sim/settings", s.postSettings)
	mux.HandleFunc("GET /sim/rules", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, Rules()) })
	mux.HandleFunc("GET /sim/requests/{id}", s.exchangePage)
	mux.HandleFunc("GET /sim/requests/{id}/{part}", s.getExchange)
	mux.HandleFunc("POST /sim/answer", s.postAnswer)
	mux.HandleFunc("POST /sim/reissue", s.postReissue)
	mux.HandleFunc("POST /sim/push", s.postPush)
	mux.HandleFunc("POST /sim/reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	return http.NewCrossOriginProtection().Handler(mux)
}

func (s *Sim) postFault(w http.ResponseWriter, r *http.Request) {
	var f Fault
	if !readJSON(w, r, &f) {
		return
	}
	kind, known := faultKinds[string(f.Kind)]
	if !known {
		names := make([]string, 0, len(faultKinds))
		for k := range faultKinds {
			names = append(names, k)
		}
		slices.Sort(names)
		writeProblem(w, http.StatusBadRequest, "kind must be one of "+strings.Join(names, ", "))
		return
	}
	if f.Match == "" {
		f.Match = "*"
		if f.Kind == "lost-poll-answer" {
			f.Match = eventPoll
		}
	}
	f.Kind = kind
	if err := f.check(); err != nil {
		writeProblem(w, http.StatusBadRequest, err.Error())
		return
	}
	s.AddFault(f)
	writeJSON(w, http.StatusCreated, f)
}

func (s *Sim) postChoice(w http.ResponseWriter, r *http.Request) {
	var c Choice
	if !readJSON(w, r, &c) {
		return
	}
	if c.Identifier == "" {
		writeProblem(w, http.StatusBadRequest, `identifier is required: the value of a business identifier, or "*"`)
		return
	}
	s.done(w, s.Choose(c))
}

func (s *Sim) postSettings(w http.ResponseWriter, r *http.Request) {
	var set Settings
	if !readJSON(w, r, &set) {
		return
	}
	s.done(w, s.Configure(set))
}

// lateAnswer is a request to answer a claim. Identifier is the claim's whole identifier, or only its value.
type lateAnswer struct {
	Identifier json.RawMessage `json:"identifier"`
	Outcome    string          `json:"outcome"`
	Reason     string          `json:"reason"`
}

func (s *Sim) postAnswer(w http.ResponseWriter, r *http.Request) {
	s.postLate(w, r, func(id Identifier, q lateAnswer) error { return s.AnswerLate(id, q.Outcome) })
}

func (s *Sim) postReissue(w http.ResponseWriter, r *http.Request) {
	s.postLate(w, r, func(id Identifier, q lateAnswer) error {
		return s.ReissueFor(id, q.Outcome, cmp.Or(q.Reason, "correction"))
	})
}

func (s *Sim) postLate(w http.ResponseWriter, r *http.Request, do func(Identifier, lateAnswer) error) {
	var q lateAnswer
	if !readJSON(w, r, &q) {
		return
	}
	id, ok := s.identifierOf(q.Identifier)
	if !ok {
		writeProblem(w, http.StatusNotFound, ErrUnknownClaim.Error())
		return
	}
	s.done(w, do(id, q))
}

// getExchange returns the bytes of a request or an answer as they went over the wire.
func (s *Sim) getExchange(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	request, sent, ok := s.Exchange(id)
	part := map[string][]byte{"request": request, "answer": sent}[r.PathValue("part")]
	if !ok || part == nil {
		writeProblem(w, http.StatusNotFound, "not remembered; the parts are request and answer")
		return
	}
	w.Header().Set("Content-Type", "application/fhir+json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(part)
}

// identifierOf reads {"system","value"} or a bare value, which the first claim with that value answers to.
func (s *Sim) identifierOf(raw json.RawMessage) (Identifier, bool) {
	var id Identifier
	if json.Unmarshal(raw, &id) == nil && id.Value != "" {
		return id, true
	}
	var value string
	if json.Unmarshal(raw, &value) != nil {
		return Identifier{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.claimOrder {
		if r.id.Value == value {
			return r.id, true
		}
	}
	return Identifier{}, false
}

func (s *Sim) postPush(w http.ResponseWriter, r *http.Request) {
	var q struct {
		License string `json:"license"`
		Licence string `json:"licence"`
		Kind    string `json:"kind"`
	}
	if !readJSON(w, r, &q) {
		return
	}
	if q.License == "" {
		q.License = q.Licence
	}
	if q.License == "" {
		writeProblem(w, http.StatusBadRequest, "license is required")
		return
	}
	s.done(w, s.Push(q.License, q.Kind))
}

// done answers a control request that either worked or did not.
func (s *Sim) done(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, ErrUnknownClaim):
		writeProblem(w, http.StatusNotFound, err.Error())
	case errors.Is(err, ErrNotComplete), errors.Is(err, ErrComplete):
		writeProblem(w, http.StatusConflict, err.Error())
	default:
		writeProblem(w, http.StatusBadRequest, err.Error())
	}
}

func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControl))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		writeProblem(w, http.StatusBadRequest, err.Error())
		return false
	}
	return true
}

func writeProblem(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]string{"error": text})
}

// maxList bounds a list in bytes.
const maxList = 32 << 20

// writeList writes the newest members of a list that fit, oldest first. The header X-Left-Out tells how many do not.
func writeList[T any](w http.ResponseWriter, list []T) {
	from, size := len(list), 0
	for from > 0 {
		if size += sizeOf(list[from-1]); size > maxList {
			w.Header().Set("X-Left-Out", strconv.Itoa(from))
			break
		}
		from--
	}
	writeJSON(w, http.StatusOK, list[from:])
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := encode(v)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
