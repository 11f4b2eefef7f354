package nphies_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

// What the simulator would never say, another payer's system might: its answers, changed on the way.

// rewrite gives every object of the simulator's answers to change before we see them.
func (b *bench) rewrite(change func(o map[string]any)) {
	b.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		rec := httptest.NewRecorder()
		b.sim.NPHIES().ServeHTTP(rec, r)
		d := json.NewDecoder(rec.Body)
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			b.t.Error(err)
		}
		each(v, change)
		w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
		w.WriteHeader(rec.Code)
		if err := json.NewEncoder(w).Encode(v); err != nil {
			b.t.Error(err)
		}
		return true
	}
}

func each(v any, change func(map[string]any)) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			each(x, change)
		}
	case map[string]any:
		change(v)
		for _, x := range v {
			each(x, change)
		}
	}
}

func spoilAmounts(o map[string]any) {
	if a, ok := o["amount"].(map[string]any); ok {
		a["value"] = "see the letter"
	}
}

func (b *bench) cardText(id *uuid.UUID) string {
	b.t.Helper()
	rows, err := b.store.Notifications(b.t.Context(), id, 1)
	require.NoError(b.t, err)
	require.Len(b.t, rows, 1)
	var payload string
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), `SELECT card_payload::text FROM teams_notifications WHERE id = $1`, rows[0].ID).Scan(&payload))
	return payload
}

// TestUnreadableAmountIsUnknown: a claim approved over amounts that are no numbers is approved, for nobody knows how much.
func TestUnreadableAmountIsUnknown(t *testing.T) {
	b := newBench(t)
	id := b.claim("APPROVE")
	b.rewrite(spoilAmounts)
	require.NoError(t, b.submit(id))
	c := b.get(id)
	require.Equal(t, store.Approved, c.State)
	require.False(t, c.Approved.Valid, "unknown is not zero")
	require.False(t, c.PatientShare.Valid)
	require.Equal(t, []string{"nphies.claim.approved"}, b.events(&id)[len(b.events(&id))-1:])
	require.Contains(t, b.cardText(&id), `"unknown of SAR `)
}

// TestUnreadablePaymentIsKept: money that cannot be read is shown as such, and counts as not balanced.
func TestUnreadablePaymentIsKept(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.submit(b.claim("APPROVE")))
	require.NoError(t, b.sim.Push(license, "payment-reconciliation"))
	b.rewrite(spoilAmounts)
	require.NoError(t, b.poll())
	payments, err := b.store.Payments(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, payments, 1)
	p, err := b.store.Payment(t.Context(), payments[0].MessageID)
	require.NoError(t, err)
	require.False(t, p.DetailSum.Valid)
	require.False(t, p.Balanced)
	require.NotEmpty(t, p.Details)
	for _, d := range p.Details {
		require.False(t, d.Amount.Valid)
		require.NotNil(t, d.ClaimID, "it is our claim all the same")
	}
}

// TestRefusalOfAClaimOutlastsGoodPolls: that polls go through says nothing about an endpoint that NPHIES does not accept for claims.
func TestRefusalOfAClaimOutlastsGoodPolls(t *testing.T) {
	b := newBench(t)
	id := b.claim("APPROVE")
	for range 3 {
		b.answer("GE-00020", 1)
		require.NoError(t, b.submit(id))
		require.NoError(t, b.poll())
	}
	require.Len(t, b.pauses(), 1)
	require.Equal(t, []string{"nphies.api.error"}, b.events(nil), "told once")
}

