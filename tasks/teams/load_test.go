package teams_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
	"github.com/claimlinc/nphiesq/tasks/teams"
)

// strict is Teams with a limit per webhook: it refuses what comes above it, and counts.
type strict struct {
	*httptest.Server
	requests int
	period   time.Duration

	mu      sync.Mutex
	log     map[string][]time.Time // by webhook, the arrivals of the last period
	most    int                    // in any period
	refused int
	ids     map[string]int
	every   func(posts int) // called for every thousandth post
	posts   int
}

func newStrict(tb testing.TB, requests int, period time.Duration) *strict {
	tb.Helper()
	s := &strict{requests: requests, period: period, log: map[string][]time.Time{}, ids: map[string]int{}}
	s.Server = httptest.NewServer(s)
	tb.Cleanup(s.Close)
	return s
}

func (s *strict) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	_, _ = io.Copy(io.Discard, r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts++
	if s.every != nil && s.posts%1000 == 0 {
		s.every(s.posts)
	}
	if s.requests > 0 {
		arrivals := s.log[r.URL.Path]
		for len(arrivals) > 0 && now.Sub(arrivals[0]) >= s.period {
			arrivals = arrivals[1:]
		}
		arrivals = append(arrivals, now)
		s.log[r.URL.Path] = arrivals
		s.most = max(s.most, len(arrivals))
		if len(arrivals) > s.requests {
			s.refused++
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
	}
	s.ids[r.Header.Get("webhook-id")]++
	w.WriteHeader(http.StatusAccepted)
}

// routes is the directory as the store sees it.
type routes struct{ *notify.Directory }

func (r routes) Channels(who []cards.Stakeholder) []store.Channel {
	var out []store.Channel
	for _, c := range r.Directory.Channels(who) {
		out = append(out, store.Channel{Name: c.Name, Stakeholders: c.Stakeholders, Redacted: c.Redacted})
	}
	return out
}

// plant is an installation on real servers with a Teams of its own.
type plant struct {
	teams *strict
	dir   *notify.Directory
	pool  *pgxpool.Pool
	store *store.Store
	redis *redis.Client
}

func newPlant(tb testing.TB, s *strict) *plant {
	tb.Helper()
	urls := map[cards.Stakeholder]string{}
	for _, who := range cards.Stakeholders() {
		urls[who] = s.URL + "/" + strings.ToLower(string(who)) + "?sig=TopSecret"
	}
	dir, _, err := notify.NewDirectory(urls, true)
	require.NoError(tb, err)
	pool := testenv.Pool(tb)
	return &plant{teams: s, dir: dir, pool: pool, store: store.New(pool, store.Options{Router: routes{dir}}), redis: testenv.Redis(tb)}
}

// worker makes what one worker process has of its own.
func (p *plant) worker(tb testing.TB, schedule teams.Scheduler, limit ratelimit.Settings, o teams.Options) *teams.Handler {
	tb.Helper()
	poster := notify.NewPoster(notify.Options{AllowInsecure: true, PerHost: 100})
	tb.Cleanup(poster.Close)
	o.MaxRetries = 3
	return teams.New(p.store, p.dir, poster, ratelimit.New(p.redis, "teams", limit),
		ratelimit.NewBreaker(p.redis, "teams", ratelimit.CircuitSettings{After: 5, For: 10 * time.Minute}), schedule,
		teams.NewMetrics(prometheus.NewPedanticRegistry()), testenv.Discard(), o)
}

func (p *plant) count(tb testing.TB, where string) int {
	tb.Helper()
	var n int
	require.NoError(tb, p.pool.QueryRow(context.Background(), `SELECT count(*) FROM teams_notifications WHERE `+where).Scan(&n))
	return n
}

// TestAThousandAtOnce: a thousand notifications in eight channels, two workers, the real queue. Teams would answer 429 above the limit
// and never has to; each card arrives once.
func TestAThousandAtOnce(t *testing.T) {
	const requests, period = 100, 8 * time.Second
	s := newStrict(t, requests, period)
	p := newPlant(t, s)
	queue := broker.New(p.redis)
	for range 2 {
		r := tasks.NewRouter(testenv.Discard(), nil)
		p.worker(t, queue, ratelimit.Settings{Requests: requests, Period: period, Burst: 20}, teams.Options{}).Register(r)
		srv := asynq.NewServerFromRedisClient(p.redis, asynq.Config{
			Queues: map[string]int{tasks.QueueTeams: 1}, Concurrency: 8, RetryDelayFunc: tasks.RetryDelay, IsFailure: tasks.IsFailure,
			TaskCheckInterval: 50 * time.Millisecond, DelayedTaskCheckInterval: 250 * time.Millisecond, LogLevel: asynq.FatalLevel,
		})
		require.NoError(t, srv.Start(r))
		t.Cleanup(srv.Shutdown)
	}
	var events []store.Event
	for i := range 1000 {
		events = append(events, store.Event{
			Key: fmt.Sprintf("load/%d", i), Stakeholders: []cards.Stakeholder{cards.Stakeholders()[i%8]},
			Event: cards.Event{Type: cards.ClaimSubmittedEvent, Priority: cards.Priorities()[i%5], Details: cards.ClaimSubmitted{ClaimRef: fmt.Sprint("CLM-", i)}},
		})
	}
	channels, err := p.store.Tell(t.Context(), events...)
	require.NoError(t, err)
	require.Len(t, channels, 8)
	require.NoError(t, queue.Notify(t.Context(), channels...))
	testenv.Eventually(t, func() bool { return p.count(t, "sent_at IS NULL") == 0 }, "all are sent")

	s.mu.Lock()
	defer s.mu.Unlock()
	require.Len(t, s.ids, 1000, "none is lost")
	for id, n := range s.ids {
		require.Equal(t, 1, n, id)
	}
	require.Zero(t, s.refused, "Teams never has to refuse")
	require.LessOrEqual(t, s.most, requests)
	require.Zero(t, p.count(t, "retry_count > 0 OR error_message IS NOT NULL"), "to wait is no failure")
	t.Logf("most posts to one webhook in %s: %d of %d", period, s.most, requests)
}

// again drains until nothing is left to drain: what was scheduled is due by then, or soon.
type again struct{}

func (again) NotifyAt(context.Context, string, time.Time) error { return nil }

// fill puts rows into the outbox.
func (p *plant) fill(tb testing.TB, priority cards.Priority, rows int) {
	tb.Helper()
	card, err := cards.Render(cards.Event{
		ID: "load", Type: cards.ClaimSubmittedEvent, Priority: priority, At: time.Now(), Details: cards.ClaimSubmitted{ClaimRef: "CLM-1"},
	}, cards.Links{})
	require.NoError(tb, err)
	names := p.dir.Names()
	_, err = p.pool.Exec(context.Background(), `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, channel, event_key, summary, next_attempt_at)
		SELECT gen_random_uuid(), 'load', $1, ARRAY[c], $2, 'https://x.example/…#1', $3, c, 'load/' || i, $4, now() - interval '1 second'
		FROM (SELECT i, ($5::text[])[1 + i % 8] AS c FROM generate_series(1, $6::int) i) x`,
		string(cards.ClaimSubmittedEvent), string(priority), card, cards.Summary(card), names, rows)
	require.NoError(tb, err)
	_, err = p.pool.Exec(context.Background(), `ANALYZE teams_notifications`)
	require.NoError(tb, err)
}

// heap is what is alive.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

const waiting = 50_000

// BenchmarkWaiting drains 50,000 rows of eight channels with two workers, and 10,000 that are folded into digests. It fails when one is
// lost or sent twice, or when the memory grows with what was sent.
func BenchmarkWaiting(b *testing.B) {
	for name, tt := range map[string]struct {
		priority      cards.Priority
		rows, digests int
	}{"alone": {cards.High, waiting, 0}, "folded": {cards.Info, 10_000, 20}} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				s := newStrict(b, 0, 0)
				p := newPlant(b, s)
				p.fill(b, tt.priority, tt.rows)
				var workers []*teams.Handler
				for range 2 {
					workers = append(workers, p.worker(b, again{}, ratelimit.Settings{Requests: 1_000_000, Period: time.Second, Burst: 1_000_000},
						teams.Options{DigestAbove: tt.digests, Concurrency: 8}))
				}
				var early, late float64
				s.every = func(posts int) {
					switch posts {
					case waiting / 10:
						early = heap()
					case waiting * 9 / 10:
						late = heap()
					}
				}
				rows, err := p.pool.Query(b.Context(), `SELECT 'msg_' || id FROM teams_notifications`)
				require.NoError(b, err)
				ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
				require.NoError(b, err)
				if tt.digests == 0 {
					for _, id := range ids { // so that the stand-in grows no more
						s.ids[id] = 0
					}
				}
				before := heap()
				b.StartTimer()
				var wg sync.WaitGroup
				for i, channel := range p.dir.Names() {
					wg.Go(func() {
						for p.count(b, "sent_at IS NULL AND channel = '"+channel+"'") > 0 {
							if err := workers[i%2].Drain(context.Background(), channel); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				require.Zero(b, p.count(b, "sent_at IS NULL"), "none is lost")
				require.Zero(b, p.count(b, "retry_count > 0"))
				for id, n := range s.ids {
					require.Equal(b, 1, n, id)
				}
				if tt.digests == 0 {
					require.Len(b, s.ids, tt.rows)
					require.Less(b, late, 2*early+4<<20, "the memory does not grow with what was sent")
					b.ReportMetric(late/early, "heap-late/early")
				}
				require.Less(b, heap(), before+64<<20)
				b.ReportMetric(float64(s.posts)/float64(tt.rows), "posts/row")
			}
		})
	}
}
