package nphiesclient

import (
	"fmt"
	"strings"
)

// parties checks people, organizations and policies.
func (p *preflight) parties() {
	for _, e := range p.m.entries {
		r, at := e.resource, fmt.Sprintf("Bundle.entry[%d].resource", e.position)
		switch kindOf(r) {
		case "Patient":
			p.patient(r, at)
		case "Coverage":
			p.coverage(r, at)
		case "Organization":
			p.organization(r, at)
		case "Practitioner":
			id := firstIdentifier(r)
			p.need(id.Value != "" && id.System == systemPractitionerLicense, "GE-00021", at+".identifier", "must be a practitioner's licence")
			p.need(r.first("name").str("text") != "" || r.first("name").str("family") != "", ruleCardinality, at+".name", "is missing")
		case "Encounter":
			p.need(firstIdentifier(r).Value != "", "IC-00183", at+".identifier", "is missing")
			p.need(r.get("class").str("code") != "", ruleCardinality, at+".class", "is missing")
			p.need(r.str("status") != "", ruleCardinality, at+".status", "is missing")
			start, end := r.get("period").str("start"), r.get("period").str("end")
			p.need(toSecond(start), "BV-00811", at+".period.start", "must be a time to the second")
			p.need(end == "" || toSecond(end), "BV-00811", at+".period.end", "must be a time to the second")
		}
	}
}

func toSecond(s string) bool { return len(s) >= len("2026-01-01T00:00:00Z") && !parseTime(s).IsZero() }

func (p *preflight) organization(r *node, at string) {
	id, receiver := firstIdentifier(r).Value, p.m.header.first("destination").get("receiver").get("identifier").str("value")
	active, _ := r.boolean("active")
	provider, insurer := hasProfile(r, "provider-organization"), hasProfile(r, "insurer-organization")
	p.must(active || (!provider && !insurer), at+".active", "must be true")
	switch {
	case provider:
		p.need(id == p.sender(), "GE-00031", at+".identifier", "differs from the sender's licence")
		p.need(extensionCode(r, "provider-type") != "", "IC-01574", x(at, "provider-type"), "is missing")
	case insurer:
		p.need(id == receiver, "GE-00032", at+".identifier", "differs from the receiver's licence; right only for an administrator (TPA)")
	case hasProfile(r, "policyholder-organization"):
		p.need(r.str("name") != "", ruleCardinality, at+".name", "is missing")
	}
}

func (p *preflight) patient(r *node, at string) {
	p.need(firstIdentifier(r).Value != "", ruleCardinality, at+".identifier", "is missing")
	for i, id := range r.list("identifier") {
		path := fmt.Sprintf("%s.identifier[%d]", at, i)
		for _, k := range []patientID{patientIDs["national_id"], patientIDs["iqama"]} {
			v := id.str("value")
			p.need(id.str("system") != k.system || (len(v) == 10 && v[0] == k.first && strings.Trim(v, "0123456789") == ""), k.rule, path,
				fmt.Sprintf("must have 10 digits, the first %c", k.first))
		}
		p.need(codeOf(id.get("type")) != "PPN" || extensionCode(id, "identifier-country") != "", "BV-00481", path, "country is missing")
	}
	active, _ := r.boolean("active")
	p.must(active, at+".active", "must be true")
	p.must(len(r.list("name")) == 1 && r.first("name").str("text") != "", at+".name", "must be one, with text")
	p.need(r.str("gender") != "", ruleCardinality, at+".gender", "is missing")
	p.need(extensionCode(r.get("_gender"), "ksa-administrative-gender") != "", ruleCardinality, x(at+".gender", "ksa-administrative-gender"), "is missing")
	born := parseTime(r.str("birthDate"))
	p.need(born.Year() >= 1900 && !born.After(p.now), "BV-00848", at+".birthDate", "must lie between 1900-01-01 and today")
	p.need(codeOf(r.get("maritalStatus")) != "", ruleCardinality, at+".maritalStatus", "is missing")
	p.need(extensionCode(r, "occupation") != "", ruleCardinality, x(at, "occupation"), "is missing")
}

func (p *preflight) coverage(r *node, at string) {
	p.need(firstIdentifier(r).Value != "", ruleCardinality, at+".identifier", "member number is missing")
	p.must(r.str("status") == "active", at+".status", "must be active")
	p.one(codeOf(r.get("type")), "IB-00109", at+".type", "EHCPOL", "PUBLICPOL")
	p.need(r.get("policyHolder").str("reference") != "", "IC-01564", at+".policyHolder", "is missing")
	p.need(r.get("beneficiary").str("reference") != "", ruleCardinality, at+".beneficiary", "is missing")
	p.need(codeOf(r.get("relationship")) != "", ruleCardinality, at+".relationship", "is missing")
	p.need(r.first("payor").str("reference") != "", ruleCardinality, at+".payor", "is missing")
	plans := 0
	for _, c := range r.list("class") {
		if codeOf(c.get("type")) == "plan" {
			plans++
		}
	}
	p.need(plans == 1, "IC-01571", at+".class", "needs exactly one plan")
}
