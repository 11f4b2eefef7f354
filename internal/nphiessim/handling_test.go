package nphiessim

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// anew copies a message under new ids of Bundle and header.
func anew(t *testing.T, m map[string]any) map[string]any {
	t.Helper()
	v, err := parseJSON(raw(t, m))
	require.NoError(t, err)
	v, err = parseJSON(renew(t, v.(map[string]any)))
	require.NoError(t, err)
	return v.(map[string]any)
}

// namedMessage makes a good message under an identifier, with ids of its own.
func namedMessage(t *testing.T, name, identifier string) map[string]any {
	t.Helper()
	m := good(t, name)
	apply(t, m, edit{"Claim.identifier[0].value", `"` + identifier + `"`})
	return anew(t, m)
}

// target makes a status-check or cancel-request about an identifier.
func target(t *testing.T, name, identifier string) map[string]any {
	t.Helper()
	m := good(t, name)
	apply(t, m, edit{"Task.focus.identifier.value", `"` + identifier + `"`})
	return anew(t, m)
}

// inform makes a communication about an identifier.
func inform(t *testing.T, resourceType string, id Identifier) map[string]any {
	t.Helper()
	m := good(t, "communication")
	apply(t, m, edit{"Communication.about[0]", string(raw(t, map[string]any{"type": resourceType, "identifier": id}))})
	return anew(t, m)
}

// openBench is a simulator at a time when all good messages may arrive.
func openBench(t *testing.T, o Options) *bench {
	t.Helper()
	b := newBench(t, o)
	b.clock.add(48 * time.Hour)
	return b
}

func (b *bench) ask(t *testing.T, m map[string]any) node {
	t.Helper()
	_, a := b.send(t, raw(t, m))
	return a
}

func (b *bench) poll(t *testing.T) []node {
	t.Helper()
	m := good(t, "poll-request")
	apply(t, m, edit{"Task.input", `[{"type":{"coding":[{"system":"` + systemTaskInput + `","code":"count"}]},"valuePositiveInt":100}]`})
	return nestedIn(b.ask(t, anew(t, m)))
}

// lastFindings are those of the newest request.
func (b *bench) lastFindings() []Finding {
	all := b.Requests()
	return all[len(all)-1].Findings
}

