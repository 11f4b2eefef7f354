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
	findings := judge(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	findings = append(findings, s.seenIDs(m)...)
	rec := s.claims[m.focus().get("focus").identifier().key()]
	if len(findings) == 0 && (rec == nil || rec.license != m.sender()) {
		findings = []Finding{ruleNoTarget.at(m.focus().path() + ".focus")}
	}
	payer := Identifier{payerLicense, m.receiver()}
	event := eventStatusResponse
	if m.event == eventCancel {
		event = eventCancelResponse
	}
	if len(findings) > 0 {
		return s.taskReply(m, event, payer, "failed", errorOutputs(findings), ""), findings
	}
	if m.event == eventStatus {
		return s.taskReply(m, event, payer, "completed", []any{s.statusOutput(m, rec)}, ""), nil
	}
	why, findings := s.cancel(m, rec)
	switch {
	case len(findings) > 0:
		return s.taskReply(m, event, payer, "failed", errorOutputs(findings), ""), findings
	case why != "":
		return s.taskReply(m, event, payer, "failed", nil, why), nil
	default:
		return s.taskReply(m, event, payer, "completed", nil, ""), nil
	}
}

// taskReply answers with the request's Task. why is a status reason, "" for none.
func (s *Sim) taskReply(m *message, event string, by Identifier, status string, outputs []any, why string) answer {
	url, task := s.taskAnswer(m, by, status, outputs)
	if why != "" {
		task["statusReason"] = concept(systemPrefix+"task-status-reason", why)
	}
	return s.realTime(m, reply{
		event: event, from: by, to: m.sender(), answers: m.header.get("id").str(), focus: url,
		resources: slices.Concat([]any{entryJSON(url, task)}, entriesOf(m, "Organization")),
	})
}

// statusOutput tells a claim's state, as valueCode or, by the settings, as valueCodeableConcept: the guide has both.
func (s *Sim) statusOutput(m *message, rec *claimRecord) map[string]any {
	state := rec.outcome(m.now)
	out := map[string]any{"type": concept(systemPrefix+"task-output-type", "status")}
	if s.set.StatusConcept {
		out["valueCodeableConcept"] = concept(systemPrefix+"claim-response-outcome", state)
	} else {
		out["valueCode"] = state
	}
	return out
}

// cancel withdraws a claim or authorization that is posted and active. Afterwards nothing more is answered to it
// (BV-00525). why is the status reason of a refusal. The same message again gets the same answer.
func (s *Sim) cancel(m *message, rec *claimRecord) (why string, findings []Finding) {
	again := rec.cancelled && rec.cancelBy == hashOf(m.raw)
	b, _ := s.behaviourFor(rec.id.Value, "cancel")
	a := rec.onFile(m.now)
	switch {
	case again:
		return "", nil
	case rec.cancelled, !rec.valid():
		return "", []Finding{ruleNotActive.at(m.focus().path() + ".focus")}
	case b.cancel != "" && b.cancel != "accept":
		return b.cancel, nil
	case b.cancel == "" && rec.claimed:
		return "claimed", nil
	case b.cancel == "" && a != nil && a.final() && !rec.authorization():
		return "rejected", nil
	}
	rec.cancelled, rec.cancelBy = true, hashOf(m.raw)
	s.box(rec.license).drop(rec.id)
	return "", nil
}
