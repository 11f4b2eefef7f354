package nphiessim

import (
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
)

func TestBehaviourFor(t *testing.T) {
	t.Parallel()
	for identifier, want := range map[string]struct{ answer, fault string }{
		"CLM-1":                          {"APPROVE", ""},
		"SIM-PARTIAL":                    {"PARTIAL", ""},
		"clm-sim-pend-partial-7":         {"PEND-PARTIAL", ""},
		"SIM-PEND-7":                     {"PEND", ""},
		"SIM-PENDING":                    {"APPROVE", ""},
		"SIM-NOT-COVERED":                {"APPROVE", ""},
		"SIM-CUT-AFTER-SIM-REJECT-0001":  {"REJECT", "CUT-AFTER"},
		"X-SIM-HTTP503":                  {"APPROVE", "HTTP503"},
		"SIM-SIM-REJECT":                 {"REJECT", ""},
		"SIM-REJECT-SIM-PARTIAL":         {"REJECT", ""},
		"SIM-CUT-BEFORE-SIM-CUT-AFTER-1": {"APPROVE", "CUT-BEFORE"},
		"SIM-":                           {"APPROVE", ""},
	} {
		answer, fault := New(Options{}).behaviourFor(identifier, "claim")
		require.Equal(t, want.answer, answer.Name, identifier)
		if want.fault == "" {
			require.Nil(t, fault, identifier)
			continue
		}
		require.NotNil(t, fault, identifier)
		require.Equal(t, want.fault, fault.Name, identifier)
	}
}

// checkClaimResponse is a second reading of sections 7 and 7.1, for any answer to a claim.
func checkClaimResponse(t *testing.T, claim, bundle node) {
	t.Helper()
	res := mainOf(bundle)
	require.Equal(t, "ClaimResponse", res.get("resourceType").str())
	require.Equal(t, claim.identifier(), res.get("request").identifier())
	require.Equal(t, bundle.get("entry").at(1).get("fullUrl").str(), headerOf(bundle).get("focus").at(0).get("reference").str())
	outcome := res.ext("adjudication-outcome").get("valueCodeableConcept").code("")
	switch res.get("outcome").str() {
	case "partial":
		require.NotEmpty(t, res.get("item").list())
		require.Less(t, len(res.get("item").list()), len(claim.get("item").list()))
		require.False(t, res.get("error").exists())
	case "queued":
		require.Equal(t, "pended", outcome)
		require.False(t, res.get("item").exists())
		require.False(t, res.get("error").exists())
	case "error":
		require.Empty(t, outcome)
		require.False(t, res.get("item").exists())
		require.False(t, res.get("total").exists())
		require.NotEmpty(t, res.get("error").list())
	case "complete":
		checkItems(t, claim, res, outcome)
		require.False(t, res.get("error").exists())
		require.Len(t, res.get("insurance").list(), 1)
		require.True(t, res.get("insurance").at(0).get("focal").isTrue())
	default:
		require.Fail(t, "outcome", res.get("outcome").str())
	}
}

