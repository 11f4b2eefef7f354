package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/sabotage"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

// Options are the reconciler's settings.
type Options struct {
	// Interval is the time between two looks of all workers together.
	Interval time.Duration
	// Settle is how long a row must have been left alone before its task counts as missing.
	Settle time.Duration
	// OverdueStep is the time between the steps that ask after an overdue claim.
	OverdueStep time.Duration
	// RecheckAfter is how long after its last step an overdue claim is overdue again.
	RecheckAfter time.Duration
	// Licenses are polled even before they have a claim.
	Licenses []string
	// Updates: cards that the bot posted are changed when their alert is, so the channels with such wishes are woken, too.
	Updates bool
	// Found is told what was found, and how many; may be nil. See Findings.
	Found func(finding string, n int)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Findings are what a look may find, a closed set for metrics.
func Findings() []string {
	return []string{foundAbandoned, foundMissing, foundOrphaned, foundOverdue, foundPoll, foundChannel, foundPage}
}

const (
	foundAbandoned = "abandoned" // work of a process that died
	foundMissing   = "missing"   // a row without a task
	foundOrphaned  = "orphaned"  // a task that nobody works on although asynq calls it active
	foundOverdue   = "overdue"   // a pending claim of which nothing was heard
	foundPoll      = "poll"      // a mailbox that was due
	foundChannel   = "channel"   // notifications that waited
	foundPage      = "page"      // something for PagerDuty that waited
)

// Asker asks a payer how an overdue claim stands.
type Asker interface {
	AskStatus(ctx context.Context, claim uuid.UUID) error
}

// Reconciler compares record and schedule.
type Reconciler struct {
	store   *store.Store
	queue   *broker.Queue
	letters *Letters
	ask     Asker
	log     *slog.Logger
	opt     Options
	// mirrored remembers archived tasks that are in the record, so that a full archive is not written again at each look.
	mirrored map[string]time.Time
}

// New returns a Reconciler. Each worker process runs one; a lease lets one act in each interval.
func New(s *store.Store, q *broker.Queue, l *Letters, ask Asker, log *slog.Logger, o Options) *Reconciler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Found == nil {
		o.Found = func(string, int) {}
	}
	return &Reconciler{store: s, queue: q, letters: l, ask: ask, log: log, opt: o, mirrored: map[string]time.Time{}}
}

// quick is the time between two looks for the work of processes that died. It costs one small query.
const quick = time.Second

