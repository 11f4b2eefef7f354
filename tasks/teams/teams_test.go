package teams_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/signing"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
	"github.com/claimlinc/nphiesq/tasks/teams"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func refuse(status int) func(notify.Post) notify.Result {
	return func(notify.Post) notify.Result {
		return notify.Classify("127.0.0.1", status, http.Header{}, nil, time.Now())
	}
}

func TestDrainSendsEverythingOnceMostUrgentFirst(t *testing.T) {
	b := newBench(t, teams.Options{Concurrency: 1})
	info := b.record.add(t, cards.Info)
	critical := b.record.add(t, cards.Critical)
	medium := b.record.add(t, cards.Medium)
	high := b.record.add(t, cards.High)
	b.drain(t)
	require.Equal(t, []string{"msg_" + critical.String(), "msg_" + high.String(), "msg_" + medium.String(), "msg_" + info.String()}, b.teams.ids())
	n := b.record.get(info)
	require.Equal(t, 202, *n.StatusCode)
	require.Equal(t, b.clock.now(), *n.SentAt)
	require.Zero(t, n.RetryCount)
	require.Empty(t, b.wishes.ats)
	require.Equal(t, cards.Critical, b.teams.posts[0].Priority)
	require.Equal(t, "cor", b.teams.posts[0].CorrelationID)
	require.True(t, json.Valid(b.teams.posts[0].Body))
	b.drain(t)
	require.Len(t, b.teams.posts, 4)
	require.Equal(t, map[string]float64{
		"nphies.claim.submitted CRITICAL": 1, "nphies.claim.submitted HIGH": 1, "nphies.claim.submitted INFO": 1, "nphies.claim.submitted MEDIUM": 1,
	}, counts(t, b, "teams_notifications_sent_total"))
}

func TestLimitSchedulesTheNextDrain(t *testing.T) {
	b := newBench(t, teams.Options{})
	for range 5 {
		b.record.add(t, cards.Info)
	}
	b.limit.left, b.limit.in = 2, 700*time.Millisecond
	b.drain(t)
	require.Len(t, b.teams.posts, 2)
	require.Equal(t, 3, b.record.unsent())
	require.Equal(t, []time.Time{b.clock.now().Add(700 * time.Millisecond)}, b.wishes.ats)
	require.Zero(t, b.record.get(b.record.rows[4].ID).RetryCount, "a deferral is no retry")
}

func TestAFailingRowBlocksNobody(t *testing.T) {
	b := newBench(t, teams.Options{Concurrency: 1})
	bad := b.record.add(t, cards.Critical)
	good := b.record.add(t, cards.Info)
	b.teams.answer = func(p notify.Post) notify.Result {
		if p.WebhookID == "msg_"+bad.String() {
			return notify.Result{Class: notify.Temporary, Status: 500, Safe: "Teams answered HTTP 500"}
		}
		return notify.Result{Class: notify.Accepted, Status: 202}
	}
	b.drain(t)
	require.NotNil(t, b.record.get(good).SentAt)
	n := b.record.get(bad)
	require.Equal(t, 1, n.RetryCount)
	require.Equal(t, 500, *n.StatusCode)
	require.Nil(t, n.DeadAt)
	first := n.NextAttemptAt.Sub(b.clock.now())
	require.InDelta(t, 2, first.Seconds(), 0.5)
	require.Equal(t, []time.Time{n.NextAttemptAt}, b.wishes.ats, "comes back when the row is due")

	b.clock.add(first)
	b.drain(t)
	n = b.record.get(bad)
	require.Equal(t, 2, n.RetryCount)
	second := n.NextAttemptAt.Sub(b.clock.now())
	require.InDelta(t, 4, second.Seconds(), 1)
	b.clock.add(second)
	b.drain(t)
	n = b.record.get(bad)
	require.Equal(t, 3, n.RetryCount)
	require.NotNil(t, n.DeadAt)
	require.Len(t, b.wishes.ats, 2, "a dead row wants no further drain")
	ids := b.teams.ids()
	require.Equal(t, ids[0], ids[len(ids)-1], "the id is the same in every attempt")
	require.Equal(t, map[string]float64{"500": 3}, counts(t, b, "teams_notifications_failed_total"))
}

// counts reads a counter by its labels' values.
func counts(t *testing.T, b *bench, name string) map[string]float64 {
	t.Helper()
	families, err := b.registry.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if n := m.GetCounter().GetValue(); n > 0 { // those of few labels are there with 0
				out[strings.Join(labels, " ")] = n
			}
		}
	}
	return out
}

