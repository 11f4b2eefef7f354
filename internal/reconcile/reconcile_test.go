package reconcile_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/reconcile"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

type oneChannel struct{}

func (oneChannel) Channels(who []cards.Stakeholder) []store.Channel {
	return []store.Channel{{Name: "ALL", Stakeholders: who}}
}

type bench struct {
	*reconcile.Reconciler
	t     *testing.T
	store *store.Store
	queue *broker.Queue
	pool  *pgxpool.Pool
	redis *redis.Client
	now   time.Time
	asked []uuid.UUID
	found map[string]int
	// suppressed counts events that were not told.
	suppressed atomic.Int32
}

// AskStatus stands for the handlers.
func (b *bench) AskStatus(_ context.Context, id uuid.UUID) error {
	b.asked = append(b.asked, id)
	return nil
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, pool: testenv.Pool(t), redis: testenv.Redis(t), now: time.Now(), found: map[string]int{}}
	clock := func() time.Time { return b.now }
	b.store = store.New(b.pool, store.Options{Router: oneChannel{}, Now: clock, LeaseTime: 500 * time.Millisecond})
	b.queue = broker.New(b.redis)
	log := testenv.Logger(t)
	b.Reconciler = reconcile.New(b.store, b.queue, &reconcile.Letters{Store: b.store, Notify: b.queue, Log: log, Endpoint: "nphies.example"}, b, log, reconcile.Options{
		Settle: 30 * time.Second, RecheckAfter: time.Hour, OverdueStep: time.Minute, Licenses: []string{"PR-1"}, Now: clock,
		Found: func(finding string, n int) { b.found[finding] += n },
	})
	return b
}

func (b *bench) once() {
	b.t.Helper()
	require.NoError(b.t, b.Once(b.t.Context()))
}

func (b *bench) claim(n int) store.Claim {
	b.t.Helper()
	c, _, err := b.store.CreateClaim(b.t.Context(), store.NewClaim{
		License: "PR-1", Identifier: store.Identifier{System: "s", Value: fmt.Sprintf("CLM-%d", n)}, Payer: "INS", Claimed: decimal.New(100, -2),
		HeaderID: "h", BundleID: "b", SourceHash: "x", Event: "claim-request", Body: []byte("{}"),
	})
	require.NoError(b.t, err)
	return c
}

func (b *bench) state(t tasks.Task) string {
	b.t.Helper()
	s, err := b.queue.TaskState(t.Queue, t.ID)
	require.NoError(b.t, err)
	return s
}

func TestRedisMayBeEmptiedAtAnyTime(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	var claims []store.Claim
	for n := range 700 { // more than a page
		claims = append(claims, b.claim(n))
	}
	check, _, err := b.store.CreateCheck(ctx, store.NewCheck{License: "PR-1", Identifier: store.Identifier{System: "s", Value: "E"}, Payer: "INS", HeaderID: "h", BundleID: "b", SourceHash: "x", Body: []byte("{}")})
	require.NoError(t, err)
	_, err = b.store.AddEvents(ctx, store.Event{Event: cards.Event{Type: cards.EligibilityDeniedEvent, Details: cards.EligibilityDenied{}}, Key: "k"})
	require.NoError(t, err)
	_, err = b.queue.Enqueue(ctx, tasks.NewSubmit(claims[0].ID, 1))
	require.NoError(t, err)
	require.NoError(t, b.redis.FlushDB(ctx).Err())

	b.once()
	require.Empty(t, b.state(tasks.NewSubmit(claims[0].ID, 1)), "what was just touched is left alone")
	b.now = b.now.Add(time.Minute)
	b.once()
	for _, c := range claims {
		require.Equal(t, "pending", b.state(tasks.NewSubmit(c.ID, 1)))
	}
	require.Equal(t, "pending", b.state(tasks.NewEligibility(check.ID, 1)))
	info, err := b.queue.Inspector().GetQueueInfo(tasks.QueuePoll)
	require.NoError(t, err)
	require.Equal(t, 1, info.Pending, "the mailbox is looked after")
	info, err = b.queue.Inspector().GetQueueInfo(tasks.QueueTeams)
	require.NoError(t, err)
	require.Positive(t, info.Pending+info.Scheduled, "the waiting notification has a drain")

	b.once()
	info, err = b.queue.Inspector().GetQueueInfo(tasks.QueueSubmit)
	require.NoError(t, err)
	require.Equal(t, 700, info.Size, "a second look adds nothing")
}