// TestHandlingRules breaks each rule that no look at a single message can check.
func TestHandlingRules(t *testing.T) {
	t.Parallel()
	b := openBench(t, Options{})
	unbroken := map[string]bool{}
	for _, r := range handlingRules {
		unbroken[r.ID+" "+r.Text] = true
	}
	expect := func(r Rule) {
		t.Helper()
		found := b.lastFindings()
		require.Len(t, found, 1)
		require.Equal(t, r.ID, found[0].Code)
		require.Equal(t, r.Text, found[0].Text)
		delete(unbroken, r.ID+" "+r.Text)
	}
	claim := func(id string) map[string]any { return namedMessage(t, "claim-request-professional", id) }
	changed := func(m map[string]any, path, value string) map[string]any {
		v, err := parseJSON(raw(t, m))
		require.NoError(t, err)
		out := v.(map[string]any)
		apply(t, out, edit{path, value})
		return out
	}

	elsewhere := &bench{Sim: b.Sim, url: strings.TrimSuffix(b.url, operation) + "/Claim"}
	elsewhere.ask(t, claim("CLM-1"))
	expect(ruleWrongAPI)
	_, _, err := post(t, b.url, bytes.Repeat([]byte(" "), maxMessage+1))
	require.NoError(t, err)
	expect(ruleTooLarge)
	b.send(t, []byte("{"))
	expect(ruleNotReadable)
	for name, body := range unreadableBodies(raw(t, claim("CLM-1"))) {
		status, a := b.send(t, body)
		require.Equal(t, http.StatusBadRequest, status, name)
		require.Contains(t, a.get("issue").at(0).get("diagnostics").str(), "alike", name)
		expect(ruleNotReadable)
	}
	b.ask(t, changed(claim("CLM-1"), "MessageHeader.eventCoding.code", `"claim"`))
	expect(ruleUnknownEvent)
	b.ask(t, changed(claim("CLM-1"), "MessageHeader.sender", ``))
	expect(ruleNoSender)
	b.ask(t, changed(claim("CLM-1"), "MessageHeader.destination", ``))
	expect(ruleNoReceiver)
	require.Empty(t, b.Claims())
	b.ask(t, edited("claim-request-professional", "Claim.item", `{}`)(t, maxFindings))
	last := b.lastFindings()
	require.Len(t, last, maxFindings+1)
	require.Regexp(t, `^\d+ more errors are not listed$`, last[maxFindings].Text)
	delete(unbroken, ruleTooMany.ID+" "+ruleTooMany.Text)
	b.ask(t, longClaim(t, claim("CLM-4"), 3500))
	expect(ruleTooLargeAnswer)
	require.Equal(t, "approved", stateOf(mainOf(b.ask(t, longClaim(t, claim("CLM-5"), 350)))))

	first := claim("CLM-1")
	require.Equal(t, "approved", stateOf(mainOf(b.ask(t, first))))
	b.ask(t, changed(first, "Coverage.network", `"Other"`))
	require.Equal(t, []string{"BV-00532", "BV-00533"}, codesOf(b.lastFindings()))
	onlyHeader := changed(anew(t, first), "Bundle.id", string(raw(t, first["id"])))
	b.ask(t, onlyHeader)
	expect(ruleNewHeader)
	b.ask(t, changed(changed(anew(t, first), "Bundle.id", string(raw(t, first["id"]))), "Coverage.network", `"Other"`))
	expect(ruleSeenBundle)
	header := rooted(first, "").get("entry").at(0)
	again := anew(t, changed(first, "Coverage.network", `"Third"`))
	againHeader := rooted(again, "").get("entry").at(0)
	againHeader.get("resource").v.(map[string]any)["id"] = header.get("resource.id").str()
	againHeader.v.(map[string]any)["fullUrl"] = header.get("fullUrl").str()
	b.ask(t, again)
	expect(ruleSeenHeader)
	b.ask(t, anew(t, changed(first, "Claim.created", `"2026-02-10T11:31:00+03:00"`)))
	expect(ruleSameIdentifier)

	busy := claim("CLM-2-SIM-BUSY")
	require.Equal(t, "queued", mainOf(b.ask(t, busy)).get("outcome").str())
	for range 2 {
		b.ask(t, busy)
		expect(ruleInProgress)
	}
	require.Len(t, b.poll(t), 1)
	require.Equal(t, "approved", stateOf(mainOf(b.ask(t, busy))), "the mailbox has given the answer")

	b.ask(t, claim("CLM-3-SIM-NEVER"))
	b.ask(t, target(t, "cancel-request", "CLM-3-SIM-NEVER"))
	require.Empty(t, b.lastFindings())
	b.ask(t, target(t, "cancel-request", "CLM-3-SIM-NEVER"))
	expect(ruleNotActive)
	b.ask(t, claim("CLM-3-SIM-NEVER"))
	expect(ruleCancelled)
	b.ask(t, target(t, "status-check", "CLM-9"))
	expect(ruleNoTarget)

	slow := openBench(t, Options{MailboxDelay: time.Hour})
	slow.ask(t, busy)
	slow.ask(t, busy)
	b = slow
	expect(ruleInProgress)
	require.Empty(t, slow.poll(t))
	slow.clock.add(2 * time.Hour)
	require.Len(t, slow.poll(t), 1)
	require.Equal(t, "approved", stateOf(mainOf(slow.ask(t, busy))))

	b = openBench(t, Options{VerifyClient: true, CertificateLicenses: map[string][]string{"Group": {"DEMO-PR-0001"}}})
	certified := func(subject pkix.Name) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, operation, bytes.NewReader(raw(t, claim("CLM-1"))))
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: subject}}}
		w := httptest.NewRecorder()
		b.NPHIES().ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, http.StatusForbidden, certified(pkix.Name{Country: []string{"SA"}}))
	expect(ruleNoCertificate)
	require.Equal(t, http.StatusForbidden, certified(pkix.Name{Organization: []string{"DEMO-PR-0002"}, CommonName: "clinic"}))
	expect(ruleOtherCertificate)
	for _, s := range []pkix.Name{{Organization: []string{"DEMO-PR-0001"}}, {SerialNumber: "DEMO-PR-0001", Organization: []string{"Clinic"}}, {CommonName: "DEMO-PR-0001"}, {Organization: []string{"Group"}}} {
		require.Equal(t, http.StatusOK, certified(s))
		require.Empty(t, b.lastFindings())
	}
	require.Empty(t, unbroken, "rules without a case")
}