func TestPermanentAnswersEndTheRow(t *testing.T) {
	for _, status := range []int{400, 413, 302} {
		b := newBench(t, teams.Options{})
		id := b.record.add(t, cards.High)
		b.teams.answer = refuse(status)
		b.drain(t)
		n := b.record.get(id)
		require.NotNil(t, n.DeadAt, status)
		require.Equal(t, 1, n.RetryCount)
		require.Equal(t, status, *n.StatusCode)
		require.Empty(t, b.wishes.ats)
		require.Empty(t, b.limit.pauses)
	}
}

func TestTooLargeIsTriedOnceAsMinimalCard(t *testing.T) {
	b := newBench(t, teams.Options{})
	id := b.record.add(t, cards.High)
	b.teams.answer = func(p notify.Post) notify.Result {
		if strings.Contains(string(p.Body), "FactSet") {
			return notify.Classify("x", 413, http.Header{}, nil, time.Now())
		}
		return notify.Result{Class: notify.Accepted, Status: 202}
	}
	b.drain(t)
	require.NotNil(t, b.record.get(id).SentAt)
	require.Equal(t, []string{"msg_" + id.String(), "msg_" + id.String()}, b.teams.ids())
}

func TestUnusableCardEndsTheRowWithoutPost(t *testing.T) {
	b := newBench(t, teams.Options{})
	id := b.record.addCard(cards.High, []byte(`{"type":"AdaptiveCard","actions":[{"type":"Action.Submit"}]}`))
	good := b.record.add(t, cards.Info)
	b.drain(t)
	require.NotNil(t, b.record.get(id).DeadAt)
	require.NotNil(t, b.record.get(good).SentAt)
	require.Len(t, b.teams.posts, 1)
}

func TestWebhookTroubleCountsAndIsShown(t *testing.T) {
	b := newBench(t, teams.Options{})
	id := b.record.add(t, cards.High)
	b.teams.answer = refuse(404)
	for i := range 3 {
		b.drain(t)
		require.Equal(t, i+1, b.record.get(id).RetryCount)
		b.clock.add(time.Minute)
	}
	require.NotNil(t, b.record.get(id).DeadAt)
	require.Contains(t, b.record.failures[id][0].Text, "HTTP 404")
	require.Equal(t, time.Minute, b.record.failures[id][0].NextAttemptAt.Sub(b.clock.now().Add(-3*time.Minute)))
}

func TestChannelWithoutWebhookFailsVisibly(t *testing.T) {
	b := newBench(t, teams.Options{MaxRetries: 1})
	_, err := b.dir.Replace(nil)
	require.NoError(t, err)
	b.teams.answer = func(p notify.Post) notify.Result { return notify.NewPoster(notify.Options{}).Post(t.Context(), p) }
	id := b.record.add(t, cards.High)
	b.drain(t)
	n := b.record.get(id)
	require.NotNil(t, n.DeadAt)
	require.Nil(t, n.StatusCode)
	require.Equal(t, "no webhook is set for this channel", b.record.failures[id][0].Text)
	require.Equal(t, map[string]float64{"none": 1}, counts(t, b, "teams_notifications_failed_total"))
}

func TestRetryAfterPausesTheChannel(t *testing.T) {
	b := newBench(t, teams.Options{Concurrency: 1})
	first := b.record.add(t, cards.High)
	second := b.record.add(t, cards.High)
	b.teams.answer = func(notify.Post) notify.Result {
		return notify.Result{Class: notify.Temporary, Status: 429, Throttled: true, RetryAfter: 30 * time.Second, Safe: "Teams answered HTTP 429"}
	}
	b.drain(t)
	require.Len(t, b.teams.posts, 1, "the second row waits untouched")
	require.Zero(t, b.record.get(first).RetryCount, "Teams asked to come later: no retry is used up")
	require.Equal(t, 429, *b.record.get(first).StatusCode, "it is written down")
	require.Zero(t, b.record.get(second).RetryCount)
	require.Equal(t, []time.Duration{30 * time.Second}, b.limit.pauses)
	require.Equal(t, []time.Time{b.clock.now().Add(30 * time.Second)}, b.wishes.ats)
	require.False(t, b.record.get(first).NextAttemptAt.Before(b.clock.now().Add(30*time.Second)))
}

