// Package upkeep does what comes round for notifications in every worker and is done by one: events are published on Redis, old rows
// are deleted, silent channels show that they live.
package upkeep

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
)

// Notifier wishes for channels to be drained.
type Notifier interface {
	Notify(ctx context.Context, channels ...string) error
}

// Options are the settings.
type Options struct {
	// Prefix heads the Redis channel of an event (the type follows) and its key; TTL is how long the key stays.
	Prefix string
	TTL    time.Duration
	// Retention is how long sent notifications are kept.
	Retention time.Duration
	// Silence is how long a channel may be silent before it shows that it lives; 0 for ever.
	Silence time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Upkeep is the work. Each worker has one.
type Upkeep struct {
	store  *store.Store
	redis  redis.UniversalClient
	notify Notifier
	log    *slog.Logger
	opt    Options
}

// New returns an Upkeep.
func New(s *store.Store, rc redis.UniversalClient, n Notifier, log *slog.Logger, o Options) *Upkeep {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Upkeep{store: s, redis: rc, notify: n, log: log, opt: o}
}

const (
	// publishEvery is the time between two looks for new events, tidyEvery that between two looks for old rows and silent channels,
	// auditEvery that between two checks of the audit trail.
	publishEvery = time.Second
	tidyEvery    = time.Hour
	auditEvery   = time.Hour
	// batch is how many rows are taken at a time.
	batch = 500
)

// Run works until ctx ends.
func (u *Upkeep) Run(ctx context.Context) {
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	for {
		err := errors.Join(
			u.duty(ctx, "publish", publishEvery, u.Publish),
			u.duty(ctx, "audit", auditEvery, u.Audit),
			u.duty(ctx, "tidy", tidyEvery, func(ctx context.Context) error { return errors.Join(u.Tidy(ctx), u.Heartbeat(ctx)) }),
		)
		if err != nil && ctx.Err() == nil {
			u.log.WarnContext(ctx, "upkeep of notifications was cut short", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (u *Upkeep) duty(ctx context.Context, name string, every time.Duration, f func(context.Context) error) error {
	ctx, release, ok, err := u.store.Duty(ctx, name, every)
	if err != nil || !ok {
		return err
	}
	defer release()
	return f(ctx)
}

// Publish publishes new events on <prefix><event type> and keeps each for a while under <prefix><event type>:<id>, as JSON. An event may be
// published twice, never not at all.
func (u *Upkeep) Publish(ctx context.Context) error {
	for {
		events, err := u.store.UnpublishedEvents(ctx, batch)
		if err != nil || len(events) == 0 {
			return err
		}
		pipe := u.redis.Pipeline()
		rows := 0
		for _, e := range events {
			body, err := json.Marshal(e)
			if err != nil {
				return err
			}
			channel := u.opt.Prefix + e.EventType
			pipe.Set(ctx, channel+":"+e.ID.String(), body, u.opt.TTL)
			pipe.Publish(ctx, channel, body)
			rows += len(e.Notifications)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return &fault.Error{Op: "publish events", Kind: fault.Unavailable, Safe: "Redis did not take them", Err: err}
		}
		if err := u.store.MarkPublished(ctx, events...); err != nil {
			return err
		}
		if rows < batch {
			return nil
		}
	}
}

// Tidy deletes old notifications, what PagerDuty was told of alerts that are over, and answers kept for repeated commands, a batch at a time.
func (u *Upkeep) Tidy(ctx context.Context) error {
	before := u.opt.Now().Add(-u.opt.Retention)
	return errors.Join(u.tidy(ctx, "notifications", before, u.store.DeleteOldNotifications), u.tidy(ctx, "pages", before, u.store.DeleteOldPages),
		u.tidy(ctx, "commands", before, u.store.DeleteOldCommands))
}

func (u *Upkeep) tidy(ctx context.Context, what string, before time.Time, some func(context.Context, time.Time, int) (int64, error)) error {
	deleted := int64(0)
	for {
		n, err := some(ctx, before, batch)
		deleted += n
		if err != nil || n < batch {
			if deleted > 0 {
				u.log.InfoContext(ctx, "old rows are deleted", slog.String("what", what), slog.Int64("count", deleted))
			}
			return err
		}
	}
}

// Audit checks the whole audit trail. What it finds is in the record, where the metrics show it.
func (u *Upkeep) Audit(ctx context.Context) error {
	c, err := u.store.CheckAudit(ctx)
	if err == nil && !c.Valid {
		u.log.ErrorContext(ctx, "the audit trail was tampered with", slog.String("problem", c.Problem))
	}
	return err
}

// Heartbeat lets silent channels show that they live.
func (u *Upkeep) Heartbeat(ctx context.Context) error {
	if u.opt.Silence <= 0 {
		return nil
	}
	channels, err := u.store.Heartbeat(ctx, u.opt.Now().Add(-u.opt.Silence))
	if err != nil || len(channels) == 0 {
		return err
	}
	return u.notify.Notify(ctx, channels...)
}
