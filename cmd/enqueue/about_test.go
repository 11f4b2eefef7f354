package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

func pending(t *testing.T, queue string) int {
	t.Helper()
	rc, err := broker.Connect(os.Getenv("REDIS_URL"))
	require.NoError(t, err)
	defer rc.Close()
	info, err := broker.New(rc).Inspector().GetQueueInfo(queue)
	if err != nil {
		return 0
	}
	return info.Pending
}

func TestCancelAndCheckOnTheCommandLine(t *testing.T) {
	site(t)
	claims, _, _ := enq(t, "", "generate", "-n", "2", "--seed", "5")
	out, _, code := enq(t, claims, "submit", "-")
	require.Zero(t, code)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	unsent, _, _ := strings.Cut(lines[0], "\t")
	sent, _, _ := strings.Cut(lines[1], "\t")
	s := store.New(testenvPool(t), store.Options{})

	for _, bad := range [][]string{{"cancel", unsent}, {"cancel", unsent, "--reason", "tired"}, {"status", "--check"}, {"cancel", "--reason", "WI"}} {
		_, stderr, code := enq(t, "", bad...)
		require.Equal(t, 2, code, "%v", bad)
		require.Contains(t, stderr, "enqueue: ")
	}
	_, stderr, code := enq(t, "", "status", "--check", unsent)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "not sent yet")
	_, stderr, code = enq(t, "", "cancel", "--reason", "WI", "CLM-UNKNOWN")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "no claim has this id or number")

	out, _, code = enq(t, "", "cancel", "--reason", "WI", "--note", "entered twice", unsent)
	require.Zero(t, code)
	require.Contains(t, out, "never sent")
	c, err := s.Claim(t.Context(), uuid.MustParse(unsent))
	require.NoError(t, err)
	require.Equal(t, store.Cancelled, c.State)
	_, stderr, code = enq(t, "", "cancel", "--reason", "WI", unsent)
	require.Zero(t, code)
	require.Contains(t, stderr, "cancelled already")

	// The other one was sent; by its number this time.
	c, _, _, _, err = s.BeginSubmit(t.Context(), uuid.MustParse(sent))
	require.NoError(t, err)
	out, stderr, code = enq(t, "", "cancel", "--reason", "NP", c.Identifier.Value)
	require.Zero(t, code, stderr)
	require.Contains(t, out, "\tcancel\treceived\t")
	require.Equal(t, 1, pending(t, tasks.QueueCancel))
	_, stderr, code = enq(t, "", "cancel", "--reason", "NP", sent)
	require.Zero(t, code)
	require.Contains(t, stderr, "on its way already")
	out, stderr, code = enq(t, "", "status", "--check", sent, "--timeout", "1ms", "--output", "json")
	require.Equal(t, 1, code, "no worker runs")
	require.Contains(t, stderr, "without an answer")
	require.Contains(t, out, `"code":"status"`)
	require.Equal(t, 1, pending(t, tasks.QueueStatus))
	trail, err := s.Actions(t.Context(), sent, 0)
	require.NoError(t, err)
	require.Equal(t, "requested", trail[0].Outcome)
}

func TestInboxPaymentsAndPauses(t *testing.T) {
	site(t)
	s := store.New(testenvPool(t), store.Options{})
	answer, err := s.KeepPollAnswer(t.Context(), "PR-1", store.Message{Event: "poll-response", Body: []byte("{}")}, false)
	require.NoError(t, err)
	position := 0
	_, err = s.RecordNested(t.Context(), store.Nested{
		Message: store.Message{Event: "payment-reconciliation", License: "PR-1", ParentID: &answer, Position: &position, Body: []byte("{}")},
		Payment: &store.Payment{
			Payer: "INS-1", Identifier: store.Identifier{System: "http://p.example/pay", Value: "PAY-7"}, Amount: dec("100.5"), DetailSum: dec("100.25"),
			Details: []store.PaymentDetail{{Type: "payment", Request: store.Identifier{Value: "CLM-9"}, Amount: dec("100.25"), Payment: dec("101"), EarlyFee: dec("-0.5"), NPHIESFee: dec("-0.25")}},
		},
	}, nil)
	require.NoError(t, err)
	out, _, code := enq(t, "", "inbox")
	require.Zero(t, code)
	require.Contains(t, out, "payment-reconciliation\tPAY-7\tmatched")
	out, _, code = enq(t, "", "inbox", "--unmatched")
	require.Zero(t, code)
	require.Empty(t, out)
	out, _, code = enq(t, "", "payments")
	require.Zero(t, code)
	require.Contains(t, out, "PAY-7\tINS-1\t100.5 SAR\t1 lines, 0 of our claims\tnot balanced, the lines sum to 100.25 SAR")
	id, _, _ := strings.Cut(out, "\t")
	out, _, code = enq(t, "", "payments", "--output", "json", id)
	require.Zero(t, code)
	require.Contains(t, out, `"amount":"100.25","payment":"101","early_fee":"-0.5","nphies_fee":"-0.25"`)
	// What came and is no number is not 0.
	position++
	_, err = s.RecordNested(t.Context(), store.Nested{
		Message: store.Message{Event: "payment-reconciliation", License: "PR-1", ParentID: &answer, Position: &position, Body: []byte("{}")},
		Payment: &store.Payment{
			Payer: "INS-1", Identifier: store.Identifier{Value: "PAY-8"}, Details: []store.PaymentDetail{{Type: "payment", Request: store.Identifier{Value: "CLM-9"}}},
		},
	}, nil)
	require.NoError(t, err)
	out, _, code = enq(t, "", "payments")
	require.Zero(t, code)
	require.Contains(t, out, "PAY-8\tINS-1\tunknown\t1 lines, 0 of our claims\tnot balanced, the lines sum to unknown")
	_, stderr, code := enq(t, "", "payments", uuid.NewString())
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "no payment came")

	_, _, err = s.Pause(t.Context(), store.NewPause{License: "PR-1", Payer: "INS-1", Trouble: store.Trouble{Kind: "api", Code: "GE-00029", Text: "payer account blocked"}}, nil)
	require.NoError(t, err)
	out, _, code = enq(t, "", "pauses")
	require.Zero(t, code)
	require.Equal(t, "PR-1\tINS-1\tuntil resumed\tpayer account blocked\n", out)
	for want, args := range map[int][]string{2: {"pauses", "resume", "PR-1", "--payer", "INS-1"}, 1: {"pauses", "resume", "PR-1", "--reason", "x"}} {
		_, _, code = enq(t, "", args...)
		require.Equal(t, want, code, "%v", args)
	}
	out, _, code = enq(t, "", "pauses", "resume", "PR-1", "--payer", "INS-1", "--reason", "they opened it")
	require.Zero(t, code)
	require.Contains(t, out, "resumed")
	out, _, code = enq(t, "", "pauses", "list", "--output", "json")
	require.Zero(t, code)
	require.Empty(t, out)
}

func dec(s string) decimal.NullDecimal {
	return decimal.NewNullDecimal(decimal.RequireFromString(s))
}
