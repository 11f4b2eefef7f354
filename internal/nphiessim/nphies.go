package nphiessim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxMessage is the greatest message in bytes (BV-00076).
const maxMessage = 10 << 20

const operation = "/$process-message"

// NPHIES returns the handler of the exchange: POST …/$process-message below any path.
//
// The faults that close a connection panic with http.ErrAbortHandler, which net/http's server understands; call the
// handler through a server, not with a recorder, to script those.
func (s *Sim) NPHIES() http.Handler { return http.HandlerFunc(s.serveNPHIES) }

func (s *Sim) serveNPHIES(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, operation) {
		s.refuse(w, r, http.StatusNotFound, Finding{Code: "GE-00009", Text: "The wrong API was called"}, r.Method+" "+r.URL.Path)
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			s.refuse(w, r, http.StatusRequestEntityTooLarge, Finding{Code: "BV-00076", Text: "The message SHALL NOT be larger than 10 MB"}, "")
			return
		}
		s.log.InfoContext(r.Context(), "request not read", slog.Any("error", err))
		return
	}
	value, err := parseJSON(raw)
	m := newMessage(raw, value, s.opt.Now())
	log := Request{At: m.now, Event: m.event, Sender: m.sender(), HeaderID: m.header.get("id").str(), BundleID: m.root.get("id").str(), Identifier: m.businessIdentifier(), Bytes: len(raw)}

	fault := s.faultFor(m)
	log.Fault = fault
	if fault != "" && !fault.afterwards() {
		s.note(r, log)
		s.inflict(w, r, fault, nil)
		return
	}
	a := s.process(r, m, err, &log)
	s.note(r, log)
	s.wait(r, s.opt.AnswerDelay)
	body, err := encode(a.body)
	if err != nil {
		s.log.ErrorContext(r.Context(), "answer not written", slog.Any("error", err))
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	if fault != "" {
		s.inflict(w, r, fault, body)
	}
	writeFHIR(w, a.status, body)
}

// encode writes JSON as NPHIES does, without HTML escapes.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return buf.Bytes(), err
}

func writeFHIR(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/fhir+json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // FHIR JSON, not a page; the sender may be gone
}

// refuse answers what cannot be treated as a message at all.
func (s *Sim) refuse(w http.ResponseWriter, r *http.Request, status int, f Finding, diagnostics string) {
	s.note(r, Request{At: s.opt.Now(), Status: status, Outcome: "refused", Findings: []Finding{f}})
	body, err := encode(s.outcome(f, diagnostics))
	if err != nil {
		s.log.ErrorContext(r.Context(), "answer not written", slog.Any("error", err))
	}
	writeFHIR(w, status, body)
}

func (s *Sim) outcome(f Finding, diagnostics string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return operationOutcome(s.guid("outcome"), f, diagnostics)
}

// process answers a message. parseErr is why the body could not be read, if so.
func (s *Sim) process(r *http.Request, m *message, parseErr error, log *Request) answer {
	if bad, status, why := s.unreadable(r, m, parseErr); bad != nil {
		log.Status, log.Outcome, log.Findings = status, "refused", []Finding{*bad}
		return answer{status, s.outcome(*bad, why)}
	}
	m.knows = func(id Identifier) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		rec := s.claims[id.key()]
		return rec != nil && rec.license == m.sender() && rec.payer == m.receiver()
	}
	take := map[string]func(*message) (answer, []Finding){
		eventClaim: s.takeClaim, eventEligibility: s.takeEligibility, eventPoll: s.takePoll,
		eventStatus: s.takeTargetTask, eventCancel: s.takeTargetTask,
	}[m.event]
	a, findings := take(m)
	log.Status, log.Findings, log.Outcome = a.status, findings, outcomeIn(a.body)
	return a
}

