package nphiessim

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// verdict is one answer of the exchange to a claim or an eligibility request.
type verdict string

// Answers to claims.
const (
	notAnswered   verdict = ""
	approved      verdict = "approved"
	partial       verdict = "partial"
	rejected      verdict = "rejected"
	refused       verdict = "error"         // NPHIES found errors; eligibility requests know it too
	queuedPayer   verdict = "queued"        // the payer has it
	queuedNPHIES  verdict = "queued-nphies" // NPHIES holds it for the payer
	queuedLarge   verdict = "queued-large"  // NPHIES holds it, not yet validated
	payerOffline  verdict = "payer-offline" // GE-00012
	timedOut      verdict = "timed-out"     // GE-00014
	memberUnknown verdict = "member-unknown"
)

// Answers to eligibility requests: the codes of the site eligibility.
const (
	eligible     verdict = "eligible"
	notCovered   verdict = "not-covered"
	notActive    verdict = "not-active"
	notDirect    verdict = "not-direct billing"
	outOfNetwork verdict = "out-network"
	limitReached verdict = "limit-exhausted"
	suspended    verdict = "coverage-suspended"
)

// transient verdicts are no answer to the claim itself: they are not kept on file.
func (v verdict) transient() bool { return v == payerOffline || v == timedOut }

// Behaviour is one line of the table of behaviours. A message chooses it by "SIM-" and its name in the value of the
// claim's or eligibility request's business identifier, upper or lower case, followed by "-" or nothing.
type Behaviour struct {
	// Name is what follows "SIM-".
	Name string
	// For is "claim", "eligibility" or, for faults on the way, "any".
	For string
	// Doc is one sentence for --help.
	Doc string

	before  int     // how often first is given instead of answer (transient verdicts)
	first   verdict // what is given so often
	answer  verdict // the real-time answer
	later   verdict // the answer that the mailbox gets afterwards, if any
	reissue bool    // later replaces a complete answer
	fault   FaultKind
}

// Behaviours is the table of behaviours. The first line of each kind is the default.
func Behaviours() []Behaviour {
	return append([]Behaviour(nil), behaviours...)
}

var behaviours = []Behaviour{
	{Name: "APPROVE", For: "claim", Doc: "approved at once (the default)", answer: approved},
	{Name: "PARTIAL", For: "claim", Doc: "at once: first item approved, second cut, third rejected; a single item is cut", answer: partial},
	{Name: "REJECT", For: "claim", Doc: "every item rejected at once", answer: rejected},
	{Name: "ERROR", For: "claim", Doc: "outcome error; one of two validation errors is repeated seven times", answer: refused},
	{Name: "PEND", For: "claim", Doc: "queued by the payer, then approved through the mailbox", answer: queuedPayer, later: approved},
	{Name: "PEND-PARTIAL", For: "claim", Doc: "queued by the payer, then partly approved through the mailbox", answer: queuedPayer, later: partial},
	{Name: "PEND-REJECT", For: "claim", Doc: "queued by the payer, then rejected through the mailbox", answer: queuedPayer, later: rejected},
	{Name: "QUEUED", For: "claim", Doc: "queued by NPHIES (tag nphies-generated), then approved through the mailbox", answer: queuedNPHIES, later: approved},
	{Name: "LARGE", For: "claim", Doc: "queued by NPHIES unvalidated (tag large-claim), then refused through the mailbox", answer: queuedLarge, later: refused},
	{Name: "NEVER", For: "claim", Doc: "queued by the payer and never answered", answer: queuedPayer},
	{Name: "REISSUE", For: "claim", Doc: "approved at once, later replaced by a partial approval through the mailbox", answer: approved, later: partial, reissue: true},
	{Name: "OFFLINE", For: "claim", Doc: "GE-00012 (payer offline) twice, then approved", before: 2, first: payerOffline, answer: approved},
	{Name: "TIMEOUT", For: "claim", Doc: "GE-00014 (timed out) once, then approved", before: 1, first: timedOut, answer: approved},

	{Name: "ELIGIBLE", For: "eligibility", Doc: "eligible (the default)", answer: eligible},
	{Name: "NOT-COVERED", For: "eligibility", Doc: "site eligibility not-covered", answer: notCovered},
	{Name: "NOT-ACTIVE", For: "eligibility", Doc: "site eligibility not-active", answer: notActive},
	{Name: "NOT-DIRECT", For: "eligibility", Doc: "site eligibility not-direct billing", answer: notDirect},
	{Name: "OUT-NETWORK", For: "eligibility", Doc: "site eligibility out-network", answer: outOfNetwork},
	{Name: "LIMIT-EXHAUSTED", For: "eligibility", Doc: "site eligibility limit-exhausted", answer: limitReached},
	{Name: "SUSPENDED", For: "eligibility", Doc: "site eligibility coverage-suspended", answer: suspended},
	{Name: "ERROR", For: "eligibility", Doc: "outcome error with the payer's code 1658", answer: memberUnknown},
	{Name: "OFFLINE", For: "eligibility", Doc: "GE-00012 (payer offline) twice, then eligible", before: 2, first: payerOffline, answer: eligible},

	{Name: "HTTP503", For: "any", Doc: "first send: 503 with an HTML page, not processed", fault: Fault503},
	{Name: "HTML200", For: "any", Doc: "first send: 200 with an HTML page, not processed", fault: FaultHTML200},
	{Name: "HANG", For: "any", Doc: "first send: no answer at all until the sender gives up, not processed", fault: FaultHang},
	{Name: "SLOW", For: "any", Doc: "first send: answered late", fault: FaultSlow},
	{Name: "CUT-BEFORE", For: "any", Doc: "first send: connection closed before anything was processed", fault: FaultCutBefore},
	{Name: "CUT-AFTER", For: "any", Doc: "first send: processed, then the connection is closed without an answer", fault: FaultCutAfter},
	{Name: "TRUNCATE", For: "any", Doc: "first send: processed, then the connection is closed in mid-answer", fault: FaultTruncate},
}

// WriteBehaviours prints the table for people.
func WriteBehaviours(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, b := range behaviours {
		if _, err := fmt.Fprintf(tw, "  SIM-%s\t%s\t%s\n", b.Name, b.For, b.Doc); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// behavioursOf returns what a business identifier asks for: how the message is answered, and the fault on the way, if any
// (nil). For one kind the first name counts; unknown names are ignored.
func behavioursOf(identifier, kind string) (answer Behaviour, fault *Behaviour) {
	chosen := false
	rest := strings.ToUpper(identifier)
	for {
		i := strings.Index(rest, "SIM-")
		if i < 0 {
			break
		}
		rest = rest[i+len("SIM-"):]
		b := longest(rest, kind)
		switch {
		case b == nil:
		case b.fault != "" && fault == nil:
			fault = b
		case b.fault == "" && !chosen:
			answer, chosen = *b, true
		}
	}
	if !chosen {
		for _, b := range behaviours {
			if b.For == kind {
				return b, fault
			}
		}
	}
	return answer, fault
}

// longest finds the behaviour with the longest name that text begins with.
func longest(text, kind string) *Behaviour {
	var found *Behaviour
	for i, b := range behaviours {
		if b.For != kind && b.For != "any" {
			continue
		}
		tail, ok := strings.CutPrefix(text, b.Name)
		if ok && (tail == "" || tail[0] == '-') && (found == nil || len(b.Name) > len(found.Name)) {
			found = &behaviours[i]
		}
	}
	return found
}
