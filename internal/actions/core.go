package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/tracing"
	"github.com/claimlinc/nphiesq/tasks"
)

// Pager says how PagerDuty is reached.
type Pager interface {
	// Trigger makes the page of an escalation to a group: the name of the integration key and the event's payload. ok is false
	// where PagerDuty is not set up for the group.
	Trigger(a store.Alert, to cards.Stakeholder, priority cards.Priority, reason string) (p store.Page, ok bool)
}

// Metrics counts commands. Every label comes from a closed set.
type Metrics interface {
	// Command is called once for each command, also a refused one.
	Command(source Source, verb Verb, outcome Outcome, took time.Duration)
	// Acknowledged is called with the time from the first notification to its acknowledgement.
	Acknowledged(priority cards.Priority, after time.Duration)
}

type noMetrics struct{}

func (noMetrics) Command(Source, Verb, Outcome, time.Duration) {}
func (noMetrics) Acknowledged(cards.Priority, time.Duration)   {}
func (c *Core) metrics() Metrics {
	if c.Metrics == nil {
		return noMetrics{}
	}
	return c.Metrics
}

func (c *Core) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// Do carries out a command that its way in has authenticated and permitted. What it changes is written in one transaction with its
// record; what follows in Redis may come later, by the reconciler. A command that is refused goes on record, too.
//
// The error is not nil only when the record is away (a fault of Kind Unavailable) or something is wrong here; then nothing was done.
func (c *Core) Do(ctx context.Context, cmd Command) (Result, error) {
	cmd = cmd.tidy()
	start := time.Now()
	ctx, span := tracing.Begin(ctx, "action "+string(known(cmd.Verb)), trace.SpanKindInternal)
	r, err := c.do(ctx, cmd)
	tracing.End(span, err)
	r.RequestID = cmd.RequestID
	if !r.Repeated {
		r.CommandID = cmd.ID
	}
	if err == nil {
		outcome := r.Outcome
		if r.Repeated {
			outcome = Already
		}
		c.metrics().Command(cmd.Source, known(cmd.Verb), outcome, time.Since(start))
	}
	return r, err
}

// known keeps the label of metrics to the verbs there are.
func known(v Verb) Verb {
	if v.Valid() {
		return v
	}
	return "other"
}

func (c *Core) do(ctx context.Context, cmd Command) (Result, error) {
	if !cmd.Verb.Valid() {
		return c.refuse(ctx, cmd, CodeUnknownVerb, "There is no such verb.")
	}
	if cmd.Verb.NeedsReason() && cmd.Reason == "" {
		return c.refuse(ctx, cmd, CodeNoReason, "A reason is needed: those who come after must understand the decision.")
	}
	var r Result
	by := store.Decision{Actor: cmd.Actor.Name, Source: string(cmd.Source), Reason: cmd.Reason, Command: cmd.ID}
	out, err := c.Store.Act(ctx, cmd.Notification, cmd.Key, cmd.fingerprint(), by, func(a store.Alert) (store.Transition, error) {
		t := c.decide(cmd, a, &r)
		r.CommandID = cmd.ID
		t.Result = r
		return t, nil
	})
	switch {
	case store.IsNotFound(err):
		return c.refuse(ctx, cmd, CodeUnknownAlert, "There is no such alert any more.")
	case errors.Is(err, store.ErrReused):
		return c.refuse(ctx, cmd, CodeReused, "The id was used before for another command.")
	case err != nil:
		return Result{Outcome: Refused, Code: CodeUnavailable, Message: "It cannot be put on record now, so nothing was done. Try again."}, err
	}
	if out.Repeated {
		return repeated(out)
	}
	if r.Outcome != Applied {
		return r, nil
	}
	r.With = out.With
	if cmd.Verb == Acknowledge && out.Alert.AcknowledgedAt == nil {
		c.metrics().Acknowledged(out.Alert.Priority, r.At.Sub(out.Alert.Since))
	}
	if err := c.follow(ctx, cmd, out); err != nil { // on record, so it comes by itself
		r.Later = true
		if c.Log != nil {
			c.Log.WarnContext(ctx, "decision is on record, the queue has to follow", slog.String("verb", string(cmd.Verb)), slog.String("error", err.Error()))
		}
	}
	return r, nil
}

