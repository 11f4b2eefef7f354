package nphiesclient_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

func parse(t *testing.T, raw []byte) *nphiesclient.Answer {
	t.Helper()
	a, err := nphiesclient.Parse(raw)
	require.NoError(t, err)
	return a
}

var claimID = nphiesclient.Identifier{System: "http://alwaha-demo.example/claim", Value: "CLM-DEMO-000201"}

func totals(m map[string]nphiesclient.Amount) string {
	var parts []string
	for _, k := range []string{"submitted", "eligible", "copay", "patientShare", "rejected", "benefit", "tax"} {
		if v, ok := m[k]; ok {
			parts = append(parts, k+"="+v.String())
		}
	}
	return strings.Join(parts, " ")
}

func errorCodes(es []nphiesclient.CodedError) string {
	var parts []string
	for _, e := range es {
		parts = append(parts, fmt.Sprintf("%s*%d@%s", e.Code, e.Count, e.Expression))
	}
	return strings.Join(parts, " ")
}

func TestParseClaimResponses(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		state, outcome, adjudication, totals, paid, reasons, errors string
		nphies, more                                                bool
	}{
		"approved": {
			state: "approved", outcome: "complete", adjudication: "approved", paid: "300.15",
			totals: "submitted=333.50 eligible=290.00 copay=29.00 patientShare=29.00 benefit=261.00 tax=39.15",
		},
		"partial": {
			state: "partial", outcome: "complete", adjudication: "partial", paid: "253.58", reasons: "CV-3-2",
			totals: "submitted=333.50 eligible=245.00 copay=24.50 patientShare=24.50 rejected=45.00 benefit=220.50 tax=33.08",
		},
		"rejected": {
			state: "rejected", outcome: "complete", adjudication: "rejected", paid: "0.00", reasons: "CV-1-9 MN-1-1",
			totals: "submitted=333.50 eligible=0.00 copay=0.00 patientShare=0.00 rejected=290.00 benefit=0.00 tax=0.00",
		},
		"queued": {state: "pending", outcome: "queued", adjudication: "pended", nphies: true},
		"error-validation": {
			state: "error", outcome: "error", nphies: true, more: true,
			errors: "IC-01453*1@Bundle.entry[1].resource.extension BV-00251*2@Bundle.entry[1].resource.item[1].net " +
				"BV-00779*1@bundle.entry[1].resource.supportingInfo",
		},
	} {
		a := parse(t, message(t, "claim-response-"+name+".json"))
		require.Equal(t, "claim-response", a.Event, name)
		require.Equal(t, "39fadcc1-8a44-58f3-977e-0f620533af70", a.RequestHeaderID, name)
		require.Equal(t, "ok", a.ResponseCode, name)
		require.Equal(t, "DEMO-PR-0001", a.Receiver.Value, name)
		require.Equal(t, want.nphies, a.NPHIESGenerated, name)
		require.Equal(t, want.more, a.MoreQueued, name)
		c := a.Claim
		require.NotNil(t, c, name)
		require.Equal(t, claimID, c.Request, name)
		require.Equal(t, want.state, c.State(), name)
		require.False(t, c.Undecided(), name)
		require.Equal(t, want.outcome, c.Outcome, name)
		require.Equal(t, want.adjudication, c.Adjudication, name)
		require.Equal(t, want.totals, totals(c.Totals), name)
		require.Equal(t, want.paid, paidOf(c), name)
		require.Equal(t, want.errors, errorCodes(a.Errors), name)
		var reasons []string
		for _, r := range c.Reasons {
			reasons = append(reasons, r.Code)
		}
		require.Equal(t, want.reasons, strings.Join(reasons, " "), name)
	}
	c := parse(t, message(t, "claim-response-partial.json")).Claim
	require.Equal(t, nphiesclient.Identifier{System: "http://demo-payer.example/claimresponse", Value: "CLR-DEMO-9102"}, c.Response)
	require.Len(t, c.Items, 2)
	require.Equal(t, 2, c.Items[1].Sequence)
	require.Equal(t, "partial", c.Items[1].Outcome)
	require.Equal(t, "6.08", c.Items[1].Amounts["tax"].String())
	require.Equal(t, "1", c.Items[1].Values["approved-quantity"].String())
	require.Equal(t, []int{1}, c.Items[1].Notes)
	require.Equal(t, "Second unit of the laboratory test is outside the allowed frequency", c.Notes[0].Text)
	require.True(t, time.Date(2026, 2, 12, 14, 2, 41, 0, nphiesclient.Riyadh).Equal(c.Created))
}

