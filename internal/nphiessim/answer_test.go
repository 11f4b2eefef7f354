package nphiessim

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// judgeAnswers applies the rules of answers to one of ours and to the messages in it.
func (b *bench) judgeAnswers(t *testing.T, request []byte, answer any, watch func(*rule, bool)) []Finding {
	t.Helper()
	v, err := parseJSON(request)
	if err != nil {
		return nil // answered by an OperationOutcome
	}
	asked := newMessage(request, v, b.opt.Now())
	var out []Finding
	judgeOne := func(m *message, asked *message, realTime bool) {
		m.watch = watch
		out = append(out, judgeAnswer(m, asked, realTime)...)
	}
	outer := newMessage(nil, answer, b.opt.Now())
	if outer.header.exists() {
		judgeOne(outer, asked, true)
	}
	for _, e := range outer.entries {
		nested := newMessageAt(e.get("resource"), nil, b.opt.Now())
		b.mu.Lock()
		rec := b.claims[nested.focus().get("request").identifier().key()]
		b.mu.Unlock()
		if rec != nil {
			judgeOne(nested, rec.message, false)
		}
	}
	return out
}

// answered is a request and what was answered.
type answered struct {
	bench   *bench
	request []byte
	answer  map[string]any
}

// answersToBreak are one answer of each kind.
func answersToBreak(t *testing.T) map[string]answered {
	t.Helper()
	out := map[string]answered{}
	for name, request := range map[string]map[string]any{
		"approved": namedMessage(t, "claim-request-professional", "CLM-1"), "partial": namedMessage(t, "claim-request-professional", "CLM-SIM-PARTIAL"),
		"rejected": namedMessage(t, "claim-request-professional", "CLM-SIM-REJECT"), "error": namedMessage(t, "claim-request-professional", "CLM-SIM-ERROR"),
		"queued": namedMessage(t, "claim-request-professional", "CLM-SIM-PEND"), "unfinished": namedMessage(t, "claim-request-professional", "CLM-SIM-UNFINISHED"),
		"authorization": namedMessage(t, "professional authorization", "AUTH-1"), "eligible": good(t, "eligibility-request"), "found": good(t, "eligibility by discovery"),
		"not eligible": eligibilityMessage(t, "ELG-SIM-NOT-COVERED"), "no member": eligibilityMessage(t, "ELG-SIM-ERROR"),
	} {
		b := openBench(t, Options{})
		if newMessage(nil, request, testNow).event == eventEligibility {
			b = newBench(t, Options{})
		}
		body := raw(t, request)
		_, a := b.send(t, body)
		out[name] = answered{b, body, a.v.(map[string]any)}
	}
	b := openBench(t, Options{})
	claim := namedMessage(t, "claim-request-professional", "CLM-2")
	b.ask(t, claim)
	require.NoError(t, b.Reissue(rooted(find(t, claim, "Claim"), "").identifier(), "partial"))
	body := raw(t, claim)
	_, a := b.send(t, body)
	out["reissued"] = answered{b, body, a.v.(map[string]any)}
	return out
}

func eligibilityMessage(t *testing.T, identifier string) map[string]any {
	t.Helper()
	return parsed(t, string(fresh(t, "eligibility-request", identifier))).(map[string]any)
}

const rejectedOutcome = `{"valueCodeableConcept":{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/adjudication-outcome","code":"rejected"}]}}`