// unreadableBodies are what some JSON readers take, and each in its own way: a message must not mean two things.
func unreadableBodies(good []byte) map[string][]byte {
	with := func(network string) []byte {
		return bytes.Replace(good, []byte(`"network":"`), []byte(`"network":"`+network), 1)
	}
	return map[string][]byte{
		"not UTF-8": with("\xff"), "NUL": with(`\u0000`), "control": with(`\u0007`), "high surrogate": with(`\ud83d`), "low surrogate": with(`\ude00`),
		"pair the wrong way round": with(`\ude00\ud83d`), "byte order mark": append([]byte("\xef\xbb\xbf"), good...),
		"twice":            bytes.Replace(good, []byte(`"resourceType":"Claim"`), []byte(`"resourceType":"Claim","resourceType":"Claim"`), 1),
		"twice, escaped":   bytes.Replace(good, []byte(`"resourceType":"Claim"`), []byte(`"resourceType":"Claim","resourceT\u0079pe":"Claim"`), 1),
		"twice at the top": bytes.Replace(good, []byte(`{`), []byte(`{"entry":[],`), 1),
	}
}

// TestReadableBodies: the same, but right.
func TestReadableBodies(t *testing.T) {
	t.Parallel()
	good := raw(t, example(t, "claim-request-professional"))
	for _, network := range []string{`\ud83d\ude00`, `😀`, `\\ud83d`, `a\tb`, `"`[:0]} {
		body := bytes.Replace(good, []byte(`"network":"`), []byte(`"network":"`+network), 1)
		_, a := newBench(t, Options{}).send(t, body)
		require.Equal(t, "complete", mainOf(a).get("outcome").str(), network)
	}
}

// longClaim is a good claim with n items.
func longClaim(t *testing.T, m map[string]any, n int) map[string]any {
	t.Helper()
	item := raw(t, rooted(find(t, m, "Claim"), "").get("item").at(0).v)
	list := many(n, strings.Replace(string(item), `"sequence":1`, `"sequence":1#`, 1))
	apply(t, m, edit{"Claim.item", list})
	apply(t, m, edit{"Claim.total.value", strconv.Itoa(230 * n)})
	return m
}

func codesOf(findings []Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Code)
	}
	return out
}