func checkItems(t *testing.T, claim, res node, outcome string) {
	t.Helper()
	answered := res.get("item").list()
	require.Len(t, answered, len(claim.get("item").list()))
	seen := map[string]int{}
	sums := map[string]decimal.Decimal{}
	for i, item := range answered {
		billed := claim.get("item").at(i)
		require.Equal(t, billed.get("sequence").v, item.get("itemSequence").v)
		require.Equal(t, billed.ext("patientInvoice").v, item.ext("patientInvoice").v)
		one := item.ext("adjudication-outcome").get("valueCodeableConcept").code("")
		seen[one]++
		amounts := map[string]decimal.Decimal{}
		reasons := 0
		for _, a := range item.get("adjudication").list() {
			code := strings.ToLower(a.get("category").code(""))
			require.NotContains(t, amounts, code, "a category twice")
			if code == "approved-quantity" {
				amounts[code], _ = a.get("value").dec()
				require.False(t, a.get("amount").exists())
				continue
			}
			require.Equal(t, "SAR", a.get("amount.currency").str())
			amounts[code], _ = a.get("amount.value").dec()
			require.True(t, amounts[code].Equal(amounts[code].Round(2)))
			sums[code] = sums[code].Add(amounts[code])
			if a.get("reason").exists() {
				reasons++
			}
		}
		for _, need := range []string{"submitted", "eligible", "benefit", "tax", "approved-quantity"} {
			require.Contains(t, amounts, need)
		}
		require.True(t, amounts["submitted"].Equal(amount(billed.get("net"))))
		require.True(t, amounts["eligible"].LessThanOrEqual(amounts["submitted"]))
		require.True(t, amounts["eligible"].Equal(amounts["benefit"].Add(amounts["patientshare"])))
		require.True(t, amounts["copay"].Equal(amounts["patientshare"]))
		require.True(t, amounts["eligible"].Add(amounts["rejected"]).Equal(amounts["submitted"].Sub(tax(billed))))
		if one != "approved" {
			require.Positive(t, reasons)
			require.True(t, amounts["rejected"].IsPositive())
			require.NotEmpty(t, item.get("noteNumber").list())
		}
		if one == "rejected" {
			require.True(t, amounts["benefit"].IsZero())
			require.True(t, amounts["approved-quantity"].IsZero())
		}
	}
	require.Equal(t, wantOutcome(seen), outcome)
	for _, total := range res.get("total").list() {
		code := strings.ToLower(total.get("category").code(""))
		require.True(t, sums[code].Equal(amount(total.get("amount"))), code)
		delete(sums, code)
	}
	require.Empty(t, sums, "sums without a total")
}

func wantOutcome(seen map[string]int) string {
	if len(seen) > 1 {
		return "partial"
	}
	for one := range seen {
		return one
	}
	return ""
}

// TestClaimBehaviours sends one claim of each behaviour until it is settled.
func TestClaimBehaviours(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		answers []string // outcome or, when complete, the adjudication, of each send
		tags    []string // of the first answer
		polled  string
		end     string
		billed  bool
	}{
		{"APPROVE", []string{"approved", "approved"}, nil, "", "approved", true},
		{"PARTIAL", []string{"partial"}, nil, "", "partial", true},
		{"REJECT", []string{"rejected"}, nil, "", "rejected", true},
		{"ERROR", []string{"error"}, []string{"nphies-generated"}, "", "error", false},
		{"PEND", []string{"queued"}, []string{"queued-messages"}, "approved", "approved", true},
		{"PEND-PARTIAL", []string{"queued", "partial"}, []string{"queued-messages"}, "partial", "partial", true},
		{"PEND-REJECT", []string{"queued"}, []string{"queued-messages"}, "rejected", "rejected", true},
		{"QUEUED", []string{"queued"}, []string{"nphies-generated", "queued-messages"}, "approved", "approved", true},
		{"LARGE", []string{"queued"}, []string{"nphies-generated", "large-claim", "queued-messages"}, "error", "error", false},
		{"NEVER", []string{"queued", "queued"}, nil, "", "pending", true},
		{"REISSUE", []string{"approved"}, []string{"queued-messages"}, "partial", "partial", true},
		{"OFFLINE", []string{"error", "error", "approved"}, []string{"nphies-generated"}, "", "approved", true},
		{"LARGE-APPROVE", []string{"queued"}, []string{"nphies-generated", "large-claim", "queued-messages"}, "approved", "approved", true},
		{"BUSY", []string{"queued"}, []string{"queued-messages"}, "approved", "approved", true},
		{"UNFINISHED", []string{"partial"}, []string{"queued-messages"}, "partial", "partial", true},
		{"EVIDENCE", []string{"partial"}, nil, "", "partial", true},
		{"ERROR-MANY", []string{"error"}, []string{"nphies-generated"}, "", "error", false},
		{"TIMEOUT", []string{"error", "approved"}, []string{"nphies-generated"}, "", "approved", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, Options{})
			body := claimMessage(t, "CLM-SIM-"+tc.name)
			v, err := parseJSON(body)
			require.NoError(t, err)
			claim := rooted(v, "Bundle").get("entry").at(1).get("resource")
			for i, want := range tc.answers {
				status, a := b.send(t, body)
				require.Equal(t, 200, status)
				checkClaimResponse(t, claim, a)
				require.Equal(t, want, stateOf(mainOf(a)))
				require.Equal(t, rooted(v, "").get("entry").at(0).get("resource.id").str(), headerOf(a).get("response.identifier").str())
				if i == 0 {
					require.Equal(t, tc.tags, tagsOf(a))
				}
			}
			_, polled := b.send(t, pollMessage(t))
			nested := nestedIn(polled)
			if tc.polled == "" {
				require.Empty(t, nested)
			} else {
				require.Len(t, nested, 1)
				checkClaimResponse(t, claim, nested[0])
				require.Equal(t, tc.polled, stateOf(mainOf(nested[0])))
				require.Equal(t, tc.name == "REISSUE", mainOf(nested[0]).ext("adjudication-reissue").exists())
			}
			c, ok := b.Claim(claim.identifier())
			require.True(t, ok)
			require.Equal(t, tc.end, c.Final)
			require.Equal(t, len(tc.answers), c.Received)
			require.Equal(t, 1, c.DistinctContents)
			require.Equal(t, 1, c.DistinctBodies)
			require.Equal(t, tc.billed, c.Valid)
		})
	}
}

