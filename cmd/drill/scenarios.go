package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/claimlinc/nphiesq/internal/localserver"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/sabotage"
)

type serverKind int

const (
	plain serverKind = iota
	sentinel
	cluster
	postgresPair
)

// scenario is one fault.
type scenario struct {
	name, what string
	// short: it belongs to the short set.
	short   bool
	servers serverKind
	env     map[string]string
	// late: the workers start before their servers; the fault comes first and the load after.
	late bool
	// guards is the promise that it must notice when it is broken on purpose.
	guards string
	// limit is how long the work may stand still after the fault; 0 means a minute.
	limit time.Duration
	// fault runs when a third of the load is in. It returns the moment from which recovery counts.
	fault func(ctx context.Context, t *site) (time.Time, error)
	// check looks at what is special about the scenario.
	check func(ctx context.Context, t *site, r *result)
	// again: cards that left since a backup leave once more, under their old ids.
	again bool
	// repeats: Teams' answer, or the note of it, may be lost: then a card is posted again, under its id and with the same body.
	repeats bool
	// apiCards is the most nphies.api.error events that the fault may cause.
	apiCards int
}

// deathLimit is the promise for a process that is killed.
const deathLimit = 20 * time.Second

// outage is how long servers stay away.
const outage = 10 * time.Second

