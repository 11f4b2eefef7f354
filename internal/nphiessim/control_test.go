package nphiessim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"
)

func call(t *testing.T, h http.Handler, method, path, body string) (int, http.Header, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w.Code, w.Header(), w.Body.String()
}

func TestControl(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	h := b.Control()
	b.send(t, claimMessage(t, "CLM-1"))
	b.send(t, fresh(t, "eligibility-request", "ELG-SIM-NOT-ACTIVE"))
	for _, tc := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"GET", "/sim/claims", "", 200, `"paid":"300.15"`},
		{"GET", "/sim/eligibility", "", 200, `"not-active"`},
		{"GET", "/sim/requests", "", 200, `"claim-request"`},
		{"GET", "/sim/stats", "", 200, `"billed":1`},
		{"POST", "/sim/faults", `{"kind":"lost-poll-answer","count":2}`, 201, `{"match":"poll-request","kind":"cut-after","count":2}`},
		{"POST", "/sim/faults", `{"match":"teams:sre","kind":"429","count":1}`, 201, `"teams:sre"`},
		{"POST", "/sim/faults", `{"kind":"flood"}`, 400, "html200"},
		{"POST", "/sim/faults", `{"kid":"500"}`, 400, "unknown field"},
		{"POST", "/sim/faults", `{`, 400, "error"},
		{"GET", "/sim/faults", "", 200, `"count":2`},
		{"DELETE", "/sim/faults", "", 204, ""},
		{"GET", "/sim/faults", "", 200, "[]"},
		{"POST", "/sim/reissue", `{"identifier":"CLM-1","outcome":"partial"}`, 204, ""},
		{"POST", "/sim/reissue", `{"identifier":{"system":"http://alwaha-demo.example/claim","value":"CLM-1"},"outcome":"rejected"}`, 204, ""},
		{"POST", "/sim/reissue", `{"identifier":"CLM-2","outcome":"partial"}`, 404, "unknown claim"},
		{"POST", "/sim/reissue", `{"identifier":7,"outcome":"partial"}`, 404, "unknown claim"},
		{"POST", "/sim/reissue", `{"identifier":"CLM-1","outcome":"lost"}`, 400, "outcome"},
		{"POST", "/sim/push", `{"licence":"DEMO-PR-0001","kind":"payment-reconciliation"}`, 204, ""},
		{"POST", "/sim/push", `{"license":"DEMO-PR-0001","kind":"letter"}`, 400, "unknown kind"},
		{"POST", "/sim/push", `{"kind":"unknown"}`, 400, "license"},
		{"GET", "/sim/stats", "", 200, `"waiting":3`},
		{"GET", "/sim/nothing", "", 404, ""},
		{"POST", "/sim/reset", "", 204, ""},
		{"GET", "/sim/claims", "", 200, "[]"},
	} {
		status, _, body := call(t, h, tc.method, tc.path, tc.body)
		require.Equal(t, tc.status, status, tc.path+tc.body+body)
		require.Contains(t, body, tc.answer, tc.path)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/sim/reset", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, http.StatusForbidden, w.Code, "another site's page cannot change anything")
}

func TestControlPage(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.send(t, claimMessage(t, "CLM-SIM-ERROR"))
	b.send(t, claimMessage(t, "CLM-<i>x"))
	status, h, body := call(t, b.Control(), http.MethodGet, "/sim/", "")
	require.Equal(t, 200, status)
	require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'")
	require.Contains(t, body, "BV-00434")
	require.Contains(t, body, "(7 times)")
	require.NotContains(t, body, "<i>")
	require.Contains(t, body, "SIM-PEND-PARTIAL")
}

func TestClaimJSON(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.send(t, claimMessage(t, "CLM-1"))
	var got []map[string]any
	require.NoError(t, json.Unmarshal(raw(t, b.Claims()), &got))
	require.Equal(t, "DEMO-PR-0001", got[0]["license"])
	require.Equal(t, "complete", got[0]["outcome"])
	require.Equal(t, "approved", got[0]["adjudication"])
	require.InDelta(t, 1, got[0]["received"], 0)
}

// TestPushedMessages looks into what unsolicited messages hold.
func TestPushedMessages(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.send(t, claimMessage(t, "CLM-1"))
	b.send(t, claimMessage(t, "CLM-2-SIM-PARTIAL"))
	for _, k := range PushKinds() {
		require.NoError(t, b.Push("DEMO-PR-0001", k))
	}
	ask := bytesReplace(pollMessage(t), `"include-message-type"`, `"exclude-message-type"`)
	_, a := b.send(t, ask)
	nested := nestedIn(a)
	require.Len(t, nested, len(PushKinds()))
	require.Equal(t, "unreadable", nested[4].get("entry").str())
	nested = nested[:4]
	require.Equal(t, "CLM-2-SIM-PARTIAL", mainOf(nested[0]).get("about").at(0).identifier().Value)
	pay := mainOf(nested[1])
	require.Len(t, pay.get("detail").list(), 2)
	require.True(t, sum(pay.get("detail").list(), "amount").Equal(amount(pay.get("paymentAmount"))))
	for _, d := range pay.get("detail").list() {
		parts := decimal.Zero
		for _, name := range []string{"component-payment", "component-early-fee", "component-nphies-fee"} {
			part := amount(d.ext(name).get("valueMoney"))
			require.Equal(t, name == "component-payment", part.IsPositive(), "fees are negative")
			parts = parts.Add(part)
		}
		require.True(t, parts.Equal(amount(d.get("amount"))), "a detail is the sum of its components")
	}
	require.Equal(t, "542.66", amount(pay.get("paymentAmount")).StringFixed(2), "553.73 less 1.5 and 0.5 percent of each claim")
	require.Equal(t, "450", mainOf(nested[2]).get("addItem").at(0).get("net.value").v.(json.Number).String())
	for _, n := range nested {
		require.False(t, headerOf(n).get("response").exists(), "nobody asked")
		require.Equal(t, n.get("entry").at(1).get("fullUrl").str(), headerOf(n).get("focus").at(0).get("reference").str())
	}
}

func bytesReplace(b []byte, old, with string) []byte {
	return []byte(strings.ReplaceAll(string(b), old, with))
}