// TestRefusedValueDoesNotBlockTheMailbox: an identifier that no index takes (SQLSTATE class 54) is one message's trouble.
func TestRefusedValueDoesNotBlockTheMailbox(t *testing.T) {
	b := newBench(t)
	bad, good := b.claim("PEND"), b.claim("PEND")
	require.NoError(t, b.submit(bad))
	require.NoError(t, b.submit(good))
	letters := []byte("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	r := rand.New(rand.NewPCG(1, 2)) // text that does not compress
	long := make([]byte, 12_000)
	for i := range long {
		long[i] = letters[r.IntN(len(letters))]
	}
	about := b.get(bad).Identifier.Value
	b.rewrite(func(o map[string]any) {
		if o["resourceType"] != "ClaimResponse" {
			return
		}
		if request, err := json.Marshal(o["request"]); err == nil && strings.Contains(string(request), `"`+about+`"`) {
			o["identifier"] = []any{map[string]any{"system": "http://payer.example/response", "value": string(long)}}
		}
	})
	require.NoError(t, b.poll())
	require.Equal(t, store.Approved, b.get(good).State)
	require.Equal(t, store.Pending, b.get(bad).State)
	list, err := b.store.Inbox(t.Context(), store.InboxFilter{Unmatched: true})
	require.NoError(t, err)
	require.Len(t, list, 1, "its bytes are kept for a person")
}

// TestGatewayErrorAfterAPollLosesNothing: NPHIES emptied the mailbox and a gateway answered in its place. The identical request
// finds nothing, which says what was lost: the claims ask for their answers themselves.
func TestGatewayErrorAfterAPollLosesNothing(t *testing.T) {
	b := newBench(t)
	id := b.claim("PEND")
	require.NoError(t, b.submit(id))
	var sent [][]byte
	b.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		sent = append(sent, body)
		if len(sent) > 1 {
			return false
		}
		b.sim.NPHIES().ServeHTTP(httptest.NewRecorder(), r)
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusGatewayTimeout)
		_, _ = io.WriteString(w, "<html><body>Gateway Timeout</body></html>")
		return true
	}
	due := func() []store.Overdue {
		due, err := b.store.OverdueClaims(t.Context(), 10)
		require.NoError(t, err)
		return due
	}
	require.True(t, fault.Is(b.poll(), fault.Network))
	require.Empty(t, due())
	require.NoError(t, b.poll())
	require.Len(t, sent, 2)
	require.Equal(t, string(sent[0]), string(sent[1]))
	require.Equal(t, store.Pending, b.get(id).State)
	require.Equal(t, []store.Overdue{{Wish: store.Wish{ID: id, Episode: 1, Kind: store.UseClaim}, License: license, Step: store.StepBytes}}, due())
	require.NoError(t, b.submit(id))
	require.Equal(t, store.Approved, b.get(id).State)
}

// TestPayerTroubleOfAPollPausesNothing: a poll is about no payer, so such an answer may not hold back the claims of all.
func TestPayerTroubleOfAPollPausesNothing(t *testing.T) {
	for _, code := range []string{"GE-00012", "GE-00029"} {
		b := newBench(t)
		id := b.claim("APPROVE")
		b.answer(code, 1)
		require.Error(t, b.poll(), code)
		require.Empty(t, b.pauses(), code)
		require.NoError(t, b.submit(id))
		require.Equal(t, store.Approved, b.get(id).State, code)
	}
}

// TestGatewayOutcomeIsTriedAgain: what a server in between says in FHIR about itself is no answer to the claim.
func TestGatewayOutcomeIsTriedAgain(t *testing.T) {
	for _, tt := range []struct {
		status int
		code   string
	}{{503, "processing"}, {429, "processing"}, {200, "transient"}, {400, "timeout"}} {
		b := newBench(t)
		id := b.claim("APPROVE")
		first := true
		b.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
			if !first {
				return false
			}
			first = false
			w.Header().Set("Content-Type", "application/fhir+json")
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"`+tt.code+`"}]}`)
			return true
		}
		require.True(t, fault.Is(b.submit(id), fault.Network), tt)
		require.Equal(t, store.Submitting, b.get(id).State, tt)
		require.NoError(t, b.submit(id))
		require.Equal(t, store.Approved, b.get(id).State, tt)
	}
}

// mail makes the next poll bring these messages, and the ones after it nothing.
func (b *bench) mail(messages ...string) {
	b.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			b.t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if !bytes.Contains(body, []byte(`"poll-request"`)) {
			return false
		}
		entries := []string{
			`{"resource":{"resourceType":"MessageHeader","id":"h","eventCoding":{"code":"poll-response"},"response":{"code":"ok"}}}`,
			`{"resource":{"resourceType":"Task","status":"completed"}}`,
		}
		for _, m := range messages {
			entries = append(entries, `{"resource":`+m+`}`)
		}
		messages = nil
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = io.WriteString(w, `{"resourceType":"Bundle","type":"message","entry":[`+strings.Join(entries, ",")+`]}`)
		return true
	}
}

// decision is a payer's answer to a claim as it lies in the mailbox; request is the identifier it quotes, as JSON.
func decision(sender, request, outcome, benefit, created string) string {
	const ext = `{"url":"http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/extension-adjudication-`
	return `{"resourceType":"Bundle","type":"message","id":"` + uuid.NewString() + `","entry":[{"resource":{"resourceType":"MessageHeader","id":"` + uuid.NewString() + `",
		"eventCoding":{"code":"claim-response"},"sender":{"identifier":` + sender + `}}},{"resource":{"resourceType":"ClaimResponse","outcome":"complete",
		"created":"` + created + `","request":{"identifier":` + request + `},"extension":[` + ext + `outcome","valueCodeableConcept":{"coding":[{"code":"` + outcome + `"}]}},
		` + ext + `reissue","valueCodeableConcept":{"coding":[{"code":"correction"}]}}],
		"total":[{"category":{"coding":[{"code":"benefit"}]},"amount":{"value":` + benefit + `,"currency":"SAR"}}]}}]}`
}

