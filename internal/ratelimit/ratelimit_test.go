package ratelimit_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestAllow(t *testing.T) {
	rc := testenv.Redis(t)
	l := ratelimit.New(rc, "teams", ratelimit.Settings{Requests: 60, Period: time.Minute, Burst: 10})
	n, in, err := l.Allow(t.Context(), "a", 4)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	require.Zero(t, in)
	n, in, err = l.Allow(t.Context(), "a", 10)
	require.NoError(t, err)
	require.Equal(t, 6, n, "the rest of the burst")
	require.Positive(t, in)
	require.LessOrEqual(t, in, time.Second, "one a second")
	n, _, err = l.Allow(t.Context(), "b", 1)
	require.NoError(t, err)
	require.Equal(t, 1, n, "another key")

	other := ratelimit.New(rc, "teams", ratelimit.Settings{Requests: 60, Period: time.Minute, Burst: 10})
	n, in, err = other.Allow(t.Context(), "a", 1)
	require.NoError(t, err)
	require.Zero(t, n, "another worker shares it")
	require.Positive(t, in)
}

// TestWorkersTogetherKeepTheLimit: many ask at once; the long period lets no new event through meanwhile.
func TestWorkersTogetherKeepTheLimit(t *testing.T) {
	rc := testenv.Redis(t)
	var granted atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			l := ratelimit.New(rc, "teams", ratelimit.Settings{Requests: 25, Period: 24 * time.Hour, Burst: 25})
			for range 10 {
				n, _, err := l.Allow(t.Context(), "k", 3)
				if err == nil {
					granted.Add(int64(n))
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, int64(25), granted.Load())
}

func TestPause(t *testing.T) {
	rc := testenv.Redis(t)
	s := ratelimit.Settings{Requests: 1000, Period: time.Second, Burst: 1000}
	l, other := ratelimit.New(rc, "teams", s), ratelimit.New(rc, "teams", s)
	require.NoError(t, l.Pause(t.Context(), "a", time.Hour))
	require.NoError(t, other.Pause(t.Context(), "a", time.Second), "does not shorten")
	n, in, err := other.Allow(t.Context(), "a", 1)
	require.NoError(t, err)
	require.Zero(t, n)
	require.InDelta(t, time.Hour.Seconds(), in.Seconds(), 10)
	n, _, err = other.Allow(t.Context(), "b", 1)
	require.NoError(t, err)
	require.Equal(t, 1, n)

	require.NoError(t, l.Pause(t.Context(), "c", 0))
	require.NoError(t, l.Pause(t.Context(), "c", time.Millisecond))
	testenv.Eventually(t, func() bool { n, _, err := l.Allow(t.Context(), "c", 1); return err == nil && n == 1 }, "the pause ends")

	keys, err := rc.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	for _, k := range keys {
		ttl, err := rc.PTTL(t.Context(), k).Result()
		require.NoError(t, err)
		require.NotEqual(t, time.Duration(-1), ttl, "%s stays for ever", k)
	}
}

func TestRedisAway(t *testing.T) {
	rc := testenv.Redis(t)
	l := ratelimit.New(rc, "teams", ratelimit.Settings{})
	require.NoError(t, rc.Close())
	_, _, err := l.Allow(t.Context(), "a", 1)
	require.True(t, fault.Is(err, fault.Unavailable))
	require.True(t, fault.Is(l.Pause(t.Context(), "a", time.Second), fault.Unavailable))
}
