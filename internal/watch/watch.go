// Package watch looks after the servers that nphiesq needs and after its own fleet, and turns what it sees into conditions that people
// are told of: Vault's seal and our login there, Redis and its replicas, PostgreSQL's connections and replicas, dead letters,
// queues, workers.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/secrets"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

// Notifier wishes for channels to be drained.
type Notifier interface {
	Notify(ctx context.Context, channels ...string) error
}

// Inspector is asynq's view of the queues.
type Inspector interface {
	GetQueueInfo(queue string) (*asynq.QueueInfo, error)
}

// Vault is what is watched of Vault.
type Vault interface {
	Seal(ctx context.Context) (secrets.Seal, error)
	Status() secrets.Status
	Address() string
}

// Options are the settings.
type Options struct {
	// Interval is the time between two looks of all workers together.
	Interval time.Duration
	// DeadLetters is how many open dead letters are too many; 0 for any number.
	DeadLetters int
	// BacklogSize and BacklogAge are how long a queue may be, and how old its oldest pending task; 0 for no limit.
	BacklogSize int
	BacklogAge  time.Duration
	// ReplicaLag is how far a replica may be behind, of Redis or PostgreSQL.
	ReplicaLag time.Duration
	// Version of this program.
	Version string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// connectionsPercent is how much of PostgreSQL's connections may be in use.
const connectionsPercent = 90

// Watch looks again and again. Each worker has one; what all would see alike is looked at by one of them.
type Watch struct {
	store  *store.Store
	redis  redis.UniversalClient
	queues Inspector
	vault  Vault // nil without Vault
	notify Notifier
	log    *slog.Logger
	opt    Options

	host string
	memory
}

// memory is what a look needs to know of the one before, which another worker may have made. It is kept in the record.
type memory struct {
	// Seal is what was seen last of an attempt to unseal.
	Seal secrets.Seal `json:"seal"`
	// Silent counts looks in a row at which Redis did not answer: one may be chance.
	Silent int `json:"silent"`
	// Replicas are those of Redis that were seen, so that one that is gone is missed.
	Replicas map[string]bool `json:"replicas"`
}

// memoryKey names it in the record.
const memoryKey = "watch"

// New returns a Watch. vault may be nil.
func New(s *store.Store, rc redis.UniversalClient, q Inspector, vault Vault, n Notifier, log *slog.Logger, o Options) *Watch {
	if o.Now == nil {
		o.Now = time.Now
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &Watch{store: s, redis: rc, queues: q, vault: vault, notify: n, log: log, opt: o, host: host}
}

// Run looks until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	tick := time.NewTicker(w.opt.Interval)
	defer tick.Stop()
	for {
		if err := errors.Join(w.Own(ctx), w.once(ctx)); err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "the watch was cut short", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *Watch) once(ctx context.Context) error {
	ctx, release, ok, err := w.store.Duty(ctx, "watch", w.opt.Interval)
	if err != nil || !ok {
		return err
	}
	defer release()
	return w.Once(ctx)
}

// Once looks at what all workers would see alike. One look that fails does not keep the others from being made.
func (w *Watch) Once(ctx context.Context) error {
	w.memory = memory{}
	if err := w.store.Recall(ctx, memoryKey, &w.memory); err != nil {
		return err // a database that cannot be asked cannot take a condition either
	}
	if w.Replicas == nil {
		w.Replicas = map[string]bool{}
	}
	return errors.Join(w.sealed(ctx), w.lookAtRedis(ctx), w.postgres(ctx), w.letters(ctx), w.backlogs(ctx), w.workers(ctx), w.tell(ctx), w.store.Remember(ctx, memoryKey, w.memory))
}

// Own looks at what is this worker's alone: its login to Vault.
func (w *Watch) Own(ctx context.Context) error {
	if w.vault == nil {
		return nil
	}
	st := w.vault.Status()
	id := w.host
	if st.Err == nil || st.Failures < 2 {
		return w.clear(ctx, cards.VaultTokenRenewalFailedEvent, id)
	}
	return w.raise(ctx, store.Condition{Type: cards.VaultTokenRenewalFailedEvent, Identity: id, Details: cards.VaultToken{
		Cluster: hostOf(w.vault.Address()), Failure: string(fault.KindOf(st.Err)), ValidUntil: st.ExpiresAt, Attempts: st.Failures, UsedBy: "worker on " + w.host,
		Detail: fault.Of(st.Err).Error(),
	}})
}

func (w *Watch) raise(ctx context.Context, c store.Condition) error {
	c.Lapse = max(10*w.opt.Interval, 10*time.Minute)
	channels, err := w.store.Raise(ctx, c)
	return w.passOn(ctx, channels, err)
}

func (w *Watch) clear(ctx context.Context, t cards.EventType, identity string) error {
	channels, err := w.store.Clear(ctx, t, identity)
	return w.passOn(ctx, channels, err)
}

// tell tells what is due of all that holds, also of what others raised.
func (w *Watch) tell(ctx context.Context) error {
	lapsed, err := w.store.Lapsed(ctx)
	if err != nil {
		return err
	}
	for _, c := range lapsed { // a node that got another name, a worker that is gone, an alert whose end was lost
		if err := w.clear(ctx, c.Type, c.Identity); err != nil {
			return err
		}
	}
	channels, err := w.store.TellConditions(ctx)
	return w.passOn(ctx, channels, err)
}

// passOn asks for the channels to be drained. That Redis is away may be just what is told: the reconciler finds the rows.
func (w *Watch) passOn(ctx context.Context, channels []string, err error) error {
	if err != nil || len(channels) == 0 {
		return err
	}
	if err := w.notify.Notify(ctx, channels...); err != nil {
		w.log.WarnContext(ctx, "notifications wait for the reconciler", slog.String("error", err.Error()))
	}
	return nil
}

// hold raises a condition or clears it.
func (w *Watch) hold(ctx context.Context, holds bool, c store.Condition) error {
	if holds {
		return w.raise(ctx, c)
	}
	return w.clear(ctx, c.Type, c.Identity)
}

func (w *Watch) sealed(ctx context.Context) error {
	if w.vault == nil {
		return nil
	}
	node := hostOf(w.vault.Address())
	s, err := w.vault.Seal(ctx)
	if err != nil {
		w.log.WarnContext(ctx, "Vault does not answer", slog.String("error", err.Error()))
		return nil // that it does not answer shows in the login; whether it is sealed, nobody knows
	}
	before := w.Seal
	w.Seal = s
	d := cards.VaultSeal{Cluster: s.Cluster, Node: node, SealType: s.Type, Progress: s.Progress, Threshold: s.Threshold, Version: s.Version}
	if d.Cluster == "" {
		d.Cluster = node
	}
	err = w.hold(ctx, s.Sealed, store.Condition{Type: cards.VaultSealEvent, Identity: node, Details: d})
	if !s.Sealed {
		return errors.Join(err, w.clear(ctx, cards.VaultUnsealFailedEvent, node))
	}
	// Shares were given, and now they are gone while Vault is still sealed: they did not fit together, or somebody began anew.
	if before.Sealed && before.Progress > 0 && s.Attempt != before.Attempt && s.Progress <= before.Progress {
		d.Detail = "The shares of the key that were given did not open Vault."
		err = errors.Join(err, w.raise(ctx, store.Condition{Type: cards.VaultUnsealFailedEvent, Identity: node, Details: d}))
	}
	return err
}

func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Host
	}
	return address
}