func stateOf(res node) string {
	if o := res.ext("adjudication-outcome").get("valueCodeableConcept").code(""); o != "" && o != "pended" {
		return o
	}
	return res.get("outcome").str()
}

// nestedIn are the nested Bundles of a poll-response, in the order of its outputs.
func nestedIn(polled node) []node {
	var out []node
	for _, o := range mainOf(polled).get("output").list() {
		for _, e := range polled.get("entry").list() {
			if u := e.get("fullUrl").str(); u != "" && u == o.get("valueReference.reference").str() {
				out = append(out, rooted(e.get("resource").v, "Bundle"))
			}
		}
	}
	return out
}

func TestErrorsAreRepeated(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	_, a := b.send(t, claimMessage(t, "CLM-SIM-ERROR"))
	require.Len(t, mainOf(a).get("error").list(), 8)
	first := mainOf(a).get("error").at(0).get("code.coding").at(0)
	require.Equal(t, "BV-00731", first.get("code").str())
	require.NotEmpty(t, first.get("display").str())
	require.Contains(t, first.ext("error-expression").get("valueString").str(), "Bundle.entry[1].resource.supportingInfo")
}

func TestPartialAmounts(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.send(t, claimMessage(t, "CLM-SIM-PARTIAL"))
	a := b.Claims()[0].Amounts
	require.JSONEq(t, `{"submitted":"333.50","eligible":"245.00","benefit":"220.50","tax":"33.08","paid":"253.58","patient_share":"24.50","rejected":"45.00"}`, string(raw(t, a)))
}

func TestEligibilityBehaviours(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	for name, site := range map[string]string{
		"ELIGIBLE": "eligible", "NOT-COVERED": "not-covered", "NOT-ACTIVE": "not-active", "NOT-DIRECT": "not-direct billing",
		"OUT-NETWORK": "out-network", "LIMIT-EXHAUSTED": "limit-exhausted", "SUSPENDED": "coverage-suspended", "CONTRACT-SUSPENDED": "provider-contract-suspended",
	} {
		_, a := b.send(t, fresh(t, "eligibility-request", "ELG-SIM-"+name))
		res := mainOf(a)
		require.Equal(t, "complete", res.get("outcome").str())
		require.Equal(t, site, res.ext("siteEligibility").get("valueCodeableConcept").code(""))
		require.Equal(t, name == "ELIGIBLE", res.get("insurance").at(0).get("item").exists())
		require.Equal(t, "ELG-SIM-"+name, res.get("request").identifier().Value)
	}
	_, a := b.send(t, fresh(t, "eligibility-request", "ELG-SIM-ERROR"))
	require.Equal(t, "1658", mainOf(a).get("error").at(0).get("code").code(""))
	body := fresh(t, "eligibility-request", "ELG-SIM-OFFLINE")
	for _, want := range []string{"error", "error", "complete", "complete"} {
		_, a := b.send(t, body)
		require.Equal(t, want, mainOf(a).get("outcome").str())
	}
	_, polled := b.send(t, pollMessage(t))
	require.Empty(t, nestedIn(polled), "eligibility is never queued")
}
