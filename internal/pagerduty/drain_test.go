package pagerduty_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/pagerduty"
	"github.com/claimlinc/nphiesq/internal/reconcile"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

type bench struct {
	*pagerduty.Handler
	t     *testing.T
	pool  *pgxpool.Pool
	store *store.Store
	queue *broker.Queue
	sim   *nphiessim.Sim
	mu    sync.Mutex
	now   time.Time
}

func (b *bench) clock() time.Time     { b.mu.Lock(); defer b.mu.Unlock(); return b.now }
func (b *bench) wait(d time.Duration) { b.mu.Lock(); defer b.mu.Unlock(); b.now = b.now.Add(d) }

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, pool: testenv.Pool(t), now: time.Now().Truncate(time.Second), sim: nphiessim.New(nphiessim.Options{})}
	b.store, b.queue = store.New(b.pool, store.Options{Now: b.clock}), broker.New(testenv.Redis(t))
	srv := httptest.NewServer(b.sim.Teams())
	t.Cleanup(func() { b.sim.Close(); srv.Close() })
	b.Handler = &pagerduty.Handler{
		Store: b.store, Sender: client(t, srv.URL, 5*time.Second), Keys: pagerduty.Keys{config.PagerDefault: key, "sre": other}, Schedule: b.queue,
		Metrics: pagerduty.NewMetrics(prometheus.NewRegistry()), Log: testenv.Logger(t), Now: b.clock,
	}
	return b
}

func (b *bench) write(dedup, action, routing string) {
	b.t.Helper()
	_, err := b.pool.Exec(b.t.Context(), `INSERT INTO pagerduty_events (alert_key, dedup_key, action, routing, payload, created_at, next_attempt_at)
		VALUES ($1, $1, $2, $3, '{"payload":{"summary":"s","source":"x","severity":"error"}}', $4, $4)`, dedup, action, routing, b.clock())
	require.NoError(b.t, err)
}

func (b *bench) drain() {
	b.t.Helper()
	require.NoError(b.t, b.Drain(b.t.Context()))
}

// arrived returns the accepted actions by dedup_key; none may be out of order.
func (b *bench) arrived() map[string][]string {
	b.t.Helper()
	out := map[string][]string{}
	for _, e := range b.sim.PagerEvents() {
		if e.Status == 202 {
			require.Empty(b.t, e.Problems)
			out[e.DedupKey] = append(out[e.DedupKey], e.Action)
		}
	}
	return out
}

func (b *bench) counts() [3]int {
	b.t.Helper()
	waiting, dead, err := b.store.PageCounts(b.t.Context())
	require.NoError(b.t, err)
	var sent int
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), `SELECT count(*) FROM pagerduty_events WHERE sent_at IS NOT NULL`).Scan(&sent))
	return [3]int{waiting, dead, sent}
}

var all = []string{"trigger", "acknowledge", "resolve"}

// TestOrderUnderConcurrencyAndFailures: eight drains at once, a PagerDuty that fails now and then.
func TestOrderUnderConcurrencyAndFailures(t *testing.T) {
	b := newBench(t)
	const n = 40
	for _, a := range all {
		for i := range n {
			b.write(fmt.Sprintf("k%d", i), a, "default")
		}
	}
	for _, k := range []nphiessim.FaultKind{nphiessim.Fault503, nphiessim.Fault429, nphiessim.FaultCutAfter, nphiessim.FaultCutBefore, nphiessim.Fault500} {
		b.sim.AddFault(nphiessim.Fault{Match: "pagerduty", Kind: k, Count: 5})
	}
	for range 40 {
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() { errs[i] = b.Drain(t.Context()) })
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		if b.counts()[0] == 0 {
			break
		}
		b.wait(6 * time.Minute)
	}
	require.Equal(t, [3]int{0, 0, 3 * n}, b.counts())
	seen := b.arrived()
	require.Len(t, seen, n)
	for k, actions := range seen {
		var distinct []string
		for i, a := range actions { // a cut after it was processed is sent again: the same, next to the first
			if i == 0 || actions[i-1] != a {
				distinct = append(distinct, a)
			}
		}
		require.Equal(t, all, distinct, k)
	}
}

// TestKeysDoNotBlockEachOther, and within a key a later one waits.
func TestKeysDoNotBlockEachOther(t *testing.T) {
	b := newBench(t)
	b.sim.AddFault(nphiessim.Fault{Match: "pagerduty", Kind: nphiessim.Fault429, Count: 1})
	b.write("a", "trigger", "default")
	b.drain()
	b.write("a", "resolve", "default")
	b.write("b", "trigger", "sre")
	b.drain()
	require.Equal(t, map[string][]string{"b": {"trigger"}}, b.arrived())
	b.wait(59 * time.Second)
	b.drain()
	require.Len(t, b.arrived(), 1, "after a 429 for a minute at least")
	b.wait(2 * time.Second)
	b.drain()
	require.Equal(t, map[string][]string{"a": {"trigger", "resolve"}, "b": {"trigger"}}, b.arrived())
}

