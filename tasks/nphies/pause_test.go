package nphies_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/nphiesclient"
	"github.com/claimlinc/nphiesq/tasks"
	"github.com/claimlinc/nphiesq/tasks/nphies"
)

func (b *bench) pauses() []store.Pause {
	b.t.Helper()
	list, err := b.store.Pauses(b.t.Context())
	require.NoError(b.t, err)
	return list
}

// waiting lists the claims that the reconciler would enqueue now.
func (b *bench) waiting() []uuid.UUID {
	b.t.Helper()
	wishes, err := b.store.ClaimsToSubmit(b.t.Context(), b.now().Add(time.Minute), uuid.Nil, 100)
	require.NoError(b.t, err)
	var out []uuid.UUID
	for _, w := range wishes {
		out = append(out, w.ID)
	}
	return out
}

func TestOpsErrorPausesTheLicence(t *testing.T) {
	for code, payer := range map[string]bool{
		"GE-00009": false, "GE-00010": false, "GE-00019": false, "GE-00020": false, "GE-00029": true, "GE-00030": false, "BV-00077": false, "BV-00195": false,
		"BV-00196": false, "1679": false,
	} {
		t.Run(code, func(t *testing.T) {
			b := newBench(t)
			first, second := b.claim("APPROVE"), b.claim("APPROVE")
			b.answer(code, 1)
			require.NoError(t, b.submit(first), "the claim is parked, its task is done")
			c := b.get(first)
			require.Equal(t, store.Submitting, c.State)
			require.Equal(t, code, c.ErrorCode)
			require.Len(t, b.pauses(), 1)
			p := b.pauses()[0]
			require.Equal(t, code, p.ErrorCode)
			require.Nil(t, p.Until, "a person must act")
			require.Equal(t, payer, p.Payer != "")

			before := b.sim.Stats().Requests
			require.NoError(t, b.submit(second))
			require.NoError(t, b.submit(first))
			require.Equal(t, before, b.sim.Stats().Requests, "nothing is sent")
			require.Equal(t, store.Received, b.get(second).State)
			require.Zero(t, b.get(second).Attempts, "no attempt is used up")
			require.Empty(t, b.waiting(), "nor does the reconciler ask for it")
			require.Equal(t, []string{"nphies.api.error"}, b.events(nil), "told once")

			applied, err := b.store.Resume(t.Context(), license, p.Payer, store.Decision{Actor: "amal", Source: "cli", Reason: "account is open again"})
			require.NoError(t, err)
			require.True(t, applied)
			require.ElementsMatch(t, []uuid.UUID{first, second}, b.waiting())
			require.NoError(t, b.submit(first))
			require.NoError(t, b.submit(second))
			require.Equal(t, store.Approved, b.get(first).State)
			require.Equal(t, store.Approved, b.get(second).State)
			require.Equal(t, 1, b.simClaim(b.get(first)).DistinctBodies)
			trail, err := b.store.Actions(t.Context(), "", 0)
			require.NoError(t, err)
			require.Equal(t, "resume", trail[0].Verb)
			again, err := b.store.Resume(t.Context(), license, p.Payer, store.Decision{Actor: "amal", Source: "cli", Reason: "again"})
			require.NoError(t, err)
			require.False(t, again)
		})
	}
}

func TestQueuedContentMissingStopsNothing(t *testing.T) {
	b := newBench(t)
	b.claim("APPROVE")
	b.answer("GE-00023", 1)
	require.NoError(t, b.poll())
	require.Empty(t, b.pauses())
	require.Equal(t, []string{"nphies.api.error"}, b.events(nil))
}

