package nphiesclient_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/nphiesclient"
)

// wrap makes a message of a focal resource, as it lies in a mailbox: without a response part.
func wrap(event, resource string) []byte {
	entries := []string{fmt.Sprintf(`{"fullUrl":"urn:uuid:h","resource":{"resourceType":"MessageHeader","id":"h","eventCoding":{"code":%q},
		"sender":{"identifier":{"system":"http://nphies.sa/license/payer-license","value":"DEMO-INS-0001"}},
		"focus":[{"reference":"urn:uuid:F"}]}}`, event), `{"fullUrl":"urn:uuid:f","resource":` + resource + `}`}
	return []byte(`{"resourceType":"Bundle","id":"b","type":"message","entry":[` + strings.Join(entries, ",") + `]}`)
}

func wrapped(t *testing.T, event, resource string) *nphiesclient.Answer {
	t.Helper()
	a := parse(t, wrap(event, resource))
	require.Equal(t, event, a.Event)
	_, err := nphiesclient.Inspect(wrap(event, resource))
	require.NoError(t, err)
	return a
}

// TestSparseAnswers: what NPHIES itself generates lacks much, is addressed by urn, and tags itself without a system.
func TestSparseAnswers(t *testing.T) {
	t.Parallel()
	a := wrapped(t, "claim-response", `{"resourceType":"ClaimResponse","id":"NOT-A-GUID","meta":{"tag":[{"code":"NPHIES generated","display":"NPHIES generated"}]},
		"created":"2026-02-10T06:30:00Z","outcome":"queued","patient":{"reference":"Patient/gone"},"insurer":{"reference":"organization/GONE"},
		"request":{"identifier":{"system":"s","value":"C-1"}}}`)
	require.True(t, a.NPHIESGenerated)
	require.Equal(t, "C-1", a.Claim.Request.Value)
	require.Equal(t, nphiesclient.StatePending, a.Claim.State())
	require.Empty(t, a.Claim.Totals)
	require.Empty(t, a.RequestHeaderID, "a polled message need not have a response part")
	require.Equal(t, "2026-02-10T09:30:00+03:00", a.Claim.Created.In(nphiesclient.Riyadh).Format("2006-01-02T15:04:05Z07:00"))

	for _, tag := range []string{`{"code":"queued-messages"}`, `{"system":"http://nphies.sa/terminology/CodeSystem/meta-tags","code":"Queued-Messages"}`} {
		raw := strings.Replace(string(wrap("claim-response", `{"resourceType":"ClaimResponse"}`)), `"id":"h",`, `"id":"h","meta":{"tag":[`+tag+`]},`, 1)
		require.True(t, parse(t, []byte(raw)).MoreQueued, tag)
	}
}

// TestAmountsToTheDigit: nothing is rounded, whatever the sender writes.
func TestAmountsToTheDigit(t *testing.T) {
	t.Parallel()
	for _, digits := range []string{"230", "230.5", "230.50", "230.505", "0.001", "1e2", `"30"`, "-3", "99999999999999.999999"} {
		raw := `{"resourceType":"ClaimResponse","outcome":"complete","total":[{"category":{"coding":[{"code":"benefit"}]},"amount":{"value":` + digits + `}}],
			"item":[{"itemSequence":"1","adjudication":[{"category":{"coding":[{"code":"benefit"}]},"amount":{"value":` + digits + `}},
			{"category":{"coding":[{"code":"approved-quantity"}]},"value":"30"}]}]}`
		c := wrapped(t, "claim-response", raw).Claim
		plain := strings.Trim(digits, `"`)
		require.Equal(t, plain, c.Totals["benefit"].Sent())
		require.True(t, c.Totals["benefit"].Equal(nphiesclient.MustAmount(plain)))
		require.Equal(t, plain, c.Items[0].Amounts["benefit"].Sent())
		require.Equal(t, 1, c.Items[0].Sequence)
		require.Equal(t, "30", c.Items[0].Values["approved-quantity"].String())
	}
	in, err := nphiesclient.Inspect(wrap("claim-response", `{"resourceType":"ClaimResponse","total":[{"category":{"coding":[{"code":"tax"}]},"amount":{"value":1.005}}]}`))
	require.NoError(t, err)
	require.Equal(t, "1.005", in.Totals["tax"])
}