// TestWhatIsInvalidDies, and what would follow it, too; a key that is not set waits for a person.
func TestWhatIsInvalidDies(t *testing.T) {
	b := newBench(t)
	b.write("a", "trigger", "default")
	_, err := b.pool.Exec(t.Context(), `UPDATE pagerduty_events SET payload = '{"payload":{"summary":"s","source":"x","severity":"HIGH"}}'`)
	require.NoError(t, err)
	b.write("a", "acknowledge", "default")
	b.drain()
	require.Equal(t, [3]int{0, 2, 0}, b.counts())
	require.Empty(t, b.arrived())
	var text string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT error_message FROM pagerduty_events ORDER BY seq LIMIT 1`).Scan(&text))
	require.Contains(t, text, "'payload.severity' must be")

	b.write("b", "trigger", "pmo")
	b.drain()
	require.Equal(t, [3]int{1, 2, 0}, b.counts())
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT error_message FROM pagerduty_events ORDER BY seq DESC LIMIT 1`).Scan(&text))
	require.Equal(t, `PAGERDUTY_ROUTING_KEYS has no key "pmo"; it has [default sre]`, text)
	b.Keys["pmo"] = other
	b.wait(10 * time.Minute)
	b.drain()
	require.Equal(t, [3]int{0, 2, 1}, b.counts())

	b.sim.AddFault(nphiessim.Fault{Match: "pagerduty", Kind: nphiessim.Fault503, Count: 0})
	b.write("c", "trigger", "sre")
	for range 400 {
		b.drain()
		b.wait(6 * time.Minute)
	}
	require.Equal(t, [3]int{0, 3, 1}, b.counts(), "given up after a day")
	require.NoError(t, testutil.CollectAndCompare(pagerduty.Collector(b.store), strings.NewReader("# HELP pagerduty_events_given_up Events that PagerDuty never took.\n# TYPE pagerduty_events_given_up gauge\npagerduty_events_given_up 3\n"), "pagerduty_events_given_up"))
}

// forgetful loses the mark of the first events: the worker dies between PagerDuty's answer and the record.
type forgetful struct {
	*store.Store
	mu   sync.Mutex
	left int
}

var errKilled = errors.New("killed")

func (f *forgetful) PageSent(ctx context.Context, seq int64, status int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left > 0 {
		f.left--
		return errKilled
	}
	return f.Store.PageSent(ctx, seq, status)
}

// TestKilledBeforeTheMark: it is sent again before what follows, and changes nothing.
func TestKilledBeforeTheMark(t *testing.T) {
	b := newBench(t)
	b.Store = &forgetful{Store: b.store, left: 3}
	b.write("a", "trigger", "default")
	b.write("a", "acknowledge", "default")
	require.ErrorIs(t, b.Drain(t.Context()), errKilled)
	require.Equal(t, map[string][]string{"a": {"trigger"}}, b.arrived())
	b.drain()
	require.Equal(t, map[string][]string{"a": {"trigger", "trigger", "acknowledge"}}, b.arrived())
	require.True(t, b.sim.PagerEvents()[1].Repeat)
	require.Len(t, b.sim.PagerIncidents(), 1)
	require.Equal(t, [3]int{0, 0, 2}, b.counts())
}

// TestRedisMayBeEmptied: the reconciler finds what waits.
func TestRedisMayBeEmptied(t *testing.T) {
	b := newBench(t)
	b.write("a", "trigger", "default")
	require.NoError(t, b.queue.Page(t.Context()))
	rc := testenv.Redis(t) // empties it
	r := reconcile.New(b.store, b.queue, &reconcile.Letters{Store: b.store, Notify: b.queue, Log: b.Log}, nil, b.Log, reconcile.Options{Settle: time.Second, Now: b.clock})
	require.NoError(t, r.Once(t.Context()))
	keys, err := rc.Keys(t.Context(), "asynq:{"+tasks.QueuePager+"}:t:*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	b.drain()
	require.NoError(t, rc.FlushDB(t.Context()).Err())
	b.wait(time.Minute)
	require.NoError(t, r.Once(t.Context()))
	keys, err = rc.Keys(t.Context(), "asynq:{"+tasks.QueuePager+"}:t:*").Result()
	require.NoError(t, err)
	require.Empty(t, keys, "nothing waits")

	// What could not be sent yet is wished for at its time.
	b.sim.AddFault(nphiessim.Fault{Match: "pagerduty", Kind: nphiessim.Fault503, Count: 1})
	b.write("b", "trigger", "default")
	b.drain()
	n, err := rc.ZCard(t.Context(), "asynq:{"+tasks.QueuePager+"}:scheduled").Result()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}

// TestOldPagesAreDeleted once nothing can follow them.
func TestOldPagesAreDeleted(t *testing.T) {
	b := newBench(t)
	for _, a := range all {
		b.write("over", a, "default")
	}
	b.write("open", "trigger", "default")
	b.drain()
	n, err := b.store.DeleteOldPages(t.Context(), b.clock(), 100)
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = b.store.DeleteOldPages(t.Context(), b.clock().Add(time.Hour), 100)
	require.NoError(t, err)
	require.EqualValues(t, 3, n)
}