func scenarios() []scenario {
	return []scenario{
		{
			name: "no-fault", what: "nothing happens: the books balance", short: true, guards: sabotage.DropCards,
			fault: func(context.Context, *site) (time.Time, error) { return time.Now(), nil },
		},
		{
			name: "kill-submitting", repeats: true, what: "kill -9 of a worker while NPHIES has the claim", short: true, guards: sabotage.NoTakeOver, limit: deathLimit,
			fault: killAt("claim-request", before),
		},
		{
			name: "kill-processed", repeats: true, what: "kill -9 of a worker when NPHIES has processed the claim, and not answered", limit: deathLimit,
			fault: killAt("claim-request", after),
		},
		{
			name: "kill-answered", repeats: true, what: "kill -9 of a worker right after the answer", limit: deathLimit,
			fault: killAt("claim-request", answered),
		},
		{
			name: "kill-polling", repeats: true, what: "kill -9 of a worker when its poll has emptied the mailbox", limit: 30 * time.Second,
			fault: killAt("poll-request", after), check: oneReader,
		},
		{
			name: "kill-enqueue", what: "kill -9 of enqueue in mid-file", guards: sabotage.EarlyID,
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				for range 3 {
					t.mu.Lock()
					if t.enqueue != nil {
						_ = t.enqueue.Process.Kill()
					}
					t.mu.Unlock()
					wait(ctx, 700*time.Millisecond)
				}
				return time.Now(), nil
			},
		},
		{
			name: "enqueue-twice", what: "the same file handed in three times at once",
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				var wg sync.WaitGroup
				for range 2 {
					wg.Go(func() { t.handIn(ctx, t.claims, 0) })
				}
				wg.Wait()
				return time.Now(), nil
			},
		},
		{
			name: "graceful-stop", what: "SIGTERM of a worker that waits for slow answers: it finishes what it has begun",
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				// Four claims are with NPHIES, and their answers take three seconds: much longer than anything else in the drill.
				waiting := make(chan struct{}, 100)
				t.gate(0).set(func(g *gate) {
					g.after = func(event string) {
						if event == "claim-request" {
							waiting <- struct{}{}
							wait(ctx, 3*time.Second)
						}
					}
				})
				defer t.gate(0).set(func(g *gate) { g.after = nil })
				for range 2 {
					select {
					case <-waiting:
					case <-time.After(30 * time.Second):
						return time.Now(), errors.New("the worker sends no claims")
					}
				}
				began := time.Now()
				t.workers[0].stop()
				if code := t.workers[0].cmd.ProcessState.ExitCode(); code != 0 {
					return began, fmt.Errorf("the worker ended with %d: %s", code, t.workers[0].log.tail(3))
				}
				return began, t.work(0)
			},
			check: func(_ context.Context, t *site, r *result) {
				for _, c := range t.sim.Claims() {
					if c.Received > 1 && c.Behaviour != "REISSUE" {
						r.problem("%s was sent %d times: something was run again", c.Identifier.Value, c.Received)
					}
				}
			},
		},
		{
			name: "start-order", what: "workers start before Redis and PostgreSQL, and before the schema", late: true,
			fault: startOrder,
		},
		{
			name: "redis-stopped", what: "Redis is killed and stays away for 10 s",
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				t.redis.Kill()
				wait(ctx, outage)
				return time.Now(), t.redis.Start(ctx)
			},
		},
		{
			name: "redis-hung", repeats: true, what: "Redis accepts connections and answers nothing for 10 s",
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				err := t.redis.Freeze()
				wait(ctx, outage)
				t.redis.Thaw()
				return time.Now(), err
			},
		},
		{
			name: "redis-flushed", what: "FLUSHALL, three times", short: true, guards: sabotage.NoReconciler,
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				var errs []error
				for range 3 {
					_, err := t.redis.Do(ctx, "FLUSHALL")
					errs = append(errs, err)
					wait(ctx, time.Second)
				}
				return time.Now(), errors.Join(errs...)
			},
		},
		{
			name: "redis-lost", what: "Redis is killed, and its data with it",
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				t.redis.Kill()
				err := os.RemoveAll(filepath.Join(t.redis.Dir(), "appendonlydir"))
				return time.Now(), errors.Join(err, t.redis.Start(ctx))
			},
		},
		{
			name: "sentinel-failover", what: "the Redis master is killed, a replica takes over", servers: sentinel,
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				m, err := t.sentinel.Master(ctx)
				if err != nil {
					return time.Time{}, err
				}
				m.Kill()
				return time.Now(), nil
			},
		},
		{
			name: "cluster-master-lost", what: "a master of the Redis Cluster is killed, its replica takes over", servers: cluster,
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				m, err := t.cluster.MasterOf(ctx, "asynq:{nphies-submit}:pending")
				if err != nil {
					return time.Time{}, err
				}
				m.Kill()
				return time.Now(), nil
			},
		},
		{
			name: "postgres-restarted", repeats: true, what: "PostgreSQL is restarted", short: true,
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				t.postgres.Stop()
				return time.Now(), t.postgres.Start(ctx)
			},
		},
		{
			name: "postgres-crashed", repeats: true, what: "PostgreSQL is killed and stays away for 10 s",
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				t.postgres.Kill()
				wait(ctx, outage)
				return time.Now(), t.postgres.Start(ctx)
			},
		},
		{
			name: "postgres-hung", repeats: true, what: "PostgreSQL accepts connections and answers nothing for 10 s",
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				err := t.postgres.Freeze()
				wait(ctx, outage)
				t.postgres.Thaw()
				return time.Now(), err
			},
		},
		{
			name: "postgres-cut", repeats: true, what: "all connections to PostgreSQL are cut, again and again",
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				for range 10 {
					_, _ = t.pool.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`) // cut itself, now and then
					wait(ctx, 300*time.Millisecond)
				}
				return time.Now(), nil
			},
		},
		{
			name: "postgres-failover", repeats: true, what: "the primary is killed, the synchronous standby promoted", servers: postgresPair,
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				p, err := t.pair.Primary(ctx)
				if err != nil {
					return time.Time{}, err
				}
				p.Kill()
				at := time.Now()
				for _, n := range t.pair.Nodes {
					if n != p {
						err = t.pair.Promote(ctx, n)
					}
				}
				return at, errors.Join(err, t.look(ctx))
			},
		},
		{
			name: "slow-disks", what: "each commit of PostgreSQL takes 100 ms, Redis syncs each write",
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				_, err := t.redis.Do(ctx, "CONFIG", "SET", "appendfsync", "always")
				for _, sql := range []string{`ALTER SYSTEM SET commit_siblings = 0`, `ALTER SYSTEM SET commit_delay = 100000`, `SELECT pg_reload_conf()`} {
					_, e := t.pool.Exec(ctx, sql)
					err = errors.Join(err, e)
				}
				return time.Now(), err
			},
		},
		{
			name: "nphies-refusing", what: "NPHIES refuses connections for 15 s", guards: sabotage.NoBreaker, apiCards: 2,
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				for _, f := range t.fronts {
					f.down()
				}
				wait(ctx, 15*time.Second)
				var errs []error
				for _, f := range t.fronts {
					errs = append(errs, f.up())
				}
				return time.Now(), errors.Join(errs...)
			},
			check: budgetKept,
		},
		{
			name: "nphies-hanging", what: "NPHIES answers nothing within the timeout for 15 s", apiCards: 2,
			fault: simFault(15*time.Second, nphiessim.Fault{Match: "*", Kind: nphiessim.FaultHang}),
		},
		{
			name: "nphies-cut", what: "NPHIES processes ten claims and cuts the connection", short: true, guards: sabotage.NewBytes, apiCards: 2,
			fault: simFault(time.Second, nphiessim.Fault{Match: "claim-request", Kind: nphiessim.FaultCutAfter, Count: 10}),
		},
		{
			name: "nphies-html", what: "NPHIES answers with HTML 503 for 10 s", apiCards: 2,
			fault: simFault(outage, nphiessim.Fault{Match: "*", Kind: nphiessim.Fault503}),
		},
		{
			name: "poll-answers-lost", what: "six poll answers are lost in transit", short: true, guards: sabotage.ForgetLostPoll, apiCards: 2,
			fault: simFault(3*time.Second, nphiessim.Fault{Match: "poll-request", Kind: nphiessim.FaultCutAfter, Count: 6}),
		},
		{
			name: "two-workers", what: "two workers on one licence: one poll at a time", guards: sabotage.TwoPollers,
			fault: func(context.Context, *site) (time.Time, error) { return time.Now(), nil },
			check: oneReader,
		},
		{
			name: "teams-429", what: "Teams answers 429 for 10 s",
			fault: simFault(outage, nphiessim.Fault{Match: "teams", Kind: nphiessim.Fault429}),
		},
		{
			name: "teams-500", what: "Teams answers 500 for 10 s",
			fault: simFault(outage, nphiessim.Fault{Match: "teams", Kind: nphiessim.Fault500}),
		},
		{
			name: "teams-hanging", repeats: true, what: "Teams takes ten cards and cuts the connection, then hangs for 10 s", guards: sabotage.NewWebhookID,
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				return simFault(outage, nphiessim.Fault{Match: "teams", Kind: nphiessim.FaultCutAfter, Count: 10}, nphiessim.Fault{Match: "teams", Kind: nphiessim.FaultHang})(ctx, t)
			},
		},
		{
			name: "clock-steps", what: "the clock of a worker steps ten minutes ahead, and twenty back", guards: sabotage.OwnClocks,
			fault: func(ctx context.Context, t *site) (time.Time, error) {
				for i, step := range []string{"10m", "-10m"} {
					for n := range t.workers {
						if i == 1 || n == 0 {
							if err := os.WriteFile(t.clockFile(n), []byte(step), 0o600); err != nil {
								return time.Time{}, err
							}
						}
					}
					wait(ctx, 3*time.Second)
				}
				return time.Now(), nil
			},
		},
		{
			name: "restored", repeats: true, what: "all is lost but a backup of PostgreSQL: restore it and go on", again: true,
			fault: restore,
		},
	}
}

type moment int

const (
	before moment = iota
	after
	answered
)

// killAt kills worker 0 at a moment of one of its exchanges.
func killAt(event string, m moment) func(context.Context, *site) (time.Time, error) {
	return func(ctx context.Context, t *site) (time.Time, error) {
		reached, killed := make(chan struct{}), make(chan struct{})
		var once sync.Once
		hook := func(e string) {
			if e != event {
				return
			}
			once.Do(func() { close(reached) })
			<-killed
		}
		g := t.gate(0)
		g.set(func(g *gate) {
			switch m {
			case before:
				g.before = hook
			case after:
				g.after = hook
			case answered:
				g.answered = hook
			}
		})
		select {
		case <-reached:
		case <-ctx.Done():
		case <-time.After(30 * time.Second):
		}
		t.workers[0].kill()
		at := time.Now()
		g.set(func(g *gate) { g.before, g.after, g.answered = nil, nil, nil })
		close(killed)
		select {
		case <-reached:
		default:
			return at, fmt.Errorf("the worker never came to a %s", event)
		}
		return at, nil
	}
}

func (t *site) gate(i int) *gate {
	g, _ := t.fronts[i].handler.(*gate)
	return g
}

// simFault scripts faults of the simulator for a time.
func simFault(d time.Duration, faults ...nphiessim.Fault) func(context.Context, *site) (time.Time, error) {
	return func(ctx context.Context, t *site) (time.Time, error) {
		t.sim.SetFaults(faults...)
		wait(ctx, d)
		t.sim.SetFaults()
		return time.Now(), nil
	}
}

// oneReader: nobody polled a mailbox beside another.
func oneReader(_ context.Context, t *site, r *result) {
	if t.crowded.Load() {
		r.problem("two polls of one licence went on at the same time")
	}
}

// budgetKept: an outage does not use up the attempts of all claims.
func budgetKept(ctx context.Context, t *site, r *result) {
	var attempts int
	if err := t.pool.QueryRow(ctx, `SELECT sum(attempts) FROM claims`).Scan(&attempts); err != nil {
		r.problem("count attempts: %v", err)
		return
	}
	if most := len(t.claims) + 30; attempts > most {
		r.problem("%d attempts for %d claims: the outage used up their budgets", attempts, len(t.claims))
	}
}

// startOrder starts the workers first, then Redis, then PostgreSQL, then makes the schema. Meanwhile they must live and say what
// they wait for.
func startOrder(ctx context.Context, t *site) (time.Time, error) {
	t.redis.Stop()
	t.postgres.Stop()
	for i := range t.fronts {
		if err := t.work(i); err != nil {
			return time.Time{}, err
		}
	}
	says := func(words string) error {
		last := ""
		err := until(ctx, 20*time.Second, "/readyz says "+words, func() bool {
			var ok bool
			ok, last = t.ready(ctx, 0)
			return !ok && strings.Contains(last, words)
		})
		if err != nil {
			return fmt.Errorf("%w; it says %q", err, last)
		}
		return nil
	}
	if err := says("PostgreSQL is away"); err != nil {
		return time.Time{}, err
	}
	if err := t.postgres.Start(ctx); err != nil {
		return time.Time{}, err
	}
	if err := says("migrat"); err != nil {
		return time.Time{}, err
	}
	if err := t.migrate(ctx); err != nil {
		return time.Time{}, err
	}
	if err := says("Redis"); err != nil {
		return time.Time{}, err
	}
	err := t.redis.Start(ctx)
	return time.Now(), errors.Join(err, t.look(ctx))
}

// restore takes a backup, lets the work go on for a while, loses everything and restores.
func restore(ctx context.Context, t *site) (time.Time, error) {
	t.pause.Lock() // what is handed in after the backup would be lost with it: that is for a standby to prevent, not for a backup
	defer t.pause.Unlock()
	if err := until(ctx, 30*time.Second, "enqueue has taken in what it was given", func() bool { return int64(t.promises()) >= t.fed.Load() }); err != nil {
		return time.Time{}, err
	}
	dump := filepath.Join(t.dir, "backup")
	if err := pgTool(ctx, "pg_dump", "-Fc", "-f", dump, "-d", t.env["DATABASE_URL"]); err != nil {
		return time.Time{}, err
	}
	wait(ctx, 2*time.Second)
	for _, p := range t.workers {
		p.kill()
	}
	t.pool.Close()
	err := errors.Join(t.redis.Remove(), t.postgres.Remove())
	if err == nil {
		err = t.servers(ctx, plain)
	}
	if err == nil {
		err = pgTool(ctx, "pg_restore", "-d", t.env["DATABASE_URL"], dump)
	}
	if err == nil {
		err = t.look(ctx)
	}
	for i := range t.workers {
		if err == nil {
			err = t.work(i)
		}
	}
	if err == nil {
		cmd := exec.CommandContext(ctx, filepath.Join(t.opt.bin, "enqueue"), "poll", "--lost", "--reason", "restored from a backup") //nolint:gosec // our own program
		cmd.Env = t.environ()
		if out, e := cmd.CombinedOutput(); e != nil {
			err = fmt.Errorf("enqueue poll --lost: %w\n%s", e, out)
		}
	}
	return time.Now(), err
}

func pgTool(ctx context.Context, name string, args ...string) error {
	bin, err := localserver.PostgresBinary(name)
	if err != nil {
		return &localserver.MissingError{Programs: []string{"PostgreSQL (" + name + ")"}}
	}
	if out, err := exec.CommandContext(ctx, bin, args...).CombinedOutput(); err != nil { //nolint:gosec // found by us
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