// TestMailboxEvents: each kind of message that nobody asked for is recognised; the unknown is kept with its envelope.
func TestMailboxEvents(t *testing.T) {
	t.Parallel()
	advanced := wrapped(t, "advanced-authorization", `{"resourceType":"ClaimResponse","use":"preauthorization","outcome":"complete",
		"extension":[{"url":"http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/extension-adjudication-outcome","valueCodeableConcept":{"coding":[{"code":"approved"}]}}],
		"preAuthRef":"AUTH-9","preAuthPeriod":{"start":"2026-03-01","end":"2026-03-31"},
		"addItem":[{"itemSequence":[3],"productOrService":{"coding":[{"system":"s","code":"83600-00-10","display":"Visit"}]},"quantity":{"value":"2"},
		"extension":[{"url":"http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/extension-adjudication-outcome","valueCodeableConcept":{"coding":[{"code":"approved"}]}}],
		"adjudication":[{"category":{"coding":[{"code":"benefit"}]},"amount":{"value":120.5,"currency":"SAR"}}]}]}`).Claim
	require.True(t, advanced.Request.IsZero(), "nobody asked")
	require.Equal(t, nphiesclient.StateApproved, advanced.State())
	require.Equal(t, "AUTH-9", advanced.PreAuthRef)
	require.Equal(t, nphiesclient.Period{Start: "2026-03-01", End: "2026-03-31"}, advanced.PreAuthPeriod)
	require.Len(t, advanced.Added, 1)
	line := advanced.Added[0]
	require.Equal(t, "3 83600-00-10 2 approved 120.50", fmt.Sprint(line.Sequence, " ", line.Product.Code, " ", line.Quantity, " ", line.Outcome, " ", line.Amounts["benefit"]))

	asked := wrapped(t, "communication-request", `{"resourceType":"CommunicationRequest","about":[{"identifier":{"system":"s","value":"C-1"}},{"display":"?"}],
		"basedOn":[{"identifier":{"value":"R-1"}}],"payload":[{"contentString":"Please send the report"},{"contentAttachment":{"title":"form.pdf","data":"AAAA"}}],
		"reasonCode":[{"coding":[{"code":"missing-attach"}]},{"coding":[{"code":"missing-info"}]}]}`).Communication
	require.Equal(t, []string{"Please send the report"}, asked.Texts)
	require.Equal(t, []string{"form.pdf"}, asked.Attachments)
	require.Equal(t, []string{"missing-attach", "missing-info"}, asked.Reasons)
	require.Equal(t, "C-1 R-1", asked.About[0].Value+" "+asked.BasedOn[0].Value)

	ack := wrapped(t, "acknowledgement", `{"resourceType":"Communication","identifier":[{"value":"K-1"}]}`)
	require.Equal(t, "K-1", ack.Communication.Identifier.Value)

	for _, event := range []string{"referral-response", "prescriber-response", "something-new"} {
		a := wrapped(t, event, `{"resourceType":"ServiceRequest","id":"f"}`)
		require.Nil(t, a.Claim)
		require.Equal(t, "DEMO-INS-0001", a.Sender.Value)
	}
	free := wrapped(t, "priorauth-response", `{"resourceType":"ClaimResponse","use":"preauthorization","outcome":"complete",
		"extension":[{"url":"x/extension-adjudication-outcome","valueCodeableConcept":{"coding":[{"code":"not-required"}]}}]}`).Claim
	require.Equal(t, nphiesclient.StateApproved, free.State(), "no authorization is needed")
	require.False(t, free.Undecided())
}

func TestPaymentBalance(t *testing.T) {
	t.Parallel()
	detail := func(amount string, components ...string) string {
		var ext []string
		for i, c := range components {
			name := []string{"payment", "early-fee", "nphies-fee"}[i]
			ext = append(ext, fmt.Sprintf(`{"url":"x/extension-component-%s","valueMoney":{"value":%s}}`, name, c))
		}
		return fmt.Sprintf(`{"extension":[%s],"type":{"coding":[{"code":"adjustment"}]},"date":"2026-03-01","amount":{"value":%s},
			"request":{"identifier":{"value":"C-1"}},"response":{"identifier":{"value":"R-1"}}}`, strings.Join(ext, ","), amount)
	}
	payment := func(total string, details ...string) *nphiesclient.PaymentAnswer {
		return wrapped(t, "payment-reconciliation", fmt.Sprintf(`{"resourceType":"PaymentReconciliation","identifier":[{"value":"PAY-1"}],
			"period":{"start":"2026-02-01","end":"2026-02-28"},"paymentDate":"2026-03-09","disposition":"Settlement","paymentAmount":{"value":%s},
			"paymentIdentifier":{"type":{"coding":[{"code":"eft"}]},"system":"s","value":"EFT-1"},"detail":[%s]}`, total, strings.Join(details, ","))).Payment
	}
	for _, c := range []struct {
		balanced bool
		total    string
		details  []string
	}{
		{true, "297.15", []string{detail("297.15", "300.15", "0", "-3")}},
		{true, "0.3", []string{detail("0.1", "0.1"), detail("0.2")}},
		{true, "0", nil},
		{false, "297.16", []string{detail("297.15", "300.15", "0", "-3")}},
		{false, "297.15", []string{detail("297.15", "300.15", "0", "-3.01")}},
		{false, "10", nil},
	} {
		require.Equal(t, c.balanced, payment(c.total, c.details...).Balanced(), "%+v", c)
	}
	p := payment("1", detail("1", "2", "-0.5", "-0.5"))
	d := p.Details[0]
	require.Equal(t, "eft EFT-1 2026-03-09 2026-02-01 2026-02-28 Settlement", strings.Join([]string{p.Method, p.Payment.Value, p.Date, p.Period.Start, p.Period.End, p.Disposition}, " "))
	require.Equal(t, "adjustment C-1 R-1 2026-03-01 2.00 -0.50 -0.50",
		fmt.Sprint(d.Type, " ", d.Request.Value, " ", d.Response.Value, " ", d.Date, " ", d.Payment, " ", d.EarlyFee, " ", d.NPHIESFee))
	in, err := nphiesclient.Inspect(wrap("payment-reconciliation", `{"resourceType":"PaymentReconciliation","paymentAmount":{"value":1}}`))
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, in.WriteText(&b))
	require.Contains(t, b.String(), "the amounts do not add up")
}

