package nphiessim

import "slices"

// eligibilityRecord is all the simulator knows about one eligibility request.
type eligibilityRecord struct {
	id        Identifier
	license   string
	payer     string
	behaviour Behaviour
	content   string
	received  int
	before    int
	url       string
	by        Identifier
	resource  map[string]any // the answer on file, nil before there is one
	found     []any          // entries of the coverages that were discovered
	verdict   verdict
	findings  []Finding
}

// takeEligibility answers an eligibility-request at once, always: eligibility is never queued.
func (s *Sim) takeEligibility(m *message) (answer, []Finding) {
	findings := judge(m)
	request := m.focus()
	id := request.identifier()
	content := contentHash(request)

	s.mu.Lock()
	defer s.mu.Unlock()
	findings = append(findings, s.seenIDs(m)...)
	b, _ := s.behaviourFor(id.Value, "eligibility")
	rec := s.eligibility[id.key()]
	if rec == nil || id.Value == "" {
		rec = &eligibilityRecord{id: id, license: m.sender(), payer: m.receiver(), behaviour: b, content: content, before: b.before}
		if id.Value != "" {
			s.eligibility[id.key()] = rec
			s.eligOrder = append(s.eligOrder, rec)
		}
	}
	rec.received++
	if content != rec.content {
		changed := &eligibilityRecord{id: id}
		findings = append(findings, ruleSameIdentifier.at(request.path()+".identifier"))
		s.answerEligibility(m, changed, refused, findings)
		return s.eligibilityReply(m, changed), findings
	}
	if rec.resource == nil {
		s.judgeEligibility(m, rec, findings)
	}
	reply := s.eligibilityReply(m, rec)
	if rec.verdict.transient() {
		rec.resource = nil
	}
	return reply, rec.findings
}

func (s *Sim) judgeEligibility(m *message, rec *eligibilityRecord, findings []Finding) {
	switch {
	case len(findings) > 0:
		s.answerEligibility(m, rec, refused, findings)
	case rec.before > 0:
		rec.before--
		v := rec.behaviour.first
		s.answerEligibility(m, rec, v, []Finding{transientError(v)})
	case rec.behaviour.answer == memberUnknown:
		s.answerEligibility(m, rec, memberUnknown, []Finding{{Code: "1658", Text: "No member found with the supplied patient credentials"}})
	default:
		s.answerEligibility(m, rec, rec.behaviour.answer, nil)
	}
}

// answerEligibility makes the CoverageEligibilityResponse (section 5.2) and files it.
func (s *Sim) answerEligibility(m *message, rec *eligibilityRecord, v verdict, findings []Finding) {
	request := m.focus()
	id := s.guid("eligibility-response")
	rec.verdict, rec.findings, rec.by = v, findings, Identifier{payerLicense, m.receiver()}
	rec.url = payerBase(m) + "CoverageEligibilityResponse/" + id
	own := Identifier{payerBase(m) + "coverageeligibilityresponse", "ELR-" + id[:13]}
	res := map[string]any{
		"resourceType": "CoverageEligibilityResponse", "id": id, "meta": meta("eligibility-response"), "status": "active",
		"created": m.now.In(riyadh).Format("2006-01-02T15:04:05-07:00"),
	}
	if v == refused || v.transient() {
		rec.by = nphiesParty
		rec.url = nphiesBase + "CoverageEligibilityResponse/" + id
		own = Identifier{nphiesBase + "CoverageEligibilityResponse", rec.id.Value}
		res["meta"] = generatedMeta("eligibility-response")
	}
	if own.Value != "" {
		res["identifier"] = []any{identifierJSON(own)}
	}
	for _, name := range []string{"purpose", "patient", "servicedDate", "servicedPeriod", "insurer"} {
		if n := request.get(name); n.exists() {
			res[name] = n.v
		}
	}
	if rec.id.Value != "" {
		res["request"] = map[string]any{"type": "CoverageEligibilityRequest", "identifier": identifierJSON(rec.id)}
	}
	if len(findings) > 0 {
		res["outcome"], res["error"] = "error", errorList(findings)
	} else {
		s.writeBenefits(rec, res, m, v)
	}
	rec.resource = res
}

