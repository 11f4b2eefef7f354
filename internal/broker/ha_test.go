package broker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/localserver"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/signing"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

// bounded is generous: it ends a test that hangs, not one on a busy machine.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

const password = "p@ss/wörd:1"

// users reads an ACL file as it is delivered.
func users(t *testing.T, file string) []string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("../../deploy/redis", file))
	require.NoError(t, err)
	require.Contains(t, string(body), ">CHANGE-ME ")
	return strings.Split(strings.TrimSpace(strings.ReplaceAll(string(body), ">CHANGE-ME ", ">"+password+" ")), "\n")
}

func authority(t *testing.T) *localserver.Authority {
	t.Helper()
	a, err := localserver.NewAuthority(t.TempDir())
	require.NoError(t, err)
	return a
}

func connect(t *testing.T, address string, opts ...broker.Option) redis.UniversalClient {
	t.Helper()
	rc, err := broker.Connect(address, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rc.Close() })
	return rc
}

// refusals are the entries of a server's ACL LOG.
func refusals(t *testing.T, n *localserver.RedisNode) []any {
	t.Helper()
	answer, err := n.Do(t.Context(), "ACL", "LOG")
	require.NoError(t, err)
	list, _ := answer.([]any)
	return list
}

// run is a producer and an asynq server that share nothing but Redis, and what was handled.
type run struct {
	t        *testing.T
	queue    *broker.Queue
	worker   redis.UniversalClient
	look     *broker.Queue // the producer may not look at tasks
	mu       sync.Mutex
	handled  map[string]int
	accepted []tasks.Task
	repeated int
}

func newRun(t *testing.T, producer, worker redis.UniversalClient) *run {
	t.Helper()
	r := &run{t: t, queue: broker.New(producer), look: broker.New(worker), worker: worker, handled: map[string]int{}}
	r.serve()
	return r
}

// serve starts an asynq server.
func (r *run) serve() {
	r.t.Helper()
	srv := asynq.NewServerFromRedisClient(r.worker, asynq.Config{
		Queues: map[string]int{tasks.QueueSubmit: 1}, Concurrency: 4, TaskCheckInterval: 50 * time.Millisecond, DelayedTaskCheckInterval: 200 * time.Millisecond,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 0 }, LogLevel: asynq.FatalLevel,
	})
	require.NoError(r.t, srv.Start(asynq.HandlerFunc(func(ctx context.Context, _ *asynq.Task) error {
		id, _ := asynq.GetTaskID(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.handled[id]++
		return nil
	})))
	r.t.Cleanup(srv.Shutdown)
}

// put enqueues n tasks, each for as long as it takes.
func (r *run) put(ctx context.Context, n int) {
	r.t.Helper()
	for range n {
		task := tasks.NewSubmit(uuid.New(), 1)
		testenv.Eventually(r.t, func() bool { _, err := r.queue.Enqueue(ctx, task); return err == nil }, "the task is taken")
		r.accepted = append(r.accepted, task)
	}
}

// underWay waits until n tasks were handled.
func (r *run) underWay(n int) {
	r.t.Helper()
	testenv.Eventually(r.t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.handled) >= n }, "tasks are handled")
}

func (r *run) missing() []tasks.Task {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.accepted), func(task tasks.Task) bool { return r.handled[task.ID] > 0 })
}

