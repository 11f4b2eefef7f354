// Package broker is the schedule in Redis: it connects, checks that Redis may be trusted with tasks, and enqueues.
package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/tasks"
)

func init() {
	// go-redis would print each failed dial to stderr; the errors it returns say the same.
	redis.SetLogger(quiet{})
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// Connect makes a client for REDIS_URL: redis://, rediss://, unix://, redis+sentinel://h1,h2/master/db and
// redis+cluster://h1,h2, the last two also as rediss+… It does not dial. The caller closes the client. asynq's own parser is
// not used: it drops the user name.
func Connect(address string) (redis.UniversalClient, error) {
	bad := func(problem string) error {
		return &fault.Error{
			Op: "REDIS_URL", Kind: fault.Config, Permanent: true,
			Safe: problem + "; want redis://user:password@host:6379/0, rediss://…, unix:///path, redis+sentinel://h1,h2/master/0 or redis+cluster://h1,h2",
		}
	}
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return nil, bad("not an address")
	}
	switch scheme {
	case "redis", "rediss", "unix":
		o, err := redis.ParseURL(address)
		if err != nil {
			return nil, bad("not an address of Redis")
		}
		o.ContextTimeoutEnabled = true
		return redis.NewClient(o), nil
	case "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster":
	default:
		return nil, bad("unknown scheme " + strconv.Quote(scheme))
	}
	// Several hosts are no host to net/url: take them apart first.
	authority, path, _ := strings.Cut(rest, "/")
	var user *url.Userinfo
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		u, err := url.Parse("redis://" + authority[:i] + "@h")
		if err != nil {
			return nil, bad("the user or password needs percent-encoding")
		}
		user, authority = u.User, authority[i+1:]
	}
	var hosts []string
	for h := range strings.SplitSeq(authority, ",") {
		if h == "" {
			return nil, bad("a host is empty")
		}
		if !strings.Contains(h, ":") {
			if strings.HasSuffix(scheme, "sentinel") {
				h += ":26379"
			} else {
				h += ":6379"
			}
		}
		hosts = append(hosts, h)
	}
	password, _ := user.Password()
	var tlsConfig *tls.Config
	if strings.HasPrefix(scheme, "rediss") {
		tlsConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if strings.HasSuffix(scheme, "cluster") {
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: hosts, Username: user.Username(), Password: password, TLSConfig: tlsConfig, ContextTimeoutEnabled: true,
		}), nil
	}
	master, db, _ := strings.Cut(path, "/")
	number := 0
	if db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || n < 0 {
			return nil, bad("the database is not a number")
		}
		number = n
	}
	if master == "" {
		return nil, bad("the name of the master is missing")
	}
	return redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: master, SentinelAddrs: hosts, Username: user.Username(), Password: password, DB: number, TLSConfig: tlsConfig, ContextTimeoutEnabled: true,
	}), nil
}

// Check refuses a Redis that would lose or hide tasks: older than 6.2, or with eviction on. warnings name what is allowed but
// unwise (no append-only file).
func Check(ctx context.Context, rc redis.UniversalClient) (warnings []string, err error) {
	info, err := rc.Info(ctx).Result()
	if err != nil {
		return nil, &fault.Error{Op: "check Redis", Kind: fault.Unavailable, Safe: "Redis does not answer", Err: err}
	}
	return check(info)
}

func check(info string) (warnings []string, err error) {
	fields := map[string]string{}
	for line := range strings.Lines(info) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[k] = v
		}
	}
	refuse := func(problem string) error {
		return &fault.Error{Op: "check Redis", Kind: fault.Config, Safe: problem, Permanent: true}
	}
	version := fields["redis_version"]
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return nil, refuse("Redis does not tell its version")
	}
	if major < 6 || (major == 6 && minor < 2) {
		return nil, refuse("Redis " + version + " is too old: it never archives failed tasks; want 6.2 or later")
	}
	if p := fields["maxmemory_policy"]; p != "noeviction" {
		return nil, refuse("maxmemory-policy is " + p + ": Redis would drop tasks when memory runs short; set it to noeviction")
	}
	if fields["aof_enabled"] == "0" {
		warnings = append(warnings, "Redis has no append-only file: after its restart the tasks are made anew from PostgreSQL, which takes a while")
	}
	return warnings, nil
}

// Ping asks Redis for an answer.
func Ping(ctx context.Context, rc redis.UniversalClient) error {
	if err := rc.Ping(ctx).Err(); err != nil {
		return &fault.Error{Op: "ping Redis", Kind: fault.Unavailable, Safe: "Redis does not answer", Err: err}
	}
	return nil
}

// Queue enqueues tasks and looks after them. It is safe for concurrent use.
type Queue struct {
	rc     redis.UniversalClient
	client *asynq.Client
	insp   *asynq.Inspector
	now    func() time.Time
}

// New returns a Queue on a client, which the caller closes.
func New(rc redis.UniversalClient) *Queue {
	return &Queue{rc: rc, client: asynq.NewClientFromRedisClient(rc), insp: asynq.NewInspectorFromRedisClient(rc), now: time.Now}
}

// Inspector is asynq's view of the queues.
func (q *Queue) Inspector() *asynq.Inspector { return q.insp }

// Enqueue puts a task into its queue. existed is true when a task with this id is there already: the wish is granted.
func (q *Queue) Enqueue(ctx context.Context, t tasks.Task, opts ...asynq.Option) (existed bool, err error) {
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
	existed, err := q.Enqueue(ctx, tasks.NewNotify(channel, at), asynq.ProcessAt(at))
	if err != nil || !existed {
		return err
	}
	next := at.Truncate(time.Second).Add(time.Second)
	_, err = q.Enqueue(ctx, tasks.NewNotify(channel, next), asynq.ProcessAt(next))
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
