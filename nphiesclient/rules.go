package nphiesclient

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Rule is one thing NPHIES asks of a message, as far as this package looks for it before sending.
type Rule struct {
	// ID is NPHIES' own ("BV-00054"); "length" and "amount" are ours, for the longest texts of the guide and for amounts below
	// zero, which have no number.
	ID string
	// Where is the FHIRPath of what the rule is about, its resource named by type ("Claim.diagnosis").
	Where string
	// Text is what the rule asks for.
	Text string
	// Fix is a sentence that tells a billing clerk what to do.
	Fix string
	// Since is the version or date of the guide or of its workbooks that brought the rule, "" where the sources do not say.
	Since string
	// Severity is what a breach of the rule is by default.
	Severity Severity
}

// ruleLength is our name for the longest texts of the guide's table of data types, ruleAmount for amounts below zero.
const (
	ruleLength = "length"
	ruleAmount = "amount"
)

// Rules lists every rule that Check, BuildClaim, BuildEligibility and the builders of tasks know, each once.
func Rules() []Rule { return slices.Clone(rules) }

// UncheckedRule is a rule the sources name that cannot be checked before sending.
type UncheckedRule struct {
	// ID is the rule or the range of rules, Text what it asks for, Why the reason.
	ID, Text, Why string
}

// UncheckedRules lists what Check leaves out, and why.
func UncheckedRules() []UncheckedRule { return slices.Clone(uncheckedRules) }

func ruleOf(id string) (Rule, bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}

// RuleSettings changes what a breach of a rule is, because NPHIES changes its rules faster than programs are released. The
// zero value changes nothing. Make one with ParseRules.
type RuleSettings struct {
	severity map[string]Severity // "" switches off
}

// ParseRules reads "BV-00803=off, BV-01010=warning": entries separated by commas or blanks, each a rule of Rules and off,
// warning or error. An empty text changes nothing.
//
// The error names the entry that is wrong and what is allowed.
func ParseRules(s string) (RuleSettings, error) {
	out := RuleSettings{severity: map[string]Severity{}}
	for _, entry := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }) {
		id, value, _ := strings.Cut(entry, "=")
		if _, known := ruleOf(id); !known {
			return RuleSettings{}, fmt.Errorf("%q names no rule that is checked; docs/conformance.md lists them", clip(entry, 60))
		}
		switch value {
		case "off":
			out.severity[id] = ""
		case "warning", "error":
			out.severity[id] = Severity(value)
		default:
			return RuleSettings{}, fmt.Errorf("%q: want %s=off, %[2]s=warning or %[2]s=error", clip(entry, 60), id)
		}
	}
	return out, nil
}

// apply gives findings the severity and advice of their rules and leaves out what is switched off. Of very many it keeps the first.
func (s RuleSettings) apply(in []Finding) []Finding {
	var out []Finding
	for _, f := range in {
		if r, known := ruleOf(f.Rule); known {
			f.Severity, f.Fix = r.Severity, cmp.Or(f.Fix, r.Fix)
		}
		if v, set := s.severity[f.Rule]; set {
			f.Severity = v
		}
		if f.Severity != "" {
			out = append(out, f)
		}
	}
	return atMost(out)
}

func rule(id, where, text, fix string) Rule {
	return Rule{ID: id, Where: where, Text: text, Fix: fix, Severity: SeverityError}
}

func (r Rule) since(s string) Rule { r.Since = s; return r }

func (r Rule) warning() Rule { r.Severity = SeverityWarning; return r }

