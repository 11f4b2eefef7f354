package pagerduty

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

// Store is the outbox.
type Store interface {
	// Hold takes a lease, without waiting; held ends when it is lost.
	Hold(ctx context.Context, kind store.LeaseKind, key string) (held context.Context, release func(), ok bool, err error)
	// DuePages returns at most limit rows, of each dedup_key only the first that waits.
	DuePages(ctx context.Context, limit int) ([]store.PageEvent, error)
	NextPage(ctx context.Context) (at time.Time, ok bool, err error)
	PageSent(ctx context.Context, seq int64, status int) error
	PageFailed(ctx context.Context, f store.PageFailure) error
}

// Sender sends one event.
type Sender interface {
	Send(ctx context.Context, key config.Secret, e Event) Result
}

// Scheduler wishes for the drain at a time.
type Scheduler interface {
	PageAt(ctx context.Context, at time.Time) error
}

const (
	// width is how many events are under way at a time, each of another dedup_key.
	width = 4
	// retryBase is the delay after the first failure; it grows to retryCap.
	retryBase, retryCap = 5 * time.Second, 5 * time.Minute
	// throttle is the least delay after PagerDuty said that there were too many.
	throttle = time.Minute
	// GiveUp is how long an event is tried. A page of yesterday helps nobody.
	GiveUp = 24 * time.Hour
	// budget is how long one task goes on; with the longest event it stays below the task's timeout.
	budget = time.Minute
)

// Handler drains the outbox. It is safe for concurrent use.
type Handler struct {
	Store    Store
	Sender   Sender
	Keys     Keys
	Schedule Scheduler
	Metrics  *Metrics
	Log      *slog.Logger
	// Now is the clock: time.Now.
	Now func() time.Time
}

// Register makes h the handler of "pagerduty:send".
func (h *Handler) Register(r *tasks.Router) { r.Handle(tasks.TypePage, h.Handle) }

func (h *Handler) now() time.Time {
	if h.Now == nil {
		return time.Now()
	}
	return h.Now()
}

// Handle handles one task.
//
// Errors: Kind Unavailable when PostgreSQL or Redis is away, which asynq retries. What PagerDuty says is never the task's error: it
// stands in the rows.
func (h *Handler) Handle(ctx context.Context, _ *asynq.Task) error { return h.Drain(ctx) }

// Drain sends what is due, in order of each dedup_key. One drain goes on at a time; a second one ends at once, for the first looks
// again after it has let go.
func (h *Handler) Drain(ctx context.Context) error {
	deadline := h.now().Add(budget)
	for {
		held, err := h.locked(ctx, deadline)
		if err != nil || !held {
			return err
		}
		// Written while the outbox was held by us, a row's own task found it taken and ended: it is ours to see.
		due, ok, err := h.Store.NextPage(ctx)
		if err != nil || !ok {
			return err
		}
		if now := h.now(); due.After(now) || !now.Before(deadline) {
			return h.Schedule.PageAt(ctx, due)
		}
	}
}

// locked drains under the lease; held is false when another drain has it.
func (h *Handler) locked(ctx context.Context, deadline time.Time) (held bool, err error) {
	leased, release, ok, err := h.Store.Hold(ctx, store.LeasePager, tasks.QueuePager)
	if err != nil || !ok {
		return false, err
	}
	defer release()
	for h.now().Before(deadline) {
		if err := leased.Err(); err != nil {
			return true, err
		}
		due, err := h.Store.DuePages(leased, width)
		if err != nil || len(due) == 0 {
			return true, err
		}
		var wg sync.WaitGroup
		errs := make([]error, len(due))
		for i, e := range due {
			wg.Go(func() { errs[i] = h.one(leased, e) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return true, err
		}
	}
	return true, nil
}

// one sends a row and records what became of it.
func (h *Handler) one(ctx context.Context, e store.PageEvent) error {
	if !e.Known {
		return h.dead(ctx, e, Result{Safe: "PagerDuty does not know of it: the trigger before it was not taken"}, outcomeUnknown)
	}
	key, ok := h.Keys[e.Routing]
	r := Result{Class: Misdirected, Safe: fmt.Sprintf("PAGERDUTY_ROUTING_KEYS has no key %q; it has %v", e.Routing, h.Keys.Names())}
	if ok {
		r = h.Sender.Send(ctx, key, Event{Action: e.Action, DedupKey: e.DedupKey, Payload: e.Payload})
	}
	if r.Status == 0 && ctx.Err() != nil {
		return ctx.Err() // our own stop cut it off: nobody's failure, it goes out again
	}
	ctx = context.WithoutCancel(ctx) // what happened is recorded even while the worker stops
	if r.Class == Accepted {
		h.Metrics.count(e.Action, outcomeAccepted)
		return h.insist(ctx, func(ctx context.Context) error { return h.Store.PageSent(ctx, e.Seq, r.Status) })
	}
	now := h.now()
	if r.Class == Invalid || now.Sub(e.CreatedAt) >= GiveUp {
		return h.dead(ctx, e, r, outcomeDead)
	}
	delay := max(min(tasks.Backoff(e.Attempts, retryBase, 2, retryCap), retryCap), r.RetryAfter)
	outcome, level := outcomeRetry, slog.LevelWarn
	switch r.Class { //nolint:exhaustive // the rest is done
	case Throttled:
		delay, outcome = max(delay, throttle), outcomeThrottled
	case Misdirected:
		delay, level = max(delay, throttle), slog.LevelError // a person must act
	}
	h.Metrics.count(e.Action, outcome)
	h.Log.LogAttrs(ctx, level, "PagerDuty did not take an event, it is sent again", slog.String("action", e.Action), slog.String("dedup_key", e.DedupKey), slog.String("routing", e.Routing),
		slog.Int("attempt", e.Attempts+1), slog.Int("status", r.Status), slog.String("error", r.Safe), slog.Duration("in", delay))
	return h.insist(ctx, func(ctx context.Context) error {
		return h.Store.PageFailed(ctx, store.PageFailure{Seq: e.Seq, Status: r.Status, Text: r.Safe, Next: now.Add(delay)})
	})
}

func (h *Handler) dead(ctx context.Context, e store.PageEvent, r Result, outcome string) error {
	ctx = context.WithoutCancel(ctx)
	h.Metrics.count(e.Action, outcome)
	h.Log.LogAttrs(ctx, slog.LevelError, "an event for PagerDuty is given up", slog.String("action", e.Action), slog.String("dedup_key", e.DedupKey), slog.String("routing", e.Routing),
		slog.Int("attempts", e.Attempts+1), slog.Int("status", r.Status), slog.String("error", r.Safe))
	return h.insist(ctx, func(ctx context.Context) error {
		return h.Store.PageFailed(ctx, store.PageFailure{Seq: e.Seq, Status: r.Status, Text: r.Safe, Next: h.now(), Dead: true})
	})
}

// insist tries a write to the record a few times: an event that is not marked goes out again.
func (h *Handler) insist(ctx context.Context, write func(context.Context) error) (err error) {
	for range 3 {
		wctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		err = write(wctx)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}
