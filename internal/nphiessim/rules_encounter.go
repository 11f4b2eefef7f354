package nphiessim

import (
	"slices"
	"strings"
)

// encounterClasses are the classes of encounter that a type of claim may have (end of section 4).
var encounterClasses = map[string][]string{
	"institutional": {"IMP", "SS"},
	"professional":  {"AMB", "EMER", "HH", "VR"},
	"oral":          {"AMB"},
}

// atEncounter is the encounter that the claim's extension names.
var atEncounter = selector{"Encounter", func(m *message) []node {
	if e := m.encounter(); e.exists() {
		return []node{e}
	}
	return nil
}}

var (
	emergency = where(atEncounter, ofClass("EMER"))
	admission = where(atEncounter, ofClass("IMP", "SS"))
)

// emergencyTimes are the moments in an emergency's extensions.
var emergencyTimes = selector{"Encounter.extension.valueDateTime", func(m *message) []node {
	var out []node
	for _, e := range emergency.find(m) {
		e.walk(func(n node) {
			if url := plainURL(n); n.get("valueDateTime").exists() && (strings.Contains(url, "triagedate") || strings.Contains(url, "servicestart")) {
				out = append(out, n.get("valueDateTime"))
			}
		})
	}
	return out
}}

// plainURL is an extension's URL without case and hyphens.
func plainURL(n node) string { return strings.ToLower(strings.ReplaceAll(n.get("url").str(), "-", "")) }

// encounterRules are the end of section 4. Where it names a range of rules for several elements, the order of both decides: the
// first number is the first element's.
var encounterRules = []rule{
	{"RE-00189", "The claim SHALL refer to an Encounter in the bundle", ofType(extOf(atFocus, "encounter"), "institutional", "professional", "oral"), func(m *message, n node) bool {
		return pointsAt("Encounter")(m, n.get("valueReference"))
	}},
	{"IC-00183", "Encounter.identifier is not following the correct cardinality", sub(atEncounter, "identifier"), func(_ *message, n node) bool {
		return len(n.list()) == 1 && identified(nil, n.at(0))
	}},
	{ruleBinding, "Encounter.status is not from the specified value set", sub(atEncounter, "status"), oneOf("planned", "in-progress", "finished", "cancelled")},
	{ruleBinding, "Encounter.class does not fit the claim's type", sub(atEncounter, "class"), func(m *message, n node) bool {
		allowed := encounterClasses[m.claimType()]
		return n.get("system").str() == hl7Prefix+"v3-ActCode" && (allowed == nil || slices.Contains(allowed, n.get("code").str()))
	}},
	{"BV-00755", "EMER and subtype emr SHALL go together", ofType(sub(atEncounter, "class.code"), "professional"), func(m *message, n node) bool {
		return (n.str() == "EMER") == (m.focus().get("subType").code(systemSubtype) == "emr")
	}},
	{"RE-00189", "Encounter.subject SHALL be the claim's patient", sub(atEncounter, "subject.reference"), func(m *message, n node) bool {
		return n.str() != "" && n.str() == m.focus().get("patient.reference").str()
	}},
	{"RE-00189", "Encounter.serviceProvider SHALL be the claim's provider", sub(atEncounter, "serviceProvider.reference"), func(m *message, n node) bool {
		return n.str() != "" && n.str() == m.focus().get("provider.reference").str()
	}},
	{"BV-00811", "Encounter.period.start SHALL have a time to the second", sub(atEncounter, "period.start"), isInstant},
	{"BV-00811", "Encounter.period.end SHALL have a time to the second", present(sub(atEncounter, "period.end")), isInstant},
	{"BV-00736", "The service event type is required", ofType(extOf(atEncounter, "serviceEventType"), "professional", "oral"), func(_ *message, n node) bool {
		return slices.Contains([]string{"ICSE", "SCSE"}, n.get("valueCodeableConcept").code(""))
	}},
	{"BV-00728", "An emergency SHALL tell how the patient arrived", emergency, mentions("arrival")},
	{"BV-00732", "An emergency SHALL tell the triage category", emergency, mentions("triagecategory")},
	{"BV-00733", "An emergency SHALL tell the triage date", emergency, mentions("triagedate")},
	{"BV-00734", "An emergency SHALL tell when the service started", emergency, mentions("servicestart")},
	{ruleStructure, "Triage and the start of an emergency SHALL have a time to the second", emergencyTimes, isInstant},
	{"BV-00735", "A finished emergency SHALL tell the department's disposition", where(emergency, isFinished), mentions("disposition")},
	{"BV-00727", "An admission SHALL tell its source", sub(admission, "hospitalization.admitSource"), exists},
	{"BV-00737", "An admission SHALL tell the admission specialty", admission, mentions("admissionspecialty")},
	{"BV-00744", "An admission SHALL tell the intended length of stay", admission, mentions("intendedlengthofstay")},
	{"BV-00758", "A finished admission SHALL tell the discharge specialty", where(admission, isFinished), mentions("dischargespecialty")},
	{"BV-00759", "A finished admission SHALL tell the discharge disposition", sub(where(admission, isFinished), "hospitalization.dischargeDisposition"), exists},
}

func ofClass(codes ...string) func(*message, node) bool {
	return func(_ *message, n node) bool { return slices.Contains(codes, n.get("class.code").str()) }
}

func isFinished(_ *message, n node) bool { return n.get("period.end").exists() }

// mentions looks for an extension anywhere in the resource whose URL contains a word, whatever its case and hyphens. The
// guide names these data but our source does not give the extensions' exact spelling.
func mentions(word string) func(*message, node) bool {
	return func(_ *message, n node) bool {
		found := false
		n.walk(func(c node) {
			found = found || strings.Contains(plainURL(c), word)
		})
		return found
	}
}
