package nphies

import (
	"context"
	"fmt"
	"log/slog"

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

// FHIRTask sends a status-check or cancel-request and records the answer. Both are answered in real time only; the same bytes
// may be sent again.
func (h *Handlers) FHIRTask(ctx context.Context, t *asynq.Task) error {
	p, err := tasks.Decode[tasks.FHIRTaskPayload](t)
	if err != nil {
		return err
	}
	return h.alone(ctx, store.LeaseFHIRTask, p.TaskID.String(), func(context.Context) error { return h.fhirTask(ctx, p.TaskID) })
}

func (h *Handlers) fhirTask(ctx context.Context, id uuid.UUID) error {
	task, body, send, err := h.store.BeginFHIRTask(ctx, id)
	if err != nil || !send {
		return err
	}
	ctx = tracing.With(ctx, slog.String(tracing.CorrelationID, task.ClaimID.String()))
	tracing.About(ctx, "", attribute.String(tracing.Claim, task.ClaimID.String()))
	request, response := nphiesclient.EventStatusCheck, nphiesclient.EventStatusResponse
	if task.Code == store.TaskCancel {
		request, response = nphiesclient.EventCancelRequest, nphiesclient.EventCancelResponse
	}
	a, _, err := h.exchange(ctx, request, task.Payer, body, store.Message{Event: response, License: task.License, ClaimID: &task.ClaimID, ReplyTo: &task.MessageID})
	if err == nil {
		err = h.applyFHIRTask(ctx, task, a)
	}
	if err != nil {
		return h.fhirTaskFailed(ctx, task, err)
	}
	h.wentWell(ctx, task.License, task.Payer, "")
	if a.MoreQueued {
		h.pollNow(ctx, task.License)
	}
	return nil
}

func (h *Handlers) applyFHIRTask(ctx context.Context, task store.FHIRTask, a *nphiesclient.Answer) error {
	op := operationOf(task.Code)
	out := store.FHIRTaskAnswer{ID: task.ID}
	var events []store.Event
	x := a.Task
	switch {
	case len(a.Errors) > 0:
		t, known, again := h.refused(op, task.ErrorCode, a.Errors)
		if again == nil && known {
			again = &fault.Error{Op: op, Kind: fault.API, Code: t.Code, Safe: "NPHIES has the request and gave no answer"}
		}
		if again != nil {
			return again
		}
		out.State, out.Trouble = store.FHIRTaskError, t
		// NPHIES does not know the claim that it took in: its bytes tell it again.
		out.Recheck = t.Code == "BV-00459" && task.Code == store.TaskStatus
		if !out.Recheck && !task.Automatic {
			events = append(events, store.Event{Key: "fhirtask/" + task.ID.String() + "/refused", ClaimID: &task.ClaimID, Event: cards.Event{
				Type: cards.APIErrorEvent, CorrelationID: task.ClaimID.String(), Details: cards.APIError{
					Operation: op, ErrorType: errorType(fault.Kind(t.Kind)), Code: t.Code, Message: t.Text, Endpoint: h.opt.Endpoint, License: task.License,
					ClaimID: task.ClaimID.String(), ClaimRef: task.Identifier.Value, Attempt: task.Attempts, Final: true,
				},
			}})
		}
	case x == nil:
		return &fault.Error{Op: op, Kind: fault.API, Safe: "the answer is no " + task.Code + " response"}
	case !x.Focus.IsZero() && !sameIdentifier(x.Focus, task.Identifier):
		return &fault.Error{Op: op, Kind: fault.API, Safe: "the answer is about another claim"}
	case x.Status == "completed":
		out.State, out.Result = store.FHIRTaskCompleted, x.Result
		out.Cancelled = task.Code == store.TaskCancel || x.Result == "cancelled"
		// The payer has answered, and we have not seen it: the same bytes bring the answer.
		out.Recheck = x.Result == "complete" || x.Result == "error"
		if task.Code == store.TaskStatus && !out.Recheck && !out.Cancelled {
			out.AskAgainAt = h.opt.Now().Add(h.opt.RecheckAfter) // it works on it
		}
	case x.Status == "failed":
		out.State, out.StatusReason = store.FHIRTaskFailed, x.StatusReason
	default:
		return &fault.Error{Op: op, Kind: fault.API, Safe: "the answer decides nothing"}
	}
	wctx, cancel := afterwards(ctx)
	defer cancel()
	_, channels, err := h.store.RecordFHIRTask(wctx, out, events...)
	if err != nil {
		return err
	}
	h.notify(ctx, channels)
	return nil
}

func operationOf(code string) string {
	if code == store.TaskCancel {
		return cards.OperationCancel
	}
	return cards.OperationStatus
}

func (h *Handlers) fhirTaskFailed(ctx context.Context, task store.FHIRTask, err error) error {
	op := operationOf(task.Code)
	f := fault.Of(err)
	var events []store.Event
	if e, ok := h.apiError(ctx, op, fmt.Sprintf("fhirtask/%s/%d/failing", task.ID, task.Episode), f, cards.APIError{
		ClaimID: task.ClaimID.String(), ClaimRef: task.Identifier.Value, License: task.License,
	}); ok && !task.Automatic {
		e.ClaimID, e.CorrelationID = &task.ClaimID, task.ClaimID.String()
		events = append(events, e)
	}
	wctx, cancel := afterwards(ctx)
	defer cancel()
	if channels, noteErr := h.store.FHIRTaskFailed(wctx, task.ID, store.TroubleOf(err), events...); noteErr == nil {
		h.notify(ctx, channels)
	}
	again := tasks.NewStatus
	if task.Code == store.TaskCancel {
		again = tasks.NewCancel
	}
	if h.pause(ctx, task.License, task.Payer, op, err, h.later(task.ID, task.Episode, h.store.RenewFHIRTask, again)) {
		return nil
	}
	if task.Automatic && tasks.Final(ctx, err) {
		// Nobody asked for it: it is no dead letter. The claim's next step is to send its bytes.
		_, _, err := h.store.RecordFHIRTask(wctx, store.FHIRTaskAnswer{ID: task.ID, State: store.FHIRTaskError, Trouble: store.TroubleOf(err)})
		return err
	}
	return err
}

// NewFHIRTask builds a status-check or cancel-request about a claim, to be kept. reason is the code of a cancel; who asks for it
// is for the caller to add.
func NewFHIRTask(claim store.Claim, code, reason string, o nphiesclient.TaskOptions) (store.NewFHIRTask, error) {
	ref := nphiesclient.ClaimRef{Identifier: nphiesclient.Identifier(claim.Identifier), Payer: claim.Payer, PayerName: claim.PayerName}
	o.License, o.ProviderName = claim.License, claim.License
	var req *nphiesclient.Request
	var err error
	if code == store.TaskCancel {
		req, err = nphiesclient.BuildCancel(ref, reason, o)
	} else {
		req, err = nphiesclient.BuildStatusCheck(ref, o)
	}
	if err != nil {
		return store.NewFHIRTask{}, err
	}
	return store.NewFHIRTask{
		ClaimID: claim.ID, Code: code, Reason: reason, License: claim.License, Payer: claim.Payer, Identifier: claim.Identifier, Event: req.Event,
		BundleID: req.BundleID, HeaderID: req.HeaderID, Body: req.Body,
	}, nil
}

// AskStatus asks the payer how an overdue claim stands.
func (h *Handlers) AskStatus(ctx context.Context, claim uuid.UUID) error {
	c, err := h.store.Claim(ctx, claim)
	if err != nil {
		return err
	}
	n, err := NewFHIRTask(c, store.TaskStatus, "", nphiesclient.TaskOptions{
		IdentifierSystem: h.opt.IdentifierBase + "/task", ProfileVersion: h.opt.ProfileVersion, Now: h.opt.Now(),
	})
	if err != nil {
		return err
	}
	n.Automatic = true
	t, _, err := h.store.CreateFHIRTask(ctx, n)
	if err != nil {
		return err
	}
	_, err = h.queue.Enqueue(ctx, tasks.NewStatus(t.ID, t.Episode))
	return err
}
