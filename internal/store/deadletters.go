package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// LetterState is what became of a dead letter.
type LetterState string

// States of a dead letter. Open letters wait for a person.
const (
	LetterOpen      LetterState = "open"
	LetterRetrying  LetterState = "retrying"
	LetterDiscarded LetterState = "discarded"
	LetterResolved  LetterState = "resolved"
)

// DeadLetter is a task that failed for good. It stays for ever.
type DeadLetter struct {
	ID            uuid.UUID
	Queue         string
	TaskType      string
	TaskID        string
	Episode       int
	Payload       json.RawMessage
	ClaimID       *uuid.UUID
	EligibilityID *uuid.UUID
	FHIRTaskID    *uuid.UUID
	License       string
	Reference     string
	Retried       int
	ErrorKind     string
	ErrorCode     string
	ErrorText     string
	FirstFailedAt time.Time
	LastFailedAt  time.Time
	State         LetterState
	DecidedBy     string
	DecidedAt     *time.Time
	Reason        string
	CreatedAt     time.Time
	UpdatedAt     time.Time

	// Superseded: the work behind it went on under another task, or has its answer. Not a column: such a letter is resolved from the start.
	Superseded bool `db:"-"`
}

const letterColumns = `id, queue, task_type, task_id, episode, payload, claim_id, eligibility_id, fhir_task_id, license, reference, retried, error_kind, error_code,
	error_text, first_failed_at, last_failed_at, state, decided_by, decided_at, reason, created_at, updated_at`

func letters(ctx context.Context, q querier, where string, args ...any) ([]DeadLetter, error) {
	rows, err := q.Query(ctx, `SELECT `+letterColumns+` FROM dead_letters `+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[DeadLetter])
}

// sameFailure is how far apart two reports of one failure may be: the handler's clock and asynq's, which counts whole seconds.
const sameFailure = 5 * time.Second

