package tasks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/hibiken/asynq"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/tracing"
)

// Router sends each task to the handler of exactly its type. asynq's own ServeMux matches by prefix, and retries a type nobody
// handles 25 times; here such a task goes to the archive at once.
type Router struct {
	handlers map[string]asynq.HandlerFunc
	log      *slog.Logger
	observe  func(taskType, outcome string, took time.Duration)
}

// NewRouter returns a Router without handlers. observe is called after each attempt with the outcome "ok", "revoked" or the
// fault's kind; it may be nil.
func NewRouter(log *slog.Logger, observe func(taskType, outcome string, took time.Duration)) *Router {
	if observe == nil {
		observe = func(string, string, time.Duration) {}
	}
	return &Router{handlers: map[string]asynq.HandlerFunc{}, log: log, observe: observe}
}

// Handle registers h for a type of Table. A second handler or an unknown type is a programming error and panics at start.
func (r *Router) Handle(taskType string, h asynq.HandlerFunc) {
	if _, ok := SpecOf(taskType); !ok {
		panic("tasks: no row in Table for " + taskType)
	}
	if r.handlers[taskType] != nil {
		panic("tasks: two handlers for " + taskType)
	}
	r.handlers[taskType] = h
}

// Types lists the types that have a handler.
func (r *Router) Types() []string {
	var out []string
	for _, s := range Table() {
		if r.handlers[s.Type] != nil {
			out = append(out, s.Type)
		}
	}
	return out
}

// ProcessTask runs the handler. What it returns is safe to store in Redis: panics and unknown errors become a fault of Kind
// Internal without their text, a permanent fault also carries asynq.SkipRetry.
func (r *Router) ProcessTask(ctx context.Context, t *asynq.Task) error {
	id, _ := asynq.GetTaskID(ctx)
	queue, _ := asynq.GetQueueName(ctx)
	retried, _ := Attempt(ctx)
	ctx = tracing.With(ctx, slog.String("task_type", t.Type()), slog.String("task_id", id), slog.String("queue", queue), slog.Int("attempt", retried+1),
		slog.String(tracing.CorrelationID, About(t)))
	// A trace of its own, linked to the one that wished for it: retries hours later would stretch a parent.
	ctx, span := tracing.BeginLinked(ctx, "process "+queue, trace.SpanKindConsumer, []string{t.Headers()[tracing.TraceParent]},
		attribute.String(tracing.System, "asynq"), attribute.String(tracing.Operation, "process"), attribute.String(tracing.OperationOf, "process"),
		attribute.String(tracing.Destination, queue), attribute.String(tracing.MessageID, id), attribute.String(tracing.TaskType, t.Type()), attribute.Int(tracing.RetryCount, retried))
	log := r.log
	start := time.Now()
	err := safe(r.run(ctx, t, log))
	took := time.Since(start)
	if errors.Is(err, asynq.RevokeTask) {
		tracing.End(span, nil)
	} else {
		tracing.End(span, err)
	}
	if err != nil && !IsFailure(err) && Final(ctx, err) {
		// asynq would archive it all the same. The work is not to blame: the record still wishes for it, and the reconciler makes a new task.
		log.WarnContext(ctx, "left to the reconciler: one of our servers was away at the last attempt", slog.String("error", fault.Of(err).Error()))
		r.observe(t.Type(), string(fault.Unavailable), took)
		return nil
	}
	switch {
	case err == nil:
		r.observe(t.Type(), "ok", took)
		log.DebugContext(ctx, "task done", slog.Duration("took", took))
	case errors.Is(err, asynq.RevokeTask):
		r.observe(t.Type(), "revoked", took)
		log.InfoContext(ctx, "task revoked", slog.Duration("took", took))
	default:
		f := fault.Of(err)
		r.observe(t.Type(), string(f.Kind), took)
		log.WarnContext(ctx, "task failed", slog.Duration("took", took), slog.String("kind", string(f.Kind)), slog.String("code", f.Code),
			slog.String("error", f.Error()), slog.Bool("final", Final(ctx, err)), cause(f))
	}
	return err
}

// cause logs the hidden part of an error: its type always, its text only where it comes from our own servers or the network
// stack. Texts of NPHIES' answers and of panics may hold personal data.
func cause(f *fault.Error) slog.Attr {
	if f.Err == nil {
		return slog.Attr{}
	}
	if f.Kind == fault.Unavailable || f.Kind == fault.Config {
		return slog.String("cause", f.Err.Error())
	}
	return slog.String("cause_type", fmt.Sprintf("%T", f.Err))
}

func (r *Router) run(ctx context.Context, t *asynq.Task, log *slog.Logger) (err error) {
	h := r.handlers[t.Type()]
	if h == nil {
		return &fault.Error{Op: "route task", Kind: fault.Invalid, Safe: "no handler for this task type in this worker", Permanent: true}
	}
	defer func() {
		if v := recover(); v != nil {
			// The value may hold anything; the stack holds only our own code's places.
			log.ErrorContext(ctx, "handler panicked", slog.String("value_type", fmt.Sprintf("%T", v)), slog.String("stack", string(debug.Stack())))
			err = &fault.Error{Op: t.Type(), Kind: fault.Internal, Safe: "the handler panicked, see the log"}
		}
	}()
	return h(ctx, t)
}

// safe turns any error into one whose text may be stored.
func safe(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, asynq.RevokeTask) {
		return asynq.RevokeTask
	}
	f := fault.Of(err)
	if errors.Is(err, context.DeadlineExceeded) && f.Kind == fault.Internal {
		f = &fault.Error{Kind: fault.Network, Safe: "timed out", Err: err}
	}
	if f.Permanent || errors.Is(err, asynq.SkipRetry) {
		return &permanent{f}
	}
	return f
}

// permanent shows the fault's text and is asynq.SkipRetry to errors.Is.
type permanent struct{ fault *fault.Error }

func (p *permanent) Error() string { return p.fault.Error() }

func (p *permanent) Is(target error) bool { return target == asynq.SkipRetry }

func (p *permanent) Unwrap() error { return p.fault }
