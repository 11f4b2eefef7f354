package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// LeaseKind is what a lease is about; with it and the key, the work of a process that died can be given to another.
type LeaseKind string

// Kinds of leases. The key of the first three is the id of a row, of a poll the licence, of a drain the channel, of a duty its name.
const (
	LeaseClaim    LeaseKind = "claim"
	LeaseCheck    LeaseKind = "check"
	LeaseFHIRTask LeaseKind = "fhir_task"
	LeasePoll     LeaseKind = "poll"
	LeaseChannel  LeaseKind = "channel"
	// LeasePager is the drain of what PagerDuty is told.
	LeasePager LeaseKind = "pager"
	// LeaseWorker is a worker process itself: see Workers.
	LeaseWorker LeaseKind = "worker"
	// LeaseDuty is work that comes round in every process and is done by one.
	LeaseDuty LeaseKind = "duty"
)

// LeaseTime is how long a lease lasts without being renewed, unless the options say otherwise: how long after the death of a process
// its work waits. It is renewed four times as often, and counts as lost a fifth of the time before its end.
const LeaseTime = 10 * time.Second

// lease is the right to work on one thing, which no other process has at the same time.
type lease struct {
	store *Store
	kind  LeaseKind
	key   string
	token uuid.UUID
	until time.Duration // kept by a duty after its end
	began time.Time
	lost  context.CancelCauseFunc
	stop  chan struct{}
	done  chan struct{}
	gone  atomic.Bool
}

// ErrLeaseLost is the cause of the context's end when a lease could not be renewed in time. Another process may have it by now.
var ErrLeaseLost = errors.New("the lease could not be renewed in time")

// Hold takes a lease, without waiting, and renews it until it is released. ok is false when another holds it. The returned context
// ends when the lease is lost: work that must not go on beside another's runs under it. release must be called when ok is true.
//
// Leases are judged by the database's clock alone, so that no worker's clock can end another's.
func (s *Store) Hold(ctx context.Context, kind LeaseKind, key string) (held context.Context, release func(), ok bool, err error) {
	return s.hold(ctx, kind, key, 0)
}

// Duty is Hold for work that comes round every interval: whoever does it keeps the others off until the interval is over, also
// after its release.
func (s *Store) Duty(ctx context.Context, name string, interval time.Duration) (held context.Context, release func(), ok bool, err error) {
	return s.hold(ctx, LeaseDuty, name, interval)
}

func (s *Store) hold(ctx context.Context, kind LeaseKind, key string, until time.Duration) (context.Context, func(), bool, error) {
	l := &lease{store: s, kind: kind, key: key, token: uuid.New(), until: until, began: time.Now(), stop: make(chan struct{}), done: make(chan struct{})}
	tag, err := s.pool.Exec(ctx, `INSERT INTO leases AS l (kind, key, token, holder, since, until) VALUES ($1, $2, $3, $4, clock_timestamp(), clock_timestamp() + $5)
		ON CONFLICT (kind, key) DO UPDATE SET token = $3, holder = $4, since = clock_timestamp(), until = clock_timestamp() + $5 WHERE l.until <= clock_timestamp()`,
		string(kind), key, l.token, holder(), s.opt.LeaseTime)
	if err != nil || tag.RowsAffected() == 0 {
		return ctx, nil, false, wrap("take lease", err)
	}
	held, lost := context.WithCancelCause(ctx)
	l.lost = lost
	go l.keep(context.WithoutCancel(ctx))
	return held, l.release, true, nil
}

// keep renews the lease. Time is measured from before each renewal was asked for, on this machine's monotonic clock.
func (l *lease) keep(ctx context.Context) {
	defer close(l.done)
	whole := l.store.opt.LeaseTime
	good, pause := l.began, whole/4
	for {
		deadline := good.Add(whole - whole/5)
		next := time.NewTimer(min(pause, time.Until(deadline)))
		select {
		case <-l.stop:
			next.Stop()
			return
		case <-next.C:
		}
		at := time.Now()
		renewed, err := l.renew(ctx, min(whole/4, deadline.Sub(at)))
		switch {
		case err == nil && renewed:
			good, pause = at, whole/4
		case err == nil, !time.Now().Before(deadline):
			l.gone.Store(true)
			l.lost(ErrLeaseLost)
			return
		default:
			pause = whole / 20
		}
	}
}

func (l *lease) renew(ctx context.Context, limit time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, max(limit, time.Millisecond))
	defer cancel()
	tag, err := l.store.pool.Exec(ctx, `UPDATE leases SET until = clock_timestamp() + $4 WHERE kind = $1 AND key = $2 AND token = $3`,
		string(l.kind), l.key, l.token, l.store.opt.LeaseTime)
	return tag.RowsAffected() == 1, err
}

// release gives the lease back. That of a duty stays taken until its interval is over.
func (l *lease) release() {
	close(l.stop)
	<-l.done
	l.lost(nil)
	if l.gone.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if rest := l.until - time.Since(l.began); rest > 0 {
		_, _ = l.store.pool.Exec(ctx, `UPDATE leases SET until = clock_timestamp() + $4 WHERE kind = $1 AND key = $2 AND token = $3`,
			string(l.kind), l.key, l.token, rest) // on failure it ends with LeaseTime
		return
	}
	_, _ = l.store.pool.Exec(ctx, `DELETE FROM leases WHERE kind = $1 AND key = $2 AND token = $3`, string(l.kind), l.key, l.token) // it ends by itself
}

// Abandoned is a lease whose holder died.
type Abandoned struct {
	Kind   LeaseKind
	Key    string
	Token  uuid.UUID
	Holder string
	Since  time.Time
}

// AbandonedLeases returns at most limit leases of work that ran out without being released, the oldest first. The work has to be given to
// somebody; then DropLease.
func (s *Store) AbandonedLeases(ctx context.Context, limit int) ([]Abandoned, error) {
	rows, err := s.pool.Query(ctx, `SELECT kind, key, token, holder, since FROM leases WHERE until < clock_timestamp() AND kind <> ALL ($1) ORDER BY until LIMIT $2`, []string{string(LeaseDuty), string(LeaseWorker)}, limit)
	if err != nil {
		return nil, wrap("read leases", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Abandoned])
	return out, wrap("read leases", err)
}

// DropLease removes an abandoned lease, unless somebody has taken it since.
func (s *Store) DropLease(ctx context.Context, a Abandoned) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM leases WHERE kind = $1 AND key = $2 AND token = $3`, string(a.Kind), a.Key, a.Token)
	return wrap("drop lease", err)
}

// holder names this process in the leases it holds, for people.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}