// TestAnOutageDoesNotUseUpEveryRow: many rows wait while Teams is away for an hour. Few posts are made meanwhile and all cards
// arrive afterwards.
func TestAnOutageDoesNotUseUpEveryRow(t *testing.T) {
	b := newBench(t, teams.Options{})
	for range 200 {
		b.record.add(t, cards.Info)
	}
	b.teams.answer = refuse(503)
	end := b.clock.now().Add(time.Hour)
	for b.clock.now().Before(end) {
		before := len(b.wishes.ats)
		b.drain(t)
		require.Len(t, b.wishes.ats, before+1, "always comes back")
		b.clock.add(b.wishes.ats[before].Sub(b.clock.now()))
	}
	require.Less(t, len(b.teams.posts), 100)
	b.teams.answer = nil
	for range 1000 {
		before := len(b.wishes.ats)
		b.drain(t)
		if len(b.wishes.ats) == before {
			break
		}
		b.clock.add(b.wishes.ats[before].Sub(b.clock.now()))
	}
	require.Zero(t, b.record.unsent())
}

func TestOneDrainPerChannel(t *testing.T) {
	b := newBench(t, teams.Options{Concurrency: 4})
	for range 40 {
		b.record.add(t, cards.Info)
	}
	var current, most atomic.Int32
	b.teams.answer = func(notify.Post) notify.Result {
		n := current.Add(1)
		defer current.Add(-1)
		peak(&most, n)
		return notify.Result{Class: notify.Accepted, Status: 202}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { _ = b.Drain(context.Background(), channel) })
	}
	wg.Wait()
	require.Zero(t, b.record.unsent())
	require.Len(t, b.teams.posts, 40)
	require.LessOrEqual(t, most.Load(), int32(4))
	for _, n := range b.record.marked {
		require.Equal(t, 1, n)
	}
}

// TestNoRowIsStranded: a row is written and its own task finds the lock taken, in the very moment the first drain ends.
func TestNoRowIsStranded(t *testing.T) {
	b := newBench(t, teams.Options{})
	b.record.add(t, cards.Info)
	b.record.onUnlock = func() {
		b.record.add(t, cards.High)
		require.NoError(t, b.Drain(context.Background(), channel)) // ends at once: the lock is taken
		require.Len(t, b.teams.posts, 1)
	}
	b.drain(t)
	require.Zero(t, b.record.unsent())
}

func TestBudgetEndsALongDrain(t *testing.T) {
	b := newBench(t, teams.Options{Concurrency: 1, Budget: 10 * time.Second})
	for range 30 {
		b.record.add(t, cards.Info)
	}
	b.teams.answer = func(notify.Post) notify.Result {
		b.clock.add(time.Second)
		return notify.Result{Class: notify.Accepted, Status: 202}
	}
	b.drain(t)
	require.Equal(t, 20, b.record.unsent())
	require.Len(t, b.wishes.ats, 1)
}

func TestUrgentRowWrittenMeanwhileOvertakes(t *testing.T) {
	b := newBench(t, teams.Options{Concurrency: 1})
	for range 30 {
		b.record.add(t, cards.Info)
	}
	var urgent string
	b.teams.answer = func(notify.Post) notify.Result {
		b.clock.add(300 * time.Millisecond)
		if urgent == "" {
			urgent = "msg_" + b.record.add(t, cards.Critical).String()
		}
		return notify.Result{Class: notify.Accepted, Status: 202}
	}
	b.drain(t)
	require.Contains(t, b.teams.ids()[:6], urgent)
}

func TestMarkIsTriedAgain(t *testing.T) {
	b := newBench(t, teams.Options{})
	b.record.add(t, cards.Info)
	b.record.failMark = 2
	b.drain(t)
	require.Zero(t, b.record.unsent())
	require.Len(t, b.teams.posts, 1)

	b.record.add(t, cards.Info)
	b.record.failMark = 100
	require.Error(t, b.Drain(t.Context(), channel))
	b.record.failMark = 0
	b.drain(t)
	ids := b.teams.ids()
	require.Equal(t, ids[1], ids[2], "Teams can tell the repetition by its id")
}