// lookAtRedis asks Redis for an answer and for its replicas.
func (w *Watch) lookAtRedis(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	down := store.Condition{Type: cards.RedisNodeDownEvent, Identity: store.RedisMaster, Details: cards.Redis{Instance: "redis", Role: "master", State: "down"}}
	info, err := w.redis.Info(ctx, "replication").Result()
	if err != nil {
		if w.Silent++; w.Silent < 2 {
			return nil
		}
		return w.raise(ctx, down)
	}
	w.Silent = 0
	err = w.clear(ctx, down.Type, down.Identity)
	seen := map[string]bool{}
	for _, r := range replicasOf(info) {
		seen[r.addr] = true
		lag := store.Condition{Type: cards.RedisReplicaLagEvent, Identity: r.addr, Details: cards.Redis{
			Instance: r.addr, Role: "replica", State: "lagging", Lag: r.lag, LagAllowed: w.opt.ReplicaLag, LagBytes: r.behind,
		}}
		err = errors.Join(err, w.hold(ctx, r.lag > w.opt.ReplicaLag, lag), w.clear(ctx, cards.RedisNodeDownEvent, r.addr))
	}
	for addr := range w.Replicas {
		switch {
		case seen[addr]:
		case len(seen) >= len(w.Replicas): // another has taken its place: it is the master now, or has a new address
			delete(w.Replicas, addr)
			err = errors.Join(err, w.clear(ctx, cards.RedisReplicaLagEvent, addr), w.clear(ctx, cards.RedisNodeDownEvent, addr))
		default: // it was there, and the master no longer knows it
			err = errors.Join(err, w.clear(ctx, cards.RedisReplicaLagEvent, addr), w.raise(ctx, store.Condition{
				Type: cards.RedisNodeDownEvent, Identity: addr, Details: cards.Redis{Instance: addr, Role: "replica", State: "down"},
			}))
		}
	}
	for addr := range seen {
		w.Replicas[addr] = true
	}
	return err
}