// settle waits until every accepted task was handled. What a lost master took with it is enqueued again, as the reconciler does.
// A task that was fetched in the very moment of the loss is taken for running until its lease ends: half a minute, and up to a
// minute more until asynq looks. Here the lease is ended on master, and a second server looks at once.
func (r *run) settle(ctx context.Context, master func() (*localserver.RedisNode, error)) {
	r.t.Helper()
	quiet := time.After(5 * time.Second)
	for ctx.Err() == nil {
		missing := r.missing()
		if len(missing) == 0 {
			return
		}
		for _, task := range missing {
			if state, err := r.look.TaskState(tasks.QueueSubmit, task.ID); err != nil || state != "" {
				continue
			}
			if existed, err := r.queue.Enqueue(ctx, task); err == nil && !existed {
				r.repeated++
			}
		}
		tick := time.NewTimer(50 * time.Millisecond)
		select {
		case <-quiet:
			n, err := master()
			require.NoError(r.t, err)
			for _, task := range missing {
				_, err := n.Do(ctx, "ZADD", "asynq:{"+tasks.QueueSubmit+"}:lease", "XX", "0", task.ID)
				require.NoError(r.t, err)
			}
			r.t.Logf("%d tasks were in flight when the master was lost", len(missing))
			r.serve()
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	require.Empty(r.t, r.missing(), "tasks that were never handled")
}

func (r *run) report(what string, since time.Time) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	twice := 0
	for _, n := range r.handled {
		if n > 1 {
			twice++
		}
	}
	r.t.Logf("%s: %d tasks handled, writes went on after %v; %d were lost with the master and given again, %d ran twice",
		what, len(r.handled), time.Since(since).Round(10*time.Millisecond), r.repeated, twice)
}

// TestSentinelFailover loses one master by kill -9 and the next by a freeze, over TLS, with least rights everywhere.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	ca := authority(t)
	g, err := localserver.StartSentinel(ctx, localserver.SentinelOptions{
		RedisOptions: localserver.RedisOptions{
			Authority: ca, Users: users(t, "users.acl"), Args: []string{"--masteruser", "nphiesq-replica", "--masterauth", password},
		},
		SentinelUsers: users(t, "sentinel-users.acl"), User: "nphiesq-sentinel", Password: password,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Remove()) })
	opts := []broker.Option{broker.TLSFiles(ca.CAFile(), "", ""), broker.SentinelLogin("nphiesq", password)}
	producer, worker := connect(t, g.URL("nphiesq-enqueue", password), opts...), connect(t, g.URL("nphiesq-worker", password), opts...)
	_, err = broker.Check(ctx, worker)
	require.NoError(t, err)
	r := newRun(t, producer, worker)
	r.put(ctx, 100)
	r.underWay(20)
	for _, fail := range []struct {
		what string
		do   func(*localserver.RedisNode)
	}{
		{"master killed", func(n *localserver.RedisNode) { n.Kill() }},
		{"master frozen", func(n *localserver.RedisNode) { require.NoError(t, n.Freeze()) }},
	} {
		master, err := g.Master(ctx)
		require.NoError(t, err)
		fail.do(master)
		since := time.Now()
		r.put(ctx, 1)
		r.report(fail.what, since)
		r.put(ctx, 100)
		if !master.Running() {
			testenv.Eventually(t, func() bool {
				next, err := g.Master(ctx)
				if err != nil {
					return false
				}
				info, err := next.Info(ctx, "replication")
				return err == nil && strings.Contains(info["slave0"]+info["slave1"], "state=online")
			}, "there is a replica for the second fault")
		}
	}
	r.settle(ctx, func() (*localserver.RedisNode, error) { return g.Master(ctx) })
	r.report("in the end", time.Now())
	for _, n := range append(slices.Clone(g.Redis), g.Sentinels...) {
		n.Thaw()
		if !n.Running() {
			continue
		}
		testenv.Eventually(t, func() bool { _, err := n.Do(ctx, "PING"); return err == nil }, "the server answers")
		require.Empty(t, refusals(t, n))
	}

	_, err = broker.Check(ctx, connect(t, g.URL("nphiesq-worker", "wrong"), opts...))
	require.True(t, fault.Is(err, fault.Config), "%v", err)
	require.ErrorContains(t, err, "REDIS_URL")
	_, err = broker.Check(ctx, connect(t, g.URL("nphiesq-worker", password), opts[0], broker.SentinelLogin("nphiesq", "wrong")))
	require.Error(t, err)
	t.Log(err)
}