// TestUnreadablePayment: an amount that is no number, or not of riyals, is unknown, never 0.00, and the payment does not balance.
func TestUnreadablePayment(t *testing.T) {
	t.Parallel()
	lines := func(total, amount, fee string) []byte {
		return wrap("payment-reconciliation", fmt.Sprintf(`{"resourceType":"PaymentReconciliation","paymentAmount":%s,"detail":[
			{"type":{"coding":[{"code":"payment"}]},"amount":%s,"request":{"identifier":{"value":"C-1"}},"response":{"identifier":{"value":"R-1"}},
			"extension":[{"url":"x/extension-component-payment","valueMoney":{"value":5}},{"url":"x/extension-component-nphies-fee","valueMoney":%s}]}]}`, total, amount, fee))
	}
	for _, c := range []struct{ total, amount, fee, text string }{
		{`{"value":"5,00"}`, `{"value":5}`, `{"value":0}`, "total paid        unreadable\n"},
		{`{"value":0}`, `{"value":"abc"}`, `{"value":0}`, "payment           unreadable, payment 5.00, NPHIES fee 0.00, claim C-1, answer R-1\n"},
		{`{"value":5}`, `{"value":5}`, `{"value":"-"}`, "payment           5.00 SAR, payment 5.00, NPHIES fee unreadable, claim C-1, answer R-1\n"},
		{`{"value":5}`, `{"currency":"SAR"}`, `{"value":0}`, "payment           unreadable,"},
		{`{"value":5,"currency":"USD"}`, `{"value":5}`, `{"value":0}`, "total paid        unreadable\n"},
		{`{"value":5}`, `{"value":5,"currency":"USD"}`, `{"value":0}`, "payment           unreadable,"},
		{`{"value":5}`, `{"value":5}`, `{"value":0,"currency":"USD"}`, "NPHIES fee unreadable,"},
	} {
		body := lines(c.total, c.amount, c.fee)
		require.False(t, parse(t, body).Payment.Balanced(), "%+v", c)
		in, err := nphiesclient.Inspect(body)
		require.NoError(t, err)
		var b strings.Builder
		require.NoError(t, in.WriteText(&b))
		require.Contains(t, b.String(), c.text)
		require.Contains(t, b.String(), "the amounts do not add up")
	}
	none := parse(t, wrap("payment-reconciliation", `{"resourceType":"PaymentReconciliation","detail":[{"type":{"coding":[{"code":"payment"}]}}]}`)).Payment
	require.Nil(t, none.Amount)
	require.Nil(t, none.Details[0].Amount)
	require.False(t, none.Balanced(), "what nobody tells is not balanced")
	for _, currency := range []string{"SAR", "sar", ""} {
		sum := fmt.Sprintf(`{"value":5,"currency":%q}`, currency)
		require.True(t, parse(t, lines(sum, sum, `{"value":0}`)).Payment.Balanced(), currency)
	}
}

