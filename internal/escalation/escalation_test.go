package escalation_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/escalation"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/pagerduty"
	"github.com/claimlinc/nphiesq/internal/reconcile"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

type perGroup struct{}

func (perGroup) Channels(who []cards.Stakeholder) []store.Channel {
	var out []store.Channel
	for _, s := range who {
		out = append(out, store.Channel{Name: string(s), Stakeholders: []cards.Stakeholder{s}})
	}
	return out
}

const pagerKey config.Secret = "R0123456789abcdefghijABCDEFGHIJ0"

// bench is everything from the dead letter to PagerDuty, on a clock of its own.
type bench struct {
	*escalation.Escalation
	t      *testing.T
	pool   *pgxpool.Pool
	store  *store.Store
	queue  *broker.Queue
	core   *actions.Core
	sim    *nphiessim.Sim
	pages  *pagerduty.Handler
	letter *reconcile.Letters
	mu     sync.Mutex
	now    time.Time
}

func (b *bench) clock() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now }

func (b *bench) wait(d time.Duration) { b.mu.Lock(); defer b.mu.Unlock(); b.now = b.now.Add(d) }

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, pool: testenv.Pool(t), now: time.Now(), sim: nphiessim.New(nphiessim.Options{})}
	b.store, b.queue = store.New(b.pool, store.Options{Router: perGroup{}, Environment: "test", Now: b.clock}), broker.New(testenv.Redis(t))
	srv := httptest.NewServer(b.sim.Teams())
	t.Cleanup(func() { b.sim.Close(); srv.Close() })
	log := testenv.Logger(t)
	keys := pagerduty.Keys{config.PagerDefault: pagerKey}
	b.core = &actions.Core{Store: b.store, Queue: b.queue, Now: b.clock, Log: log, Pager: &pagerduty.Pager{Keys: keys, Environment: "test", Monitor: "https://monitor.example"}}
	client, err := pagerduty.NewClient(pagerduty.Options{BaseURL: srv.URL})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	r := prometheus.NewRegistry()
	b.pages = &pagerduty.Handler{Store: b.store, Sender: client, Keys: keys, Schedule: b.queue, Metrics: pagerduty.NewMetrics(r), Log: log, Now: b.clock}
	b.letter = &reconcile.Letters{Store: b.store, Notify: b.queue, Log: log, Endpoint: "nphies.example"}
	b.Escalation = escalation.New(b.store, b.core, r, log, escalation.Options{Critical: 5 * time.Minute, High: 30 * time.Minute, Now: b.clock})
	return b
}

// post plays Teams: all that waits is taken now.
func (b *bench) post() {
	b.t.Helper()
	_, err := b.pool.Exec(b.t.Context(), `UPDATE teams_notifications SET sent_at = $1, status_code = 202 WHERE sent_at IS NULL`, b.clock())
	require.NoError(b.t, err)
}

func (b *bench) look() { b.t.Helper(); require.NoError(b.t, b.Once(b.t.Context())) }

// drain sends the pages and returns the actions that arrived so far, in order.
func (b *bench) drain() []string {
	b.t.Helper()
	require.NoError(b.t, b.pages.Drain(b.t.Context()))
	var out []string
	for _, e := range b.sim.PagerEvents() {
		require.Empty(b.t, e.Problems)
		out = append(out, e.Action)
	}
	return out
}

func (b *bench) claim() store.Claim {
	b.t.Helper()
	c, _, err := b.store.CreateClaim(b.t.Context(), store.NewClaim{
		License: "PR-1", Identifier: store.Identifier{System: "s", Value: "CLM-1"}, Payer: "INS", Claimed: decimal.New(100, -2),
		HeaderID: "h", BundleID: "b", SourceHash: "x", Event: "claim-request", Body: []byte("{}"),
	})
	require.NoError(b.t, err)
	return c
}

func (b *bench) die(c store.Claim, episode int) {
	b.t.Helper()
	task := tasks.NewSubmit(c.ID, episode)
	require.NoError(b.t, b.letter.Write(b.t.Context(), reconcile.Dead{
		Queue: task.Queue, Type: task.Type(), ID: task.ID, Payload: task.Payload(), Retried: 8, MaxRetry: 8, ErrorText: "send: network: NPHIES refused the connection", LastFailedAt: b.clock(),
	}))
}

