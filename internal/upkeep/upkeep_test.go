package upkeep_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/internal/upkeep"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// channels: SRE and PMO share one webhook, the others have one each.
type channels struct{}

func (channels) Channels(who []cards.Stakeholder) []store.Channel {
	var out []store.Channel
	shared := -1
	for _, w := range who {
		if (w == cards.SRE || w == cards.PMO) && shared >= 0 {
			out[shared].Stakeholders = append(out[shared].Stakeholders, w)
			continue
		}
		if w == cards.SRE || w == cards.PMO {
			shared = len(out)
			w2 := cards.SRE
			out = append(out, store.Channel{Name: string(w2), Stakeholders: []cards.Stakeholder{w}})
			continue
		}
		out = append(out, store.Channel{Name: string(w), Stakeholders: []cards.Stakeholder{w}})
	}
	return out
}

type bench struct {
	*upkeep.Upkeep
	t        *testing.T
	store    *store.Store
	pool     *pgxpool.Pool
	redis    *redis.Client
	now      time.Time
	notified []string
}

func (b *bench) Notify(_ context.Context, channels ...string) error {
	b.notified = append(b.notified, channels...)
	return nil
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, pool: testenv.Pool(t), redis: testenv.Redis(t), now: time.Now()}
	clock := func() time.Time { return b.now }
	b.store = store.New(b.pool, store.Options{Router: channels{}, Now: clock})
	b.Upkeep = upkeep.New(b.store, b.redis, b, testenv.Logger(t), upkeep.Options{
		Prefix: "teams:events:", TTL: time.Hour, Retention: 90 * 24 * time.Hour, Silence: 7 * 24 * time.Hour, Now: clock,
	})
	return b
}

func (b *bench) tell(key string) {
	b.t.Helper()
	_, err := b.store.Tell(b.t.Context(), store.Event{Key: key, Event: cards.Event{
		Type: cards.EligibilityDeniedEvent, CorrelationID: "corr-" + key, Details: cards.EligibilityDenied{CheckRef: key},
	}})
	require.NoError(b.t, err)
}

func (b *bench) count(where string, args ...any) int {
	b.t.Helper()
	var n int
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), `SELECT count(*) FROM teams_notifications WHERE `+where, args...).Scan(&n))
	return n
}

