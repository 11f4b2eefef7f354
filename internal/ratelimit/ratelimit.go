// Package ratelimit is a limit that all workers share: so many events per period and key, counted in Redis. It never waits; it
// says how long to wait.
package ratelimit

import (
	"context"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Settings of a limit.
type Settings struct {
	// Requests are allowed per Period in the long run, evenly spread.
	Requests int
	Period   time.Duration
	// Burst is how many may come at once after a quiet time.
	Burst int
}

// Limiter is safe for concurrent use. The clock is that of Redis, so that workers need not agree on the time.
type Limiter struct {
	redis  redis.UniversalClient
	rate   *redis_rate.Limiter
	limit  redis_rate.Limit
	prefix string
}

// New returns a Limiter whose keys in Redis begin with "rate:<prefix>:". Settings of zero or less count as one.
func New(rc redis.UniversalClient, prefix string, s Settings) *Limiter {
	return &Limiter{
		redis: rc, rate: redis_rate.NewLimiter(rc), prefix: prefix + ":",
		limit: redis_rate.Limit{Rate: max(1, s.Requests), Burst: max(1, s.Burst), Period: max(time.Millisecond, s.Period)},
	}
}

// Allow asks for n events of key and returns how many are granted now, from 0 to n; what is granted is used up. When it is
// fewer than n, retryIn is the time until the next one, longer than 0. The key stands in Redis as it is: it must be no secret.
//
// An error is a fault of Kind Unavailable; events granted before it are lost.
func (l *Limiter) Allow(ctx context.Context, key string, n int) (granted int, retryIn time.Duration, err error) {
	paused, err := l.redis.PTTL(ctx, l.pauseKey(key)).Result()
	if err != nil {
		return 0, 0, away("ask the rate limit", err)
	}
	if paused > 0 {
		return 0, paused, nil
	}
	// One at a time: asked for several, the script takes a fraction that it does not grant.
	for granted < n {
		r, err := l.rate.Allow(ctx, l.prefix+key, l.limit)
		if err != nil {
			return 0, 0, away("ask the rate limit", err)
		}
		if r.Allowed == 0 {
			return granted, max(r.RetryAfter, time.Millisecond), nil
		}
		granted++
	}
	return granted, 0, nil
}

// pause never shortens a pause that another worker has set.
var pause = redis.NewScript(`
if redis.call("PTTL", KEYS[1]) < tonumber(ARGV[1]) then
  redis.call("SET", KEYS[1], "1", "PX", ARGV[1])
end
return 1`)

// Pause stops key for all workers for d, unless it is stopped for longer already. d of zero or less does nothing.
//
// An error is a fault of Kind Unavailable.
func (l *Limiter) Pause(ctx context.Context, key string, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if err := pause.Run(ctx, l.redis, []string{l.pauseKey(key)}, max(1, d.Milliseconds())).Err(); err != nil {
		return away("pause", err)
	}
	return nil
}

func (l *Limiter) pauseKey(key string) string { return "rate:" + l.prefix + key + ":pause" }

func away(op string, err error) error {
	return &fault.Error{Op: op, Kind: fault.Unavailable, Safe: "Redis does not answer", Err: err}
}