func (b *bench) answer(c store.Claim) {
	b.t.Helper()
	m, err := b.store.SaveMessage(b.t.Context(), store.Message{Direction: store.In, Event: "claim-response", License: c.License, ClaimID: &c.ID, Body: []byte("{}")})
	require.NoError(b.t, err)
	_, err = b.store.RecordAnswer(b.t.Context(), store.Answer{ClaimID: c.ID, MessageID: m, Fingerprint: "f", Outcome: "complete", State: store.Approved}, nil)
	require.NoError(b.t, err)
}

func (b *bench) told(where string) []store.Alert {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), `SELECT id FROM teams_notifications WHERE `+where+` ORDER BY created_at, id`)
	require.NoError(b.t, err)
	var out []store.Alert
	for rows.Next() {
		var id uuid.UUID
		require.NoError(b.t, rows.Scan(&id))
		out = append(out, store.Alert{ID: id})
	}
	require.NoError(b.t, rows.Err())
	for i := range out {
		a, err := b.store.AlertOf(b.t.Context(), out[i].ID)
		require.NoError(b.t, err)
		out[i] = a
	}
	return out
}

func (b *bench) do(a store.Alert, v actions.Verb) {
	b.t.Helper()
	r, err := b.core.Do(b.t.Context(), actions.Command{Notification: a.Notification, Verb: v, Reason: "seen to", Actor: actions.Actor{Name: "Demo Operator"}, Source: actions.FromAPI})
	require.NoError(b.t, err)
	require.Equal(b.t, actions.Applied, r.Outcome, r.Message)
}