func TestOverdueIsAskedInThreeSteps(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	c, other := b.claim(1), b.claim(2)
	b.once()
	_, err := b.pool.Exec(ctx, `UPDATE claims SET state = 'pending', next_poll_at = $1`, b.now.Add(-time.Second))
	require.NoError(t, err)
	require.NoError(t, b.store.PollDone(ctx, "PR-1", b.now.Add(time.Hour), false))
	b.now = b.now.Add(time.Second)
	polls := func() int {
		t.Helper()
		info, err := b.queue.Inspector().GetQueueInfo(tasks.QueuePoll)
		require.NoError(t, err)
		return info.Size
	}
	before := polls()

	b.once()
	require.Equal(t, before+1, polls(), "first the mailbox is looked into, once for both")
	require.Empty(t, b.asked)
	b.once()
	require.Empty(t, b.asked, "and there is time for the answer to come")

	_, err = b.pool.Exec(ctx, `UPDATE claims SET state = 'approved', next_poll_at = NULL WHERE id = $1`, other.ID)
	require.NoError(t, err)
	b.now = b.now.Add(time.Minute)
	b.once()
	require.Equal(t, []uuid.UUID{c.ID}, b.asked, "then the payer is asked")
	b.once()
	require.Len(t, b.asked, 1)
	require.Empty(t, b.state(tasks.NewSubmit(c.ID, 2)))

	b.now = b.now.Add(time.Minute)
	b.once()
	require.Equal(t, "pending", b.state(tasks.NewSubmit(c.ID, 2)), "and at last its bytes are sent again")
	b.once()
	require.Empty(t, b.state(tasks.NewSubmit(c.ID, 3)), "once")
	b.now = b.now.Add(time.Hour)
	b.once()
	b.now = b.now.Add(time.Minute)
	b.once()
	require.Len(t, b.asked, 2, "from the beginning")
	require.Equal(t, 6, b.found["overdue"])
}

