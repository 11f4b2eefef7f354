package teams_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/tasks/teams"
)

const (
	srePath   = "http://127.0.0.1:1/x?sig=TopSecret"
	otherPath = "http://127.0.0.1:1/other?sig=TopSecret"
)

// hooks exchanges the webhooks of the bench.
func (b *bench) hooks(tb testing.TB, urls map[cards.Stakeholder]string) {
	tb.Helper()
	_, err := b.dir.Replace(urls)
	require.NoError(tb, err)
}

// at answers by the post's address.
func at(answers map[string]int) func(notify.Post) notify.Result {
	return func(p notify.Post) notify.Result {
		for part, status := range answers {
			if strings.Contains(p.URL.Reveal(), part) {
				return notify.Classify("127.0.0.1", status, http.Header{}, nil, time.Now())
			}
		}
		return notify.Result{Class: notify.Accepted, Status: 202}
	}
}

// until drains, and moves the clock to what was wished for, until done says so.
func (b *bench) until(t *testing.T, done func() bool) {
	t.Helper()
	for range 200 {
		before := len(b.wishes.ats)
		b.drain(t)
		if done() {
			return
		}
		require.Greater(t, len(b.wishes.ats), before, "the drain comes back")
		b.clock.add(b.wishes.ats[len(b.wishes.ats)-1].Sub(b.clock.now()))
	}
	t.Fatal("never done")
}

func TestFiveRefusalsOpenTheCircuit(t *testing.T) {
	b := newBench(t, teams.Options{})
	b.hooks(t, map[cards.Stakeholder]string{cards.SRE: srePath, cards.CloudOps: otherPath})
	critical := b.record.add(t, cards.Critical)
	for range 20 {
		b.record.add(t, cards.Info)
	}
	b.teams.answer = at(map[string]int{"/x": 401})
	b.until(t, func() bool { return b.circuits.failures[b.key(t)] == 5 })
	require.Len(t, b.teams.posts, 5)
	opened := b.clock.now()
	require.Equal(t, opened.Add(circuitTime), b.wishes.ats[len(b.wishes.ats)-1], "nothing is posted for ten minutes")

	require.Len(t, b.record.told, 1)
	for key, e := range b.record.told {
		require.Regexp(t, "^channel/SRE/[0-9]+$", key)
		require.Equal(t, []cards.Stakeholder{cards.CloudOps}, e.Stakeholders, "the preferred channel is the broken one itself, so another is told")
		card, err := cards.Render(cards.Event{ID: "1", At: opened, Type: e.Type, Details: e.Details}, cards.Links{})
		require.NoError(t, err)
		require.Contains(t, string(card), "HTTP 401")
		require.NotContains(t, string(card), "TopSecret")
	}
	require.Equal(t, 1, b.record.copies[critical.String()+" CLOUDOPS"], "CRITICAL goes to the fallback, too")
	require.Len(t, b.record.copies, 1)
	require.Equal(t, 2, b.wishes.others["CLOUDOPS"], "which is told to drain")

	// While it is open: no post, and what is new and CRITICAL goes there at once.
	late := b.record.add(t, cards.Critical)
	b.drain(t)
	require.Len(t, b.teams.posts, 5)
	require.Equal(t, 1, b.record.copies[late.String()+" CLOUDOPS"])
	require.Len(t, b.record.told, 1, "told once")

	// After its time one post finds out.
	b.clock.add(circuitTime)
	b.drain(t)
	require.Len(t, b.teams.posts, 6)
	require.Len(t, b.record.told, 1, "still the same trouble")
	b.teams.answer = nil
	b.clock.add(circuitTime)
	b.until(t, func() bool { return b.record.unsentIn("SRE", cards.Info) == 0 })
	require.Empty(t, b.circuits.failures)
	require.InDelta(t, 2, counts(t, b, "teams_notifications_total")["SRE other copied_to_fallback CRITICAL"], 0)
	require.Positive(t, counts(t, b, "teams_rate_limit_deferrals_total")["SRE circuit"])
	require.InDelta(t, 6, counts(t, b, "teams_delivery_attempts_total")["SRE config 401"], 0)
}