func TestParseEligibility(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		eligible            bool
		site, outcome, errs string
		nphies              bool
	}{
		"eligible":      {eligible: true, site: "eligible", outcome: "complete"},
		"not-eligible":  {site: "not-active", outcome: "complete"},
		"error":         {outcome: "error", errs: "1658*1@"},
		"payer-offline": {outcome: "error", errs: "GE-00012*1@", nphies: true},
	} {
		a := parse(t, message(t, "eligibility-response-"+name+".json"))
		e := a.Eligibility
		require.NotNil(t, e, name)
		require.Equal(t, "ELG-DEMO-000101", e.Request.Value, name)
		require.Equal(t, want.eligible, e.Eligible, name)
		require.Equal(t, want.site, e.SiteEligibility, name)
		require.Equal(t, want.outcome, e.Outcome, name)
		require.Equal(t, want.errs, errorCodes(a.Errors), name)
		require.Equal(t, want.nphies, a.NPHIESGenerated, name)
	}
	// An answer of 2021 has the flag alone.
	old := change(t, "eligibility-response-eligible.json", "extension-siteEligibility", "extension-other", -1)
	require.True(t, parse(t, old).Eligibility.Eligible)
	require.False(t, parse(t, bytes.ReplaceAll(old, []byte(`"inforce": true`), []byte(`"inforce": false`))).Eligibility.Eligible)
	// Of the coverages one must be in force and eligible itself, whatever the whole says.
	for _, barred := range [][]byte{
		change(t, "eligibility-response-eligible.json", `"inforce": true`, `"inforce": false`, -1),
		lastChange(t, "eligibility-response-eligible.json", `"code": "eligible"`, `"code": "limit-exhausted"`),
	} {
		e := parse(t, barred).Eligibility
		require.Equal(t, "eligible", e.SiteEligibility)
		require.False(t, e.Eligible)
		require.Equal(t, "no coverage in force", e.Reason())
	}
	require.Equal(t, "not-active", parse(t, message(t, "eligibility-response-not-eligible.json")).Eligibility.Reason())
	require.Empty(t, parse(t, message(t, "eligibility-response-eligible.json")).Eligibility.Reason())
	require.Empty(t, parse(t, message(t, "eligibility-response-error.json")).Eligibility.Reason())
	// A coverage in force does not outweigh a refusal.
	refused := change(t, "eligibility-response-eligible.json", `"code": "eligible"`, `"code": "out-network"`, 1)
	require.False(t, parse(t, refused).Eligibility.Eligible)
}