// request is the identifier of a claim as an answer quotes it.
func (b *bench) request(id uuid.UUID) string {
	b.t.Helper()
	body, err := json.Marshal(b.get(id).Identifier)
	require.NoError(b.t, err)
	return string(body)
}

const payerSender = `{"system":"http://nphies.sa/license/payer-license","value":"DEMO-INS-0001"}`

// TestReissueThatReturns: a payer goes back to an earlier amount. What counts is what it said last, and each change is told.
func TestReissueThatReturns(t *testing.T) {
	b := newBench(t)
	id := b.claim("NEVER")
	require.NoError(t, b.submit(id))
	first := decision(payerSender, b.request(id), "partial", "80", "2026-03-01T10:00:00+03:00")
	for _, tt := range []struct{ message, paid string }{
		{first, "80.00"},
		{decision(payerSender, b.request(id), "approved", "100", "2026-03-02T10:00:00+03:00"), "100.00"},
		{first, "100.00"},
		{decision(payerSender, b.request(id), "partial", "80", "2026-03-03T10:00:00+03:00"), "80.00"},
		{decision(payerSender, b.request(id), "partial", "80", "2026-03-03T10:00:00+03:00"), "80.00"},
	} {
		b.mail(tt.message)
		require.NoError(t, b.poll())
		require.Equal(t, tt.paid, b.get(id).Approved.Decimal.StringFixed(2))
	}
	require.Equal(t, store.Partial, b.get(id).State)
	require.Equal(t, []string{submitted, approved, approved, approved}, b.events(&id))
}

// TestAnswerToAnotherMessage: an answer in real time that does not say which claim it is about, but names another message than
// ours as what it answers, is none to ours. One that names neither is taken, for it came on our connection.
func TestAnswerToAnotherMessage(t *testing.T) {
	for name, tt := range map[string]struct {
		header any
		taken  bool
	}{
		"another": {uuid.NewString(), false}, "none": {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			waiting, id := b.claim("NEVER"), b.claim("APPROVE")
			require.NoError(t, b.submit(waiting))
			task := b.ask(waiting, store.TaskStatus, "")
			check := b.check("ELG-1-SIM-ELIGIBLE")
			b.rewrite(func(o map[string]any) {
				switch o["resourceType"] {
				case "ClaimResponse", "CoverageEligibilityResponse":
					delete(o, "request")
				case "Task":
					delete(o, "focus")
				case "MessageHeader":
					if r, ok := o["response"].(map[string]any); ok {
						r["identifier"] = tt.header
					}
				}
			})
			claimErr := b.submit(id)
			_, taskErr := b.run(task)
			checkErr := b.Eligibility(t.Context(), tasks.NewEligibility(check, 1).Task)
			for what, err := range map[string]error{"claim": claimErr, "task": taskErr, "check": checkErr} {
				if tt.taken {
					require.NoError(t, err, what)
					continue
				}
				require.True(t, fault.Is(err, fault.API), "%s: %v", what, err)
				require.False(t, fault.Of(err).Permanent, what)
			}
			require.Equal(t, tt.taken, b.get(id).State == store.Approved)
			c, err := b.store.Check(t.Context(), check)
			require.NoError(t, err)
			require.Equal(t, tt.taken, c.State == store.CheckEligible)
		})
	}
}

