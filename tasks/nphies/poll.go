package nphies

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/shopspring/decimal"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/sabotage"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/tracing"
	"github.com/claimlinc/nphiesq/nphiesclient"
	"github.com/claimlinc/nphiesq/tasks"
)

const opPoll = "poll"

// maxRounds bounds one task's polls; what remains is fetched by the next task, at once.
const maxRounds = 20

// Poll empties the mailbox of a licence. Only one poll of a licence runs at a time, over all workers: delivered messages leave
// NPHIES' queue, so two readers would each see half. What arrives is kept before it is read; what an earlier run kept and did
// not distribute is distributed first.
func (h *Handlers) Poll(ctx context.Context, t *asynq.Task) error {
	p, err := tasks.Decode[tasks.PollPayload](t)
	if err != nil {
		return err
	}
	// Under the lease's context: a poll whose lease is lost must stop, because another one may begin.
	return h.alone(ctx, store.LeasePoll, p.License, func(held context.Context) error { return h.poll(held, p) })
}

func (h *Handlers) poll(ctx context.Context, p tasks.PollPayload) error {
	more, err := h.drain(ctx, p.License)
	wctx, cancel := afterwards(ctx)
	defer cancel()
	if err != nil {
		return h.pollFailed(ctx, p.License, err)
	}
	now := h.opt.Now()
	next := now.Add(h.opt.PollInterval)
	if more {
		next = now
	}
	if err := h.store.PollDone(wctx, p.License, next, more); err != nil {
		return err
	}
	if err := h.store.SettleDeadLetter(wctx, tasks.TypePoll, p.License); err != nil {
		return err
	}
	h.wentWell(ctx, p.License, "", cards.OperationPoll)
	if more {
		h.pollNow(ctx, p.License)
	}
	return nil
}

// pollFailed notes a failed poll. Once the retries are used up the next look is due at the usual time. Polls that fail task after
// task are one trouble, and one card.
func (h *Handlers) pollFailed(ctx context.Context, license string, err error) error {
	paused := h.pause(ctx, license, "", cards.OperationPoll, err, nil)
	var next time.Time
	if paused || tasks.Final(ctx, err) || fault.Of(err).Permanent {
		next = h.opt.Now().Add(h.opt.PollInterval)
	}
	wctx, cancel := afterwards(ctx)
	defer cancel()
	channels, noteErr := h.store.PollFailed(wctx, license, store.TroubleOf(err), next, func(since time.Time) []store.Event {
		e, ok := h.apiError(ctx, cards.OperationPoll, fmt.Sprintf("poll/%s/%d/failing", license, since.UnixMilli()), fault.Of(err), cards.APIError{License: license})
		if !ok || paused {
			return nil
		}
		e.CorrelationID = license
		return []store.Event{e}
	})
	if noteErr != nil {
		return err // noted at the next attempt; a licence whose poll is overdue is found by the reconciler
	}
	h.notify(ctx, channels)
	if paused {
		return nil // people know; the next poll, at its usual time, shows whether it is over
	}
	return err
}

