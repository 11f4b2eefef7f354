package watch_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/localserver"
	"github.com/claimlinc/nphiesq/internal/secrets"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/internal/watch"
	"github.com/claimlinc/nphiesq/migrations"
	"github.com/claimlinc/nphiesq/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

type oneChannel struct{}

func (oneChannel) Channels(who []cards.Stakeholder) []store.Channel {
	return []store.Channel{{Name: "ALL", Stakeholders: who}}
}

type bench struct {
	*watch.Watch
	t        *testing.T
	store    *store.Store
	pool     *pgxpool.Pool
	queue    *broker.Queue
	begin    func() *watch.Watch
	notified int
	now      time.Time
}

// another lets another worker have the next looks.
func (b *bench) another() {
	b.Watch = b.begin()
}

func (b *bench) Notify(context.Context, ...string) error { b.notified++; return nil }

func newBench(t *testing.T, pool *pgxpool.Pool, rc redis.UniversalClient, vault watch.Vault) *bench {
	t.Helper()
	b := &bench{t: t, pool: pool, queue: broker.New(rc), now: time.Now()}
	clock := func() time.Time { return b.now }
	b.store = store.New(pool, store.Options{Router: oneChannel{}, Now: clock})
	b.begin = func() *watch.Watch {
		return watch.New(b.store, rc, b.queue.Inspector(), vault, b, testenv.Logger(t), watch.Options{
			Interval: time.Second, DeadLetters: 3, BacklogSize: 5, BacklogAge: time.Hour, ReplicaLag: 2 * time.Second, Version: "test", Now: clock,
		})
	}
	b.another()
	return b
}

func (b *bench) look() {
	b.t.Helper()
	b.another() // what one worker saw the next one knows
	require.NoError(b.t, b.Once(b.t.Context()))
}

// firing lists what holds, as "type identity".
func (b *bench) firing() []string {
	b.t.Helper()
	list, err := b.store.Conditions(b.t.Context(), false)
	require.NoError(b.t, err)
	var out []string
	for _, c := range list {
		out = append(out, string(c.Type)+" "+c.Identity)
	}
	return out
}

func (b *bench) told(what cards.EventType) int {
	b.t.Helper()
	list, err := b.store.ListNotifications(b.t.Context(), store.NotificationFilter{EventType: string(what)})
	require.NoError(b.t, err)
	return len(list)
}

func TestAllIsWell(t *testing.T) {
	b := newBench(t, testenv.Pool(t), testenv.Redis(t), nil)
	require.NoError(t, b.Own(t.Context()))
	b.look()
	b.look()
	require.Empty(t, b.firing())
	require.Zero(t, b.notified)
}

// TestARealVaultIsSealed and opened again: told at once, and its end.
func TestARealVaultIsSealed(t *testing.T) {
	v := testenv.Vault(t)
	if v.UnsealKey == "" {
		t.Skip("this Vault's unseal key is not known: it cannot be sealed and opened again")
	}
	client, err := secrets.New(secrets.Options{Address: v.Addr, Login: secrets.Token(v.Token)})
	require.NoError(t, err)
	b := newBench(t, testenv.Pool(t), testenv.Redis(t), client)
	b.look()
	require.Empty(t, b.firing())
	root := v.Root(t)
	require.NoError(t, root.Sys().Seal())
	opened := false
	unseal := func() {
		s, err := root.Sys().Unseal(v.UnsealKey)
		require.NoError(t, err)
		require.False(t, s.Sealed)
		opened = true
	}
	t.Cleanup(func() {
		if !opened {
			unseal()
		}
	})
	b.look()
	b.look()
	require.Len(t, b.firing(), 1)
	require.Contains(t, b.firing()[0], "vault.seal.detected ")
	require.Equal(t, 1, b.told(cards.VaultSealEvent))
	unseal()
	b.look()
	require.Empty(t, b.firing())
	require.Equal(t, 2, b.told(cards.VaultSealEvent), "that it is over is told, too")
}

// fakeVault stands for states that a real Vault takes long to get into.
type fakeVault struct {
	seal   secrets.Seal
	status secrets.Status
}

func (v *fakeVault) Seal(context.Context) (secrets.Seal, error) { return v.seal, nil }
func (v *fakeVault) Status() secrets.Status                     { return v.status }
func (v *fakeVault) Address() string                            { return "https://vault.example:8200" }