// repeated is the answer to a command that came before: the same again.
func repeated(out store.Acted) (Result, error) {
	r, err := decodeResult(out.Result)
	if err != nil {
		return Result{}, &fault.Error{Op: "act", Kind: fault.Internal, Safe: "the answer that was kept cannot be read", Err: err}
	}
	r.Repeated = true
	return r, nil
}

func decodeResult(raw []byte) (r Result, err error) {
	err = json.Unmarshal(raw, &r)
	return r, err
}

// decide fills in r and says what is to be written.
func (c *Core) decide(cmd Command, a store.Alert, r *Result) store.Transition {
	now := c.now()
	*r = Result{Before: a.State, State: a.State, At: now, Actor: cmd.Actor.Name}
	t := store.Transition{}
	switch s := machine[a.State][cmd.Verb]; {
	case cmd.Verb == Poll && a.License == "":
		r.Outcome, r.Code, r.Message = Refused, CodeNothingToPoll, "It is not about a provider licence whose mailbox could be asked."
	case cmd.Verb == Poll:
		r.Outcome, r.Code, r.Message = Applied, CodeApplied, "The mailbox is asked now."
		t.Apply, t.State, t.Poll = true, a.State, a.License
	case (cmd.Verb == Retry || cmd.Verb == Discard) && a.LetterID == nil:
		r.Outcome, r.Code, r.Message = Refused, CodeNotRetryable, "There is no dead letter behind it: nothing waits to be tried again or given up."
	case s.outcome == Already, cmd.Source == FromSystem && a.State != store.AlertOpen: // somebody has it in hand since it was found overdue
		*r = already(*r, a, cmd.Verb)
	case s.outcome == Applied:
		r.Outcome, r.Code, r.State, r.Message = Applied, CodeApplied, s.next, effect[cmd.Verb]
		t.Apply, t.State = true, s.next
		c.effects(cmd, a, &t, now)
	default:
		r.Outcome, r.Code, r.Message = Refused, CodeNotPossible, "That is not possible: it is "+string(a.State)+"."
	}
	if t.Letter != "" {
		t.LetterAlready = func(l store.DeadLetter) store.Transition {
			r.State = a.State
			if (cmd.Verb == Retry && l.State == store.LetterRetrying) || (cmd.Verb == Discard && l.State == store.LetterDiscarded) {
				*r = already(*r, a, cmd.Verb)
				if l.DecidedBy != "" {
					r.Actor, r.At = l.DecidedBy, *l.DecidedAt
					r.Message = earlier(cmd.Verb, r.Actor, r.At)
				}
			} else {
				r.Outcome, r.Code, r.Message = Refused, CodeNotPossible, "That is not possible: the dead letter is "+string(l.State)+"."
			}
			return store.Transition{Action: record(cmd, a, *r), Result: *r}
		}
	}
	t.Action = record(cmd, a, *r)
	return t
}

// effect says in a sentence what a verb has done.
var effect = map[Verb]string{
	Acknowledge: "Acknowledged: it is not told again for a while.",
	Escalate:    "Escalated: the next group hears of it.",
	Retry:       "It is tried again with a fresh budget of attempts; the same bytes are sent.",
	Discard:     "Given up.",
	Resolve:     "Resolved.",
}

// done is a verb's past.
func done(v Verb) string {
	return map[Verb]string{Acknowledge: "acknowledged", Escalate: "escalated", Retry: "tried again", Discard: "discarded", Resolve: "resolved"}[v]
}

// already is the answer to the second of two: not an error.
func already(r Result, a store.Alert, v Verb) Result {
	r.Outcome, r.Code, r.Actor, r.At = Already, CodeAlready, "", time.Time{}
	switch {
	case a.Taken == string(v) && a.TakenAt != nil:
		r.Actor, r.At = a.TakenBy, *a.TakenAt
	case v == Acknowledge && a.AcknowledgedAt != nil:
		r.Actor, r.At = a.AcknowledgedBy, *a.AcknowledgedAt
	}
	r.Message = earlier(v, r.Actor, r.At)
	return r
}