// TestParseBenefits reads what the coverages offer: amounts to the digit, numbers, texts, and what cannot be read as such.
func TestParseBenefits(t *testing.T) {
	t.Parallel()
	e := parse(t, message(t, "eligibility-response-eligible.json")).Eligibility
	require.Equal(t, []nphiesclient.Benefit{
		{Coverage: 1, Category: "1", Name: "Medical Care", Network: "in", Unit: "individual", Term: "annual", Limits: []nphiesclient.BenefitLimit{
			{Type: "benefit", Allowed: "250000.00 SAR", Used: "1840.50 SAR"},
			{Type: "copay-percent", Allowed: "10"},
			{Type: "copay-maximum", Allowed: "100.00 SAR"},
		}},
		{Coverage: 1, Category: "14", Name: "Dental Care", Network: "in", Unit: "individual", Term: "annual", Limits: []nphiesclient.BenefitLimit{
			{Type: "benefit", Allowed: "3000.00 SAR", Used: "0.00 SAR"},
		}},
	}, e.Benefits)
	odd := change(t, "eligibility-response-eligible.json", `"allowedUnsignedInt": 10`, `"allowedString": "as agreed"`, 1)
	odd = bytes.Replace(odd, []byte(`"value": 250000,`), []byte(`"value": "many",`), 1)
	odd = regexp.MustCompile(`("value": 100,\s+"currency": )"SAR"`).ReplaceAll(odd, []byte(`$1"USD"`))
	odd = bytes.Replace(odd, []byte(`"excluded": false`), []byte(`"excluded": true`), 1)
	b := parse(t, odd).Eligibility.Benefits[0]
	require.True(t, b.Excluded)
	require.Equal(t, "unreadable", b.Limits[0].Allowed)
	require.Equal(t, "as agreed", b.Limits[1].Allowed)
	var text strings.Builder
	in, err := nphiesclient.Inspect(odd)
	require.NoError(t, err)
	require.NoError(t, in.WriteText(&text))
	require.Contains(t, text.String(), "Medical Care (category 1), excluded, in network, individual, annual, "+
		"benefit unreadable (used 1840.50 SAR), copay-percent as agreed, copay-maximum 100.00 USD")
}

// lastChange replaces the last occurrence of text in a sample message.
func lastChange(t *testing.T, name, old, replacement string) []byte {
	t.Helper()
	raw := message(t, name)
	at := bytes.LastIndex(raw, []byte(old))
	require.Positive(t, at)
	return slices.Concat(raw[:at], []byte(replacement), raw[at+len(old):])
}

// change replaces text in a sample message, n times at most, and insists that it was there.
func change(t *testing.T, name, old, replacement string, n int) []byte {
	t.Helper()
	raw := message(t, name)
	out := bytes.Replace(raw, []byte(old), []byte(replacement), n)
	require.NotEqual(t, string(raw), string(out), "%s has no %s", name, old)
	return out
}

func TestParsePolls(t *testing.T) {
	t.Parallel()
	multi := parse(t, message(t, "poll-response-multi.json"))
	require.Equal(t, "poll-response", multi.Event)
	require.False(t, multi.MoreQueued)
	require.Equal(t, "completed", multi.Poll.Status)
	require.Len(t, multi.Poll.Nested, 3)
	for i, n := range multi.Poll.Nested {
		require.NoError(t, n.Err)
		require.Equal(t, i, n.Position)
		require.Equal(t, n.Answer.BundleID, n.ID)
		require.True(t, json.Valid(n.Raw))
	}
	require.True(t, bytes.Contains(message(t, "poll-response-multi.json"), multi.Poll.Nested[0].Raw), "the exact bytes")
	require.Equal(t, "2026-02-13T08:15:02+03:00", multi.Poll.Nested[0].ReceivedAt.Format(time.RFC3339))
	require.Equal(t, []nphiesclient.Identifier{claimID}, multi.Poll.Nested[0].Answer.Communication.About)
	require.Equal(t, []string{"missing-attach"}, multi.Poll.Nested[0].Answer.Communication.Reasons)
	reissued := multi.Poll.Nested[1].Answer.Claim
	require.Equal(t, "correction", reissued.Reissue)
	require.Equal(t, "approved", reissued.State())
	require.Equal(t, "300.15", paidOf(reissued))
	payment := multi.Poll.Nested[2].Answer.Payment
	require.Equal(t, "297.15", payment.Amount.String())
	require.Equal(t, claimID, payment.Details[0].Request)
	d := payment.Details[0]
	require.True(t, d.Amount.Equal(d.Payment.Add(*d.EarlyFee).Add(*d.NPHIESFee)))

	nested := parse(t, message(t, "poll-response-nested.json"))
	require.True(t, nested.MoreQueued)
	require.Equal(t, "partial", nested.Poll.Nested[0].Answer.Claim.State())

	empty := parse(t, message(t, "poll-response-empty.json"))
	require.True(t, empty.Poll.IsEmptyQueue())
	require.True(t, empty.NPHIESGenerated)

	failed := parse(t, message(t, "poll-response-failed.json"))
	require.Equal(t, "fatal-error", failed.ResponseCode)
	require.Equal(t, "failed", failed.Poll.Status)
	require.False(t, failed.Poll.IsEmptyQueue())
	require.Equal(t, "RE-00170*1@Bundle.entry[1].resource IB-00293*1@Bundle.entry[1].resource.input[0]", errorCodes(failed.Errors))
}