// TestEventsArePublishedOnce: one message and one key for an event, however many channels it goes to, and nothing of its card.
func TestEventsArePublishedOnce(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	sub := b.redis.Subscribe(ctx, "teams:events:nphies.eligibility.denied")
	defer sub.Close()
	_, err := sub.Receive(ctx) // the subscription stands
	require.NoError(t, err)
	for i := range 3 {
		b.tell(fmt.Sprint("k", i))
	}
	require.NoError(t, b.Publish(ctx))
	require.NoError(t, b.Publish(ctx))
	for i := range 3 {
		m, err := sub.ReceiveMessage(ctx)
		require.NoError(t, err)
		var e store.Published
		require.NoError(t, json.Unmarshal([]byte(m.Payload), &e))
		require.Equal(t, fmt.Sprint("corr-k", i), e.CorrelationID)
		require.Equal(t, "nphies.eligibility.denied", e.EventType)
		require.Equal(t, []string{"COMPLIANCE", "NPHIES_INTEGRATION"}, e.Stakeholders)
		require.Len(t, e.Notifications, 2)
		require.NotContains(t, m.Payload, "AdaptiveCard")
		kept, err := b.redis.Get(ctx, "teams:events:nphies.eligibility.denied:"+e.ID.String()).Result()
		require.NoError(t, err)
		require.Equal(t, m.Payload, kept)
		ttl, err := b.redis.TTL(ctx, "teams:events:nphies.eligibility.denied:"+e.ID.String()).Result()
		require.NoError(t, err)
		require.Greater(t, ttl, 59*time.Minute)
	}
	keys, err := b.redis.Keys(ctx, "teams:events:*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 3)

	// Redis is away: nothing counts as published, and the next look does it.
	b.tell("later")
	away := upkeep.New(b.store, redis.NewClient(&redis.Options{Network: "unix", Addr: "/nonexistent.sock", MaxRetries: -1}), b, testenv.Logger(t), upkeep.Options{Prefix: "p:", TTL: time.Hour})
	require.Error(t, away.Publish(ctx))
	require.Equal(t, 2, b.count(`published_at IS NULL`))
	require.NoError(t, b.Publish(ctx))
	require.Zero(t, b.count(`published_at IS NULL`))
}

func TestOldNotificationsGo(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	_, err := b.pool.Exec(ctx, `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, alert_key, created_at, sent_at, acknowledged_at, dead_at)
		SELECT gen_random_uuid(), kind, 'x', '{SRE}', priority, '', '{}', gen_random_uuid()::text, $1::timestamptz - age, CASE WHEN kind LIKE 'sent%' THEN $1::timestamptz END,
			CASE WHEN kind = 'sent acknowledged' THEN $1::timestamptz END, CASE WHEN kind = 'dead' THEN $1::timestamptz END
		FROM unnest(ARRAY['sent', 'sent acknowledged', 'waiting', 'dead']) AS kind, unnest(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW', 'INFO']) AS priority,
			unnest(ARRAY[interval '89 days', interval '91 days']) AS age, generate_series(1, 60)`, b.now)
	require.NoError(t, err)
	require.Equal(t, 2400, b.count(`true`))
	require.NoError(t, b.Tidy(ctx))
	old := b.now.AddDate(0, 0, -90)
	require.Equal(t, 1200, b.count(`created_at > $1`, old), "what is young stays")
	require.Equal(t, 600, b.count(`created_at <= $1 AND sent_at IS NULL`, old), "what Teams did not take stays")
	require.Equal(t, 120, b.count(`created_at <= $1 AND correlation_id = 'sent' AND priority IN ('CRITICAL', 'HIGH')`, old), "what is urgent and nobody acknowledged stays")
	require.Zero(t, b.count(`created_at <= $1 AND (correlation_id = 'sent acknowledged' OR (correlation_id = 'sent' AND priority NOT IN ('CRITICAL', 'HIGH')))`, old))
}

// TestSilentChannelsShowThatTheyLive: once a week, each for itself, those that share a webhook once.
func TestSilentChannelsShowThatTheyLive(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	require.NoError(t, b.Heartbeat(ctx))
	require.Zero(t, b.count(`true`), "nothing has happened yet: there is nothing to count from")
	b.tell("first")
	require.NoError(t, b.Heartbeat(ctx))
	require.Zero(t, b.count(`event_type = 'teams.channel.heartbeat'`))
	_, err := b.pool.Exec(ctx, `UPDATE teams_notifications SET created_at = created_at - interval '8 days'`)
	require.NoError(t, err)
	b.tell("second") // COMPLIANCE and NPHIES_INTEGRATION are not silent
	require.NoError(t, b.Heartbeat(ctx))
	require.NoError(t, b.Heartbeat(ctx))
	rows, err := b.pool.Query(ctx, `SELECT channel || ': ' || array_to_string(stakeholders, '+') FROM teams_notifications WHERE event_type = 'teams.channel.heartbeat' ORDER BY 1`)
	require.NoError(t, err)
	var got []string
	for rows.Next() {
		var s string
		require.NoError(t, rows.Scan(&s))
		got = append(got, s)
	}
	require.NoError(t, rows.Err())
	require.Equal(t, []string{"CLOUDOPS: CLOUDOPS", "DEVOPS: DEVOPS", "RUNTIME_ENG: RUNTIME_ENG", "SECURITY_ENG: SECURITY_ENG", "SRE: SRE+PMO"}, got)
	require.Len(t, b.notified, 5)
}

// TestResend: what was given up gets a fresh budget, what was sent a copy with an id of its own; each with a name and a reason.
func TestResend(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	b.tell("k")
	list, err := b.store.Notifications(ctx, nil, 10)
	require.NoError(t, err)
	require.Len(t, list, 2)
	d := store.Decision{ID: list[0].ID, Actor: "amal", Source: "cli", Reason: "the channel was new"}
	out, err := b.store.Resend(ctx, d)
	require.NoError(t, err)
	require.False(t, out.Applied, "it waits anyway")
	require.NoError(t, b.store.MarkFailed(ctx, store.SendFailed{ID: d.ID, Text: "403", Dead: true, NextAttemptAt: b.now}))
	out, err = b.store.Resend(ctx, d)
	require.NoError(t, err)
	require.True(t, out.Applied)
	require.Equal(t, d.ID, out.Notification.ID)
	require.Zero(t, out.Notification.RetryCount)
	require.Nil(t, out.Notification.DeadAt)

	require.NoError(t, b.store.MarkSent(ctx, store.Sent{ID: d.ID, StatusCode: 202, At: b.now}))
	out, err = b.store.Resend(ctx, d)
	require.NoError(t, err)
	require.True(t, out.Applied)
	require.NotEqual(t, d.ID, out.Notification.ID)
	require.Nil(t, out.Notification.SentAt)
	require.JSONEq(t, string(list[0].Card), string(out.Notification.Card))
	require.Equal(t, 1, b.count(`id = $1 AND sent_at IS NOT NULL`, d.ID), "the proof of the first stays")

	_, err = b.store.Resend(ctx, store.Decision{ID: d.ID, Actor: "amal", Source: "cli"})
	require.ErrorIs(t, err, store.ErrReason)
	_, err = b.store.Resend(ctx, store.Decision{ID: uuid.New(), Actor: "amal", Source: "cli", Reason: "x"})
	require.True(t, store.IsNotFound(err))
	trail, err := b.store.Actions(ctx, d.ID.String(), 0)
	require.NoError(t, err)
	require.Equal(t, []string{"applied", "applied", "already"}, []string{trail[0].Outcome, trail[1].Outcome, trail[2].Outcome})
}

// TestTheFourQuestions asks what docs/teams-queries.md asks.
func TestTheFourQuestions(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	doc, err := os.ReadFile("../../docs/teams-queries.md")
	require.NoError(t, err)
	var queries []string
	for part := range strings.SplitSeq(string(doc), "```sql\n") {
		if sql, _, ok := strings.Cut(part, "\n```"); ok {
			queries = append(queries, sql)
		}
	}
	require.Len(t, queries, 4)
	_, err = b.pool.Exec(ctx, `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, alert_key, channel, created_at, sent_at, acknowledged_at, dead_at, retry_count, error_message) VALUES
		(gen_random_uuid(), 'old',      'vault.seal.detected',    '{SRE}', 'CRITICAL', '', '{}', gen_random_uuid()::text, 'SRE', now() - interval '3 days',  now() - interval '3 days',  NULL, NULL, 0, NULL),
		(gen_random_uuid(), 'new',      'redis.node.down',        '{SRE}', 'CRITICAL', '', '{}', gen_random_uuid()::text, 'SRE', now() - interval '1 hour',  now() - interval '1 hour',  NULL, NULL, 0, NULL),
		(gen_random_uuid(), 'done',     'redis.node.down',        '{SRE}', 'CRITICAL', '', '{}', gen_random_uuid()::text, 'SRE', now() - interval '2 hours', now() - interval '2 hours', now() - interval '110 minutes', NULL, 0, NULL),
		(gen_random_uuid(), 'done too', 'redis.node.down',        '{SRE}', 'CRITICAL', '', '{}', gen_random_uuid()::text, 'SRE', now() - interval '2 days',  now() - interval '2 days',  now() - interval '2 days' + interval '30 minutes', NULL, 0, NULL),
		(gen_random_uuid(), 'high',     'nphies.claim.rejected',  '{PMO}', 'HIGH',     '', '{}', gen_random_uuid()::text, 'PMO', now() - interval '1 hour',  now() - interval '1 hour',  now() - interval '30 minutes', NULL, 0, NULL),
		(gen_random_uuid(), 'failing',  'nphies.claim.rejected',  '{PMO}', 'HIGH',     '', '{}', gen_random_uuid()::text, 'PMO', now() - interval '1 hour',  NULL, NULL, NULL, 2, 'timed out'),
		(gen_random_uuid(), 'dead',     'nphies.claim.submitted', '{PMO}', 'INFO',     '', '{}', gen_random_uuid()::text, 'PMO', now() - interval '2 days',  NULL, NULL, now(), 3, '403'),
		(gen_random_uuid(), 'waiting',  'nphies.claim.submitted', '{PMO}', 'INFO',     '', '{}', gen_random_uuid()::text, 'PMO', now(),                      NULL, NULL, NULL, 0, NULL)`)
	require.NoError(t, err)
	ask := func(sql string, columns string) []string {
		t.Helper()
		rows, err := b.pool.Query(ctx, `SELECT concat_ws(' ', `+columns+`) FROM (`+strings.TrimSuffix(sql, ";")+`) q`)
		require.NoError(t, err)
		defer rows.Close()
		var out []string
		for rows.Next() {
			var s string
			require.NoError(t, rows.Scan(&s))
			out = append(out, s)
		}
		require.NoError(t, rows.Err())
		return out
	}
	require.Equal(t, []string{"old", "new"}, ask(queries[0], "correlation_id"))
	require.Equal(t, []string{"nphies.claim.rejected 2 1", "redis.node.down 2 2", "nphies.claim.submitted 1 0"}, ask(queries[1], "event_type, notifications, delivered"))
	require.Equal(t, []string{"2 timed out f", "3 403 t"}, ask(queries[2], "retry_count, error_message, given_up"))
	require.Equal(t, []string{"CRITICAL 2 20", "HIGH 1 30"}, ask(queries[3], "priority, acknowledged, round(extract(epoch FROM mean_time_to_acknowledge) / 60)"))
}
