// Package nphies does the jobs that talk to NPHIES: eligibility checks, submissions of claims and prior authorizations, status
// checks, cancellations, polls. Each handler may run
// any number of times for the same task: the record says what was answered, and what is sent are the stored bytes.
package nphies

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
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

// Sender posts the bytes of a message to NPHIES, with the certificate of the licence that sends it.
type Sender interface {
	Send(ctx context.Context, license string, body []byte) (*nphiesclient.RawAnswer, error)
}

// Queue takes wishes for tasks.
type Queue interface {
	Enqueue(ctx context.Context, t tasks.Task, opts ...asynq.Option) (existed bool, err error)
	Notify(ctx context.Context, channels ...string) error
}

// Options are the handlers' settings.
type Options struct {
	// PollInterval is the time between two looks into a mailbox; PollCount how many messages one poll asks for.
	PollInterval time.Duration
	PollCount    int
	// RecheckAfter is how long a claim may be pending before it is overdue.
	RecheckAfter time.Duration
	// BreakAfter is how many failures in a row, over all workers, break the way to NPHIES, or to a payer; 0 for never.
	BreakAfter int
	// OfflineRetry is the least delay after an answer that says that the payer is offline.
	OfflineRetry time.Duration
	// IdentifierBase is the base of our identifier systems.
	IdentifierBase string
	// PollProfile and ProfileVersion are those of poll messages, "" for the usual.
	PollProfile, ProfileVersion string
	// Endpoint is NPHIES' host, shown on cards.
	Endpoint string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Observe is told about each exchange with NPHIES: the event of the request, the licence of the payer it is for ("" in polls), and
	// the error it ended with; may be nil.
	Observe func(event, payer string, err error, took time.Duration)
}

// Handlers are the jobs.
type Handlers struct {
	store *store.Store
	send  Sender
	queue Queue
	log   *slog.Logger
	opt   Options
}

// New returns the handlers.
func New(s *store.Store, send Sender, queue Queue, log *slog.Logger, o Options) *Handlers {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Observe == nil {
		o.Observe = func(string, string, error, time.Duration) {}
	}
	return &Handlers{store: s, send: send, queue: queue, log: log, opt: o}
}

// Register adds the handlers of this package to a router.
func (h *Handlers) Register(r *tasks.Router) {
	r.Handle(tasks.TypeEligibility, h.Eligibility)
	r.Handle(tasks.TypeSubmit, h.Submit)
	r.Handle(tasks.TypePriorAuth, h.Submit)
	r.Handle(tasks.TypeStatus, h.FHIRTask)
	r.Handle(tasks.TypeCancel, h.FHIRTask)
	r.Handle(tasks.TypePoll, h.Poll)
}

// alone runs f while no other process works on the same thing. When another one does, there is nothing to do here: should it die,
// the reconciler makes a new task. f gets a context that ends when the lease is lost.
func (h *Handlers) alone(ctx context.Context, kind store.LeaseKind, key string, f func(held context.Context) error) error {
	if kind == store.LeasePoll && sabotage.On(sabotage.TwoPollers) {
		return f(ctx)
	}
	held, release, ok, err := h.store.Hold(ctx, kind, key)
	if err != nil || !ok {
		return err
	}
	defer release()
	return f(held)
}

// insistFor is how long an answer of NPHIES is held in memory while the record is away.
const insistFor = 20 * time.Second

// insist tries a write to the record for a while: an answer that is not kept has to be asked for again.
func insist(ctx context.Context, write func(context.Context) error) error {
	b := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(insistFor))
	ctx = context.WithoutCancel(ctx)
	return backoff.Retry(func() error {
		ctx, cancel := afterwards(ctx)
		defer cancel()
		err := write(ctx)
		if err != nil && !fault.Is(err, fault.Unavailable) {
			return backoff.Permanent(err)
		}
		return err
	}, b)
}

// afterwards is a context for what must still be written when the task's own time has run out.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
}