func TestStoppedWorkerCountsNoFailure(t *testing.T) {
	b := newBench(t, teams.Options{})
	id := b.record.add(t, cards.High)
	ctx, cancel := context.WithCancel(t.Context())
	b.teams.answer = func(notify.Post) notify.Result {
		cancel()
		return notify.Result{Class: notify.Ambiguous, Safe: "the post was stopped"}
	}
	require.ErrorIs(t, b.Drain(ctx, channel), context.Canceled)
	require.Zero(t, b.record.get(id).RetryCount)
	b.teams.answer = nil
	b.drain(t)
	require.NotNil(t, b.record.get(id).SentAt)

	// Accepted in the moment of the stop: marked all the same.
	id = b.record.add(t, cards.High)
	ctx, cancel = context.WithCancel(t.Context())
	b.teams.answer = func(notify.Post) notify.Result {
		cancel()
		return notify.Result{Class: notify.Accepted, Status: 202}
	}
	require.ErrorIs(t, b.Drain(ctx, channel), context.Canceled)
	require.NotNil(t, b.record.get(id).SentAt)
}

func TestPanicInAPostIsAFailure(t *testing.T) {
	b := newBench(t, teams.Options{MaxRetries: 1})
	id := b.record.add(t, cards.High)
	b.teams.answer = func(notify.Post) notify.Result { panic("x") }
	b.drain(t)
	require.NotNil(t, b.record.get(id).DeadAt)
}

func TestStormIsFolded(t *testing.T) {
	b := newBench(t, teams.Options{DigestAbove: 20, Concurrency: 1})
	for range 30 {
		b.record.add(t, cards.Info)
	}
	high := b.record.add(t, cards.High)
	b.drain(t)
	require.Len(t, b.teams.posts, 2)
	require.Equal(t, "msg_"+high.String(), b.teams.posts[0].WebhookID, "urgent ones first and alone")
	digest := b.teams.posts[1]
	require.Regexp(t, "^dig_[0-9a-f]{32}$", digest.WebhookID)
	require.Contains(t, string(digest.Body), "30 events in one card")
	require.Zero(t, b.record.unsent())
	for _, n := range b.record.rows[:30] {
		require.Equal(t, digest.WebhookID, *n.DigestID)
	}
	require.Nil(t, b.record.get(high).DigestID)

	for range 20 {
		b.record.add(t, cards.Info)
	}
	b.drain(t)
	require.Len(t, b.teams.posts, 22, "twenty are no storm")
}

func TestAHugeStormIsSeveralDigests(t *testing.T) {
	b := newBench(t, teams.Options{DigestAbove: 20, DigestMax: 500, Concurrency: 1})
	for range 1010 {
		b.record.add(t, cards.Low)
	}
	b.drain(t)
	require.Len(t, b.teams.posts, 12, "500, 500 and ten alone")
	require.Zero(t, b.record.unsent())
}

// TestARepeatedDigestIsTheSame: its first post may have arrived, so the second one has the same id and the same bytes, whatever
// was written meanwhile.
func TestARepeatedDigestIsTheSame(t *testing.T) {
	b := newBench(t, teams.Options{DigestAbove: 20, Concurrency: 1})
	for range 25 {
		b.record.add(t, cards.Info)
	}
	b.teams.answer = func(notify.Post) notify.Result { return notify.Result{Class: notify.Ambiguous, Safe: "x"} }
	b.drain(t)
	require.Equal(t, 1, b.record.rows[0].RetryCount)
	for range 5 {
		b.record.add(t, cards.Medium)
	}
	b.teams.answer = nil
	b.clock.add(10 * time.Second)
	b.drain(t)
	require.Zero(t, b.record.unsent())
	var repeated []notify.Post
	for _, p := range b.teams.posts {
		if p.WebhookID == b.teams.posts[0].WebhookID {
			repeated = append(repeated, p)
		}
	}
	require.Len(t, repeated, 2)
	require.Equal(t, string(repeated[0].Body), string(repeated[1].Body))
	require.Len(t, b.teams.posts, 7, "two posts of the digest, five rows alone")
}

// TestARowPostedAloneIsNotFolded: Teams may have it already, under its own id.
func TestARowPostedAloneIsNotFolded(t *testing.T) {
	b := newBench(t, teams.Options{DigestAbove: 20, Concurrency: 1})
	id := b.record.add(t, cards.Info)
	b.teams.answer = func(notify.Post) notify.Result { return notify.Result{Class: notify.Ambiguous, Safe: "x"} }
	b.drain(t)
	b.teams.answer = nil
	b.clock.add(10 * time.Second)
	for range 30 {
		b.record.add(t, cards.Info)
	}
	b.drain(t)
	require.Zero(t, b.record.unsent())
	require.Nil(t, b.record.get(id).DigestID)
	require.Contains(t, b.teams.ids()[1:], "msg_"+id.String())
}