// earlier says in a sentence that a verb was applied before.
func earlier(v Verb, by string, at time.Time) string {
	if by == "" {
		return "It was " + done(v) + " before."
	}
	return fmt.Sprintf("It was %s before: %s, %s.", done(v), by, at.UTC().Format("2006-01-02 15:04:05 UTC"))
}

// effects is what an applied verb does beside the change of state.
func (c *Core) effects(cmd Command, a store.Alert, t *store.Transition, now time.Time) {
	t.Taken = string(cmd.Verb)
	t.Data = map[string]string{"by": cmd.Actor.Name, "reason": cmd.Reason, "source": string(cmd.Source), "command_id": cmd.ID.String(), "at": now.UTC().Format(time.RFC3339)}
	t.Acknowledge = cmd.Source != FromSystem // an escalation by itself is no person's acknowledgement
	var decision cards.Decision
	switch cmd.Verb {
	case Acknowledge:
		t.Pages = []store.Page{{Action: store.PageAcknowledge}}
	case Escalate:
		decision = cards.DecisionEscalated
		t.Acknowledge = false // who passes it on has not taken it on
		c.escalate(cmd, a, t, now)
	case Retry:
		decision, t.Letter = cards.DecisionRetried, "retry"
		t.Pages = []store.Page{{Action: store.PageAcknowledge}}
	case Discard:
		decision, t.Letter = cards.DecisionDiscarded, "discard"
		t.Pages = []store.Page{{Action: store.PageResolve}}
	case Resolve:
		t.Pages = []store.Page{{Action: store.PageResolve}}
	case Poll:
	}
	// A card that went through a webhook cannot be changed, so another one follows where it matters. The bot changes its own.
	follow := slices.DeleteFunc(slices.Clone(a.Told), func(s cards.Stakeholder) bool { return slices.Contains(a.Shown, s) })
	if a.Event == nil || !a.Priority.Urgent() || len(follow) == 0 {
		return
	}
	e := *a.Event
	e.ID, e.Seen, e.Resolved, e.Acknowledged = cmd.ID.String(), 0, nil, nil
	key := fmt.Sprintf("%s/%s/%d", a.Key, cmd.Verb, a.Version+1)
	if cmd.Verb == Resolve {
		e.At, e.Resolved = now, &cards.Resolution{At: now, Since: a.Since, AcknowledgedBy: cmd.Actor.Name}
	} else {
		e.Acknowledged = &cards.Acknowledgement{By: cmd.Actor.Name, At: now, Decision: decision, Reason: cmd.Reason}
	}
	t.Events = append(t.Events, store.Event{Event: e, Key: key, Alert: a.Key, ClaimID: a.ClaimID, DeadLetterID: a.LetterID, Stakeholders: follow})
}

// escalate tells the next group, one step more urgently, and PagerDuty.
func (c *Core) escalate(cmd Command, a store.Alert, t *store.Transition, now time.Time) {
	to := c.next(a.Told)
	priority := raise(a.Priority)
	t.Data["to"], t.With = string(to), cmd.With
	if c.Pager != nil {
		// While PagerDuty rings it is not told again; what was acknowledged there and is escalated all the same is.
		if p, ok := c.Pager.Trigger(a, to, priority, cmd.Reason); ok && a.Paged[p.Routing] != store.PageTrigger {
			t.Pages = append(t.Pages, p)
			t.Data["pagerduty"] = p.Routing
		}
	}
	if a.Event == nil || slices.Contains(a.Told, to) {
		return // the group has it already; PagerDuty is what is left
	}
	e := *a.Event
	e.ID, e.Priority, e.Resolved, e.Acknowledged = cmd.ID.String(), priority, nil, nil
	e.Escalated = &cards.Escalation{By: cmd.Actor.Name, At: now, Reason: cmd.Reason, From: a.Told}
	t.Events = append(t.Events, store.Event{
		Event: e, Key: fmt.Sprintf("%s/to/%s/%d", a.Key, to, a.Version+1), Alert: a.Key, ClaimID: a.ClaimID, DeadLetterID: a.LetterID, Stakeholders: []cards.Stakeholder{to},
	})
}