// TestNumberWithoutNamespace: two systems may give the same number, so a number alone is ours only from whom our claim went to, or
// from NPHIES.
func TestNumberWithoutNamespace(t *testing.T) {
	for name, tt := range map[string]struct {
		sender  string
		matched bool
	}{
		"the payer":     {payerSender, true},
		"NPHIES":        {`{"system":"http://nphies.sa/license/nphies","value":"NPHIES"}`, true},
		"another payer": {`{"system":"http://nphies.sa/license/payer-license","value":"OTHER-INS"}`, false},
		"nobody":        {`{}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			id := b.claim("NEVER")
			require.NoError(t, b.submit(id))
			bare := `{"value":"` + b.get(id).Identifier.Value + `"}`
			message := func(event, resource string) string {
				return `{"resourceType":"Bundle","type":"message","entry":[{"resource":{"resourceType":"MessageHeader","eventCoding":{"code":"` + event + `"},
					"sender":{"identifier":` + tt.sender + `}}},{"resource":` + resource + `}]}`
			}
			b.mail(
				message("communication-request", `{"resourceType":"CommunicationRequest","about":[{"identifier":`+bare+`}]}`),
				message("payment-reconciliation", `{"resourceType":"PaymentReconciliation","detail":[{"request":{"identifier":`+bare+`},"amount":{"value":1}}]}`),
				decision(tt.sender, bare, "approved", "100", "2026-03-02T10:00:00+03:00"),
			)
			require.NoError(t, b.poll())
			asked, err := b.store.Communications(t.Context(), id)
			require.NoError(t, err)
			paid, err := b.store.PaymentsOf(t.Context(), id)
			require.NoError(t, err)
			unmatched, err := b.store.Inbox(t.Context(), store.InboxFilter{Unmatched: true})
			require.NoError(t, err)
			require.Equal(t, []bool{tt.matched, tt.matched, tt.matched, !tt.matched},
				[]bool{b.get(id).State == store.Approved, len(asked) == 1, len(paid) == 1, len(unmatched) == 2})
			b.mail(decision(tt.sender, b.request(id), "approved", "100", "2026-03-02T10:00:00+03:00"))
			require.NoError(t, b.poll())
			require.Equal(t, store.Approved, b.get(id).State, "with its namespace the number is enough")
		})
	}
}

// TestWarningBesideAnAnswer: a remark of NPHIES' beside an answer that is whole takes nothing from it.
func TestWarningBesideAnAnswer(t *testing.T) {
	for severity, taken := range map[string]bool{"warning": true, "Information": true, "error": false, "fatal": false} {
		b := newBench(t)
		claim, waiting := b.claim("PEND"), b.claim("NEVER")
		require.NoError(t, b.submit(claim))
		require.NoError(t, b.submit(waiting))
		task := b.ask(waiting, store.TaskStatus, "")
		b.rewrite(func(o map[string]any) {
			if entries, ok := o["entry"].([]any); ok {
				o["entry"] = append(entries, map[string]any{"resource": map[string]any{"resourceType": "OperationOutcome", "issue": []any{map[string]any{
					"severity": severity, "code": "business-rule", "details": map[string]any{"coding": []any{map[string]any{"code": "BV-00001"}}},
				}}}})
			}
		})
		got, err := b.run(task)
		require.NoError(t, err)
		require.Equal(t, taken, got.State == store.FHIRTaskCompleted, severity)
		err = b.poll()
		require.Equal(t, store.Approved, b.get(claim).State, severity)
		if taken {
			require.NoError(t, err, severity)
		} else {
			require.Error(t, err, severity)
		}
	}
}

// TestOneMoreTry: an error that one more try may cure has that one more try, whatever went wrong before it.
func TestOneMoreTry(t *testing.T) {
	const once = "GE-00026"
	for name, tt := range map[string]struct {
		codes []string
		state store.State
	}{
		"cured":                {[]string{once}, store.Approved},
		"twice":                {[]string{once, once}, store.Failed},
		"after a timeout":      {[]string{"GE-00014", once}, store.Approved},
		"twice after one":      {[]string{"GE-00014", once, once}, store.Failed},
		"a timeout in between": {[]string{once, "GE-00014", once}, store.Approved},
		"an unknown code":      {[]string{"GE-00014", "GE-99999", "GE-99999"}, store.Failed},
		"two that differ":      {[]string{once, "GE-99999"}, store.Approved},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			id := b.claim("APPROVE")
			for _, code := range tt.codes {
				b.answer(code, 1)
				_ = b.submit(id)
			}
			_ = b.submit(id)
			require.Equal(t, tt.state, b.get(id).State)
		})
	}
}
