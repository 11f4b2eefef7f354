package ratelimit

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// State of a circuit. It is a closed set.
type State string

// The three states.
const (
	// Closed: all is well, or not bad enough.
	Closed State = "closed"
	// HalfOpen: it was open for its time. What happens next decides.
	HalfOpen State = "half_open"
	// Open: nothing is to be tried.
	Open State = "open"
)

// Circuit says how a circuit stands.
type Circuit struct {
	State State
	// Failures in a row.
	Failures int
	// Since is when it opened, the same until it closes; zero while it is closed.
	Since time.Time
	// RetryIn is how long it stays open.
	RetryIn time.Duration
}

// CircuitSettings say when a circuit opens.
type CircuitSettings struct {
	// After so many failures in a row, with no success between them.
	After int
	// For is how long it stays open after each failure from then on.
	For time.Duration
}

// Breaker keeps circuits that all workers share, in Redis and by its clock. It is safe for concurrent use.
type Breaker struct {
	redis  redis.UniversalClient
	prefix string
	set    CircuitSettings
}

// NewBreaker returns a Breaker whose keys in Redis begin with "rate:<prefix>:". Settings of zero or less count as one and as a
// second.
func NewBreaker(rc redis.UniversalClient, prefix string, s CircuitSettings) *Breaker {
	if s.For < time.Second {
		s.For = time.Second
	}
	return &Breaker{redis: rc, prefix: prefix, set: CircuitSettings{After: max(1, s.After), For: s.For}}
}

// circuit counts a failure or just looks. KEYS: the circuit. ARGV: 1 for a failure, after, for. Times are milliseconds. What is a
// day old is forgotten.
var circuit = redis.NewScript(`
local t = redis.call("TIME")
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local h = redis.call("HMGET", KEYS[1], "failures", "since", "ends")
local failures, since, ends = tonumber(h[1] or "0"), tonumber(h[2] or "0"), tonumber(h[3] or "0")
if ARGV[1] == "1" then
  failures = failures + 1
  if failures >= tonumber(ARGV[2]) then
    if since == 0 then since = now end
    ends = now + tonumber(ARGV[3])
  end
  redis.call("HSET", KEYS[1], "failures", failures, "since", string.format("%.0f", since), "ends", string.format("%.0f", ends))
  redis.call("EXPIRE", KEYS[1], 86400 + math.ceil(tonumber(ARGV[3]) / 1000))
end
return {failures, since, math.min(ends - now, tonumber(ARGV[3]))}`)

// Fail counts a failure and returns how the circuit stands then.
//
// An error is a fault of Kind Unavailable.
func (b *Breaker) Fail(ctx context.Context, key string) (Circuit, error) { return b.run(ctx, key, 1) }

// Look returns how the circuit stands.
//
// An error is a fault of Kind Unavailable.
func (b *Breaker) Look(ctx context.Context, key string) (Circuit, error) { return b.run(ctx, key, 0) }

func (b *Breaker) run(ctx context.Context, key string, failed int) (Circuit, error) {
	r, err := circuit.Run(ctx, b.redis, []string{name(b.prefix, key, "circuit")}, failed, b.set.After, b.set.For.Milliseconds()).Int64Slice()
	if err == nil && len(r) != 3 {
		err = errors.New("unexpected reply")
	}
	if err != nil {
		return Circuit{}, away("look at the circuit", err)
	}
	c := Circuit{State: Closed, Failures: int(r[0])}
	if c.Failures < b.set.After {
		return c, nil
	}
	c.State, c.Since = HalfOpen, time.UnixMilli(r[1]).UTC()
	if r[2] > 0 {
		c.State, c.RetryIn = Open, time.Duration(r[2])*time.Millisecond
	}
	return c, nil
}

// Succeed closes the circuit.
//
// An error is a fault of Kind Unavailable.
func (b *Breaker) Succeed(ctx context.Context, key string) error {
	if err := b.redis.Del(ctx, name(b.prefix, key, "circuit")).Err(); err != nil {
		return away("close the circuit", err)
	}
	return nil
}