// TestWorkOfADeadProcessGoesOn: what a process had in hand is given to another when its leases run out, though asynq still calls
// the tasks active.
func TestWorkOfADeadProcessGoesOn(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	c := b.claim(1)
	check, _, err := b.store.CreateCheck(ctx, store.NewCheck{License: "PR-1", Identifier: store.Identifier{System: "s", Value: "E"}, Payer: "INS", HeaderID: "h", BundleID: "b", SourceHash: "x", Body: []byte("{}")})
	require.NoError(t, err)
	task, _, err := b.store.CreateFHIRTask(ctx, store.NewFHIRTask{ClaimID: c.ID, Code: store.TaskCancel, License: "PR-1", Payer: "INS", Event: "cancel-request", Body: []byte("{}"), By: store.Decision{Actor: "a", Source: "cli", Reason: "r"}})
	require.NoError(t, err)
	dead := map[store.LeaseKind]string{
		store.LeaseClaim: c.ID.String(), store.LeaseCheck: check.ID.String(), store.LeaseFHIRTask: task.ID.String(), store.LeasePoll: "PR-1", store.LeaseChannel: "SRE",
	}
	for kind, key := range dead {
		_, release, ok, err := b.store.Hold(ctx, kind, key)
		require.NoError(t, err)
		require.True(t, ok)
		defer release()
	}
	require.NoError(t, b.Abandoned(ctx))
	require.Empty(t, b.found, "who renews lives")

	// The process dies: it renews nothing any more.
	_, err = b.pool.Exec(ctx, `UPDATE leases SET token = gen_random_uuid(), until = clock_timestamp() - interval '1 ms' WHERE kind <> 'duty'`)
	require.NoError(t, err)
	require.NoError(t, b.Abandoned(ctx))
	require.Equal(t, 5, b.found["abandoned"])
	require.Equal(t, "pending", b.state(tasks.NewSubmit(c.ID, 2)))
	require.Equal(t, "pending", b.state(tasks.NewEligibility(check.ID, 2)))
	require.Equal(t, "pending", b.state(tasks.NewCancel(task.ID, 2)))
	require.Equal(t, "pending", b.state(tasks.NewPoll("PR-1", b.now)))
	info, err := b.queue.Inspector().GetQueueInfo(tasks.QueueTeams)
	require.NoError(t, err)
	require.Positive(t, info.Size)
	require.NoError(t, b.Abandoned(ctx))
	require.Equal(t, 5, b.found["abandoned"], "once")

	// Work that was finished by the time needs nobody; leases of rows that are not ours are dropped.
	_, err = b.pool.Exec(ctx, `UPDATE claims SET state = 'approved'`)
	require.NoError(t, err)
	_, err = b.pool.Exec(ctx, `INSERT INTO leases VALUES ('claim', $1, gen_random_uuid(), 'h', now(), now()), ('claim', $2, gen_random_uuid(), 'h', now(), now()), ('claim', 'x', gen_random_uuid(), 'h', now(), now())`,
		c.ID.String(), uuid.New().String())
	require.NoError(t, err)
	require.NoError(t, b.Abandoned(ctx))
	require.Empty(t, b.state(tasks.NewSubmit(c.ID, 3)))
	left, err := b.store.AbandonedLeases(ctx, 10)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestOrphanedTaskIsMadeAnew: a worker that died before it took its lease leaves a task that asynq calls active.
func TestOrphanedTaskIsMadeAnew(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	c := b.claim(1)
	task := tasks.NewSubmit(c.ID, 1)
	_, err := b.queue.Enqueue(ctx, task)
	require.NoError(t, err)
	// As asynq's own dequeue leaves it.
	key := "asynq:{" + task.Queue + "}:"
	require.NoError(t, b.redis.LMove(ctx, key+"pending", key+"active", "RIGHT", "LEFT").Err())
	require.NoError(t, b.redis.HSet(ctx, key+"t:"+task.ID, "state", "active").Err())
	require.NoError(t, b.redis.ZAdd(ctx, key+"lease", redis.Z{Score: float64(time.Now().Add(time.Minute).Unix()), Member: task.ID}).Err())
	b.now = b.now.Add(time.Minute)
	b.once()
	require.Empty(t, b.state(tasks.NewSubmit(c.ID, 2)), "it is being worked on")
	require.NoError(t, b.redis.ZAdd(ctx, key+"lease", redis.Z{Score: 1, Member: task.ID}).Err())
	b.once()
	require.Equal(t, "pending", b.state(tasks.NewSubmit(c.ID, 2)))
	require.Equal(t, 1, b.found["orphaned"])
}

func TestArchivedTasksBecomeDeadLetters(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	c := b.claim(1)
	task := tasks.NewSubmit(c.ID, 1)
	poll := tasks.NewPoll("PR-1", b.now)
	for _, x := range []tasks.Task{task, poll, tasks.NewNotify("SRE", b.now)} {
		_, err := b.queue.Enqueue(ctx, x)
		require.NoError(t, err)
		require.NoError(t, b.queue.Inspector().ArchiveTask(x.Queue, x.ID))
	}
	_, err := asynq.NewClientFromRedisClient(b.redis).Enqueue(asynq.NewTask(tasks.TypeSubmit, []byte("no json")), asynq.Queue(tasks.QueueSubmit), asynq.TaskID("odd"))
	require.NoError(t, err)
	require.NoError(t, b.queue.Inspector().ArchiveTask(tasks.QueueSubmit, "odd"))
	b.once()
	b.once()
	list, err := b.store.DeadLetters(ctx, store.LetterFilter{})
	require.NoError(t, err)
	require.Len(t, list, 4)
	byType := map[string]store.DeadLetter{}
	for _, l := range list {
		byType[l.TaskType+l.Reference] = l
	}
	letter := byType[tasks.TypeSubmit+"CLM-1"]
	require.Equal(t, &c.ID, letter.ClaimID)
	require.Equal(t, "PR-1", byType[tasks.TypePoll+"PR-1"].License)
	require.Contains(t, byType, tasks.TypeNotify+"SRE")
	notes, err := b.store.Notifications(ctx, &c.ID, 10)
	require.NoError(t, err)
	require.Len(t, notes, 2, "the dead letter, and that the submission failed; each once")

	// A claim that waits for a person is not enqueued by the machine.
	b.now = b.now.Add(time.Hour)
	b.once()
	require.Equal(t, "archived", b.state(task))

	// Retried: the archived task goes, a new one with a fresh budget comes. The reconciler does not bring the old one back.
	core := &actions.Core{Store: b.store, Queue: b.queue}
	d, err := core.Retry(ctx, store.Decision{ID: letter.ID, Actor: "op", Source: "cli", Reason: "again"})
	require.NoError(t, err)
	require.True(t, d.Applied)
	require.Empty(t, b.state(task))
	require.Equal(t, "pending", b.state(tasks.NewSubmit(c.ID, 2)))
	d, err = core.Discard(ctx, store.Decision{ID: letter.ID, Actor: "other", Source: "cli", Reason: "no"})
	require.NoError(t, err)
	require.False(t, d.Applied)
	require.Equal(t, "op", d.Letter.DecidedBy)

	// The decision stands even if Redis forgot: the wish is in the record.
	require.NoError(t, b.redis.FlushDB(ctx).Err())
	b.once()
	require.Equal(t, "pending", b.state(tasks.NewSubmit(c.ID, 2)))

	for _, kind := range []string{tasks.TypePoll + "PR-1", tasks.TypeNotify + "SRE"} {
		d, err = core.Retry(ctx, store.Decision{ID: byType[kind].ID, Actor: "op", Source: "cli", Reason: "again"})
		require.NoError(t, err)
		require.True(t, d.Applied)
	}
	_, err = core.Retry(ctx, store.Decision{ID: uuid.New(), Actor: "op", Source: "cli", Reason: "again"})
	require.True(t, store.IsNotFound(err))
}

func TestOneOutageOfThePollIsOneLetter(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	b.once()
	for i := range 3 {
		p := tasks.NewPoll("PR-1", b.now.Add(time.Duration(i)*time.Minute))
		_, err := b.queue.Enqueue(ctx, p)
		require.NoError(t, err)
		require.NoError(t, b.queue.Inspector().ArchiveTask(p.Queue, p.ID))
		b.once()
	}
	list, err := b.store.DeadLetters(ctx, store.LetterFilter{States: []store.LetterState{store.LetterOpen}})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, b.store.SettleDeadLetter(ctx, tasks.TypePoll, "PR-1"))
	b.once()
	list, err = b.store.DeadLetters(ctx, store.LetterFilter{States: []store.LetterState{store.LetterOpen}})
	require.NoError(t, err)
	require.Empty(t, list, "what was settled stays so, though its archived tasks are still there")
}

