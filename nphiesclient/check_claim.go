package nphiesclient

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// claim checks a Claim with everything it refers to.
func (p *preflight) claim(r *node, at string) {
	typ, use := codeOf(r.get("type")), r.str("use")
	kind, known := claimKinds[typ]
	p.need(r.str("status") == "active", "BV-00330", at+".status", "must be active")
	p.must(known, at+".type", "is missing or unknown")
	if want := useOf[p.m.event()]; want != "" {
		p.need(use == want, "BV-00165", at+".use", "must be "+want)
	}
	if known {
		p.need(slices.Contains(kind.subTypes, codeOf(r.get("subType"))), subTypeRules[typ], at+".subType", "must be "+strings.Join(kind.subTypes, " or "))
		p.need(!kind.careTeam || r.has("careTeam"), ruleCardinality, at+".careTeam", "is missing")
		suffix := map[string]string{UseClaim: "-claim", UsePreauthorization: "-priorauth"}[use]
		p.need(suffix == "" || hasProfile(r, typ+suffix), "RE-00170", at+".meta.profile", "must be "+typ+suffix+" with its version")
	}
	for _, name := range []string{"created", "priority", "payee", "diagnosis", "insurance", "item"} {
		p.need(r.has(name), ruleCardinality, at+"."+name, "is missing")
	}
	p.references(r, at)
	p.need(p.licence(r.get("provider")) == p.sender(), "BV-00351", at+".provider", "differs from the sender")
	p.need(!p.future(parseTime(r.str("created"))), "BV-00064", at+".created", "lies in the future")
	p.payee(r.get("payee"), at+".payee")
	for i, x := range r.list("related") {
		path := fmt.Sprintf("%s.related[%d]", at, i)
		p.need(x.get("claim").get("identifier").str("value") != "", "BV-00725", path, "must name the claim by its identifier")
		p.one(codeOf(x.get("relationship")), "BV-00725", path+".relationship", "prior", "associated", "extend", "appealing")
	}
	for i, m := range r.list("careTeam") {
		p.must(p.points(m.get("provider"), "Practitioner"), fmt.Sprintf("%s.careTeam[%d].provider", at, i), "must name a Practitioner")
	}
	if a := r.get("accident"); r.has("accident") {
		p.one(codeOf(a.get("type")), ruleCode, at+".accident.type", "MVA", "WPA")
	}
	p.quotes(r, at, use)
	p.insurances(r, at)
	p.diagnoses(r, at, typ)
	p.encounter(r, at, typ, use)
	p.information(r, at, typ, use)
	p.items(r, at, typ, use)
}

func (p *preflight) payee(r *node, at string) {
	t := codeOf(r.get("type"))
	p.one(t, "BV-00492", at+".type", "provider", "other")
	p.need((t == "other") == r.has("party"), "BV-00494", at+".party", "belongs to the type other, always and only")
}

// quotes checks the extensions that quote other messages and the provider's books.
func (p *preflight) quotes(r *node, at, use string) {
	has := func(name string) bool { _, ok := r.extension(name); return ok }
	online, offline := has("eligibility-response"), has("eligibility-offline-reference")
	p.need(!online || (!offline && !has("eligibility-offline-date")), "BV-00381", x(at, "eligibility-offline-reference"),
		"an eligibility response and an offline check exclude each other")
	p.need(online || offline, "BV-00379", x(at, "eligibility-response"), "is missing, and no offline check is quoted")
	p.need(!offline || has("eligibility-offline-date"), "BV-00349", x(at, "eligibility-offline-date"), "is missing")
	references := slices.ContainsFunc(r.list("insurance"), func(i *node) bool { return i.has("preAuthRef") })
	answer, call := has("priorauth-response") || has("priorauthresponse"), has("authorization-offline-date")
	p.need(!references || answer || call, "BV-00420", x(at, "priorauth-response"), "is missing: preAuthRef needs it, or an offline date")
	p.need(!answer || !call, "BV-00462", x(at, "authorization-offline-date"), "the authorization's answer and an offline date exclude each other")
	p.need(references || (!answer && !call), "BV-00449", at+".insurance[0].preAuthRef", "is missing")
	p.need(!answer || !call, "BV-00462", x(at, "authorization-offline-date"), "excludes the authorization's answer")
	if use != UseClaim {
		return
	}
	episode, _ := r.extension("episode")
	p.need(episode.get("valueIdentifier").str("value") != "", "IC-01453", x(at, "episode"), "is missing")
	if period, ok := r.extension("accountingPeriod"); !ok {
		p.add("IC-01620", x(at, "accountingPeriod"), "is missing")
	} else {
		p.need(strings.HasSuffix(period.str("valueDate"), "-01"), "BV-01010", x(at, "accountingPeriod"), "must be the first of a month")
	}
	p.need(!has("transfer"), "BV-00508", x(at, "transfer"), "is part of a prior authorization only")
}

