package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

// corrected returns an example claim under another number, with the first as prior.
func corrected(t *testing.T, number, prior string) string {
	t.Helper()
	body := example(t, "claims/01-professional-approved.json")
	old := number0(t)
	require.Contains(t, body, `"`+old+`"`)
	body = strings.Replace(body, `"`+old+`"`, `"`+number+`"`, 1)
	if prior == "" {
		return body
	}
	return strings.Replace(body, `"claim_number"`, fmt.Sprintf(`"related": [{"claim_number": %q, "relationship": "prior"}], "claim_number"`, prior), 1)
}

func number0(t *testing.T) string {
	t.Helper()
	_, rest, ok := strings.Cut(example(t, "claims/01-professional-approved.json"), `"claim_number": "`)
	require.True(t, ok)
	number, _, _ := strings.Cut(rest, `"`)
	return number
}

// TestACorrectedClaimWaitsForTheEndOfTheFirst: else the payer might pay both.
func TestACorrectedClaimWaitsForTheEndOfTheFirst(t *testing.T) {
	site(t)
	pool := testenvPool(t)
	state := func(number, state string) {
		tag, err := pool.Exec(t.Context(), `UPDATE claims SET state = $2 WHERE identifier_value = $1`, number, state)
		require.NoError(t, err)
		require.EqualValues(t, 1, tag.RowsAffected())
	}
	_, _, code := enq(t, corrected(t, "A", ""), "submit", "-")
	require.Zero(t, code)
	for _, open := range []string{"received", "submitting", "pending", "pended", "approved"} {
		state("A", open)
		out, _, code := enq(t, corrected(t, "B", "A"), "submit", "-")
		require.Equal(t, 1, code)
		require.Contains(t, out, "invalid: stdin:1: A, which it corrects, is "+open+": wait for its rejection or error, or cancel it, else both may be paid")
	}
	for i, over := range []string{"rejected", "error", "cancelled", "partial"} {
		state("A", over)
		number := fmt.Sprintf("B%d", i)
		_, _, code := enq(t, corrected(t, number, "A"), "submit", "-")
		require.Zero(t, code, over)
		out, _, code := enq(t, corrected(t, number, "A"), "submit", "-")
		require.Zero(t, code)
		require.Contains(t, out, "exists", "the same once more is the same")
		out, _, code = enq(t, corrected(t, "C", "A"), "submit", "-")
		require.Equal(t, 1, code, "one correction at a time")
		require.Contains(t, out, "A, which it corrects, is replaced by "+number+" already")
		state(number, "rejected")
	}
	var corrects uuid.UUID
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT corrects FROM claims WHERE identifier_value = 'B0'`).Scan(&corrects))
	_, _, code = enq(t, corrected(t, "D", "SOMEBODY-ELSES"), "submit", "-")
	require.Zero(t, code, "what is not ours the payer knows")
}

// TestRedisAwayLosesNothing: refused or hung, what is taken in is kept and said so once.
func TestRedisAwayLosesNothing(t *testing.T) {
	hung, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections and never answers
	require.NoError(t, err)
	t.Cleanup(func() { _ = hung.Close() })
	for name, url := range map[string]string{"refused": "redis://127.0.0.1:1/0", "hung": "redis://" + hung.Addr().String() + "/0"} {
		site(t)
		t.Setenv("REDIS_URL", url)
		claims, _, _ := enq(t, "", "generate", "-n", "30", "--seed", "8")
		out, stderr, code := enq(t, claims, "submit", "-")
		require.Zero(t, code, name)
		require.Equal(t, 30, strings.Count(out, "\tqueued\n"), name)
		require.Equal(t, 1, strings.Count(stderr, "Redis is away"), "%s: %s", name, stderr)
		wishes, err := store.New(testenvPool(t), store.Options{}).ClaimsToSubmit(t.Context(), time.Now().Add(time.Minute), uuid.Nil, 100)
		require.NoError(t, err)
		require.Len(t, wishes, 30, "the workers find them")
	}
}

func TestDeadLettersAreRetriedAtARate(t *testing.T) {
	site(t)
	s := store.New(testenvPool(t), store.Options{})
	for i := range 4 {
		_, _, _, err := s.RecordDeadLetter(t.Context(), store.DeadLetter{
			Queue: tasks.QueuePoll, TaskType: tasks.TypePoll, TaskID: fmt.Sprint(i), Reference: fmt.Sprintf("PR-%d", i), ErrorKind: "network", LastFailedAt: time.Now(),
		}, nil)
		require.NoError(t, err)
	}
	start := time.Now()
	out, _, code := enq(t, "", "dead", "retry", "--queue", "nphies-poll", "--rate", "20", "--reason", "the line is back")
	require.Zero(t, code)
	require.Equal(t, 4, strings.Count(out, "\tapplied\n"))
	require.GreaterOrEqual(t, time.Since(start), 150*time.Millisecond, "three pauses of 50 ms")
	_, stderr, code := enq(t, "", "dead", "retry", "--queue", "nphies-poll", "--rate=-1", "--reason", "x")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "--rate: -1 is not allowed")
}

func TestNotificationsOnTheCommandLine(t *testing.T) {
	site(t)
	pool := testenvPool(t)
	id := uuid.New()
	_, err := pool.Exec(t.Context(), `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, channel, summary, dead_at, retry_count, error_message, status_code)
		VALUES ($1, 'c', 'nphies.claim.rejected', '{PMO}', 'HIGH', 'https://h/…', '{}', 'PMO', 'Claim rejected', now(), 3, 'refused', 403)`, id)
	require.NoError(t, err)
	out, _, code := enq(t, "", "notifications", "list", "--state", "dead", "--channel", "PMO", "--event", "nphies.claim.rejected")
	require.Zero(t, code)
	require.Contains(t, out, id.String()+"\tdead\tHIGH\tnphies.claim.rejected\tPMO\t")
	out, _, code = enq(t, "", "notifications", "list", "--state", "sent")
	require.Zero(t, code)
	require.Empty(t, out)
	for _, bad := range [][]string{{"list", "--event", "no.such"}, {"list", "--channel", "sre"}, {"resend", id.String()}, {"resend", id.String(), "--reason", " "}} {
		_, stderr, code := enq(t, "", append([]string{"notifications"}, bad...)...)
		require.Equal(t, 2, code, "%v", bad)
		require.Contains(t, stderr, "enqueue: ")
	}
	out, _, code = enq(t, "", "notifications", "resend", id.String(), "--reason", "the webhook is mended", "--output", "json")
	require.Zero(t, code)
	require.Contains(t, out, `"state":"waiting"`)
	require.Contains(t, out, `"result":"queued"`)
	_, stderr, code := enq(t, "", "notifications", "resend", uuid.NewString(), "--reason", "x")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "no such notification")
}

// TestLostMessagesAreAskedFor: after a restore every pending claim is due, and it is on record who said so.
func TestLostMessagesAreAskedFor(t *testing.T) {
	site(t)
	claims, _, _ := enq(t, "", "generate", "-n", "3", "--seed", "4")
	_, _, code := enq(t, claims, "submit", "-")
	require.Zero(t, code)
	pool := testenvPool(t)
	_, err := pool.Exec(t.Context(), `UPDATE claims SET state = 'pending', next_poll_at = now() + interval '1 day' WHERE identifier_value NOT LIKE '%000002'`)
	require.NoError(t, err)
	s := store.New(pool, store.Options{})
	_, stderr, code := enq(t, "", "poll", "--lost", "--license", "DEMO-PR-0001")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "--reason")
	out, _, code := enq(t, "", "poll", "--lost", "--license", "DEMO-PR-0001", "--reason", "restored")
	require.Zero(t, code)
	require.Equal(t, "DEMO-PR-0001\tqueued; 2 pending claims ask for their answers\n", out)
	due, err := s.OverdueClaims(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, due, 2)
	require.Equal(t, store.StepBytes, due[0].Step)
	trail, err := s.Actions(t.Context(), "DEMO-PR-0001", 0)
	require.NoError(t, err)
	require.Equal(t, "restored", trail[0].Reason)
}

// TestACorrectionIsNotFooledByNames: the namespace in another spelling is the same claim, and what was given up after it was sent may be
// with NPHIES all the same.
func TestACorrectionIsNotFooledByNames(t *testing.T) {
	site(t)
	pool := testenvPool(t)
	_, _, code := enq(t, corrected(t, "A", ""), "submit", "-")
	require.Zero(t, code)
	var system string
	require.NoError(t, pool.QueryRow(t.Context(), `UPDATE claims SET state = 'pending' RETURNING identifier_system`).Scan(&system))
	for i, spelling := range []string{strings.ToUpper(system), system + "/", "http://slip.example/claim"} {
		doc := strings.Replace(corrected(t, fmt.Sprint("B", i), "A"), `"claim_number": "A"`, fmt.Sprintf(`"claim_number": "A", "claim_system": %q`, spelling), 1)
		out, _, code := enq(t, doc, "submit", "-")
		require.Equal(t, 1, code, spelling)
		require.Contains(t, out, "A, which it corrects, is pending", spelling)
	}
	for attempts, want := range map[int]int{2: 1, 0: 0} {
		_, err := pool.Exec(t.Context(), `UPDATE claims SET state = 'error', error_code = 'discarded', attempts = $1 WHERE identifier_value = 'A'`, attempts)
		require.NoError(t, err)
		out, _, code := enq(t, corrected(t, fmt.Sprint("C", attempts), "A"), "submit", "-")
		require.Equal(t, want, code, out)
		if want == 1 {
			require.Contains(t, out, "given up here without an answer of NPHIES")
		}
	}
}

// TestEraseSaysWhatItDidNot: what is not over is refused and counts as not done, an unknown name is told, and a reason is needed.
func TestEraseSaysWhatItDidNot(t *testing.T) {
	site(t)
	out, _, code := enq(t, example(t, "claims/01-professional-approved.json"), "submit", "-")
	require.Zero(t, code)
	id, _, _ := strings.Cut(out, "\t")
	_, _, code = enq(t, "", "erase", id)
	require.Equal(t, 2, code, "no reason")
	out, stderr, code := enq(t, "", "erase", id, "NO-SUCH-CLAIM", "--reason", "asked for")
	require.Equal(t, 1, code)
	require.Contains(t, out, id+"\tCLM-DEMO-0001\trefused: it is not over")
	require.Contains(t, stderr, "NO-SUCH-CLAIM: 0 claims")

	pool, err := pgxpool.New(t.Context(), os.Getenv("DATABASE_URL"))
	require.NoError(t, err)
	defer pool.Close()
	_, err = pool.Exec(t.Context(), `ALTER TABLE claims DISABLE TRIGGER claims_updated_at_trigger; UPDATE claims SET state = 'rejected', updated_at = now() - interval '40 days'`)
	require.NoError(t, err)
	out, _, code = enq(t, "", "erase", "CLM-DEMO-0001", "--reason", "asked for", "--output", "json")
	require.Zero(t, code)
	require.Contains(t, out, `"result":"erased","messages":1`)
	out, _, code = enq(t, "", "audit", "list", "--target", id)
	require.Zero(t, code)
	require.Contains(t, out, "\terase\tclaim "+id+"\tapplied\tasked for")
}

// TestWhoDecidedIsTheAccount: $USER is anybody's word, and no name for the audit trail.
func TestWhoDecidedIsTheAccount(t *testing.T) {
	before := actor()
	t.Setenv("USER", "somebody")
	t.Setenv("LOGNAME", "somebody")
	if after := actor(); after != before {
		require.Regexp(t, `^uid [0-9]+ \(says somebody\)$`, after, "an account without a name")
	}
	require.NotEqual(t, "somebody", actor())
}
