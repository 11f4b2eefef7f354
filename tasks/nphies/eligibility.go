package nphies

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"go.opentelemetry.io/otel/attribute"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/tracing"
	"github.com/claimlinc/nphiesq/nphiesclient"
	"github.com/claimlinc/nphiesq/tasks"
)

const opEligibility = "check eligibility"

// Eligibility sends an eligibility check and records the answer. Eligibility is never queued: after a timeout the same bytes
// are simply sent again, and an answer that comes in real time is the only one.
func (h *Handlers) Eligibility(ctx context.Context, t *asynq.Task) error {
	p, err := tasks.Decode[tasks.EligibilityPayload](t)
	if err != nil {
		return err
	}
	return h.alone(ctx, store.LeaseCheck, p.CheckID.String(), func(context.Context) error { return h.eligibility(ctx, p.CheckID) })
}

func (h *Handlers) eligibility(ctx context.Context, id uuid.UUID) error {
	check, request, body, send, err := h.store.BeginCheck(ctx, id)
	tracing.About(ctx, check.TraceContext, attribute.String(tracing.Check, id.String()))
	if err != nil || !send {
		return err
	}
	a, _, err := h.exchange(ctx, nphiesclient.EventEligibilityRequest, check.Payer, body, store.Message{
		Event: nphiesclient.EventEligibilityResponse, License: check.License, EligibilityID: &check.ID, ReplyTo: &request,
	})
	if err == nil {
		err = h.applyCheck(ctx, check, a)
	}
	if err != nil {
		return h.checkFailed(ctx, check, err)
	}
	h.wentWell(ctx, check.License, check.Payer, "")
	if a.MoreQueued {
		h.pollNow(ctx, check.License)
	}
	return nil
}

func (h *Handlers) applyCheck(ctx context.Context, check store.Check, a *nphiesclient.Answer) error {
	out := store.CheckAnswer{ID: check.ID}
	d := cards.EligibilityDenied{CheckID: check.ID.String(), CheckRef: check.Identifier.Value, Payer: check.PayerName, License: check.License}
	if d.Payer == "" {
		d.Payer = check.Payer
	}
	var events []store.Event
	switch e := a.Eligibility; {
	case e != nil && !e.Request.IsZero() && !sameIdentifier(e.Request, check.Identifier):
		return &fault.Error{Op: opEligibility, Kind: fault.API, Safe: "the answer is about another check"}
	case e != nil && e.Outcome != "error":
		out.Response = store.Identifier{System: e.Response.System, Value: e.Response.Value}
		out.SiteEligibility, out.Disposition, out.State = e.SiteEligibility, e.Disposition, store.CheckEligible
		if !e.Eligible {
			out.State = store.CheckNotEligible
			out.SiteEligibility = e.Reason()
			d.SiteEligibility = e.Reason()
			events = append(events, store.Event{
				Event: cards.Event{Type: cards.EligibilityDeniedEvent, CorrelationID: check.ID.String(), Details: d},
				Key:   "eligibility/" + check.ID.String() + "/denied",
			})
		}
	case len(a.Errors) == 0:
		return &fault.Error{Op: opEligibility, Kind: fault.API, Safe: "the answer is no eligibility-response"}
	default:
		t, known, again := h.refused(opEligibility, check.ErrorCode, a.Errors)
		if again == nil && known {
			// The request is known, yet there is no mailbox for its answer: only the same request brings it.
			again = &fault.Error{Op: opEligibility, Kind: fault.API, Code: t.Code, Safe: "NPHIES has the request and gave no answer"}
		}
		if again != nil {
			return again
		}
		out.State, out.Trouble = store.CheckFailed, t
		f := nphiesclient.Classify(a.Errors)
		events = append(events, store.Event{
			Event: cards.Event{Type: cards.APIErrorEvent, CorrelationID: check.ID.String(), Details: cards.APIError{
				Operation: cards.OperationEligibility, ErrorType: errorType(f.Kind), Code: t.Code, Message: t.Text, Endpoint: h.opt.Endpoint, License: check.License,
				Attempt: check.Attempts, Final: true,
			}},
			Key: "eligibility/" + check.ID.String() + "/refused",
		})
	}
	wctx, cancel := afterwards(ctx)
	defer cancel()
	_, channels, err := h.store.RecordCheck(wctx, out, events...)
	if err != nil {
		return err
	}
	h.notify(ctx, channels)
	return nil
}

func (h *Handlers) checkFailed(ctx context.Context, check store.Check, err error) error {
	f := fault.Of(err)
	var events []store.Event
	if e, ok := h.apiError(ctx, cards.OperationEligibility, fmt.Sprintf("eligibility/%s/%d/failing", check.ID, check.Episode), f, cards.APIError{License: check.License}); ok {
		e.CorrelationID = check.ID.String()
		events = append(events, e)
	}
	wctx, cancel := afterwards(ctx)
	defer cancel()
	if channels, noteErr := h.store.CheckFailedAttempt(wctx, check.ID, store.TroubleOf(err), events...); noteErr == nil {
		h.notify(ctx, channels)
	}
	if h.pause(ctx, check.License, check.Payer, cards.OperationEligibility, err, h.later(check.ID, check.Episode, h.store.RenewCheck, tasks.NewEligibility)) {
		return nil
	}
	return err
}