func TestUnsealingThatFailsAndTokensThatEnd(t *testing.T) {
	v := &fakeVault{seal: secrets.Seal{Sealed: true, Type: "shamir", Threshold: 3, Progress: 2, Attempt: "one"}}
	b := newBench(t, testenv.Pool(t), testenv.Redis(t), v)
	b.look()
	require.Equal(t, []string{"vault.seal.detected vault.example:8200"}, b.firing())
	v.seal.Progress, v.seal.Attempt = 0, "two"
	b.look()
	require.Contains(t, b.firing(), "vault.unseal.failed vault.example:8200")
	require.Positive(t, b.told(cards.VaultUnsealFailedEvent))
	v.seal = secrets.Seal{}
	b.look()
	require.Empty(t, b.firing())

	v.status = secrets.Status{Failures: 1, Err: &fault.Error{Op: "renew", Kind: fault.Unavailable, Safe: "Vault is away"}}
	require.NoError(t, b.Own(t.Context()))
	require.Empty(t, b.firing(), "once may be chance")
	v.status.Failures = 2
	require.NoError(t, b.Own(t.Context()))
	require.Len(t, b.firing(), 1)
	require.Contains(t, b.firing()[0], "vault.token.renewal.failed ")
	v.status = secrets.Status{LoggedIn: true}
	require.NoError(t, b.Own(t.Context()))
	require.Empty(t, b.firing())
}

// TestARedisReplicaStops: a real one, frozen and then killed.
func TestARedisReplicaStops(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	master, err := localserver.StartRedis(ctx, localserver.RedisOptions{Args: []string{"--repl-diskless-sync-delay", "0", "--repl-timeout", "5", "--repl-ping-replica-period", "1"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, master.Remove()) })
	host, port, _ := strings.Cut(master.Addr(), ":")
	replica, err := localserver.StartRedis(ctx, localserver.RedisOptions{Args: []string{"--replicaof", host + " " + port}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, replica.Remove()) })
	rc, err := broker.Connect(master.URL("", ""))
	require.NoError(t, err)
	t.Cleanup(func() { _ = rc.Close() })
	b := newBench(t, testenv.Pool(t), rc, nil)
	testenv.Eventually(t, func() bool {
		info, err := rc.Info(ctx, "replication").Result()
		return err == nil && strings.Contains(info, "state=online")
	}, "the replica follows")
	b.look()
	require.Empty(t, b.firing())

	require.NoError(t, replica.Freeze())
	testenv.Eventually(t, func() bool { b.look(); return len(b.firing()) == 1 }, "its lag is seen")
	require.Equal(t, []string{"redis.replica.lagging " + replica.Addr()}, b.firing())
	testenv.Eventually(t, func() bool { b.look(); return b.firing()[0] == "redis.node.down "+replica.Addr() }, "the master gives it up")
	require.Equal(t, 1, b.told(cards.RedisNodeDownEvent), "CRITICAL: at once")
	replica.Thaw()
	testenv.Eventually(t, func() bool { b.look(); return len(b.firing()) == 0 }, "it is back")
	require.Equal(t, 2, b.told(cards.RedisNodeDownEvent))

	master.Kill()
	b.look()
	b.look()
	require.Contains(t, b.firing(), "redis.node.down redis")
}

// TestPostgresRunsOutOfConnections: a real one, with ten.
func TestPostgresRunsOutOfConnections(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	pg, err := localserver.StartPostgres(ctx, localserver.PostgresOptions{Settings: []string{"max_connections=13", "superuser_reserved_connections=3"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pg.Remove()) })
	url := pg.URL("postgres", "postgres")
	_, err = migrations.Up(ctx, url)
	require.NoError(t, err)
	pool, err := store.Open(ctx, url, 2)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	b := newBench(t, pool, testenv.Redis(t), nil)
	b.look()
	require.Empty(t, b.firing())
	var taken []*pgx.Conn
	for range 8 {
		c, err := pgx.Connect(ctx, url)
		require.NoError(t, err)
		taken = append(taken, c)
	}
	b.look()
	require.Len(t, b.firing(), 1)
	require.Contains(t, b.firing()[0], "postgres.connection.exhausted ")
	require.Equal(t, 1, b.told(cards.PostgresConnectionsEvent))
	for _, c := range taken {
		require.NoError(t, c.Close(ctx))
	}
	testenv.Eventually(t, func() bool { b.look(); return len(b.firing()) == 0 }, "they are free again")
}

// TestAPostgresStandbyFallsBehind: a real one, frozen.
func TestAPostgresStandbyFallsBehind(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	pair, err := localserver.StartPostgresPair(ctx, localserver.PostgresOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pair.Remove()) })
	url := pair.Nodes[0].URL("postgres", "postgres")
	_, err = migrations.Up(ctx, url)
	require.NoError(t, err)
	pool, err := store.Open(ctx, url, 4)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	b := newBench(t, pool, testenv.Redis(t), nil)
	testenv.Eventually(t, func() bool { b.look(); return len(b.firing()) == 0 }, "it follows")
	require.NoError(t, pair.Nodes[1].Freeze())
	_, err = pool.Exec(ctx, `CREATE TABLE ballast AS SELECT n, md5(n::text) FROM generate_series(1, 1000) AS n`)
	require.NoError(t, err)
	testenv.Eventually(t, func() bool { b.look(); return len(b.firing()) == 1 }, "its lag is seen")
	require.Contains(t, b.firing()[0], "system.postgres.replication_lag ")
	require.Equal(t, 1, b.told(cards.PostgresReplicationLagEvent), "HIGH: at once")
	pair.Nodes[1].Thaw()
	testenv.Eventually(t, func() bool { b.look(); return len(b.firing()) == 0 }, "it has caught up")
}