// TestAnotherWebhookClosesTheCircuit: the operator has put a good address into Vault; nobody waits for the ten minutes.
func TestAnotherWebhookClosesTheCircuit(t *testing.T) {
	b := newBench(t, teams.Options{})
	for range 5 {
		b.record.add(t, cards.High)
	}
	b.teams.answer = at(map[string]int{"/x": 404})
	b.until(t, func() bool { return b.circuits.failures[b.key(t)] == 5 })
	require.Empty(t, b.record.told, "there is no other channel to tell")
	b.hooks(t, map[cards.Stakeholder]string{cards.SRE: otherPath})
	b.until(t, func() bool { return b.record.unsentIn("SRE", cards.High) == 0 })
	require.Less(t, b.clock.now().Sub(b.wishes.ats[0]), circuitTime)
}

func TestOnlyRefusalsInARowCount(t *testing.T) {
	b := newBench(t, teams.Options{Concurrency: 1})
	for range 20 {
		b.record.add(t, cards.High)
	}
	n := 0
	b.teams.answer = func(p notify.Post) notify.Result {
		n++
		switch n % 5 {
		case 0:
			return notify.Result{Class: notify.Accepted, Status: 202}
		case 1:
			return notify.Result{Class: notify.Temporary, Status: 503, Safe: "x"}
		}
		return at(map[string]int{"": 401})(p)
	}
	b.until(t, func() bool { return n > 60 || b.record.unsentIn("SRE", cards.High) == 0 })
	require.Empty(t, b.record.told)
	require.Less(t, b.circuits.failures[b.key(t)], 5)
}

// TestPreviousAddress: the new address is not valid yet (or the old one not any more): the card goes out by the one that works.
func TestPreviousAddress(t *testing.T) {
	for _, status := range []int{401, 403, 404} {
		stale := 0
		b := newBench(t, teams.Options{Concurrency: 1, Refused: func() { stale++ }})
		b.hooks(t, map[cards.Stakeholder]string{cards.SRE: srePath + " " + otherPath})
		id := b.record.add(t, cards.High)
		b.teams.answer = at(map[string]int{"/x": status})
		b.drain(t)
		require.NotNil(t, b.record.get(id).SentAt)
		require.Zero(t, b.record.get(id).RetryCount)
		require.Equal(t, []string{"msg_" + id.String(), "msg_" + id.String()}, b.teams.ids(), "the same id")
		require.Equal(t, 1, stale, "somebody may look whether there is a better one")
		require.Empty(t, b.circuits.failures, "cards arrive: no reason to stop")
	}

	b := newBench(t, teams.Options{Concurrency: 1})
	b.hooks(t, map[cards.Stakeholder]string{cards.SRE: srePath + " " + otherPath})
	id := b.record.add(t, cards.High)
	b.teams.answer = at(map[string]int{"/x": 401, "/other": 404})
	b.drain(t)
	require.Equal(t, 1, b.record.get(id).RetryCount, "both are wrong: one failure")
	require.Equal(t, 401, *b.record.get(id).StatusCode, "that of the current one")
	require.Len(t, b.teams.posts, 2)

	b = newBench(t, teams.Options{Concurrency: 1})
	b.hooks(t, map[cards.Stakeholder]string{cards.SRE: srePath + " " + otherPath})
	id = b.record.add(t, cards.High)
	b.teams.answer = at(map[string]int{"/x": 401, "/other": 503})
	b.drain(t)
	require.Equal(t, 503, *b.record.get(id).StatusCode, "it may arrive there yet")
	require.Empty(t, b.circuits.failures)

	b = newBench(t, teams.Options{Concurrency: 1})
	b.hooks(t, map[cards.Stakeholder]string{cards.SRE: srePath + " " + otherPath})
	id = b.record.add(t, cards.High)
	b.teams.answer = at(map[string]int{"/x": 500})
	b.drain(t)
	require.Len(t, b.teams.posts, 1, "a server's trouble is no reason for the other address")
	require.Equal(t, 1, b.record.get(id).RetryCount)
}