// TestCluster uses everything that we use on a cluster, with least rights, and then loses a master.
func TestCluster(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	c, err := localserver.StartCluster(ctx, localserver.RedisOptions{Users: users(t, "users.acl")}, true)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Remove()) })
	producer, worker := connect(t, c.URL("nphiesq-enqueue", password)), connect(t, c.URL("nphiesq-worker", password))
	warnings, err := broker.Check(ctx, producer)
	require.NoError(t, err)
	require.Len(t, warnings, 1, "no append-only file, told once for three masters")
	require.NoError(t, broker.Ping(ctx, producer))
	everything(t, worker, connect(t, c.URL("nphiesq-monitor", password)))
	for _, n := range c.Nodes {
		require.Empty(t, refusals(t, n))
	}

	master, err := c.MasterOf(ctx, "asynq:{"+tasks.QueueSubmit+"}:pending")
	require.NoError(t, err)
	_, err = master.Do(ctx, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	require.NoError(t, err)
	_, err = broker.Check(ctx, producer)
	require.ErrorContains(t, err, "noeviction", "each master is asked")
	_, err = master.Do(ctx, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	require.NoError(t, err)

	r := newRun(t, producer, worker)
	r.put(ctx, 100)
	r.underWay(20)
	master.Kill()
	since := time.Now()
	r.put(ctx, 1)
	r.report("master of the cluster killed", since)
	r.put(ctx, 100)
	r.settle(ctx, func() (*localserver.RedisNode, error) { return c.MasterOf(ctx, "asynq:{"+tasks.QueueSubmit+"}:lease") })
	r.report("in the end", time.Now())
	require.NoError(t, broker.New(worker).Register(ctx))
	testenv.Eventually(t, func() bool { _, err := broker.Check(ctx, worker); return err == nil }, "the check forgets the lost master")
}

// everything calls what our programs call, on every queue: their keys are in different slots of a cluster.
func everything(t *testing.T, rc, monitor redis.UniversalClient) {
	t.Helper()
	ctx := t.Context()
	q := broker.New(rc)
	require.NoError(t, q.Register(ctx))
	insp := q.Inspector()
	names, err := insp.Queues()
	require.NoError(t, err)
	require.ElementsMatch(t, tasks.Queues(), names)

	started, canceled := make(chan string, 10), make(chan struct{}, 10)
	weights := map[string]int{}
	for _, n := range tasks.Queues() {
		weights[n] = 1
	}
	srv := asynq.NewServerFromRedisClient(rc, asynq.Config{
		Queues: weights, Concurrency: 4, TaskCheckInterval: 50 * time.Millisecond, DelayedTaskCheckInterval: 50 * time.Millisecond, JanitorInterval: 100 * time.Millisecond,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 0 }, LogLevel: asynq.FatalLevel,
		ErrorHandler: asynq.ErrorHandlerFunc(func(context.Context, *asynq.Task, error) {}),
	})
	require.NoError(t, srv.Start(asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		switch string(task.Payload()) {
		case "fail":
			return errors.New("on purpose")
		case "wait":
			if n, _ := asynq.GetRetryCount(ctx); n > 0 {
				return nil
			}
			id, _ := asynq.GetTaskID(ctx)
			started <- id
			<-ctx.Done()
			canceled <- struct{}{}
			return asynq.SkipRetry
		}
		_, err := task.ResultWriter().Write([]byte("done"))
		return err
	})))
	defer srv.Shutdown()
	client := asynq.NewClientFromRedisClient(rc)
	put := func(queue, payload string, o ...asynq.Option) *asynq.TaskInfo {
		t.Helper()
		info, err := client.EnqueueContext(ctx, asynq.NewTask("test", []byte(payload)), append(o, asynq.Queue(queue), asynq.TaskID(uuid.NewString()))...)
		require.NoError(t, err)
		return info
	}
	is := func(queue, id string, want asynq.TaskState) {
		t.Helper()
		testenv.Eventually(t, func() bool {
			info, err := insp.GetTaskInfo(queue, id)
			return err == nil && info.State == want
		}, "task %s is %s", id, want)
	}
	for _, queue := range tasks.Queues() {
		kept := put(queue, "", asynq.Retention(time.Hour))
		gone := put(queue, "")
		short := put(queue, "", asynq.Retention(time.Second), asynq.ProcessIn(100*time.Millisecond))
		dead := put(queue, "fail", asynq.MaxRetry(1))
		later := put(queue, "", asynq.ProcessIn(time.Hour))
		unique, err := client.EnqueueContext(ctx, asynq.NewTask("test", []byte("unique")), asynq.Queue(queue), asynq.Unique(time.Hour))
		require.NoError(t, err)
		is(queue, kept.ID, asynq.TaskStateCompleted)
		is(queue, dead.ID, asynq.TaskStateArchived)
		for _, id := range []string{gone.ID, unique.ID, short.ID} {
			testenv.Eventually(t, func() bool { s, err := q.TaskState(queue, id); return err == nil && s == "" }, "a finished task is gone")
		}
		list, err := insp.ListArchivedTasks(queue, asynq.PageSize(100), asynq.Page(1))
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.NoError(t, insp.RunTask(queue, dead.ID))
		is(queue, dead.ID, asynq.TaskStateArchived)
		require.NoError(t, q.Remove(queue, dead.ID))
		require.NoError(t, q.Remove(queue, later.ID))
		require.NoError(t, q.Remove(queue, kept.ID))
		_, err = insp.GetQueueInfo(queue)
		require.NoError(t, err)
		_, err = insp.History(queue, 2)
		require.NoError(t, err)
		require.NoError(t, insp.PauseQueue(queue))
		require.NoError(t, insp.UnpauseQueue(queue))
		for _, list := range []func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
			insp.ListActiveTasks, insp.ListPendingTasks, insp.ListScheduledTasks, insp.ListRetryTasks, insp.ListCompletedTasks,
		} {
			_, err := list(queue)
			require.NoError(t, err)
		}
	}
	waiting := put(tasks.QueuePoll, "wait")
	require.Equal(t, waiting.ID, <-started)
	servers, err := broker.New(monitor).Inspector().Servers()
	require.NoError(t, err)
	require.Len(t, servers, 1)
	require.NoError(t, insp.CancelProcessing(waiting.ID))
	<-canceled
	testenv.Eventually(t, func() bool { s, err := q.TaskState(tasks.QueuePoll, waiting.ID); return err == nil && s == "" }, "the canceled task was retried")

	limits := ratelimit.New(rc, "teams", ratelimit.Settings{Requests: 60, Period: time.Minute, Burst: 2})
	breaker := ratelimit.NewBreaker(rc, "teams", ratelimit.CircuitSettings{After: 1, For: time.Minute})
	for _, channel := range []string{"SRE", "PMO", "COMPLIANCE"} {
		g, err := limits.Allow(ctx, channel, 3)
		require.NoError(t, err)
		require.Equal(t, 2, g.N)
		require.Positive(t, g.RetryIn)
		require.NoError(t, limits.Pause(ctx, channel, time.Minute))
		g, err = limits.Allow(ctx, channel, 1)
		require.NoError(t, err)
		require.Zero(t, g.N)
		c, err := breaker.Fail(ctx, channel)
		require.NoError(t, err)
		require.Equal(t, ratelimit.Open, c.State)
		require.NoError(t, breaker.Succeed(ctx, channel))
	}
	failures := ratelimit.NewFailures(monitor, "signin", ratelimit.FailureSettings{Limit: 2, Window: time.Minute})
	for range 2 {
		require.NoError(t, failures.Failed(ctx, "192.0.2.1"))
	}
	blocked, err := failures.Blocked(ctx, "192.0.2.1")
	require.NoError(t, err)
	require.Positive(t, blocked)
	require.NoError(t, failures.Forget(ctx, "192.0.2.1"))
	before, err := signing.NewReplays(monitor).Remember(ctx, "actions", "act_1", "sum")
	require.NoError(t, err)
	require.Empty(t, before)
	before, err = signing.NewReplays(monitor).Remember(ctx, "actions", "act_1", "other")
	require.NoError(t, err)
	require.Equal(t, "sum", before)
}

