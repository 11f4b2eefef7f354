package nphiessim

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// PagerEvent is an event that the PagerDuty stand-in got.
type PagerEvent struct {
	ReceivedAt time.Time `json:"received_at"`
	Status     int       `json:"status"` // of the answer; 0 if a fault closed the connection
	Action     string    `json:"action"`
	DedupKey   string    `json:"dedup_key"`
	// Routing is the end of the integration key: enough to tell two apart.
	Routing  string `json:"routing"`
	Summary  string `json:"summary,omitempty"`
	Severity string `json:"severity,omitempty"`
	// Repeat: the incident was in that state before. PagerDuty takes it, and it changes nothing.
	Repeat bool `json:"repeat,omitempty"`
	// Problems are what PagerDuty would refuse, or drop without a word.
	Problems []string        `json:"problems,omitempty"`
	Body     json.RawMessage `json:"body,omitempty"` // without the integration key
}

// PagerIncident is what the events of one dedup_key have made in one integration.
type PagerIncident struct {
	DedupKey string `json:"dedup_key"`
	Routing  string `json:"routing"`
	State    string `json:"state"` // triggered, acknowledged, resolved
	Summary  string `json:"summary"`
	Severity string `json:"severity"`
}

type pagerState struct {
	events    []PagerEvent
	incidents []*PagerIncident
}

const (
	maxPagerEvents = 2000
	maxPagerBytes  = 512_000
	pagerKeyLength = 32
)

// PagerEvents returns the events that came, oldest first, refused ones among them.
func (s *Sim) PagerEvents() []PagerEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pager.events)
}

// PagerIncidents returns the incidents, oldest first.
func (s *Sim) PagerIncidents() []PagerIncident {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]PagerIncident, 0, len(s.pager.incidents))
	for _, i := range s.pager.incidents {
		out = append(out, *i)
	}
	return out
}

// pagerBody is an event as section "Send an alert event" of the Events API v2 has it. Other fields are refused here.
type pagerBody struct {
	RoutingKey  string `json:"routing_key"`
	EventAction string `json:"event_action"`
	DedupKey    string `json:"dedup_key"`
	Client      string `json:"client"`
	ClientURL   string `json:"client_url"`
	Links       []struct {
		Href string `json:"href"`
		Text string `json:"text"`
	} `json:"links"`
	Payload *struct {
		Summary   string          `json:"summary"`
		Source    string          `json:"source"`
		Severity  string          `json:"severity"`
		Timestamp string          `json:"timestamp"`
		Component string          `json:"component"`
		Group     string          `json:"group"`
		Class     string          `json:"class"`
		Custom    json.RawMessage `json:"custom_details"`
	} `json:"payload"`
}

// takePage answers as POST /v2/enqueue does, and is stricter: what PagerDuty drops without a word is a problem on record.
func (s *Sim) takePage(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTeamsRead))
	now := s.opt.Now()
	s.mu.Lock()
	fault := s.strike("pagerduty", "").Kind
	s.mu.Unlock()
	if fault != "" && !fault.afterwards() {
		s.inflictPager(w, r, fault)
		return
	}
	e := PagerEvent{ReceivedAt: now, Status: http.StatusAccepted}
	var body pagerBody
	if err != nil || len(raw) > maxPagerBytes {
		e.Status, e.Problems = http.StatusRequestEntityTooLarge, []string{"the event has more than " + strconv.Itoa(maxPagerBytes) + " bytes"}
	} else {
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.DisallowUnknownFields()
		if err := d.Decode(&body); err != nil {
			e.Problems = []string{"not an event: " + err.Error()}
		} else {
			e.Problems = body.problems(r.Header)
		}
		if len(e.Problems) > 0 {
			e.Status = http.StatusBadRequest
		}
		e.Action, e.DedupKey, e.Routing, e.Body = body.EventAction, body.DedupKey, body.RoutingKey[max(0, len(body.RoutingKey)-4):], publicPage(raw)
		if body.Payload != nil {
			e.Summary, e.Severity = body.Payload.Summary, body.Payload.Severity
		}
	}
	s.mu.Lock()
	if e.Status == http.StatusAccepted {
		s.pager.apply(&e, body.RoutingKey)
	}
	s.pager.note(e)
	s.mu.Unlock()
	s.log.InfoContext(r.Context(), "page", slog.String("action", e.Action), slog.String("dedup_key", e.DedupKey), slog.Int("status", e.Status), slog.Any("problems", e.Problems))
	switch fault {
	case FaultSlow:
		s.wait(r, s.opt.SlowDelay)
	case FaultCutAfter, FaultTruncate:
		panic(http.ErrAbortHandler)
	default:
	}
	if e.Status == http.StatusAccepted {
		writeJSON(w, e.Status, map[string]string{"status": "success", "message": "Event processed", "dedup_key": e.DedupKey})
		return
	}
	writeJSON(w, e.Status, map[string]any{"status": "invalid event", "message": "Event object is invalid", "errors": e.Problems})
}