// writeBenefits fills a complete answer: the site eligibility, and what each coverage offers.
func (s *Sim) writeBenefits(rec *eligibilityRecord, res map[string]any, m *message, v verdict) {
	site := []any{conceptExtension("siteEligibility", systemPrefix+"siteEligibility", string(v))}
	res["outcome"], res["extension"], res["disposition"] = "complete", site, "Answered by the simulator: "+string(v)
	var insurance []any
	for _, i := range m.focus().get("insurance").list() {
		coverage := m.resolve(i.get("coverage"))
		entry := map[string]any{"extension": site, "coverage": i.get("coverage").v, "inforce": v == eligible || v == outOfNetwork}
		if v == eligible {
			if p := coverage.get("period"); p.exists() {
				entry["benefitPeriod"] = p.v
			}
			entry["item"] = []any{medicalCare()}
		}
		insurance = append(insurance, entry)
	}
	if len(insurance) == 0 && v == eligible {
		url, coverage := s.discovered(m)
		rec.found = []any{entryJSON(url, coverage)}
		insurance = []any{map[string]any{"extension": site, "coverage": map[string]any{"reference": url}, "inforce": true, "item": []any{medicalCare()}}}
	}
	if len(insurance) > 0 {
		res["insurance"] = insurance
	}
}

// discovered is the coverage of a patient for whom none was named: who is eligible has one (BV-00535).
func (s *Sim) discovered(m *message) (url string, coverage map[string]any) {
	id := s.guid("coverage")
	plan := map[string]any{"type": concept(hl7Prefix+"coverage-class", "plan"), "value": "SIM-PLAN"}
	return payerBase(m) + "Coverage/" + id, map[string]any{
		"resourceType": "Coverage", "id": id, "meta": meta("coverage"), "status": "active",
		"identifier": []any{identifierJSON(Identifier{payerBase(m) + "memberid", "SIM-" + id[:8]})},
		"type":       concept(systemPrefix+"coverage-type", "EHCPOL"), "relationship": concept(hl7Prefix+"subscriber-relationship", "self"),
		"beneficiary": m.focus().get("patient").v, "payor": []any{m.focus().get("insurer").v}, "class": []any{plan},
	}
}

func medicalCare() map[string]any {
	benefitType := func(code string) map[string]any { return concept(systemPrefix+"benefit-type", code) }
	amountOf := func(i int) map[string]any { return map[string]any{"value": number(i), "currency": "SAR"} }
	return map[string]any{
		"category": concept(systemPrefix+"benefit-category", "1"), "excluded": false, "name": "Medical Care",
		"network": concept(hl7Prefix+"benefit-network", "in"), "unit": concept(hl7Prefix+"benefit-unit", "individual"),
		"term": concept(hl7Prefix+"benefit-term", "annual"),
		"benefit": []any{
			map[string]any{"type": benefitType("benefit"), "allowedMoney": amountOf(250000), "usedMoney": amountOf(1840)},
			map[string]any{"type": benefitType("copay-percent"), "allowedUnsignedInt": number(10)},
			map[string]any{"type": benefitType("copay-maximum"), "allowedMoney": amountOf(100)},
		},
	}
}

func (s *Sim) eligibilityReply(m *message, rec *eligibilityRecord) answer {
	r := reply{
		event: eventEligibilityResponse, from: rec.by, to: m.sender(), answers: m.header.get("id").str(), focus: rec.url,
		resources: append([]any{entryJSON(rec.url, rec.resource)}, slices.Concat(rec.found, entriesOf(m, "Patient", "Organization", "Coverage"))...),
	}
	if rec.by == nphiesParty {
		r.tags = []string{"nphies-generated"}
	}
	return s.realTime(m, r)
}