func TestOfflinePayerBacksOff(t *testing.T) {
	b := newBench(t)
	id := b.claim("APPROVE")
	b.answer("GE-00012", 5)
	for failures := 1; failures <= 5; failures++ {
		require.NoError(t, b.submit(id))
		p := b.pauses()[0]
		require.Equal(t, failures, p.Failures)
		require.NotEmpty(t, p.Payer, "other payers' claims go on")
		wait := p.Until.Sub(b.now())
		want := time.Minute << (failures - 1)
		require.InDelta(t, want.Seconds(), wait.Seconds(), want.Seconds()*0.26, "it grows")
		require.Equal(t, failures+1, b.get(id).Episode, "the next try is booked for that moment, as a new task")
		require.NoError(t, b.submit(id), "while it lasts")
		require.Equal(t, failures, b.get(id).Attempts)
		require.Equal(t, failures, b.pauses()[0].Failures)
		if failures < 4 {
			require.Empty(t, b.events(nil), "what mends itself costs no card")
		} else {
			require.Equal(t, []string{"nphies.api.error"}, b.events(nil), "told once")
		}
		b.pass(wait + time.Second)
	}
	require.Equal(t, []uuid.UUID{id}, b.waiting())
	require.NoError(t, b.submit(id))
	require.Equal(t, store.Approved, b.get(id).State)
	require.Empty(t, b.pauses(), "the payer is back")
	require.Equal(t, 1, b.simClaim(b.get(id)).DistinctBodies)
}

func TestOfflineByTheSimulator(t *testing.T) {
	b := newBench(t)
	id := b.claim("OFFLINE")
	for b.get(id).State != store.Approved {
		require.NoError(t, b.submit(id))
		require.LessOrEqual(t, b.get(id).Attempts, 5)
		b.pass(time.Hour)
	}
	require.Equal(t, []string{"nphies.claim.submitted", "nphies.claim.approved"}, b.events(&id), "an error that a retry cures costs no card")
}

func TestOtherPayersGoOn(t *testing.T) {
	b := newBench(t)
	a, c := b.claim("APPROVE"), b.claim("APPROVE")
	_, err := b.pool.Exec(t.Context(), `UPDATE claims SET payer = 'OTHER' WHERE id = $1`, c)
	require.NoError(t, err)
	b.answer("GE-00012", 1)
	require.NoError(t, b.submit(a))
	require.NoError(t, b.submit(c))
	require.Equal(t, store.Submitting, b.get(a).State)
	require.Equal(t, store.Approved, b.get(c).State)
	require.Len(t, b.pauses(), 1)
}

func TestCertificateTroublePausesUntilItIsMended(t *testing.T) {
	b := newBench(t)
	id := b.claim("APPROVE")
	// A server whose certificate we do not know: the handshake fails before anything is sent.
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a message got through") }))
	t.Cleanup(srv.Close)
	client, err := nphiesclient.New(nphiesclient.Config{BaseURL: srv.URL, Timeout: 5 * time.Second})
	require.NoError(t, err)
	bad := nphies.New(b.store, nphiesclient.OneClient(client), b.queue, testenv.Logger(t), nphies.Options{
		PollInterval: time.Hour, PollCount: 10, RecheckAfter: time.Hour, OfflineRetry: time.Minute, IdentifierBase: "http://nphiesq.example", Endpoint: "nphies.example", Now: b.now,
	})
	require.NoError(t, bad.Submit(t.Context(), tasks.NewSubmit(id, 1).Task))
	require.NoError(t, bad.Poll(t.Context(), tasks.NewPoll(license, b.now()).Task))
	p := b.pauses()[0]
	require.Equal(t, "certificate", p.ErrorKind)
	require.Empty(t, p.Payer)
	require.NotNil(t, p.Until, "a handshake is tried again by itself")
	require.Equal(t, []string{"nphies.api.error"}, b.events(nil), "told once, at once")
	require.Equal(t, "certificate", b.get(id).ErrorKind)

	// The certificate is mended: the next poll shows it, nobody needs to resume.
	require.NoError(t, b.poll())
	require.Empty(t, b.pauses())
	require.NoError(t, b.submit(id))
	require.Equal(t, store.Approved, b.get(id).State)
}

