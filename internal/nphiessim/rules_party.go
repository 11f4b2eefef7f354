package nphiessim

import (
	"regexp"
	"slices"
)

var (
	nationalIDPattern = regexp.MustCompile(`^1\d{9}$`)
	iqamaPattern      = regexp.MustCompile(`^2\d{9}$`)
)

var (
	patients      = atAll("Patient")
	coverages     = atAll("Coverage")
	organizations = atAll("Organization")
	practitioners = atAll("Practitioner")
	providers     = where(organizations, hasProfile("provider-organization"))
	insurers      = where(organizations, hasProfile("insurer-organization"))
)

// partyRules are section 4 of the protocol, without encounters: who takes part in a message.
var partyRules = []rule{
	{ruleCardinality, "Patient.identifier SHALL have type, system and value", patients, patientIdentifiers},
	{"BV-00797", "A national id SHALL have 10 digits and begin with 1", idsOf("http://nphies.sa/identifier/nationalid"), matches(nationalIDPattern)},
	{"BV-00798", "An iqama SHALL have 10 digits and begin with 2", idsOf("http://nphies.sa/identifier/iqama"), matches(iqamaPattern)},
	{"BV-00481", "A passport number SHALL name its country", where(each(patients, "identifier"), isPassport), func(_ *message, n node) bool {
		return n.ext("identifier-country").exists()
	}},
	{ruleBinding, "Patient.identifier.type SHALL fit its system", each(patients, "identifier"), patientIDTypeFits},
	{ruleCardinality, "Patient.active SHALL be true", sub(patients, "active"), isTrue},
	{ruleCardinality, "Patient SHALL have exactly one name", sub(patients, "name"), listOf(1)},
	{ruleCardinality, "Patient.name.text is required", sub(each(patients, "name"), "text"), isText},
	{ruleBinding, "Patient.gender is not from the specified value set", sub(patients, "gender"), oneOf("male", "female", "other", "unknown")},
	{ruleCardinality, "Patient.gender SHALL carry the KSA administrative gender", sub(patients, "_gender"), func(_ *message, n node) bool {
		return coded("", "male", "female", "unknown", "U", "N", "A", "B", "C")(nil, n.ext("ksa-administrative-gender").get("valueCodeableConcept"))
	}},
	{"BV-00848", "Patient.birthDate SHALL lie between 1900-01-01 and today", sub(patients, "birthDate"), func(m *message, n node) bool {
		_, dateOnly, ok := parseDate(n.str())
		return ok && dateOnly && n.str() >= "1900-01-01" && n.str() <= day(m.now)
	}},
	must(patients, "maritalStatus"),
	{ruleCardinality, "Patient.extension occupation is not following the correct cardinality", extOf(patients, "occupation"), exists},

	{ruleCardinality, "Coverage.identifier is not following the correct cardinality", sub(coverages, "identifier"), nonEmptyList},
	{ruleBinding, "Coverage.status SHALL be active", sub(coverages, "status"), oneOf("active")},
	{"IB-00109", "Coverage.type is not from the specified value set", sub(coverages, "type"), coded(systemPrefix+"coverage-type", "EHCPOL", "PUBLICPOL")},
	{"IC-01564", "Coverage.policyHolder is not following the correct cardinality", sub(coverages, "policyHolder"), exists},
	{ruleReference, "Coverage.beneficiary SHALL be a Patient in the bundle", sub(coverages, "beneficiary"), pointsAt("Patient")},
	{ruleBinding, "Coverage.relationship is not from the specified value set", sub(coverages, "relationship"), coded(hl7Prefix + "subscriber-relationship")},
	{ruleReference, "Coverage.payor SHALL be an insurer in the bundle", sub(coverages, "payor"), func(m *message, n node) bool {
		return profileName(m.resolve(n.at(0))) == "insurer-organization"
	}},
	{"IC-01571", "Coverage.class is not following the correct cardinality", sub(coverages, "class"), nonEmptyList},
	{"BV-00729", "Coverage SHALL have exactly one class of type plan", where(sub(coverages, "class"), nonEmptyList), onePlan},

	{ruleCardinality, "The provider Organization SHALL have its license", providers, func(_ *message, n node) bool {
		return n.identifier().System == providerLicense
	}},
	{ruleCardinality, "The insurer Organization SHALL have its license", insurers, func(_ *message, n node) bool {
		return n.identifier().System == payerLicense
	}},
	{ruleCardinality, "Organization.active SHALL be true", sub(organizations, "active"), isTrue},
	{ruleBinding, "Organization.type SHALL be prov", sub(providers, "type"), firstCoded("prov")},
	{ruleBinding, "Organization.type SHALL be ins", sub(insurers, "type"), firstCoded("ins")},
	{"IC-01574", "The provider type is not following the correct cardinality", extOf(providers, "provider-type"), func(_ *message, n node) bool {
		return n.get("valueCodeableConcept").code(systemPrefix+"provider-type") != ""
	}},
	{
		ruleCardinality, "The policy holder SHALL have a name",
		sub(where(organizations, hasProfile("policyholder-organization")), "name"), isText,
	},

	{"GE-00021", "Practitioner.identifier SHALL be a practitioner's license with type", practitioners, func(_ *message, n node) bool {
		id := n.get("identifier").at(0)
		return identified(nil, id) && id.get("system").str() == practitionerLicense && id.get("type").exists()
	}},
	{ruleCardinality, "Practitioner.active SHALL be true", sub(practitioners, "active"), isTrue},
	{ruleCardinality, "Practitioner.name is not following the correct cardinality", sub(practitioners, "name"), nonEmptyList},
}

func hasProfile(name string) func(*message, node) bool {
	return func(_ *message, n node) bool { return profileName(n) == name }
}

func patientIdentifiers(_ *message, n node) bool {
	ids := n.get("identifier").list()
	return len(ids) > 0 && !slices.ContainsFunc(ids, func(id node) bool {
		return !identified(nil, id) || id.get("type").code("") == ""
	})
}

// idsOf are the values of the patients' identifiers of one system.
func idsOf(system string) selector {
	return sub(where(each(patients, "identifier"), func(_ *message, n node) bool {
		return n.get("system").str() == system
	}), "value")
}

func isPassport(_ *message, n node) bool { return n.get("type").code("") == "PPN" }

func patientIDTypeFits(_ *message, n node) bool {
	want := map[string]string{
		"http://nphies.sa/identifier/nationalid":     "NI",
		"http://nphies.sa/identifier/iqama":          "PRC",
		"http://nphies.sa/identifier/passportnumber": "PPN",
		"http://nphies.sa/identifier/bordernumber":   "BN",
	}[n.get("system").str()]
	return want == "" || n.get("type").code("") == want
}

func onePlan(_ *message, n node) bool {
	plans := 0
	for _, c := range n.list() {
		if c.get("type").code(hl7Prefix+"coverage-class") == "plan" {
			plans++
		}
	}
	return plans == 1
}

// firstCoded accepts a list whose first concept has the code of the organization types.
func firstCoded(code string) func(*message, node) bool {
	return func(_ *message, n node) bool { return n.at(0).code(systemPrefix+"organization-type") == code }
}
