package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/tasks"
)

var id = uuid.MustParse("0192f0c1-0000-7000-8000-0000000000aa")

// golden holds the wire form of each type's task: what stands in Redis while versions change.
var golden = map[string]struct {
	task    tasks.Task
	id      string
	payload string
}{
	tasks.TypeEligibility: {tasks.NewEligibility(id, 1), "0192f0c10000700080000000000000aa.elig.1", `{"check_id":"0192f0c1-0000-7000-8000-0000000000aa"}`},
	tasks.TypeSubmit:      {tasks.NewSubmit(id, 2), "0192f0c10000700080000000000000aa.submit.2", `{"claim_id":"0192f0c1-0000-7000-8000-0000000000aa"}`},
	tasks.TypePriorAuth:   {tasks.NewPriorAuth(id, 1), "0192f0c10000700080000000000000aa.priorauth.1", `{"claim_id":"0192f0c1-0000-7000-8000-0000000000aa"}`},
	tasks.TypeStatus:      {tasks.NewStatus(id, 1), "0192f0c10000700080000000000000aa.status.1", `{"task_id":"0192f0c1-0000-7000-8000-0000000000aa"}`},
	tasks.TypeCancel:      {tasks.NewCancel(id, 3), "0192f0c10000700080000000000000aa.cancel.3", `{"task_id":"0192f0c1-0000-7000-8000-0000000000aa"}`},
	tasks.TypePoll:        {tasks.NewPoll("DEMO-PR-1/x", time.UnixMilli(1767225600123)), "1767225600123.poll.DEMO_PR_1_x", `{"license":"DEMO-PR-1/x"}`},
	tasks.TypeNotify:      {tasks.NewNotify("SECURITY_ENG", time.Unix(1767225600, 5)), "SECURITY_ENG.notify.1767225600", `{"channel":"SECURITY_ENG"}`},
	tasks.TypePage:        {tasks.NewPage(time.Unix(1767225600, 5)), "1767225600.page", `{}`},
}

func TestEveryTypeIsComplete(t *testing.T) {
	queues := map[string]bool{}
	for _, s := range tasks.Table() {
		t.Run(s.Type, func(t *testing.T) {
			g, ok := golden[s.Type]
			require.True(t, ok, "no golden task")
			require.Equal(t, g.id, g.task.ID)
			require.Equal(t, s.Queue, g.task.Queue)
			require.Equal(t, g.payload, string(g.task.Payload()))
			require.Less(t, len(g.task.Payload()), tasks.MaxPayloadBytes)
			require.NotContains(t, g.task.ID, "-")
			require.NotContains(t, g.task.ID, "/")

			zero, err := json.Marshal(s.Payload)
			require.NoError(t, err)
			require.Equal(t, fields(t, zero), fields(t, g.task.Payload()), "Payload in Table is not what the constructor writes")

			require.False(t, queues[s.Queue], "two types in one queue")
			queues[s.Queue] = true
			require.Positive(t, s.MaxRetry, "a dead worker uses up a retry, so there must be one")
			require.Positive(t, s.Concurrency)
			for _, d := range []time.Duration{s.Timeout, s.RetryBase, s.RetryCap} {
				require.GreaterOrEqual(t, d, time.Second, "asynq cuts below a second to nothing")
			}
			require.Zero(t, s.Retention%time.Second)
			for _, o := range tasks.Table() {
				require.False(t, o.Type != s.Type && strings.HasPrefix(o.Type, s.Type), "%s is a prefix of %s", s.Type, o.Type)
			}
		})
	}
	require.Len(t, golden, len(tasks.Table()))
	require.Equal(t, []string{
		"nphies-eligibility", "nphies-submit", "nphies-priorauth", "nphies-status", "nphies-cancel", "nphies-poll", "teams", "pagerduty",
	}, tasks.Queues())
}

func fields(t *testing.T, body []byte) []string {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal(body, &m))
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

func TestPayloadsHoldIdsOnly(t *testing.T) {
	for _, s := range tasks.Table() {
		typ := reflect.TypeOf(s.Payload)
		for f := range typ.Fields() {
			require.Contains(t, []string{"check_id", "claim_id", "task_id", "license", "channel"}, f.Tag.Get("json"), "%s: is this an id?", s.Type)
		}
	}
}

func TestSameWishIsSameTask(t *testing.T) {
	a, b := tasks.NewSubmit(id, 1), tasks.NewSubmit(id, 1)
	require.Equal(t, a.ID, b.ID)
	require.Equal(t, a.Payload(), b.Payload())
	require.NotEqual(t, a.ID, tasks.NewSubmit(id, 2).ID)
}

