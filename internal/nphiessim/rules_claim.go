package nphiessim

import (
	"slices"
	"strings"
)

var (
	careTeam  = each(atFocus, "careTeam")
	diagnoses = each(atFocus, "diagnosis")
	insurance = each(atFocus, "insurance")
)

// subTypes are the subtypes a type of claim may have, with the rule that says so.
var subTypes = map[string]struct {
	rule    string
	allowed []string
}{
	"institutional": {"BV-00364", []string{"ip"}},
	"professional":  {"BV-00365", []string{"op", "emr"}},
	"oral":          {"BV-00366", []string{"op"}},
	"vision":        {"BV-00367", []string{"op"}},
	"pharmacy":      {"BV-00368", []string{"op"}},
}

func subTypeRule(claimType string) rule {
	s := subTypes[claimType]
	return rule{
		s.rule, "Claim.subType SHALL be " + strings.Join(s.allowed, " or ") + " for " + claimType + " claims",
		ofType(sub(atFocus, "subType"), claimType), coded(systemSubtype, s.allowed...),
	}
}

// claimHeadRules are sections 6.2 and 6.3: the claim's own elements and extensions.
var claimHeadRules = []rule{
	{ruleBinding, "Claim.type is not from the specified value set", sub(atFocus, "type"), coded(systemClaimType, "institutional", "professional", "oral", "pharmacy", "vision")},
	subTypeRule("institutional"), subTypeRule("professional"), subTypeRule("oral"), subTypeRule("vision"), subTypeRule("pharmacy"),
	{ruleProfile, "The profile SHALL be that of the claim's type and use", atFocus, func(m *message, n node) bool {
		return profileName(n) == m.claimType()+map[string]string{eventClaim: "-claim", eventAuth: "-priorauth"}[m.event]
	}},
	{"BV-00457", "The claim SHALL have one identifier with system and value", sub(atFocus, "identifier"), func(_ *message, n node) bool {
		return len(n.list()) == 1 && identified(nil, n.at(0))
	}},
	{"BV-00330", "Claim.status SHALL be active", sub(atFocus, "status"), oneOf("active")},
	{"BV-00165", "Claim.use SHALL fit the event", sub(atFocus, "use"), func(m *message, n node) bool {
		return n.str() == map[string]string{eventClaim: "claim", eventAuth: "preauthorization"}[m.event]
	}},
	{ruleReference, "Claim.patient SHALL be a Patient in the bundle", sub(atFocus, "patient"), pointsAt("Patient")},
	{ruleReference, "Claim.insurer SHALL be an insurer in the bundle", sub(atFocus, "insurer"), isOrganization("insurer-organization")},
	{"BV-00351", "Claim.provider SHALL be the sender", sub(atFocus, "provider"), isSender},
	{"BV-00064", "Claim.created SHALL NOT be in the future", sub(atFocus, "created"), notInFuture},
	{ruleBinding, "Claim.priority is not from the specified value set", sub(atFocus, "priority"), isPriority},
	{"BV-00492", "Claim.payee.type SHALL be provider or other", sub(atFocus, "payee.type"), coded(hl7Prefix+"payeetype", "provider", "other")},
	{"BV-00485", "Claim.payee.party SHALL be given with type other and only then", sub(atFocus, "payee"), func(_ *message, n node) bool {
		return n.get("party").exists() == (n.get("type").code("") == "other")
	}},
	{"BV-00725", "A related claim SHALL be a known claim of the same provider and payer", each(atFocus, "related"), func(m *message, n node) bool {
		return m.knows(n.get("claim").identifier())
	}},
	{ruleBinding, "related.relationship is not from the specified value set", sub(each(atFocus, "related"), "relationship"), func(_ *message, n node) bool {
		return slices.Contains([]string{"prior", "associated", "extend", "appealing"}, n.code(""))
	}},
	{"BV-00379", "An eligibility response or an offline reference is required", atFocus, func(_ *message, n node) bool {
		return n.ext("eligibility-response").exists() || n.ext("eligibility-offline-reference").exists()
	}},
	{"BV-00381", "An eligibility response and an offline reference exclude each other", atFocus, func(_ *message, n node) bool {
		return !n.ext("eligibility-response").exists() || !n.ext("eligibility-offline-reference").exists()
	}},
	{"BV-00349", "An offline reference needs its date", present(extOf(atFocus, "eligibility-offline-reference")), func(m *message, _ node) bool {
		return m.focus().ext("eligibility-offline-date").get("valueDateTime").str() != ""
	}},
	{ruleCardinality, "The eligibility response SHALL be named by its identifier", present(extOf(atFocus, "eligibility-response")), func(_ *message, n node) bool {
		return identified(nil, n.get("valueReference.identifier"))
	}},
	{"BV-00420", "preAuthRef needs the authorization response or its offline date", present(sub(insurance, "preAuthRef")), func(m *message, _ node) bool {
		return m.claim.answered || m.claim.offline
	}},
	{"BV-00449", "The authorization response or its offline date needs preAuthRef", where(atFocus, quotesAuthorization), func(m *message, _ node) bool {
		return slices.ContainsFunc(insurance.find(m), func(i node) bool { return i.get("preAuthRef").exists() })
	}},
	{"BV-00462", "The authorization response and its offline date exclude each other", where(atFocus, quotesAuthorization), func(m *message, _ node) bool {
		return !m.claim.answered || !m.claim.offline
	}},
	{ruleCardinality, "The authorization response SHALL be named by its identifier", where(atFocus, namesAuthorization), func(_ *message, n node) bool {
		return identified(nil, authorization(n).get("valueReference.identifier"))
	}},
	{ruleBinding, "accident.type is not from the specified value set", present(sub(atFocus, "accident")), func(_ *message, n node) bool {
		return slices.Contains([]string{"MVA", "WPA"}, n.get("type").code(""))
	}},
	{ruleStructure, "newborn SHALL be a boolean", present(extOf(atFocus, "newborn")), hasBoolean},
}