// TestLeastRights holds each user of deploy/redis/users.acl to what its program does, and to nothing more.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	n, err := localserver.StartRedis(ctx, localserver.RedisOptions{Users: users(t, "users.acl")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Remove()) })

	_, err = broker.Check(ctx, connect(t, n.URL("", "")))
	require.True(t, fault.Is(err, fault.Config), "%v", err)
	_, err = n.Do(ctx, "ACL", "LOG", "RESET")
	require.NoError(t, err)

	worker := connect(t, n.URL("nphiesq-worker", password))
	everything(t, worker, connect(t, n.URL("nphiesq-monitor", password)))
	for _, user := range []string{"nphiesq-enqueue", "nphiesq-operator", "nphiesq-monitor", "nphiesq-worker"} {
		rc := connect(t, n.URL(user, password))
		_, err := broker.Check(ctx, rc)
		require.NoError(t, err, user)
		require.NoError(t, broker.Ping(ctx, rc))
		q := broker.New(rc)
		task := tasks.NewSubmit(uuid.New(), 1)
		for i := range 2 {
			existed, err := q.Enqueue(ctx, task)
			require.NoError(t, err, user)
			require.Equal(t, i == 1, existed)
		}
		require.NoError(t, q.NotifyAt(ctx, "SRE", time.Now().Add(time.Hour)))
		if user != "nphiesq-enqueue" {
			state, err := q.TaskState(tasks.QueueSubmit, task.ID)
			require.NoError(t, err, user)
			require.Equal(t, "pending", state)
			require.NoError(t, q.Remove(tasks.QueueSubmit, task.ID), user)
		}
	}
	require.Empty(t, refusals(t, n))

	for user, forbidden := range map[string][]string{
		"nphiesq-enqueue":  {"DEL asynq:{teams}:pending", "LRANGE asynq:{teams}:pending 0 -1", "PUBLISH asynq:cancel x", "HSET asynq:servers a b", "GET rate:teams:SRE"},
		"nphiesq-operator": {"LRANGE asynq:{teams}:pending 0 -1", "PUBLISH asynq:cancel x", "GET rate:teams:SRE"},
		"nphiesq-monitor":  {"PUBLISH asynq:cancel x", "GET rate:teams:SRE", "DEL rate:teams:SRE", "INCR rate:teams:SRE", "INCR asynq", "PEXPIRE other 1"},
		"nphiesq-worker":   {"GET other", "PUBLISH other x", "SET rate:other x"},
	} {
		rc := connect(t, n.URL(user, password))
		for _, line := range append(forbidden, "FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "CONFIG GET maxmemory", "CLIENT LIST", "CLIENT KILL TYPE normal", "ACL LIST",
			"SHUTDOWN", "REPLICAOF no one", "SCRIPT FLUSH", "MONITOR", "SAVE", "GET other", "EVAL return(redis.call('GET','other')) 0") {
			var args []any
			for w := range strings.FieldsSeq(line) {
				args = append(args, w)
			}
			err := rc.Do(ctx, args...).Err()
			require.Error(t, err, "%s: %s", user, line)
			require.Regexp(t, "permission|user executing the script can't", err.Error(), "%s: %s", user, line)
		}
	}
	require.NotEmpty(t, refusals(t, n), "the log does notice")
	_, err = n.Do(ctx, "ACL", "SETUSER", "nphiesq-enqueue", "-info")
	require.NoError(t, err)
	_, err = broker.Check(ctx, connect(t, n.URL("nphiesq-enqueue", password)))
	require.True(t, fault.Is(err, fault.Config))
	require.ErrorContains(t, err, "lacks a right")
}

