package nphiessim

import "slices"

// takeBatch answers a batch-request: one validation-level answer for each claim in it, as a nested message. Adjudications
// come through the mailbox, one by one. The guide does not show the form of a batch-response; ours lists the nested
// Bundles in the header's focus, as the request does.
func (s *Sim) takeBatch(m *message) (answer, []Finding) {
	findings := judge(m)
	perClaim := make([][]Finding, len(m.nested))
	for i, nested := range m.nested {
		perClaim[i] = judge(nested)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	findings = append(findings, s.seenIDs(m)...)
	if len(findings) > 0 {
		return s.acknowledge(m, eventBatchResponse, findings), findings
	}
	var bundles, foci []any
	for i, nested := range m.nested {
		a, shown := s.answerTo(nested, perClaim[i], true)
		findings = append(findings, shown...)
		bundle := s.bundle(s.claimReplyOf(nested, a), m.now)
		url := nphiesBase + "Bundle/" + rooted(bundle, "").get("id").str()
		bundles = append(bundles, entryJSON(url, bundle))
		foci = append(foci, map[string]any{"reference": url})
	}
	out := s.realTime(m, reply{
		event: eventBatchResponse, from: nphiesParty, to: m.sender(), answers: m.header.get("id").str(), tags: []string{"nphies-generated"},
		foci: foci, resources: bundles,
	})
	return out, findings
}

// acknowledge answers with a header alone, or with the errors in an OperationOutcome that response.details names.
func (s *Sim) acknowledge(m *message, event string, findings []Finding) answer {
	from := nphiesParty
	if m.event == eventCommunication && len(findings) == 0 {
		from = Identifier{payerLicense, m.receiver()}
	}
	r := reply{event: event, from: from, to: m.sender(), answers: m.header.get("id").str()}
	if len(findings) > 0 {
		id := s.guid("outcome")
		r.status, r.details = "fatal-error", nphiesBase+"OperationOutcome/"+id
		r.resources = []any{entryJSON(r.details, operationOutcome(id, "", findings...))}
		r.tags = []string{"nphies-generated"}
	}
	r.resources = slices.Concat(r.resources, entriesOf(m, "Organization"))
	return s.realTime(m, r)
}

// takeCommunication acknowledges a communication. What it tells about a claim that waits for information settles it.
func (s *Sim) takeCommunication(m *message) (answer, []Finding) {
	findings := judge(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(findings) == 0 {
		findings = s.seenIDs(m)
	}
	if len(findings) > 0 {
		return s.acknowledge(m, eventAcknowledgement, findings), findings
	}
	about := map[Identifier]bool{}
	for _, a := range m.focus().get("about").list() {
		about[a.identifier()] = true
	}
	for _, rec := range s.claimOrder {
		if rec.license == m.sender() && (about[rec.id] || slices.ContainsFunc(rec.answers, func(a *claimAnswer) bool { return about[a.identifier()] })) {
			s.informed(m, rec)
		}
	}
	return s.acknowledge(m, eventAcknowledgement, nil), nil
}

// informed gives the answer that a claim owes once information has come.
func (s *Sim) informed(m *message, rec *claimRecord) {
	b := rec.behaviour
	if b.afterInfo == notAnswered || rec.informed || rec.cancelled {
		return
	}
	rec.informed = true
	why := ""
	if a := rec.onFile(m.now); a != nil && a.final() {
		why = "adjudication"
	}
	s.mailAnswer(rec, s.decided(rec.message, b, b.afterInfo, why, m.now.Add(s.opt.MailboxDelay)))
}

// takePaymentNotice acknowledges the confirmation of a payment.
func (s *Sim) takePaymentNotice(m *message) (answer, []Finding) {
	findings := judge(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	findings = append(findings, s.seenIDs(m)...)
	return s.acknowledge(m, eventAcknowledgement, findings), findings
}