// TestFromDeadLetterToPagerDuty: unacknowledged, it is escalated; acknowledged, answered, PagerDuty follows, in order.
func TestFromDeadLetterToPagerDuty(t *testing.T) {
	b := newBench(t)
	c := b.claim()
	b.die(c, 1)
	b.wait(time.Hour)
	b.look()
	require.Empty(t, b.told(`state = 'escalated'`), "its card has not left yet")
	b.post()
	b.wait(29 * time.Minute)
	b.look()
	require.Empty(t, b.told(`state = 'escalated'`), "there is time yet")
	b.wait(2 * time.Minute)
	b.look()
	b.look()
	require.Empty(t, b.told(`state = 'open'`))

	next := b.told(`channel = 'CLOUDOPS'`)
	require.Len(t, next, 1, "RUNTIME_ENG, SRE and NPHIES_INTEGRATION know already")
	var priority, card string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT priority, card_payload::text FROM teams_notifications WHERE channel = 'CLOUDOPS'`).Scan(&priority, &card))
	require.Equal(t, "CRITICAL", priority)
	require.Contains(t, card, "nobody acknowledged it within 30 minutes")
	require.Nil(t, next[0].AcknowledgedAt, "nobody acknowledged it")
	require.Equal(t, store.AlertEscalated, next[0].State)

	require.Equal(t, []string{"trigger"}, b.drain())
	e := b.sim.PagerEvents()[0]
	require.Equal(t, "critical", e.Severity)
	require.Equal(t, "[CRITICAL] Dead letter: nphies:submit", strings.TrimSuffix(e.Summary, ": CLM-1"))
	require.Equal(t, "test:"+next[0].ID.String(), e.DedupKey)
	var body pagerduty.Payload
	require.NoError(t, json.Unmarshal(e.Body, &body))
	require.True(t, strings.HasPrefix(body.ClientURL, "https://monitor.example/notifications/"), body.ClientURL)
	require.Equal(t, "task.dlq", body.Payload.Class)
	require.Equal(t, "asynq", body.Payload.Component)
	facts := body.Payload.Custom.(map[string]any)["facts"].(map[string]any)
	require.Equal(t, "CLM-1", facts["claim_ref"])

	b.do(next[0], actions.Acknowledge)
	require.Equal(t, []string{"trigger", "acknowledge"}, b.drain())
	b.answer(c)
	require.Equal(t, []string{"trigger", "acknowledge", "resolve"}, b.drain())
	require.Equal(t, "resolved", b.sim.PagerIncidents()[0].State)
	require.Empty(t, b.told(`state IN ('open', 'escalated', 'acknowledged')`))
	b.wait(24 * time.Hour)
	b.post()
	b.look()
	require.Len(t, b.drain(), 3, "what is over is not escalated")
	_, err := b.store.VerifyActions(t.Context())
	require.NoError(t, err)
}

// TestDecisionsOnTheCommandLineReachPagerDuty: also what is decided about the dead letter itself.
func TestDecisionsOnTheCommandLineReachPagerDuty(t *testing.T) {
	b := newBench(t)
	c := b.claim()
	b.die(c, 1)
	b.post()
	b.wait(time.Hour)
	b.look()
	letters, err := b.store.DeadLetters(t.Context(), store.LetterFilter{})
	require.NoError(t, err)
	_, err = b.core.Retry(t.Context(), store.Decision{ID: letters[0].ID, Actor: "op", Source: "cli", Reason: "mended"})
	require.NoError(t, err)
	require.Equal(t, []string{"trigger", "acknowledge"}, b.drain())

	b.wait(time.Hour)
	b.die(c, 2) // the retry failed
	b.look()
	require.Len(t, b.told(`state = 'open' AND channel = 'SRE'`), 4, "it waits for people again, in both of its cards, and is not escalated before the new card has left")
	b.post()
	b.wait(29 * time.Minute)
	b.look()
	require.Empty(t, b.told(`state = 'escalated'`))
	b.wait(2 * time.Minute)
	b.look()
	require.Equal(t, []string{"trigger", "acknowledge", "trigger"}, b.drain())
	letters, err = b.store.DeadLetters(t.Context(), store.LetterFilter{States: []store.LetterState{store.LetterOpen}})
	require.NoError(t, err)
	_, err = b.core.Discard(t.Context(), store.Decision{ID: letters[0].ID, Actor: "op", Source: "cli", Reason: "in vain"})
	require.NoError(t, err)
	require.Equal(t, []string{"trigger", "acknowledge", "trigger", "resolve"}, b.drain())
}

// TestAConditionIsEscalatedAgain when its acknowledgement runs out and it still holds; its end reaches PagerDuty.
func TestAConditionIsEscalatedAgain(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	raise := func() {
		t.Helper()
		_, err := b.store.Raise(ctx, store.Condition{Type: cards.VaultSealEvent, Identity: "v1", Details: cards.VaultSeal{Cluster: "c", Node: "v1"}, Lapse: 24 * time.Hour})
		require.NoError(t, err)
		b.post()
	}
	raise()
	b.wait(4 * time.Minute)
	b.look()
	require.Empty(t, b.told(`state = 'escalated'`))
	b.wait(2 * time.Minute)
	b.look()
	esc := b.told(`channel = 'PMO'`)
	require.Len(t, esc, 1, "SECURITY_ENG, SRE and CLOUDOPS know already")
	require.Equal(t, []string{"trigger"}, b.drain())
	b.do(esc[0], actions.Acknowledge)
	require.Equal(t, []string{"trigger", "acknowledge"}, b.drain())
	b.wait(20 * time.Minute)
	raise()
	b.look()
	require.Empty(t, b.told(`state = 'open'`), "an acknowledgement holds for half an hour")
	b.wait(11 * time.Minute)
	_, err := b.store.TellConditions(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, b.told(`state = 'open'`), "it is told again and waits for people again")
	b.look()
	require.Empty(t, b.told(`state = 'escalated'`), "the reminder has not left")
	b.post()
	b.wait(6 * time.Minute)
	b.look()
	require.Empty(t, b.told(`state = 'open'`))
	require.Equal(t, []string{"trigger", "acknowledge", "trigger"}, b.drain())
	_, err = b.store.Clear(ctx, cards.VaultSealEvent, "v1")
	require.NoError(t, err)
	require.Equal(t, []string{"trigger", "acknowledge", "trigger", "resolve"}, b.drain())
}

// TestTenThousandAreOne: one card, one page, one row of the audit trail.
func TestTenThousandAreOne(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	const n = 10_000
	b.die(b.claim(), 1)
	_, err := b.pool.Exec(ctx, `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, channel, event_key, summary, next_attempt_at, alert_key, state, event)
		SELECT gen_random_uuid(), correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, channel, 'dead/' || i, summary, next_attempt_at, 'dead/claim/' || i, 'open', event
		FROM teams_notifications, generate_series(2, $1) i WHERE channel = 'SRE' AND event_type = 'task.dlq'`, n)
	require.NoError(t, err)
	for _, e := range []store.Event{
		{Event: cards.Event{Type: cards.ClaimRejectedEvent, Details: cards.ClaimRejected{}}, Key: "rejected"},
		{Event: cards.Event{Type: cards.BackupFailedEvent, Details: cards.Backup{}}, Key: "backup"},
	} {
		_, err := b.store.Tell(ctx, e)
		require.NoError(t, err)
	}
	b.post()
	_, err = b.pool.Exec(ctx, `UPDATE teams_notifications SET sent_at = sent_at - interval '1 second' WHERE alert_key LIKE 'dead/claim/%-%'`)
	require.NoError(t, err)
	b.wait(31 * time.Minute)
	start := time.Now()
	b.look()
	took := time.Since(start)
	t.Logf("a look at %d took %s", n, took)
	require.Less(t, took, 15*time.Second, "two cores under the race detector need three")

	require.Equal(t, []string{"trigger", "trigger"}, b.drain(), "one of each type")
	var shown, marked, with int
	require.NoError(t, b.pool.QueryRow(ctx, `SELECT count(*) FILTER (WHERE channel = 'CLOUDOPS' AND event_type = 'task.dlq'), count(DISTINCT alert_key) FILTER (WHERE state = 'escalated' AND event_type = 'task.dlq'),
		count(*) FILTER (WHERE action_data ? 'escalated_with') FROM teams_notifications`).Scan(&shown, &marked, &with))
	require.Equal(t, []int{1, n, n - 1}, []int{shown, marked, with})
	var reason string
	require.NoError(t, b.pool.QueryRow(ctx, `SELECT event #>> '{escalated,reason}' FROM teams_notifications WHERE channel = 'CLOUDOPS' AND event_type = 'task.dlq'`).Scan(&reason))
	require.Equal(t, "nobody acknowledged it within 30 minutes, and 9999 more like it", reason)
	require.Len(t, b.told(`state = 'open'`), 3, "a rejected claim is never escalated")
	b.look()
	require.Len(t, b.drain(), 2)
	acts, err := b.store.Actions(ctx, "", 0)
	require.NoError(t, err)
	require.Len(t, acts, 2)
}

