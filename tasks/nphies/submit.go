package nphies

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/shopspring/decimal"
	"go.opentelemetry.io/otel/attribute"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/tracing"
	"github.com/claimlinc/nphiesq/nphiesclient"
	"github.com/claimlinc/nphiesq/tasks"
)

const opSubmit = "submit claim"

// Submit sends a claim's stored bytes and applies the answer. A claim that has its outcome is left alone.
func (h *Handlers) Submit(ctx context.Context, t *asynq.Task) error {
	p, err := tasks.Decode[tasks.SubmitPayload](t)
	if err != nil {
		return err
	}
	return h.alone(ctx, store.LeaseClaim, p.ClaimID.String(), func(context.Context) error { return h.submit(ctx, p.ClaimID) })
}

// submit is Submit under the claim's lease. Losing that stops nothing: another worker sends the same bytes, which is safe.
func (h *Handlers) submit(ctx context.Context, id uuid.UUID) error {
	claim, request, body, send, err := h.store.BeginSubmit(ctx, id)
	tracing.About(ctx, claim.TraceContext, attribute.String(tracing.Claim, id.String()))
	if err != nil || !send {
		return err
	}
	ask, event := nphiesclient.EventClaimRequest, nphiesclient.EventClaimResponse
	if claim.Use == store.UsePreauthorization {
		ask, event = nphiesclient.EventPriorAuthRequest, nphiesclient.EventPriorAuthResponse
	}
	a, message, err := h.exchange(ctx, ask, claim.Payer, body, store.Message{Event: event, License: claim.License, ClaimID: &claim.ID, ReplyTo: &request})
	if err == nil {
		err = h.applyAnswer(ctx, claim, a, message)
	}
	if err != nil {
		return h.submitFailed(ctx, claim, err)
	}
	h.wentWell(ctx, claim.License, claim.Payer, "")
	if a.MoreQueued {
		h.pollNow(ctx, claim.License)
	}
	return nil
}

// submitFailed notes a failed attempt on the claim and tells people where it is time to. It returns err.
func (h *Handlers) submitFailed(ctx context.Context, claim store.Claim, err error) error {
	f := fault.Of(err)
	var events []store.Event
	if e, ok := h.apiError(ctx, cards.OperationSubmission, fmt.Sprintf("claim/%s/%d/failing", claim.ID, claim.Episode), f, cards.APIError{
		ClaimID: claim.ID.String(), ClaimRef: claim.Identifier.Value, License: claim.License,
	}); ok {
		e.ClaimID, e.CorrelationID = &claim.ID, claim.ID.String()
		events = append(events, e)
	}
	wctx, cancel := afterwards(ctx)
	defer cancel()
	channels, noteErr := h.store.SubmitFailed(wctx, claim.ID, store.TroubleOf(err), events...)
	if noteErr != nil {
		return err // the attempt counts in asynq; what could not be noted now is noted at the next one
	}
	h.notify(ctx, channels)
	again := tasks.NewSubmit
	if claim.Use == store.UsePreauthorization {
		again = tasks.NewPriorAuth
	}
	if h.pause(ctx, claim.License, claim.Payer, cards.OperationSubmission, err, h.later(claim.ID, claim.Episode, h.store.RenewClaim, again)) {
		return nil
	}
	if (claim.State == store.Pending || claim.State == store.Pended || claim.AskAgain) && tasks.Final(ctx, err) {
		return nil // it only asked for an answer that may still come; it asks again later
	}
	return err
}

// applyAnswer records the answer to a submission.
func (h *Handlers) applyAnswer(ctx context.Context, claim store.Claim, a *nphiesclient.Answer, message uuid.UUID) error {
	if a.Claim != nil && !a.Claim.Request.IsZero() && !sameIdentifier(a.Claim.Request, claim.Identifier) {
		return &fault.Error{Op: opSubmit, Kind: fault.API, Safe: "the answer is about another claim"}
	}
	answer, known, again := h.interpret(claim, a)
	if again != nil {
		return again
	}
	answer.MessageID = message
	wctx, cancel := afterwards(ctx)
	defer cancel()
	out, err := h.store.RecordAnswer(wctx, answer, h.claimEvents(a.Claim, answer))
	if err != nil {
		return err
	}
	h.notify(ctx, out.Channels)
	if known {
		h.pollNow(ctx, claim.License) // its answer may wait in the mailbox
	}
	return nil
}

