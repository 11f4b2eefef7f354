package nphiessim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// Errors of what can be asked of the simulator.
var (
	// ErrUnknownClaim: no claim with this identifier has come.
	ErrUnknownClaim = errors.New("unknown claim")
	// ErrNotComplete: only an adjudicated claim can be answered anew.
	ErrNotComplete = errors.New("claim is not complete")
	// ErrComplete: only a pending claim can be answered late.
	ErrComplete = errors.New("claim is not pending")
	// ErrUnknownReason: the reason of a reissue is not one of ReissueReasons.
	ErrUnknownReason = errors.New("reason must be one of " + strings.Join(reissueReasons, ", "))
	// ErrUnknownOutcome: the outcome is not approved, partial or rejected.
	ErrUnknownOutcome = errors.New("outcome must be approved, partial or rejected")
	// ErrUnknownKind: the kind of message cannot be pushed.
	ErrUnknownKind = errors.New("unknown kind of message")
)

var reissueReasons = []string{"correction", "adjudication", "miscalculation", "benefit", "audit", "cancel", "other"}

// ReissueReasons lists why an answer may replace an earlier one (BV-00055).
func ReissueReasons() []string { return slices.Clone(reissueReasons) }

// Reissue replaces the answer to a complete claim by another one, which the provider finds in the mailbox, for the reason
// "correction". outcome is "approved", "partial" or "rejected".
//
// Errors: ErrUnknownClaim, ErrNotComplete, ErrUnknownOutcome.
func (s *Sim) Reissue(id Identifier, outcome string) error {
	return s.ReissueFor(id, outcome, "correction")
}

// ReissueFor is Reissue for one of ReissueReasons.
//
// Errors: those of Reissue, ErrUnknownReason.
func (s *Sim) ReissueFor(id Identifier, outcome, reason string) error {
	if !slices.Contains(reissueReasons, reason) {
		return fmt.Errorf("%w: %q", ErrUnknownReason, reason)
	}
	return s.answerNow(id, outcome, reason, "complete", ErrNotComplete)
}

// AnswerLate answers a claim that is pending: the provider finds the answer in the mailbox. outcome is "approved", "partial" or
// "rejected".
//
// Errors: ErrUnknownClaim, ErrComplete, ErrUnknownOutcome.
func (s *Sim) AnswerLate(id Identifier, outcome string) error {
	return s.answerNow(id, outcome, "", "queued", ErrComplete)
}

// answerNow mails an answer to a claim that is in a state, else fails with otherwise.
func (s *Sim) answerNow(id Identifier, outcome, reissue, state string, otherwise error) error {
	v := verdict(outcome)
	if !slices.Contains([]verdict{approved, partial, rejected}, v) {
		return fmt.Errorf("%w: %q", ErrUnknownOutcome, outcome)
	}
	now := s.opt.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.claims[id.key()]
	if rec == nil {
		return ErrUnknownClaim
	}
	if rec.outcome(now) != state {
		return otherwise
	}
	s.mailAnswer(rec, s.decided(rec.message, rec.behaviour, v, reissue, now))
	return nil
}

// PushKinds are the kinds of message that Push knows.
func PushKinds() []string {
	return []string{eventCommunicationAsked, eventPayment, eventAdvanced, "unknown", "unreadable"}
}

// maker writes the main resource of an unsolicited message.
type maker func(sender, time.Time) (event, resourceType string, resource map[string]any)

// Push puts an unsolicited message into a provider's mailbox. It is about the license's most recent valid claim if there
// is one; a payment reconciliation pays its approved ones, at most 2,000. "unknown" has an event and a resource that no one has heard
// of, "unreadable" is a nested Bundle whose entries are no list.
//
// Errors: ErrUnknownKind.
func (s *Sim) Push(license, kind string) error {
	makers := map[string]maker{
		eventCommunicationAsked: s.communicationRequest, eventPayment: s.paymentReconciliation, eventAdvanced: s.advancedAuthorization,
		"unknown": s.unknownMessage, "unreadable": nil,
	}
	now := s.opt.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	write, known := makers[kind]
	switch {
	case !known:
		return fmt.Errorf("%w: %q", ErrUnknownKind, kind)
	case write == nil:
		s.box(license).add(&mail{event: kind, at: now, bundle: map[string]any{
			"resourceType": "Bundle", "id": s.guid("bundle"), "type": "message", "entry": "unreadable",
		}})
	default:
		s.mailUnsolicited(s.senderFor(license), kind, write, now)
	}
	return nil
}