func TestThresholds(t *testing.T) {
	b := newBench(t, testenv.Pool(t), testenv.Redis(t), nil)
	ctx := t.Context()
	letter := func(i int) {
		_, _, _, err := b.store.RecordDeadLetter(ctx, store.DeadLetter{Queue: tasks.QueuePoll, TaskType: tasks.TypePoll, TaskID: fmt.Sprint(i), Reference: fmt.Sprint("PR-", i), ErrorKind: "network", LastFailedAt: b.now}, nil)
		require.NoError(t, err)
	}
	letter(1)
	letter(2)
	for range 4 {
		_, err := b.queue.Enqueue(ctx, tasks.NewSubmit(uuid.New(), 1))
		require.NoError(t, err)
	}
	b.look()
	require.Empty(t, b.firing())
	letter(3)
	_, err := b.queue.Enqueue(ctx, tasks.NewSubmit(uuid.New(), 1))
	require.NoError(t, err)
	b.look()
	require.ElementsMatch(t, []string{"dlq.threshold all", "queue.backlog nphies-submit"}, b.firing())
	require.Equal(t, 1, b.told(cards.DLQThresholdEvent))
	require.Zero(t, b.told(cards.QueueBacklogEvent), "MEDIUM: it is waited with")
	b.now = b.now.Add(31 * time.Second)
	b.look()
	require.Equal(t, 1, b.told(cards.QueueBacklogEvent))

	// Old work counts by the record, whatever asynq says.
	_, err = b.queue.Inspector().DeleteAllPendingTasks(tasks.QueueSubmit)
	require.NoError(t, err)
	_, err = b.pool.Exec(ctx, `UPDATE dead_letters SET state = 'resolved'`)
	require.NoError(t, err)
	b.look()
	require.Empty(t, b.firing())
	_, err = b.pool.Exec(ctx, `INSERT INTO claims (id, license, identifier_system, identifier_value, payer, header_id, bundle_id, source_hash, created_at) VALUES (gen_random_uuid(), 'L', 's', 'v', 'p', 'h', 'b', 'x', $1)`, b.now.Add(-2*time.Hour))
	require.NoError(t, err)
	b.look()
	require.Equal(t, []string{"queue.backlog nphies-submit"}, b.firing())
	require.NoError(t, b.queue.Inspector().PauseQueue(tasks.QueueSubmit))
	b.look()
	list, err := b.store.Conditions(ctx, false)
	require.NoError(t, err)
	require.Contains(t, string(list[0].Details), `"paused"`)
}

// TestAWorkerDies: one that stops in good order is not missed; one that dies is, until another on its host takes its place.
func TestAWorkerDies(t *testing.T) {
	b := newBench(t, testenv.Pool(t), testenv.Redis(t), nil)
	ctx := t.Context()
	_, release, ok, err := b.store.Hold(ctx, store.LeaseWorker, "stopped")
	require.NoError(t, err)
	require.True(t, ok)
	release()
	worker := func(key, host, since, until string) {
		_, err := b.pool.Exec(ctx, `INSERT INTO leases (kind, key, token, holder, since, until) VALUES ('worker', $1, gen_random_uuid(), $2 || '/42', clock_timestamp() - $3::interval, clock_timestamp() - $4::interval)`,
			key, host, since, until)
		require.NoError(t, err)
	}
	worker("busy", "a", "1 hour", "-5 seconds")
	worker("blip", "b", "1 hour", "5 seconds")
	worker("dead", "c", "1 hour", "2 minutes")
	b.look()
	require.Equal(t, []string{"worker.offline dead"}, b.firing())
	require.Equal(t, 1, b.told(cards.WorkerOfflineEvent))
	abandoned, err := b.store.AbandonedLeases(ctx, 10)
	require.NoError(t, err)
	require.Empty(t, abandoned, "a worker is no work to be taken over")
	worker("new", "c", "1 minute", "-10 seconds")
	b.look()
	require.Empty(t, b.firing())
	require.Equal(t, 2, b.told(cards.WorkerOfflineEvent))
	list, err := b.store.Workers(ctx)
	require.NoError(t, err)
	require.Len(t, list, 3, "the dead one is forgotten")
}
