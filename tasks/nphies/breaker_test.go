package nphies_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

// away makes NPHIES answer everything with a page, until it is called with false.
func (b *bench) away(yes bool) {
	b.intercept = nil
	if yes {
		b.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
	}
}

// TestOutageBreaksTheWayOnce: after five failures in a row the other claims of the licence wait with all their attempts, one card
// tells it, and a poll finds out when it is over.
func TestOutageBreaksTheWayOnce(t *testing.T) {
	b := newBench(t)
	var ids []uuid.UUID
	for range 12 {
		ids = append(ids, b.claim("APPROVE"))
	}
	b.away(true)
	for i, id := range ids {
		switch err := b.submit(id); {
		case i < 4:
			require.True(t, fault.Is(err, fault.Network), "one of the failures that count")
			require.Empty(t, b.pauses(), "chance is no outage")
		default:
			require.NoError(t, err, "parked")
		}
	}
	require.Equal(t, 5, b.get(ids[4]).Attempts+b.get(ids[3]).Attempts+b.get(ids[2]).Attempts+b.get(ids[1]).Attempts+b.get(ids[0]).Attempts)
	for _, id := range ids[5:] {
		require.Zero(t, b.get(id).Attempts, "no attempt is used up")
	}
	require.Len(t, b.pauses(), 1)
	p := b.pauses()[0]
	require.True(t, p.Breaker)
	require.Empty(t, p.Payer)
	require.Equal(t, []string{"nphies.api.error"}, b.events(nil), "one card, not twelve")
	require.Positive(t, b.queue.polls, "a poll is booked for the end of the pause")
	require.Empty(t, b.waiting())

	// Still away: the poll finds out, at the cost of no claim's attempt; no second card.
	b.pass(2 * time.Minute)
	require.Empty(t, b.waiting(), "the claims wait for the poll")
	require.NoError(t, b.poll())
	require.Equal(t, 6, b.pauses()[0].Failures)
	require.True(t, b.pauses()[0].Until.After(b.now().Add(80*time.Second)), "later and later")
	require.Equal(t, []string{"nphies.api.error"}, b.events(nil))

	// Back: the poll lets the claims try, the first of them ends it.
	b.pass(10 * time.Minute)
	b.away(false)
	require.NoError(t, b.poll())
	require.NotNil(t, b.pauses()[0].HalfOpenAt)
	require.ElementsMatch(t, ids, b.waiting())
	for _, id := range ids {
		require.NoError(t, b.submit(id))
		require.Equal(t, store.Approved, b.get(id).State)
		require.Equal(t, 1, b.simClaim(b.get(id)).DistinctBodies)
	}
	require.Empty(t, b.pauses())
}

func TestPollsThatGoWellDoNotHideThatClaimsFail(t *testing.T) {
	b := newBench(t)
	id := b.claim("APPROVE")
	b.away(true)
	for range 5 {
		_ = b.submit(id)
	}
	b.pass(2 * time.Minute)
	b.away(false)
	require.NoError(t, b.poll())
	b.away(true)
	require.NoError(t, b.submit(id), "parked at the first failure")
	require.Equal(t, 6, b.pauses()[0].Failures)
	require.Nil(t, b.pauses()[0].HalfOpenAt)
	require.Equal(t, []string{"nphies.api.error"}, b.events(nil), "it is the same outage")
}

func TestWithoutPollsABrokenWayIsTriedByClaims(t *testing.T) {
	b := newBench(t)
	id := b.claim("APPROVE")
	b.away(true)
	for range 5 {
		_ = b.submit(id)
	}
	require.Empty(t, b.waiting())
	b.pass(10 * time.Minute)
	require.Equal(t, []uuid.UUID{id}, b.waiting())
	b.away(false)
	require.NoError(t, b.submit(id))
	require.Empty(t, b.pauses())
}

