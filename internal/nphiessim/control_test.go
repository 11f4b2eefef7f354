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
		{"POST", "/sim/faults", `{"kind":"error","code":"GE-00029","license":"DEMO-PR-0001","count":1}`, 201, `"license":"DEMO-PR-0001","code":"GE-00029"`},
		{"POST", "/sim/faults", `{"kind":"error"}`, 400, "code must be given"},
		{"POST", "/sim/faults", `{"kind":"500","code":"GE-00029"}`, 400, "kind error only"},
		{"POST", "/sim/faults", `{"kind":"error","code":"GE-00029","status":200}`, 400, "300 to 599"},
		{"POST", "/sim/faults", `{"match":"teams","kind":"redirect"}`, 400, "not for Teams"},
		{"POST", "/sim/choices", `{"identifier":"CLM-7","behaviour":"PEND"}`, 204, ""},
		{"POST", "/sim/choices", `{"identifier":"CLM-7","behaviour":"FLY"}`, 400, "unknown behaviour"},
		{"POST", "/sim/choices", `{"behaviour":"PEND"}`, 400, "identifier is required"},
		{"GET", "/sim/choices", "", 200, `[{"identifier":"CLM-7","behaviour":"SIM-PEND"}]`},
		{"POST", "/sim/settings", `{"spelling":"oba","status_concept":true}`, 204, ""},
		{"POST", "/sim/settings", `{"spelling":"welsh"}`, 400, "guide, oba or samples"},
		{"GET", "/sim/settings", "", 200, `{"spelling":"oba","status_concept":true}`},
		{"GET", "/sim/rules", "", 200, `"where":"Claim.(item|detail|subDetail).net"`},
		{"POST", "/sim/answer", `{"identifier":"CLM-1","outcome":"partial"}`, 409, "not pending"},
		{"POST", "/sim/reissue", `{"identifier":"CLM-1","outcome":"partial","reason":"mood"}`, 400, "miscalculation"},
		{"GET", "/sim/requests/1", "", 200, "CLM-1"},
		{"GET", "/sim/requests/1/request", "", 200, `"claim-request"`},
		{"GET", "/sim/requests/1/answer", "", 200, `"claim-response"`},
		{"GET", "/sim/requests/1/other", "", 404, "request and answer"},
		{"GET", "/sim/requests/99", "", 404, "not remembered"},
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

// TestPageFilter keeps what was asked for, and only that.
func TestPageFilter(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.send(t, claimMessage(t, "CLM-GOOD"))
	b.send(t, claimMessage(t, "CLM-SIM-ERROR"))
	b.send(t, fresh(t, "eligibility-request", "ELG-1"))
	for query, want := range map[string][]string{
		"": {"1", "2", "3"}, "?event=claim-request": {"1", "2"}, "?refused=1": {"2"}, "?license=DEMO-PR-0001&event=eligibility-request": {"3"},
		"?license=X": nil, "?event=claim-request&refused=1": {"2"},
	} {
		_, _, body := call(t, b.Control(), http.MethodGet, "/sim/"+query, "")
		var got []string
		for _, id := range []string{"1", "2", "3"} {
			if strings.Contains(body, `href="/sim/requests/`+id+`"`) {
				got = append(got, id)
			}
		}
		require.Equal(t, want, got, query)
	}
	_, _, body := call(t, b.Control(), http.MethodGet, "/sim/requests/2", "")
	require.Contains(t, body, "BV-00434")
	require.Contains(t, body, "&#34;resourceType&#34;: &#34;Bundle&#34;", "both messages are shown, indented")
}

// TestExchangesAreBounded keeps the newest messages only.
func TestExchangesAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	big := make([]byte, maxKept/4)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	require.NoError(t, err)
	for range 6 {
		b.note(r, Request{}, exchange{request: big})
	}
	_, _, ok := b.Exchange(2)
	require.False(t, ok)
	for id := 3; id <= 6; id++ {
		_, _, ok := b.Exchange(id)
		require.True(t, ok)
	}
}
