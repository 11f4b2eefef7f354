package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

// Options are the reconciler's settings.
type Options struct {
	// Interval is the time between two looks.
	Interval time.Duration
	// Settle is how long a row must have been left alone before its task counts as missing.
	Settle time.Duration
	// PollInterval and RecheckAfter are those of the poll handler.
	RecheckAfter time.Duration
	// Licenses are polled even before they have a claim.
	Licenses []string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Reconciler compares record and schedule.
type Reconciler struct {
	store   *store.Store
	queue   *broker.Queue
	letters *Letters
	log     *slog.Logger
	opt     Options
	// mirrored remembers archived tasks that are in the record, so that a full archive is not written again at each look.
	mirrored map[string]time.Time
}

// New returns a Reconciler. Each worker process runs one; a lock lets one act at a time.
func New(s *store.Store, q *broker.Queue, l *Letters, log *slog.Logger, o Options) *Reconciler {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Reconciler{store: s, queue: q, letters: l, log: log, opt: o, mirrored: map[string]time.Time{}}
}

// Run looks at every interval until ctx ends.
func (r *Reconciler) Run(ctx context.Context) {
	tick := time.NewTicker(r.opt.Interval)
	defer tick.Stop()
	for {
		if err := r.Once(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "reconciling was cut short", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// page is how many rows are looked at in one go.
const page = 500

// Once does one look, unless another process is at it. One part that fails does not keep the others from being done.
func (r *Reconciler) Once(ctx context.Context) error {
	unlock, ok, err := r.store.TryLock(ctx, "reconcile")
	if err != nil || !ok {
		return err
	}
	defer unlock()
	return errors.Join(
		r.queue.Register(ctx),
		r.archived(ctx),
		r.missing(ctx, "claim", r.store.ClaimsToSubmit, r.store.RenewClaim, submission),
		r.missing(ctx, "eligibility check", r.store.ChecksToSend, r.store.RenewCheck, check),
		r.missing(ctx, "FHIR task", r.store.FHIRTasksToSend, r.store.RenewFHIRTask, fhirTask),
		r.recheck(ctx),
		r.polls(ctx),
		r.channels(ctx),
	)
}

func submission(w store.Wish) tasks.Task {
	if w.Kind == store.UsePreauthorization {
		return tasks.NewPriorAuth(w.ID, w.Episode)
	}
	return tasks.NewSubmit(w.ID, w.Episode)
}

func check(w store.Wish) tasks.Task { return tasks.NewEligibility(w.ID, w.Episode) }

func fhirTask(w store.Wish) tasks.Task {
	if w.Kind == store.TaskCancel {
		return tasks.NewCancel(w.ID, w.Episode)
	}
	return tasks.NewStatus(w.ID, w.Episode)
}

// missing enqueues what the record wishes. A task that is there is a conflict and stays. One that is there only as completed
// or archived will not run again: the row gets a new budget, unless it is a dead letter that waits for a person.
func (r *Reconciler) missing(ctx context.Context, what string, find func(context.Context, time.Time, uuid.UUID, int) ([]store.Wish, error),
	renew func(context.Context, uuid.UUID, int) (int, error), task func(store.Wish) tasks.Task,
) error {
	before := r.opt.Now().Add(-r.opt.Settle)
	found := 0
	for after := uuid.Nil; ; {
		wishes, err := find(ctx, before, after, page)
		if err != nil {
			return err
		}
		for _, w := range wishes {
			after = w.ID
			t := task(w)
			existed, err := r.queue.Enqueue(ctx, t)
			if err != nil {
				return err
			}
			if existed {
				state, err := r.queue.TaskState(t.Queue, t.ID)
				if err != nil {
					return err
				}
				if state != asynq.TaskStateCompleted.String() {
					continue // archived ones are mirrored as dead letters
				}
				episode, err := renew(ctx, w.ID, w.Episode)
				if err != nil {
					return err
				}
				if episode == 0 {
					continue // it moved on in the meantime
				}
				w.Episode = episode
				if _, err := r.queue.Enqueue(ctx, task(w)); err != nil {
					return err
				}
			}
			found++
		}
		if len(wishes) < page {
			break
		}
	}
	if found > 0 {
		r.log.WarnContext(ctx, "tasks were missing and are enqueued", slog.String("what", what), slog.Int("count", found))
	}
	return nil
}

// recheck sends pending claims again whose mailbox has been silent for too long.
func (r *Reconciler) recheck(ctx context.Context) error {
	wishes, err := r.store.RecheckDue(ctx, r.opt.Now(), r.opt.RecheckAfter, page)
	if err != nil {
		return err
	}
	for _, w := range wishes {
		if _, err := r.queue.Enqueue(ctx, submission(w)); err != nil {
			return err
		}
	}
	return nil
}

// polls enqueues the polls that are due.
func (r *Reconciler) polls(ctx context.Context) error {
	for _, l := range r.opt.Licenses {
		if err := r.store.EnsureLicense(ctx, l); err != nil {
			return err
		}
	}
	due, err := r.store.DuePolls(ctx, r.opt.Now())
	if err != nil {
		return err
	}
	for _, p := range due {
		t := tasks.NewPoll(p.License, p.NextPollAt)
		existed, err := r.queue.Enqueue(ctx, t)
		if err != nil {
			return err
		}
		if !existed {
			continue
		}
		state, err := r.queue.TaskState(t.Queue, t.ID)
		if err != nil {
			return err
		}
		if state == asynq.TaskStateCompleted.String() || state == asynq.TaskStateArchived.String() {
			// It ran and could not move the next poll: another slot, for this look.
			if _, err := r.queue.Enqueue(ctx, tasks.NewPoll(p.License, r.opt.Now())); err != nil {
				return err
			}
		}
	}
	return nil
}

// reviveAfter is how long a notification stays given up before its channel is tried again.
const reviveAfter = 5 * time.Minute

// channels wakes the channels whose rows have waited longer than a drain would let them.
func (r *Reconciler) channels(ctx context.Context) error {
	revived, err := r.store.ReviveNotifications(ctx, r.opt.Now().Add(-reviveAfter))
	if err != nil {
		return err
	}
	if len(revived) > 0 {
		r.log.InfoContext(ctx, "given-up notifications get another chance", slog.Any("channels", revived))
	}
	due, err := r.store.DueChannels(ctx, r.opt.Now().Add(-r.opt.Settle/4))
	if err != nil {
		return err
	}
	return r.queue.Notify(ctx, append(due, revived...)...)
}

// archived mirrors asynq's archives. asynq drops archived tasks after 9,999 or 90 days; the record keeps them.
func (r *Reconciler) archived(ctx context.Context) error {
	seen := map[string]time.Time{}
	for _, queue := range tasks.Queues() {
		for n := 1; ; n++ {
			list, err := r.queue.Inspector().ListArchivedTasks(queue, asynq.PageSize(page), asynq.Page(n))
			if errors.Is(err, asynq.ErrQueueNotFound) {
				break
			}
			if err != nil {
				return err
			}
			for _, info := range list {
				key := queue + "/" + info.ID
				if !r.mirrored[key].Equal(info.LastFailedAt) || info.LastFailedAt.IsZero() {
					if err := r.letters.Write(ctx, Dead{
						Queue: queue, Type: info.Type, ID: info.ID, Payload: info.Payload, Retried: info.Retried, MaxRetry: info.MaxRetry,
						ErrorText: text(info.LastErr), LastFailedAt: info.LastFailedAt,
					}); err != nil {
						return err
					}
				}
				seen[key] = info.LastFailedAt
			}
			if len(list) < page {
				break
			}
		}
	}
	r.mirrored = seen
	return nil
}

func text(lastErr string) string {
	switch lastErr {
	case "":
		return "archived without an error, by hand"
	case asynq.ErrLeaseExpired.Error():
		return "unavailable: the worker died or lost Redis during the last attempt"
	}
	return lastErr
}