func sameIdentifier(a nphiesclient.Identifier, b store.Identifier) bool {
	return a.Value == b.Value && (a.System == "" || a.System == b.System)
}

// interpret reads a claim's answer, real-time or polled. known is true when NPHIES says that it has the claim already; again is
// set when the answer says "try the same once more".
func (h *Handlers) interpret(claim store.Claim, a *nphiesclient.Answer) (out store.Answer, known bool, again error) {
	out = store.Answer{ClaimID: claim.ID, Outcome: "error", State: store.Failed, RecheckAt: h.opt.Now().Add(h.opt.RecheckAfter)}
	c := a.Claim
	if c == nil {
		if len(a.Errors) == 0 {
			return out, false, &fault.Error{Op: opSubmit, Kind: fault.API, Safe: "the answer is no claim-response"}
		}
		c = &nphiesclient.ClaimAnswer{Outcome: "error", Errors: a.Errors}
	}
	out.Fingerprint, out.Outcome, out.Adjudication, out.State = c.Fingerprint(), c.Outcome, c.Adjudication, store.State(c.State())
	out.AnsweredAt = c.Created
	out.Reissue, out.Disposition, out.Detail = c.Reissue, c.Disposition, detailOf(c)
	out.Response = store.Identifier{System: c.Response.System, Value: c.Response.Value}
	if claim.Use == store.UsePreauthorization {
		out.PreAuthRef, out.PreAuthStart, out.PreAuthEnd = c.PreAuthRef, c.PreAuthPeriod.Start, c.PreAuthPeriod.End
		if c.Outcome == "complete" && c.Adjudication == "not-required" {
			out.State = store.Approved // it may be done without asking
		}
	}
	switch out.State {
	case store.Approved, store.Partial, store.Rejected:
		out.Approved, out.PatientShare = nullAmount(c.Paid()), nullAmount(c.Sum("patientShare"))
		n := 0
		for _, it := range c.Items {
			if it.Outcome == "approved" {
				n++
			}
		}
		out.ItemsApproved = &n
	case store.Failed:
		var t store.Trouble
		if t, known, again = h.refused(opSubmit, claim.ErrorCode, c.Errors); again != nil {
			return out, false, again
		}
		if known {
			out.State = store.Pending // its answer comes by poll, or to the same bytes later
		} else {
			out.Trouble = t
		}
	default: // taken in, no decision yet
	}
	return out, known, nil
}