func TestOneBadMessageDoesNotFailThePoll(t *testing.T) {
	t.Parallel()
	// The second nested Bundle loses its header, so it is no message.
	bad := change(t, "poll-response-multi.json", `"resourceType": "MessageHeader",
              "id": "ffd23644`, `"resourceType": "Basic",
              "id": "ffd23644`, 1)
	p := parse(t, bad).Poll
	require.Len(t, p.Nested, 3)
	require.NoError(t, p.Nested[0].Err)
	require.Error(t, p.Nested[1].Err)
	require.NotNil(t, p.Nested[1].Raw)
	require.NoError(t, p.Nested[2].Err)

	// Named, but not there.
	gone := change(t, "poll-response-multi.json", "http://nphies.sa/Bundle/59efe179-36dc-5a6d-8516-7a01c0005a97\"\n", "http://nphies.sa/Bundle/nowhere\"\n", 1)
	p = parse(t, gone).Poll
	require.Len(t, p.Nested, 4, "the Bundle nobody names is kept as well")
	require.Error(t, p.Nested[1].Err)
	require.Nil(t, p.Nested[1].Raw)
	require.NotNil(t, p.Nested[3].Answer.Claim)

	// An event that does not exist yet.
	unknown := change(t, "poll-response-nested.json", `"code": "claim-response"`, `"code": "referral-response"`, 1)
	p = parse(t, unknown).Poll
	require.NoError(t, p.Nested[0].Err)
	require.Equal(t, "referral-response", p.Nested[0].Answer.Event)
}

func TestParseTasks(t *testing.T) {
	t.Parallel()
	status := parse(t, message(t, "status-check-response.json")).Task
	require.Equal(t, "status completed queued", status.Code+" "+status.Status+" "+status.Result)
	require.Equal(t, claimID, status.Focus)
	concept := change(t, "status-check-response.json", `"valueCode": "queued"`, `"valueCodeableConcept": {"coding": [{"code": "Complete"}]}`, 1)
	require.Equal(t, "complete", parse(t, concept).Task.Result)

	refused := parse(t, message(t, "cancel-response-refused.json")).Task
	require.Equal(t, "cancel failed in-process", refused.Code+" "+refused.Status+" "+refused.StatusReason)
}

func TestParseOperationOutcome(t *testing.T) {
	t.Parallel()
	a := parse(t, message(t, "operation-outcome-error.json"))
	require.True(t, a.OperationOutcome)
	require.Equal(t, "GE-00013*1@ IB-00250*1@Bundle.entry[0].resource.eventCoding", errorCodes(a.Errors))
	a = parse(t, []byte(`{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception","diagnostics":"boom"},
		{"severity":"information","code":"informational"},{"severity":"warning","code":"business-rule","details":{"coding":[{"code":"BV-00001"}]}}]}`))
	require.Equal(t, []nphiesclient.CodedError{{Code: "exception", Display: "boom", Count: 1}}, a.Errors)
}