// TestUnreadableAmounts: what a payer pays is known only when every amount it is made of is.
func TestUnreadableAmounts(t *testing.T) {
	t.Parallel()
	line := func(category, value string) string {
		return fmt.Sprintf(`{"category":{"coding":[{"code":"%s"}]},"amount":{"value":%s}}`, category, value)
	}
	item := func(outcome string, lines ...string) string {
		return fmt.Sprintf(`{"itemSequence":1,"extension":[{"url":"x/extension-adjudication-outcome","valueCodeableConcept":{"coding":[{"code":"%s"}]}}],"adjudication":[%s]}`,
			outcome, strings.Join(lines, ","))
	}
	list := func(s ...string) string { return "[" + strings.Join(s, ",") + "]" }
	for _, c := range []struct{ outcome, totals, items, paid, text string }{
		{"approved", list(line("benefit", "170"), line("tax", `"25.50"`)), "[]", "195.50", "pays              195.50 SAR\n"},
		{"approved", list(line("benefit", `"1.000,00"`)), list(item("approved", line("benefit", "1"))), "", "total benefit     unreadable\n"},
		{"approved", list(line("benefit", "1"), line("tax", `"?"`)), "[]", "", "total tax         unreadable\n"},
		{"approved", "[]", list(item("approved", line("benefit", `"x"`))), "", "item 1            approved, benefit unreadable\n"},
		{"approved", "[]", list(item("approved", line("benefit", "7"), line("tax", "1.05"))), "8.05", "item 1            approved, benefit 7.00, tax 1.05\n"},
		{"partial", "[]", list(item("approved", line("benefit", "7")), item("approved", line("tax", "1"))), "", "item 1            approved, tax 1.00\n"},
		{"partial", "[]", list(item("approved", line("benefit", "7")), item("rejected", line("rejected", "1"))), "7.00", "rejected 1.00\n"},
		{"approved", "[]", "[]", "", "adjudication      approved\n"},
		{"rejected", "[]", list(item("rejected", line("rejected", "9"))), "0.00", "pays              0.00 SAR\n"},
		{"rejected", "[]", list(item("rejected", line("benefit", `"x"`))), "", "benefit unreadable\n"},
		{"approved", list(line("benefit", `170,"currency":"USD"`)), "[]", "", "total benefit     unreadable\n"},
		{"approved", "[]", list(item("approved", line("benefit", `7,"currency":"USD"`))), "", "item 1            approved, benefit unreadable\n"},
		{"approved", list(line("benefit", `170,"currency":"SAR"`)), "[]", "170.00", "pays              170.00 SAR\n"},
	} {
		body := wrap("claim-response", fmt.Sprintf(`{"resourceType":"ClaimResponse","outcome":"complete","total":%s,"item":%s,
			"extension":[{"url":"x/extension-adjudication-outcome","valueCodeableConcept":{"coding":[{"code":"%s"}]}}]}`, c.totals, c.items, c.outcome))
		require.Equal(t, c.paid, paidOf(parse(t, body).Claim), "%+v", c)
		in, err := nphiesclient.Inspect(body)
		require.NoError(t, err)
		require.Equal(t, c.paid, in.Paid, "%+v", c)
		var b strings.Builder
		require.NoError(t, in.WriteText(&b))
		require.Contains(t, b.String(), c.text)
	}
}

// TestControlCharacters: no parsed text holds one, wherever it stood; documents and ready messages with them are refused.
func TestControlCharacters(t *testing.T) {
	t.Parallel()
	raw := strings.ReplaceAll(string(message(t, "poll-response-multi.json")), "DEMO", `DE\u0000\u001b\u0085MO`)
	raw = strings.ReplaceAll(raw, "Please attach", `Please\u0000\n attach`)
	a := parse(t, []byte(raw))
	about := claimID
	about.Value = strings.Replace(about.Value, "DEMO", "DE\ufffd\ufffd\ufffdMO", 1)
	require.Equal(t, []nphiesclient.Identifier{about}, a.Poll.Nested[0].Answer.Communication.About, "another claim than CLM-DEMO")
	require.Equal(t, "Please\ufffd\n attach the laboratory report for item 2", a.Poll.Nested[0].Answer.Communication.Texts[0])
	noControl(t, reflect.ValueOf(a))
	in, err := nphiesclient.Inspect([]byte(raw))
	require.NoError(t, err)
	noControl(t, reflect.ValueOf(in))

	_, err = nphiesclient.ParseInput([]byte(`{"document":"nphiesq/claim/v1","claim_number":"A\u0000"}`))
	requireFinding(t, err, "document", "claim_number")
	ready := strings.Replace(string(message(t, "claim-request-professional.json")), "CLM-DEMO-000201", `CLM-DEMO-\u0000000201`, 1)
	_, err = (&nphiesclient.Input{Message: []byte(ready)}).Request(nphiesclient.BuildOptions{})
	requireFinding(t, err, "GE-00013", "Bundle.entry[1].resource.identifier[0].value")
}

// noControl walks every text below v but raw bytes.
func noControl(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() { //nolint:exhaustive // others hold no text
	case reflect.String:
		require.False(t, strings.ContainsFunc(v.String(), func(r rune) bool { return unicode.IsControl(r) && r != '\n' }), "%q", v.String())
	case reflect.Pointer:
		if !v.IsNil() {
			noControl(t, v.Elem())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			noControl(t, v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			noControl(t, k)
		}
	case reflect.Struct:
		for _, f := range v.Fields() {
			noControl(t, f)
		}
	}
}
