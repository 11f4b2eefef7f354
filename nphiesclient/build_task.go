package nphiesclient

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// TaskOptions is what poll, status and cancel messages share.
type TaskOptions struct {
	// License is the sender's provider licence; required.
	License string
	// ProviderName is written into the Organization; optional.
	ProviderName string
	// ProviderType is the code of provider-type, by default "1", hospital (IC-01574).
	ProviderType string
	// IdentifierSystem is the namespace of the message's own identifier ("http://hospital.example/task"). By default it is
	// built on the licence's address.
	IdentifierSystem string
	// Profile of the Task, by default "task"; the package of December 2025 also knows "poll-request", which onboarding
	// refused when it came out.
	Profile string
	// ProfileVersion, Now and NewID as in BuildOptions.
	ProfileVersion string
	Now            time.Time
	NewID          func() string
}

// PollOptions says what to fetch of the messages NPHIES holds for a licence.
type PollOptions struct {
	// License to NewID: see TaskOptions, which these fields are copied into.
	License, ProviderName, ProviderType, IdentifierSystem string
	// Profile of the Task, by default "task"; ProfileVersion as in BuildOptions.
	Profile, ProfileVersion string
	// Count is how many messages to fetch at most, 1 to 100; 0 leaves it to NPHIES, which then sends one.
	Count int
	// Include or Exclude, never both, list event codes of messages.
	Include, Exclude []string
	Now              time.Time
	NewID            func() string
}

// BuildPoll makes a poll-request. The queue belongs to the licence, so one poll brings answers to many claims.
//
// Errors: *InvalidError for a missing licence, a count outside 0 to 100, or Include together with Exclude (BV-00216 and its
// neighbours).
//
// Source: Implementation Guide, poll use case.
func BuildPoll(o PollOptions) (*Request, error) {
	var f findings
	if o.Count < 0 || o.Count > 100 {
		f.add(ruleDocument, "count", "must be 1 to 100")
	}
	if len(o.Include) > 0 && len(o.Exclude) > 0 {
		f.add("IB-00294", "exclude", "include and exclude exclude each other")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	var input list
	add := func(code, valueName string, value any) {
		input = append(input, object{{"type", concept(codeBase+"task-input-type", code)}, {valueName, value}})
	}
	for _, e := range o.Include {
		add("include-message-type", "valueCode", e)
	}
	for _, e := range o.Exclude {
		add("exclude-message-type", "valueCode", e)
	}
	if o.Count > 0 {
		add("count", "valuePositiveInt", o.Count)
	}
	return buildTask(taskMessage{
		TaskOptions: TaskOptions{
			License: o.License, ProviderName: o.ProviderName, ProviderType: o.ProviderType,
			IdentifierSystem: o.IdentifierSystem, Profile: o.Profile, ProfileVersion: o.ProfileVersion,
			Now: o.Now, NewID: o.NewID,
		},
		event: EventPollRequest, code: "poll", prefix: "POLL", input: input,
	})
}

// ClaimRef names a claim that was sent, for a question about it.
type ClaimRef struct {
	// Identifier is the claim's business identifier.
	Identifier Identifier
	// Payer is the licence the claim went to, PayerName the insurer's name if known.
	Payer, PayerName string
	// Insurer is the insurer's licence where the claim went to an administrator, else "".
	Insurer string
}

// BuildStatusCheck makes a status-check: what does the payer think is the state of a claim? The answer names the state, it
// does not deliver the adjudication.
//
// Source: Implementation Guide, status check use case.
func BuildStatusCheck(claim ClaimRef, o TaskOptions) (*Request, error) {
	return buildTask(taskMessage{TaskOptions: o, event: EventStatusCheck, code: "status", prefix: "STATUS", about: &claim})
}

// BuildCancel makes a cancel-request. reason is WI (wrong information), NP (not performed) or TAS (already submitted); it
// is mandatory (BV-00071).
//
// Source: Implementation Guide, cancel use case.
func BuildCancel(claim ClaimRef, reason string, o TaskOptions) (*Request, error) {
	if reason != "WI" && reason != "NP" && reason != "TAS" {
		var f findings
		f.add("BV-00071", "reason", "must be one of WI, NP, TAS")
		return nil, f.err()
	}
	return buildTask(taskMessage{
		TaskOptions: o, event: EventCancelRequest, code: "cancel", prefix: "CANCEL", about: &claim, reason: reason,
	})
}

type taskMessage struct {
	TaskOptions
	event, code, prefix string
	input               list
	about               *ClaimRef // nil: to NPHIES itself
	reason              string
}

func buildTask(m taskMessage) (*Request, error) {
	bo := BuildOptions{Now: m.Now, NewID: m.NewID, ProfileVersion: m.ProfileVersion}
	bo.defaults()
	var f findings
	if m.License == "" {
		f.add("BV-00176", "license", "is missing")
	}
	if m.about != nil {
		if m.about.Identifier.Value == "" {
			f.add("BV-00459", "claim", "identifier is missing")
		}
		if m.about.Payer == "" {
			f.add("GE-00015", "payer", "licence is missing")
		}
	}
	system := cmp.Or(m.IdentifierSystem, systemProviderLicense+"/"+m.License+"/task")
	base := system
	if i := strings.LastIndexByte(system, '/'); i > len("https://") {
		base = system[:i]
	}
	if !strings.HasPrefix(system, "http://") && !strings.HasPrefix(system, "https://") {
		f.add(ruleDocument, "identifier system", "must be an address like http://hospital.example/task")
	}
	if err := f.err(); err != nil {
		return nil, err
	}

	b := newDraft(base, bo)
	task, provider := b.slot("Task"), b.slot("Organization")
	identifier := Identifier{system, fmt.Sprintf("%s-%s", m.prefix, b.bundleID)}
	to := party{systemNPHIES, nphiesLicense, nphiesEndpoint}
	owner := to.reference()
	var focus object
	var insurer slot
	if m.about != nil {
		insurer = b.slot("Organization")
		to, owner = payerParty(m.about.Payer), reference(insurer.url)
		focus = object{{"type", "Claim"}, {"identifier", fhirIdentifier(m.about.Identifier)}}
	}
	var reason object
	if m.reason != "" {
		reason = concept(codeBase+"task-reason-code", m.reason)
	}
	now := instant(bo.Now)
	b.put(task, cmp.Or(m.Profile, "task"),
		member{"identifier", list{fhirIdentifier(identifier)}},
		member{"status", "requested"},
		member{"intent", "order"},
		member{"priority", "routine"},
		member{"code", concept(codeBase+"task-code", m.code)},
		member{"focus", focus},
		member{"authoredOn", now},
		member{"lastModified", now},
		member{"requester", reference(provider.url)},
		member{"owner", owner},
		member{"reasonCode", reason},
		member{"input", m.input},
	)
	b.provider(provider, Provider{License: m.License, Name: m.ProviderName, Type: cmp.Or(m.ProviderType, "1")})
	r := &Request{
		Event: m.event, BundleID: b.bundleID, HeaderID: b.headerID, License: m.License, Payer: to.license,
		Identifier: identifier, Created: parseTime(now),
	}
	if m.about != nil {
		b.payer(insurer, Payer{License: cmp.Or(m.about.Insurer, m.about.Payer), Name: m.about.PayerName})
		r.PayerName = m.about.PayerName
	}
	r.Body = b.finish(m.event, providerParty(m.License), to, task)
	return r, nil
}
