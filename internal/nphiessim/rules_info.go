package nphiessim

import (
	"slices"
	"strings"
)

var infos = each(atFocus, "supportingInfo")

func infoCategory(n node) string { return n.get("category").code(systemInfo) }

// infoKind is how a category of supporting information is filled and who must give it.
type infoKind struct {
	name     string
	unit     string            // UCUM unit; "" if the category has no quantity
	text     bool              // filled by valueString
	required map[string]string // type of claim -> rule that wants it there; "*" for every type
}

func always(rule string) map[string]string { return map[string]string{"*": rule} }

func vitals(institutional, professional string) map[string]string {
	return map[string]string{"institutional": institutional, "professional": professional}
}

// infoKinds is the table of section 6.5. The rule ids of the single vital signs are our reading of the guide's ranges.
var infoKinds = []infoKind{
	{name: "treatment-plan", text: true, required: always("BV-00803")},
	{name: "patient-history", text: true, required: always("BV-00804")},
	{name: "physical-examination", text: true, required: always("BV-00805")},
	{name: "history-of-present-illness", text: true, required: always("BV-00806")},
	{name: "investigation-result", required: always("BV-00752")},
	{name: "chief-complaint", required: map[string]string{"institutional": "BV-00770", "professional": "BV-00779", "oral": "BV-00751"}},
	{name: "vital-sign-systolic", unit: "mm[Hg]", required: vitals("BV-00763", "BV-00772")},
	{name: "vital-sign-diastolic", unit: "mm[Hg]", required: vitals("BV-00764", "BV-00773")},
	{name: "vital-sign-height", unit: "cm", required: vitals("BV-00765", "BV-00774")},
	{name: "vital-sign-weight", unit: "kg", required: vitals("BV-00766", "BV-00775")},
	{name: "pulse", unit: "/min", required: vitals("BV-00767", "BV-00776")},
	{name: "temperature", unit: "Cel", required: vitals("BV-00768", "BV-00777")},
	{name: "oxygen-saturation", unit: "%", required: vitals("BV-00769", "BV-00778")},
	{name: "respiratory-rate", unit: "/min", required: vitals("BV-00771", "BV-00780")},
	{name: "days-supply", unit: "d"},
	{name: "estimated-Length-of-Stay", unit: "d"},
	{name: "admission-weight", unit: "kg"},
	{name: "birth-weight", unit: "kg"},
	{name: "ventilation-hours", unit: "h"},
	{name: "icu-hours", unit: "h"},
	{name: "info", text: true},
	{name: "lab-test"},
	{name: "attachment"},
	{name: "reason-for-visit"},
	{name: "onset"},
	{name: "missingtooth"},
	{name: "morphology"},
	{name: "last-menstrual-period"},
	{name: "employmentImpacted"},
}

func kindOf(n node) (infoKind, bool) {
	name := infoCategory(n)
	i := slices.IndexFunc(infoKinds, func(k infoKind) bool { return k.name == name })
	if i < 0 {
		return infoKind{}, false
	}
	return infoKinds[i], true
}