func TestAuthorization(t *testing.T) {
	t.Parallel()
	b := openBench(t, Options{})
	for _, name := range []string{"institutional authorization", "professional authorization", "oral authorization", "pharmacy authorization", "vision authorization"} {
		m := namedMessage(t, name, "AUT-"+strings.Fields(name)[0])
		a := b.ask(t, m)
		require.Equal(t, eventAuthResponse, headerOf(a).get("eventCoding.code").str())
		require.Equal(t, "prior-auth-response", profileName(mainOf(a)))
		require.Equal(t, "preauthorization", mainOf(a).get("use").str())
		require.Equal(t, "approved", stateOf(mainOf(a)), name)
		require.NotEmpty(t, mainOf(a).get("preAuthRef").str())
		require.Equal(t, "2026-02-12", mainOf(a).get("preAuthPeriod.start").str())
		require.Equal(t, "2026-03-14", mainOf(a).get("preAuthPeriod.end").str())
	}
	require.Equal(t, 5, b.Stats().Authorizations)
	require.Zero(t, b.Stats().Billed, "an authorization is no bill")

	for behaviour, want := range map[string]string{"NOT-REQUIRED": "not-required", "REJECT": "rejected", "PARTIAL": "partial"} {
		res := mainOf(b.ask(t, namedMessage(t, "professional authorization", "AUT-SIM-"+behaviour)))
		require.Equal(t, want, stateOf(res))
		require.Equal(t, "complete", res.get("outcome").str())
		require.Equal(t, want == "partial", res.get("preAuthRef").exists(), behaviour)
	}
	require.Equal(t, "approved", stateOf(mainOf(b.ask(t, namedMessage(t, "claim-request-professional", "CLM-SIM-NOT-REQUIRED")))), "not for claims")

	require.Equal(t, "queued", mainOf(b.ask(t, namedMessage(t, "professional authorization", "AUT-SIM-PEND"))).get("outcome").str())
	polled := b.poll(t)
	require.Equal(t, []string{eventAuthResponse}, eventsIn(polled))
	granted := mainOf(polled[0])
	require.NotEmpty(t, granted.get("preAuthRef").str())

	// A claim that quotes it uses it: it cannot be cancelled any more. One that nobody quotes can.
	claim := namedMessage(t, "claim-request-pharmacy", "CLM-Q")
	apply(t, claim, edit{"Claim.ext(priorauth-response)", `{"valueReference":{"identifier":` + string(raw(t, granted.get("identifier").at(0).v)) + `}}`})
	require.Equal(t, "approved", stateOf(mainOf(b.ask(t, anew(t, claim)))))
	refused := mainOf(b.ask(t, target(t, "cancel-request", "AUT-SIM-PEND")))
	require.Equal(t, "failed", refused.get("status").str())
	require.Equal(t, "claimed", refused.get("statusReason").code(""))
	require.Equal(t, "completed", mainOf(b.ask(t, target(t, "cancel-request", "AUT-oral"))).get("status").str())
	quoted, ok := b.Claim(Identifier{"http://alwaha-demo.example/claim", "AUT-SIM-PEND"})
	require.True(t, ok)
	require.True(t, quoted.Claimed)
	require.Equal(t, granted.get("preAuthRef").str(), quoted.PreAuthRef)
}

func TestCancelAnswers(t *testing.T) {
	t.Parallel()
	b := openBench(t, Options{})
	for behaviour, want := range map[string]string{
		"APPROVE-SIM-CANCEL-ACCEPT": "", "NEVER": "", "NEVER-SIM-CANCEL-REJECTED": "rejected", "NEVER-SIM-CANCEL-IN-PROCESS": "in-process",
		"PEND-SIM-CANCEL-CLAIMED": "claimed", "APPROVE": "rejected",
	} {
		id := "CLM-SIM-" + behaviour
		b.ask(t, namedMessage(t, "claim-request-professional", id))
		m := target(t, "cancel-request", id)
		for range 2 { // the same message again gets the same answer
			task := mainOf(b.ask(t, m))
			require.Equal(t, want, task.get("statusReason").code(""), id)
			require.Equal(t, map[bool]string{true: "completed", false: "failed"}[want == ""], task.get("status").str(), id)
		}
	}
	b.ask(t, namedMessage(t, "claim-request-professional", "CLM-SIM-ERROR"))
	require.Equal(t, "BV-00143", mainOf(b.ask(t, target(t, "cancel-request", "CLM-SIM-ERROR"))).get("output").at(0).get("valueCodeableConcept").code(""), "nothing was posted")
}