// exchange sends body, which is for a payer, and keeps what comes back before reading it; of an answer that was cut off, the part that came.
func (h *Handlers) exchange(ctx context.Context, event, payer string, body []byte, keep store.Message) (*nphiesclient.Answer, uuid.UUID, error) {
	if sabotage.On(sabotage.NewBytes) {
		at := bytes.Index(body, []byte(`"id":"`)) + len(`"id":"`)
		body = slices.Concat(body[:at], []byte(uuid.NewString()), body[at+len(uuid.Nil.String()):])
	}
	start := time.Now()
	raw, err := h.sendTraced(ctx, event, keep.License, body)
	if err != nil {
		h.opt.Observe(event, payer, err, time.Since(start))
		h.keepPart(ctx, raw, keep)
		return nil, uuid.Nil, err
	}
	var id uuid.UUID
	if err := insist(ctx, func(ctx context.Context) (err error) {
		id, err = h.store.SaveMessage(ctx, answered(keep, raw))
		return err
	}); err != nil {
		h.opt.Observe(event, payer, err, raw.Duration)
		return nil, uuid.Nil, err // the same bytes again: NPHIES repeats its answer
	}
	a, err := nphiesclient.ParseHTTP(raw)
	if err == nil && answersAnother(a, body) {
		err = &fault.Error{Op: "read answer", Kind: fault.API, Safe: "the answer is to another message"}
	}
	h.opt.Observe(event, payer, err, raw.Duration)
	return a, id, err
}

// sendTraced is Send as a span. Nothing of the trace goes to NPHIES.
func (h *Handlers) sendTraced(ctx context.Context, event, license string, body []byte) (*nphiesclient.RawAnswer, error) {
	ctx, span := tracing.Begin(ctx, "send "+event, trace.SpanKindClient, attribute.String(tracing.Event, event), attribute.String(tracing.License, license))
	raw, err := h.send.Send(ctx, license, body)
	if raw != nil {
		span.SetAttributes(attribute.Int(tracing.HTTPStatus, raw.Status))
	}
	tracing.End(span, err)
	return raw, err
}

// answersAnother reports whether an answer that does not quote what it is about names another message than request as the one it
// answers. What it quotes is for the handlers to compare.
func answersAnother(a *nphiesclient.Answer, request []byte) bool {
	quotes := a.Claim != nil && !a.Claim.Request.IsZero() || a.Eligibility != nil && !a.Eligibility.Request.IsZero() || a.Task != nil && !a.Task.Focus.IsZero()
	if quotes || a.RequestHeaderID == "" {
		return false
	}
	r, err := nphiesclient.ReadRequest(request)
	return err == nil && !strings.EqualFold(r.HeaderID, a.RequestHeaderID)
}

// answered fills in what came back.
func answered(m store.Message, raw *nphiesclient.RawAnswer) store.Message {
	m.Direction, m.HTTPStatus, m.ContentType, m.Body = store.In, &raw.Status, raw.ContentType, raw.Body
	return m
}

// keepPart keeps the part of an answer that came before it was cut off, for people to look at. It decides nothing.
func (h *Handlers) keepPart(ctx context.Context, raw *nphiesclient.RawAnswer, keep store.Message) {
	if raw == nil || len(raw.Body) == 0 {
		return
	}
	ctx, cancel := afterwards(ctx)
	defer cancel()
	if _, err := h.store.SaveMessage(ctx, answered(keep, raw)); err != nil {
		h.log.WarnContext(ctx, "part of an answer not kept", slog.String("error", err.Error()))
	}
}

// notify asks for the channels to be drained. A failure is logged and nothing more: the rows are written, the reconciler finds
// them, and notifying must not fail a claim.
func (h *Handlers) notify(ctx context.Context, channels []string) {
	if len(channels) == 0 {
		return
	}
	ctx, cancel := afterwards(ctx)
	defer cancel()
	if err := h.queue.Notify(ctx, channels...); err != nil {
		h.log.WarnContext(ctx, "notifications wait for the reconciler", slog.String("error", err.Error()))
	}
}

// pollNow asks for a poll, because NPHIES said that messages wait.
func (h *Handlers) pollNow(ctx context.Context, license string) {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	h.pollAt(ctx, license, h.opt.Now())
}