// TestWorkerMayDoWhatAsynqDoes reads the commands in asynq's source, also those of rare moments: an archive that overflows, a
// task whose worker died. A new version of asynq that uses another one is noticed here.
func TestWorkerMayDoWhatAsynqDoes(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	n, err := localserver.StartRedis(ctx, localserver.RedisOptions{Users: users(t, "users.acl")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Remove()) })
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/hibiken/asynq").Output()
	require.NoError(t, err)
	may := func(file, user string, commands ...string) {
		t.Helper()
		body, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "internal/rdb", file))
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`redis\.call\("(\w+)"`).FindAllStringSubmatch(string(body), -1) {
			commands = append(commands, strings.ToLower(m[1]))
		}
		slices.Sort(commands)
		commands = slices.Compact(commands)
		require.Greater(t, len(commands), 20)
		for _, c := range commands {
			args := []string{"ACL", "DRYRUN", user, c}
			if c == "memory" {
				args = append(args, "usage")
			}
			info, err := n.Do(ctx, "COMMAND", "INFO", c)
			require.NoError(t, err)
			arity := fmt.Sprint(info.([]any)[0].([]any)[1])
			words, err := strconv.Atoi(strings.TrimPrefix(arity, "-"))
			require.NoError(t, err)
			for range max(words, 2) - 1 {
				args = append(args, "asynq:{q}:t:x")
			}
			answer, err := n.Do(ctx, args...)
			require.NoError(t, err)
			require.Equal(t, "OK", answer, "%s: %s", user, c)
		}
	}
	// The calls outside of scripts of rdb.go are made by everything().
	may("rdb.go", "nphiesq-worker", "del", "zadd", "sadd")
	may("inspect.go", "nphiesq-worker")
	may("inspect.go", "nphiesq-monitor")
}

