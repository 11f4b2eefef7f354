package reconcile_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/reconcile"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

// serve runs a real asynq server over one queue until done is true.
func (b *bench) serve(queue, taskType string, handler asynq.HandlerFunc, done func() bool) {
	b.t.Helper()
	letters := &reconcile.Letters{Store: b.store, Notify: b.queue, Log: testenv.Logger(b.t), Endpoint: "nphies.example", Suppressed: func(reason string) {
		require.Equal(b.t, reconcile.Inhibited, reason)
		b.suppressed.Add(1)
	}}
	router := tasks.NewRouter(slog.New(slog.DiscardHandler), nil)
	router.Handle(taskType, handler)
	srv := asynq.NewServerFromRedisClient(b.redis, asynq.Config{
		Queues: map[string]int{queue: 1}, Concurrency: 2, ErrorHandler: asynq.ErrorHandlerFunc(letters.OnError), TaskCheckInterval: 20 * time.Millisecond,
		DelayedTaskCheckInterval: 50 * time.Millisecond, RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 0 }, LogLevel: asynq.FatalLevel, IsFailure: tasks.IsFailure,
	})
	require.NoError(b.t, srv.Start(router))
	defer srv.Shutdown()
	testenv.Eventually(b.t, done, "the tasks have been run")
}

func (b *bench) told(what cards.EventType) []store.Notification {
	b.t.Helper()
	list, err := b.store.ListNotifications(b.t.Context(), store.NotificationFilter{EventType: string(what)})
	require.NoError(b.t, err)
	return list
}

// TestFailingTasksAreTold: at half of the retries, and for good; trouble with NPHIES is told by its own card, and what something worse
// explains not at all.
func TestFailingTasksAreTold(t *testing.T) {
	for name, tt := range map[string]struct {
		fault     *fault.Error
		redisDown bool
		retry     int
	}{
		"a defect":                       {&fault.Error{Op: "x", Kind: fault.Internal, Safe: "the handler panicked, see the log"}, false, 1},
		"NPHIES":                         {&fault.Error{Op: "x", Kind: fault.Network, Safe: "refused"}, false, 0},
		"a defect, while Redis is known": {&fault.Error{Op: "x", Kind: fault.Internal, Safe: "the handler panicked, see the log"}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c := b.claim(1)
			if tt.redisDown {
				_, err := b.store.Raise(t.Context(), store.Condition{Type: cards.RedisNodeDownEvent, Identity: store.RedisMaster, Details: cards.Redis{Instance: "r", State: "down"}})
				require.NoError(t, err)
			}
			_, err := b.queue.Enqueue(t.Context(), tasks.NewSubmit(c.ID, 1))
			require.NoError(t, err)
			var runs atomic.Int32
			b.serve(tasks.QueueSubmit, tasks.TypeSubmit, func(context.Context, *asynq.Task) error { runs.Add(1); return tt.fault }, func() bool { return len(b.told(cards.TaskDLQEvent)) == 1 })
			require.EqualValues(t, 9, runs.Load())
			retry := b.told(cards.TaskRetryEvent)
			require.Len(t, retry, tt.retry)
			if tt.retry > 0 {
				require.Equal(t, "LOW", retry[0].Priority)
				require.Equal(t, &c.ID, retry[0].ClaimID)
			}
			require.Equal(t, tt.redisDown, b.suppressed.Load() == 1, "what is not told is counted")
			require.Empty(t, b.told(cards.TaskFailedEvent), "a claim's dead letter waits for a person, and is told as that")
		})
	}
}