// mailUnsolicited puts a message that answers nothing into a provider's mailbox.
func (s *Sim) mailUnsolicited(from sender, kind string, write maker, at time.Time) {
	event, resourceType, resource := write(from, at)
	id := s.guid(kind)
	resource["resourceType"], resource["id"], resource["meta"] = resourceType, id, meta(kindProfile(kind))
	url := from.base + resourceType + "/" + id
	about := Identifier{}
	if from.claim != nil {
		about = from.claim.id
	}
	s.box(from.license).add(&mail{event: event, at: at, claim: about, bundle: s.bundle(reply{
		event: event, from: from.payer, to: from.license, focus: url,
		resources: append([]any{entryJSON(url, resource)}, from.resources...),
	}, at)})
}

func kindProfile(kind string) string {
	if kind == "unknown" {
		return "basic"
	}
	return kind
}

// sender is the payer that writes an unsolicited message, and what it writes about.
type sender struct {
	license   string
	payer     Identifier
	base      string       // namespace of the payer
	claim     *claimRecord // nil if the license has none
	resources []any
	provider  any // References
	insurer   any
	patient   any // nil without a claim
}

// senderOf is the payer of a claim.
func (s *Sim) senderOf(rec *claimRecord) sender {
	c := rec.message.focus()
	return sender{
		license: rec.license, payer: Identifier{payerLicense, rec.payer}, base: payerBase(rec.message), claim: rec,
		resources: entriesOf(rec.message, "Patient", "Organization", "Coverage"),
		provider:  c.get("provider").v, insurer: c.get("insurer").v, patient: c.get("patient").v,
	}
}

// senderFor is the payer of the license's most recent valid claim, or an invented one.
func (s *Sim) senderFor(license string) sender {
	for _, rec := range slices.Backward(s.claimOrder) {
		if rec.license != license || !rec.valid() {
			continue
		}
		return s.senderOf(rec)
	}
	const base = "http://payer-simulated.example/"
	payer := Identifier{payerLicense, "SIM-INS-0001"}
	organization := func(profile, kind string, id Identifier) (any, any) {
		key := s.guid("organization")
		url := base + "Organization/" + key
		return map[string]any{"reference": url}, entryJSON(url, map[string]any{
			"resourceType": "Organization", "id": key, "meta": meta(profile), "active": true,
			"identifier": []any{identifierJSON(id)}, "type": []any{concept(systemPrefix+"organization-type", kind)},
			"name": "Simulated organization",
		})
	}
	provider, p := organization("provider-organization", "prov", Identifier{providerLicense, license})
	insurer, i := organization("insurer-organization", "ins", payer)
	return sender{license: license, payer: payer, base: base, resources: []any{p, i}, provider: provider, insurer: insurer}
}

func (s *Sim) communicationRequest(from sender, _ time.Time) (event, resourceType string, resource map[string]any) {
	res := map[string]any{
		"identifier": []any{identifierJSON(Identifier{from.base + "communicationrequest", "CMR-" + s.guid("cmr")[:13]})},
		"status":     "active", "priority": "routine",
		"category":   []any{concept(hl7Prefix+"communication-category", "instruction")},
		"payload":    []any{map[string]any{"contentString": "Please attach the laboratory report for item 1"}},
		"reasonCode": []any{concept(systemPrefix+"communication-reason", "missing-attach")},
		"recipient":  []any{from.provider}, "sender": from.insurer,
	}
	if from.claim != nil {
		res["subject"] = from.patient
		res["about"] = []any{map[string]any{"type": "Claim", "identifier": identifierJSON(from.claim.id)}}
	}
	return "communication-request", "CommunicationRequest", res
}

// The invented fees of a payment, in hundredths of it.
var (
	earlyFee  = decimal.New(15, -3)
	nphiesFee = decimal.New(5, -3)
)

// maxPaid is how many claims a payment is for at most: the message must fit into the answer to a poll.
const maxPaid = 2000

