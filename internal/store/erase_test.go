package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
)

// TestErase: of a claim that has been over for a month nothing of the person is left, in whatever message they stood; what others sent stays,
// as do numbers, amounts and the answer's versions. It is on record, and the messages are append only again.
func TestErase(t *testing.T) {
	s, pool, clock := open(t)
	ctx := t.Context()
	by := store.Decision{Actor: "nora", Source: "cli", Reason: "request 7"}
	person := []byte(`{"name": "Erased Person"}`)
	n := newClaim()
	n.Body = person
	c, _, err := s.CreateClaim(ctx, n)
	require.NoError(t, err)
	other := mustClaim(t, s)

	save := func(m store.Message) uuid.UUID {
		m.License = c.License
		id, err := s.SaveMessage(ctx, m)
		require.NoError(t, err)
		return id
	}
	answer := save(store.Message{Direction: store.In, Event: "claim-response", ClaimID: &c.ID, Body: person})
	poll := save(store.Message{Direction: store.In, Event: "poll-response", Body: append([]byte("others and "), person...)})
	at0, at1 := 0, 1
	save(store.Message{Direction: store.In, Event: "claim-response", ClaimID: &c.ID, ParentID: &poll, Position: &at0, Body: person})
	kept := save(store.Message{Direction: store.In, Event: "claim-response", ClaimID: &other.ID, ParentID: &poll, Position: &at1, Body: []byte("of the other")})
	ask, _, err := s.CreateFHIRTask(ctx, store.NewFHIRTask{ClaimID: c.ID, Code: store.TaskStatus, License: c.License, Payer: c.Payer, Identifier: store.Identifier{System: "s", Value: "T-1"}, Event: "status-check", Body: person})
	require.NoError(t, err)
	var asked uuid.UUID
	require.NoError(t, pool.QueryRow(ctx, `SELECT message_id FROM fhir_tasks WHERE id = $1`, ask.ID).Scan(&asked))
	save(store.Message{Direction: store.In, Event: "status-response", ReplyTo: &asked, Body: person})
	_, err = pool.Exec(ctx, `UPDATE fhir_tasks SET state = 'completed' WHERE id = $1`, ask.ID)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `INSERT INTO poll_answers (message_id, license) VALUES ($1, $2)`, poll, c.License)
	require.NoError(t, err)

	_, err = s.EraseClaim(ctx, c.ID, by)
	require.True(t, fault.Is(err, fault.Conflict), "it is not over: %v", err)
	_, err = s.RecordAnswer(ctx, store.Answer{ClaimID: c.ID, MessageID: answer, Fingerprint: "f", Outcome: "complete", State: store.Approved, Disposition: "for Erased Person"}, nil)
	require.NoError(t, err)
	clock.add(29 * 24 * time.Hour)
	_, err = s.EraseClaim(ctx, c.ID, by)
	require.True(t, fault.Is(err, fault.Conflict), "it may be reissued: %v", err)
	clock.add(2 * 24 * time.Hour)
	_, err = s.EraseClaim(ctx, c.ID, store.Decision{Actor: "nora", Source: "cli"})
	require.ErrorIs(t, err, store.ErrReason)
	_, err = s.EraseClaim(ctx, uuid.New(), by)
	require.True(t, store.IsNotFound(err))
	letter := func(state string) {
		_, err := pool.Exec(ctx, `INSERT INTO dead_letters (id, queue, task_type, task_id, claim_id, error_kind, first_failed_at, last_failed_at, state)
			VALUES ($1, 'q', 't', 'i', $2, 'network', now(), now(), $3) ON CONFLICT (queue, task_id, episode) DO UPDATE SET state = $3`, uuid.New(), c.ID, state)
		require.NoError(t, err)
	}
	letter("open")
	_, err = s.EraseClaim(ctx, c.ID, by)
	require.True(t, fault.Is(err, fault.Conflict), "its letter waits: %v", err)
	letter("resolved")
	_, err = pool.Exec(ctx, `UPDATE fhir_tasks SET state = 'submitting' WHERE id = $1`, ask.ID)
	require.NoError(t, err)
	_, err = s.EraseClaim(ctx, c.ID, by)
	require.True(t, fault.Is(err, fault.Conflict), "its payer is being asked: %v", err)
	require.Contains(t, fault.Of(err).Safe, "status check")
	_, err = pool.Exec(ctx, `UPDATE fhir_tasks SET state = 'completed' WHERE id = $1`, ask.ID)
	require.NoError(t, err)

	tx, err := pool.Begin(ctx) // intake of a correction, a cancellation: the row first, then a message
	require.NoError(t, err)
	_, err = tx.Exec(ctx, `SELECT FROM claims WHERE id = $1 FOR UPDATE`, c.ID)
	require.NoError(t, err)
	_, err = s.EraseClaim(ctx, c.ID, by)
	require.True(t, fault.Is(err, fault.Conflict), "somebody has its row: %v", err)
	require.NoError(t, tx.Rollback(ctx))

	left := func() (n int) {
		require.NoError(t, pool.QueryRow(ctx, `SELECT count(*) FROM messages WHERE position('Erased Person' IN convert_from(body, 'UTF8')) > 0`).Scan(&n))
		return n
	}
	require.Equal(t, 6, left())
	out, err := s.EraseClaim(ctx, c.ID, by)
	require.NoError(t, err)
	require.EqualValues(t, 5, out.Messages)
	require.Equal(t, 1, left(), "the poll answer that is not distributed yet")
	_, err = pool.Exec(ctx, `UPDATE poll_answers SET processed_at = now()`)
	require.NoError(t, err)
	out, err = s.EraseClaim(ctx, c.ID, by)
	require.NoError(t, err)
	require.EqualValues(t, 1, out.Messages)
	require.Zero(t, left())
	body, err := s.MessageBody(ctx, kept)
	require.NoError(t, err)
	require.Equal(t, "of the other", string(body))

	got, err := s.Claim(ctx, c.ID)
	require.NoError(t, err)
	require.Equal(t, store.Approved, got.State)
	require.Empty(t, got.Disposition)
	require.Equal(t, "333.50", got.Claimed.StringFixed(2))
	again, created, err := s.CreateClaim(ctx, n)
	require.NoError(t, err)
	require.False(t, created, "its number stays taken")
	require.Equal(t, c.ID, again.ID)
	actions, err := s.Actions(ctx, c.ID.String(), 10)
	require.NoError(t, err)
	require.Len(t, actions, 2)
	require.Equal(t, "erase", actions[0].Verb)
	require.Equal(t, "request 7", actions[0].Reason)
	_, err = s.VerifySince(ctx, store.TrailEnd{})
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `UPDATE messages SET body = 'x'`)
	require.ErrorContains(t, err, "append only", "the trigger is on again")

	check, _, err := s.CreateCheck(ctx, store.NewCheck{
		License: c.License, Identifier: store.Identifier{System: "s", Value: "ELG-9"}, Payer: "INS-1", HeaderID: "h", BundleID: "b", SourceHash: "s",
		Patient: store.Identifier{System: "n", Value: "1000000000"}, Body: person,
	})
	require.NoError(t, err)
	_, err = s.EraseCheck(ctx, check.ID, by)
	require.True(t, fault.Is(err, fault.Conflict))
	_, _, err = s.RecordCheck(ctx, store.CheckAnswer{ID: check.ID, State: store.CheckEligible, SiteEligibility: "eligible"})
	require.NoError(t, err)
	clock.add(31 * 24 * time.Hour)
	out, err = s.EraseCheck(ctx, check.ID, by)
	require.NoError(t, err)
	require.EqualValues(t, 1, out.Messages)
	require.Zero(t, left())
	var key string
	require.NoError(t, pool.QueryRow(ctx, `SELECT patient_key FROM eligibility_checks WHERE id = $1`, check.ID).Scan(&key))
	require.Empty(t, key)
}

// TestEraseReadsNoWholeTable: messages is the largest table, and an erasure holds it.
func TestEraseReadsNoWholeTable(t *testing.T) {
	s, pool, _ := open(t)
	ctx := t.Context()
	c := mustClaim(t, s)
	_, err := pool.Exec(ctx, `INSERT INTO messages (id, license, direction, event, body) SELECT gen_random_uuid(), 'PR-1', 'in', 'x', 'x' FROM generate_series(1, 5000)`)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `ANALYZE messages`)
	require.NoError(t, err)
	rows, err := pool.Query(ctx, `EXPLAIN `+store.EraseClaimSQL, c.ID)
	require.NoError(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.NotContains(t, strings.Join(plan, "\n"), "Seq Scan on messages")
}