// refused turns errors that NPHIES reported into what to do. again is nil when the errors are the final word ("fix") or mean
// that the message is already there ("wait", known is true); otherwise the task fails with it: a *pauseError where others would
// meet the same answer ("ops", payer offline), else an error to try again after. before is the code that the attempt before this
// one ended with, if any: what one more try may cure is final when that try ends with the same code.
func (h *Handlers) refused(op, before string, errs []nphiesclient.CodedError) (t store.Trouble, known bool, again error) {
	class := nphiesclient.Classify(errs)
	f := *fault.Of(class.Fault(op))
	t = store.TroubleOf(&f)
	f.Permanent = false
	switch {
	case class.Retry == nphiesclient.RetryWait:
		return t, true, nil
	case class.Retry == nphiesclient.RetryFix, class.Retry == nphiesclient.RetrySame && class.Once && class.Code == before:
		return t, false, nil
	case class.Retry == nphiesclient.RetryOps && !class.Continue:
		return t, false, &pauseError{fault: &f, payer: class.Payer}
	case class.Payer:
		return t, false, &pauseError{fault: &f, payer: true, lapse: true}
	}
	return t, false, &f
}

// apiError is the event of a failed exchange. Key makes it one card however many attempts fail: the first moment that is worth
// telling, and the end.
func (h *Handlers) apiError(ctx context.Context, operation, key string, f *fault.Error, d cards.APIError) (store.Event, bool) {
	if !tasks.HalfUsed(ctx) || f.Kind == fault.Certificate { // the latter pauses the licence, which is told once
		return store.Event{}, false
	}
	retried, maxRetry := tasks.Attempt(ctx)
	d.Operation, d.ErrorType, d.Code, d.Message = operation, errorType(f.Kind), f.Code, f.Safe
	d.Endpoint, d.Attempt, d.MaxRetries = h.opt.Endpoint, retried+1, maxRetry
	return store.Event{Event: cards.Event{Type: cards.APIErrorEvent, Details: d}, Key: key}, true
}

// errorType maps a kind to the four that stakeholders know; our own servers' trouble counts as network.
func errorType(k fault.Kind) string {
	switch k {
	case fault.Certificate:
		return cards.ErrorCertificate
	case fault.JWT:
		return cards.ErrorJWT
	case fault.API, fault.Invalid:
		return cards.ErrorAPI
	default:
		return cards.ErrorNetwork
	}
}

// nullAmount is an amount in halalas, not valid where nobody knows it.
func nullAmount(a nphiesclient.Amount, known bool) decimal.NullDecimal {
	return decimal.NullDecimal{Decimal: a.Round().Decimal(), Valid: known}
}

// detail is what the claim page shows of an answer: amounts and codes, no text of the payer.
type detail struct {
	Items   []itemDetail `json:"items,omitempty"`
	Reasons []string     `json:"reasons,omitempty"`
	Errors  []codeAt     `json:"errors,omitempty"`
	// Unreadable are the categories of totals that are no number of riyals.
	Unreadable []string `json:"unreadable,omitempty"`
}

type itemDetail struct {
	Sequence int                            `json:"sequence"`
	Outcome  string                         `json:"outcome,omitempty"`
	Amounts  map[string]nphiesclient.Amount `json:"amounts,omitempty"`
	Reasons  []string                       `json:"reasons,omitempty"`
	// Unreadable are the categories whose amount is no number of riyals.
	Unreadable []string `json:"unreadable,omitempty"`
}

type codeAt struct {
	Code       string `json:"code"`
	Display    string `json:"display,omitempty"`
	Expression string `json:"expression,omitempty"`
	Count      int    `json:"count"`
}

func detailOf(a *nphiesclient.ClaimAnswer) []byte {
	d := detail{Unreadable: a.Unreadable}
	for _, it := range a.Items {
		d.Items = append(d.Items, itemDetail{
			Sequence: it.Sequence, Outcome: it.Outcome, Amounts: it.Amounts, Reasons: codes(it.Reasons), Unreadable: it.Unreadable,
		})
	}
	d.Reasons = codes(a.Reasons)
	for _, e := range a.Errors {
		d.Errors = append(d.Errors, codeAt(struct {
			Code, Display, Expression string
			Count                     int
		}{e.Code, e.Display, e.Expression, e.Count}))
	}
	body, err := json.Marshal(d)
	if err != nil {
		return nil // numbers and strings always marshal
	}
	return body
}

func codes(list []nphiesclient.Coded) []string {
	var out []string
	for _, c := range list {
		out = append(out, c.Code)
	}
	return out
}
