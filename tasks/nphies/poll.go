package nphies

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
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
	unlock, ok, err := h.store.TryLock(ctx, "poll/"+p.License)
	if err != nil || !ok {
		return err // the one that polls does it for us, too
	}
	defer unlock()
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
	if more {
		h.pollNow(ctx, p.License)
	}
	return nil
}

// pollFailed notes a failed poll. Once the retries are used up the next look is due at the usual time.
func (h *Handlers) pollFailed(ctx context.Context, license string, err error) error {
	var next time.Time
	if tasks.Final(ctx, err) || fault.Of(err).Permanent {
		next = h.opt.Now().Add(h.opt.PollInterval)
	}
	wctx, cancel := afterwards(ctx)
	defer cancel()
	if _, noteErr := h.store.PollFailed(wctx, license, store.TroubleOf(err), next); noteErr != nil {
		return err // noted at the next attempt; a licence whose poll is overdue is found by the reconciler
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

// pollOnce fetches and distributes one batch. A request whose answer never arrived is sent again once, byte for byte; after
// that its content counts as lost, and the pending claims ask for their answers themselves.
func (h *Handlers) pollOnce(ctx context.Context, license string) (more bool, err error) {
	id, body, sends, err := h.store.PollInFlight(ctx, license)
	if err != nil {
		return false, err
	}
	if body != nil && sends >= 2 {
		n, err := h.store.GiveUpPoll(ctx, license)
		if err != nil {
			return false, err
		}
		h.log.WarnContext(ctx, "a poll answer is lost: pending claims are sent again", slog.String("license", license), slog.Int64("claims", n))
		id, body = uuid.Nil, nil
	}
	var m store.Message
	if body == nil {
		req, err := nphiesclient.BuildPoll(nphiesclient.PollOptions{
			License: license, Count: h.opt.PollCount, IdentifierSystem: h.opt.IdentifierBase + "/task", ProviderName: license, Now: h.opt.Now(),
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
	raw, err := h.send.Send(ctx, license, body)
	if err != nil {
		h.keepPart(ctx, raw, store.Message{Event: nphiesclient.EventPollResponse, License: license, ReplyTo: &id})
		h.opt.Observe(nphiesclient.EventPollRequest, string(fault.KindOf(err)), time.Since(start))
		if nphiesclient.DeliveryOf(err) == nphiesclient.DeliveryNotSent {
			wctx, cancel := afterwards(ctx)
			defer cancel()
			if err := h.store.PollNotSent(wctx, license); err != nil {
				return false, err
			}
		}
		return false, err
	}
	wctx, cancel := afterwards(ctx)
	defer cancel()
	kept, err := h.store.KeepPollAnswer(wctx, license, store.Message{
		Event: nphiesclient.EventPollResponse, ReplyTo: &id, HTTPStatus: &raw.Status, ContentType: raw.ContentType, Body: raw.Body,
	})
	if err != nil {
		return false, err
	}
	a, err := nphiesclient.ParseHTTP(raw)
	if err != nil {
		h.opt.Observe(nphiesclient.EventPollRequest, string(fault.KindOf(err)), raw.Duration)
		if raw.Status >= 400 {
			// Refused before it was processed: the mailbox is as it was.
			if storeErr := h.store.PollProcessed(wctx, kept); storeErr != nil {
				return false, storeErr
			}
			return false, err
		}
		return false, h.unreadable(ctx, license, kept, err)
	}
	h.opt.Observe(nphiesclient.EventPollRequest, "ok", raw.Duration)
	return h.distribute(ctx, license, kept, a)
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
		return a.MoreQueued && len(poll.Nested) > 0, nil
	}
	f := *fault.Of(class.Fault(opPoll))
	f.Permanent = class.Retry == nphiesclient.RetryFix
	return false, &f
}

// deliver keeps one message of the mailbox and applies it to its claim. What matches nothing is kept all the same and shown.
func (h *Handlers) deliver(ctx context.Context, license string, kept uuid.UUID, n nphiesclient.Nested) error {
	m := store.Message{License: license, ParentID: &kept, Position: &n.Position, Body: n.Raw}
	if m.Body == nil {
		m.Body = []byte{}
	}
	var answer *store.Answer
	var events func(store.Applied) []store.Event
	if n.Answer != nil {
		m.Event, m.BundleID, m.HeaderID = n.Answer.Event, n.Answer.BundleID, n.Answer.HeaderID
		claim, ok, err := h.match(ctx, license, n.Answer)
		if err != nil {
			return err
		}
		if ok {
			m.ClaimID = &claim.ID
			if c := n.Answer.Claim; c != nil && isClaimEvent(m.Event) {
				a, again := h.interpret(ctx, claim.ID, n.Answer)
				if again != nil {
					// "Try the same again", said late: the claim's bytes are due at once.
					a.State, a.RecheckAt = store.Pending, h.opt.Now()
				}
				answer, events = &a, h.claimEvents(c, a)
			}
		}
	}
	if n.Err != nil || m.ClaimID == nil {
		h.log.WarnContext(ctx, "a message from the mailbox matches nothing of ours and is kept", slog.String("license", license),
			slog.String("event", m.Event), slog.String("poll_answer", kept.String()), slog.Int("position", n.Position), slog.Bool("unreadable", n.Err != nil))
	}
	out, err := h.store.RecordNested(ctx, m, answer, events)
	if store.IsRefused(err) {
		// Values that the record cannot hold may not block the mailbox: the bytes are kept unmatched, for a person.
		h.log.ErrorContext(ctx, "an answer from the mailbox cannot be recorded and is kept unmatched", slog.String("license", license),
			slog.String("poll_answer", kept.String()), slog.Int("position", n.Position), slog.String("error", err.Error()))
		out, err = h.store.RecordNested(ctx, store.Message{License: license, ParentID: &kept, Position: &n.Position, Body: m.Body}, nil, nil)
	}
	if err != nil {
		return fmt.Errorf("message %d of the poll answer: %w", n.Position, err)
	}
	h.notify(ctx, out.Channels)
	return nil
}

// match finds the claim a message is about.
func (h *Handlers) match(ctx context.Context, license string, a *nphiesclient.Answer) (store.Claim, bool, error) {
	var candidates []nphiesclient.Identifier
	if a.Claim != nil {
		candidates = append(candidates, a.Claim.Request)
	}
	if a.Communication != nil {
		candidates = append(candidates, a.Communication.About...)
	}
	for _, id := range candidates {
		if id.IsZero() {
			continue
		}
		c, err := h.store.ClaimByIdentifier(ctx, license, store.Identifier{System: id.System, Value: id.Value})
		if err == nil {
			return c, true, nil
		}
		if !store.IsNotFound(err) {
			return store.Claim{}, false, err
		}
	}
	return store.Claim{}, false, nil
}