// TestTheLimitHoldsForThePreviousAddress: without a grant for it the message waits, and nothing counts as failed.
func TestTheLimitHoldsForThePreviousAddress(t *testing.T) {
	b := newBench(t, teams.Options{Concurrency: 1})
	b.hooks(t, map[cards.Stakeholder]string{cards.SRE: srePath + " " + otherPath})
	id := b.record.add(t, cards.High)
	b.teams.answer = at(map[string]int{"/x": 401})
	b.limit.left, b.limit.in = 1, 700*time.Millisecond
	b.drain(t)
	require.Len(t, b.teams.posts, 1)
	require.Zero(t, b.record.get(id).RetryCount)
	require.Nil(t, b.record.get(id).StatusCode)
	require.Equal(t, []time.Time{b.clock.now().Add(700 * time.Millisecond)}, b.wishes.ats)
	b.limit.left = 2
	b.clock.add(time.Second)
	b.drain(t)
	require.NotNil(t, b.record.get(id).SentAt)
}

// TestTheLimitHoldsForTheMinimalCard: the same for a card that was too large; it is found too large once.
func TestTheLimitHoldsForTheMinimalCard(t *testing.T) {
	b := newBench(t, teams.Options{Concurrency: 1})
	id := b.record.add(t, cards.High)
	b.teams.answer = func(p notify.Post) notify.Result {
		if strings.Contains(string(p.Body), "FactSet") {
			return notify.Classify("x", 413, http.Header{}, nil, time.Now())
		}
		return notify.Result{Class: notify.Accepted, Status: 202}
	}
	b.limit.left = 1
	b.drain(t)
	require.Len(t, b.teams.posts, 1)
	require.Zero(t, b.record.get(id).RetryCount)
	b.limit.left = 1
	b.clock.add(time.Second)
	b.drain(t)
	require.Len(t, b.teams.posts, 2)
	require.NotNil(t, b.record.get(id).SentAt)
	require.InDelta(t, 2, counts(t, b, "teams_card_truncations_total")["nphies.claim.submitted minimal"], 0)
}

// TestUnknownWebhooksWait: Vault has not answered yet. Nothing fails, nothing is lost.
func TestUnknownWebhooksWait(t *testing.T) {
	b := newBench(t, teams.Options{})
	b.dir.SetKnown(false)
	id := b.record.add(t, cards.Critical)
	b.drain(t)
	require.Empty(t, b.teams.posts)
	require.Zero(t, b.record.get(id).RetryCount)
	require.Equal(t, []time.Time{b.clock.now().Add(5 * time.Second)}, b.wishes.ats)
	require.InDelta(t, 1, counts(t, b, "teams_rate_limit_deferrals_total")["SRE webhook"], 0)
	b.dir.SetKnown(true)
	b.clock.add(5 * time.Second)
	b.drain(t)
	require.NotNil(t, b.record.get(id).SentAt)
}

// TestCriticalOfAMissingChannelGoesElsewhere: it fails visibly, and somebody gets it all the same.
func TestCriticalOfAMissingChannelGoesElsewhere(t *testing.T) {
	b := newBench(t, teams.Options{MaxRetries: 1, Fallback: cards.CloudOps})
	b.hooks(t, map[cards.Stakeholder]string{cards.CloudOps: otherPath})
	b.teams.answer = func(p notify.Post) notify.Result { return notify.NewPoster(notify.Options{}).Post(t.Context(), p) }
	critical, high := b.record.add(t, cards.Critical), b.record.add(t, cards.High)
	b.drain(t)
	require.NotNil(t, b.record.get(critical).DeadAt)
	require.NotNil(t, b.record.get(high).DeadAt)
	require.Equal(t, map[string]int{critical.String() + " CLOUDOPS": 1}, b.record.copies)
	require.Equal(t, 1, b.wishes.others["CLOUDOPS"])
	require.InDelta(t, 1, counts(t, b, "teams_notifications_total")["SRE nphies.claim.submitted given_up CRITICAL"], 0)
}