// infoRules are section 6.5.
var infoRules = append(requiredInfo(),
	rule{"BV-00453", "supportingInfo.sequence SHALL be unique", present(sub(atFocus, "supportingInfo")), uniqueSequences},
	rule{ruleBinding, "supportingInfo.category is not from the specified value set", sub(infos, "category"), func(_ *message, n node) bool {
		_, ok := kindOf(rooted(map[string]any{"category": n.v}, ""))
		return ok
	}},
	rule{ruleCardinality, "supportingInfo SHALL have its text", sub(where(infos, func(_ *message, n node) bool {
		k, _ := kindOf(n)
		return k.text
	}), "valueString"), isText},
	rule{"BV-00812", "A measurement SHALL have a quantity or the reason of its absence", where(infos, isMeasurement), func(_ *message, n node) bool {
		return isNotNegative(nil, n.get("valueQuantity.value")) || strings.HasSuffix(n.get("reason.coding").at(0).get("system").str(), "-absence-reason")
	}},
	rule{ruleBinding, "The unit is not from the specified value set", blame(where(infos, isMeasured), "valueQuantity"), hasUnit},
	rule{ruleBinding, "The investigation result is not from the specified value set", sub(ofCategory("investigation-result"), "code"), coded(systemPrefix+"investigation-result", "IRA", "INP", "IRP", "NA", "other")},
	rule{"BV-00846", "The investigation result's attachment is missing", where(ofCategory("investigation-result"), investigationIs("IRA")), func(m *message, _ node) bool {
		return m.claim.infos["attachment"]
	}},
	rule{"BV-00752", "Another investigation result SHALL be told in code.text", sub(where(ofCategory("investigation-result"), investigationIs("other")), "code.text"), isText},
	rule{"BV-00429", "A chief complaint SHALL be coded in SNOMED CT or told in code.text", ofCategory("chief-complaint"), func(_ *message, n node) bool {
		return n.get("code").code("http://snomed.info/sct") != "" || n.get("code.text").str() != ""
	}},
	rule{ruleBinding, "A laboratory test SHALL be coded in LOINC", sub(ofCategory("lab-test"), "code"), coded("http://loinc.org")},
	rule{ruleCardinality, "A laboratory test SHALL have a quantity", sub(ofCategory("lab-test"), "valueQuantity.value"), isNotNegative},
	rule{ruleCardinality, "An attachment SHALL have contentType, title, creation and data or url with size and hash", sub(ofCategory("attachment"), "valueAttachment"), wholeAttachment},
	rule{"BV-00506", "A newborn's claim SHALL tell the birth weight", where(atFocus, isNewborn), func(m *message, _ node) bool {
		return m.claim.infos["birth-weight"]
	}},
	rule{"BV-00557", "A newborn's claim SHALL have a diagnosis of Z38", where(atFocus, isNewborn), func(_ *message, n node) bool {
		return count(n.get("diagnosis").list(), func(d node) bool {
			return strings.HasPrefix(d.get("diagnosisCodeableConcept").code(systemICD), "Z38")
		}) > 0
	}},
	rule{"BV-00849", "An infant's admission SHALL tell the admission weight", where(ofType(atFocus, "institutional"), isInfant), func(m *message, _ node) bool {
		return m.claim.infos["admission-weight"]
	}},
)

// requiredInfo makes one rule of every "required" of the table.
func requiredInfo() []rule {
	var out []rule
	for _, k := range infoKinds {
		for _, claimType := range []string{"*", "institutional", "professional", "oral"} {
			id, ok := k.required[claimType]
			if !ok {
				continue
			}
			at, suffix := sub(atFocus, "supportingInfo"), ""
			if claimType != "*" {
				at, suffix = ofType(at, claimType), " in "+claimType+" claims"
			}
			out = append(out, rule{id, k.name + " SHALL be provided" + suffix, at, func(_ *message, n node) bool {
				return slices.ContainsFunc(n.list(), func(s node) bool { return infoCategory(s) == k.name })
			}})
		}
	}
	return out
}

func ofCategory(name string) selector {
	return where(infos, func(_ *message, n node) bool { return infoCategory(n) == name })
}

func isMeasurement(_ *message, n node) bool {
	k, _ := kindOf(n)
	return k.unit != ""
}

func isMeasured(_ *message, n node) bool {
	return isMeasurement(nil, n) && n.get("valueQuantity").exists()
}

func hasUnit(_ *message, n node) bool {
	k, _ := kindOf(n)
	q := n.get("valueQuantity")
	return q.get("system").str() == systemUCUM && q.get("code").str() == k.unit
}

func investigationIs(code string) func(*message, node) bool {
	return func(_ *message, n node) bool { return n.get("code").code("") == code }
}

func wholeAttachment(_ *message, n node) bool {
	if !slices.Contains([]string{"application/pdf", "image/jpeg"}, n.get("contentType").str()) {
		return false
	}
	if n.get("title").str() == "" || n.get("creation").str() == "" {
		return false
	}
	return n.get("data").str() != "" || (n.get("url").str() != "" && n.get("size").exists() && n.get("hash").str() != "")
}

func isNewborn(_ *message, n node) bool { return n.ext("newborn").get("valueBoolean").isTrue() }

// isInfant tells that the patient is under 365 days old when admitted.
func isInfant(m *message, n node) bool {
	born, _, ok := parseDate(m.resolve(n.get("patient")).get("birthDate").str())
	admission, _, ok2 := parseDate(m.encounter().get("period.start").str())
	return ok && ok2 && admission.Before(born.AddDate(0, 0, 365))
}