// TestATroubleThatGoesOnRingsOncePerHour: dead letters that keep coming join the one that was escalated, until somebody sees to it.
func TestATroubleThatGoesOnRingsOncePerHour(t *testing.T) {
	b := newBench(t)
	rings := func() int { return len(b.drain()) }
	for i := range 20 {
		c, _, err := b.store.CreateClaim(t.Context(), store.NewClaim{
			License: "PR-1", Identifier: store.Identifier{System: "s", Value: fmt.Sprint("T-", i)}, Payer: "INS", Claimed: decimal.New(100, -2),
			HeaderID: "h", BundleID: "b", SourceHash: "x", Event: "claim-request", Body: []byte("{}"),
		})
		require.NoError(t, err)
		b.die(c, 1)
		b.post()
		b.wait(2 * time.Minute)
		b.look()
	}
	require.Equal(t, 1, rings(), "forty minutes, the first of them overdue after thirty")
	b.wait(29 * time.Minute)
	b.look()
	require.Equal(t, 1, rings())
	require.Empty(t, b.told(`state = 'open' AND event_type = 'task.dlq'`), "all are marked")
	b.wait(time.Hour)
	c := b.claim()
	b.die(c, 1)
	b.post()
	b.wait(31 * time.Minute)
	b.look()
	require.Equal(t, 2, rings(), "still nobody: it rings again")
}

// TestAnAcknowledgementBetweenLookAndEscalationCounts: who has it in hand is not called.
func TestAnAcknowledgementBetweenLookAndEscalationCounts(t *testing.T) {
	b := newBench(t)
	b.die(b.claim(), 1)
	b.post()
	b.wait(time.Hour)
	a := b.told(`event_type = 'task.dlq'`)[0]
	b.do(a, actions.Acknowledge)
	r, err := b.core.Do(t.Context(), actions.Command{Notification: a.Notification, Verb: actions.Escalate, Reason: "overdue", Actor: actions.Actor{Type: actions.System, Name: "nphiesq"}, Source: actions.FromSystem})
	require.NoError(t, err)
	require.Equal(t, []any{actions.Already, store.AlertAcknowledged}, []any{r.Outcome, b.told(`event_type = 'task.dlq'`)[0].State})
	require.Empty(t, b.drain())
}

// TestTwoWorkersLookAtOnce: whoever comes second finds it done.
func TestTwoWorkersLookAtOnce(t *testing.T) {
	b := newBench(t)
	b.die(b.claim(), 1)
	b.post()
	b.wait(time.Hour)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = b.Once(t.Context()) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, []string{"trigger"}, b.drain())
	require.Len(t, b.told(`channel = 'CLOUDOPS'`), 1)
}