func TestStatusAnswers(t *testing.T) {
	t.Parallel()
	b := openBench(t, Options{MailboxDelay: time.Hour})
	for behaviour, want := range map[string]string{"PEND": "queued", "APPROVE": "complete", "ERROR": "error", "UNFINISHED": "partial"} {
		b.ask(t, namedMessage(t, "claim-request-professional", "CLM-SIM-"+behaviour))
		require.Equal(t, want, mainOf(b.ask(t, target(t, "status-check", "CLM-SIM-"+behaviour))).get("output").at(0).get("valueCode").str())
	}
	require.NoError(t, b.Configure(Settings{StatusConcept: true}))
	require.Equal(t, "error", mainOf(b.ask(t, target(t, "status-check", "CLM-SIM-ERROR"))).get("output").at(0).get("valueCodeableConcept").code(""))
}

func TestBatch(t *testing.T) {
	t.Parallel()
	b := openBench(t, Options{})
	m := batchMessage(t, "CLM-1", "CLM-2-SIM-PARTIAL", "CLM-3-SIM-ERROR", "CLM-4", "CLM-5-SIM-NEVER")
	apply(t, rooted(m, "").get("entry").at(4).get("resource").v.(map[string]any), edit{"Claim.total.value", `1`})
	a := b.ask(t, m)
	require.Equal(t, eventBatchResponse, headerOf(a).get("eventCoding.code").str())
	require.Equal(t, rooted(m, "").get("entry").at(0).get("resource.id").str(), headerOf(a).get("response.identifier").str())
	require.Len(t, headerOf(a).get("focus").list(), 5)
	var states []string
	for i, f := range headerOf(a).get("focus").list() {
		e := a.get("entry").at(i + 1)
		require.Equal(t, e.get("fullUrl").str(), f.get("reference").str())
		states = append(states, mainOf(rooted(e.get("resource").v, "Bundle")).get("outcome").str())
	}
	require.Equal(t, []string{"queued", "queued", "error", "error", "queued"}, states)
	require.Equal(t, "BV-00059", b.lastFindings()[len(b.lastFindings())-1].Code)

	polled := b.poll(t)
	require.Len(t, polled, 2)
	require.Equal(t, "approved", stateOf(mainOf(polled[0])))
	require.Equal(t, "partial", stateOf(mainOf(polled[1])))
	number, _ := mainOf(polled[1]).ext("batch-number").get("valuePositiveInt").integer()
	require.Equal(t, 2, number)
	require.Equal(t, "B-1", mainOf(polled[0]).ext("batch-identifier").get("valueIdentifier.value").str())
	require.Equal(t, 3, b.Stats().Billed)

	bad := batchMessage(t, "CLM-8", "CLM-9")
	apply(t, rooted(bad, "").get("entry").at(2).get("resource").v.(map[string]any), edit{"Claim.ext(batch-number)", `{"valuePositiveInt":1}`})
	a = b.ask(t, bad)
	require.Equal(t, "fatal-error", headerOf(a).get("response.code").str())
	require.Equal(t, a.get("entry").at(1).get("fullUrl").str(), headerOf(a).get("response.details.reference").str())
	require.Equal(t, "BV-00452", mainOf(a).get("issue").at(0).get("details").code(""))
}

