package web_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/store"
)

func TestPausesAreShownAndResumed(t *testing.T) {
	s := open(t)
	_, _, err := s.store.Pause(t.Context(), store.NewPause{License: "PR-1", Trouble: store.Trouble{Kind: "api", Code: "GE-00030", Text: "account blocked"}}, nil)
	require.NoError(t, err)
	_, _, err = s.store.Pause(t.Context(), store.NewPause{
		License: "PR-1", Payer: "INS-1", Trouble: store.Trouble{Kind: "network", Code: "GE-00012", Text: "payer offline"},
		For: func(int) time.Duration { return time.Hour },
	}, nil)
	require.NoError(t, err)
	amal, vera := s.signIn(t, "amal"), s.signIn(t, "vera")
	_, page := amal.get("/")
	require.Contains(t, page, "Nothing is sent for PR-1 until somebody resumes it: account blocked")
	require.NotContains(t, page, "payer INS-1", "that mends itself")
	_, page = vera.get("/pauses")
	require.Contains(t, page, "GE-00030")
	require.Contains(t, page, "to payer INS-1")
	require.NotContains(t, page, "Resume now", "a viewer looks")
	r, _ := vera.post("/pauses/resume", url.Values{"csrf": {vera.csrf()}, "license": {"PR-1"}, "reason": {"x"}})
	require.Equal(t, http.StatusForbidden, r.StatusCode)

	_, page = amal.get("/pauses")
	require.Contains(t, page, "Resume now")
	for reason, want := range map[string]string{"": "no-reason", "they opened it": "resumed"} {
		r, _ = amal.post("/pauses/resume", url.Values{"csrf": {amal.csrf()}, "license": {"PR-1"}, "payer": {""}, "reason": {reason}})
		require.Equal(t, "/pauses?result="+want, r.Header.Get("Location"))
	}
	r, _ = amal.post("/pauses/resume", url.Values{"csrf": {amal.csrf()}, "license": {"PR-1"}, "payer": {""}, "reason": {"again"}})
	require.Equal(t, "/pauses?result=no-pause", r.Header.Get("Location"))
	left, err := s.store.Pauses(t.Context())
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, []string{"amal", "resume", "already"}, []string{s.actions(t)[0].Actor, s.actions(t)[0].Verb, s.actions(t)[0].Outcome})
}

func TestClaimPageShowsWhatTheMailboxBrought(t *testing.T) {
	s := open(t)
	c := s.claim(t)
	s.mailbox(t, c)
	v := s.signIn(t, "vera")
	for path, want := range map[string][]string{
		"/claims/" + c.ID.String():    {"The payer asks for information", "missing-info", "CR-1", "Payments", "195.50"},
		"/inbox":                      {"communication-request", "PAY-1", "AUTH-9"},
		"/inbox?event=claim-response": {"None."},
		"/inbox?unmatched=1":          {"None."},
		"/payments":                   {"PAY-1", "balances", "1, 1 of our claims"},
	} {
		_, page := v.get(path)
		for _, w := range want {
			require.Contains(t, page, w, path)
		}
	}
	list, err := s.store.Payments(t.Context(), 0)
	require.NoError(t, err)
	_, page := v.get("/payments/" + list[0].MessageID.String())
	require.Contains(t, page, c.Identifier.Value)

	// What came and is no number is not 0.
	unknown := store.Nested{
		Message: store.Message{License: c.License, ParentID: &list[0].MessageID, Position: new(int), Body: []byte("{}"), Event: "payment-reconciliation"},
		Payment: &store.Payment{Payer: "INS-1", Identifier: store.Identifier{Value: "PAY-2"}, Details: []store.PaymentDetail{{Type: "payment", Request: store.Identifier(c.Identifier)}}},
	}
	_, err = s.store.RecordNested(t.Context(), unknown, nil)
	require.NoError(t, err)
	list, err = s.store.Payments(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, "PAY-2", list[0].Identifier.Value)
	_, page = v.get("/payments/" + list[0].MessageID.String())
	require.Contains(t, page, "unknown")
	require.NotContains(t, page, "0.00")

	auths, err := s.store.AdvancedAuthorizations(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, "AUTH-9", auths[0].PreAuthRef)
}

func amount(s string) decimal.NullDecimal {
	return decimal.NewNullDecimal(decimal.RequireFromString(s))
}

// mailbox brings a request for information, a payment and an authorization that nobody asked for.
func (s *site) mailbox(t *testing.T, c store.Claim) {
	t.Helper()
	answer, err := s.store.KeepPollAnswer(t.Context(), c.License, store.Message{Event: "poll-response", Body: []byte("{}")}, false)
	require.NoError(t, err)
	for i, n := range []store.Nested{
		{Message: store.Message{Event: "communication-request", ClaimID: &c.ID}, Communication: &store.Communication{Identifier: store.Identifier{Value: "CR-1"}, Reasons: []string{"missing-info"}}},
		{Message: store.Message{Event: "payment-reconciliation"}, Payment: &store.Payment{
			Payer: "INS-1", Identifier: store.Identifier{Value: "PAY-1"}, Amount: amount("195.50"), DetailSum: amount("195.5"), Balanced: true,
			Details: []store.PaymentDetail{{ClaimID: &c.ID, Type: "payment", Request: store.Identifier(c.Identifier), Amount: amount("195.5")}},
		}},
		{Message: store.Message{Event: "advanced-authorization"}, Authorization: &store.AdvancedAuthorization{Payer: "INS-1", PreAuthRef: "AUTH-9", Adjudication: "approved", Items: 2}},
	} {
		n.Message.License, n.Message.ParentID, n.Message.Position, n.Message.Body = c.License, &answer, &i, []byte("{}")
		_, err := s.store.RecordNested(t.Context(), n, nil)
		require.NoError(t, err)
		_, err = s.store.RecordNested(t.Context(), n, nil)
		require.NoError(t, err, "again")
	}
}