// claimOnlyRules hold for claims and not for authorizations.
var claimOnlyRules = []rule{
	{"IC-01453", "The episode number is not following the correct cardinality", extOf(atFocus, "episode"), func(_ *message, n node) bool {
		return identified(nil, n.get("valueIdentifier"))
	}},
	{"IC-01620", "The accounting period is not following the correct cardinality", extOf(atFocus, "accountingPeriod"), func(_ *message, n node) bool {
		_, dateOnly, ok := parseDate(n.get("valueDate").str())
		return ok && dateOnly
	}},
	{"BV-01010", "The accounting period SHALL be the first day of a month", present(sub(extOf(atFocus, "accountingPeriod"), "valueDate")), func(_ *message, n node) bool {
		return strings.HasSuffix(n.str(), "-01")
	}},
	{"BV-00508", "Transfer is for authorizations only", extOf(atFocus, "transfer"), absent},
	{"BV-00061", "An item SHALL NOT be served after the claim was created", items, func(m *message, n node) bool {
		_, end := served(n)
		return end == "" || end <= dayOf(m.focus().get("created"))
	}},
}

// authOnlyRules hold for prior authorizations and not for claims.
var authOnlyRules = []rule{
	{"BV-00802", "An institutional authorization SHALL estimate the length of stay", ofType(sub(atFocus, "supportingInfo"), "institutional"), func(_ *message, n node) bool {
		return slices.ContainsFunc(n.list(), func(i node) bool { return infoCategory(i) == "estimated-Length-of-Stay" })
	}},
	{ruleStructure, "transfer SHALL be a boolean", present(extOf(atFocus, "transfer")), hasBoolean},
	{ruleCardinality, "A patient share SHALL be an amount", present(extOf(items, "patient-share")), moneyExtension},
}

