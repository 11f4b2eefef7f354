package nphiessim

import "slices"

// taskAnswer echoes the request's Task with a status and outputs.
func (s *Sim) taskAnswer(m *message, by Identifier, status string, outputs []any) (url string, task map[string]any) {
	id := s.guid("task")
	task = map[string]any{"resourceType": "Task", "id": id, "meta": meta("task"), "status": status}
	url = payerBase(m) + "Task/" + id
	if by == nphiesParty {
		task["meta"] = generatedMeta("task")
		url = nphiesBase + "Task/" + id
	}
	for _, name := range []string{"identifier", "intent", "priority", "code", "focus", "authoredOn", "requester", "owner", "reasonCode"} {
		if n := m.focus().get(name); n.exists() {
			task[name] = n.v
		}
	}
	task["lastModified"] = day(m.now)
	if len(outputs) > 0 {
		task["output"] = outputs
	}
	return url, task
}

// takeTargetTask answers status-check and cancel-request.
func (s *Sim) takeTargetTask(m *message) (answer, []Finding) {
	findings := judge(m, rulesFor(m.event)...)
	s.mu.Lock()
	defer s.mu.Unlock()
	findings = append(findings, s.seenIDs(m)...)
	rec := s.claims[m.focus().get("focus").identifier().key()]
	if len(findings) == 0 && (rec == nil || rec.license != m.sender()) {
		findings = []Finding{{"BV-00459", "The target of the request cannot be found", m.focus().path + ".focus"}}
	}
	event := eventStatusResponse
	if m.event == eventCancel {
		event = eventCancelResponse
	}
	payer := Identifier{payerLicense, m.receiver()}
	var url string
	var task map[string]any
	switch {
	case len(findings) > 0:
		url, task = s.taskAnswer(m, payer, "failed", errorOutputs(findings))
	case m.event == eventCancel:
		status, why := s.cancel(m, rec)
		url, task = s.taskAnswer(m, payer, status, nil)
		if why != "" {
			task["statusReason"] = concept(systemPrefix+"task-status-reason", why)
		}
	default:
		url, task = s.taskAnswer(m, payer, "completed", []any{s.statusOutput(m, rec)})
	}
	return s.realTime(m, reply{
		event: event, from: payer, to: m.sender(), answers: m.header.get("id").str(), focus: url,
		resources: slices.Concat([]any{entryJSON(url, task)}, entriesOf(m, "Organization")),
	}), findings
}

// statusOutput tells a claim's state, as valueCode or valueCodeableConcept: the guide has both.
func (s *Sim) statusOutput(m *message, rec *claimRecord) map[string]any {
	state := rec.outcome(m.now)
	out := map[string]any{"type": concept(systemPrefix+"task-output-type", "status")}
	if s.coin(rec.id.key()) {
		out["valueCode"] = state
	} else {
		out["valueCodeableConcept"] = concept(systemPrefix+"claim-response-outcome", state)
	}
	return out
}

// cancel withdraws a claim that is not adjudicated yet. Afterwards nothing more is answered to it (BV-00525).
func (s *Sim) cancel(m *message, rec *claimRecord) (status, why string) {
	if a := rec.onFile(m.now); !rec.cancelled && a != nil && a.final() {
		return "failed", "rejected"
	}
	rec.cancelled = true
	s.box(rec.license).drop(rec.id)
	return "completed", ""
}