func TestOnlyOneLooksAtATime(t *testing.T) {
	b := newBench(t)
	_, unlock, ok, err := b.store.Duty(t.Context(), "reconcile", 0)
	require.NoError(t, err)
	require.True(t, ok)
	b.once()
	states, err := b.store.PollStates(t.Context())
	require.NoError(t, err)
	require.Empty(t, states)
	unlock()
	b.once()
	states, err = b.store.PollStates(t.Context())
	require.NoError(t, err)
	require.Len(t, states, 1)
}

// TestMoreDeadLettersThanAsynqKeeps: asynq drops archived tasks beyond 9,999; the record keeps each.
func TestMoreDeadLettersThanAsynqKeeps(t *testing.T) {
	const many = 10_300
	b := newBench(t)
	letters := &reconcile.Letters{Store: b.store, Notify: b.queue, Log: slog.New(slog.DiscardHandler), Endpoint: "nphies.example"}
	rows, err := b.pool.Query(t.Context(), `INSERT INTO claims (id, license, identifier_system, identifier_value, payer, header_id, bundle_id, source_hash, state)
		SELECT gen_random_uuid(), 'PR-1', 's', 'CLM-' || n, 'INS', 'h', 'b', 'x', 'submitting' FROM generate_series(1, $1) AS n RETURNING id`, many)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	require.NoError(t, err)
	for _, id := range ids {
		_, err := b.queue.Enqueue(t.Context(), tasks.NewSubmit(id, 1))
		require.NoError(t, err)
	}
	router := tasks.NewRouter(slog.New(slog.DiscardHandler), nil)
	router.Handle(tasks.TypeSubmit, func(context.Context, *asynq.Task) error {
		return &fault.Error{Op: "submit claim", Kind: fault.API, Code: "GE-00013", Safe: "refused", Permanent: true}
	})
	srv := asynq.NewServerFromRedisClient(b.redis, asynq.Config{
		Queues: map[string]int{tasks.QueueSubmit: 1}, Concurrency: 16, ErrorHandler: asynq.ErrorHandlerFunc(letters.OnError), TaskCheckInterval: 20 * time.Millisecond, LogLevel: asynq.FatalLevel,
	})
	require.NoError(t, srv.Start(router))
	defer srv.Shutdown()
	info := &asynq.QueueInfo{}
	testenv.Eventually(t, func() bool {
		var err error
		info, err = b.queue.Inspector().GetQueueInfo(tasks.QueueSubmit)
		require.NoError(t, err)
		return info.Pending+info.Active == 0
	}, "all tasks fail")
	require.Less(t, info.Archived, many, "asynq has dropped some")
	b.once()
	counts, err := b.store.LetterCounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, many, counts[store.LetterOpen])
	require.NoError(t, b.redis.FlushDB(t.Context()).Err())
	b.once()
	counts, err = b.store.LetterCounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, many, counts[store.LetterOpen])
}