// TestAnswerRules breaks one of our answers in one way each. Every rule must hold in some answer and be broken in another.
func TestAnswerRules(t *testing.T) {
	t.Parallel()
	answers := answersToBreak(t)
	idle, unbroken := map[string]bool{}, map[string]bool{}
	for _, r := range answerRules {
		idle[keyOf(r)], unbroken[keyOf(r)] = true, true
	}
	for name, a := range answers {
		require.Empty(t, a.bench.judgeAnswers(t, a.request, a.answer, func(r *rule, _ bool) { delete(idle, keyOf(*r)) }), name)
	}
	require.Empty(t, idle, "rules that no answer meets")
	for _, c := range []struct {
		code, answer string
		edit         edit
	}{
		{"BV-00247", "queued", edit{"MessageHeader.response", ``}},
		{"BV-00098", "queued", edit{"ClaimResponse.request.identifier.value", `"other"`}},
		{"BV-00020", "approved", edit{"ClaimResponse.item[1]", ``}},
		{"BV-00022", "approved", edit{"ClaimResponse.total", ``}},
		{"BV-00228", "queued", edit{"ClaimResponse.item", `[{"itemSequence":1}]`}},
		{"BV-00228", "error", edit{"ClaimResponse.item", `[{"itemSequence":1}]`}},
		{"BV-00250", "approved", edit{"ClaimResponse.ext(adjudication-outcome)", ``}},
		{"BV-00255", "unfinished", edit{"ClaimResponse.item", ``}},
		{"BV-00371", "approved", edit{"ClaimResponse.item[0].ext(adjudication-outcome)", ``}},
		{"BV-00393", "approved", edit{"ClaimResponse.ext(adjudication-outcome)", rejectedOutcome}},
		{"BV-00394", "rejected", edit{"ClaimResponse.ext(adjudication-outcome)", ``}},
		{"BV-00397", "partial", edit{"ClaimResponse.ext(adjudication-outcome)", rejectedOutcome}},
		{"BV-00395", "queued", edit{"ClaimResponse.ext(adjudication-outcome)", ``}},
		{"BV-00396", "error", edit{"ClaimResponse.ext(adjudication-outcome)", rejectedOutcome}},
		{"BV-00505", "error", edit{"ClaimResponse.error", ``}},
		{"BV-00387", "authorization", edit{"ClaimResponse.preAuthPeriod.end", ``}},
		{"BV-00853", "approved", edit{"ClaimResponse.insurance", ``}},
		{"BV-00854", "approved", edit{"ClaimResponse.insurance[0].focal", `false`}},
		{"BV-00055", "reissued", edit{"ClaimResponse.ext(adjudication-reissue)", `{"valueCodeableConcept":` + coding + `}`}},
		{"BV-00534", "approved", edit{"ClaimResponse.item[0].ext(patientInvoice)", ``}},
		{"BV-00390", "approved", edit{"ClaimResponse.item[0].adjudication[3]", ``}},
		{"BV-00497", "approved", edit{"ClaimResponse.item[0].adjudication[4]", ``}},
		{"BV-00498", "approved", edit{"ClaimResponse.item[0].adjudication[6]", ``}},
		{"BV-00391", "approved", edit{"ClaimResponse.item[0].adjudication[0].category.coding[0].code", `"CoPay"`}},
		{"BV-00392", "rejected", edit{"ClaimResponse.item[0].adjudication", `[{"category":{"coding":[{"code":"eligible"}]}}]`}},
		{"BV-00450", "approved", edit{"ClaimResponse.item[0].adjudication[1].amount.value", `230.01`}},
		{"BV-00458", "approved", edit{"ClaimResponse.item[0].adjudication[1].amount.currency", `"USD"`}},
		{"BV-00519", "approved", edit{"ClaimResponse.item[0].adjudication[6].amount", `{"value":1,"currency":"SAR"}`}},
		{"BV-00503", "not eligible", edit{"CoverageEligibilityResponse.ext(siteEligibility)", ``}},
		{"BV-00535", "eligible", edit{"CoverageEligibilityResponse.insurance[0].inforce", `false`}},
		{"BV-00535", "found", edit{"CoverageEligibilityResponse.insurance", ``}},
		{"BV-00536", "no member", edit{"CoverageEligibilityResponse.error[0].code", coding}},
	} {
		a := answers[c.answer]
		broken := parsed(t, string(raw(t, a.answer))).(map[string]any)
		apply(t, broken, c.edit)
		var codes []string
		for _, f := range a.bench.judgeAnswers(t, a.request, broken, func(r *rule, held bool) {
			if !held && strings.HasPrefix(r.id, c.code) {
				delete(unbroken, keyOf(*r))
			}
		}) {
			codes = append(codes, strings.SplitN(f.Code, ",", 2)[0])
		}
		require.Contains(t, codes, c.code, c.edit)
	}
	require.Empty(t, unbroken, "rules without a case")
}