func (p *pagerState) note(e PagerEvent) {
	if len(p.events) >= maxPagerEvents {
		p.events = slices.Delete(p.events, 0, 1)
	}
	p.events = append(p.events, e)
}

// apply does what the event says with its incident. PagerDuty knows incidents by integration and dedup_key.
func (p *pagerState) apply(e *PagerEvent, key string) {
	var open *PagerIncident
	elsewhere := false
	for _, i := range p.incidents {
		if i.DedupKey != e.DedupKey || i.State == "resolved" {
			continue
		}
		if i.Routing == key {
			open = i
		} else {
			elsewhere = true
		}
	}
	next := map[string]string{"trigger": "triggered", "acknowledge": "acknowledged", "resolve": "resolved"}[e.Action]
	switch {
	case open == nil && e.Action == "trigger":
		p.incidents = append(p.incidents, &PagerIncident{DedupKey: e.DedupKey, Routing: key, State: next, Summary: e.Summary, Severity: e.Severity})
	case open == nil && elsewhere:
		e.Problems = append(e.Problems, "wrong routing key: the incident is in another integration")
	case open == nil && e.Action == "resolve" && slices.ContainsFunc(p.incidents, func(i *PagerIncident) bool { return i.DedupKey == e.DedupKey && i.Routing == key }):
		e.Repeat = true
	case open == nil:
		e.Problems = append(e.Problems, "out of order: no incident is open for this dedup_key")
	case e.Action == "trigger": // it is added to the incident's log; an acknowledged one stays so
		e.Repeat = true
	case open.State == next:
		e.Repeat = true
	default:
		open.State = next
	}
}

func (b pagerBody) problems(h http.Header) []string {
	var out []string
	must := func(ok bool, what string) {
		if !ok {
			out = append(out, what)
		}
	}
	must(strings.HasPrefix(h.Get("Content-Type"), "application/json"), "Content-Type must be application/json")
	must(len(b.RoutingKey) == pagerKeyLength && !strings.ContainsFunc(b.RoutingKey, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}), "'routing_key' must have 32 letters and digits")
	must(slices.Contains([]string{"trigger", "acknowledge", "resolve"}, b.EventAction), "'event_action' must be trigger, acknowledge or resolve")
	must(b.DedupKey != "" && len(b.DedupKey) <= 255, "'dedup_key' must have 1 to 255 bytes")
	if b.EventAction != "trigger" {
		must(b.Payload == nil, "'payload' belongs to a trigger only")
		return out
	}
	if b.Payload == nil {
		return append(out, "'payload' is missing or blank")
	}
	p := b.Payload
	must(p.Summary != "" && utf8.RuneCountInString(p.Summary) <= 1024, "'payload.summary' must have 1 to 1024 characters")
	must(p.Source != "", "'payload.source' is missing or blank")
	must(slices.Contains([]string{"critical", "error", "warning", "info"}, p.Severity), "'payload.severity' must be critical, error, warning or info")
	if p.Timestamp != "" {
		_, err := time.Parse(time.RFC3339Nano, p.Timestamp)
		must(err == nil, "'payload.timestamp' must be ISO 8601")
	}
	for _, l := range b.Links {
		must(strings.HasPrefix(l.Href, "https://") || strings.HasPrefix(l.Href, "http://"), "'links' must have addresses")
	}
	return out
}

// publicPage is the body without the integration key.
func publicPage(raw []byte) json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	delete(m, "routing_key")
	out, err := json.Marshal(m)
	if err != nil {
		return nil
	}
	return out
}

func (s *Sim) inflictPager(w http.ResponseWriter, r *http.Request, kind FaultKind) {
	status := map[FaultKind]int{
		Fault429: http.StatusTooManyRequests, Fault401: http.StatusUnauthorized, Fault500: http.StatusInternalServerError,
		FaultOutcome: http.StatusInternalServerError, Fault503: http.StatusServiceUnavailable,
	}[kind]
	s.mu.Lock()
	s.pager.note(PagerEvent{ReceivedAt: s.opt.Now(), Status: status, Problems: []string{"fault " + string(kind)}})
	s.mu.Unlock()
	if status == 0 {
		s.inflict(w, r, kind, nil)
		return
	}
	if kind == Fault429 {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, status, map[string]any{"status": "error", "message": "fault " + string(kind)})
}

// publicIncidents shows the end of each integration key only.
func publicIncidents(list []PagerIncident) []PagerIncident {
	for i := range list {
		list[i].Routing = list[i].Routing[max(0, len(list[i].Routing)-4):]
	}
	return list
}