// TestTLS: a private authority, a certificate of ours when Redis wants one, and errors that say what is wrong.
func TestTLS(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	ca, other := authority(t), authority(t)
	n, err := localserver.StartRedis(ctx, localserver.RedisOptions{Authority: ca, ClientCertificates: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Remove()) })
	plain, err := localserver.StartRedis(ctx, localserver.RedisOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, plain.Remove()) })
	cert, key, err := ca.Issue("client")
	require.NoError(t, err)
	foreign, foreignKey, err := other.Issue("client")
	require.NoError(t, err)

	_, err = broker.Check(ctx, connect(t, n.URL("", ""), broker.TLSFiles(ca.CAFile(), cert, key)))
	require.NoError(t, err)
	for _, c := range []struct {
		url, ca, cert, key, want string
	}{
		{n.URL("", ""), other.CAFile(), cert, key, "signed by an authority that is not known: name it in REDIS_CA_FILE"},
		{n.URL("", ""), "", cert, key, "signed by an authority that is not known"},
		{n.URL("", ""), ca.CAFile(), "", "", "REDIS_CERT_FILE"},
		{n.URL("", ""), ca.CAFile(), foreign, foreignKey, "REDIS_CERT_FILE"},
		{strings.Replace(n.URL("", ""), "127.0.0.1", "127.0.0.2", 1), ca.CAFile(), cert, key, "does not answer"},
		{strings.Replace(plain.URL("", ""), "redis://", "rediss://", 1), ca.CAFile(), "", "", "check Redis: "}, // it waits for the end of a line, or calls TLS nonsense
		{strings.Replace(n.URL("", ""), "rediss://", "redis://", 1), "", "", "", "does not answer"},
	} {
		rc, err := broker.Connect(c.url, broker.TLSFiles(c.ca, c.cert, c.key))
		require.NoError(t, err)
		_, err = broker.Check(ctx, rc)
		require.ErrorContains(t, err, c.want, "%+v: %v", c, errors.Unwrap(err))
		require.NotContains(t, err.Error(), "127.0.0")
		require.NoError(t, rc.Close())
	}

	// A certificate that was renewed is shown by the next connection.
	renewed := filepath.Join(t.TempDir(), "c.crt")
	renewedKey := filepath.Join(filepath.Dir(renewed), "c.key")
	replace := func(cert, key string) {
		for from, to := range map[string]string{cert: renewed, key: renewedKey} {
			body, err := os.ReadFile(from)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(to, body, 0o600))
		}
	}
	replace(foreign, foreignKey)
	rc := connect(t, n.URL("", ""), broker.TLSFiles(ca.CAFile(), renewed, renewedKey))
	require.Error(t, broker.Ping(ctx, rc))
	replace(cert, key)
	require.NoError(t, broker.Ping(ctx, rc))
}

