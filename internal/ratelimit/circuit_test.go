package ratelimit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestCircuit(t *testing.T) {
	rc := testenv.Redis(t)
	b := ratelimit.NewBreaker(rc, "teams", ratelimit.CircuitSettings{After: 3, For: time.Hour})
	other := ratelimit.NewBreaker(rc, "teams", ratelimit.CircuitSettings{After: 3, For: time.Hour})
	look := func() ratelimit.Circuit {
		t.Helper()
		c, err := other.Look(t.Context(), "a")
		require.NoError(t, err)
		return c
	}
	require.Equal(t, ratelimit.Circuit{State: ratelimit.Closed}, look())
	for i := range 2 {
		c, err := b.Fail(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, ratelimit.Circuit{State: ratelimit.Closed, Failures: i + 1}, c)
	}
	require.NoError(t, b.Succeed(t.Context(), "a"))
	for range 2 {
		_, err := b.Fail(t.Context(), "a")
		require.NoError(t, err)
	}
	require.Equal(t, ratelimit.Closed, look().State, "not in a row")
	opened, err := other.Fail(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, ratelimit.Open, opened.State, "whoever counts the third")
	require.InDelta(t, time.Hour.Seconds(), opened.RetryIn.Seconds(), 10)
	require.InDelta(t, 0, time.Since(opened.Since).Seconds(), 10)
	again, err := b.Fail(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, opened.Since, again.Since, "it opened once")
	c, err := b.Look(t.Context(), "b")
	require.NoError(t, err)
	require.Equal(t, ratelimit.Closed, c.State, "another key")

	require.NoError(t, rc.HSet(t.Context(), "rate:teams:{a}:circuit", "ends", time.Now().Add(-time.Minute).UnixMilli()).Err()) // its time passes
	c = look()
	require.Equal(t, ratelimit.HalfOpen, c.State)
	require.Equal(t, opened.Since, c.Since)
	require.Zero(t, c.RetryIn)
	c, err = b.Fail(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, ratelimit.Open, c.State, "one more is enough")
	require.NoError(t, b.Succeed(t.Context(), "a"))
	require.Equal(t, ratelimit.Circuit{State: ratelimit.Closed}, look())

	_, err = b.Fail(t.Context(), "c")
	require.NoError(t, err)
	ttl, err := rc.TTL(t.Context(), "rate:teams:{c}:circuit").Result()
	require.NoError(t, err)
	require.Greater(t, ttl, 24*time.Hour)

	require.NoError(t, rc.Close())
	_, err = b.Fail(t.Context(), "a")
	require.True(t, fault.Is(err, fault.Unavailable))
	_, err = b.Look(t.Context(), "a")
	require.True(t, fault.Is(err, fault.Unavailable))
	require.True(t, fault.Is(b.Succeed(t.Context(), "a"), fault.Unavailable))
}
