package nphiessim

import (
	"errors"
	"fmt"
	"regexp"
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

	FaultJSON200  FaultKind = "json200"  // 200 with JSON that is no FHIR
	FaultEmpty    FaultKind = "empty"    // 200 without a body
	FaultRedirect FaultKind = "redirect" // 307 to an address that is no API
	FaultError    FaultKind = "error"    // refused with the code of the fault

	FaultSlow     FaultKind = "slow"      // processed, answered late
	FaultCutAfter FaultKind = "cut-after" // processed, connection closed without an answer
	FaultTruncate FaultKind = "truncate"  // processed, connection closed in mid-answer

	FaultWrongType FaultKind = "wrong-type" // processed, the answer comes as text/plain
	FaultOversized FaultKind = "oversized"  // processed, the answer has more than 10 MB
)

// faultKinds lists every kind and the other names it goes by.
var faultKinds = map[string]FaultKind{
	"503": Fault503, "500": Fault500, "outcome": FaultOutcome, "html200": FaultHTML200, "hang": FaultHang,
	"cut-before": FaultCutBefore, "cut": FaultCutBefore, "refuse": FaultRefuse, "401": Fault401, "429": Fault429,
	"slow": FaultSlow, "cut-after": FaultCutAfter, "lost-poll-answer": FaultCutAfter, "truncate": FaultTruncate,
	"json200": FaultJSON200, "empty": FaultEmpty, "redirect": FaultRedirect, "error": FaultError, "wrong-type": FaultWrongType,
	"oversized": FaultOversized,
}

// errorCode is what a code of the exchange or of a payer looks like.
var errorCode = regexp.MustCompile(`^([A-Z]{2}-\d{5}|\d{1,5})$`)

// ErrFault means that a fault cannot be scripted; the message says why.
var ErrFault = errors.New("fault")

// check tells what a fault lacks.
func (f Fault) check() error {
	switch {
	case (strings.HasPrefix(f.Match, "teams") || f.Match == "pagerduty") && slices.Contains([]FaultKind{
		FaultJSON200, FaultEmpty, FaultRedirect, FaultError, FaultWrongType, FaultOversized,
	}, f.Kind):
		return fmt.Errorf("%w: kind %s is not for Teams and PagerDuty", ErrFault, f.Kind)
	case f.Kind == FaultError && !errorCode.MatchString(f.Code):
		return fmt.Errorf("%w: code must be given with kind error, as GE-00020 or 1658", ErrFault)
	case f.Kind != FaultError && (f.Code != "" || f.Text != "" || f.Status != 0):
		return fmt.Errorf("%w: code, text and status go with kind error only", ErrFault)
	case f.Status != 0 && (f.Status < 300 || f.Status > 599):
		return fmt.Errorf("%w: status must be 300 to 599, or absent for an error within a message", ErrFault)
	}
	return nil
}

func (k FaultKind) afterwards() bool {
	return k == FaultSlow || k == FaultCutAfter || k == FaultTruncate || k == FaultWrongType || k == FaultOversized
}

// Fault is a scripted fault.
type Fault struct {
	// Match says which requests it strikes: a message event ("claim-request", "poll-request"), "*" for every NPHIES
	// message, "teams" for every Teams post, "teams:<channel>" for those of one channel, "pagerduty" for every event to PagerDuty.
	Match string `json:"match"`
	// Kind says what happens.
	Kind FaultKind `json:"kind"`
	// Count is how many requests it strikes; below 1 it stays until faults are replaced.
	Count int `json:"count"`
	// License strikes only messages of this sender; "" those of all.
	License string `json:"license,omitempty"`
	// Code and Text are the error of kind "error"; without a Text the code's known meaning is told.
	Code string `json:"code,omitempty"`
	Text string `json:"text,omitempty"`
	// Status makes kind "error" a bare OperationOutcome with this HTTP status; 0 is an error within a normal answer.
	Status int `json:"status,omitempty"`
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

// strike returns the scripted fault for a request named by an NPHIES event or by "teams:<channel>"; its Kind is "" if there
// is none. The caller holds the lock.
func (s *Sim) strike(name, license string) Fault {
	for i := range s.faults {
		f := &s.faults[i]
		if !faultMatches(f.Match, name) || (f.License != "" && f.License != license) {
			continue
		}
		struck := f.Fault
		if !f.endless {
			if f.Count--; f.Count < 1 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		s.stats.Faults++
		return struck
	}
	return Fault{}
}

func faultMatches(match, name string) bool {
	channel, isTeams := strings.CutPrefix(name, "teams:")
	if isTeams {
		return match == "teams" || match == "teams:"+channel
	}
	return match == name || (match == "*" && name != "pagerduty")
}

// opsErrors are the meanings of codes that are worth scripting.
var opsErrors = map[string]string{
	"GE-00009": "The wrong API was called", "GE-00010": "The sender organization is invalid",
	"GE-00012": "Payer is unreachable or temporarily offline", "GE-00014": "The request timed out",
	"GE-00016": "Gateway error", "GE-00017": "The service is unavailable",
	"GE-00019": "The organization cannot be read from the certificate", "GE-00020": "The credentials do not match the message sender",
	"GE-00021": "The practitioner license is not valid", "GE-00022": "Internal error", "GE-00023": "The queued content is missing",
	"GE-00024": "Internal error", "GE-00025": "Internal error", "GE-00026": "The payer could not process the message",
	"GE-00029": "The payer's account is blocked", "GE-00030": "The provider's account is blocked",
	"BV-00077": "The credentials are not valid", "BV-00195": "The certificate is not active", "BV-00196": "The certificate is not authorized",
	"1679": "Test transaction on production",
}

// finding is the error that a fault of kind "error" gives.
func (f Fault) finding() Finding {
	text := f.Text
	if text == "" {
		text = opsErrors[f.Code]
	}
	if text == "" {
		text = "Scripted error"
	}
	return Finding{Code: f.Code, Text: text}
}
