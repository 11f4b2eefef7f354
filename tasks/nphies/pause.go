package nphies

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/sabotage"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

// pauseError says that an answer is about more than the message it answers: all that would meet the same answer waits.
type pauseError struct {
	fault *fault.Error
	// payer narrows the pause to the payer of the message.
	payer bool
	// lapse: the pause ends by itself, later and later; else when a person resumes it.
	lapse bool
	// breaker: it begins with the failure that is one too many.
	breaker bool
}

func (e *pauseError) Error() string { return e.fault.Error() }
func (e *pauseError) Unwrap() error { return e.fault }

// pauseCap is the longest time between two tries at a payer that is offline, or with a certificate that is not accepted.
const pauseCap = 30 * time.Minute

// tellOffline is the failure of an offline payer that people hear of: shorter trouble mends itself.
const tellOffline = 4

// pause holds back what would fail as err did. paused is true when the work is parked: its task is done, and the reconciler
// makes a new one when the pause is over; of a pause that ends by itself, again has one made for that moment. Other errors are
// left to the retries of the task.
func (h *Handlers) pause(ctx context.Context, license, payer, operation string, err error, again func(ctx context.Context, at time.Time) error) (paused bool) {
	p, ok := errors.AsType[*pauseError](err)
	if !ok {
		switch f := fault.Of(err); {
		case f.Kind == fault.Certificate:
			// The TLS handshake failed: no message of this licence gets through.
			p = &pauseError{fault: f, lapse: true}
		case f.Kind == fault.Network && h.opt.BreakAfter > 0 && !sabotage.On(sabotage.NoBreaker) && ctx.Err() != context.Canceled:
			// One may be chance; several in a row, without a success between them, are an outage that all would meet.
			p = &pauseError{fault: f, lapse: true, breaker: true, payer: strings.HasPrefix(f.Code, "GE-") && payer != ""}
		default:
			return false
		}
	}
	if p.payer && payer == "" {
		return false // which payer, nobody knows: the others may not suffer for it
	}
	n := store.NewPause{License: license, Operation: operation, Trouble: store.TroubleOf(p.fault), Breaker: p.breaker}
	if p.payer {
		n.Payer = payer
	}
	if p.lapse {
		free := 0
		if p.breaker {
			free = h.opt.BreakAfter - 1
		}
		n.For = func(failures int) time.Duration {
			if failures <= free {
				return 0
			}
			return tasks.Backoff(failures-free-1, h.opt.OfflineRetry, 2, pauseCap)
		}
	}
	wctx, cancel := afterwards(ctx)
	defer cancel()
	row, channels, perr := h.store.Pause(wctx, n, func(row store.Pause, began bool) []store.Event {
		offline := p.payer && p.lapse && !p.breaker
		if (offline && row.Failures != tellOffline) || (!offline && !began) {
			return nil
		}
		d := cards.APIError{
			Operation: operation, ErrorType: errorType(p.fault.Kind), Code: p.fault.Code, Message: p.fault.Safe, Endpoint: h.opt.Endpoint, License: license,
			Payer: row.Payer, Paused: true,
		}
		if row.Until != nil {
			d.Until = *row.Until
		}
		key := fmt.Sprintf("pause/%s/%s/%d/%s", license, row.Payer, row.Since.UnixMilli(), row.ErrorCode)
		return []store.Event{{Event: cards.Event{Type: cards.APIErrorEvent, CorrelationID: license, Details: d}, Key: key}}
	})
	if perr != nil {
		h.log.WarnContext(ctx, "pause not noted", slog.String("license", license), slog.String("error", perr.Error()))
		return false
	}
	if row.Until != nil && !row.Until.After(row.Since) {
		return false // counted: not yet one too many
	}
	h.log.WarnContext(ctx, "sending is paused", slog.String("license", license), slog.String("payer", n.Payer), slog.String("code", p.fault.Code),
		slog.String("reason", p.fault.Safe))
	h.notify(ctx, channels)
	if p.breaker && row.Payer == "" && row.Until != nil {
		h.pollAt(wctx, license, *row.Until) // it costs no claim an attempt to find out whether the way is there again
		return true
	}
	if again != nil && row.Until != nil {
		if err := again(wctx, *row.Until); err != nil {
			h.log.WarnContext(ctx, "the next try waits for the reconciler", slog.String("license", license), slog.String("error", err.Error()))
		}
	}
	return true
}

// pollAt asks for a poll at a time.
func (h *Handlers) pollAt(ctx context.Context, license string, at time.Time) {
	err := h.store.SchedulePoll(ctx, license, at)
	if err == nil {
		_, err = h.queue.Enqueue(ctx, tasks.NewPoll(license, at), asynq.ProcessAt(at))
	}
	if err != nil {
		h.log.WarnContext(ctx, "poll waits for the reconciler", slog.String("license", license), slog.String("error", err.Error()))
	}
}

// later makes the next task of a row whose task is done: renew gives it another budget, 0 when somebody did so before.
func (h *Handlers) later(id uuid.UUID, episode int, renew func(context.Context, uuid.UUID, int) (int, error), task func(uuid.UUID, int) tasks.Task,
) func(context.Context, time.Time) error {
	return func(ctx context.Context, at time.Time) error {
		next, err := renew(ctx, id, episode)
		if err != nil || next == 0 {
			return err
		}
		_, err = h.queue.Enqueue(ctx, task(id, next), asynq.ProcessAt(at))
		return err
	}
}

// wentWell ends the pauses that an exchange disproves; operation as for EndPauses.
func (h *Handlers) wentWell(ctx context.Context, license, payer, operation string) {
	wctx, cancel := afterwards(ctx)
	defer cancel()
	n, err := h.store.EndPauses(wctx, license, payer, operation)
	switch {
	case err != nil:
		h.log.WarnContext(ctx, "pause not ended", slog.String("license", license), slog.String("error", err.Error()))
	case n > 0:
		h.log.InfoContext(ctx, "sending goes on", slog.String("license", license), slog.String("payer", payer))
	}
}
