package nphiessim

import (
	"slices"
)

// eligibilityRules are section 5.1.
var eligibilityRules = []rule{
	{ruleCardinality, "CoverageEligibilityRequest.identifier is not following the correct cardinality", sub(atFocus, "identifier"), func(_ *message, n node) bool {
		return len(n.list()) == 1 && identified(nil, n.at(0))
	}},
	{"BV-00538", "CoverageEligibilityRequest.status SHALL be active", sub(atFocus, "status"), oneOf("active")},
	{ruleBinding, "priority is not from the specified value set", sub(atFocus, "priority"), isPriority},
	{ruleCardinality, "purpose is not following the correct cardinality", sub(atFocus, "purpose"), nonEmptyList},
	{ruleBinding, "purpose is not from the specified value set", each(atFocus, "purpose"), oneOf("validation", "benefits", "discovery", "auth-requirements")},
	{ruleBinding, "Without a coverage the purpose SHALL include discovery", sub(atFocus, "purpose"), func(m *message, n node) bool {
		return len(m.focus().get("insurance").list()) > 0 || slices.ContainsFunc(n.list(), func(p node) bool { return p.str() == "discovery" })
	}},
	{ruleReference, "patient SHALL be a Patient in the bundle", sub(atFocus, "patient"), pointsAt("Patient")},
	{ruleReference, "insurer SHALL be an insurer in the bundle", sub(atFocus, "insurer"), isOrganization("insurer-organization")},
	{"BV-00541", "provider SHALL be the sender", sub(atFocus, "provider"), isSender},
	{"BV-00437", "There SHALL be either servicedDate or servicedPeriod with both ends", atFocus, oneServiced},
	{"BV-00058", "The service SHALL NOT lie before the day of receipt", atFocus, func(m *message, n node) bool {
		start, _ := served(n)
		return start == "" || start >= day(m.now)
	}},
	{"BV-00062", "created SHALL NOT be in the future", sub(atFocus, "created"), notInFuture},
	{ruleStructure, "newborn and transfer SHALL be booleans", where(each(atFocus, "extension"), isEligibilityFlag), hasBoolean},
	{ruleReference, "facility SHALL be a Location in the bundle", present(sub(atFocus, "facility")), pointsAt("Location")},
	{ruleReference, "insurance.coverage SHALL be a Coverage in the bundle", sub(each(atFocus, "insurance"), "coverage"), pointsAt("Coverage")},
}

func isEligibilityFlag(_ *message, n node) bool {
	return n.get("url").str() == extensionURL("newborn") || n.get("url").str() == extensionURL("transfer")
}

// communicationRules are what section 10 says of communications.
var communicationRules = []rule{
	must(atFocus, "status"),
	{ruleBinding, "about SHALL name a Claim or ClaimResponse by its identifier", atFocus, func(_ *message, n node) bool {
		about := n.get("about").list()
		return len(about) > 0 && !slices.ContainsFunc(about, func(a node) bool {
			return !identified(nil, a.get("identifier")) || !slices.Contains([]string{"Claim", "ClaimResponse"}, a.get("type").str())
		})
	}},
	{"BV-00455", "basedOn SHALL name the request for information", each(atFocus, "basedOn"), func(_ *message, n node) bool {
		return identified(nil, n.get("identifier")) || n.get("reference").str() != ""
	}},
	{ruleCardinality, "payload is not following the correct cardinality", sub(atFocus, "payload"), nonEmptyList},
	{ruleCardinality, "payload SHALL have contentString or contentAttachment", each(atFocus, "payload"), func(_ *message, n node) bool {
		return n.get("contentString").str() != "" || n.get("contentAttachment").exists() || n.get("contentReference").exists()
	}},
}

// paymentNoticeRules are what section 10 says of payment notices.
var paymentNoticeRules = []rule{
	{ruleCardinality, "payment SHALL be named by the identifier of the reconciliation", sub(atFocus, "payment"), func(_ *message, n node) bool {
		return identified(nil, n.get("identifier"))
	}},
	{ruleReference, "recipient SHALL be NPHIES", sub(atFocus, "recipient"), func(m *message, n node) bool {
		return isNPHIES(n.get("identifier")) || isNPHIES(m.resolve(n).get("identifier").at(0))
	}},
	{ruleBinding, "paymentStatus is not from the specified value set", sub(atFocus, "paymentStatus"), coded(hl7Prefix+"paymentstatus", "paid", "cleared")},
}

