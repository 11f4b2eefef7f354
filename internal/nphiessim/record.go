package nphiessim

import (
	"log/slog"
	"net/http"
	"slices"
	"time"
)

// maxRequests is how many requests are remembered.
const maxRequests = 1000

// Request is one NPHIES request as it arrived.
type Request struct {
	// ID counts the requests, from 1.
	ID         int        `json:"id"`
	At         time.Time  `json:"at"`
	Event      string     `json:"event,omitempty"`
	Sender     string     `json:"sender,omitempty"`
	Identifier Identifier `json:"identifier,omitzero"`
	HeaderID   string     `json:"header_id,omitempty"`
	BundleID   string     `json:"bundle_id,omitempty"`
	Bytes      int        `json:"bytes"`
	// Status is the HTTP status of the answer; 0 if a fault took its place.
	Status int `json:"status"`
	// Outcome is the outcome in the answer, or "refused" for a bare OperationOutcome.
	Outcome  string    `json:"outcome,omitempty"`
	Fault    FaultKind `json:"fault,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
}

// maxText is how much of a sender's text is remembered and listed: what the guide allows is shorter.
const maxText = 255

func shownText(s string) string { return clip(s, maxText) }

// exchange is what went over the wire.
type exchange struct{ request, answer []byte }

// maxKept bounds the bytes of all exchanges that are remembered; the newest is always kept.
const maxKept = 64 << 20

// Claim is what the simulator knows about one claim or authorization identifier.
type Claim struct {
	// Use is "claim" or "preauthorization".
	Use        string     `json:"use"`
	Identifier Identifier `json:"identifier"`
	License    string     `json:"license"`
	Payer      string     `json:"payer"`
	Behaviour  string     `json:"behaviour"`
	// Received is how often a message with this identifier was processed.
	Received int `json:"received"`
	// DistinctContents is how many different Claim resources came under this identifier; more than 1 is a mistake.
	DistinctContents int `json:"distinct_contents"`
	// DistinctBodies is how many different messages came under this identifier; 1 if only exact copies were resent.
	DistinctBodies int `json:"distinct_bodies"`
	// Valid tells that the claim was taken in: such a claim is billed, once, however often it came.
	Valid bool `json:"valid"`
	// Outcome is the state now: queued, partial, complete, error or cancelled; "" if only transient answers were given.
	Outcome string `json:"outcome"`
	// Adjudication is approved, partial, rejected or, for authorizations, not-required once the outcome is complete.
	Adjudication string `json:"adjudication,omitempty"`
	// Final is the state once everything waiting is delivered: approved, partial, rejected, error, pending or
	// cancelled; "" if only transient answers were given.
	Final string `json:"final"`
	// PreAuthRef is the number of a granted authorization.
	PreAuthRef string `json:"pre_auth_ref,omitempty"`
	// Claimed tells that a claim quotes this authorization.
	Claimed bool `json:"claimed,omitempty"`
	// Amounts are those of the answer on file, zero if it is not complete.
	Amounts Amounts       `json:"amounts"`
	Answers []ClaimAnswer `json:"answers"`
}

// ClaimAnswer is one version of the answer to a claim.
type ClaimAnswer struct {
	// At is when it was on file: at once, or when it entered the mailbox.
	At       time.Time `json:"at"`
	Verdict  string    `json:"verdict"`
	Reissue  string    `json:"reissue,omitempty"`
	Amounts  Amounts   `json:"amounts"`
	Findings []Finding `json:"findings,omitempty"`
}

// EligibilityCheck is what the simulator knows about one eligibility request.
type EligibilityCheck struct {
	Identifier Identifier `json:"identifier"`
	License    string     `json:"license"`
	Payer      string     `json:"payer"`
	Behaviour  string     `json:"behaviour"`
	Received   int        `json:"received"`
	Verdict    string     `json:"verdict"`
	Findings   []Finding  `json:"findings,omitempty"`
}

// Stats are counters since the start or the last reset.
type Stats struct {
	Requests  int `json:"requests"`
	Refused   int `json:"refused"` // with findings or as unreadable
	Faults    int `json:"faults"`
	Delivered int `json:"delivered"` // messages handed out by polls
	// Claims is the number of claim identifiers, Billed that of valid claims, Changed that of identifiers that came with
	// different contents. Authorizations are counted by themselves.
	Claims         int `json:"claims"`
	Billed         int `json:"billed"`
	Changed        int `json:"changed"`
	Authorizations int `json:"authorizations"`
	// Waiting is the number of messages in all mailboxes, those not visible yet included.
	Waiting int `json:"waiting"`
	// Cards is the number of cards shown, Duplicates that of repeated posts, TeamsRefused that of posts not taken.
	Cards        int `json:"cards"`
	Duplicates   int `json:"duplicates"`
	TeamsRefused int `json:"teams_refused"`
}

// note remembers a request and what was answered; x.answer is nil if a fault took the answer's place.
func (s *Sim) note(r *http.Request, q Request, x exchange) {
	s.log.InfoContext(r.Context(), "request", slog.String("event", q.Event), slog.String("header_id", q.HeaderID),
		slog.Int("status", q.Status), slog.String("outcome", q.Outcome), slog.String("fault", string(q.Fault)),
		slog.Int("findings", len(q.Findings)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Requests++
	if len(q.Findings) > 0 {
		s.stats.Refused++
	}
	if len(s.requests) >= 2*maxRequests {
		s.requests = slices.Clone(s.requests[maxRequests:])
	}
	s.requestID++
	q.ID = s.requestID
	s.requests = append(s.requests, q)
	s.kept[q.ID] = x
	s.keptBytes += len(x.request) + len(x.answer)
	for s.keptFrom < q.ID && (s.keptBytes > maxKept || q.ID-s.keptFrom >= maxRequests) {
		old := s.kept[s.keptFrom]
		s.keptBytes -= len(old.request) + len(old.answer)
		delete(s.kept, s.keptFrom)
		s.keptFrom++
	}
}

// Exchange returns the bytes of a request and of its answer; answer is nil if a fault took its place. ok is false if the
// request is not remembered: the last 1,000 are, up to 64 MB.
func (s *Sim) Exchange(id int) (request, answer []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.kept[id]
	return x.request, x.answer, ok
}

// Requests returns the last requests to NPHIES, oldest first, at most 1,000.
func (s *Sim) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests[max(0, len(s.requests)-maxRequests):])
}

// Claims returns all claims in the order of their first arrival.
func (s *Sim) Claims() []Claim {
	now := s.opt.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Claim, 0, len(s.claimOrder))
	for _, r := range s.claimOrder {
		out = append(out, r.public(now))
	}
	return out
}

// Claim returns the claim with an identifier; ok is false if none has come.
func (s *Sim) Claim(id Identifier) (c Claim, ok bool) {
	now := s.opt.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.claims[id.key()]
	if r == nil {
		return Claim{}, false
	}
	return r.public(now), true
}

// Eligibility returns all eligibility requests in the order of their first arrival.
func (s *Sim) Eligibility() []EligibilityCheck {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]EligibilityCheck, 0, len(s.eligOrder))
	for _, r := range s.eligOrder {
		out = append(out, EligibilityCheck{
			Identifier: r.id.shown(), License: shownText(r.license), Payer: shownText(r.payer), Behaviour: r.behaviour.Name, Received: r.received,
			Verdict: string(r.verdict), Findings: r.findings,
		})
	}
	return out
}

// Stats returns the counters.
func (s *Sim) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	for _, r := range s.claimOrder {
		if r.authorization() {
			st.Authorizations++
			continue
		}
		st.Claims++
		if r.valid() {
			st.Billed++
		}
		if len(r.contents) > 1 {
			st.Changed++
		}
	}
	for _, b := range s.boxes {
		st.Waiting += len(b.mails)
	}
	st.Cards = len(s.teams.cards)
	return st
}

// valid tells that the claim was taken in and not refused by NPHIES' own rules.
func (r *claimRecord) valid() bool {
	if len(r.answers) == 0 {
		return false
	}
	last := r.answers[len(r.answers)-1]
	return last.verdict != refused || last.by != nphiesParty
}

// outcome is the claim's state as status-check tells it.
func (r *claimRecord) outcome(now time.Time) string {
	a := r.onFile(now)
	switch {
	case r.cancelled:
		return "cancelled"
	case a == nil:
		return ""
	case a.verdict == refused:
		return "error"
	case a.verdict == unfinished:
		return "partial"
	case a.final():
		return "complete"
	default:
		return "queued"
	}
}

// final is what becomes of the claim when all its answers are delivered.
func (r *claimRecord) final() string {
	switch {
	case r.cancelled:
		return "cancelled"
	case len(r.answers) == 0:
		return ""
	}
	last := r.answers[len(r.answers)-1]
	if !last.final() {
		return "pending"
	}
	return string(last.verdict)
}

func (r *claimRecord) public(now time.Time) Claim {
	c := Claim{
		Use: "claim", Claimed: r.claimed, Identifier: r.id.shown(), License: shownText(r.license), Payer: shownText(r.payer), Behaviour: r.behaviour.Name, Received: r.received,
		DistinctContents: len(r.contents), DistinctBodies: len(r.bodies), Valid: r.valid(), Outcome: r.outcome(now),
		Final: r.final(), Answers: []ClaimAnswer{},
	}
	if r.authorization() {
		c.Use = "preauthorization"
	}
	if a := r.onFile(now); a != nil && c.Outcome == "complete" {
		c.PreAuthRef, _ = a.resource["preAuthRef"].(string)
		c.Amounts, c.Adjudication = a.amounts, string(a.verdict)
	}
	for _, a := range r.answers {
		c.Answers = append(c.Answers, ClaimAnswer{At: a.at, Verdict: string(a.verdict), Reissue: a.reissue, Amounts: a.amounts, Findings: a.findings})
	}
	return c
}