// rules is the table. Texts follow the rule workbook; where a range of numbers is named for several elements, the order of both
// decides: the first number is the first element's. The simulator reads the ranges the same way (internal/conformance compares).
//
// Source: Implementation Guide 2.7 and 2.8, rule workbook "ValidationErrorCodes" 2.8, profile workbook 5.2.
var rules = []Rule{
	// the envelope
	rule("GE-00013", "Bundle", "The body is well-formed FHIR without empty or null elements.",
		"Leave the empty element out, or send the message again from the system that made it."),
	rule("BV-00076", "Bundle", "A message has at most 10 MB.", "Attach smaller files, or fewer of them."),
	rule("BV-00127", "Bundle.id", "The id of the Bundle is a GUID in lower case.", "Let the sending system make a new GUID in lower case for each message."),
	rule("BV-00130", "Bundle.type", "The type of the Bundle is message.", "Set Bundle.type to message."),
	rule("BV-00225", "Bundle.meta.profile", "The Bundle names its profile with the version.", "Set Bundle.meta.profile to the NPHIES bundle profile with its version."),
	rule("BV-00126", "Bundle.entry[0]", "The first entry is the MessageHeader.", "Put the MessageHeader first."),
	rule("BV-00207", "Bundle.entry.fullUrl", "Every entry has a fullUrl of its own.", "Give each entry its own fullUrl."),
	rule("BV-00208", "Bundle.entry.fullUrl", "A fullUrl holds the type and the id of its resource.", "End the fullUrl with the type and the id of the resource."),
	rule("BV-00389", "Resource.extension", "An extension has a value or extensions of its own.", "Give the extension a value, or leave it out."),
	rule("BV-00526", "CodeableConcept.coding", "A concept names no code system twice.", "Use another code system for the second code, such as your own."),
	rule("RE-00169", "Resource.reference", "What a resource refers to is in the Bundle (also BV-00079).", "Add the resource that is referred to, or correct the reference."),
	rule("RE-00170", "Resource.meta.profile", "Every resource names a known NPHIES profile; a Claim that of its type and use.", "Set meta.profile to the NPHIES profile of the resource."),
	rule(ruleLength, "Resource", "Texts are no longer than the guide's table of data types allows.", "Shorten the text."),
	rule("BV-00275", "Identifier.value", "The value of an identifier has at most 100 characters; our own have 50.", "Use a shorter number."),

	// the header
	rule("BV-00168", "MessageHeader.id", "The id of the header is a GUID in lower case.", "Let the sending system make a new GUID in lower case for each message."),
	rule("IB-00250", "MessageHeader.eventCoding", "The header names a message event.", "Set the event of the message, such as claim-request."),
	rule("BV-00218", "MessageHeader.destination.endpoint", "The destination has an endpoint.", "Set the endpoint of the destination."),
	rule("GE-00015", "MessageHeader.destination.receiver", "The header names the receiver's licence.", "Enter the licence of the insurer, or of its administrator."),
	rule("BV-00456", "MessageHeader.destination.receiver", "A poll-request and a payment-notice go to NPHIES itself.", "Address the message to NPHIES."),
	rule("BV-00176", "MessageHeader.sender", "The header names the sender's licence.", "Enter the licence of the provider."),
	rule("BV-00177", "MessageHeader.source.endpoint", "The source has an endpoint.", "Set the endpoint of the source."),
	rule("BV-00221", "MessageHeader.focus", "A message has one focus, batches excepted.", "Send one claim a message."),
	rule("RE-00100", "MessageHeader.focus", "The focus equals the fullUrl of a resource of the Bundle, character for character.", "Copy the fullUrl of the focal resource into the focus."),
	rule("BV-00248", "MessageHeader.response", "A request has no response part.", "Leave the response part out: this is an answer, not a request."),
	rule("BV-00167", "MessageHeader.focus", "The focal resource is of the type the event carries.", "Send this resource with its own event."),
	rule("GE-00020", "MessageHeader.sender", "The sender is the organisation of the certificate.", "Send with the licence this system is set up for, or correct the licence in the document."),
	rule("GE-00031", "Organization.identifier", "The provider Organization has the sender's licence.", "Enter the same provider licence in the header and the Organization."),
	rule("GE-00032", "Organization.identifier", "The insurer Organization has the receiver's licence; an administrator (TPA) may differ.",
		"Check the licence of the insurer; a differing one is right only where an administrator receives.").warning(),

	// people and organizations
	rule(ruleCardinality, "Resource", "Mandatory elements are there, and no more often than allowed.", "Enter what is missing."),
	rule(ruleCode, "Resource", "Codes come from the list bound to the element.", "Choose one of the values named."),
	rule("BV-00797", "Patient.identifier", "A national id has ten digits, the first 1.", "Correct the national id, or choose the right kind of identity document."),
	rule("BV-00798", "Patient.identifier", "An iqama has ten digits, the first 2.", "Correct the iqama number, or choose the right kind of identity document."),
	rule("BV-00481", "Patient.identifier", "A passport number comes with its country.", "Enter the country of the passport, three letters."),
	rule("BV-00848", "Patient.birthDate", "The date of birth lies between 1900-01-01 and today.", "Correct the date of birth."),
	rule("IC-01574", "Organization.extension-provider-type", "The provider names its type.", "Choose the type of the provider (1 hospital, 5 clinic, 6 pharmacy, ...)."),
	rule("GE-00021", "Practitioner.identifier", "A practitioner has a licence.", "Enter the practitioner's licence number."),
	rule("IB-00109", "Coverage.type", "The coverage is of the type EHCPOL or PUBLICPOL.", "Choose EHCPOL or PUBLICPOL as the type of the coverage."),
	rule("IC-01564", "Coverage.policyHolder", "The coverage names its policy holder.", "Enter who holds the policy: the employer or a person."),
	rule("IC-01571", "Coverage.class", "The coverage names exactly one plan (also BV-00729).", "Enter the plan of the policy, one only."),

	// the encounter
	rule("RE-00189", "Claim.extension-encounter", "Institutional, professional and oral claims belong to an encounter of the same patient and provider.",
		"Enter the visit or stay the claim is about."),
	rule("IC-00183", "Encounter.identifier", "The encounter has a number.", "Enter the number of the visit or stay."),
	rule("BV-00811", "Encounter.period", "The encounter's times are to the second.", "Enter date, time and zone of the start, such as 2026-02-10T09:20:00+03:00."),
	rule("BV-00736", "Encounter.extension-serviceEventType", "Professional and oral claims say whether the visit is a first one or a follow-up.",
		"Choose ICSE for a first visit, SCSE for a follow-up."),
	rule("BV-00755", "Encounter.class", "EMER and the subtype emr go together, always.", "Choose class EMER and subtype emr for an emergency, neither of them otherwise."),
	rule("BV-00728", "Encounter", "An emergency claim says how the patient arrived.", "Enter the arrival code of the emergency."),
	rule("BV-00732", "Encounter", "An emergency claim has a triage category.", "Enter the triage category."),
	rule("BV-00733", "Encounter", "An emergency claim has the time of triage.", "Enter the time of triage to the second."),
	rule("BV-00734", "Encounter", "An emergency claim has the time at which the service began.", "Enter when the service began, to the second."),
	rule("BV-00735", "Encounter", "A finished emergency says where the patient went.", "Enter the disposition from the emergency department."),
	rule("BV-00727", "Encounter.hospitalization.admitSource", "A stay says where the patient came from.", "Enter the source of admission."),
	rule("BV-00737", "Encounter.hospitalization", "A stay has the specialty of admission.", "Enter the specialty of admission."),
	rule("BV-00744", "Encounter.hospitalization", "A stay has an intended length.", "Enter the intended length of stay."),
	rule("BV-00758", "Encounter.hospitalization", "A finished stay has the specialty of discharge.", "Enter the specialty of discharge."),
	rule("BV-00759", "Encounter.hospitalization.dischargeDisposition", "A finished stay says where the patient went.", "Enter the disposition at discharge."),

	// eligibility
	rule("BV-00538", "CoverageEligibilityRequest.status", "The request is active.", "Set the status to active."),
	rule("BV-00541", "CoverageEligibilityRequest.provider", "The provider of the request is the sender.", "Enter the sender as the provider."),
	rule("BV-00437", "CoverageEligibilityRequest.serviced", "The request is about a day or a period with both ends, not both.", "Enter the day of service, or a period with start and end."),
	rule("BV-00058", "CoverageEligibilityRequest.serviced", "The service does not lie before the day of receipt.", "Ask about today or a day to come."),
	rule("BV-00062", "CoverageEligibilityRequest.created", "The request was not created in the future.", "Correct the time of creation, or leave it out."),

	// the claim
	rule("BV-00457", "Claim.identifier", "The message's business key is there, with its namespace (also BV-00163).", "Enter the number of the claim or request."),
	rule("BV-00330", "Claim.status", "The claim is active.", "Set the status to active."),
	rule("BV-00165", "Claim.use", "The use fits the event: claim in a claim-request, preauthorization in a priorauth-request.", "Choose the use claim or preauthorization."),
	rule("BV-00364", "Claim.subType", "An institutional claim has the subtype ip.", "Choose the subtype ip.").since("profile workbook 5.2"),
	rule("BV-00365", "Claim.subType", "A professional claim has the subtype op or emr.", "Choose the subtype op or emr.").since("profile workbook 5.2"),
	rule("BV-00366", "Claim.subType", "An oral claim has the subtype op.", "Choose the subtype op.").since("profile workbook 5.2"),
	rule("BV-00367", "Claim.subType", "A vision claim has the subtype op.", "Choose the subtype op.").since("profile workbook 5.2"),
	rule("BV-00368", "Claim.subType", "A pharmacy claim has the subtype op.", "Choose the subtype op.").since("profile workbook 5.2"),
	rule("BV-00351", "Claim.provider", "The provider of the claim is the sender.", "Enter the sender as the provider of the claim."),
	rule("BV-00064", "Claim.created", "The claim was not created in the future.", "Correct the time of creation, or leave it out."),
	rule("BV-00492", "Claim.payee.type", "The payee is the provider or another.", "Choose who is to be paid."),
	rule("BV-00494", "Claim.payee.party", "The party to be paid is named with the type other, always and only then (also BV-00485).", "Name the party to be paid, or choose the provider."),
	rule("BV-00725", "Claim.related", "A related claim is named by its identifier, and how it is related.", "Enter the number of the earlier claim."),
	rule("BV-00379", "Claim.extension-eligibility-response", "The claim quotes an eligibility answer, or a check by telephone or portal.",
		"Quote the eligibility check: its request number, its answer, or the call with its date."),
	rule("BV-00381", "Claim.extension-eligibility-offline-reference", "An eligibility answer and an offline check are not quoted together.", "Quote one of the two."),
	rule("BV-00349", "Claim.extension-eligibility-offline-date", "An offline check has its date.", "Enter the date of the call."),
	rule("IC-01453", "Claim.extension-episode", "A claim belongs to an episode.", "Enter the episode number."),
	rule("IC-01620", "Claim.extension-accountingPeriod", "A claim names its accounting period.", "Enter the first day of the month the claim is accounted in.").since("after August 2025"),
	rule("BV-01010", "Claim.extension-accountingPeriod", "The accounting period is the first day of a month.", "Enter the first day of the month.").since("after August 2025"),
	rule("BV-00420", "Claim.insurance.preAuthRef", "An authorization reference comes with the authorization's answer or its offline date.",
		"Quote the authorization: reference, and the answer or the date of the call."),
	rule("BV-00449", "Claim.extension-priorauth-response", "An authorization's answer or offline date comes with its reference.", "Enter the reference the insurer gave."),
	rule("BV-00462", "Claim.extension-authorization-offline-date", "An authorization's answer and an offline date are alternatives.", "Quote one of the two."),
	rule("BV-00508", "Claim.extension-transfer", "Only a prior authorization marks a transferred patient.", "Leave transfer out of the claim."),
	rule("BV-00506", "Claim.supportingInfo", "A newborn has a birth weight (also BV-00507).", "Enter the birth weight in kilograms."),
	rule("BV-00557", "Claim.diagnosis", "A newborn has a Z38 diagnosis.", "Enter the diagnosis Z38 that fits the birth."),
	rule("BV-00054", "Claim.diagnosis.type", "Exactly one diagnosis is the principal one.", "Give exactly one diagnosis the type principal."),
	rule("BV-00057", "Claim.diagnosis", "No diagnosis is given twice.", "Remove the repeated diagnosis."),
	rule("BV-00477", "Claim.diagnosis.type", "Admitting diagnoses belong to institutional claims.", "Choose another type for the diagnosis."),
	rule("BV-00478", "Claim.diagnosis.type", "Discharge diagnoses belong to institutional claims.", "Choose another type for the diagnosis."),
	rule("BV-00400", "Claim.insurance.focal", "Of several coverages exactly one is focal.", "Mark the coverage the claim is made on."),
	rule("IC-00062", "Claim.total", "The claim has a total.", "Enter the total, or leave it to be computed."),
	rule("BV-00059", "Claim.total", "The total is the sum of the items' net.", "Correct the total, or leave it out to be computed."),
	rule("BV-00096", "Claim.total.currency", "All money is in SAR.", "Enter all amounts in riyals."),
	rule(ruleAmount, "Money.value", "The amounts of a document are not below zero.", "Correct the amount."),
	rule("GE-00028", "Money.value", "Amounts have at most two decimals.", "Round the amount to halalas."),

	// supporting information
	rule("BV-00453", "Claim.supportingInfo.sequence", "Supporting information is numbered, no number twice.", "Number the supporting information 1, 2, 3."),
	rule("BV-00803", "Claim.supportingInfo", "The treatment plan is told.", "Enter the treatment plan."),
	rule("BV-00804", "Claim.supportingInfo", "The patient's history is told.", "Enter the patient's history."),
	rule("BV-00805", "Claim.supportingInfo", "The physical examination is told.", "Enter the findings of the physical examination."),
	rule("BV-00806", "Claim.supportingInfo", "The history of the present illness is told.", "Enter the history of the present illness."),
	rule("BV-00752", "Claim.supportingInfo", "The result of the investigation is told; other says it in words.", "Enter the investigation result (INP if none was made); for other, describe it."),
	rule("BV-00846", "Claim.supportingInfo", "The investigation result IRA comes with an attachment.", "Attach the result, or choose another code."),
	rule("BV-00770", "Claim.supportingInfo", "An institutional claim tells the chief complaint, coded or in words.", "Enter the chief complaint.").since("August 2024 (SNOMED CT or text)"),
	rule("BV-00779", "Claim.supportingInfo", "A professional claim tells the chief complaint, coded or in words.", "Enter the chief complaint.").since("August 2024 (SNOMED CT or text)"),
	rule("BV-00751", "Claim.supportingInfo", "An oral claim tells the chief complaint, coded or in words.", "Enter the chief complaint.").since("August 2024 (SNOMED CT or text)"),
	rule("BV-00763", "Claim.supportingInfo", "An institutional claim tells the systolic pressure.", "Enter the systolic pressure, or why it is absent."),
	rule("BV-00764", "Claim.supportingInfo", "An institutional claim tells the diastolic pressure.", "Enter the diastolic pressure, or why it is absent."),
	rule("BV-00765", "Claim.supportingInfo", "An institutional claim tells the height.", "Enter the height, or why it is absent."),
	rule("BV-00766", "Claim.supportingInfo", "An institutional claim tells the weight.", "Enter the weight, or why it is absent."),
	rule("BV-00767", "Claim.supportingInfo", "An institutional claim tells the pulse.", "Enter the pulse, or why it is absent."),
	rule("BV-00768", "Claim.supportingInfo", "An institutional claim tells the temperature.", "Enter the temperature, or why it is absent."),
	rule("BV-00769", "Claim.supportingInfo", "An institutional claim tells the oxygen saturation.", "Enter the oxygen saturation, or why it is absent."),
	rule("BV-00771", "Claim.supportingInfo", "An institutional claim tells the respiratory rate.", "Enter the respiratory rate, or why it is absent."),
	rule("BV-00772", "Claim.supportingInfo", "A professional claim tells the systolic pressure.", "Enter the systolic pressure, or why it is absent."),
	rule("BV-00773", "Claim.supportingInfo", "A professional claim tells the diastolic pressure.", "Enter the diastolic pressure, or why it is absent."),
	rule("BV-00774", "Claim.supportingInfo", "A professional claim tells the height.", "Enter the height, or why it is absent."),
	rule("BV-00775", "Claim.supportingInfo", "A professional claim tells the weight.", "Enter the weight, or why it is absent."),
	rule("BV-00776", "Claim.supportingInfo", "A professional claim tells the pulse.", "Enter the pulse, or why it is absent."),
	rule("BV-00777", "Claim.supportingInfo", "A professional claim tells the temperature.", "Enter the temperature, or why it is absent."),
	rule("BV-00778", "Claim.supportingInfo", "A professional claim tells the oxygen saturation.", "Enter the oxygen saturation, or why it is absent."),
	rule("BV-00780", "Claim.supportingInfo", "A professional claim tells the respiratory rate.", "Enter the respiratory rate, or why it is absent."),
	rule("BV-00812", "Claim.supportingInfo", "A vital sign has its value in its unit, or the reason of its absence (BV-00812 to 827).", "Enter the value, or why it is absent."),
	rule("BV-00802", "Claim.supportingInfo", "An institutional prior authorization estimates the length of the stay.", "Enter the estimated length of stay in days."),
	rule("BV-00849", "Claim.supportingInfo", "An infant admitted at less than 365 days has an admission weight.", "Enter the admission weight in kilograms."),

	// items
	rule("BV-00044", "Claim.item.sequence", "Items and their parts are numbered, no number twice.", "Number the items 1, 2, 3."),
	rule("BV-00442", "Claim.item.careTeamSequence", "An item points at members of the care team that exist.", "Choose members of the care team by their place in the list."),
	rule("BV-00443", "Claim.item.diagnosisSequence", "An item points at diagnoses that exist.", "Choose diagnoses by their place in the list."),
	rule("BV-00444", "Claim.item.informationSequence", "An item points at supporting information that exists.", "Choose supporting information by its place in the list."),
	rule("BV-00501", "Claim.item.informationSequence", "Where there is supporting information, items point at it.", "Name the supporting information of the item.").warning(),
	rule("BV-00502", "Claim.item.informationSequence", "An item names nothing twice.", "Remove the repeated entry."),
	rule("BV-00723", "Claim.item.diagnosisSequence", "A medication of a pharmacy claim points at a diagnosis.", "Name the diagnosis the medication is for."),
	rule("BV-00066", "Claim.item.serviced", "An item has a date or a period of service.", "Enter when the service was given."),
	rule("BV-00439", "Claim.item.serviced", "An item has no date and period together.", "Leave out one of the two."),
	rule("BV-00041", "Claim.item.serviced", "The service lies inside the encounter.", "Correct the date of service, or the times of the visit."),
	rule("BV-00061", "Claim.item.serviced", "The service of a claim does not lie after its creation.", "Correct the date of service."),
	rule("BV-00482", "Claim.item.factor", "A factor is above zero.", "Correct the factor, or leave it out."),
	rule("IC-01454", "Claim.item.extension-patientInvoice", "An item of a claim names the patient's invoice.", "Enter the number of the patient's invoice."),
	rule("BV-00708", "Claim.item.extension-pharmacist-Selection-Reason", "A medication says why it was selected.", "Enter the pharmacist's reason of selection."),
	rule("BV-00376", "Claim.item.informationSequence", "A medication of a pharmacy claim points at exactly one days supply, above zero.", "Enter for how many days the medication lasts."),
	rule("BV-00251", "Claim.item.net", "Net is quantity x unit price x factor + tax.", "Correct the amounts, or leave net out to be computed."),
	rule("BV-00224", "Claim.item.net", "The net of an item with details is the sum of theirs, packages excepted.", "Correct the amounts, or leave net out to be computed."),
	rule("BV-00372", "Claim.item.unitPrice", "The unit price of an item with details is the sum of theirs, packages excepted.", "Correct the prices, or leave the item's out to be computed."),
	rule("BV-00036", "Claim.item.detail", "A package says what it holds.", "Enter the parts of the package as details."),

	// tasks
	rule("BV-00459", "Task.focus", "A question or cancellation names the claim it is about.", "Name the claim by its number."),
	rule("BV-00071", "Task.reasonCode", "A cancellation has a reason.", "Choose WI (wrong information), NP (not performed) or TAS (already submitted)."),
	rule("BV-00471", "Task.lastModified", "A Task was not modified in the future.", "Correct the clock of the sending system."),
	rule("BV-00216", "Task.input", "A poll names at most one period.", "Give one period."),
	rule("IB-00293", "Task.input.valueCode", "The messages to include are named by event codes.", "Name the events to include as codes."),
	rule("IB-00294", "Task.input.valueCode", "The messages to exclude are named by event codes, and never together with some to include.", "Name events to include or to exclude, not both."),
}

