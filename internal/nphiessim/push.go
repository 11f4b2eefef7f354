package nphiessim

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Errors of what can be asked of the simulator.
var (
	// ErrUnknownClaim: no claim with this identifier has come.
	ErrUnknownClaim = errors.New("unknown claim")
	// ErrNotComplete: only an adjudicated claim can be answered anew.
	ErrNotComplete = errors.New("claim is not complete")
	// ErrUnknownOutcome: the outcome is not approved, partial or rejected.
	ErrUnknownOutcome = errors.New("outcome must be approved, partial or rejected")
	// ErrUnknownKind: the kind of message cannot be pushed.
	ErrUnknownKind = errors.New("unknown kind of message")
)

// Reissue replaces the answer to a complete claim by another one, which the provider finds in the mailbox. outcome is
// "approved", "partial" or "rejected".
//
// Errors: ErrUnknownClaim, ErrNotComplete, ErrUnknownOutcome.
func (s *Sim) Reissue(id Identifier, outcome string) error {
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
	if rec.outcome(now) != "complete" {
		return ErrNotComplete
	}
	s.mailAnswer(rec, s.decided(rec.message, v, "correction", now))
	return nil
}

// PushKinds are the kinds of message that Push knows.
func PushKinds() []string {
	return []string{"communication-request", "payment-reconciliation", "advanced-authorization", "unknown"}
}

// Push puts an unsolicited message into a provider's mailbox. It is about the license's most recent valid claim if there
// is one; a payment reconciliation pays all its approved ones.
//
// Errors: ErrUnknownKind.
func (s *Sim) Push(license, kind string) error {
	makers := map[string]func(sender, time.Time) (event, resourceType string, resource map[string]any){
		"communication-request": s.communicationRequest, "payment-reconciliation": s.paymentReconciliation,
		"advanced-authorization": s.advancedAuthorization, "unknown": s.unknownMessage,
	}
	now := s.opt.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	maker := makers[kind]
	if maker == nil {
		return fmt.Errorf("%w: %q", ErrUnknownKind, kind)
	}
	from := s.senderFor(license)
	event, resourceType, resource := maker(from, now)
	id := s.guid(kind)
	resource["resourceType"], resource["id"], resource["meta"] = resourceType, id, meta(kindProfile(kind))
	url := from.base + resourceType + "/" + id
	about := Identifier{}
	if from.claim != nil {
		about = from.claim.id
	}
	s.box(license).add(&mail{event: event, at: now, claim: about, bundle: s.bundle(reply{
		event: event, from: from.payer, to: license, focus: url,
		resources: append([]any{entryJSON(url, resource)}, from.resources...),
	}, now)})
	return nil
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

func (s *Sim) senderFor(license string) sender {
	for _, rec := range slices.Backward(s.claimOrder) {
		if rec.license != license || !rec.valid() {
			continue
		}
		c := rec.message.focus()
		return sender{
			license: license, payer: Identifier{payerLicense, rec.payer}, base: payerBase(rec.message), claim: rec,
			resources: entriesOf(rec.message, "Patient", "Organization", "Coverage"),
			provider:  c.get("provider").v, insurer: c.get("insurer").v, patient: c.get("patient").v,
		}
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

func (s *Sim) paymentReconciliation(from sender, now time.Time) (event, resourceType string, resource map[string]any) {
	total := Amounts{}
	var details []any
	zero := total.Paid
	for _, rec := range s.claimOrder {
		a := rec.onFile(now)
		if rec.license != from.license || rec.payer != from.payer.Value || a == nil || rec.cancelled || !a.amounts.Paid.IsPositive() {
			continue
		}
		total = total.plus(a.amounts)
		details = append(details, map[string]any{
			"extension": []any{
				map[string]any{"url": extensionURL("component-payment"), "valueMoney": money(a.amounts.Paid)},
				map[string]any{"url": extensionURL("component-early-fee"), "valueMoney": money(zero)},
				map[string]any{"url": extensionURL("component-nphies-fee"), "valueMoney": money(zero)},
			},
			"type":      concept(hl7Prefix+"payment-type", "payment"),
			"request":   map[string]any{"type": "Claim", "identifier": identifierJSON(rec.id)},
			"response":  map[string]any{"type": "ClaimResponse", "identifier": node{a.resource, ""}.get("identifier").at(0).v},
			"submitter": from.provider, "payee": from.provider, "date": day(now), "amount": money(a.amounts.Paid),
		})
	}
	res := map[string]any{
		"identifier": []any{identifierJSON(Identifier{from.base + "paymentreconciliation", "PAY-" + s.guid("pay")[:13]})},
		"status":     "active", "outcome": "complete", "created": day(now), "paymentDate": day(now),
		"period":        map[string]any{"start": day(now), "end": day(now)},
		"paymentIssuer": from.insurer, "requestor": from.provider, "disposition": "Settlement by the simulator",
		"paymentAmount": money(total.Paid),
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
	return "advanced-authorization", "ClaimResponse", res
}

// unknownMessage is of an event that no one has heard of: a poller must keep it and go on.
func (s *Sim) unknownMessage(_ sender, now time.Time) (event, resourceType string, resource map[string]any) {
	return "simulated-event", "Basic", map[string]any{"code": concept(systemPrefix+"simulated", "unknown"), "created": day(now)}
}