// drain polls until the mailbox is empty. more is true when messages are left.
func (h *Handlers) drain(ctx context.Context, license string) (more bool, err error) {
	if err := h.distributeKept(ctx, license); err != nil {
		return false, err
	}
	for range maxRounds {
		if more, err = h.pollOnce(ctx, license); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// pollOnce fetches and distributes one batch. A request whose answer never arrived is sent again once, byte for byte. What the lost
// answer brought may be gone all the same, so the pending claims ask for their answers themselves.
func (h *Handlers) pollOnce(ctx context.Context, license string) (more bool, err error) {
	id, body, sends, err := h.store.PollInFlight(ctx, license)
	if err != nil {
		return false, err
	}
	if body != nil && sends >= 2 {
		if err := h.giveUp(ctx, license); err != nil {
			return false, err
		}
		id, body = uuid.Nil, nil
	}
	again := body != nil
	var m store.Message
	if body == nil {
		req, err := nphiesclient.BuildPoll(nphiesclient.PollOptions{
			License: license, Count: h.opt.PollCount, IdentifierSystem: h.opt.IdentifierBase + "/task", ProviderName: license, Profile: h.opt.PollProfile,
			ProfileVersion: h.opt.ProfileVersion, Now: h.opt.Now(),
		})
		if err != nil {
			return false, err
		}
		body = req.Body
		m = store.Message{Event: req.Event, BundleID: req.BundleID, HeaderID: req.HeaderID, Body: body}
	}
	if id, err = h.store.BeginPoll(ctx, license, id, m); err != nil {
		return false, err
	}
	start := time.Now()
	raw, err := h.sendTraced(ctx, nphiesclient.EventPollRequest, license, body)
	if err != nil {
		h.keepPart(ctx, raw, store.Message{Event: nphiesclient.EventPollResponse, License: license, ReplyTo: &id})
		h.opt.Observe(nphiesclient.EventPollRequest, "", err, time.Since(start))
		if nphiesclient.DeliveryOf(err) == nphiesclient.DeliveryNotSent {
			wctx, cancel := afterwards(ctx)
			defer cancel()
			if err := h.store.PollNotSent(wctx, license, id); err != nil {
				return false, err
			}
		}
		return false, err
	}
	var kept uuid.UUID
	if err := insist(ctx, func(ctx context.Context) (err error) {
		kept, err = h.store.KeepPollAnswer(ctx, license, store.Message{
			Event: nphiesclient.EventPollResponse, ReplyTo: &id, HTTPStatus: &raw.Status, ContentType: raw.ContentType, Body: raw.Body,
		}, again && !sabotage.On(sabotage.ForgetLostPoll))
		return err
	}); err != nil {
		return false, err
	}
	wctx, cancel := afterwards(ctx)
	defer cancel()
	a, err := nphiesclient.ParseHTTP(raw)
	if err != nil {
		h.opt.Observe(nphiesclient.EventPollRequest, "", err, raw.Duration)
		if raw.Status >= 400 && raw.Status < 500 {
			// Refused before it was processed: the mailbox is as it was.
			if storeErr := h.store.PollProcessed(wctx, kept); storeErr != nil {
				return false, storeErr
			}
			return false, err
		}
		return false, h.unreadable(ctx, license, kept, err)
	}
	h.opt.Observe(nphiesclient.EventPollRequest, "", nil, raw.Duration)
	return h.distribute(ctx, license, kept, a)
}

// giveUp takes what the poll in flight would have brought as lost.
func (h *Handlers) giveUp(ctx context.Context, license string) error {
	if sabotage.On(sabotage.ForgetLostPoll) {
		return nil
	}
	n, err := h.store.GiveUpPoll(ctx, license)
	if err != nil {
		return err
	}
	h.log.WarnContext(ctx, "a poll answer is lost: pending claims are sent again", slog.String("license", license), slog.Int64("claims", n))
	return nil
}

// unreadable puts a poll whose answer is no FHIR back in flight: the identical request is due once more. It returns err.
func (h *Handlers) unreadable(ctx context.Context, license string, kept uuid.UUID, err error) error {
	wctx, cancel := afterwards(ctx)
	defer cancel()
	if storeErr := h.store.PollUnreadable(wctx, license, kept); storeErr != nil {
		return storeErr
	}
	return err
}

// distributeKept distributes answers that were kept by a run that ended before it could.
func (h *Handlers) distributeKept(ctx context.Context, license string) error {
	kept, err := h.store.UnprocessedPolls(ctx, license)
	if err != nil {
		return err
	}
	for _, k := range kept {
		a, err := nphiesclient.Parse(k.Body)
		if err != nil {
			// What to make of it was decided when it came; here it only may not block what follows.
			if err := h.store.PollUnreadable(ctx, license, k.MessageID); err != nil {
				return err
			}
			continue
		}
		if _, err := h.distribute(ctx, license, k.MessageID, a); err != nil && !fault.Is(err, fault.API) {
			return err
		}
	}
	return nil
}

// distribute gives each message of a kept poll answer to the claim it is about. more is true when NPHIES has more messages.
func (h *Handlers) distribute(ctx context.Context, license string, kept uuid.UUID, a *nphiesclient.Answer) (more bool, err error) {
	poll := a.Poll
	if poll == nil {
		poll = &nphiesclient.PollAnswer{}
	}
	for _, n := range poll.Nested {
		if err := h.deliver(ctx, license, kept, n); err != nil {
			return false, err
		}
	}
	if err := h.store.PollProcessed(ctx, kept); err != nil {
		return false, err
	}
	if poll.Status == "completed" && len(a.Errors) == 0 {
		return a.MoreQueued && len(poll.Nested) > 0, nil
	}
	if len(a.Errors) == 0 {
		return false, &fault.Error{Op: opPoll, Kind: fault.API, Safe: "the answer is no poll-response"}
	}
	class := nphiesclient.Classify(a.Errors)
	if class.Continue {
		// One queued message of NPHIES is lost to it; the rest is not.
		h.log.ErrorContext(ctx, "NPHIES lost a queued message", slog.String("license", license), slog.String("code", class.Code))
		return a.MoreQueued && len(poll.Nested) > 0, h.tellLost(ctx, license, kept, class)
	}
	if class.Retry == nphiesclient.RetryFix {
		return false, class.Fault(opPoll)
	}
	_, known, again := h.refused(opPoll, "", a.Errors)
	if known || again == nil {
		f := *fault.Of(class.Fault(opPoll))
		f.Permanent = false
		again = &f
	}
	return false, again
}

// tellLost tells people, once, that NPHIES lost a message that waited for us.
func (h *Handlers) tellLost(ctx context.Context, license string, kept uuid.UUID, class nphiesclient.ErrorInfo) error {
	channels, err := h.store.Tell(ctx, store.Event{Key: "poll/" + kept.String() + "/lost", Event: cards.Event{
		Type: cards.APIErrorEvent, CorrelationID: license, Details: cards.APIError{
			Operation: cards.OperationPoll, ErrorType: errorType(class.Kind), Code: class.Code, Message: class.Meaning, Endpoint: h.opt.Endpoint, License: license, Final: true,
		},
	}})
	if err == nil {
		h.notify(ctx, channels)
	}
	return err
}

// deliver keeps one message of the mailbox and applies it. What matches nothing of ours is kept all the same, shown and told.
func (h *Handlers) deliver(ctx context.Context, license string, kept uuid.UUID, n nphiesclient.Nested) error {
	in := store.Nested{Message: store.Message{License: license, ParentID: &kept, Position: &n.Position, Body: n.Raw}}
	if in.Message.Body == nil {
		in.Message.Body = []byte{}
	}
	matched := false
	var events func(store.Applied) []store.Event
	var claim store.Claim
	var err error
	if n.Answer != nil {
		in.Message.Event, in.Message.BundleID, in.Message.HeaderID = n.Answer.Event, n.Answer.BundleID, n.Answer.HeaderID
		if matched, claim, events, err = h.sort(ctx, license, n.Answer, &in); err != nil {
			return err
		}
	}
	// One poll brings answers for many claims: each is a trace of its own, linked to the poll's and to the claim's.
	about := []attribute.KeyValue{attribute.String(tracing.License, license)}
	if in.Message.ClaimID != nil {
		about = append(about, attribute.String(tracing.Claim, in.Message.ClaimID.String()))
		ctx = tracing.With(ctx, slog.String(tracing.CorrelationID, in.Message.ClaimID.String()))
	}
	ctx, span := tracing.BeginLinked(ctx, "deliver message", trace.SpanKindInternal, []string{tracing.Context(ctx), claim.TraceContext}, about...)
	defer func() { tracing.End(span, err) }()
	if !matched {
		h.log.WarnContext(ctx, "a message from the mailbox matches nothing of ours and is kept", slog.String("license", license),
			slog.String("event", in.Message.Event), slog.String("poll_answer", kept.String()), slog.Int("position", n.Position), slog.Bool("unreadable", n.Err != nil))
		events = h.unmatched(license, kept, n)
	}
	out, err := h.store.RecordNested(ctx, in, events)
	if store.IsRefused(err) {
		// Values that the record cannot hold may not block the mailbox: the bytes are kept unmatched, for a person.
		h.log.ErrorContext(ctx, "an answer from the mailbox cannot be recorded and is kept unmatched", slog.String("license", license),
			slog.String("poll_answer", kept.String()), slog.Int("position", n.Position), slog.String("error", err.Error()))
		bare := store.Message{License: license, ParentID: &kept, Position: &n.Position, Body: in.Message.Body}
		out, err = h.store.RecordNested(ctx, store.Nested{Message: bare}, h.unmatched(license, kept, n))
	}
	if err != nil {
		err = fmt.Errorf("message %d of the poll answer: %w", n.Position, err)
		return err
	}
	h.notify(ctx, out.Channels)
	return nil
}

// sort finds what a message of the mailbox is about and what it means. matched is false when that is nothing of ours, and it
// ought to be. claim is zero unless it is about one.
func (h *Handlers) sort(ctx context.Context, license string, a *nphiesclient.Answer, in *store.Nested) (matched bool, claim store.Claim, events func(store.Applied) []store.Event, err error) {
	payer := a.Sender.Value
	switch {
	case a.Claim != nil && isClaimEvent(a.Event):
		claim, ok, err := h.find(ctx, license, a, a.Claim.Request, nphiesclient.Identifier{})
		if err != nil || !ok {
			return false, claim, nil, err
		}
		in.Message.ClaimID = &claim.ID
		answer, _, again := h.interpret(claim, a)
		if again != nil {
			// "Try the same again", said late: the claim's bytes are due at once, or when the pause is over.
			h.pause(ctx, license, claim.Payer, cards.OperationPoll, again, nil)
			answer.State, answer.RecheckAt = store.Pending, h.opt.Now()
		}
		in.Answer = &answer
		return true, claim, h.claimEvents(a.Claim, answer), nil
	case a.Claim != nil && strings.EqualFold(a.Event, nphiesclient.EventAdvancedAuthorization):
		c := a.Claim
		in.Authorization = &store.AdvancedAuthorization{
			Payer: payer, Response: store.Identifier(c.Response), PreAuthRef: c.PreAuthRef, PreAuthStart: c.PreAuthPeriod.Start,
			PreAuthEnd: c.PreAuthPeriod.End, Adjudication: c.Adjudication, Items: len(c.Items) + len(c.Added),
		}
		return true, claim, nil, nil
	case a.Communication != nil:
		in.Communication = &store.Communication{Identifier: store.Identifier(a.Communication.Identifier), Reasons: a.Communication.Reasons}
		for _, about := range a.Communication.About {
			claim, ok, err := h.find(ctx, license, a, about, about)
			if err != nil {
				return false, claim, nil, err
			}
			if ok {
				in.Message.ClaimID = &claim.ID
				return true, claim, nil, nil
			}
		}
		return false, claim, nil, nil
	case a.Payment != nil:
		in.Payment, err = h.payment(ctx, license, a)
		return true, claim, nil, err
	default:
		return false, claim, nil, nil
	}
}

// find finds a claim by its own identifier or that of the payer's answer, as the message a quotes them. A number without its
// namespace may be anybody's: then a must come from whom the claim went to, or from NPHIES.
func (h *Handlers) find(ctx context.Context, license string, a *nphiesclient.Answer, request, response nphiesclient.Identifier) (store.Claim, bool, error) {
	ours := func(id nphiesclient.Identifier, c store.Claim, err error) bool {
		return err == nil && (id.System != "" || a.NPHIESGenerated || a.Sender.Value == c.Payer)
	}
	c, err := h.store.ClaimByIdentifier(ctx, license, store.Identifier(request))
	if ours(request, c, err) {
		return c, true, nil
	}
	if err == nil || store.IsNotFound(err) {
		c, err = h.store.ClaimByResponse(ctx, license, store.Identifier(response))
	}
	if err != nil && !store.IsNotFound(err) {
		return store.Claim{}, false, err
	}
	return c, ours(response, c, err), nil
}

// payment matches each detail of a payment to a claim.
func (h *Handlers) payment(ctx context.Context, license string, a *nphiesclient.Answer) (*store.Payment, error) {
	p := a.Payment
	out := &store.Payment{
		Payer: a.Sender.Value, Identifier: store.Identifier(p.Identifier), PaymentValue: p.Payment.Value, Date: p.Date, Amount: known(p.Amount), Balanced: p.Balanced(),
	}
	if sum, ok := p.DetailSum(); ok {
		out.DetailSum = known(&sum)
	}
	for _, d := range p.Details {
		row := store.PaymentDetail{
			Type: d.Type, Request: store.Identifier(d.Request), Response: store.Identifier(d.Response), Amount: known(d.Amount), Payment: known(d.Payment),
			EarlyFee: known(d.EarlyFee), NPHIESFee: known(d.NPHIESFee),
		}
		claim, ok, err := h.find(ctx, license, a, d.Request, d.Response)
		if err != nil {
			return nil, err
		}
		if ok {
			row.ClaimID = &claim.ID
		}
		out.Details = append(out.Details, row)
	}
	return out, nil
}

// known is an amount to the digit as sent; one that the message does not tell, or not so that it can be read, is not valid.
func known(a *nphiesclient.Amount) decimal.NullDecimal {
	if a == nil {
		return decimal.NullDecimal{}
	}
	return decimal.NewNullDecimal(a.Decimal())
}

// unmatched is the event of a message that is nothing of ours, or that nobody can read.
func (h *Handlers) unmatched(license string, kept uuid.UUID, n nphiesclient.Nested) func(store.Applied) []store.Event {
	what := "a message that cannot be read"
	if n.Err == nil && n.Answer != nil {
		what = "a message of unknown kind"
		if e := n.Answer.Event; knownEvent.MatchString(e) {
			what = "a " + e + " that matches nothing of ours"
		}
	}
	return func(store.Applied) []store.Event {
		return []store.Event{{Key: fmt.Sprintf("inbox/%s/%d", kept, n.Position), Event: cards.Event{
			Type: cards.APIErrorEvent, CorrelationID: license, Details: cards.APIError{
				Operation: cards.OperationPoll, ErrorType: cards.ErrorAPI, Message: "The mailbox brought " + what + ". It is kept: see the inbox.",
				Endpoint: h.opt.Endpoint, License: license, Final: true,
			},
		}}}
	}
}

// knownEvent is what an event code looks like; anything else is not repeated on a card.
var knownEvent = regexp.MustCompile(`^[a-z][a-z-]{2,40}$`)
