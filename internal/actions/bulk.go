package actions

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
)

// Bulk applies a verb to dead letters one after the other, perSecond of them at most (0: as fast as it goes), with the same actor and
// reason. After each, told hears what became of it; its error ends the work and is returned.
func (c *Core) Bulk(ctx context.Context, verb store.BulkVerb, letters []store.DeadLetter, perSecond float64, d store.Decision, told func(store.DeadLetter, store.Decided, error) error) error {
	limit := rate.NewLimiter(rate.Inf, 1)
	if perSecond > 0 {
		limit.SetLimit(rate.Limit(perSecond))
	}
	return c.bulk(ctx, verb, letters, limit, d, func() error { return nil }, told)
}

// bulk asks ready before each letter, once its turn has come.
func (c *Core) bulk(ctx context.Context, verb store.BulkVerb, letters []store.DeadLetter, limit *rate.Limiter, d store.Decision, ready func() error, told func(store.DeadLetter, store.Decided, error) error) error {
	apply := c.Retry
	if verb == store.BulkDiscard {
		apply = c.Discard
	}
	for _, l := range letters {
		if err := limit.Wait(ctx); err != nil {
			return err
		}
		if err := ready(); err != nil {
			return err
		}
		d.ID = l.ID
		out, err := apply(ctx, d)
		if err := told(l, out, err); err != nil {
			return err
		}
	}
	return nil
}

const (
	// bulkLook is how often somebody looks for bulk runs that wait to be worked off.
	bulkLook = 2 * time.Second
	// bulkPage is how many letters of a run are read at a time.
	bulkPage = 50
)

// WorkOffBulk works bulk runs off until ctx ends, those that somebody began elsewhere and those that another process left behind, too.
// wake makes it look at once. It may run in any number of processes: each run is worked off by one at a time.
func (c *Core) WorkOffBulk(ctx context.Context, wake <-chan struct{}, log *slog.Logger) {
	look := time.NewTicker(bulkLook)
	defer look.Stop()
	var work sync.WaitGroup
	defer work.Wait()
	for {
		if err := c.takeBulk(ctx, &work, log); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "bulk runs cannot be looked for", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-look.C:
		}
	}
}

// takeBulk takes the runs that nobody works off, each beside the others: a slow one holds none up.
func (c *Core) takeBulk(ctx context.Context, work *sync.WaitGroup, log *slog.Logger) error {
	runs, err := c.Store.BulkRuns(ctx, true, 20)
	if err != nil {
		return err
	}
	for _, r := range runs {
		held, release, ok, err := c.Store.HoldBulk(ctx, r.ID)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		work.Go(func() {
			defer release()
			if err := c.workOff(held, r); err != nil && ctx.Err() == nil {
				log.WarnContext(ctx, "bulk run waits", slog.String("bulk_run_id", r.ID.String()), slog.String("error", err.Error()))
			}
		})
	}
	return nil
}

// errOver ends the work on a run that somebody stopped.
var errOver = errors.New("the run is over")

func (c *Core) workOff(ctx context.Context, r store.BulkRun) error {
	limit := rate.NewLimiter(rate.Limit(float64(r.PerMinute)/60), 1)
	d := store.Decision{Actor: r.Actor, Source: r.Source, Reason: r.Reason + " (bulk run " + r.ID.String() + ")"}
	for {
		next, over, err := c.Store.NextBulkLetters(ctx, r.ID, bulkPage)
		if err != nil || over {
			return err
		}
		if len(next) == 0 {
			return c.Store.EndBulk(ctx, r.ID)
		}
		err = c.bulk(ctx, r.Verb, next, limit, d, func() error {
			now, err := c.Store.BulkRun(ctx, r.ID)
			if err == nil && now.State != store.BulkRunning {
				err = errOver
			}
			return err
		}, func(l store.DeadLetter, out store.Decided, err error) error {
			outcome, trouble := store.BulkLetterDone, ""
			switch {
			case err != nil && !out.Applied && fault.Is(err, fault.Unavailable):
				return err // the record is away: the letter's turn comes again
			case err != nil && !out.Applied:
				outcome, trouble = store.BulkLetterFailed, err.Error()
			case err != nil:
				trouble = err.Error() // decided; the queue follows by itself
			case !out.Applied:
				outcome = store.BulkLetterSkipped
			}
			goOn, err := c.Store.BulkStep(ctx, r.ID, l.ID, outcome, trouble)
			if err == nil && !goOn {
				err = errOver
			}
			return err
		})
		if errors.Is(err, errOver) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
