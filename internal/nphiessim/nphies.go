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
		s.refuse(w, r, http.StatusNotFound, ruleWrongAPI.at(""), r.Method+" "+r.URL.Path)
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			s.refuse(w, r, http.StatusRequestEntityTooLarge, ruleTooLarge.at(""), "")
			return
		}
		s.log.InfoContext(r.Context(), "request not read", slog.Any("error", err))
		return
	}
	value, err := parseJSON(raw)
	if err == nil {
		err = strict(raw)
	}
	if err != nil {
		value = nil
	}
	m := newMessage(raw, value, s.opt.Now())
	log := Request{
		At: m.now, Event: shownText(m.event), Sender: shownText(m.sender()), HeaderID: shownText(m.header.get("id").str()),
		BundleID: shownText(m.root.get("id").str()), Identifier: m.businessIdentifier().shown(), Bytes: len(raw),
	}

	fault := s.faultFor(m)
	log.Fault = fault.Kind
	if fault.Kind != "" && fault.Kind != FaultError && !fault.Kind.afterwards() {
		s.note(r, log, exchange{request: raw})
		s.inflict(w, r, fault.Kind, nil)
		return
	}
	var a answer
	if fault.Kind == FaultError {
		a = s.scripted(m, fault, &log)
	} else {
		a = s.process(r, m, err, &log)
	}
	body, err := s.written(a.body)
	if len(body) > maxMessage {
		a = answer{http.StatusInternalServerError, s.outcome(ruleTooLargeAnswer.at("Bundle"), "")}
		log.Status, log.Outcome = a.status, "refused"
		body, err = s.written(a.body)
	}
	if err != nil {
		s.log.ErrorContext(r.Context(), "answer not written", slog.Any("error", err))
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	s.note(r, log, exchange{raw, body})
	s.wait(r, s.opt.AnswerDelay)
	switch fault.Kind {
	case "", FaultError:
		writeFHIR(w, a.status, body)
	case FaultSlow:
		s.wait(r, s.opt.SlowDelay)
		writeFHIR(w, a.status, body)
	default:
		s.inflict(w, r, fault.Kind, body)
	}
}

// scripted answers a message with the error of a fault, without processing it.
func (s *Sim) scripted(m *message, f Fault, log *Request) answer {
	bad := f.finding()
	if f.Status != 0 || !events[m.event] {
		log.Status, log.Outcome, log.Findings = max(f.Status, http.StatusBadRequest), "refused", []Finding{bad}
		if f.Status != 0 {
			log.Status = f.Status
		}
		return answer{log.Status, s.outcome(bad, "scripted")}
	}
	s.mu.Lock()
	a := s.failure(m, []Finding{bad})
	s.mu.Unlock()
	log.Status, log.Outcome, log.Findings = a.status, outcomeIn(a.body), []Finding{bad}
	return a
}

// failure is the normal answer message of the event, with errors, written by NPHIES. The caller holds the lock.
func (s *Sim) failure(m *message, findings []Finding) answer {
	switch m.event {
	case eventClaim, eventAuth:
		return s.claimReply(m, s.refusal(m, findings))
	case eventEligibility:
		rec := &eligibilityRecord{id: m.focus().identifier()}
		s.answerEligibility(m, rec, refused, findings)
		return s.eligibilityReply(m, rec)
	case eventPoll:
		return s.pollReply(m, "failed", "fatal-error", errorOutputs(findings), nil)
	case eventStatus:
		return s.taskReply(m, eventStatusResponse, nphiesParty, "failed", errorOutputs(findings), "")
	case eventCancel:
		return s.taskReply(m, eventCancelResponse, nphiesParty, "failed", errorOutputs(findings), "")
	case eventBatch:
		return s.acknowledge(m, eventBatchResponse, findings)
	default:
		return s.acknowledge(m, eventAcknowledgement, findings)
	}
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
	body, err := encode(s.outcome(f, diagnostics))
	if err != nil {
		s.log.ErrorContext(r.Context(), "answer not written", slog.Any("error", err))
	}
	s.note(r, Request{At: s.opt.Now(), Status: status, Outcome: "refused", Findings: []Finding{f}}, exchange{answer: body})
	writeFHIR(w, status, body)
}

func (s *Sim) outcome(f Finding, diagnostics string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return operationOutcome(s.guid("outcome"), diagnostics, f)
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
	for _, nested := range m.nested {
		nested.knows = m.knows
	}
	take := map[string]func(*message) (answer, []Finding){
		eventClaim: s.takeClaim, eventAuth: s.takeClaim, eventBatch: s.takeBatch, eventEligibility: s.takeEligibility,
		eventPoll: s.takePoll, eventStatus: s.takeTargetTask, eventCancel: s.takeTargetTask,
		eventCommunication: s.takeCommunication, eventPaymentNotice: s.takePaymentNotice,
	}[m.event]
	a, findings := take(m)
	log.Status, log.Findings, log.Outcome = a.status, findings, outcomeIn(a.body)
	return a
}

