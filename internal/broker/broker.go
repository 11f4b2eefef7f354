// Package broker is the schedule in Redis: it connects, checks that Redis may be trusted with tasks, and enqueues.
package broker

import (
	"context"
	"errors"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/tracing"
	"github.com/claimlinc/nphiesq/tasks"
)

func init() {
	// go-redis would print each failed dial to stderr; the errors it returns say the same.
	redis.SetLogger(quiet{})
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// Queue enqueues tasks and looks after them. It is safe for concurrent use.
type Queue struct {
	rc     redis.UniversalClient
	client *asynq.Client
	insp   *asynq.Inspector
	now    func() time.Time
	// Sent is told of each wish for a task: its queue, and ok, existed (one with its id was there already) or error; may be nil. Set it
	// before the Queue is used.
	Sent func(queue, outcome string)
}

// New returns a Queue on a client, which the caller closes.
func New(rc redis.UniversalClient) *Queue {
	return &Queue{rc: rc, client: asynq.NewClientFromRedisClient(rc), insp: asynq.NewInspectorFromRedisClient(rc), now: time.Now}
}

// Inspector is asynq's view of the queues.
func (q *Queue) Inspector() *asynq.Inspector { return q.insp }

// Enqueue puts a task into its queue. existed is true when a task with this id is there already: the wish is granted.
func (q *Queue) Enqueue(ctx context.Context, t tasks.Task, opts ...asynq.Option) (existed bool, err error) {
	defer func() {
		if q.Sent == nil {
			return
		}
		switch {
		case err != nil:
			q.Sent(t.Queue, "error")
		case existed:
			q.Sent(t.Queue, "existed")
		default:
			q.Sent(t.Queue, "ok")
		}
	}()
	ctx, span := tracing.Begin(ctx, "publish "+t.Queue, trace.SpanKindProducer, attribute.String(tracing.System, "asynq"), attribute.String(tracing.Operation, "publish"),
		attribute.String(tracing.OperationOf, "send"), attribute.String(tracing.Destination, t.Queue), attribute.String(tracing.MessageID, t.ID), attribute.String(tracing.TaskType, t.Type()))
	defer func() { tracing.End(span, err) }()
	if c := tracing.Context(ctx); c != "" {
		t = t.WithHeaders(map[string]string{tracing.TraceParent: c})
	}
	_, err = q.client.EnqueueContext(ctx, t.Task, opts...)
	switch {
	case errors.Is(err, asynq.ErrTaskIDConflict), errors.Is(err, asynq.ErrDuplicateTask):
		return true, nil
	case err != nil:
		return false, &fault.Error{Op: "enqueue " + t.Type(), Kind: fault.Unavailable, Safe: "Redis did not take the task", Err: err}
	}
	return false, nil
}

// Notify wishes for channels to be drained now.
func (q *Queue) Notify(ctx context.Context, channels ...string) error {
	var errs []error
	for _, ch := range channels {
		errs = append(errs, q.NotifyAt(ctx, ch, q.now()))
	}
	return errors.Join(errs...)
}

// NotifyAt wishes for a channel to be drained at a time. Wishes for the same second are one task; when that one is there
// already it may be just ending, having seen the rows before this wish, so another look a second later is made sure of.
func (q *Queue) NotifyAt(ctx context.Context, channel string, at time.Time) error {
	if now := q.now(); at.Before(now) {
		at = now
	}
	return q.sureAt(ctx, at, func(at time.Time) tasks.Task { return tasks.NewNotify(channel, at) })
}

// Page wishes for what waits for PagerDuty to be sent now.
func (q *Queue) Page(ctx context.Context) error { return q.PageAt(ctx, q.now()) }

// PageAt is Page at a time, as NotifyAt.
func (q *Queue) PageAt(ctx context.Context, at time.Time) error {
	if now := q.now(); at.Before(now) {
		at = now
	}
	return q.sureAt(ctx, at, tasks.NewPage)
}

// sureAt enqueues the drain of a second, or if it is there already that of the next one, too.
func (q *Queue) sureAt(ctx context.Context, at time.Time, task func(time.Time) tasks.Task) error {
	existed, err := q.Enqueue(ctx, task(at), asynq.ProcessAt(at))
	if err != nil || !existed {
		return err
	}
	next := at.Truncate(time.Second).Add(time.Second)
	_, err = q.Enqueue(ctx, task(next), asynq.ProcessAt(next))
	return err
}

// Register makes the queues known to asynq's inspector, which a client does only once in its life: after Redis was emptied,
// tasks flow but nobody sees them.
func (q *Queue) Register(ctx context.Context) error {
	names := make([]any, 0, len(tasks.Queues()))
	for _, n := range tasks.Queues() {
		names = append(names, n)
	}
	if err := q.rc.SAdd(ctx, "asynq:queues", names...).Err(); err != nil {
		return &fault.Error{Op: "register queues", Kind: fault.Unavailable, Safe: "Redis does not answer", Err: err}
	}
	return nil
}

// TaskState is where a task is: pending, active, scheduled, retry, archived, completed, or "" when there is none.
func (q *Queue) TaskState(queue, id string) (string, error) {
	info, err := q.insp.GetTaskInfo(queue, id)
	switch {
	case errors.Is(err, asynq.ErrTaskNotFound), errors.Is(err, asynq.ErrQueueNotFound):
		return "", nil
	case err != nil:
		return "", &fault.Error{Op: "look up task", Kind: fault.Unavailable, Safe: "Redis does not answer", Err: err}
	}
	return info.State.String(), nil
}

// Orphans returns the ids of a queue's tasks that are active, but whose worker is gone. asynq gives them to another in its own
// time, two minutes and more.
func (q *Queue) Orphans(queue string) (map[string]bool, error) {
	const size = 100
	out := map[string]bool{}
	for n := 1; ; n++ {
		list, err := q.insp.ListActiveTasks(queue, asynq.PageSize(size), asynq.Page(n))
		if errors.Is(err, asynq.ErrQueueNotFound) {
			return out, nil
		}
		if err != nil {
			return nil, &fault.Error{Op: "look up tasks", Kind: fault.Unavailable, Safe: "Redis does not answer", Err: err}
		}
		for _, t := range list {
			if t.IsOrphaned {
				out[t.ID] = true
			}
		}
		if len(list) < size {
			return out, nil
		}
	}
}

// Remove deletes a task that is not running. A task that is gone already is no error.
func (q *Queue) Remove(queue, id string) error {
	err := q.insp.DeleteTask(queue, id)
	if err == nil || errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound) {
		return nil
	}
	return &fault.Error{Op: "remove task", Kind: fault.Unavailable, Safe: "the task could not be removed from Redis", Err: err}
}
