package signin

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/claimlinc/nphiesq/internal/ratelimit"
)

const (
	// allowedFailures is how often one user may fail from one address before both have to wait.
	allowedFailures = 10
	// addressFailures is the same for one address, whatever the names.
	addressFailures = 100
	// lockFor is how long they wait, and how long a failure is remembered.
	lockFor = 15 * time.Minute
	// redisWait is how long a sign-in waits for Redis, redisPause how long it is not asked after that: the counters in memory will do.
	redisWait  = time.Second
	redisPause = 5 * time.Second
	// maxTracked bounds memory.
	maxTracked = 20_000
)

type failures struct {
	count int
	last  time.Time
}

// lockout counts failed sign-ins: in Redis, where all monitors see them, and in memory for when Redis is away.
type lockout struct {
	pair, alone *ratelimit.Failures
	log         *slog.Logger
	now         func() time.Time

	mu      sync.Mutex
	seen    map[string]failures
	askedAt time.Time // when Redis did not answer
}

func newLockout(rc redis.UniversalClient, log *slog.Logger, now func() time.Time) *lockout {
	l := &lockout{log: log, now: now, seen: map[string]failures{}}
	if rc != nil {
		l.pair = ratelimit.NewFailures(rc, "signin-name", ratelimit.FailureSettings{Limit: allowedFailures, Window: lockFor})
		l.alone = ratelimit.NewFailures(rc, "signin", ratelimit.FailureSettings{Limit: addressFailures, Window: lockFor})
	}
	return l
}

// locked reports whether this user (pair is who and where, in a form that shows neither) must wait at this address.
func (l *lockout) locked(ctx context.Context, pair, address string) bool {
	l.mu.Lock()
	here := l.count(pair) >= allowedFailures || l.count("\x00"+address) >= addressFailures
	l.mu.Unlock()
	if here || !l.shared() {
		return here
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisWait)
	defer cancel()
	for _, c := range []struct {
		f   *ratelimit.Failures
		key string
	}{{l.pair, pair}, {l.alone, address}} {
		wait, err := c.f.Blocked(ctx, c.key)
		if err != nil {
			l.away(ctx, err)
			return false
		}
		if wait > 0 {
			return true
		}
	}
	return false
}

func (l *lockout) count(key string) int {
	f, ok := l.seen[key]
	if !ok {
		return 0
	}
	if l.now().Sub(f.last) >= lockFor {
		delete(l.seen, key)
		return 0
	}
	return f.count
}

// failed counts a failure.
func (l *lockout) failed(ctx context.Context, pair, address string) {
	l.remember(pair, "\x00"+address)
	if !l.shared() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisWait)
	defer cancel()
	if err := errors.Join(l.pair.Failed(ctx, pair), l.alone.Failed(ctx, address)); err != nil {
		l.away(ctx, err)
	}
}

// shared reports whether Redis is to be asked.
func (l *lockout) shared() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pair != nil && l.now().Sub(l.askedAt) >= redisPause
}

// away notes that Redis does not answer.
func (l *lockout) away(ctx context.Context, err error) {
	l.mu.Lock()
	l.askedAt = l.now()
	l.mu.Unlock()
	l.log.WarnContext(ctx, "failed sign-ins are counted by each monitor alone", slog.String("error", err.Error()))
}

func (l *lockout) remember(keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for _, key := range keys {
		l.seen[key] = failures{l.count(key) + 1, now}
	}
	if len(l.seen) <= maxTracked {
		return
	}
	for key, f := range l.seen {
		if now.Sub(f.last) >= lockFor || (f.count < 3 && len(l.seen) > maxTracked/2) {
			delete(l.seen, key)
		}
	}
}

// passed forgets the failures of a user at an address.
func (l *lockout) passed(ctx context.Context, pair string) {
	l.mu.Lock()
	delete(l.seen, pair)
	l.mu.Unlock()
	if l.shared() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisWait)
		defer cancel()
		_ = l.pair.Forget(ctx, pair) // it ends by itself
	}
}
