package store_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

const quickLease = 400 * time.Millisecond

func TestLeaseIsHeldByOne(t *testing.T) {
	t.Parallel()
	pool := testenv.Pool(t)
	a, b := store.New(pool, store.Options{LeaseTime: quickLease}), store.New(pool, store.Options{LeaseTime: quickLease})
	ctx := t.Context()
	held, release, ok, err := a.Hold(ctx, store.LeasePoll, "PR-1")
	require.NoError(t, err)
	require.True(t, ok)
	_, _, ok, err = b.Hold(ctx, store.LeasePoll, "PR-1")
	require.NoError(t, err)
	require.False(t, ok)
	_, other, ok, err := b.Hold(ctx, store.LeasePoll, "PR-2")
	require.NoError(t, err)
	require.True(t, ok)
	other()

	// It lasts for as long as it is renewed.
	testenv.Eventually(t, func() bool {
		var past bool
		require.NoError(t, pool.QueryRow(ctx, `SELECT clock_timestamp() > since + 2 * $1::interval FROM leases WHERE key = 'PR-1'`, quickLease).Scan(&past))
		return past
	}, "time passes")
	_, _, ok, err = b.Hold(ctx, store.LeasePoll, "PR-1")
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, held.Err())
	list, err := b.AbandonedLeases(ctx, 10)
	require.NoError(t, err)
	require.Empty(t, list)

	release()
	require.ErrorIs(t, held.Err(), context.Canceled)
	_, release, ok, err = b.Hold(ctx, store.LeasePoll, "PR-1")
	require.NoError(t, err)
	require.True(t, ok)
	release()
}

func TestLeaseThatCannotBeRenewedIsLostInTime(t *testing.T) {
	t.Parallel()
	pool := testenv.Pool(t)
	const quickLease = 2 * time.Second // the margin must be longer than a busy machine's hiccups
	mine, err := store.Open(t.Context(), pool.Config().ConnString(), 2)
	require.NoError(t, err)
	s, other := store.New(mine, store.Options{LeaseTime: quickLease}), store.New(pool, store.Options{LeaseTime: quickLease})
	held, release, ok, err := s.Hold(t.Context(), store.LeasePoll, "PR-1")
	require.NoError(t, err)
	require.True(t, ok)
	mine.Close() // the database is away, for the holder
	<-held.Done()
	require.ErrorIs(t, context.Cause(held), store.ErrLeaseLost)
	_, _, ok, err = other.Hold(t.Context(), store.LeasePoll, "PR-1")
	require.NoError(t, err)
	require.False(t, ok, "the holder stops before another may begin")
	testenv.Eventually(t, func() bool {
		_, free, ok, err := other.Hold(t.Context(), store.LeasePoll, "PR-1")
		require.NoError(t, err)
		if ok {
			free()
		}
		return ok
	}, "the lease runs out")
	release()
}

func TestAbandonedLease(t *testing.T) {
	t.Parallel()
	pool := testenv.Pool(t)
	s := store.New(pool, store.Options{LeaseTime: time.Minute})
	ctx := t.Context()
	_, release, ok, err := s.Hold(ctx, store.LeaseClaim, "x")
	require.NoError(t, err)
	require.True(t, ok)
	_, err = pool.Exec(ctx, `UPDATE leases SET token = gen_random_uuid(), until = clock_timestamp()`) // as if its holder were dead
	require.NoError(t, err)
	list, err := s.AbandonedLeases(ctx, 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, store.LeaseClaim, list[0].Kind)
	require.NotEmpty(t, list[0].Holder)
	_, again, ok, err := s.Hold(ctx, store.LeaseClaim, "x")
	require.NoError(t, err)
	require.True(t, ok, "anybody may have it")
	require.NoError(t, s.DropLease(ctx, list[0]))
	_, _, ok, err = s.Hold(ctx, store.LeaseClaim, "x")
	require.NoError(t, err)
	require.False(t, ok, "what somebody has taken since is not dropped")
	release()
	_, _, ok, err = s.Hold(ctx, store.LeaseClaim, "x")
	require.NoError(t, err)
	require.False(t, ok, "nor released by the one who lost it")
	again()
}

func TestDutyComesRoundOncePerInterval(t *testing.T) {
	t.Parallel()
	pool := testenv.Pool(t)
	s := store.New(pool, store.Options{LeaseTime: quickLease})
	var done atomic.Int32
	round := func(interval time.Duration) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_, release, ok, err := s.Duty(t.Context(), "look", interval)
				if err == nil && ok {
					done.Add(1)
					release()
				}
			})
		}
		wg.Wait()
	}
	round(time.Hour)
	round(time.Hour)
	require.EqualValues(t, 1, done.Load())
	_, err := pool.Exec(t.Context(), `UPDATE leases SET until = clock_timestamp()`)
	require.NoError(t, err)
	list, err := s.AbandonedLeases(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, list, "a duty needs nobody to take it over")
	round(time.Hour)
	require.EqualValues(t, 2, done.Load())
}

// TestClockIsTheDatabases: work is due by one clock, whatever the machines' own say.
func TestClockIsTheDatabases(t *testing.T) {
	t.Parallel()
	pool := testenv.Pool(t)
	c, err := store.NewClock(t.Context(), pool)
	require.NoError(t, err)
	for range 3 {
		var before, after time.Time
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&before))
		now := c.Now()
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&after))
		require.WithinRange(t, now, before.Add(-50*time.Millisecond), after.Add(50*time.Millisecond))
		require.NoError(t, c.Read(t.Context()))
	}
	pool.Close()
	require.Error(t, c.Read(t.Context()))
	require.WithinDuration(t, time.Now(), c.Now(), time.Minute, "the former reading stays")
}
