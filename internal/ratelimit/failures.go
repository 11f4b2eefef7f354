package ratelimit

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/redis/go-redis/v9"
)

// FailureSettings say how many failures are too many.
type FailureSettings struct {
	// Limit failures within Window block.
	Limit int
	// Window is how long failures are remembered from the first one on, and how long the one that is too many blocks.
	Window time.Duration
}

// Failures counts failures per source address, so that nobody can try out keys or passwords at will. All processes share them, in
// Redis and by its clock. It is safe for concurrent use.
type Failures struct {
	redis  redis.UniversalClient
	prefix string
	set    FailureSettings
}

// NewFailures returns a counter whose keys in Redis begin with "rate:failures:<prefix>:". Settings of zero or less count as one and
// as a second.
func NewFailures(rc redis.UniversalClient, prefix string, s FailureSettings) *Failures {
	return &Failures{redis: rc, prefix: "failures:" + prefix, set: FailureSettings{Limit: max(1, s.Limit), Window: max(time.Second, s.Window)}}
}

// count counts a failure. KEYS: the counter. ARGV: limit, window in milliseconds.
var count = redis.NewScript(`
local n = redis.call("INCR", KEYS[1])
if n == 1 or n == tonumber(ARGV[1]) or redis.call("PTTL", KEYS[1]) < 0 then redis.call("PEXPIRE", KEYS[1], ARGV[2]) end
return n`)

// tooMany returns how long a counter blocks, 0 when it doesn't. KEYS: the counter. ARGV: limit.
var tooMany = redis.NewScript(`
if tonumber(redis.call("GET", KEYS[1]) or "0") < tonumber(ARGV[1]) then return 0 end
return math.max(redis.call("PTTL", KEYS[1]), 1)`)

// Blocked says for how long an address (or whatever is counted; it stands in Redis as it is and must be no secret) is not to be
// served because of its failures; 0 means that it may be.
//
// An error is a fault of Kind Unavailable.
func (f *Failures) Blocked(ctx context.Context, address string) (retryIn time.Duration, err error) {
	ms, err := tooMany.Run(ctx, f.redis, []string{f.key(address)}, f.set.Limit).Int64()
	if err != nil {
		return 0, away("look for failures", err)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// Failed counts a failure of an address.
//
// An error is a fault of Kind Unavailable.
func (f *Failures) Failed(ctx context.Context, address string) error {
	if err := count.Run(ctx, f.redis, []string{f.key(address)}, f.set.Limit, f.set.Window.Milliseconds()).Err(); err != nil {
		return away("count a failure", err)
	}
	return nil
}

// Forget ends what is known of an address.
//
// An error is a fault of Kind Unavailable.
func (f *Failures) Forget(ctx context.Context, address string) error {
	if err := f.redis.Del(ctx, f.key(address)).Err(); err != nil {
		return away("forget failures", err)
	}
	return nil
}

func (f *Failures) key(address string) string { return name(f.prefix, address, "count") }

// Address is the source address to count by, out of http.Request.RemoteAddr: that of IPv4, and of IPv6 the first half, for
// whoever has one such address has the other 18,446,744,073,709,551,615, too.
func Address(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() && !ip.IsLoopback() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
