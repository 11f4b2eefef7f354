package nphiessim

import (
	"errors"
	"fmt"
	"io"
	"slices"
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
	notRequired   verdict = "not-required" // authorizations only
	unfinished    verdict = "unfinished"   // outcome partial: some items are adjudicated
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
	noContract   verdict = "provider-contract-suspended"
)

// transient verdicts are no answer to the claim itself: they are not kept on file.
func (v verdict) transient() bool { return v == payerOffline || v == timedOut }

// settles tells that the payer has decided.
func (v verdict) settles() bool {
	return v == approved || v == partial || v == rejected || v == notRequired
}

// Behaviour is one line of the table of behaviours. A message chooses it by "SIM-" and its name in the value of the
// claim's or eligibility request's business identifier, upper or lower case, followed by "-" or nothing.
type Behaviour struct {
	// Name is what follows "SIM-".
	Name string
	// For is "claim" (authorizations as well), "authorization", "eligibility", "cancel" (for a claim or authorization that a
	// cancel-request names) or, for faults on the way, "any".
	For string
	// Doc is one sentence for --help.
	Doc string

	before  int     // how often first is given instead of answer (transient verdicts)
	first   verdict // what is given so often
	answer  verdict // the real-time answer
	later   verdict // the answer that the mailbox gets afterwards, if any
	reissue bool    // later replaces a complete answer
	fault   FaultKind
	many    bool   // dozens of errors
	busy    bool   // repetitions are refused until the mailbox has given the final answer
	asks    bool   // the mailbox gets a request for information, and afterInfo once it came
	cancel  string // what a cancel-request gets: accept, or the status reason

	afterInfo verdict
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

	{Name: "ERROR-MANY", For: "claim", Doc: "outcome error with dozens of errors: one of them 43 times, others twice", answer: refused, many: true},
	{Name: "LARGE-APPROVE", For: "claim", Doc: "queued by NPHIES unvalidated (tag large-claim), then approved through the mailbox", answer: queuedLarge, later: approved},
	{Name: "BUSY", For: "claim", Doc: "queued by the payer, then approved through the mailbox; until a poll has brought that, repetitions are refused with BV-00542", answer: queuedPayer, later: approved, busy: true},
	{Name: "UNFINISHED", For: "claim", Doc: "outcome partial with the first item only, then partly approved through the mailbox", answer: unfinished, later: partial},
	{Name: "INFO", For: "claim", Doc: "queued by the payer, asks for information through the mailbox; approved once a communication came", answer: queuedPayer, asks: true, afterInfo: approved},
	{Name: "EVIDENCE", For: "claim", Doc: "partly approved at once; replaced by an approval once a communication came", answer: partial, afterInfo: approved},

	{Name: "NOT-REQUIRED", For: "authorization", Doc: "complete at once: no authorization is required", answer: notRequired},

	{Name: "CANCEL-ACCEPT", For: "cancel", Doc: "may be cancelled even when adjudicated", cancel: "accept"},
	{Name: "CANCEL-REJECTED", For: "cancel", Doc: "cannot be cancelled: failed with status reason rejected", cancel: "rejected"},
	{Name: "CANCEL-IN-PROCESS", For: "cancel", Doc: "cannot be cancelled: failed with status reason in-process", cancel: "in-process"},
	{Name: "CANCEL-CLAIMED", For: "cancel", Doc: "cannot be cancelled: failed with status reason claimed", cancel: "claimed"},

	{Name: "ELIGIBLE", For: "eligibility", Doc: "eligible (the default)", answer: eligible},
	{Name: "NOT-COVERED", For: "eligibility", Doc: "site eligibility not-covered", answer: notCovered},
	{Name: "NOT-ACTIVE", For: "eligibility", Doc: "site eligibility not-active", answer: notActive},
	{Name: "NOT-DIRECT", For: "eligibility", Doc: "site eligibility not-direct billing", answer: notDirect},
	{Name: "OUT-NETWORK", For: "eligibility", Doc: "site eligibility out-network", answer: outOfNetwork},
	{Name: "LIMIT-EXHAUSTED", For: "eligibility", Doc: "site eligibility limit-exhausted", answer: limitReached},
	{Name: "SUSPENDED", For: "eligibility", Doc: "site eligibility coverage-suspended", answer: suspended},
	{Name: "CONTRACT-SUSPENDED", For: "eligibility", Doc: "site eligibility provider-contract-suspended", answer: noContract},
	{Name: "ERROR", For: "eligibility", Doc: "outcome error with the payer's code 1658", answer: memberUnknown},
	{Name: "OFFLINE", For: "eligibility", Doc: "GE-00012 (payer offline) twice, then eligible", before: 2, first: payerOffline, answer: eligible},
	{Name: "TIMEOUT", For: "eligibility", Doc: "GE-00014 (timed out) once, then eligible", before: 1, first: timedOut, answer: eligible},

	{Name: "HTTP503", For: "any", Doc: "first send: 503 with an HTML page, not processed", fault: Fault503},
	{Name: "HTML200", For: "any", Doc: "first send: 200 with an HTML page, not processed", fault: FaultHTML200},
	{Name: "HANG", For: "any", Doc: "first send: no answer at all until the sender gives up, not processed", fault: FaultHang},
	{Name: "SLOW", For: "any", Doc: "first send: answered late", fault: FaultSlow},
	{Name: "CUT-BEFORE", For: "any", Doc: "first send: connection closed before anything was processed", fault: FaultCutBefore},
	{Name: "CUT-AFTER", For: "any", Doc: "first send: processed, then the connection is closed without an answer", fault: FaultCutAfter},
	{Name: "TRUNCATE", For: "any", Doc: "first send: processed, then the connection is closed in mid-answer", fault: FaultTruncate},
	{Name: "HTTP500", For: "any", Doc: "first send: 500 with JSON that is no FHIR, not processed", fault: Fault500},
	{Name: "JSON200", For: "any", Doc: "first send: 200 with JSON that is no FHIR, not processed", fault: FaultJSON200},
	{Name: "EMPTY", For: "any", Doc: "first send: 200 with an empty body, not processed", fault: FaultEmpty},
	{Name: "REDIRECT", For: "any", Doc: "first send: 307 to an address that is no API, not processed", fault: FaultRedirect},
	{Name: "WRONG-TYPE", For: "any", Doc: "first send: processed, the answer comes as text/plain", fault: FaultWrongType},
	{Name: "OVERSIZED", For: "any", Doc: "first send: processed, the answer has more than 10 MB", fault: FaultOversized},
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

// defaultOf is the first behaviour of a kind.
func defaultOf(kind string) Behaviour {
	switch kind {
	case "authorization":
		kind = "claim"
	case "cancel":
		return Behaviour{}
	}
	for _, b := range behaviours {
		if b.For == kind {
			return b
		}
	}
	return Behaviour{}
}

// chosenBy finds the first behaviour and the first fault that a text names; nil for none.
func chosenBy(identifier, kind string) (answer, fault *Behaviour) {
	rest := strings.ToUpper(identifier)
	for {
		i := strings.Index(rest, "SIM-")
		if i < 0 {
			return answer, fault
		}
		rest = rest[i+len("SIM-"):]
		b := longest(rest, kind)
		switch {
		case b == nil:
		case b.fault != "" && fault == nil:
			fault = b
		case b.fault == "" && answer == nil:
			answer = b
		}
	}
}

// longest finds the behaviour with the longest name that text begins with.
func longest(text, kind string) *Behaviour {
	var found *Behaviour
	for i, b := range behaviours {
		if !b.fits(kind) {
			continue
		}
		tail, ok := strings.CutPrefix(text, b.Name)
		if ok && (tail == "" || tail[0] == '-') && (found == nil || len(b.Name) > len(found.Name)) {
			found = &behaviours[i]
		}
	}
	return found
}

func (b Behaviour) fits(kind string) bool {
	return b.For == kind || b.For == "any" || (kind == "authorization" && b.For == "claim")
}

// Choice makes messages behave that do not ask for it themselves.
type Choice struct {
	// Identifier is the value of the business identifier, or "*" for all that have no choice of their own.
	Identifier string `json:"identifier"`
	// Behaviour is a name of the table, with or without "SIM-"; several may be joined by a space.
	Behaviour string `json:"behaviour"`
}

// ErrUnknownBehaviour means that the table of behaviours has no such name.
var ErrUnknownBehaviour = errors.New("unknown behaviour")

// Choose sets what becomes of the messages with an identifier, from their next new arrival on. It wins over what the identifier
// asks for; "*" does not. An empty behaviour takes the choice back.
//
// Errors: ErrUnknownBehaviour.
func (s *Sim) Choose(c Choice) error {
	var names []string
	for name := range strings.FieldsSeq(strings.ToUpper(c.Behaviour)) {
		name = strings.TrimPrefix(name, "SIM-")
		if !slices.ContainsFunc(behaviours, func(b Behaviour) bool { return b.Name == name }) {
			return fmt.Errorf("%w: %q", ErrUnknownBehaviour, name)
		}
		names = append(names, "SIM-"+name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(names) == 0 {
		delete(s.choices, c.Identifier)
		return nil
	}
	s.choices[c.Identifier] = strings.Join(names, "-")
	return nil
}

// Choices lists what was chosen, by identifier.
func (s *Sim) Choices() []Choice {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Choice, 0, len(s.choices))
	for id, b := range s.choices {
		out = append(out, Choice{id, b})
	}
	slices.SortFunc(out, func(a, b Choice) int { return strings.Compare(a.Identifier, b.Identifier) })
	return out
}

// behaviourFor returns what was chosen for a business identifier, else what it asks for itself, else what was chosen for
// all: how the message is answered, and the fault on the way, if any (nil). Of several names for one kind the first counts;
// unknown names are ignored. The caller holds the lock.
func (s *Sim) behaviourFor(identifier, kind string) (answer Behaviour, fault *Behaviour) {
	for _, text := range []string{s.choices[identifier], identifier, s.choices["*"]} {
		a, f := chosenBy(text, kind)
		if a != nil && answer.Name == "" {
			answer = *a
		}
		if f != nil && fault == nil {
			fault = f
		}
	}
	if answer.Name == "" {
		answer = defaultOf(kind)
	}
	return answer, fault
}