// claimEvents tells what an answer means for people: taken in, once; and each version of the outcome.
func (h *Handlers) claimEvents(c *nphiesclient.ClaimAnswer, answer store.Answer) func(store.Applied) []store.Event {
	return func(a store.Applied) []store.Event {
		claim := a.Claim
		id, ref := claim.ID.String(), claim.Identifier.Value
		authorization := claim.Use == store.UsePreauthorization
		event := func(key string, e cards.Event) store.Event {
			e.CorrelationID = id
			return store.Event{Event: e, Key: "claim/" + id + "/" + key, ClaimID: &claim.ID}
		}
		version := answer.Fingerprint
		if a.Returned {
			version += "/" + strconv.Itoa(a.Version) // its content was told before, not that it counts again
		}
		var out []store.Event
		if claim.State != store.Failed {
			out = append(out, event("submitted", cards.Event{Type: cards.ClaimSubmittedEvent, Details: cards.ClaimSubmitted{
				ClaimID: id, ClaimRef: ref, ClaimType: claim.Type, Payer: payerName(claim), License: claim.License, Items: claim.Items,
				Amount: claim.Claimed.StringFixed(2), Queued: !claim.State.Outcome(), Authorization: authorization,
			}}))
		}
		switch claim.State {
		case store.Approved, store.Partial:
			d := cards.ClaimApproved{
				ClaimID: id, ClaimRef: ref, ClaimType: claim.Type, Payer: payerName(claim), License: claim.License, Outcome: cards.Outcome(claim.State),
				Claimed: claim.Claimed.StringFixed(2), Items: claim.Items, Authorization: authorization,
			}
			if claim.Approved.Valid {
				d.Approved = claim.Approved.Decimal.StringFixed(2)
			}
			if claim.ItemsApproved != nil {
				d.ItemsApproved = *claim.ItemsApproved
			}
			if claim.SubmittedAt != nil && claim.AdjudicatedAt != nil {
				d.Turnaround = claim.AdjudicatedAt.Sub(*claim.SubmittedAt).Round(time.Second)
			}
			if c != nil {
				d.Cut, d.PreAuthRef = cut(c), c.PreAuthRef
			}
			out = append(out, event("approved/"+version, cards.Event{Type: cards.ClaimApprovedEvent, Details: d}))
		case store.Rejected, store.Failed:
			d := cards.ClaimRejected{
				ClaimID: id, ClaimRef: ref, ClaimType: claim.Type, Payer: payerName(claim), License: claim.License,
				Refused: claim.State == store.Failed, Claimed: claim.Claimed.StringFixed(2), Items: claim.Items, Authorization: authorization,
			}
			if c != nil {
				for _, r := range c.Reasons {
					d.Reasons = append(d.Reasons, cards.Reason{Code: r.Code, Display: r.Display})
				}
				for _, it := range c.Items {
					if it.Outcome == "rejected" {
						d.ItemsRejected++
					}
				}
				for _, e := range c.Errors {
					d.Errors = append(d.Errors, cards.ReportedError{Code: e.Code, Text: e.Display, Location: e.Expression})
				}
			} else if answer.Trouble.Code != "" {
				d.Errors = []cards.ReportedError{{Code: answer.Trouble.Code}}
			}
			out = append(out, event("rejected/"+version, cards.Event{Type: cards.ClaimRejectedEvent, Details: d}))
		default: // no outcome yet
		}
		return out
	}
}

func payerName(c store.Claim) string {
	if c.PayerName != "" {
		return c.PayerName
	}
	return c.Payer
}

// cut lists the items of which the payer does not pay everything.
func cut(c *nphiesclient.ClaimAnswer) []cards.CutItem {
	var out []cards.CutItem
	for _, it := range c.Items {
		if it.Outcome != "approved" {
			out = append(out, cards.CutItem{Sequence: it.Sequence, Amount: lost(it), ReasonCodes: codes(it.Reasons)})
		}
	}
	return out
}

// lost is what is not paid of an item: the part rejected, else submitted less benefit, tax and the patient's part. It is "" where
// the answer does not tell it.
func lost(it nphiesclient.ItemAnswer) string {
	if v, ok := it.Amounts["rejected"]; ok {
		return v.String()
	}
	submitted, ok := it.Amounts["submitted"]
	_, paid := it.Amounts["benefit"]
	if !ok || len(it.Unreadable) > 0 || (!paid && it.Outcome != "rejected") {
		return ""
	}
	v := submitted.Sub(it.Amounts["benefit"]).Sub(it.Amounts["tax"]).Sub(it.Amounts["patientShare"])
	if v.Decimal().LessThan(decimal.Zero) {
		v = nphiesclient.Amount{}
	}
	return v.String()
}

// isClaimEvent reports whether a message event carries the answer to a claim or prior authorization of ours.
func isClaimEvent(event string) bool {
	return strings.EqualFold(event, nphiesclient.EventClaimResponse) || strings.EqualFold(event, nphiesclient.EventPriorAuthResponse)
}