var uncheckedRules = []UncheckedRule{
	{"BV-00341, BV-00532, BV-00533, BV-00540, BV-00542", "Ids are never used again, the same content keeps them.", "NPHIES alone knows what it has seen; ours are random and stored"},
	{"BV-00163", "The claim's identifier is new.", "the record refuses a number twice, NPHIES knows those of other systems"},
	{"GE-00019, BV-00077, BV-00195, BV-00196", "The certificate is valid and the sender's.", "known when connecting"},
	{"GE-00033, GE-00034", "Licences of header and Organization agree.", "the sources do not say which of the four codes means which; GE-00031 and GE-00032 stand for them"},
	{"BV-00458, BV-00485, BV-00729", "Amounts are in SAR; a payee of the kind other is named, and only then; a coverage has one class of the kind plan.", "the sources name them beside BV-00096, BV-00494 and IC-01571, which are checked and stand for them"},
	{"BV-00527", "A concept has one code of the bound list.", "needs NPHIES' code lists"},
	{"BV-00429", "The chief complaint is ICD-10-AM.", "replaced by SNOMED CT or text in August 2024"},
	{"BV-00747, BV-00748, BV-00756, BV-00757", "Accidents and road-traffic or work-related diagnoses demand each other.", "needs the lists of diagnosis codes"},
	{"BV-00731", "Ventilation procedures have ventilation hours.", "needs the list of procedure codes"},
	{"BV-00925 to BV-00934", "HbA1c items have the result as lab-test.", "needs the list of service codes"},
	{"BV-00725 (existence)", "The related claim is known to NPHIES.", "NPHIES alone knows"},
	{"BV-00227, BV-00238, BV-00373, BV-00383, BV-00385, BV-00421, BV-00451, BV-00452", "Batches are complete and agree with themselves.", "batches are not built and not taken in"},
	{"BV-00055, BV-00513", "Answers are reissued with a reason.", "a rule for payers; the parser tolerates breaches"},
}