// TestADrainThatWorksAgainClosesItsLetter: once something was accepted after the failure; a card of another channel, or of before, closes nothing.
func TestADrainThatWorksAgainClosesItsLetter(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	letter := func(queue, taskType, reference, id string) uuid.UUID {
		out, created, _, err := b.store.RecordDeadLetter(ctx, store.DeadLetter{
			Queue: queue, TaskType: taskType, TaskID: id, Reference: reference, ErrorKind: "internal", FirstFailedAt: b.now, LastFailedAt: b.now,
		}, nil)
		require.NoError(t, err)
		require.True(t, created)
		return out
	}
	sre, pmo, pager := letter(tasks.QueueTeams, tasks.TypeNotify, "SRE", "a"), letter(tasks.QueueTeams, tasks.TypeNotify, "PMO", "b"), letter(tasks.QueuePager, tasks.TypePage, tasks.QueuePager, "c")
	sent := func(channel string, at time.Time) {
		_, err := b.pool.Exec(ctx, `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, channel, sent_at)
			VALUES ($1, 'c', 'task.failed', '{SRE}', 'INFO', '', '{}', $2, $3)`, uuid.New(), channel, at)
		require.NoError(t, err)
	}
	states := func() (out [3]store.LetterState) {
		for i, id := range []uuid.UUID{sre, pmo, pager} {
			l, err := b.store.DeadLetter(ctx, id)
			require.NoError(t, err)
			out[i] = l.State
		}
		return out
	}
	sent("SRE", b.now.Add(-time.Minute))
	b.once()
	require.Equal(t, [3]store.LetterState{store.LetterOpen, store.LetterOpen, store.LetterOpen}, states())
	sent("SRE", b.now.Add(time.Second))
	b.once()
	require.Equal(t, [3]store.LetterState{store.LetterResolved, store.LetterOpen, store.LetterOpen}, states())
	_, err := b.pool.Exec(ctx, `INSERT INTO pagerduty_events (alert_key, dedup_key, action, routing, created_at, next_attempt_at, sent_at) VALUES ('k', 'k', 'trigger', 'default', $1, $1, $1)`, b.now.Add(time.Second))
	require.NoError(t, err)
	b.once()
	require.Equal(t, [3]store.LetterState{store.LetterResolved, store.LetterOpen, store.LetterResolved}, states())
}