// TestTolerance changes good answers in the ways seen in the wild; what they say must stay the same.
func TestTolerance(t *testing.T) {
	t.Parallel()
	want := parse(t, message(t, "claim-response-partial.json")).Claim
	for name, raw := range map[string][]byte{
		"coPay":               change(t, "claim-response-partial.json", `"copay"`, `"coPay"`, -1),
		"upper case category": change(t, "claim-response-partial.json", `"benefit"`, `"Benefit"`, -1),
		"amounts as text":     change(t, "claim-response-partial.json", `"value": 103.5`, `"value": "103.50"`, -1),
		"many decimals":       change(t, "claim-response-partial.json", `"value": 220.5`, `"value": 220.500000`, -1),
		"relative reference": change(t, "claim-response-partial.json",
			`"reference": "http://demo-payer.example/ClaimResponse/`, `"reference": "ClaimResponse/`, -1),
		"reference in another case": change(t, "claim-response-partial.json",
			`"reference": "http://demo-payer.example/ClaimResponse/`, `"reference": "http://demo-payer.example/Claimresponse/`, -1),
		"relative and in another case": change(t, "claim-response-partial.json",
			`"reference": "http://demo-payer.example/ClaimResponse/`, `"reference": "claimresponse/`, -1),
		"no focus":              change(t, "claim-response-partial.json", `"focus"`, `"focal"`, 1),
		"no response part":      change(t, "claim-response-partial.json", `"response": {`, `"answer": {`, 1),
		"dangling patient":      change(t, "claim-response-partial.json", `"fullUrl": "http://alwaha-demo.example/Patient/`, `"fullUrl": "http://elsewhere.example/Person/x`, 1),
		"extension in capitals": change(t, "claim-response-partial.json", `http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/extension-adj`, `http://NPHIES.sa/fhir/ksa/NPHIES-fs/StructureDefinition/extension-adj`, -1),
		"upper case outcome":    change(t, "claim-response-partial.json", `"outcome": "complete"`, `"outcome": "COMPLETE"`, 1),
		"a member given twice":  change(t, "claim-response-partial.json", `"request": {`, `"request": [{"x": 1}], "request": {`, 1),
		"byte order mark":       append([]byte("\xef\xbb\xbf"), message(t, "claim-response-partial.json")...),
		"unknown extension":     change(t, "claim-response-partial.json", `"outcome": "complete"`, `"outcome": "complete", "extra": {"deep": [1, null, {}]}`, 1),
	} {
		c := parse(t, raw).Claim
		require.NotNil(t, c, name)
		require.Equal(t, want.State(), c.State(), name)
		require.Equal(t, want.Fingerprint(), c.Fingerprint(), name)
		require.Equal(t, paidOf(want), paidOf(c), name)
	}
	// An error expression on the error itself instead of on the coding.
	moved := []byte(`{"resourceType":"Bundle","type":"message","entry":[{"resource":{"resourceType":"MessageHeader","id":"h",
		"eventCoding":{"code":"claim-response"},"response":{"identifier":"r","code":"ok"}}},{"resource":{"resourceType":"ClaimResponse",
		"outcome":"error","error":[{"extension":[{"url":"http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/extension-error-expression",
		"valueString":"Bundle.entry[1]"}],"itemSequence":2,"code":{"coding":[{"code":"BV-00001"}]}}]}}]}`)
	require.Equal(t, []nphiesclient.CodedError{{Code: "BV-00001", Expression: "Bundle.entry[1]", Item: 2, Count: 1}}, parse(t, moved).Errors)
}

// TestFocusDecides: with two answers in a Bundle the header's focus names the one that counts, however it is spelled.
func TestFocusDecides(t *testing.T) {
	t.Parallel()
	for _, focus := range []string{
		"http://p.example/ClaimResponse/b", "HTTP://P.example/Claimresponse/B", "ClaimResponse/b", "claimresponse/B",
		"http://other.example/fhir/ClaimResponse/b",
	} {
		raw := fmt.Sprintf(`{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"MessageHeader","focus":[{"reference":%q}],
			"response":{"code":"ok"},"eventCoding":{"code":"claim-response"}}},
			{"fullUrl":"http://p.example/ClaimResponse/a","resource":{"resourceType":"ClaimResponse","id":"a","outcome":"queued"}},
			{"fullUrl":"http://p.example/ClaimResponse/b","resource":{"resourceType":"ClaimResponse","id":"b","outcome":"error"}}]}`, focus)
		require.Equal(t, "error", parse(t, []byte(raw)).Claim.Outcome, focus)
		raw = strings.Replace(raw, `"id":"b",`, "", 1) // then the fullUrl alone tells
		require.Equal(t, "error", parse(t, []byte(raw)).Claim.Outcome, focus)
	}
}