func TestPollRefusedForTheSenderPauses(t *testing.T) {
	b := newBench(t)
	b.claim("APPROVE")
	b.answer("GE-00020", 1)
	require.NoError(t, b.poll(), "people know")
	require.Equal(t, "GE-00020", b.pauses()[0].ErrorCode)
	states, err := b.store.PollStates(t.Context())
	require.NoError(t, err)
	require.Equal(t, "certificate", states[0].ErrorKind)
	require.True(t, states[0].NextPollAt.After(b.now()), "it is tried again at its usual time")
	require.NoError(t, b.poll())
	require.Empty(t, b.pauses())
}

// TestKnownClaimGoesToThePoll: NPHIES says that it has the claim already, so its answer may wait in the mailbox.
func TestKnownClaimGoesToThePoll(t *testing.T) {
	for _, code := range []string{"BV-00163", "BV-00457", "BV-00532", "BV-00533", "BV-00542"} {
		b := newBench(t)
		id := b.claim("APPROVE")
		b.answer(code, 1)
		require.NoError(t, b.submit(id))
		require.Equal(t, store.Pending, b.get(id).State)
		require.Equal(t, 1, b.queue.polls, code)
		require.NotContains(t, b.events(&id), "nphies.claim.rejected")
	}
}

// TestErrorClassesDecide: a code ends in the state its class says. The many that ask for a correction are alike: one of each kind.
func TestErrorClassesDecide(t *testing.T) {
	b := newBench(t)
	seen := map[string]bool{}
	for _, e := range nphiesclient.ErrorTable() {
		like := string(e.Retry) + e.Code[:2]
		if e.Retry == nphiesclient.RetryOps || e.Payer || (e.Retry == nphiesclient.RetryFix && seen[like]) {
			continue // ops and payer: above
		}
		seen[like] = true
		id := b.claim("APPROVE")
		b.answer(e.Code, 1)
		err := b.submit(id)
		switch e.Retry {
		case nphiesclient.RetryFix:
			require.NoError(t, err)
			require.Equal(t, store.Failed, b.get(id).State, e.Code)
			require.Equal(t, []string{"nphies.claim.rejected"}, b.events(&id), e.Code)
		case nphiesclient.RetryWait:
			require.NoError(t, err)
			require.Equal(t, store.Pending, b.get(id).State, e.Code)
		case nphiesclient.RetrySame:
			require.Error(t, err)
			require.Equal(t, store.Submitting, b.get(id).State, e.Code)
			require.NoError(t, b.submit(id))
			require.Equal(t, store.Approved, b.get(id).State, e.Code)
		case nphiesclient.RetryOps:
		}
	}
}

// TestRecheckThatFailsIsNoDeadLetter: a pending claim that only asks for its answer waits for its next time to ask.
func TestRecheckThatFailsIsNoDeadLetter(t *testing.T) {
	b := newBench(t)
	id := b.claim("NEVER")
	require.NoError(t, b.submit(id))
	b.sim.SetFaults(nphiessim.Fault{Match: "claim-request", Kind: nphiessim.Fault503, Count: 1})
	require.NoError(t, b.submit(id), "the last attempt: outside a worker there is only one")
	require.Equal(t, store.Pending, b.get(id).State)
	require.NotEmpty(t, b.get(id).ErrorText)
	require.NoError(t, b.submit(id))
	require.Empty(t, b.get(id).ErrorText, "answered again, the trouble is over")
}

// TestOpsErrorAfterALapsedPauseIsTold: what waits for a person now is another trouble than what would have ended by itself.
func TestOpsErrorAfterALapsedPauseIsTold(t *testing.T) {
	b := newBench(t)
	id := b.claim("APPROVE")
	b.answer("GE-00012", 1)
	require.NoError(t, b.submit(id))
	require.Empty(t, b.events(nil))
	b.pass(10 * time.Minute)
	b.answer("GE-00029", 1)
	require.NoError(t, b.submit(id))
	require.Nil(t, b.pauses()[0].Until)
	require.Equal(t, []string{"nphies.api.error"}, b.events(nil))
}
