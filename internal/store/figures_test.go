package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/store"
)

func TestFigures(t *testing.T) {
	s, pool, clock := open(t)
	ctx := t.Context()
	empty, err := s.Figures(ctx)
	require.NoError(t, err)
	require.Empty(t, empty.Open)
	require.Empty(t, empty.Letters)
	require.Zero(t, empty.OldestLetter)

	c := mustClaim(t, s)
	clock.add(time.Hour)
	_, _, _, err = s.RecordDeadLetter(ctx, letter("t1", &c.ID, clock.Now()), nil)
	require.NoError(t, err)
	require.NoError(t, s.EnsureLicense(ctx, c.License))
	_, err = pool.Exec(ctx, `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, channel, sent_at, dead_at, alert_key) VALUES
		(gen_random_uuid(), 'c', 'vault.seal.detected', '{SRE}', 'CRITICAL', 'u', '{}', 'SRE', now(), NULL, 'a'), (gen_random_uuid(), 'c', 'vault.seal.detected', '{CLOUDOPS}', 'CRITICAL', 'u', '{}', 'CLOUDOPS', now(), NULL, 'a'),
		(gen_random_uuid(), 'c', 'vault.seal.detected', '{SRE}', 'CRITICAL', 'u', '{}', 'SRE', NULL, NULL, 'b'), (gen_random_uuid(), 'c', 'task.dlq', '{SRE}', 'HIGH', 'u', '{}', 'SRE', NULL, now(), 'd')`)
	require.NoError(t, err)

	// A breaker whose first poll got through no longer holds anything back; one that nobody has tried yet does, though its time is over.
	_, err = pool.Exec(ctx, `INSERT INTO pauses (license, payer, error_kind, since, until, breaker, half_open_at) VALUES
		('whole', '', 'network', $1::timestamptz - interval '1 hour', NULL, false, NULL), ('open', '', 'network', $1::timestamptz - interval '1 hour', $1::timestamptz + interval '14 minutes', true, $1),
		('untried', '', 'network', $1::timestamptz - interval '1 hour', $1::timestamptz - interval '1 minute', true, NULL),
		('payers', 'P1', 'network', $1::timestamptz - interval '1 hour', $1::timestamptz + interval '1 minute', false, NULL), ('payers', 'P2', 'network', $1::timestamptz - interval '2 hours', $1::timestamptz - interval '1 hour', false, NULL)`, clock.Now())
	require.NoError(t, err)

	f, err := s.Figures(ctx)
	require.NoError(t, err)
	require.ElementsMatch(t, []store.PauseFigure{{License: "whole", Whole: true}, {License: "untried", Whole: true}, {License: "payers", Payers: 1}}, f.Paused)
	require.Empty(t, f.Waiting["nphies-submit"], "a claim whose dead letter waits for a person does not wait for a worker")
	require.Equal(t, map[string]int{"nphies-submit": 1}, f.WrittenLetters)
	require.Equal(t, map[string]int{"SRE": 1}, f.GivenUp)
	require.Equal(t, []store.ClaimFigure{{Use: store.UseClaim, State: store.Received, Count: 1}}, f.Open)
	outcomes, err := s.Outcomes(ctx)
	require.NoError(t, err)
	require.Empty(t, outcomes)
	require.Contains(t, f.OldestPending, store.UseClaim)
	require.Equal(t, map[string]int{"nphies-submit": 1}, f.Letters)
	require.Len(t, f.Mailboxes, 1)
	require.Len(t, f.Unacknowledged, 1, "what Teams has not taken is in the outbox, not unacknowledged")
	require.Equal(t, 1, f.Unacknowledged[0].Alerts, "an alert in two channels is one")
	var sre store.OutboxFigure
	for _, o := range f.Outbox {
		if o.Channel == "SRE" {
			sre = o
		}
	}
	require.Equal(t, []int{1, 1}, []int{sre.Waiting, sre.GaveUp})
	require.NotNil(t, sre.Oldest)
}

func TestTheAuditTrailIsCheckedAgain(t *testing.T) {
	s, pool, clock := open(t)
	ctx := t.Context()
	last, err := s.LastAuditCheck(ctx)
	require.NoError(t, err)
	require.Zero(t, last.At)
	add := func() {
		require.NoError(t, s.AppendAction(ctx, &store.Action{Actor: "op", Source: "monitor", Verb: "pause", TargetKind: "queue", Target: "x", Outcome: "requested"}))
	}
	for range 4 {
		add()
	}
	c, err := s.CheckAudit(ctx)
	require.NoError(t, err)
	require.True(t, c.Valid)
	require.EqualValues(t, 4, c.Rows)
	require.Equal(t, clock.Now().UTC(), c.At)

	// The end is cut off and grown again: what is left is a whole chain, but not the one that was there before.
	_, err = pool.Exec(ctx, `ALTER TABLE operator_actions DISABLE TRIGGER ALL`)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `DELETE FROM operator_actions WHERE seq > 2`)
	require.NoError(t, err)
	for _, rows := range []int{2, 5} {
		for n := rows - 2; n > 0; n-- {
			add()
		}
		c, err = s.CheckAudit(ctx)
		require.NoError(t, err)
		require.False(t, c.Valid, "%d rows", rows)
		require.NotEmpty(t, c.Problem)
		last, err = s.LastAuditCheck(ctx)
		require.NoError(t, err)
		require.Equal(t, c, last)
	}
}
