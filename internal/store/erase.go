package store

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// eraseAfter is how long a claim or check must have been over before its messages may be erased: until then its payer may still
// reissue the answer, and asking for that needs the bytes that were sent.
const eraseAfter = 30 * 24 * time.Hour

// verbErase is the action of an erasure.
const verbErase = "erase"

// The messages about a claim, and about an eligibility check.
const (
	aboutClaim = `SELECT id FROM messages WHERE claim_id = $1`
	aboutCheck = `SELECT id FROM messages WHERE eligibility_id = $1`
)

// Erased says what an erasure removed.
type Erased struct {
	// Messages is how many had a body; 0 when they were erased before.
	Messages int64
}

// EraseClaim empties the bodies of all messages about a claim (requests, answers, what is nested in poll answers and these themselves, status
// checks, cancellations, requests for information) and the payer's sentences in its row. Numbers, amounts, codes, states and times stay.
// It is put on record in the same transaction. It needs the rights of the tables' owner: messages are append only for everybody else.
//
// Errors: Kind NotFound; Kind Conflict when the claim is not over, or not for long enough, or a dead letter of it waits, or a status check or
// cancellation of it is under way; Kind Config for another role than the owner's.
func (s *Store) EraseClaim(ctx context.Context, id uuid.UUID, d Decision) (Erased, error) {
	return s.erase(ctx, "claim", d, id,
		`SELECT state IN ('approved', 'partial', 'rejected', 'error', 'cancelled') AND NOT ask_again AND coalesce(adjudicated_at, updated_at) < $2
			AND NOT EXISTS (SELECT FROM dead_letters WHERE claim_id = $1 AND state IN ('open', 'retrying'))
			AND NOT EXISTS (SELECT FROM fhir_tasks WHERE claim_id = $1 AND state IN ('received', 'submitting')) FROM claims WHERE id = $1 FOR UPDATE NOWAIT`,
		aboutClaim,
		`UPDATE claims SET disposition = '', error_text = '' WHERE id = $1`)
}

// EraseCheck is EraseClaim for an eligibility check; it also forgets the hash that finds the person's checks.
func (s *Store) EraseCheck(ctx context.Context, id uuid.UUID, d Decision) (Erased, error) {
	return s.erase(ctx, "eligibility_check", d, id,
		`SELECT state IN ('eligible', 'not_eligible', 'error') AND coalesce(answered_at, updated_at) < $2
			AND NOT EXISTS (SELECT FROM dead_letters WHERE eligibility_id = $1 AND state IN ('open', 'retrying')) FROM eligibility_checks WHERE id = $1 FOR UPDATE NOWAIT`,
		aboutCheck,
		`UPDATE eligibility_checks SET disposition = '', error_text = '', patient_key = '' WHERE id = $1`)
}

func (s *Store) erase(ctx context.Context, kind string, d Decision, id uuid.UUID, over, about, row string) (out Erased, err error) {
	if d.Reason == "" {
		return out, ErrReason
	}
	err = s.tx(ctx, "erase messages", func(tx pgx.Tx) error {
		// First the table, then the row without waiting for it: others take both, in either order, and would wait for each other.
		if _, err := tx.Exec(ctx, `LOCK TABLE messages IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		var may bool
		if err := tx.QueryRow(ctx, over, id, s.opt.Now().Add(-eraseAfter)).Scan(&may); err != nil {
			if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "55P03" {
				return &fault.Error{Op: "erase messages", Kind: fault.Conflict, Safe: "something is done with it at this moment: try again", Err: err}
			}
			return err
		}
		if !may {
			return &fault.Error{Op: "erase messages", Kind: fault.Conflict, Permanent: true, Safe: "it is not over, or for less than 30 days, or a dead letter of it waits, or a status check or cancellation of it is under way"}
		}
		if _, err := tx.Exec(ctx, `ALTER TABLE messages DISABLE TRIGGER messages_append_only`); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, emptyAbout(about), id)
		if err != nil {
			return err
		}
		out.Messages = tag.RowsAffected()
		if _, err := tx.Exec(ctx, `ALTER TABLE messages ENABLE TRIGGER messages_append_only`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, row, id); err != nil {
			return err
		}
		return s.appendAction(ctx, tx, &Action{
			CommandID: d.Command, Actor: d.Actor, Source: d.Source, Verb: verbErase, TargetKind: kind, Target: id.String(), Reason: d.Reason, Outcome: "applied",
			Detail: map[string]string{"messages": strconv.FormatInt(out.Messages, 10)},
		})
	})
	return out, err
}

// emptyAbout empties the bodies of the messages that about selects. What answers one of them is about the same, too, and a poll answer holds
// what is nested in it once more. One list of ids instead of OR: that would read the whole table.
func emptyAbout(about string) string {
	return `WITH about AS MATERIALIZED (` + about + `)
		UPDATE messages SET body = '' WHERE body <> '' AND id IN (SELECT id FROM about
			UNION ALL SELECT r.id FROM messages r JOIN about a ON r.reply_to = a.id
			UNION ALL SELECT n.parent_id FROM messages n JOIN about a ON a.id = n.id JOIN poll_answers p ON p.message_id = n.parent_id AND p.processed_at IS NOT NULL)`
}