// Run looks until ctx ends.
func (r *Reconciler) Run(ctx context.Context) {
	tick := time.NewTicker(min(quick, r.opt.Interval))
	defer tick.Stop()
	for {
		if err := errors.Join(r.Abandoned(ctx), r.Once(ctx)); err != nil && ctx.Err() == nil {
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

// Once does one look, unless another process did so within the interval or is at it. One part that fails does not keep the others
// from being done.
func (r *Reconciler) Once(ctx context.Context) error {
	ctx, release, ok, err := r.store.Duty(ctx, "reconcile", r.opt.Interval)
	if err != nil || !ok || sabotage.On(sabotage.NoReconciler) {
		return err
	}
	defer release()
	return errors.Join(
		r.queue.Register(ctx),
		r.archived(ctx),
		r.settle(ctx),
		r.missing(ctx, "claim", r.store.ClaimsToSubmit, r.store.RenewClaim, submission),
		r.missing(ctx, "eligibility check", r.store.ChecksToSend, r.store.RenewCheck, check),
		r.missing(ctx, "FHIR task", r.store.FHIRTasksToSend, r.store.RenewFHIRTask, fhirTask),
		r.overdue(ctx),
		r.polls(ctx),
		r.channels(ctx),
		r.pages(ctx),
	)
}

func (r *Reconciler) found(ctx context.Context, finding, what string, n int) {
	if n == 0 {
		return
	}
	r.opt.Found(finding, n)
	r.log.WarnContext(ctx, "found and mended", slog.String("finding", finding), slog.String("what", what), slog.Int("count", n))
}

// Abandoned gives the work of processes that died to others. asynq itself would do so after two minutes and more. What it was that
// a process had in hand, its leases say; that it died, that they were not renewed.
func (r *Reconciler) Abandoned(ctx context.Context) error {
	list, err := r.store.AbandonedLeases(ctx, page)
	if err != nil || len(list) == 0 || sabotage.On(sabotage.NoTakeOver) {
		return err
	}
	var errs []error
	for _, a := range list {
		if err := r.takeOver(ctx, a); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, r.store.DropLease(ctx, a))
		r.found(ctx, foundAbandoned, string(a.Kind), 1)
	}
	return errors.Join(errs...)
}

// takeOver enqueues what the holder of an abandoned lease was doing. Whoever runs it takes the lease anew, so that two workers that
// find the same lease at the same time do it once.
func (r *Reconciler) takeOver(ctx context.Context, a store.Abandoned) error {
	switch a.Kind { //nolint:exhaustive // a duty comes round by itself
	case store.LeasePoll:
		now := r.opt.Now()
		if err := r.store.SchedulePoll(ctx, a.Key, now); err != nil {
			return err
		}
		_, err := r.queue.Enqueue(ctx, tasks.NewPoll(a.Key, now))
		return err
	case store.LeaseChannel:
		return r.queue.Notify(ctx, a.Key)
	case store.LeasePager:
		return r.queue.Page(ctx)
	}
	id, err := uuid.Parse(a.Key)
	if err != nil {
		return nil //nolint:nilerr // not a row of ours: nothing to take over
	}
	var w store.Wish
	var renew func(context.Context, uuid.UUID, int) (int, error)
	var task func(store.Wish) tasks.Task
	switch a.Kind {
	case store.LeaseClaim:
		c, err := r.store.Claim(ctx, id)
		if err != nil {
			return ifFound(err)
		}
		w, renew, task = store.Wish{ID: id, Episode: c.Episode, Kind: c.Use}, r.store.RenewClaim, submission
	case store.LeaseCheck:
		c, err := r.store.Check(ctx, id)
		if err != nil {
			return ifFound(err)
		}
		w, renew, task = store.Wish{ID: id, Episode: c.Episode}, r.store.RenewCheck, check
	case store.LeaseFHIRTask:
		t, err := r.store.FHIRTask(ctx, id)
		if err != nil {
			return ifFound(err)
		}
		w, renew, task = store.Wish{ID: id, Episode: t.Episode, Kind: t.Code}, r.store.RenewFHIRTask, fhirTask
	default:
		return nil
	}
	// Its task is active in asynq and blocks its id: the next one gets another.
	if w.Episode, err = renew(ctx, id, w.Episode); err != nil || w.Episode == 0 {
		return err
	}
	_, err = r.queue.Enqueue(ctx, task(w))
	return err
}

func ifFound(err error) error {
	if store.IsNotFound(err) {
		return nil
	}
	return err
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

// missing enqueues what the record wishes. A task that is there is a conflict and stays. One that is there only as completed,
// or as active although its worker is gone, will not run again: the row gets a new budget, unless it is a dead letter that waits
// for a person.
func (r *Reconciler) missing(ctx context.Context, what string, find func(context.Context, time.Time, uuid.UUID, int) ([]store.Wish, error),
	renew func(context.Context, uuid.UUID, int) (int, error), task func(store.Wish) tasks.Task,
) error {
	before := r.opt.Now().Add(-r.opt.Settle)
	found, orphaned := 0, 0
	var orphans map[string]bool // read once something is active
	defer func() {
		r.found(ctx, foundMissing, what, found)
		r.found(ctx, foundOrphaned, what, orphaned)
	}()
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
			if !existed {
				found++
				continue
			}
			state, err := r.queue.TaskState(t.Queue, t.ID)
			if err != nil {
				return err
			}
			gone := false
			if state == asynq.TaskStateActive.String() {
				if orphans == nil {
					if orphans, err = r.queue.Orphans(t.Queue); err != nil {
						return err
					}
				}
				gone = orphans[t.ID]
			}
			if state != asynq.TaskStateCompleted.String() && !gone {
				continue // it runs, or will; archived ones are mirrored as dead letters
			}
			if w.Episode, err = renew(ctx, w.ID, w.Episode); err != nil {
				return err
			}
			if w.Episode == 0 {
				continue // it moved on in the meantime
			}
			if _, err := r.queue.Enqueue(ctx, task(w)); err != nil {
				return err
			}
			if gone {
				orphaned++
			} else {
				found++
			}
		}
		if len(wishes) < page {
			return nil
		}
	}
}

// overdue asks after pending claims of which nothing was heard in time: first in the mailbox, then at the payer, and at last by sending
// their bytes again, to which NPHIES answers with what it has on file.
func (r *Reconciler) overdue(ctx context.Context) error {
	if err := r.reissues(ctx); err != nil {
		return err
	}
	list, err := r.store.OverdueClaims(ctx, page)
	if err != nil || len(list) == 0 {
		return err
	}
	now := r.opt.Now()
	next := now.Add(r.opt.OverdueStep)
	var errs []error
	polled := map[string]bool{}
	var inMailbox []uuid.UUID
	taken := 0
	for _, o := range list {
		var err error
		switch o.Step {
		case store.StepPoll:
			if !polled[o.License] {
				err = r.store.SchedulePoll(ctx, o.License, now) // this very look enqueues it
				polled[o.License] = err == nil
			}
			if err == nil {
				inMailbox = append(inMailbox, o.ID)
				continue
			}
		case store.StepStatus:
			if err = r.ask.AskStatus(ctx, o.ID); err == nil {
				err = r.store.OverdueStep(ctx, o.Step, store.StepBytes, next, o.ID)
			}
		default:
			if err = r.resend(ctx, o); err == nil {
				err = r.store.OverdueStep(ctx, o.Step, store.StepPoll, now.Add(r.opt.RecheckAfter), o.ID)
			}
		}
		if err == nil {
			taken++
		}
		errs = append(errs, err)
	}
	if len(inMailbox) > 0 {
		errs = append(errs, r.store.OverdueStep(ctx, store.StepPoll, store.StepStatus, next, inMailbox...))
	}
	r.found(ctx, foundOverdue, "claim", taken+len(inMailbox))
	return errors.Join(errs...)
}

// reissuesPerLook bounds how many adjudicated claims ask at a time: they must not stand before new ones.
const reissuesPerLook = 50

// reissues lets adjudicated claims ask whether an answer of theirs was lost with a poll. Should a task get lost, the claim asks again after a
// while.
func (r *Reconciler) reissues(ctx context.Context) error {
	wishes, err := r.store.ReissuesToAskFor(ctx, reissuesPerLook)
	if err != nil {
		return err
	}
	for _, w := range wishes {
		if _, err := r.queue.Enqueue(ctx, submission(w)); err != nil {
			return err
		}
	}
	r.found(ctx, foundOverdue, "adjudicated claim", len(wishes))
	return nil
}

// resend makes a new task for a pending claim.
func (r *Reconciler) resend(ctx context.Context, o store.Overdue) error {
	episode, err := r.store.RenewClaim(ctx, o.ID, o.Episode)
	if err != nil || episode == 0 {
		return err
	}
	o.Episode = episode
	_, err = r.queue.Enqueue(ctx, submission(o.Wish))
	return err
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
			r.opt.Found(foundPoll, 1)
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
	if r.opt.Updates {
		changed, err := r.store.UpdateChannels(ctx, r.opt.Now().Add(-r.opt.Settle/4))
		if err != nil {
			return err
		}
		due = append(due, slices.DeleteFunc(changed, func(c string) bool { return slices.Contains(due, c) })...)
	}
	r.found(ctx, foundChannel, "channel", len(due))
	return r.queue.Notify(ctx, append(due, revived...)...)
}

// pages wakes the drain for PagerDuty when something has waited. Ends that come with an answer are written without a task, so this is
// their usual way, and only what has waited for longer counts as found.
func (r *Reconciler) pages(ctx context.Context) error {
	at, ok, err := r.store.NextPage(ctx)
	now := r.opt.Now()
	if err != nil || !ok || at.After(now) {
		return err
	}
	if at.Before(now.Add(-r.opt.Settle - r.opt.Interval)) {
		r.found(ctx, foundPage, "page", 1)
	}
	return r.queue.Page(ctx)
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

// settle closes the letters of drains that work again: nobody has to decide about them any more.
func (r *Reconciler) settle(ctx context.Context) error {
	n, err := r.store.SettleDrains(ctx, tasks.TypeNotify, tasks.TypePage)
	if n > 0 {
		r.log.InfoContext(ctx, "dead letters of drains are over: they work again", slog.Int("count", n))
	}
	return err
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