// taskCodes is the task code of an event.
var taskCodes = map[string][]string{eventPoll: {"poll"}, eventStatus: {"status"}, eventCancel: {"cancel", "nullify"}}

// taskRules are what all Tasks have in common (sections 9.1 and 10).
var taskRules = []rule{
	{ruleCardinality, "Task.identifier is not following the correct cardinality", sub(atFocus, "identifier"), func(_ *message, n node) bool {
		return len(n.list()) > 0 && identified(nil, n.at(0))
	}},
	{ruleBinding, "Task.status SHALL be requested", sub(atFocus, "status"), oneOf("requested")},
	{ruleBinding, "Task.intent SHALL be order", sub(atFocus, "intent"), oneOf("order")},
	{ruleBinding, "Task.priority is not from the specified value set", sub(atFocus, "priority"), oneOf("routine", "stat", "urgent", "asap")},
	{ruleBinding, "Task.code does not fit the event", sub(atFocus, "code"), func(m *message, n node) bool {
		return coded(systemTaskCode, taskCodes[m.event]...)(m, n)
	}},
	{"BV-00471", "Task.authoredOn SHALL NOT be in the future", sub(atFocus, "authoredOn"), notInFuture},
	{"BV-00471", "Task.lastModified SHALL NOT be in the future", sub(atFocus, "lastModified"), notInFuture},
	{ruleReference, "Task.requester SHALL be the sender", sub(atFocus, "requester"), isSender},
}

// pollRules are section 9.1.
var pollRules = []rule{
	{ruleReference, "Task.owner SHALL be NPHIES", sub(atFocus, "owner"), func(m *message, n node) bool {
		return isNPHIES(n.get("identifier")) || isNPHIES(m.resolve(n).get("identifier").at(0))
	}},
	{ruleBinding, "Task.input.type is not from the specified value set", sub(each(atFocus, "input"), "type"), coded(systemTaskInput, "include-message-type", "exclude-message-type", "count", "period")},
	{"IB-00293", "The valueCode field contains an incorrect value", inputs("include-message-type"), isEventCode},
	{"IB-00294", "The valueCode field contains an incorrect value", inputs("exclude-message-type"), isEventCode},
	{ruleBinding, "include-message-type and exclude-message-type exclude each other", atFocus, func(m *message, _ node) bool {
		return len(inputs("include-message-type").find(m)) == 0 || len(inputs("exclude-message-type").find(m)) == 0
	}},
	{ruleStructure, "count SHALL be a valuePositiveInt between 1 and 100", inputs("count"), func(_ *message, n node) bool {
		i, ok := n.get("valuePositiveInt").integer()
		return ok && i >= 1 && i <= 100
	}},
	{ruleCardinality, "count is not following the correct cardinality", atFocus, atMostOne("count")},
	{"BV-00216", "There SHALL be at most one period", atFocus, atMostOne("period")},
}

// targetTaskRules are what status-check and cancel-request add (section 10).
var targetTaskRules = []rule{
	{ruleCardinality, "Task.focus SHALL name the request by type and identifier", sub(atFocus, "focus"), func(_ *message, n node) bool {
		return n.get("type").str() != "" && identified(nil, n.get("identifier"))
	}},
	{ruleReference, "Task.owner SHALL be an insurer in the bundle", sub(atFocus, "owner"), isOrganization("insurer-organization")},
}

// cancelRules are what a cancel-request adds to that.
var cancelRules = []rule{
	{"BV-00071", "A cancellation SHALL give its reason", sub(atFocus, "reasonCode"), coded(systemPrefix+"task-reason-code", "WI", "NP", "TAS")},
}

// inputs are the inputs of a Task with one type.
func inputs(kind string) selector {
	return where(each(atFocus, "input"), func(_ *message, n node) bool { return n.get("type").code(systemTaskInput) == kind })
}

func isEventCode(_ *message, n node) bool {
	_, known := events[n.get("valueCode").str()]
	return known
}

func atMostOne(kind string) func(*message, node) bool {
	return func(m *message, _ node) bool { return len(inputs(kind).find(m)) <= 1 }
}