// claimListRules are the lists of section 6.3: care team, diagnoses, insurance.
var claimListRules = []rule{
	{ruleCardinality, "Claim.careTeam is not following the correct cardinality", ofType(sub(atFocus, "careTeam"), "institutional", "professional", "oral", "vision"), nonEmptyList},
	{"BV-00044", "Sequences SHALL be unique", present(sub(atFocus, "careTeam")), uniqueSequences},
	{ruleReference, "careTeam.provider SHALL be a Practitioner in the bundle", sub(careTeam, "provider"), pointsAt("Practitioner")},
	{ruleBinding, "careTeam.role is not from the specified value set", sub(careTeam, "role"), coded(hl7Prefix+"claimcareteamrole", "primary", "assist", "supervisor", "other")},
	{ruleBinding, "careTeam.qualification is not from the specified value set", sub(careTeam, "qualification"), coded(systemPrefix + "practice-codes")},

	{ruleCardinality, "Claim.diagnosis is not following the correct cardinality", sub(atFocus, "diagnosis"), nonEmptyList},
	{"BV-00044", "Sequences SHALL be unique", present(sub(atFocus, "diagnosis")), uniqueSequences},
	{ruleBinding, "A diagnosis SHALL be coded in ICD-10-AM", sub(diagnoses, "diagnosisCodeableConcept"), coded(systemICD)},
	{ruleBinding, "diagnosis.type is not from the specified value set", diagnoses, func(_ *message, n node) bool {
		return slices.Contains([]string{"principal", "secondary", "differential", "admitting", "discharge"}, diagnosisType(n))
	}},
	{"BV-00054", "There SHALL be exactly one principal diagnosis", present(sub(atFocus, "diagnosis")), func(_ *message, n node) bool {
		return count(n.list(), func(d node) bool { return diagnosisType(d) == "principal" }) == 1
	}},
	{"BV-00057", "A diagnosis SHALL NOT be repeated", present(sub(atFocus, "diagnosis")), distinctDiagnoses},
	{"BV-00477", "Admitting diagnoses are for institutional claims only", ofType(diagnoses, outpatient...), isNotDiagnosisType("admitting")},
	{"BV-00478", "Discharge diagnoses are for institutional claims only", ofType(diagnoses, outpatient...), isNotDiagnosisType("discharge")},
	{ruleCardinality, "onAdmission is for institutional claims only", ofType(sub(diagnoses, "onAdmission"), outpatient...), absent},
	{ruleCardinality, "The condition's onset is for institutional claims only", ofType(extOf(diagnoses, "condition-onset"), outpatient...), absent},

	{ruleCardinality, "Claim.insurance is not following the correct cardinality", sub(atFocus, "insurance"), nonEmptyList},
	{"BV-00044", "Sequences SHALL be unique", present(sub(atFocus, "insurance")), uniqueSequences},
	{"BV-00400", "Exactly one insurance SHALL be focal", present(sub(atFocus, "insurance")), func(_ *message, n node) bool {
		return count(n.list(), func(i node) bool { return i.get("focal").isTrue() }) == 1
	}},
	{ruleReference, "insurance.coverage SHALL be a Coverage in the bundle", sub(insurance, "coverage"), pointsAt("Coverage")},
}

// authorization is the extension that names an authorization response; both of its spellings are in use.
func authorization(claim node) node {
	if e := claim.ext("priorauthresponse"); e.exists() {
		return e
	}
	return claim.ext("priorauth-response")
}

func namesAuthorization(m *message, _ node) bool { return m.claim.answered }

func quotesAuthorization(m *message, _ node) bool { return m.claim.answered || m.claim.offline }

func hasBoolean(_ *message, n node) bool { return isBoolean(nil, n.get("valueBoolean")) }

// outpatient are the types of claim without admission.
var outpatient = []string{"professional", "oral", "pharmacy", "vision"}

func isOrganization(profile string) func(*message, node) bool {
	return func(m *message, n node) bool { return profileName(m.resolve(n)) == profile }
}

// isSender also looks at the identifier that a reference may carry.
func isSender(m *message, n node) bool {
	if id := n.get("identifier"); id.exists() && id.get("value").str() != m.sender() {
		return false
	}
	return m.resolve(n).identifier() == Identifier{providerLicense, m.sender()}
}

func isPriority(_ *message, n node) bool {
	return coded(hl7Prefix+"processpriority", "normal", "stat", "deferred")(nil, n)
}

func count(list []node, f func(node) bool) int {
	c := 0
	for _, n := range list {
		if f(n) {
			c++
		}
	}
	return c
}

func diagnosisType(n node) string { return n.get("type").at(0).code(systemPrefix + "diagnosis-type") }

func isNotDiagnosisType(kind string) func(*message, node) bool {
	return func(_ *message, n node) bool { return diagnosisType(n) != kind }
}

func distinctDiagnoses(_ *message, n node) bool {
	seen := map[string]bool{}
	for _, d := range n.list() {
		c := strings.ToUpper(d.get("diagnosisCodeableConcept").code(systemICD))
		if seen[c] {
			return false
		}
		seen[c] = true
	}
	return true
}
