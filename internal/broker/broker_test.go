package broker

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestConnect(t *testing.T) {
	rc, err := Connect("rediss://me:p%40ss@h:1/2")
	require.NoError(t, err)
	o := rc.(*redis.Client).Options()
	require.Equal(t, []any{"h:1", "me", "p@ss", 2, true}, []any{o.Addr, o.Username, o.Password, o.DB, o.TLSConfig != nil})

	rc, err = Connect("redis+sentinel://me:p%40ss@a,b:2/mymaster/3")
	require.NoError(t, err)
	o = rc.(*redis.Client).Options()
	require.Equal(t, []any{"me", "p@ss", 3}, []any{o.Username, o.Password, o.DB})

	rc, err = Connect("rediss+cluster://me:x@a,b:2")
	require.NoError(t, err)
	co := rc.(*redis.ClusterClient).Options()
	require.Equal(t, []string{"a:6379", "b:2"}, co.Addrs)
	require.NotNil(t, co.TLSConfig)
	require.Equal(t, "me", co.Username)

	for _, bad := range []string{"", "localhost:6379", "http://h", "redis+sentinel://a,b", "redis+sentinel://a/m/x", "redis+cluster://a,,b", "redis://h/notanumber"} {
		_, err := Connect(bad)
		require.True(t, fault.Is(err, fault.Config), bad)
		require.ErrorContains(t, err, "REDIS_URL")
	}
	_, err = Connect("nonsense://user:hunter2@h")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestCheck(t *testing.T) {
	warnings, err := check("redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\naof_enabled:0\r\n")
	require.NoError(t, err)
	require.Len(t, warnings, 1)
	_, err = check("redis_version:6.0.16\r\nmaxmemory_policy:noeviction\r\n")
	require.ErrorContains(t, err, "6.2 or later")
	_, err = check("redis_version:6.2.0\r\nmaxmemory_policy:allkeys-lru\r\n")
	require.ErrorContains(t, err, "noeviction")
	_, err = check("")
	require.Error(t, err)

	rc := testenv.Redis(t)
	_, err = Check(t.Context(), rc)
	require.NoError(t, err)
	require.NoError(t, Ping(t.Context(), rc))
	require.NoError(t, rc.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
	t.Cleanup(func() { rc.ConfigSet(t.Context(), "maxmemory-policy", "noeviction") })
	_, err = Check(t.Context(), rc)
	require.True(t, fault.Is(err, fault.Config))
	require.NoError(t, rc.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
	away, err := Connect("unix:///nonexistent.sock")
	require.NoError(t, err)
	_, err = Check(t.Context(), away)
	require.True(t, fault.Is(err, fault.Unavailable))
	require.True(t, fault.Is(Ping(t.Context(), away), fault.Unavailable))
}

func TestEnqueue(t *testing.T) {
	rc := testenv.Redis(t)
	q := New(rc)
	ctx := t.Context()
	id := uuid.New()
	for i := range 2 {
		existed, err := q.Enqueue(ctx, tasks.NewSubmit(id, 1))
		require.NoError(t, err)
		require.Equal(t, i == 1, existed)
	}
	state, err := q.TaskState(tasks.QueueSubmit, tasks.NewSubmit(id, 1).ID)
	require.NoError(t, err)
	require.Equal(t, "pending", state)
	require.NoError(t, q.Remove(tasks.QueueSubmit, tasks.NewSubmit(id, 1).ID))
	require.NoError(t, q.Remove(tasks.QueueSubmit, tasks.NewSubmit(id, 1).ID))
	state, err = q.TaskState(tasks.QueueSubmit, tasks.NewSubmit(id, 1).ID)
	require.NoError(t, err)
	require.Empty(t, state)

	require.NoError(t, rc.Del(ctx, "asynq:queues").Err())
	_, err = q.Inspector().GetQueueInfo(tasks.QueueSubmit)
	require.Error(t, err)
	require.NoError(t, q.Register(ctx))
	_, err = q.Inspector().GetQueueInfo(tasks.QueueSubmit)
	require.NoError(t, err)
}

func TestNotifyIsNeverStranded(t *testing.T) {
	rc := testenv.Redis(t)
	q := New(rc)
	now := time.Now().Truncate(time.Second).Add(500 * time.Millisecond)
	q.now = func() time.Time { return now }
	require.NoError(t, q.Notify(t.Context(), "SRE", "PMO"))
	for range 5 { // the second wish of a second finds the first and asks for a look afterwards; more change nothing
		require.NoError(t, q.Notify(t.Context(), "SRE"))
	}
	for id, want := range map[string]bool{
		tasks.NewNotify("SRE", now).ID:                    true,
		tasks.NewNotify("PMO", now).ID:                    true,
		tasks.NewNotify("SRE", now.Add(time.Second)).ID:   true,
		tasks.NewNotify("SRE", now.Add(2*time.Second)).ID: false,
		tasks.NewNotify("PMO", now.Add(time.Second)).ID:   false,
	} {
		state, err := q.TaskState(tasks.QueueTeams, id)
		require.NoError(t, err)
		require.Equal(t, want, state != "", "%s: %s", id, state)
	}
}