// TestARowWhosePostWasCutOffIsNotFolded: the stop of a worker counts as no failure, but Teams may have the card all the same.
func TestARowWhosePostWasCutOffIsNotFolded(t *testing.T) {
	b := newBench(t, teams.Options{DigestAbove: 20, Concurrency: 1})
	id := b.record.add(t, cards.Info)
	ctx, cancel := context.WithCancel(t.Context())
	b.teams.answer = func(notify.Post) notify.Result {
		cancel()
		return notify.Result{Class: notify.Ambiguous, Safe: "the post was stopped"}
	}
	require.ErrorIs(t, b.Drain(ctx, channel), context.Canceled)
	require.Zero(t, b.record.get(id).RetryCount)
	for range 30 {
		b.record.add(t, cards.Info)
	}
	b.teams.answer = nil
	b.drain(t)
	require.Zero(t, b.record.unsent())
	require.Nil(t, b.record.get(id).DigestID)
	require.Contains(t, b.teams.ids()[1:], "msg_"+id.String())
}

func TestDigestOff(t *testing.T) {
	b := newBench(t, teams.Options{})
	for range 120 {
		b.record.add(t, cards.Info)
	}
	b.drain(t)
	require.Len(t, b.teams.posts, 120)
}

func TestStoreAndLimiterAway(t *testing.T) {
	b := newBench(t, teams.Options{})
	id := b.record.add(t, cards.High)
	away := &fault.Error{Op: "x", Kind: fault.Unavailable}
	h := teams.New(b.record, b.dir, b.teams, broken{away}, b.circuits, b.wishes, teams.NewMetrics(prometheus.NewPedanticRegistry()), testenv.Discard(), teams.Options{Now: b.clock.now})
	require.ErrorIs(t, h.Drain(t.Context(), channel), away)
	require.Zero(t, b.record.get(id).RetryCount)
	require.Empty(t, b.teams.posts)
}

type broken struct{ err error }

func (b broken) Allow(context.Context, string, int) (ratelimit.Grant, error) {
	return ratelimit.Grant{}, b.err
}
func (b broken) Pause(context.Context, string, time.Duration) error { return b.err }

func TestRegister(t *testing.T) {
	b := newBench(t, teams.Options{})
	id := b.record.add(t, cards.High)
	r := tasks.NewRouter(testenv.Discard(), nil)
	b.Register(r)
	require.Equal(t, []string{tasks.TypeNotify}, r.Types())
	require.NoError(t, r.ProcessTask(t.Context(), tasks.NewNotify(channel, b.clock.now()).Task))
	require.NotNil(t, b.record.get(id).SentAt)
	err := r.ProcessTask(t.Context(), asynq.NewTask(tasks.TypeNotify, []byte("{")))
	require.ErrorIs(t, err, asynq.SkipRetry)
}

// TestThroughTheWire drains through the real poster and the real limiter on Redis: 429 first, then accepted; signatures hold.
func TestThroughTheWire(t *testing.T) {
	keys, err := signing.ParseKeys("0123456789abcdef0123456789abcdef")
	require.NoError(t, err)
	var mu sync.Mutex
	seen := map[string]int{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		id, err := signing.Verify(keys, r.Header, body, time.Now())
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		seen[id]++
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(srv.Close)
	b := newBench(t, teams.Options{})
	_, err = b.dir.Replace(map[cards.Stakeholder]string{cards.SRE: srv.URL + "/x?sig=TopSecret"})
	require.NoError(t, err)
	poster := notify.NewPoster(notify.Options{AllowInsecure: true, Keys: keys})
	t.Cleanup(poster.Close)
	rc := testenv.Redis(t)
	limit := ratelimit.New(rc, "teams", ratelimit.Settings{Requests: 10, Period: 24 * time.Hour, Burst: 10})
	h := teams.New(b.record, b.dir, poster, limit, b.circuits, b.wishes, teams.NewMetrics(prometheus.NewPedanticRegistry()), testenv.Discard(), teams.Options{MaxRetries: 3, Now: b.clock.now})
	for range 15 {
		b.record.add(t, cards.Info)
	}
	require.NoError(t, h.Drain(t.Context(), channel))
	require.Len(t, seen, 10, "the limit")
	require.Equal(t, 5, b.record.unsent())
	require.Len(t, b.wishes.ats, 1)
	for id, n := range seen {
		require.Equal(t, 1, n, id)
	}
	dump, err := rc.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(dump), "TopSecret")
}

// peak raises most to n.
func peak(most *atomic.Int32, n int32) {
	for {
		m := most.Load()
		if n <= m || most.CompareAndSwap(m, n) {
			return
		}
	}
}
