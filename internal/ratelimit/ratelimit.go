// Package ratelimit is a limit that all workers share: so many events per period and key, counted in Redis. It never waits; it
// says how long to wait. Circuits, too, are shared: they open after failures in a row.
package ratelimit

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Settings of a limit.
type Settings struct {
	// Requests are allowed in any span of Period, whenever it begins.
	Requests int
	Period   time.Duration
	// Burst is how many may come at once after a quiet time. Those after it are evenly spread.
	Burst int
}

// Window says what withholds an event. It is a closed set.
type Window string

// The three windows.
const (
	// WindowBurst: events follow each other too closely.
	WindowBurst Window = "burst"
	// WindowPeriod: the period's events are used up.
	WindowPeriod Window = "period"
	// WindowPause: somebody has stopped the key for a time.
	WindowPause Window = "pause"
)

// Grant is what Allow allows.
type Grant struct {
	// N events may happen now; they count as happened.
	N int
	// RetryIn is the time until the next one and Window what it waits for, when N is fewer than asked for; else zero.
	RetryIn time.Duration
	Window  Window
}

// Limiter is safe for concurrent use. The clock is that of Redis, so that workers need not agree on the time.
type Limiter struct {
	redis  redis.UniversalClient
	set    Settings
	prefix string
}

// New returns a Limiter whose keys in Redis begin with "rate:<prefix>:". Settings of zero or less count as one.
func New(rc redis.UniversalClient, prefix string, s Settings) *Limiter {
	s = Settings{Requests: max(1, s.Requests), Burst: max(1, s.Burst), Period: max(time.Millisecond, s.Period)}
	return &Limiter{redis: rc, set: s, prefix: prefix}
}

// slack is the part of the period by which a span is longer here than at the other side, where an event arrives later than it was
// granted, one sooner and one later after its grant: 60 in 60 s are 60 in 63 s here.
const slack = 20

// allow grants events one by one: spaced by period/requests with a tolerance of burst (GCRA), and with the log of those granted in
// the span before. What lies in the future, after a clock that was set back, does not count.
//
// KEYS: pause, next, log. ARGV: events, requests, period, burst, span. Times are microseconds of Redis' clock.
var allow = redis.NewScript(`
local paused = redis.call("PTTL", KEYS[1])
if paused > 0 then return {0, paused * 1000, "pause"} end
local t = redis.call("TIME")
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local n, requests, period, burst, span = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local step = period / requests
redis.call("ZREMRANGEBYSCORE", KEYS[3], "-inf", string.format("%.0f", now - span))
redis.call("ZREMRANGEBYSCORE", KEYS[3], string.format("(%.0f", now + 1000000), "+inf")
local next = tonumber(redis.call("GET", KEYS[2]) or "0")
if next < now or next > now + step * burst + 1000000 then next = now end
local count = redis.call("ZCARD", KEYS[3])
local granted, wait, window = 0, 0, ""
while granted < n do
  local early = next + step - step * burst - now
  if count >= requests then
    local oldest = redis.call("ZRANGE", KEYS[3], count - requests, count - requests, "WITHSCORES")
    wait, window = tonumber(oldest[2]) + span - now, "period"
  end
  if early > 0.5 and early > wait then wait, window = early, "burst" end
  if window ~= "" then break end
  next = next + step
  redis.call("ZADD", KEYS[3], string.format("%.0f", now), string.format("%.0f:%.3f", now, next))
  granted, count = granted + 1, count + 1
end
if granted > 0 then
  redis.call("SET", KEYS[2], string.format("%.3f", next), "EX", math.ceil((next - now) / 1000000) + 1)
  redis.call("EXPIRE", KEYS[3], math.ceil(span / 1000000) + 1)
end
return {granted, math.ceil(wait), window}`)

// Allow asks for n events of key. The key stands in Redis as it is: it must be no secret.
//
// An error is a fault of Kind Unavailable; then nothing is granted, though it may count.
func (l *Limiter) Allow(ctx context.Context, key string, n int) (Grant, error) {
	if n <= 0 {
		return Grant{}, nil
	}
	period := l.set.Period.Microseconds()
	r, err := allow.Run(ctx, l.redis, []string{l.key(key, "pause"), l.key(key, "next"), l.key(key, "log")},
		n, l.set.Requests, period, l.set.Burst, period+period/slack).Slice()
	if err != nil {
		return Grant{}, away("ask the rate limit", err)
	}
	granted, wait, window, err := reply(r)
	if err != nil {
		return Grant{}, away("ask the rate limit", err)
	}
	g := Grant{N: granted, RetryIn: wait, Window: Window(window)}
	if g.Window != "" {
		g.RetryIn = max(g.RetryIn, time.Millisecond)
	}
	return g, nil
}

func reply(r []any) (granted int, wait time.Duration, window string, err error) {
	if len(r) == 3 {
		n, okN := r[0].(int64)
		us, okWait := r[1].(int64)
		w, okWindow := r[2].(string)
		if okN && okWait && okWindow {
			return int(n), time.Duration(us) * time.Microsecond, w, nil
		}
	}
	return 0, 0, "", fmt.Errorf("unexpected reply of %d parts", len(r))
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
	if err := pause.Run(ctx, l.redis, []string{l.key(key, "pause")}, max(1, d.Milliseconds())).Err(); err != nil {
		return away("pause", err)
	}
	return nil
}

func (l *Limiter) key(key, what string) string { return name(l.prefix, key, what) }

// name is a key in Redis. Those of one thing share a slot of a cluster, for a script takes them together.
func name(prefix, key, what string) string { return "rate:" + prefix + ":{" + key + "}:" + what }

func away(op string, err error) error {
	return &fault.Error{Op: op, Kind: fault.Unavailable, Safe: "Redis does not answer", Err: err}
}