func TestInformation(t *testing.T) {
	t.Parallel()
	b := openBench(t, Options{})
	require.Equal(t, "queued", mainOf(b.ask(t, namedMessage(t, "claim-request-professional", "CLM-SIM-INFO"))).get("outcome").str())
	polled := b.poll(t)
	require.Equal(t, []string{eventCommunicationAsked}, eventsIn(polled))
	id := mainOf(polled[0]).get("about").at(0).identifier()
	require.Equal(t, "CLM-SIM-INFO", id.Value)

	for range 2 { // a second communication changes nothing
		a := b.ask(t, inform(t, "Claim", id))
		require.Equal(t, eventAcknowledgement, headerOf(a).get("eventCoding.code").str())
		require.Equal(t, "ok", headerOf(a).get("response.code").str())
	}
	polled = b.poll(t)
	require.Len(t, polled, 1)
	require.Equal(t, "approved", stateOf(mainOf(polled[0])))
	require.False(t, mainOf(polled[0]).ext("adjudication-reissue").exists(), "it is the first complete answer")

	answered := mainOf(b.ask(t, namedMessage(t, "claim-request-professional", "CLM-SIM-EVIDENCE")))
	require.Equal(t, "partial", stateOf(answered))
	b.ask(t, inform(t, "ClaimResponse", answered.identifier()))
	polled = b.poll(t)
	require.Equal(t, "approved", stateOf(mainOf(polled[0])))
	require.Equal(t, "adjudication", mainOf(polled[0]).ext("adjudication-reissue").get("valueCodeableConcept").code(""))

	bad := inform(t, "Claim", id)
	apply(t, bad, edit{"Communication.payload", ``})
	a := b.ask(t, bad)
	require.Equal(t, "fatal-error", headerOf(a).get("response.code").str())
	require.Equal(t, "IC-01428", mainOf(a).get("issue").at(0).get("details").code(""))

	a = b.ask(t, anew(t, good(t, "payment-notice")))
	require.Equal(t, eventAcknowledgement, headerOf(a).get("eventCoding.code").str())
	require.Equal(t, "ok", headerOf(a).get("response.code").str())
	require.Equal(t, nphiesValue, headerOf(a).get("sender.identifier.value").str())
}

func TestLargeClaims(t *testing.T) {
	t.Parallel()
	b := openBench(t, Options{})
	broken := namedMessage(t, "claim-request-professional", "CLM-1-SIM-LARGE-APPROVE")
	apply(t, broken, edit{"Claim.total.value", `1`})
	for i, m := range []map[string]any{broken, namedMessage(t, "claim-request-professional", "CLM-2-SIM-LARGE-APPROVE")} {
		a := b.ask(t, m)
		require.Equal(t, "queued", mainOf(a).get("outcome").str(), "not validated yet")
		require.Contains(t, tagsOf(a), "large-claim")
		polled := b.poll(t)
		require.Len(t, polled, 1)
		require.Equal(t, []string{"error", "approved"}[i], stateOf(mainOf(polled[0])))
	}
	require.Equal(t, 1, b.Stats().Billed)
}

func TestManyErrors(t *testing.T) {
	t.Parallel()
	b := openBench(t, Options{})
	res := mainOf(b.ask(t, namedMessage(t, "claim-request-professional", "CLM-SIM-ERROR-MANY")))
	times := map[string]int{}
	for _, c := range codesIn(res) {
		times[c]++
	}
	require.Equal(t, map[string]int{"BV-00731": 1, "BV-00434": 43, "IB-00242": 4}, times)
}

func TestScriptedErrors(t *testing.T) {
	t.Parallel()
	b := openBench(t, Options{})
	b.AddFault(Fault{Match: "*", Kind: FaultError, Code: "GE-00029", License: "DEMO-PR-0009", Count: 1})
	b.AddFault(Fault{Match: eventClaim, Kind: FaultError, Code: "GE-00030", License: "DEMO-PR-0001", Count: 1})
	b.AddFault(Fault{Match: "*", Kind: FaultError, Code: "GE-00020", Status: 403, Count: 1})
	claim := namedMessage(t, "claim-request-professional", "CLM-1")
	require.Equal(t, []string{"GE-00030"}, codesIn(mainOf(b.ask(t, claim))))
	status, a := b.send(t, raw(t, claim))
	require.Equal(t, 403, status)
	require.Equal(t, "GE-00020", a.get("issue").at(0).get("details").code(""))
	require.Empty(t, b.Claims(), "neither was processed")
	require.Equal(t, "approved", stateOf(mainOf(b.ask(t, claim))), "the first fault is for another license")

	for _, name := range []string{"eligibility-request", "poll-request", "cancel-request", "status-check", "communication", "payment-notice", "batch-request", "professional authorization"} {
		b.SetFaults(Fault{Match: "*", Kind: FaultError, Code: "BV-00195", Count: 1})
		_, a := b.send(t, raw(t, anew(t, good(t, name))))
		require.Contains(t, string(raw(t, a.v)), "BV-00195", name)
		require.True(t, headerOf(a).get("response.identifier").exists(), name)
		require.Equal(t, []string{"BV-00195"}, codesOf(b.lastFindings()), name)
	}
}

func TestMoreFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		status    int
		header    string // Content-Type or Location
		processed bool
	}{
		{"HTTP500", 500, "application/json", false},
		{"JSON200", 200, "application/json", false},
		{"EMPTY", 200, "application/json", false},
		{"REDIRECT", 307, "/moved", false},
		{"WRONG-TYPE", 200, "text/plain; charset=utf-8", true},
		{"OVERSIZED", 200, "application/fhir+json; charset=utf-8", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := openBench(t, Options{})
			body := raw(t, namedMessage(t, "claim-request-professional", "CLM-SIM-"+tc.name))
			w := httptest.NewRecorder()
			b.NPHIES().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, operation, bytes.NewReader(body)))
			require.Equal(t, tc.status, w.Code)
			require.Contains(t, []string{w.Header().Get("Content-Type"), w.Header().Get("Location")}, tc.header)
			require.Equal(t, tc.processed, len(b.Claims()) == 1)
			require.Equal(t, tc.processed, json.Valid(w.Body.Bytes()) && bytes.Contains(w.Body.Bytes(), []byte("ClaimResponse")))
			require.Equal(t, tc.name == "OVERSIZED", w.Body.Len() > maxMessage)
			_, a := b.send(t, body)
			require.Equal(t, "approved", stateOf(mainOf(a)), "the second send is answered")
		})
	}
}

func TestChoices(t *testing.T) {
	t.Parallel()
	b := openBench(t, Options{})
	require.ErrorIs(t, b.Choose(Choice{"CLM-1", "FLY"}), ErrUnknownBehaviour)
	require.NoError(t, b.Choose(Choice{"CLM-1-SIM-REJECT", "pend"}))
	require.NoError(t, b.Choose(Choice{"*", "SIM-PARTIAL HTTP500"}))
	require.Equal(t, []Choice{{"*", "SIM-PARTIAL-SIM-HTTP500"}, {"CLM-1-SIM-REJECT", "SIM-PEND"}}, b.Choices())
	for id, want := range map[string]string{"CLM-1-SIM-REJECT": "queued", "CLM-2": "partial", "CLM-3-SIM-REJECT": "rejected"} {
		m := namedMessage(t, "claim-request-professional", id)
		status, _ := b.send(t, raw(t, m))
		require.Equal(t, 500, status)
		require.Equal(t, want, stateOf(mainOf(b.ask(t, m))), id)
	}
	require.NoError(t, b.Choose(Choice{"*", ""}))
	require.Len(t, b.Choices(), 1)
	require.Equal(t, "approved", stateOf(mainOf(b.ask(t, namedMessage(t, "claim-request-professional", "CLM-4")))))
}

func TestLateAnswer(t *testing.T) {
	t.Parallel()
	b := openBench(t, Options{})
	b.ask(t, namedMessage(t, "claim-request-professional", "CLM-SIM-NEVER"))
	id := b.Claims()[0].Identifier
	require.ErrorIs(t, b.ReissueFor(id, "approved", "mood"), ErrUnknownReason)
	require.NoError(t, b.AnswerLate(id, "rejected"))
	require.ErrorIs(t, b.AnswerLate(id, "approved"), ErrComplete)
	require.NoError(t, b.ReissueFor(id, "approved", "audit"))
	polled := b.poll(t)
	require.Len(t, polled, 2)
	require.Equal(t, "rejected", stateOf(mainOf(polled[0])))
	require.False(t, mainOf(polled[0]).ext("adjudication-reissue").exists())
	require.Equal(t, "audit", mainOf(polled[1]).ext("adjudication-reissue").get("valueCodeableConcept").code(""))
}

