package ratelimit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestFailures(t *testing.T) {
	rc := testenv.Redis(t)
	set := ratelimit.FailureSettings{Limit: 3, Window: 15 * time.Minute}
	f, elsewhere := ratelimit.NewFailures(rc, "api", set), ratelimit.NewFailures(rc, "api", set)
	blocked := func(f *ratelimit.Failures, address string) time.Duration {
		t.Helper()
		d, err := f.Blocked(t.Context(), address)
		require.NoError(t, err)
		return d
	}
	fail := func(address string) {
		t.Helper()
		require.NoError(t, f.Failed(t.Context(), address))
	}
	const key = "rate:failures:api:{192.0.2.1}:count"
	age := func(left time.Duration) { require.NoError(t, rc.PExpire(t.Context(), key, left).Err()) }

	require.Zero(t, blocked(f, "192.0.2.1"))
	fail("192.0.2.1")
	age(time.Minute) // 14 minutes pass
	fail("192.0.2.1")
	require.Zero(t, blocked(f, "192.0.2.1"))
	left, err := rc.TTL(t.Context(), key).Result()
	require.NoError(t, err)
	require.LessOrEqual(t, left, time.Minute, "a window begins with the first failure")
	fail("192.0.2.1")
	require.InDelta(t, (15 * time.Minute).Seconds(), blocked(elsewhere, "192.0.2.1").Seconds(), 10, "the one that is too many blocks for all of it, everywhere")
	age(time.Minute)
	fail("192.0.2.1")
	require.LessOrEqual(t, blocked(f, "192.0.2.1"), time.Minute, "those after it do not prolong it")
	require.Zero(t, blocked(f, "192.0.2.2"), "another address")
	require.Zero(t, blocked(ratelimit.NewFailures(rc, "bot", set), "192.0.2.1"), "another thing")
	require.NoError(t, f.Forget(t.Context(), "192.0.2.1"))
	require.Zero(t, blocked(f, "192.0.2.1"))
	for range 3 {
		fail("192.0.2.3")
	}
	require.NoError(t, rc.Persist(t.Context(), "rate:failures:api:{192.0.2.3}:count").Err())
	require.Positive(t, blocked(f, "192.0.2.3"))
	fail("192.0.2.3")
	require.Greater(t, blocked(f, "192.0.2.3"), time.Minute, "nobody is blocked for ever")

	require.NoError(t, rc.Close())
	_, err = f.Blocked(t.Context(), "192.0.2.1")
	require.True(t, fault.Is(err, fault.Unavailable))
	require.True(t, fault.Is(f.Failed(t.Context(), "192.0.2.1"), fault.Unavailable))
	require.True(t, fault.Is(f.Forget(t.Context(), "192.0.2.1"), fault.Unavailable))
}

func TestAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1234": "192.0.2.1", "[::ffff:192.0.2.1]:1234": "192.0.2.1", "[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64", "[2001:db8:1:2::1]:80": "2001:db8:1:2::/64",
		"[::1]:80": "::1", "[fe80::1%eth0]:80": "fe80::/64", "@": "@", "192.0.2.1": "192.0.2.1", "": "",
	} {
		require.Equal(t, want, ratelimit.Address(remote), remote)
	}
}