// TestThrottlingUsesUpNoRetry: Teams asks to come later for hours; every card arrives when it lets us, the urgent ones first. Asked
// for longer than a day, a row ends.
func TestThrottlingUsesUpNoRetry(t *testing.T) {
	b := newBench(t, teams.Options{Concurrency: 1})
	low := b.record.add(t, cards.Low)
	busy := func(notify.Post) notify.Result {
		return notify.Classify("x", 429, http.Header{"Retry-After": {"600"}}, nil, time.Now())
	}
	b.teams.answer = busy
	b.drain(t)
	critical := b.record.add(t, cards.Critical)
	end := b.clock.now().Add(23 * time.Hour)
	b.until(t, func() bool { return b.clock.now().After(end) })
	require.Zero(t, b.record.get(low).RetryCount)
	require.Zero(t, b.record.get(critical).RetryCount)
	require.InDelta(t, 600, gauge(t, b, "teams_retry_after_seconds"), 0)
	posts := len(b.teams.posts)
	b.teams.answer = nil
	b.until(t, func() bool { return b.record.unsent() == 0 })
	require.Equal(t, []string{"msg_" + critical.String(), "msg_" + low.String()}, b.teams.ids()[posts:])

	b.teams.answer = busy
	id := b.record.add(t, cards.Low)
	b.until(t, func() bool { return b.record.get(id).DeadAt != nil })
	require.Equal(t, 3, b.record.get(id).RetryCount)
}

// key names the webhook of the bench's channel in the limiter and the breaker.
func (b *bench) key(tb testing.TB) string {
	tb.Helper()
	h, ok := b.dir.Hook(channel)
	require.True(tb, ok)
	return h.URL.Key()
}

func (r *record) unsentIn(ch string, p cards.Priority) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, row := range r.rows {
		if row.Channel == ch && row.Priority == string(p) && row.SentAt == nil && row.DeadAt == nil {
			n++
		}
	}
	return n
}

// gauge reads a gauge of the channel.
func gauge(t *testing.T, b *bench, name string) float64 {
	t.Helper()
	families, err := b.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == channel {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no %s", name)
	return 0
}

// TestMetricsHaveClosedLabels: what stands in a row or a payload makes no new series.
func TestMetricsHaveClosedLabels(t *testing.T) {
	b := newBench(t, teams.Options{})
	id := b.record.add(t, cards.High)
	b.record.rows[0].EventType = "made.up." + id.String()
	b.record.rows[0].Channel = "https://x.example/?sig=TopSecret"
	b.registry.MustRegister(teams.Circuits(b.dir, b.circuits))
	require.NoError(t, b.Drain(t.Context(), "https://x.example/?sig=TopSecret"))
	families, err := b.registry.Gather()
	require.NoError(t, err)
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
		require.NotContains(t, f.String(), "TopSecret")
		require.NotContains(t, f.String(), id.String())
	}
	require.True(t, names["teams_circuit_state"])
	require.InDelta(t, 0, gauge(t, b, "teams_circuit_state"), 0)
	for range 5 {
		_, err := b.circuits.Fail(t.Context(), b.key(t))
		require.NoError(t, err)
	}
	require.InDelta(t, 2, gauge(t, b, "teams_circuit_state"), 0)
	b.clock.add(circuitTime)
	require.InDelta(t, 1, gauge(t, b, "teams_circuit_state"), 0)
}

// TestACriticalRowThatDiesGoesToTheFallback, whatever its channel died of.
func TestACriticalRowThatDiesGoesToTheFallback(t *testing.T) {
	b := newBench(t, teams.Options{MaxRetries: 2})
	b.hooks(t, map[cards.Stakeholder]string{cards.SRE: srePath, cards.CloudOps: otherPath})
	id := b.record.add(t, cards.Critical)
	b.teams.answer = at(map[string]int{"/x": 503})
	b.until(t, func() bool { return b.record.get(id).DeadAt != nil })
	require.Equal(t, 1, b.record.copies[id.String()+" CLOUDOPS"])
}