// unreadable finds what is answered with a bare OperationOutcome (section 1).
func (s *Sim) unreadable(r *http.Request, m *message, parseErr error) (f *Finding, status int, why string) {
	first := func(rule Rule, path string) *Finding {
		f := rule.at(path)
		return &f
	}
	switch {
	case parseErr != nil:
		return first(ruleNotReadable, ""), http.StatusBadRequest, "The body is not JSON that every reader understands alike: " + clip(parseErr.Error(), maxText)
	case m.root.get("resourceType").str() != "Bundle" || !m.header.exists():
		return first(ruleNotReadable, "Bundle.entry[0]"), http.StatusBadRequest, "A Bundle whose first entry is a MessageHeader is expected"
	case m.header.get("eventCoding.system").str() != systemEvents || !knownEvent(m.event):
		return first(ruleUnknownEvent, m.header.path()+".eventCoding"), http.StatusBadRequest, ""
	case !events[m.event]:
		return &Finding{"GE-00017", "The service is unavailable", m.header.path() + ".eventCoding"}, http.StatusNotImplemented, "The simulator does not play this event"
	case m.sender() == "":
		return first(ruleNoSender, m.header.path()+".sender"), http.StatusBadRequest, ""
	case m.receiver() == "":
		return first(ruleNoReceiver, m.header.path()+".destination"), http.StatusBadRequest, ""
	case s.opt.VerifyClient && len(organizationsOf(r)) == 0:
		return first(ruleNoCertificate, ""), http.StatusForbidden, "An organization, serial number or common name is expected in the subject of the client certificate"
	case s.opt.VerifyClient && !s.maySend(organizationsOf(r), m.sender()):
		return first(ruleOtherCertificate, m.header.path()+".sender"), http.StatusForbidden, "The certificate is for " + strings.Join(organizationsOf(r), ", ")
	}
	return nil, 0, ""
}

func knownEvent(code string) bool {
	_, ok := events[code]
	return ok
}

// organizationsOf are the names by which a client certificate may give its organization: O, serial number, common name.
func organizationsOf(r *http.Request) []string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	subject := r.TLS.PeerCertificates[0].Subject
	return slices.DeleteFunc(append(slices.Clone(subject.Organization), subject.SerialNumber, subject.CommonName), func(s string) bool {
		return strings.TrimSpace(s) == ""
	})
}

// maySend tells that one of the names is the license, or may send for it.
func (s *Sim) maySend(names []string, license string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		return n == license || slices.Contains(s.opt.CertificateLicenses[n], license)
	})
}

// outcomeIn is the outcome or status in the main resource of an answer.
func outcomeIn(body map[string]any) string {
	header := rooted(body, "Bundle").get("entry").at(0).get("resource")
	res := rooted(body, "Bundle").get("entry").at(1).get("resource")
	if header.get("response.details").exists() || !res.exists() || res.get("resourceType").str() == "Bundle" {
		return header.get("response.code").str()
	}
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
func (s *Sim) faultFor(m *message) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.strike(m.event, m.sender()); f.Kind != "" {
		return f
	}
	if m.event != eventClaim && m.event != eventAuth && m.event != eventEligibility {
		return Fault{}
	}
	id := m.focus().identifier()
	_, b := s.behaviourFor(id.Value, "")
	key := m.event + "|" + id.key()
	if b == nil || s.spent[key] {
		return Fault{}
	}
	s.spent[key] = true
	s.stats.Faults++
	return Fault{Kind: b.fault}
}

const htmlPage = "<!DOCTYPE html>\n<html><head><title>Service unavailable</title></head><body><h1>Service unavailable</h1></body></html>\n"

// notFHIR is what a gateway in front of NPHIES says.
const notFHIR = `{"servlet":"hsb","message":"Internal Server Error","status":"500"}` + "\n"

// inflict carries out a fault. body is the answer that the sender does not get as it should.
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
	case FaultJSON200, FaultEmpty:
		w.Header().Set("Content-Type", "application/json")
		if kind == FaultJSON200 {
			_, _ = io.WriteString(w, notFHIR)
		}
	case FaultRedirect:
		w.Header().Set("Location", "/moved")
		w.WriteHeader(http.StatusTemporaryRedirect)
	case FaultWrongType:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(body)
	case FaultOversized:
		w.Header().Set("Content-Type", "application/fhir+json; charset=utf-8")
		_, _ = w.Write(body[:1])
		_, _ = w.Write(bytes.Repeat([]byte{' '}, maxMessage))
		_, _ = w.Write(body[1:])
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
		_, _ = io.WriteString(w, notFHIR)
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