func TestATaskThatTimesOutIsToldOnce(t *testing.T) {
	b := newBench(t)
	c := b.claim(1)
	task := tasks.NewSubmit(c.ID, 1)
	_, err := b.queue.Enqueue(t.Context(), task, asynq.Timeout(time.Second), asynq.MaxRetry(5))
	require.NoError(t, err)
	var runs atomic.Int32
	b.serve(tasks.QueueSubmit, tasks.TypeSubmit, func(ctx context.Context, _ *asynq.Task) error {
		if runs.Add(1) > 2 {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}, func() bool { return runs.Load() > 2 })
	told := b.told(cards.TaskTimeoutEvent)
	require.Len(t, told, 1)
	require.Equal(t, "MEDIUM", told[0].Priority)
}

func TestWhatComesRoundIsToldAsFailed(t *testing.T) {
	b := newBench(t)
	_, err := b.queue.Enqueue(t.Context(), tasks.NewNotify("SRE", time.Now()))
	require.NoError(t, err)
	b.serve(tasks.QueueTeams, tasks.TypeNotify, func(context.Context, *asynq.Task) error {
		return &fault.Error{Op: "x", Kind: fault.Internal, Safe: "broken", Permanent: true}
	}, func() bool { return len(b.told(cards.TaskFailedEvent)) > 0 })
	require.Equal(t, "HIGH", b.told(cards.TaskFailedEvent)[0].Priority)
	require.Empty(t, b.told(cards.TaskDLQEvent))
	list, err := b.store.DeadLetters(t.Context(), store.LetterFilter{})
	require.NoError(t, err)
	require.NotEmpty(t, list, "on record all the same")
}

// TestOurOwnOutageMakesNoDeadLetter: asynq archives a task at its last attempt whatever the error; the work is left to the reconciler.
func TestOurOwnOutageMakesNoDeadLetter(t *testing.T) {
	b := newBench(t)
	c := b.claim(1)
	task := tasks.NewSubmit(c.ID, 1)
	_, err := b.queue.Enqueue(t.Context(), task, asynq.MaxRetry(1))
	require.NoError(t, err)
	var runs atomic.Int32
	b.serve(tasks.QueueSubmit, tasks.TypeSubmit, func(context.Context, *asynq.Task) error {
		if runs.Add(1) == 1 {
			return &fault.Error{Op: "x", Kind: fault.Network, Safe: "refused"}
		}
		return &fault.Error{Op: "x", Kind: fault.Unavailable, Safe: "PostgreSQL is away"}
	}, func() bool { return b.state(task) == "completed" })
	require.EqualValues(t, 2, runs.Load())
	b.now = b.now.Add(time.Minute)
	b.once()
	require.Equal(t, "pending", b.state(tasks.NewSubmit(c.ID, 2)), "with a new budget")
	list, err := b.store.DeadLetters(t.Context(), store.LetterFilter{})
	require.NoError(t, err)
	require.Empty(t, list)
}

// TestATaskThatWasOvertakenIsNoDeadLetter: its claim has its answer, or another task; and what waits for a person is not taken over.
func TestATaskThatWasOvertakenIsNoDeadLetter(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	answered, renewed, dead := b.claim(1), b.claim(2), b.claim(3)
	for _, c := range []store.Claim{answered, renewed, dead} {
		task := tasks.NewSubmit(c.ID, 1)
		_, err := b.queue.Enqueue(ctx, task)
		require.NoError(t, err)
		require.NoError(t, b.queue.Inspector().ArchiveTask(task.Queue, task.ID))
	}
	_, err := b.pool.Exec(ctx, `UPDATE claims SET state = 'approved' WHERE id = $1`, answered.ID)
	require.NoError(t, err)
	_, err = b.store.RenewClaim(ctx, renewed.ID, 1)
	require.NoError(t, err)
	b.once()
	open, err := b.store.DeadLetters(ctx, store.LetterFilter{States: []store.LetterState{store.LetterOpen}})
	require.NoError(t, err)
	require.Len(t, open, 1)
	require.Equal(t, &dead.ID, open[0].ClaimID)
	all, err := b.store.DeadLetters(ctx, store.LetterFilter{})
	require.NoError(t, err)
	require.Len(t, all, 3, "on record they all are")
	require.Len(t, b.told(cards.TaskDLQEvent), 1)

	_, err = b.pool.Exec(ctx, `INSERT INTO leases VALUES ('claim', $1, gen_random_uuid(), 'h', now(), now())`, dead.ID.String())
	require.NoError(t, err)
	require.NoError(t, b.Abandoned(ctx))
	require.Empty(t, b.state(tasks.NewSubmit(dead.ID, 2)), "it waits for a person")
}