// TestBatch: the messages inside a batch are read and explained.
func TestBatch(t *testing.T) {
	t.Parallel()
	raw := fmt.Sprintf(`{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"MessageHeader","eventCoding":{"code":"batch-response"},
		"focus":[{"reference":"x/Bundle/a"},{"reference":"x/Bundle/b"}],"response":{"code":"ok"}}},{"fullUrl":"x/Bundle/a","resource":%s},
		{"fullUrl":"x/Bundle/b","resource":{"resourceType":"Bundle"}}]}`, message(t, "claim-response-error-validation.json"))
	a := parse(t, []byte(raw))
	require.Len(t, a.Batch, 2)
	require.Equal(t, "error", a.Batch[0].Answer.Claim.State())
	require.Error(t, a.Batch[1].Err)
	in, err := nphiesclient.Inspect([]byte(raw))
	require.NoError(t, err)
	require.Equal(t, "CLM-DEMO-000201", in.Nested[0].Request.Value)
	require.NotEmpty(t, in.Nested[1].Unreadable)
}

// TestIdentifiersByReference: parties and requests named by a reference to a resource of the Bundle.
func TestIdentifiersByReference(t *testing.T) {
	t.Parallel()
	a := parse(t, []byte(`{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"MessageHeader","sender":{"reference":"Organization/p"},
		"eventCoding":{"code":"claim-response"},"response":{"code":"ok"}}},
		{"resource":{"resourceType":"Organization","id":"p","identifier":[{"system":"http://nphies.sa/license/nphies","value":"NPHIES"}]}},
		{"resource":{"resourceType":"Claim","id":"c","identifier":[{"system":"s","value":"C-1"}]}},
		{"resource":{"resourceType":"ClaimResponse","id":"r","request":{"reference":"Claim/c"},"outcome":"queued"}}]}`))
	require.True(t, a.NPHIESGenerated)
	require.Equal(t, nphiesclient.Identifier{System: "s", Value: "C-1"}, a.Claim.Request)
}

func TestPaymentIdentifierAsList(t *testing.T) {
	t.Parallel()
	raw := []byte(`{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"MessageHeader","eventCoding":{"code":"payment-reconciliation"}}},
		{"resource":{"resourceType":"PaymentReconciliation","paymentIdentifier":[{"system":"s","value":"EFT-1"}],"paymentAmount":{"value":"10.5"}}}]}`)
	p := parse(t, raw).Payment
	require.Equal(t, "EFT-1", p.Payment.Value)
	require.Equal(t, "10.50", p.Amount.String())
}

