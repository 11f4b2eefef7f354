package nphiesclient

import (
	"strings"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Retry says what to do about an error of NPHIES.
type Retry string

const (
	// RetrySame means: send the identical bytes again, with back-off.
	RetrySame Retry = "same"
	// RetryWait means: it is already there; leave it pending and poll or check its status. Never mint a new claim number.
	RetryWait Retry = "wait"
	// RetryFix means: no automatic retry, the data must change.
	RetryFix Retry = "fix"
	// RetryOps means: stop the queue of this licence and alert, a person must act.
	RetryOps Retry = "ops"
)

// ErrorClass is what a set of errors means.
type ErrorClass struct {
	// Kind is fault.Certificate, fault.Network or fault.API; fault.JWT has no source in NPHIES itself.
	Kind fault.Kind
	// Retry is the gravest of the errors': ops before wait, fix and same. Wait comes before fix, because a message that is
	// already known must not be sent again under another number.
	Retry Retry
	// Once: of RetrySame, one more try is enough (GE-00026).
	Once bool
	// Long: of RetrySame, back off for minutes rather than seconds (GE-00012, the payer is offline).
	Long bool
	// Continue: of RetryOps, alert without stopping (GE-00023, one queued message of NPHIES is lost).
	Continue bool
	// Code is the error that decided.
	Code string
}

// Classify reduces errors to what a worker must decide: the kind to report and whether to try again. Codes we do not know
// need a person: api, fix.
//
// Source: section on errors of the Implementation Guide, rule workbook; the retry column is our own policy.
func Classify(errs []CodedError) ErrorClass {
	rank := map[Retry]int{RetrySame: 1, RetryFix: 2, RetryWait: 3, RetryOps: 4}
	best := ErrorClass{Kind: fault.API, Retry: RetryFix}
	first := true
	for _, e := range errs {
		c := classOf(e.Code)
		c.Code = e.Code
		if first || rank[c.Retry] > rank[best.Retry] {
			best, first = c, false
			continue
		}
		if c.Retry == best.Retry {
			best.Once, best.Long, best.Continue = best.Once || c.Once, best.Long || c.Long, best.Continue && c.Continue
		}
	}
	return best
}

func classOf(code string) ErrorClass {
	if c, ok := errorClasses[strings.ToUpper(strings.TrimSpace(code))]; ok {
		return c
	}
	return ErrorClass{Kind: fault.API, Retry: RetryFix}
}

// errorClasses lists the codes that differ from the default, api and fix.
var errorClasses = func() map[string]ErrorClass {
	m := map[string]ErrorClass{
		"GE-00012": {Kind: fault.Network, Retry: RetrySame, Long: true}, // payer unreachable or offline
		"GE-00026": {Kind: fault.API, Retry: RetrySame, Once: true},     // payer could not process
		"GE-00023": {Kind: fault.API, Retry: RetryOps, Continue: true},  // queued content missing
	}
	add := func(kind fault.Kind, retry Retry, codes ...string) {
		for _, c := range codes {
			m[c] = ErrorClass{Kind: kind, Retry: retry}
		}
	}
	// Timed out; gateway error, service unavailable; internal errors of NPHIES.
	add(fault.Network, RetrySame, "GE-00014", "GE-00016", "GE-00017", "GE-00022", "GE-00024", "GE-00025")
	// Certificate unreadable, not of this sender, not valid, active or authorised.
	add(fault.Certificate, RetryOps, "GE-00019", "GE-00020", "BV-00077", "BV-00195", "BV-00196")
	// Wrong API; sender invalid; account of payer or provider blocked; test on production.
	add(fault.API, RetryOps, "GE-00009", "GE-00010", "GE-00029", "GE-00030", "1679")
	// Identifier not unique; header or bundle id seen before; duplicate of one in progress.
	add(fault.API, RetryWait, "BV-00163", "BV-00457", "BV-00532", "BV-00533", "BV-00542")
	return m
}()

// Fault returns the class as an error to hand on, or nil if there are no errors. Its text holds codes only, not the
// sender's words.
func (c ErrorClass) Fault(op string) error {
	if c.Code == "" {
		return nil
	}
	return &fault.Error{
		Op: op, Kind: c.Kind, Code: c.Code, Safe: "NPHIES refused the message", Permanent: c.Retry == RetryFix || c.Retry == RetryOps,
	}
}