func (s *Sim) paymentReconciliation(from sender, now time.Time) (event, resourceType string, resource map[string]any) {
	total := decimal.Zero
	var details []any
	for _, rec := range s.claimOrder {
		a := rec.onFile(now)
		if len(details) == maxPaid {
			break
		}
		if rec.license != from.license || rec.payer != from.payer.Value || a == nil || rec.cancelled || rec.authorization() || !a.amounts.Paid.IsPositive() {
			continue
		}
		paid := a.amounts.Paid
		early, exchange := paid.Mul(earlyFee).Round(2).Neg(), paid.Mul(nphiesFee).Round(2).Neg()
		amount := paid.Add(early).Add(exchange)
		total = total.Add(amount)
		details = append(details, map[string]any{
			"extension": []any{
				map[string]any{"url": extensionURL("component-payment"), "valueMoney": money(paid)},
				map[string]any{"url": extensionURL("component-early-fee"), "valueMoney": money(early)},
				map[string]any{"url": extensionURL("component-nphies-fee"), "valueMoney": money(exchange)},
			},
			"type":      concept(hl7Prefix+"payment-type", "payment"),
			"request":   map[string]any{"type": "Claim", "identifier": identifierJSON(rec.id)},
			"response":  map[string]any{"type": "ClaimResponse", "identifier": identifierJSON(a.identifier())},
			"submitter": from.provider, "payee": from.provider, "date": day(now), "amount": money(amount),
		})
	}
	res := map[string]any{
		"identifier": []any{identifierJSON(Identifier{from.base + "paymentreconciliation", "PAY-" + s.guid("pay")[:13]})},
		"status":     "active", "outcome": "complete", "created": day(now), "paymentDate": day(now),
		"period":        map[string]any{"start": day(now), "end": day(now)},
		"paymentIssuer": from.insurer, "requestor": from.provider, "disposition": "Settlement by the simulator",
		"paymentAmount": money(total),
		"paymentIdentifier": map[string]any{
			"type": concept(systemPrefix+"payment-method", "eft"), "system": from.base + "payment", "value": "EFT-" + s.guid("eft")[:13],
		},
	}
	if len(details) > 0 {
		res["detail"] = details
	}
	return "payment-reconciliation", "PaymentReconciliation", res
}

func (s *Sim) advancedAuthorization(from sender, now time.Time) (event, resourceType string, resource map[string]any) {
	res := map[string]any{
		"extension":  []any{conceptExtension("adjudication-outcome", systemOutcome, string(approved))},
		"identifier": []any{identifierJSON(Identifier{from.base + "advancedauthorization", "ADV-" + s.guid("adv")[:13]})},
		"status":     "active", "use": "preauthorization", "outcome": "complete", "created": day(now),
		"type":    concept(systemClaimType, "professional"),
		"insurer": from.insurer, "preAuthRef": "AUTH-" + s.guid("auth")[:13],
		"preAuthPeriod": map[string]any{"start": day(now), "end": day(now.AddDate(0, 0, 30))},
	}
	if from.patient != nil {
		res["patient"] = from.patient
	}
	granted := decimal.NewFromInt(450)
	res["addItem"] = []any{map[string]any{
		"extension":        []any{conceptExtension("adjudication-outcome", systemOutcome, string(approved))},
		"productOrService": concept(systemPrefix+"services", "83600-00-10"),
		"quantity":         map[string]any{"value": number(1)}, "unitPrice": money(granted), "net": money(granted),
		"adjudication": []any{
			map[string]any{"category": concept(systemAdjudication, "eligible"), "amount": money(granted)},
			map[string]any{"category": concept(systemAdjudication, "benefit"), "amount": money(granted)},
			map[string]any{"category": concept(systemKSA, "approved-quantity"), "value": number(1)},
		},
	}}
	return "advanced-authorization", "ClaimResponse", res
}

// unknownMessage is of an event that no one has heard of: a poller must keep it and go on.
func (s *Sim) unknownMessage(_ sender, now time.Time) (event, resourceType string, resource map[string]any) {
	return "simulated-event", "Basic", map[string]any{"code": concept(systemPrefix+"simulated", "unknown"), "created": day(now)}
}
