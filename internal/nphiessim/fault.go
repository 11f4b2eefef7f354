package nphiessim

import (
	"slices"
	"strings"
)

// FaultKind is a way in which an exchange goes wrong.
type FaultKind string

// The faults. Those of the first group leave the message unprocessed.
const (
	Fault503       FaultKind = "503"        // 503 with an HTML page
	Fault500       FaultKind = "500"        // 500 with JSON that is no FHIR
	FaultOutcome   FaultKind = "outcome"    // 500 with a bare OperationOutcome, GE-00017
	FaultHTML200   FaultKind = "html200"    // 200 with an HTML page
	FaultHang      FaultKind = "hang"       // no answer until the sender gives up
	FaultCutBefore FaultKind = "cut-before" // connection closed
	FaultRefuse    FaultKind = "refuse"     // connection reset
	Fault401       FaultKind = "401"        // Teams: bad signature of the URL
	Fault429       FaultKind = "429"        // Teams: too many, with Retry-After

	FaultSlow     FaultKind = "slow"      // processed, answered late
	FaultCutAfter FaultKind = "cut-after" // processed, connection closed without an answer
	FaultTruncate FaultKind = "truncate"  // processed, connection closed in mid-answer
)

// faultKinds lists every kind and the other names it goes by.
var faultKinds = map[string]FaultKind{
	"503": Fault503, "500": Fault500, "outcome": FaultOutcome, "html200": FaultHTML200, "hang": FaultHang,
	"cut-before": FaultCutBefore, "cut": FaultCutBefore, "refuse": FaultRefuse, "401": Fault401, "429": Fault429,
	"slow": FaultSlow, "cut-after": FaultCutAfter, "lost-poll-answer": FaultCutAfter, "truncate": FaultTruncate,
}

func (k FaultKind) afterwards() bool {
	return k == FaultSlow || k == FaultCutAfter || k == FaultTruncate
}

// Fault is a scripted fault.
type Fault struct {
	// Match says which requests it strikes: a message event ("claim-request", "poll-request"), "*" for every NPHIES
	// message, "teams" for every Teams post, "teams:<channel>" for those of one channel.
	Match string `json:"match"`
	// Kind says what happens.
	Kind FaultKind `json:"kind"`
	// Count is how many requests it strikes; below 1 it stays until faults are replaced.
	Count int `json:"count"`
}

// SetFaults replaces the scripted faults. The first that matches a request strikes it.
func (s *Sim) SetFaults(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	for _, f := range faults {
		s.faults = append(s.faults, scripted{Fault: f, endless: f.Count < 1})
	}
}

// AddFault puts one more fault behind those that are scripted.
func (s *Sim) AddFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, scripted{Fault: f, endless: f.Count < 1})
}

// Faults returns the scripted faults that are not used up, with the strikes they have left (0: without end).
func (s *Sim) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Fault, 0, len(s.faults))
	for _, f := range s.faults {
		out = append(out, f.Fault)
	}
	return out
}

type scripted struct {
	Fault
	endless bool
}

// strike returns the scripted fault for a request named by an NPHIES event or by "teams:<channel>", "" for none. The
// caller holds the lock.
func (s *Sim) strike(name string) FaultKind {
	for i := range s.faults {
		f := &s.faults[i]
		if !faultMatches(f.Match, name) {
			continue
		}
		kind := f.Kind
		if !f.endless {
			if f.Count--; f.Count < 1 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		s.stats.Faults++
		return kind
	}
	return ""
}

func faultMatches(match, name string) bool {
	channel, isTeams := strings.CutPrefix(name, "teams:")
	if isTeams {
		return match == "teams" || match == "teams:"+channel
	}
	return match == "*" || match == name
}
