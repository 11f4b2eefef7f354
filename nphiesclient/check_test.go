package nphiesclient_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/nphiesclient"
)

func TestSampleRequestsPassBothChecks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"claim-request-professional.json", "claim-request-pharmacy.json", "eligibility-request.json", "poll-request.json",
		"status-check-request.json", "cancel-request.json",
	} {
		raw := message(t, name)
		require.Empty(t, independentCheck(raw), name)
		r, err := nphiesclient.ReadRequest(raw)
		require.NoError(t, err, name)
		require.Empty(t, check(r), name)
	}
}

// TestBrokenMessagesAreFound damages a good message in one place each: Check names the rule, and the independent check, which
// guards the builders, sees it too.
func TestBrokenMessagesAreFound(t *testing.T) {
	t.Parallel()
	req, err := example(t, "claims/14-professional-details.json").Request(buildOptions())
	require.NoError(t, err)
	for _, c := range []struct{ rule, old, new string }{
		{"BV-00127", `"resourceType":"Bundle","id":"00000000-`, `"resourceType":"Bundle","id":"0000000A-`},
		{"BV-00130", `"type":"message"`, `"type":"batch"`},
		{"BV-00225", `bundle|1.0.0`, `bundle`},
		{"RE-00100", `"focus":[{"reference":"http://alwaha-demo.example/Claim`, `"focus":[{"reference":"http://alwaha-demo.example/claim`},
		{"RE-00169", `"policyHolder":{"reference":"http://alwaha-demo.example/Organization/`, `"policyHolder":{"reference":"http://alwaha-demo.example/Organization/f`},
		{"BV-00208", `"fullUrl":"http://alwaha-demo.example/Patient/`, `"fullUrl":"http://alwaha-demo.example/Person/`},
		{"GE-00031", `"sender":{"type":"Organization","identifier":{"system":"http://nphies.sa/license/provider-license","value":"DEMO-PR-0001"`, `"sender":{"type":"Organization","identifier":{"system":"http://nphies.sa/license/provider-license","value":"OTHER"`},
		{"RE-00170", sd + `patient|1.0.0`, `http://other.example/patient`},
		{"BV-00330", `"status":"active","type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/claim-type"`, `"status":"draft","type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/claim-type"`},
		{"BV-00365", `"code":"op"`, `"code":"ip"`},
		{"IC-01453", `extension-episode`, `extension-epizode`},
		{"IC-01620", `extension-accountingPeriod`, `extension-accounting`},
		{"BV-01010", `"valueDate":"2026-08-01"`, `"valueDate":"2026-08-02"`},
		{"BV-00379", `extension-eligibility-response`, `extension-eligibility-answer`},
		{"BV-00054", `"code":"principal"`, `"code":"secondary"`},
		{"BV-00779", `"code":"chief-complaint"`, `"code":"info"`},
		{"BV-00803", `"code":"treatment-plan"`, `"code":"info"`},
		{"BV-00251", `"net":{"value":230.00`, `"net":{"value":230.01`},
		{"BV-00224", `"net":{"value":308.78`, `"net":{"value":308.77`},
		{"BV-00372", `"unitPrice":{"value":268.50`, `"unitPrice":{"value":268.51`},
		{"BV-00059", `"total":{"value":538.78`, `"total":{"value":538.79`},
		{"BV-00096", `"unitPrice":{"value":200.00,"currency":"SAR"`, `"unitPrice":{"value":200.00,"currency":"USD"`},
		{"GE-00028", `"value":120.00`, `"value":120.001`},
		{"IC-01454", `extension-patientInvoice`, `extension-invoice`},
		{"BV-00443", `"diagnosisSequence":[1]`, `"diagnosisSequence":[2]`},
		{"IC-01571", `"code":"plan"`, `"code":"group"`},
		{"GE-00013", `"network":"Demo Network 1"`, `"network":""`},
		{"GE-00013", `"network":"Demo Network 1"`, `"network":null`},
		{"IC-01574", `extension-provider-type`, `extension-kind`},
		{"RE-00189", `extension-encounter`, `extension-visit`},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			body := bytes.Replace(req.Body, []byte(c.old), []byte(c.new), 1)
			require.NotEqual(t, req.Body, body, "the text to break is not in the message")
			broken := *req
			broken.Body = body
			var rules []string
			for _, f := range check(&broken) {
				rules = append(rules, f.Rule)
				require.NotEmpty(t, f.Path)
				require.NotEmpty(t, f.Text)
			}
			require.Contains(t, rules, c.rule)
			require.NotEmpty(t, independentCheck(body))
		})
	}
}

func TestCheckOfGarbage(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "null", "[]", `{"resourceType":"Bundle"}`, `{"resourceType":"Bundle","entry":[{"resource":7}]}`} {
		require.NotEmpty(t, nphiesclient.Check(&nphiesclient.Request{Body: []byte(body)}), body)
	}
}