type replica struct {
	addr   string
	lag    time.Duration
	behind int64
}

// replicasOf reads "slave0:ip=127.0.0.1,port=6380,state=online,offset=1234,lag=0" lines of INFO replication.
func replicasOf(info string) []replica {
	var master int64
	var out []replica
	for line := range strings.Lines(info) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		if name == "master_repl_offset" {
			master, _ = strconv.ParseInt(value, 10, 64) // 0 when Redis says something else
		}
		if !strings.HasPrefix(name, "slave") || !strings.Contains(value, "ip=") {
			continue
		}
		f := map[string]string{}
		for pair := range strings.SplitSeq(value, ",") {
			k, v, _ := strings.Cut(pair, "=")
			f[k] = v
		}
		lag, _ := strconv.Atoi(f["lag"])
		offset, _ := strconv.ParseInt(f["offset"], 10, 64)
		out = append(out, replica{addr: f["ip"] + ":" + f["port"], lag: time.Duration(lag) * time.Second, behind: offset})
	}
	for i := range out {
		out[i].behind = max(0, master-out[i].behind)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].addr < out[j].addr })
	return out
}

func (w *Watch) postgres(ctx context.Context) error {
	h, err := w.store.ServerHealth(ctx)
	if err != nil {
		return err // a database that cannot be asked cannot take a condition either
	}
	d := cards.Postgres{
		Instance: h.Instance, Database: h.Database, State: "exhausted", Connections: h.Connections, MaxConnections: h.MaxConnections,
		LongestTransaction: h.LongestTransaction, LocksWaiting: h.LocksWaiting, Version: h.Version,
	}
	err = w.hold(ctx, h.MaxConnections > 0 && h.Connections*100 >= h.MaxConnections*connectionsPercent, store.Condition{Type: cards.PostgresConnectionsEvent, Identity: h.Instance, Details: d})
	for _, r := range h.Replicas {
		d := cards.Postgres{Instance: r.Name, Database: h.Database, State: "lagging", Lag: r.Lag, LagAllowed: w.opt.ReplicaLag, LagBytes: r.LagBytes, Version: h.Version}
		err = errors.Join(err, w.hold(ctx, r.Lag > w.opt.ReplicaLag, store.Condition{Type: cards.PostgresReplicationLagEvent, Identity: r.Name, Details: d}))
	}
	return err
}