// TestHungRedis: a server that accepts and never answers costs seconds, also where asynq passes no deadline, and is used again
// once it goes on.
func TestHungRedis(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	n, err := localserver.StartRedis(ctx, localserver.RedisOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Remove()) })
	rc := connect(t, n.URL("", ""))
	q := broker.New(rc)
	require.NoError(t, q.Register(ctx))
	require.NoError(t, n.Freeze())
	var wg sync.WaitGroup
	since := time.Now()
	for what, call := range map[string]func() error{
		"ping without a deadline":    func() error { return broker.Ping(context.Background(), rc) },
		"enqueue without a deadline": func() error { _, err := q.Enqueue(context.Background(), tasks.NewSubmit(uuid.New(), 1)); return err },
		"inspector":                  func() error { _, err := q.TaskState(tasks.QueueSubmit, "x"); return err },
		"ping with a deadline": func() error {
			ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			defer cancel()
			return broker.Ping(ctx, rc)
		},
	} {
		wg.Go(func() {
			if err := call(); !fault.Is(err, fault.Unavailable) {
				t.Errorf("%s: %v", what, err)
			}
			t.Logf("%s: %v", what, time.Since(since).Round(10*time.Millisecond))
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	testenv.Eventually(t, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}, "all calls have ended")
	n.Thaw()
	testenv.Eventually(t, func() bool { return broker.Ping(ctx, rc) == nil }, "it answers again")
}

func TestReplicaIsRefused(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	n, err := localserver.StartRedis(ctx, localserver.RedisOptions{Args: []string{"--replicaof", "127.0.0.1 1"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Remove()) })
	_, err = broker.Check(ctx, connect(t, n.URL("", "")))
	require.True(t, fault.Is(err, fault.Unavailable))
	require.ErrorContains(t, err, "is a replica")
}

func TestWrongSettingsAreNamed(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, c := range []struct {
		url  string
		opt  broker.Option
		want string
	}{
		{"rediss://h", broker.TLSFiles("/nonexistent", "", ""), "REDIS_CA_FILE: config: cannot read the file: no such file or directory"},
		{"rediss://h", broker.TLSFiles(empty, "", ""), "REDIS_CA_FILE: config: holds no certificate"},
		{"rediss://h", broker.TLSFiles("", empty, ""), "REDIS_CERT_FILE: config: set it together with REDIS_KEY_FILE"},
		{"rediss://h", broker.TLSFiles("", "", empty), "REDIS_KEY_FILE: config: set it together with REDIS_CERT_FILE"},
		{"rediss://h", broker.TLSFiles("", empty, empty), "REDIS_CERT_FILE: config: not a certificate"},
		{"redis+sentinel://h/m", broker.TLSFiles(empty, "", ""), "REDIS_CA_FILE: config: is for TLS"},
		{"redis://h", broker.SentinelLogin("", "secret"), "REDIS_SENTINEL_PASSWORD"},
		{"redis+sentinel://h/m", broker.SentinelLogin("u", ""), "REDIS_SENTINEL_USERNAME"},
		{"rediss://h?skip_verify=true", nil, "skip_verify is not allowed"},
		{"redis+cluster://h/3", nil, "database 0 only"},
		{"redis+cluster://h?x=1", nil, "REDIS_URL"},
		{"redis+cluster://u:sec?ret@h", nil, "percent-encoding"},
		{"redis+cluster://h:port", nil, "not host:port"},
		{"redis+cluster://h:70000", nil, "not host:port"},
		{"redis+sentinel://a:b:c/m", nil, "not host:port"},
	} {
		var opts []broker.Option
		if c.opt != nil {
			opts = append(opts, c.opt)
		}
		_, err := broker.Connect(c.url, opts...)
		require.True(t, fault.Is(err, fault.Config), c.url)
		require.ErrorContains(t, err, c.want)
		require.NotContains(t, err.Error(), "ret@h")
	}
	rc, err := broker.Connect("redis+cluster://[::1]:7000,[::2],h")
	require.NoError(t, err)
	require.Equal(t, []string{"[::1]:7000", "[::2]:6379", "h:6379"}, rc.(*redis.ClusterClient).Options().Addrs)
	require.NoError(t, rc.Close())
}