func TestReadRequestKeepsTheBytes(t *testing.T) {
	t.Parallel()
	raw := message(t, "claim-request-professional.json")
	r, err := nphiesclient.ReadRequest(raw)
	require.NoError(t, err)
	require.Equal(t, string(bytes.TrimSpace(raw)), string(r.Body))
	require.Equal(t, "claim-request", r.Event)
	require.Equal(t, "39fadcc1-8a44-58f3-977e-0f620533af70", r.HeaderID)
	require.Equal(t, nphiesclient.Identifier{System: "http://alwaha-demo.example/claim", Value: "CLM-DEMO-000201"}, r.Identifier)
	require.Equal(t, "professional op DEMO-PR-0001 DEMO-INS-0001 Demo Cooperative Insurance 2 333.50",
		fmt.Sprint(r.ClaimType, " ", r.ClaimSubType, " ", r.License, " ", r.Payer, " ", r.PayerName, " ", r.Items, " ", r.Total))

	in, err := nphiesclient.ParseInput(raw)
	require.NoError(t, err)
	_, err = in.Request(nphiesclient.BuildOptions{License: "ANOTHER"})
	requireFinding(t, err, "GE-00020", "Bundle.entry[0].resource.sender")
}

func TestReadRequestRefuses(t *testing.T) {
	t.Parallel()
	good := message(t, "claim-request-professional.json")
	for _, c := range []struct{ rule, path, old, new string }{
		{"BV-00126", "Bundle.entry[0]", `"resourceType": "MessageHeader"`, `"resourceType": "Basic"`},
		{"BV-00127", "Bundle.id", `"id": "8b18233b-4981-56b8-a69e-5f6824ac44b0",`, ``},
		{"IB-00250", "Bundle.entry[0].resource.eventCoding", `"code": "claim-request"`, `"code": ""`},
		{"BV-00167", "Bundle.entry[0].resource.focus", `"code": "claim-request"`, `"code": "eligibility-request"`},
		{"RE-00100", "Bundle.entry[0].resource.focus", `"focus": [`, `"focus": [{"reference": "x/Claim/nowhere"},`},
		{"BV-00221", "Bundle.entry[0].resource.focus", `"focus": [`, `"focus": [{"reference": "x/Claim/nowhere"},`},
		{"BV-00457", "Bundle.entry[1].resource.identifier", `"value": "CLM-DEMO-000201"`, `"value": ""`},
		{"BV-00165", "Bundle.entry[1].resource.use", `"use": "claim"`, `"use": "preauthorization"`},
		{"BV-00248", "Bundle.entry[0].resource.response", `"focus": [`, `"response": {"identifier": "x", "code": "ok"}, "focus": [`},
	} {
		bad := bytes.Replace(good, []byte(c.old), []byte(c.new), 1)
		require.NotEqual(t, good, bad, c.rule)
		_, err := nphiesclient.ReadRequest(bad)
		requireFinding(t, err, c.rule, c.path)
	}
	for _, name := range []string{"claim-response-approved.json", "poll-response-multi.json", "operation-outcome-error.json"} {
		_, err := nphiesclient.ReadRequest(message(t, name))
		require.Error(t, err, name)
	}
	big := bytes.Replace(good, []byte(`"Headache"`), []byte(`"`+string(bytes.Repeat([]byte("x"), nphiesclient.MaxMessageBytes))+`"`), 1)
	_, err := nphiesclient.ReadRequest(big)
	requireFinding(t, err, "BV-00076", "Bundle")
	for _, c := range [][2]string{
		{`"Headache"`, `"Headache \ud83d"`},
		{`"Headache"`, `"Headache \ude00\ud83d"`},
		{`"resourceType": "Claim",`, `"resourceType": "Claim", "resourceT\u0079pe": "Claim",`},
		{`{`, "\xef\xbb\xbf{"},
		{`{`, `{"entry": [],`},
	} {
		bad := bytes.Replace(good, []byte(c[0]), []byte(c[1]), 1)
		require.NotEqual(t, good, bad, c[0])
		_, err := nphiesclient.ReadRequest(bad)
		requireFinding(t, err, "GE-00013", "Bundle")
		require.Equal(t, "GE-00013", nphiesclient.Check(&nphiesclient.Request{Body: bad})[0].Rule)
	}
	_, err = nphiesclient.ReadRequest(bytes.Replace(good, []byte(`"Headache"`), []byte(`"Headache \ud83d\ude00 \\ud83d"`), 1))
	require.NoError(t, err)
	_, err = nphiesclient.ReadRequest([]byte("\xff\xfe{}"))
	requireFinding(t, err, "GE-00013", "Bundle")
}