// RecordDeadLetter mirrors an archived task. It returns the row's id and whether it is new; the same failure reported twice, by
// the worker and by the reconciler, is one row. created is also false for a poll or drain whose predecessor still waits for a
// person: its row says so and asks nobody anything. events are written with a new row, in the same transaction.
func (s *Store) RecordDeadLetter(ctx context.Context, d DeadLetter, events func(DeadLetter) []Event) (id uuid.UUID, created bool, channels []string, err error) {
	err = s.tx(ctx, "record dead letter", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('dead/' || $1 || '/' || $2, 0))`, d.Queue, d.TaskID); err != nil {
			return err
		}
		last, err := letters(ctx, tx, `WHERE queue = $1 AND task_id = $2 ORDER BY episode DESC LIMIT 1`, d.Queue, d.TaskID)
		if err != nil {
			return err
		}
		d.Episode = 1
		// A task that was archived by hand has no failure; it is told from another only by being there.
		if len(last) == 1 {
			// Only a task that a person let run again can fail a second time.
			if last[0].State != LetterRetrying || d.LastFailedAt.IsZero() || !d.LastFailedAt.After(last[0].LastFailedAt.Add(sameFailure)) {
				id = last[0].ID
				return nil
			}
			d.Episode = last[0].Episode + 1
		}
		d.ID, d.State = newID(), LetterOpen
		if d.Superseded {
			d.State, d.Reason = LetterResolved, "the work went on under another task"
		}
		if d.LastFailedAt.IsZero() {
			d.FirstFailedAt, d.LastFailedAt = s.opt.Now(), s.opt.Now()
		}
		if len(d.Payload) == 0 {
			d.Payload = []byte("{}")
		}
		if d.ClaimID == nil && d.EligibilityID == nil && d.FHIRTaskID == nil && d.Reference != "" {
			// Polls and drains come again and again under new ids: while one waits for a person, its successors are the same trouble.
			open, err := letters(ctx, tx, `WHERE task_type = $1 AND reference = $2 AND state = 'open' LIMIT 1`, d.TaskType, d.Reference)
			if err != nil {
				return err
			}
			if len(open) == 1 {
				d.State, d.Reason = LetterResolved, "the same trouble as "+open[0].ID.String()
				if _, err := tx.Exec(ctx, `UPDATE dead_letters SET last_failed_at = $2 WHERE id = $1`, open[0].ID, d.LastFailedAt); err != nil {
					return err
				}
			}
		}
		if _, err := tx.Exec(ctx, `INSERT INTO dead_letters (id, queue, task_type, task_id, episode, payload, claim_id, eligibility_id, license, reference, retried,
			error_kind, error_code, error_text, first_failed_at, last_failed_at, state, reason, fhir_task_id)
			VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19)`,
			d.ID, d.Queue, d.TaskType, d.TaskID, d.Episode, d.Payload, d.ClaimID, d.EligibilityID, d.License, d.Reference, d.Retried,
			d.ErrorKind, d.ErrorCode, d.ErrorText, d.FirstFailedAt, d.LastFailedAt, string(d.State), d.Reason, d.FHIRTaskID); err != nil {
			return err
		}
		if id = d.ID; d.State != LetterOpen {
			return nil
		}
		created = true
		if events != nil {
			channels, err = s.insertEvents(ctx, tx, events(d))
		}
		return err
	})
	return id, created, channels, err
}

// settleDeadLetters closes the dead letters of a claim or check that has got its answer, and the alerts about its failing.
func (s *Store) settleDeadLetters(ctx context.Context, tx pgx.Tx, column string, id uuid.UUID) error {
	if _, err := tx.Exec(ctx, `UPDATE dead_letters SET state = 'resolved' WHERE state IN ('open', 'retrying') AND `+column+` = $1`, id); err != nil {
		return err
	}
	if column == "claim_id" {
		if err := s.endAlerts(ctx, tx, `claim_id = $1 AND event_type NOT LIKE 'nphies.claim.%'`, id); err != nil {
			return err
		}
	}
	return s.endAlerts(ctx, tx, `dead_letter_id IN (SELECT id FROM dead_letters WHERE state = 'resolved' AND `+column+` = $1)`, id)
}

// SettleDeadLetter closes the dead letters of a poll: a later run went well. For drains see SettleDrains.
func (s *Store) SettleDeadLetter(ctx context.Context, taskType, reference string) error {
	return s.tx(ctx, "settle dead letter", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `UPDATE dead_letters SET state = 'resolved' WHERE state IN ('open', 'retrying') AND task_type = $1 AND reference = $2 RETURNING id`, taskType, reference)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil || len(ids) == 0 {
			return err
		}
		return s.endAlerts(ctx, tx, `dead_letter_id = ANY ($1)`, ids)
	})
}

// SettleDrains closes the dead letters of drains that work again: something was accepted after the failure, and nothing of before it still waits. notify and page are the types
// of the tasks that drain a channel, and what waits for PagerDuty. It returns how many were closed.
func (s *Store) SettleDrains(ctx context.Context, notify, page string) (n int, err error) {
	err = s.tx(ctx, "settle dead letters of drains", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `UPDATE dead_letters d SET state = 'resolved' WHERE state IN ('open', 'retrying') AND (
			task_type = $1 AND EXISTS (SELECT FROM teams_notifications n WHERE n.channel = d.reference AND n.sent_at > d.last_failed_at)
				AND NOT EXISTS (SELECT FROM teams_notifications n WHERE n.channel = d.reference AND n.sent_at IS NULL AND n.dead_at IS NULL AND n.created_at < d.last_failed_at)
			OR task_type = $2 AND EXISTS (SELECT FROM pagerduty_events e WHERE e.sent_at > d.last_failed_at)) RETURNING id`, notify, page)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if n = len(ids); err != nil || n == 0 {
			return err
		}
		return s.endAlerts(ctx, tx, `dead_letter_id = ANY ($1)`, ids)
	})
	return n, err
}

// LetterFilter chooses dead letters; zero fields choose all.
type LetterFilter struct {
	States    []LetterState
	Queue     string
	ErrorKind string
	// ErrorCode nil chooses any; "" those without a code.
	ErrorCode *string
	Reference string
	IDs       []uuid.UUID
	Limit     int
}

// DeadLetters returns dead letters, the latest failure first.
func (s *Store) DeadLetters(ctx context.Context, f LetterFilter) ([]DeadLetter, error) {
	states := make([]string, 0, len(f.States))
	for _, st := range f.States {
		states = append(states, string(st))
	}
	var limit *int
	if f.Limit > 0 {
		limit = &f.Limit
	}
	out, err := letters(ctx, s.pool, `WHERE (cardinality($1::text[]) = 0 OR state = ANY ($1)) AND ($2 = '' OR queue = $2) AND ($3 = '' OR error_kind = $3)
		AND ($4 = '' OR reference = $4) AND (cardinality($5::uuid[]) = 0 OR id = ANY ($5)) AND ($7::text IS NULL OR error_code = $7) ORDER BY last_failed_at DESC, id LIMIT $6`,
		states, f.Queue, f.ErrorKind, f.Reference, append([]uuid.UUID{}, f.IDs...), limit, f.ErrorCode)
	return out, wrap("list dead letters", err)
}

// DeadLetter returns one dead letter, or a fault of Kind NotFound.
func (s *Store) DeadLetter(ctx context.Context, id uuid.UUID) (DeadLetter, error) {
	out, err := letters(ctx, s.pool, `WHERE id = $1`, id)
	if err == nil && len(out) == 0 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return DeadLetter{}, wrap("read dead letter", err)
	}
	return out[0], nil
}

// LetterCounts counts dead letters by state.
func (s *Store) LetterCounts(ctx context.Context) (map[LetterState]int, error) {
	rows, err := s.pool.Query(ctx, `SELECT state, count(*) FROM dead_letters GROUP BY state`)
	if err != nil {
		return nil, wrap("count dead letters", err)
	}
	out := map[LetterState]int{}
	var st LetterState
	var n int
	_, err = pgx.ForEachRow(rows, []any{&st, &n}, func() error { out[st] = n; return nil })
	return out, wrap("count dead letters", err)
}

// LetterByTask returns the newest dead letter of a task, or a fault of Kind NotFound.
func (s *Store) LetterByTask(ctx context.Context, queue, taskID string) (DeadLetter, error) {
	out, err := letters(ctx, s.pool, `WHERE queue = $1 AND task_id = $2 ORDER BY episode DESC LIMIT 1`, queue, taskID)
	if err == nil && len(out) == 0 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return DeadLetter{}, wrap("read dead letter", err)
	}
	return out[0], nil
}

// Decision is what a person decided about a dead letter.
type Decision struct {
	ID     uuid.UUID
	Actor  string
	Source string // "cli", "monitor", ...
	Reason string
	// Command ties what one command does together in the audit trail; it may be zero.
	Command uuid.UUID
}

// Decided says what became of a decision.
type Decided struct {
	Letter DeadLetter
	// Applied is false when somebody else decided before: Letter says who and what.
	Applied bool
	// Episode is the new budget of attempts of the claim or check that is retried, 0 for other tasks.
	Episode int
}

// RetryLetter decides that a dead letter is tried again: the claim or check behind it gets a new budget of attempts, and the
// decision is put on record, in one transaction. The caller enqueues the new task; should it die before, the reconciler does.
// Of two concurrent decisions one is applied.
func (s *Store) RetryLetter(ctx context.Context, d Decision) (Decided, error) {
	return s.decide(ctx, verbRetry, d)
}

// DiscardLetter decides that a dead letter is given up: a claim or check without an answer ends in error, with the decision as
// its reason. Should an answer come all the same, it still counts.
func (s *Store) DiscardLetter(ctx context.Context, d Decision) (Decided, error) {
	return s.decide(ctx, verbDiscard, d)
}

// The two things that can be decided about a dead letter.
const (
	verbRetry   = "retry"
	verbDiscard = "discard"
)

// retryWork gives the work behind a letter a new budget of attempts.
func retryWork(ctx context.Context, tx pgx.Tx, l DeadLetter) (episode int, err error) {
	switch {
	case l.ClaimID != nil:
		err = tx.QueryRow(ctx, `UPDATE claims SET episode = episode + 1, first_failed_at = NULL WHERE id = $1 RETURNING episode`, l.ClaimID).Scan(&episode)
	case l.EligibilityID != nil:
		err = tx.QueryRow(ctx, `UPDATE eligibility_checks SET episode = episode + 1, first_failed_at = NULL WHERE id = $1 RETURNING episode`, l.EligibilityID).Scan(&episode)
	case l.FHIRTaskID != nil:
		err = tx.QueryRow(ctx, `UPDATE fhir_tasks SET episode = episode + 1, first_failed_at = NULL WHERE id = $1 RETURNING episode`, l.FHIRTaskID).Scan(&episode)
	}
	return episode, err
}

// discardWork ends the work behind a letter.
func discardWork(ctx context.Context, tx pgx.Tx, l DeadLetter, text string) (err error) {
	switch {
	case l.ClaimID != nil:
		_, err = tx.Exec(ctx, `UPDATE claims SET state = 'error', error_code = 'discarded', error_text = $2 WHERE id = $1 AND state IN ('received', 'submitting')`, l.ClaimID, text)
	case l.EligibilityID != nil:
		_, err = tx.Exec(ctx, `UPDATE eligibility_checks SET state = 'error', error_code = 'discarded', error_text = $2 WHERE id = $1 AND state IN ('received', 'submitting')`, l.EligibilityID, text)
	case l.FHIRTaskID != nil:
		_, err = tx.Exec(ctx, `UPDATE fhir_tasks SET state = 'error', error_code = 'discarded', error_text = $2 WHERE id = $1 AND state IN ('received', 'submitting')`, l.FHIRTaskID, text)
	}
	return err
}

// codeDiscarded is the error code of what a person gave up.
const codeDiscarded = "discarded"

// ErrReason says that a decision came without a reason.
var ErrReason = &fault.Error{Op: "decide", Kind: fault.Invalid, Safe: "a reason is needed", Permanent: true}

func (s *Store) decide(ctx context.Context, verb string, d Decision) (out Decided, err error) {
	if d.Reason == "" {
		return out, ErrReason
	}
	err = s.tx(ctx, verb+" dead letter", func(tx pgx.Tx) error {
		if err := lockLetter(ctx, tx, d.ID); err != nil {
			return err
		}
		if out, err = s.decideLetter(ctx, tx, verb, d); err != nil || !out.Applied {
			return err
		}
		return s.alertsFollow(ctx, tx, d, out.Letter.State)
	})
	return out, err
}

// lockLetter locks a dead letter and before it what it is about: an answer does it in this order, too.
func lockLetter(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	for _, q := range []string{
		`SELECT 1 FROM claims WHERE id = (SELECT claim_id FROM dead_letters WHERE id = $1) FOR UPDATE`,
		`SELECT 1 FROM eligibility_checks WHERE id = (SELECT eligibility_id FROM dead_letters WHERE id = $1) FOR UPDATE`,
		`SELECT 1 FROM fhir_tasks WHERE id = (SELECT fhir_task_id FROM dead_letters WHERE id = $1) FOR UPDATE`,
		`SELECT 1 FROM dead_letters WHERE id = $1 FOR UPDATE`,
	} {
		if _, err := tx.Exec(ctx, q, id); err != nil {
			return err
		}
	}
	return nil
}

// decideLetter applies a decision about a locked dead letter, if it is open, and puts it on record.
func (s *Store) decideLetter(ctx context.Context, tx pgx.Tx, verb string, d Decision) (out Decided, err error) {
	found, err := letters(ctx, tx, `WHERE id = $1`, d.ID)
	if err != nil {
		return out, err
	}
	if len(found) == 0 {
		return out, pgx.ErrNoRows
	}
	out.Letter = found[0]
	action := Action{
		CommandID: d.Command, Actor: d.Actor, Source: d.Source, Verb: verb, TargetKind: "dead_letter", Target: d.ID.String(), Reason: d.Reason, Outcome: "already",
	}
	if out.Applied = out.Letter.State == LetterOpen; out.Applied {
		action.Outcome = "applied"
		next := LetterRetrying
		if verb == verbDiscard {
			next = LetterDiscarded
			err = discardWork(ctx, tx, out.Letter, "given up by "+d.Actor+": "+d.Reason)
			action.Detail = keptOf(out.Letter)
		} else {
			out.Episode, err = retryWork(ctx, tx, out.Letter)
		}
		if err != nil {
			return out, err
		}
		if _, err := tx.Exec(ctx, `UPDATE dead_letters SET state = $2, decided_by = $3, decided_at = $4, reason = $5 WHERE id = $1`,
			d.ID, string(next), d.Actor, s.opt.Now(), d.Reason); err != nil {
			return out, err
		}
		now, err := letters(ctx, tx, `WHERE id = $1`, d.ID)
		if err != nil {
			return out, err
		}
		out.Letter = now[0]
	}
	return out, s.appendAction(ctx, tx, &action)
}

// keptOf is what stays of a task that is given up, in the audit trail.
func keptOf(l DeadLetter) map[string]string {
	sum := sha256.Sum256(l.Payload)
	return map[string]string{
		"task_id": l.TaskID, "task_type": l.TaskType, "queue": l.Queue, "error": l.ErrorKind + " " + l.ErrorCode, "payload_sha256": hex.EncodeToString(sum[:]),
	}
}

// LetterRerun notes that a person let asynq run an archived task again as it is (the queue pages), so that its next failure is
// a new episode. It does nothing when the task has no open dead letter.
func (s *Store) LetterRerun(ctx context.Context, queue, taskID, actor, reason string, discarded bool) error {
	next := LetterRetrying
	if discarded {
		next = LetterDiscarded
	}
	return s.tx(ctx, "note rerun", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `UPDATE dead_letters SET state = $3, decided_by = $4, decided_at = $5, reason = $6 WHERE queue = $1 AND task_id = $2 AND state = 'open' RETURNING id`,
			queue, taskID, string(next), actor, s.opt.Now(), reason)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := s.alertsFollow(ctx, tx, Decision{ID: id, Actor: actor, Source: "monitor", Reason: reason}, next); err != nil {
				return err
			}
		}
		return nil
	})
}

// IsNotFound reports whether err says that a row does not exist.
func IsNotFound(err error) bool {
	return fault.Is(err, fault.NotFound) || errors.Is(err, pgx.ErrNoRows)
}