func TestNotFHIR(t *testing.T) {
	t.Parallel()
	multi := message(t, "poll-response-multi.json")
	for name, raw := range map[string][]byte{
		"empty": nil, "blank": []byte(" \n"), "html": []byte("<html>503</html>"), "text": []byte("Service Unavailable"),
		"servlet": []byte(`{"servlet":"x","message":"no","status":"503"}`), "array": []byte(`[]`), "null": []byte(`null`),
		"cut": multi[:len(multi)/2], "binary": []byte("{\"resourceType\":\"Bundle\xff\"}"),
		"other resource": []byte(`{"resourceType":"Patient"}`), "no header": []byte(`{"resourceType":"Bundle"}`),
	} {
		_, err := nphiesclient.Parse(raw)
		require.Equal(t, fault.Network, fault.KindOf(err), name)
		require.NotEmpty(t, fault.Of(err).Safe, name)
		_, err = nphiesclient.Inspect(raw)
		require.Error(t, err, name)
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	item := func(outcomes ...string) []nphiesclient.ItemAnswer {
		var out []nphiesclient.ItemAnswer
		for _, o := range outcomes {
			out = append(out, nphiesclient.ItemAnswer{Outcome: o})
		}
		return out
	}
	for _, c := range []struct {
		a         nphiesclient.ClaimAnswer
		want      string
		undecided bool
	}{
		{nphiesclient.ClaimAnswer{Outcome: "queued"}, "pending", false},
		{nphiesclient.ClaimAnswer{Outcome: "queued", Adjudication: "approved"}, "pending", false},
		{nphiesclient.ClaimAnswer{Outcome: "queued", InformationWanted: true}, "pended", false},
		{nphiesclient.ClaimAnswer{Outcome: "partial", Adjudication: "approved"}, "pending", false},
		{nphiesclient.ClaimAnswer{Outcome: "complete", Adjudication: "pended"}, "pending", false},
		{nphiesclient.ClaimAnswer{Outcome: "complete", Adjudication: "pended", InformationWanted: true}, "pended", false},
		{nphiesclient.ClaimAnswer{Outcome: "error", Adjudication: "approved"}, "error", false},
		{nphiesclient.ClaimAnswer{Outcome: "complete", Adjudication: "approved", InformationWanted: true}, "approved", false},
		{nphiesclient.ClaimAnswer{Outcome: "complete", Items: item("approved", "approved")}, "approved", false},
		{nphiesclient.ClaimAnswer{Outcome: "complete", Items: item("approved", "rejected")}, "partial", false},
		{nphiesclient.ClaimAnswer{Outcome: "complete", Items: item("rejected", "rejected")}, "rejected", false},
		{nphiesclient.ClaimAnswer{Outcome: "complete", Items: item("approved", "")}, "pending", true},
		{nphiesclient.ClaimAnswer{Outcome: "complete"}, "pending", true},
		{nphiesclient.ClaimAnswer{Outcome: "complete", Adjudication: "not-required"}, "pending", true},
		{nphiesclient.ClaimAnswer{}, "pending", true},
		{nphiesclient.ClaimAnswer{Outcome: "later"}, "pending", true},
	} {
		require.Equal(t, c.want, c.a.State(), "%+v", c.a)
		require.Equal(t, c.undecided, c.a.Undecided(), "%+v", c.a)
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	name := "claim-response-partial.json"
	same := parse(t, message(t, name)).Claim.Fingerprint()
	require.Len(t, same, 64)
	again := change(t, name, `"id": "7b6778c8-c14b-52ff-b5d6-b4aec76fd784"`, `"id": "other"`, 1)
	again = bytes.ReplaceAll(again, []byte("2026-02-12T14:02:41"), []byte("2026-02-13T00:00:00"))
	again = bytes.ReplaceAll(again, []byte(`"value": 333.5`), []byte(`"value": 333.50`))
	require.Equal(t, same, parse(t, again).Claim.Fingerprint(), "ids and times of the envelope do not count")
	for _, c := range [][2]string{
		{`"CLR-DEMO-9102"`, `"CLR-DEMO-9199"`},
		{`"outcome": "complete"`, `"outcome": "partial"`},
		{`"disposition": "One item reduced"`, `"disposition": "Two items reduced"`},
		{`"value": 33.08`, `"value": 33.09`},
		{`"value": 6.08`, `"value": 6.07`},
		{`"code": "CV-3-2"`, `"code": "CV-3-3"`},
		{`"code": "partial"`, `"code": "approved"`},
	} {
		require.NotEqual(t, same, parse(t, change(t, name, c[0], c[1], 1)).Claim.Fingerprint(), c[0])
	}
	swapped := parse(t, message(t, name)).Claim
	swapped.Items[0], swapped.Items[1] = swapped.Items[1], swapped.Items[0]
	require.NotEqual(t, same, swapped.Fingerprint(), "Parse sorts items, so order in the struct is meaningful")
}

func TestPaidWithoutTotals(t *testing.T) {
	t.Parallel()
	c := parse(t, change(t, "claim-response-partial.json", `"total": [`, `"sums": [`, 1)).Claim
	require.Empty(t, c.Totals)
	require.Equal(t, "253.58", paidOf(c))
	submitted, known := c.Sum("submitted")
	require.True(t, known)
	require.Equal(t, "333.50", submitted.String())
}

// TestInspectTellsMore: more messages that wait, the claim a question is about, quantities, the payer's words; and nothing in them
// moves a terminal's cursor or turns its text around.
func TestInspectTellsMore(t *testing.T) {
	t.Parallel()
	text := func(raw []byte) string {
		in, err := nphiesclient.Inspect(raw)
		require.NoError(t, err)
		var b bytes.Buffer
		require.NoError(t, in.WriteText(&b))
		return b.String()
	}
	require.Contains(t, text(message(t, "poll-response-nested.json")), "more messages     wait: poll again\n")
	require.NotContains(t, text(message(t, "poll-response-empty.json")), "more messages")
	for _, name := range []string{"status-check-request.json", "cancel-request.json"} {
		require.Contains(t, text(message(t, name)), "asks about        http://alwaha-demo.example/claim|CLM-DEMO-000201\n", name)
	}
	partial := text(message(t, "claim-response-partial.json"))
	require.Contains(t, partial, "approved-quantity 1")
	require.Regexp(t, `(?m)^note 1 +\S+`, partial)
	require.Regexp(t, `item 2 .*partial.* [A-Z]{2}-\d[-\d]* \(.+\)`, partial)
	hostile := text(change(t, "claim-response-queued.json", `"disposition": "`, `"disposition": "a\u001b[2J\u202eb\u2066c\nd\u0085e\u200f `, 1))
	require.Contains(t, hostile, "disposition       a�[2Jbc d�e ")
}

func TestInspectSamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/messages/*.json")
	require.NoError(t, err)
	require.Len(t, files, 32)
	var all bytes.Buffer
	for _, f := range files {
		in, err := nphiesclient.Inspect(message(t, filepath.Base(f)))
		require.NoError(t, err, f)
		b, err := json.MarshalIndent(in, "", " ")
		require.NoError(t, err)
		fmt.Fprintf(&all, "== %s\n%s\n", filepath.Base(f), b)
		require.NoError(t, in.WriteText(&all))
		for _, secret := range []string{"Salma", "Nasser", "1000000000", "2000000000", "MEM-DEMO"} {
			require.NotContains(t, all.String(), secret)
		}
	}
	file := "testdata/golden/inspect.txt"
	if *update {
		require.NoError(t, os.WriteFile(file, all.Bytes(), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), all.String())
}

// TestCodesHoldNoSentences: what a sender writes in place of a code reaches logs, traces and cards, so nothing but a code may.
func TestCodesHoldNoSentences(t *testing.T) {
	for code, want := range map[string]string{
		"GE-00012": "GE-00012", " BV-00163 ": "BV-00163", "1680": "1680", "structure": "structure", "not-found": "not-found", "MSG/77.a": "MSG/77.a",
		"GE-99999 Patient Salma Bravo iqama 2000000000 not known": "GE-99999", "Patient Salma Bravo": "other", "2000000000": "other", "X2000000000Y": "other",
		"Salma\u00a0Bravo": "other", "abcdefghijklmnopqrstuvwxyzabcdefghijklmn": "other", "\u0633\u0644\u0645\u0649": "other", "<b>": "other",
	} {
		a := parse(t, []byte(`{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"`+code+`"}]}`))
		require.Len(t, a.Errors, 1, code)
		require.Equal(t, want, a.Errors[0].Code, code)
		a = parse(t, []byte(`{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","details":{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/adjudication-error","code":"`+code+`"}]}}]}`))
		require.Equal(t, want, a.Errors[0].Code, code)
		require.NotContains(t, nphiesclient.Classify(a.Errors).Fault("x").Error(), "Salma")
	}
}
