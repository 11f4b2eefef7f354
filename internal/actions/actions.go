// Package actions is the one way in which people change what happens, whether from the command line, the monitor, a card's link, the API or
// the bot: what is done about an alert, and retry and discard of dead letters. A decision is put on record in the transaction that applies it; what follows in Redis
// may fail, and then the reconciler does it.
package actions

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/tracing"
	"github.com/claimlinc/nphiesq/tasks"
)

// Core applies decisions. Store and Queue are needed; the rest may be left out. It is safe for concurrent use.
type Core struct {
	Store *store.Store
	Queue *broker.Queue
	// Pager is nil without PagerDuty.
	Pager Pager
	// Chain is the order in which groups hear of what is escalated; nil for DefaultChain.
	Chain   []cards.Stakeholder
	Metrics Metrics
	Log     *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	sampler sampler
}

// Retry lets the work behind a dead letter be tried again with a fresh budget of attempts: the claim's stored bytes, unchanged.
// Applied is false when somebody decided before.
func (c *Core) Retry(ctx context.Context, d store.Decision) (out store.Decided, err error) {
	ctx, span := tracing.Begin(ctx, "retry dead letter", trace.SpanKindInternal)
	defer func() { tracing.End(span, err) }()
	out, err = c.Store.RetryLetter(ctx, d)
	if err != nil || !out.Applied {
		return out, err
	}
	return out, c.enqueueAgain(ctx, out)
}

// enqueueAgain makes the task of a letter that is tried again.
func (c *Core) enqueueAgain(ctx context.Context, out store.Decided) (err error) {
	l, now := out.Letter, c.now()
	// The archived task goes; the new one has another id, so that neither blocks the other.
	if err := c.Queue.Remove(l.Queue, l.TaskID); err != nil {
		return err
	}
	switch {
	case l.ClaimID != nil && l.TaskType == tasks.TypePriorAuth:
		_, err = c.Queue.Enqueue(ctx, tasks.NewPriorAuth(*l.ClaimID, out.Episode))
	case l.ClaimID != nil:
		_, err = c.Queue.Enqueue(ctx, tasks.NewSubmit(*l.ClaimID, out.Episode))
	case l.FHIRTaskID != nil && l.TaskType == tasks.TypeCancel:
		_, err = c.Queue.Enqueue(ctx, tasks.NewCancel(*l.FHIRTaskID, out.Episode))
	case l.FHIRTaskID != nil:
		_, err = c.Queue.Enqueue(ctx, tasks.NewStatus(*l.FHIRTaskID, out.Episode))
	case l.EligibilityID != nil:
		_, err = c.Queue.Enqueue(ctx, tasks.NewEligibility(*l.EligibilityID, out.Episode))
	case l.TaskType == tasks.TypePoll && l.Reference != "":
		if err = c.Store.SchedulePoll(ctx, l.Reference, now); err == nil {
			_, err = c.Queue.Enqueue(ctx, tasks.NewPoll(l.Reference, now))
		}
	case l.TaskType == tasks.TypeNotify && l.Reference != "":
		err = c.Queue.Notify(ctx, l.Reference)
	case l.TaskType == tasks.TypePage:
		err = c.Queue.Page(ctx)
	}
	return err
}

// Resend sends a notification again. Applied is false when it waits to be sent anyway.
func (c *Core) Resend(ctx context.Context, d store.Decision) (store.Resent, error) {
	out, err := c.Store.Resend(ctx, d)
	if err != nil || !out.Applied {
		return out, err
	}
	return out, c.Queue.Notify(ctx, out.Notification.Channel)
}

// Discard gives up the work behind a dead letter: a claim without an answer ends in error, for this reason.
func (c *Core) Discard(ctx context.Context, d store.Decision) (store.Decided, error) {
	out, err := c.Store.DiscardLetter(ctx, d)
	if err != nil || !out.Applied {
		return out, err
	}
	return out, c.Queue.Remove(out.Letter.Queue, out.Letter.TaskID)
}