func TestSpellings(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, New(Options{}).Configure(Settings{Spelling: "welsh"}), ErrSpelling)
	answers := map[Spelling]string{}
	for _, spelling := range Spellings() {
		b := openBench(t, Options{Settings: Settings{Spelling: spelling}})
		a := b.ask(t, namedMessage(t, "claim-request-professional", "CLM-1"))
		coPay := bytes.Contains(raw(t, a.v), []byte("coPay"))
		refusedBy := b.ask(t, namedMessage(t, "claim-request-professional", "CLM-SIM-ERROR"))
		e := mainOf(refusedBy).get("error").at(0)
		inner, outer := e.get("code.coding").at(0).ext("error-expression").get("valueString").str(), e.ext("error-expression").get("valueString").str()
		tag := headerOf(refusedBy).get("meta.tag").at(0).get("system").str()
		require.Equal(t, "nphies-generated", headerOf(refusedBy).get("meta.tag").at(0).get("code").str())
		auth := profileName(mainOf(b.ask(t, namedMessage(t, "professional authorization", "AUT-1"))))
		b.ask(t, namedMessage(t, "claim-request-professional", "CLM-SIM-PEND"))
		require.NoError(t, b.Push("DEMO-PR-0001", eventPayment))
		polled := b.poll(t)
		_, paidBy := mainOf(polled[1]).get("paymentIdentifier").v.([]any)
		named := headerOf(polled[0]).get("response").exists()
		focus := headerOf(a).get("focus").at(0).get("reference").str()
		patient := mainOf(a).get("patient.reference").str()
		created := mainOf(a).get("created").str()
		switch spelling {
		case SpellingSamples:
			require.True(t, coPay)
			require.Empty(t, inner)
			require.True(t, strings.HasPrefix(outer, "Bundle."))
			require.True(t, paidBy)
			require.False(t, named)
			require.Contains(t, focus, "/Claimresponse/")
			require.Regexp(t, "^patient/", patient)
		case SpellingOBA:
			require.False(t, coPay)
			require.True(t, strings.HasPrefix(inner, "bundle."))
			require.Empty(t, tag)
			require.Equal(t, "claim-response", auth)
			require.True(t, named)
			require.Regexp(t, "Z$", created)
		default:
			require.True(t, strings.HasPrefix(inner, "Bundle."))
			require.Equal(t, systemTags, tag)
			require.Equal(t, "prior-auth-response", auth)
			require.False(t, paidBy)
			require.Contains(t, focus, "/ClaimResponse/")
		}
		answers[spelling] = string(raw(t, mainOf(a).v))
	}
	require.NotEqual(t, answers[SpellingGuide], answers[SpellingSamples])
	require.NotEqual(t, answers[SpellingGuide], answers[SpellingOBA])
}

// TestPaymentsAreForClaims leaves authorizations out of a payment: nobody has been treated for them yet.
func TestPaymentsAreForClaims(t *testing.T) {
	t.Parallel()
	b := openBench(t, Options{})
	b.ask(t, namedMessage(t, "professional authorization", "AUT-1"))
	b.ask(t, namedMessage(t, "claim-request-professional", "CLM-1"))
	require.NoError(t, b.Push("DEMO-PR-0001", eventPayment))
	polled := b.poll(t)
	require.Len(t, polled, 1)
	details := mainOf(polled[0]).get("detail").list()
	require.Len(t, details, 1)
	require.Equal(t, "CLM-1", details[0].get("request").identifier().Value)
}