func (w *Watch) letters(ctx context.Context) error {
	if w.opt.DeadLetters == 0 {
		return nil
	}
	s, err := w.store.LetterSummary(ctx)
	if err != nil {
		return err
	}
	return w.hold(ctx, s.Open >= w.opt.DeadLetters, store.Condition{Type: cards.DLQThresholdEvent, Identity: "all", Details: cards.DeadLetters{
		Queue: "all", Waiting: s.Open, Threshold: w.opt.DeadLetters, OldestAt: s.Oldest, LastHour: s.LastHour, TopError: s.TopKind, TopTask: s.TopTask,
	}})
}

func (w *Watch) backlogs(ctx context.Context) error {
	ages, err := w.store.OldestWaiting(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, q := range tasks.Queues() {
		info, err := w.queues.GetQueueInfo(q)
		if errors.Is(err, asynq.ErrQueueNotFound) {
			continue // nothing was ever in it
		}
		if err != nil {
			continue // Redis is away: that is told as such
		}
		// asynq's own age is 0 for tasks that were run again; the record knows when the work came.
		age := time.Duration(0)
		if at, ok := ages[q]; ok {
			age = w.opt.Now().Sub(at)
		}
		d := cards.Backlog{
			Queue: q, State: "growing", Pending: info.Pending, Active: info.Active, Retry: info.Retry, Archived: info.Archived, Oldest: age, Threshold: w.threshold(),
		}
		if info.Paused {
			d.State = "paused"
		} else if info.Active == 0 {
			d.State = "stopped"
		}
		long := w.opt.BacklogSize > 0 && info.Pending >= w.opt.BacklogSize
		old := w.opt.BacklogAge > 0 && age >= w.opt.BacklogAge
		errs = append(errs, w.hold(ctx, long || old, store.Condition{Type: cards.QueueBacklogEvent, Identity: q, Details: d}))
	}
	return errors.Join(errs...)
}

func (w *Watch) threshold() string {
	var parts []string
	if w.opt.BacklogSize > 0 {
		parts = append(parts, fmt.Sprintf("%d pending", w.opt.BacklogSize))
	}
	if w.opt.BacklogAge > 0 {
		parts = append(parts, w.opt.BacklogAge.String())
	}
	return strings.Join(parts, ", ")
}

// removed is after how long a worker that died is taken as removed, or replaced under another name, as long as others work.
const removed = 4 * time.Hour

// workers looks for workers that died. One that was stopped gave its lease back; one that died did not. A worker that starts on the same
// host takes its place.
func (w *Watch) workers(ctx context.Context) error {
	list, err := w.store.Workers(ctx)
	if err != nil {
		return err
	}
	alive := 0
	newest := map[string]time.Time{} // by host, the latest start of one that lives
	for _, x := range list {
		if x.Alive {
			alive++
			if x.Since.After(newest[x.Host]) {
				newest[x.Host] = x.Since
			}
		}
	}
	var errs []error
	for _, x := range list {
		if x.Alive {
			continue
		}
		c := store.Condition{Type: cards.WorkerOfflineEvent, Identity: x.Key, Details: cards.WorkerOffline{
			Worker: x.Holder, Host: x.Host, LastSeen: x.LastSeen, Alive: alive, Expected: alive + 1, Version: w.opt.Version,
		}}
		if newest[x.Host].After(x.LastSeen) || alive > 0 && w.opt.Now().Sub(x.LastSeen) > removed {
			errs = append(errs, w.clear(ctx, c.Type, c.Identity), w.store.ForgetWorker(ctx, x.Key))
			continue
		}
		errs = append(errs, w.raise(ctx, c))
	}
	return errors.Join(errs...)
}