func TestDecodeRefusesForeignPayload(t *testing.T) {
	p, err := tasks.Decode[tasks.SubmitPayload](golden[tasks.TypeSubmit].task.Task)
	require.NoError(t, err)
	require.Equal(t, id, p.ClaimID)
	_, err = tasks.Decode[tasks.SubmitPayload](asynq.NewTask(tasks.TypeSubmit, []byte(`{"claim_id":"Demo Patient"}`)))
	require.True(t, fault.Is(err, fault.Invalid))
	require.True(t, fault.Of(err).Permanent)
	require.NotContains(t, err.Error(), "Demo")
}

func TestRetryDelay(t *testing.T) {
	submit := asynq.NewTask(tasks.TypeSubmit, nil)
	within := func(n int, want time.Duration) {
		t.Helper()
		for range 50 {
			d := tasks.RetryDelay(n, errors.New("x"), submit)
			require.InDelta(t, want.Seconds(), d.Seconds(), want.Seconds()*0.2501)
		}
	}
	within(0, 5*time.Second)
	within(1, 10*time.Second)
	within(3, 40*time.Second)
	within(40, 30*time.Minute)
	require.Zero(t, tasks.RetryDelay(3, fmt.Errorf("x: %w", asynq.ErrLeaseExpired), submit))
	require.Equal(t, time.Hour, tasks.RetryDelay(0, &fault.Error{RetryIn: time.Hour}, submit))
	require.Positive(t, tasks.RetryDelay(0, errors.New("x"), asynq.NewTask("other", nil)))
	require.LessOrEqual(t, tasks.Jitter(time.Minute), time.Minute)
	require.Greater(t, tasks.Jitter(time.Minute), 53*time.Second)
}

func TestRouter(t *testing.T) {
	ctx := context.Background()
	var seen []string
	r := tasks.NewRouter(slog.New(slog.DiscardHandler), func(taskType, outcome string, _ time.Duration) {
		seen = append(seen, taskType+" "+outcome)
	})
	var ret error
	r.Handle(tasks.TypePoll, func(context.Context, *asynq.Task) error { return ret })
	r.Handle(tasks.TypeSubmit, func(context.Context, *asynq.Task) error { panic("patient Demo") })
	require.Equal(t, []string{tasks.TypeSubmit, tasks.TypePoll}, r.Types())

	poll := asynq.NewTask(tasks.TypePoll, nil)
	require.NoError(t, r.ProcessTask(ctx, poll))

	err := r.ProcessTask(ctx, asynq.NewTask("nphies:pollution", nil))
	require.ErrorIs(t, err, asynq.SkipRetry, "an unknown type goes to the archive at once")

	err = r.ProcessTask(ctx, asynq.NewTask(tasks.TypeSubmit, nil))
	require.ErrorContains(t, err, "panicked")
	require.NotContains(t, err.Error(), "Demo")
	require.NotErrorIs(t, err, asynq.SkipRetry)

	ret = errors.New("patient Demo has no cover")
	err = r.ProcessTask(ctx, poll)
	require.True(t, fault.Is(err, fault.Internal))
	require.NotContains(t, err.Error(), "Demo")

	ret = &fault.Error{Op: "send", Kind: fault.API, Safe: "refused", Permanent: true}
	err = r.ProcessTask(ctx, poll)
	require.ErrorIs(t, err, asynq.SkipRetry)
	require.True(t, fault.Is(err, fault.API))
	require.Equal(t, "send: api: refused", err.Error())

	ret = fmt.Errorf("stop: %w", asynq.RevokeTask)
	require.ErrorIs(t, r.ProcessTask(ctx, poll), asynq.RevokeTask)

	ret = context.DeadlineExceeded
	require.True(t, fault.Is(r.ProcessTask(ctx, poll), fault.Network))

	require.Equal(t, []string{
		"nphies:poll ok", "nphies:pollution invalid", "nphies:submit internal", "nphies:poll internal",
		"nphies:poll api", "nphies:poll revoked", "nphies:poll network",
	}, seen)
	require.Panics(t, func() { r.Handle(tasks.TypePoll, nil) })
	require.Panics(t, func() { r.Handle("nphies:other", nil) })
}

func TestFinal(t *testing.T) {
	ctx := context.Background() // outside a handler: no retries are left
	require.False(t, tasks.Final(ctx, nil))
	require.True(t, tasks.Final(ctx, errors.New("x")))
	require.True(t, tasks.Final(ctx, asynq.SkipRetry))
	require.False(t, tasks.Final(ctx, asynq.RevokeTask))
	require.False(t, tasks.Final(ctx, asynq.ErrLeaseExpired))
}