// TestPollsInBetweenDoNotHideThatClaimsFail: a poll that goes well says nothing about claims.
func TestPollsInBetweenDoNotHideThatClaimsFail(t *testing.T) {
	b := newBench(t)
	id := b.claim("APPROVE")
	for range 4 {
		b.away(true)
		require.Error(t, b.submit(id))
		b.away(false)
		require.NoError(t, b.poll())
	}
	b.away(true)
	require.NoError(t, b.submit(id), "the fifth in a row")
	require.Len(t, b.pauses(), 1)

	// A poll that gets through before the pause is over lets the claims go on at once.
	b.away(false)
	require.NoError(t, b.poll())
	require.Equal(t, []uuid.UUID{id}, b.waiting())
	require.NoError(t, b.submit(id))
	require.Equal(t, store.Approved, b.get(id).State)
	require.Empty(t, b.pauses())
}

func TestASuccessInBetweenMendsTheWay(t *testing.T) {
	b := newBench(t)
	id := b.claim("APPROVE")
	b.away(true)
	for range 4 {
		require.Error(t, b.submit(id))
	}
	b.away(false)
	require.NoError(t, b.submit(b.claim("APPROVE")))
	b.away(true)
	require.Error(t, b.submit(id), "counted from the beginning")
	require.Empty(t, b.pauses())
}

// TestSlowPayerBreaksItsOwnWayOnly: time-outs that NPHIES reports are the payer's.
func TestSlowPayerBreaksItsOwnWayOnly(t *testing.T) {
	b := newBench(t)
	id, other := b.claim("APPROVE"), b.claim("APPROVE")
	_, err := b.pool.Exec(t.Context(), `UPDATE claims SET payer = 'OTHER' WHERE id = $1`, other)
	require.NoError(t, err)
	b.answer("GE-00014", 5)
	for range 4 {
		require.Error(t, b.submit(id))
	}
	require.NoError(t, b.submit(id))
	p := b.pauses()[0]
	require.Equal(t, []any{"GE-00014", b.get(id).Payer, true}, []any{p.ErrorCode, p.Payer, p.Breaker})
	require.NoError(t, b.submit(other))
	require.Equal(t, store.Approved, b.get(other).State)
}

func TestAnotherTroubleThanWhatWasCountedIsTold(t *testing.T) {
	b := newBench(t)
	id := b.claim("APPROVE")
	b.away(true)
	require.Error(t, b.submit(id))
	b.answer("GE-00020", 1)
	require.NoError(t, b.submit(id))
	p := b.pauses()[0]
	require.Equal(t, []any{"GE-00020", 1, false}, []any{p.ErrorCode, p.Failures, p.Breaker})
	require.Equal(t, []string{"nphies.api.error"}, b.events(nil))
}

// TestAutomaticStatusCheck: nphiesq asks by itself after an overdue claim; when that fails for good, nobody is bothered.
func TestAutomaticStatusCheck(t *testing.T) {
	b := newBench(t)
	id := b.claim("NEVER")
	require.NoError(t, b.submit(id))
	_, err := b.pool.Exec(t.Context(), `UPDATE claims SET overdue_step = 2, next_poll_at = $2 WHERE id = $1`, id, b.now())
	require.NoError(t, err)
	ask := func() store.FHIRTask {
		require.NoError(t, b.AskStatus(t.Context(), id))
		list, err := b.store.FHIRTasksOf(t.Context(), id)
		require.NoError(t, err)
		return list[len(list)-1]
	}
	task := ask()
	require.True(t, task.Automatic)
	require.Equal(t, task.ID, ask().ID, "one at a time")
	got, err := b.run(task)
	require.NoError(t, err)
	require.Equal(t, "queued", got.Result)
	due, err := b.store.OverdueClaims(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, due, "the payer works on it")

	b.away(true)
	task = ask()
	require.NoError(t, b.FHIRTask(t.Context(), tasks.NewStatus(task.ID, 1).Task), "the last attempt")
	got, err = b.store.FHIRTask(t.Context(), task.ID)
	require.NoError(t, err)
	require.Equal(t, store.FHIRTaskError, got.State)
	b.away(false)
	b.answer("BV-00054", 1)
	_, err = b.run(ask())
	require.NoError(t, err)
	require.Empty(t, b.events(nil)[1:], "no card but that it was submitted")
}