// next is the first group of the chain that has not heard of it; the last one if all have.
func (c *Core) next(told []cards.Stakeholder) cards.Stakeholder {
	chain := c.Chain
	if len(chain) == 0 {
		chain = DefaultChain()
	}
	for _, s := range chain {
		if !slices.Contains(told, s) {
			return s
		}
	}
	return chain[len(chain)-1]
}

// DefaultChain is the order in which groups hear of what is escalated.
func DefaultChain() []cards.Stakeholder {
	return []cards.Stakeholder{cards.SRE, cards.CloudOps, cards.SecurityEng, cards.PMO}
}

// raise is one step more urgent.
func raise(p cards.Priority) cards.Priority {
	all := cards.Priorities()
	return all[max(0, min(p.Rank(), len(all)-1)-1)]
}

// record is the row of the audit trail: no tokens, no addresses of webhooks, nothing of the alert but its id and type.
func record(cmd Command, a store.Alert, r Result) store.Action {
	d := map[string]string{"code": string(r.Code), "actor_type": string(cmd.Actor.Type), "notification": cmd.Notification.String()}
	for k, v := range map[string]string{
		"event_type": string(a.EventType), "state_before": string(r.Before), "state_after": string(r.State), "actor_id": cmd.Actor.ID, "tenant": cmd.Actor.Tenant,
		"asserted_by": cmd.Actor.AssertedBy, "auth_method": cmd.AuthMethod, "key_id": cmd.KeyID, "request_id": cmd.RequestID, "ip": cmd.Address, "user_agent": cmd.UserAgent,
	} {
		if v != "" {
			d[k] = v
		}
	}
	target := a.ID
	if a.Key == "" {
		target = cmd.Notification
	}
	return store.Action{
		CommandID: cmd.ID, Actor: cmd.Actor.Name, Source: string(cmd.Source), Verb: string(cmd.Verb), TargetKind: "alert", Target: target.String(), Reason: cmd.Reason,
		Outcome: string(r.Outcome), Detail: d,
	}
}

// refuse puts a command on record that is not carried out. A verb that does not exist is not kept as such: it may hold anything.
func (c *Core) refuse(ctx context.Context, cmd Command, code Code, message string) (Result, error) {
	r := Result{Outcome: Refused, Code: code, Message: message, At: c.now(), Actor: cmd.Actor.Name}
	cmd.Verb = known(cmd.Verb)
	a := record(cmd, store.Alert{}, r)
	if err := c.Store.AppendAction(ctx, &a); err != nil {
		return Result{Outcome: Refused, Code: CodeUnavailable, Message: "It cannot be put on record now, so nothing was done. Try again."}, err
	}
	return r, nil
}

// Forbid puts a command on record whose actor may not do that, and answers it.
func (c *Core) Forbid(ctx context.Context, cmd Command) (Result, error) {
	cmd = cmd.tidy()
	r, err := c.refuse(ctx, cmd, CodeNotPermitted, "Your role does not permit that.")
	r.RequestID, r.CommandID = cmd.RequestID, cmd.ID
	c.metrics().Command(cmd.Source, known(cmd.Verb), Refused, 0)
	return r, err
}

// followTime is how long a person waits for Redis to hear of what is on record already; then the reconciler does it.
const followTime = 3 * time.Second

// follow does in Redis what the command wants; the reconciler would, too.
func (c *Core) follow(ctx context.Context, cmd Command, out store.Acted) error {
	ctx, cancel := context.WithTimeout(ctx, followTime)
	defer cancel()
	var errs []error
	if out.Decided != nil && out.Decided.Applied {
		errs = append(errs, c.followLetter(ctx, cmd.Verb, *out.Decided))
	}
	if cmd.Verb == Poll {
		_, err := c.Queue.Enqueue(ctx, tasks.NewPoll(out.Alert.License, c.now()))
		errs = append(errs, err)
	}
	if len(out.Channels) > 0 {
		errs = append(errs, c.Queue.Notify(ctx, out.Channels...))
	}
	if out.Paged {
		errs = append(errs, c.Queue.Page(ctx))
	}
	return errors.Join(errs...)
}

func (c *Core) followLetter(ctx context.Context, v Verb, d store.Decided) error {
	if v == Discard {
		return c.Queue.Remove(d.Letter.Queue, d.Letter.TaskID)
	}
	return c.enqueueAgain(ctx, d)
}
