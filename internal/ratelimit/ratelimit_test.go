package ratelimit_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestAllow(t *testing.T) {
	rc := testenv.Redis(t)
	l := ratelimit.New(rc, "teams", ratelimit.Settings{Requests: 60, Period: time.Minute, Burst: 10})
	g, err := l.Allow(t.Context(), "a", 4)
	require.NoError(t, err)
	require.Equal(t, ratelimit.Grant{N: 4}, g)
	g, err = l.Allow(t.Context(), "a", 10)
	require.NoError(t, err)
	require.Equal(t, 6, g.N, "the rest of the burst")
	require.Equal(t, ratelimit.WindowBurst, g.Window)
	require.Positive(t, g.RetryIn)
	require.LessOrEqual(t, g.RetryIn, time.Second, "one a second")
	g, err = l.Allow(t.Context(), "b", 1)
	require.NoError(t, err)
	require.Equal(t, 1, g.N, "another key")
	g, err = l.Allow(t.Context(), "b", 0)
	require.NoError(t, err)
	require.Zero(t, g)

	other := ratelimit.New(rc, "teams", ratelimit.Settings{Requests: 60, Period: time.Minute, Burst: 10})
	g, err = other.Allow(t.Context(), "a", 1)
	require.NoError(t, err)
	require.Zero(t, g.N, "another worker shares it")
	require.Positive(t, g.RetryIn)
}

// TestNoSpanHoldsMore: whoever asks all the time gets no more than the requests in any span of the period, a burst included, and
// gets nearly as many.
func TestNoSpanHoldsMore(t *testing.T) {
	rc := testenv.Redis(t)
	const requests, period = 40, 400 * time.Millisecond
	l := ratelimit.New(rc, "teams", ratelimit.Settings{Requests: requests, Period: period, Burst: 25})
	clock := func() time.Time { at, err := rc.Time(t.Context()).Result(); require.NoError(t, err); return at }
	var granted [][2]time.Time // between these two moments of Redis' clock
	windows := map[ratelimit.Window]int{}
	for len(granted) < 4*requests {
		before := clock()
		g, err := l.Allow(t.Context(), "k", 7)
		require.NoError(t, err)
		after := clock()
		windows[g.Window]++
		for range g.N {
			granted = append(granted, [2]time.Time{before, after})
		}
		if g.N < 7 {
			require.Positive(t, g.RetryIn)
			require.LessOrEqual(t, g.RetryIn, 2*period)
		}
	}
	for i := range granted[requests:] {
		require.GreaterOrEqual(t, granted[i+requests][1].Sub(granted[i][0]), period, "grants %d to %d", i, i+requests)
	}
	require.Positive(t, windows[ratelimit.WindowBurst])
	require.Positive(t, windows[ratelimit.WindowPeriod], "the burst would exceed the period's requests")
}

// TestAClockSetBack: what was counted in a future that is no more does not stop the key.
func TestAClockSetBack(t *testing.T) {
	rc := testenv.Redis(t)
	l := ratelimit.New(rc, "teams", ratelimit.Settings{Requests: 2, Period: time.Second, Burst: 2})
	far := float64(time.Now().Add(24 * time.Hour).UnixMicro())
	for _, m := range []string{"a", "b"} {
		require.NoError(t, rc.ZAdd(t.Context(), "rate:teams:{k}:log", redis.Z{Score: far, Member: m}).Err())
	}
	require.NoError(t, rc.Set(t.Context(), "rate:teams:{k}:next", fmt.Sprintf("%.0f", far), 0).Err())
	g, err := l.Allow(t.Context(), "k", 1)
	require.NoError(t, err)
	require.LessOrEqual(t, g.RetryIn, time.Second)
	testenv.Eventually(t, func() bool { g, err := l.Allow(t.Context(), "k", 1); return err == nil && g.N == 1 }, "it goes on")
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
				g, err := l.Allow(t.Context(), "k", 3)
				if err == nil {
					granted.Add(int64(g.N))
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
	g, err := other.Allow(t.Context(), "a", 1)
	require.NoError(t, err)
	require.Zero(t, g.N)
	require.Equal(t, ratelimit.WindowPause, g.Window)
	require.InDelta(t, time.Hour.Seconds(), g.RetryIn.Seconds(), 10)
	g, err = other.Allow(t.Context(), "b", 1)
	require.NoError(t, err)
	require.Equal(t, 1, g.N)

	require.NoError(t, l.Pause(t.Context(), "c", 0))
	require.NoError(t, l.Pause(t.Context(), "c", time.Millisecond))
	testenv.Eventually(t, func() bool { g, err := l.Allow(t.Context(), "c", 1); return err == nil && g.N == 1 }, "the pause ends")

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
	_, err := l.Allow(t.Context(), "a", 1)
	require.True(t, fault.Is(err, fault.Unavailable))
	require.True(t, fault.Is(l.Pause(t.Context(), "a", time.Second), fault.Unavailable))
}