func (p *preflight) insurances(r *node, at string) {
	all := r.list("insurance")
	focal := 0
	for i, in := range all {
		if f, _ := in.boolean("focal"); f {
			focal++
		}
		p.must(p.points(in.get("coverage"), "Coverage"), fmt.Sprintf("%s.insurance[%d].coverage", at, i), "must name a Coverage")
		for j, ref := range in.list("preAuthRef") {
			if n, most := tooLong(ref.text(), 40, 0); n > most {
				p.add(ruleLength, fmt.Sprintf("%s.insurance[%d].preAuthRef[%d]", at, i, j), "has %d characters, NPHIES takes %d", n, most)
			}
		}
	}
	p.need(len(all) < 2 || focal == 1, "BV-00400", at+".insurance", "needs exactly one that is focal")
}

func (p *preflight) diagnoses(r *node, at, typ string) {
	principal, seen := 0, map[string]bool{}
	for i, d := range r.list("diagnosis") {
		path := fmt.Sprintf("%s.diagnosis[%d]", at, i)
		code := strings.ToUpper(codeOf(d.get("diagnosisCodeableConcept")))
		p.need(code != "", ruleCardinality, path+".diagnosisCodeableConcept", "is missing")
		p.need(code == "" || !seen[code], "BV-00057", path, "is given twice")
		seen[code] = true
		for _, t := range d.list("type") {
			switch codeOf(t) {
			case "principal":
				principal++
			case "admitting":
				p.need(typ == "institutional", "BV-00477", path+".type", "admitting belongs to institutional claims")
			case "discharge":
				p.need(typ == "institutional", "BV-00478", path+".type", "discharge belongs to institutional claims")
			}
		}
	}
	p.need(principal == 1, "BV-00054", at+".diagnosis", "needs exactly one principal diagnosis")
}

// encounterOf is the Encounter a claim names, nil without one.
func (p *preflight) encounterOf(claim *node) *node {
	ext, _ := claim.extension("encounter")
	if e := p.m.find(ext.get("valueReference").str("reference")); e != nil {
		return e.resource
	}
	return nil
}

func (p *preflight) encounter(r *node, at, typ, use string) {
	kind, e := claimKinds[typ], p.encounterOf(r)
	if e == nil {
		p.need(!kind.encounter, "RE-00189", x(at, "encounter"), "is missing")
		return
	}
	path := p.m.path(e)
	class, ended := e.get("class").str("code"), e.get("period").str("end") != ""
	if kind.classes != nil {
		p.one(class, ruleCode, path+".class", kind.classes...)
	}
	p.need(typ != "professional" || (class == "EMER") == (codeOf(r.get("subType")) == "emr"), "BV-00755", path+".class",
		"EMER and the subtype emr go together")
	same := func(a, b *node) bool {
		x, y := p.m.find(a.str("reference")), p.m.find(b.str("reference"))
		return x == nil || y == nil || x == y
	}
	p.need(same(e.get("subject"), r.get("patient")), "RE-00189", path+".subject", "must be the patient of the claim")
	p.need(same(e.get("serviceProvider"), r.get("provider")), "RE-00189", path+".serviceProvider", "must be the provider of the claim")
	p.need(!kind.event || extensionCode(e, "serviceEventType") != "", "BV-00736", x(path, "serviceEventType"), "is missing")
	if use != UseClaim {
		return // the guide asks the rest of claims
	}
	need := func(rule, where, what string, words ...string) {
		p.need(namesExtension(e.v, words...), rule, where, what+" is missing")
	}
	stay := path + ".hospitalization"
	switch class {
	case "EMER":
		need("BV-00728", path, "the arrival code", "arrival")
		need("BV-00732", path, "the triage category", "triage", "category")
		need("BV-00733", path, "the time of triage", "triage", "date")
		need("BV-00734", path, "the start of the service", "start")
		if ended {
			need("BV-00735", path, "the disposition", "disposition")
		}
	case "IMP", "SS":
		p.need(e.get("hospitalization").has("admitSource"), "BV-00727", stay+".admitSource", "is missing")
		need("BV-00737", stay, "the specialty of admission", "admission", "special")
		need("BV-00744", stay, "the intended length of stay", "length", "stay")
		if ended {
			need("BV-00758", stay, "the specialty of discharge", "discharge", "special")
			p.need(e.get("hospitalization").has("dischargeDisposition"), "BV-00759", stay+".dischargeDisposition", "is missing")
		}
	}
}