// unreadable finds what is answered with a bare OperationOutcome (section 1).
func (s *Sim) unreadable(r *http.Request, m *message, parseErr error) (f *Finding, status int, why string) {
	sender := m.header.get("sender.identifier")
	switch {
	case parseErr != nil:
		return &Finding{Code: ruleStructure, Text: "Resource SHALL have a valid structure"}, http.StatusBadRequest, "The body is not JSON"
	case m.root.get("resourceType").str() != "Bundle" || !m.header.exists():
		return &Finding{Code: ruleStructure, Text: "Resource SHALL have a valid structure", Path: "Bundle.entry[0]"}, http.StatusBadRequest, "A Bundle whose first entry is a MessageHeader is expected"
	case m.header.get("eventCoding.system").str() != systemEvents || !knownEvent(m.event):
		return &Finding{"IB-00250", "The provided MessageHeader eventCoding value is not from the specified valueSet", m.header.path + ".eventCoding"}, http.StatusBadRequest, ""
	case !events[m.event]:
		return &Finding{"GE-00017", "The service is unavailable", m.header.path + ".eventCoding"}, http.StatusNotImplemented, "The simulator does not play this event"
	case sender.get("value").str() == "":
		return &Finding{"GE-00010", "The sender organization is invalid", m.header.path + ".sender"}, http.StatusBadRequest, ""
	case m.receiver() == "":
		return &Finding{"GE-00015", "The message destination cannot be determined", m.header.path + ".destination"}, http.StatusBadRequest, ""
	case s.opt.VerifyClient && !certified(r, m.sender()):
		return &Finding{"GE-00020", "The credentials do not match the message sender", m.header.path + ".sender"}, http.StatusForbidden, ""
	}
	return nil, 0, ""
}

func knownEvent(code string) bool {
	_, ok := events[code]
	return ok
}

// certified tells that the client certificate names the license as organization, serial number or common name.
func certified(r *http.Request, license string) bool {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	subject := r.TLS.PeerCertificates[0].Subject
	return subject.CommonName == license || subject.SerialNumber == license || slices.Contains(subject.Organization, license)
}

// outcomeIn is the outcome or status in the main resource of an answer.
func outcomeIn(body map[string]any) string {
	res := node{body, "Bundle"}.get("entry").at(1).get("resource")
	if o := res.get("outcome").str(); o != "" {
		return o
	}
	return res.get("status").str()
}

// businessIdentifier is what a message is about: the claim or eligibility request, or the target of a Task.
func (m *message) businessIdentifier() Identifier {
	if f := m.focus().get("focus"); f.exists() {
		return f.identifier()
	}
	return m.focus().identifier()
}

// faultFor finds the fault that strikes a message: a scripted one first, else the one its identifier asks for, once.
func (s *Sim) faultFor(m *message) FaultKind {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.strike(m.event); f != "" {
		return f
	}
	if m.event != eventClaim && m.event != eventEligibility {
		return ""
	}
	id := m.focus().identifier()
	_, b := behavioursOf(id.Value, "")
	key := m.event + "|" + id.key()
	if b == nil || s.spent[key] {
		return ""
	}
	s.spent[key] = true
	s.stats.Faults++
	return b.fault
}

const htmlPage = "<!DOCTYPE html>\n<html><head><title>Service unavailable</title></head><body><h1>Service unavailable</h1></body></html>\n"

// inflict carries out a fault. body is the answer that the sender does not get, or gets late.
func (s *Sim) inflict(w http.ResponseWriter, r *http.Request, kind FaultKind, body []byte) {
	switch kind {
	case Fault503, FaultHTML200:
		status := http.StatusServiceUnavailable
		if kind == FaultHTML200 {
			status = http.StatusOK
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, htmlPage)
	case FaultOutcome:
		s.refuse(w, r, http.StatusInternalServerError, Finding{Code: "GE-00017", Text: "The service is unavailable"}, "scripted")
	case FaultSlow:
		s.wait(r, s.opt.SlowDelay)
	case FaultTruncate:
		w.Header().Set("Content-Type", "application/fhir+json; charset=utf-8")
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case FaultHang:
		s.wait(r, s.opt.HangLimit)
		panic(http.ErrAbortHandler)
	case FaultRefuse:
		reset(w)
		panic(http.ErrAbortHandler)
	case FaultCutBefore, FaultCutAfter:
		panic(http.ErrAbortHandler)
	default: // 500, and what is meant for Teams
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"servlet":"hsb","message":"Internal Server Error","status":"500"}`+"\n")
	}
}

// reset closes the connection with a TCP reset where that is possible.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// wait sleeps until the sender gives up or the simulator closes.
func (s *Sim) wait(r *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	case <-s.closed:
	}
}
