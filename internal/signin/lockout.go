package signin

import (
	"context"
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

	mu   sync.Mutex
	seen map[string]failures
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
	if here || l.pair == nil {
		return here
	}
	for _, c := range []struct {
		f   *ratelimit.Failures
		key string
	}{{l.pair, pair}, {l.alone, address}} {
		wait, err := c.f.Blocked(ctx, c.key)
		if err != nil {
			l.log.WarnContext(ctx, "failed sign-ins are counted by each monitor alone", slog.String("error", err.Error()))
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
	if l.pair == nil {
		return
	}
	if l.pair.Failed(ctx, pair) == nil { // else locked says so
		_ = l.alone.Failed(ctx, address)
	}
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
	if l.pair != nil {
		_ = l.pair.Forget(ctx, pair) // it ends by itself
	}
}