// infant reports whether the patient was admitted at less than 365 days of age.
func (p *preflight) infant(r *node) bool {
	e, patient := p.encounterOf(r), p.m.find(r.get("patient").str("reference"))
	if e == nil || patient == nil {
		return false
	}
	class := e.get("class").str("code")
	born, admitted := parseTime(patient.resource.str("birthDate")), parseTime(e.get("period").str("start"))
	return (class == "IMP" || class == "SS") && !born.IsZero() && !admitted.IsZero() && admitted.Sub(born) < 365*24*time.Hour
}

// information checks what the supporting information must tell, and each entry.
func (p *preflight) information(r *node, at, typ, use string) {
	kind := claimKinds[typ]
	have := map[string]bool{}
	list := at + ".supportingInfo"
	for i, s := range r.list("supportingInfo") {
		category := codeOf(s.get("category"))
		have[category] = true
		p.info(s, category, fmt.Sprintf("%s[%d]", list, i))
	}
	need := func(when bool, category, rule string) {
		p.need(!when || have[category], rule, list, "an entry of the category "+category+" is missing")
	}
	for _, x := range requiredInfo {
		need(true, x[0], x[1])
	}
	need(kind.complaint != "", "chief-complaint", kind.complaint)
	for _, v := range vitalSigns {
		need(kind.vitals, v.category, v.rule(typ))
	}
	need(typ == "institutional" && use == UsePreauthorization, "estimated-Length-of-Stay", "BV-00802")
	need(p.infant(r), "admission-weight", "BV-00849")
	for i, s := range r.list("supportingInfo") {
		p.need(codeOf(s.get("category")) != "investigation-result" || codeOf(s.get("code")) != "IRA" || have["attachment"], "BV-00846",
			fmt.Sprintf("%s[%d]", list, i), "IRA needs an attachment")
	}
	newborn, _ := r.extension("newborn")
	if is, _ := newborn.boolean("valueBoolean"); is {
		need(true, "birth-weight", "BV-00506")
		z38 := slices.ContainsFunc(r.list("diagnosis"), func(d *node) bool {
			return strings.HasPrefix(strings.ToUpper(codeOf(d.get("diagnosisCodeableConcept"))), "Z38")
		})
		p.need(z38, "BV-00557", at+".diagnosis", "a newborn needs a Z38 diagnosis")
	}
}

func (p *preflight) info(s *node, category, at string) {
	p.need(category != "", ruleCardinality, at+".category", "is missing")
	kind := infoKinds[category]
	switch {
	case slices.ContainsFunc(vitalSigns, func(v vitalSign) bool { return v.category == category }):
		q := s.get("valueQuantity")
		value := q.str("value") != "" && q.str("code") == kind.unit
		absent := strings.Contains(s.get("reason").str("system")+s.get("reason").first("coding").str("system"), "absence-reason")
		p.need(value || absent, "BV-00812", at, "needs a value in "+kind.unit+", or the reason of its absence")
	case category == "investigation-result":
		code := codeOf(s.get("code"))
		p.need(code != "" && (code != "other" || s.get("code").str("text") != ""), "BV-00752", at+".code", "is missing, or other without words")
	case category == "attachment":
		a := s.get("valueAttachment")
		content := a.has("data") || (a.has("url") && a.has("size") && a.has("hash"))
		p.need(a.has("contentType") && a.has("title") && a.has("creation") && content, ruleCardinality, at+".valueAttachment",
			"needs contentType, title, creation, and data or url with size and hash")
	case category == "days-supply":
		n, err := ParseNumber(s.get("valueQuantity").str("value"))
		p.need(err == nil && n.d.Sign() > 0, "BV-00376", at+".valueQuantity", "must be above zero")
	}
}
