package store

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// BulkVerb is what a bulk run decides about each letter.
type BulkVerb string

// What may be decided about many dead letters at once.
const (
	BulkRetry   BulkVerb = "retry"
	BulkDiscard BulkVerb = "discard"
)

// MaxPerMinute is the fastest rate of a bulk run.
const MaxPerMinute = 6000

// BulkState is where a bulk run stands.
type BulkState string

// States of a bulk run.
const (
	BulkRunning BulkState = "running"
	BulkDone    BulkState = "done"
	BulkStopped BulkState = "stopped"
)

// BulkChoice chooses open dead letters for a bulk run; zero fields choose all.
type BulkChoice struct {
	Queue, ErrorKind string
	// ErrorCode nil chooses any; "" those without a code.
	ErrorCode *string
	Reference string
	// Until leaves out letters that were written later: nobody saw them.
	Until time.Time
}

// BulkRun is a decision about many dead letters, which are worked off at a rate.
type BulkRun struct {
	ID         uuid.UUID
	Verb       BulkVerb
	Queue      string
	ErrorKind  string
	ErrorCode  *string
	Reference  string
	Until      time.Time
	PerMinute  int
	Actor      string
	Source     string
	Reason     string
	State      BulkState
	Total      int
	Done       int
	Skipped    int // somebody decided before, or its work was answered
	Failed     int
	LastLetter *uuid.UUID
	LastError  string
	StoppedBy  string
	CreatedAt  time.Time
	UpdatedAt  time.Time
	EndedAt    *time.Time
}

// Seen is how many letters were looked at.
func (r BulkRun) Seen() int { return r.Done + r.Skipped + r.Failed }

// Choice is what the run was begun for.
func (r BulkRun) Choice() BulkChoice {
	return BulkChoice{Queue: r.Queue, ErrorKind: r.ErrorKind, ErrorCode: r.ErrorCode, Reference: r.Reference, Until: r.Until}
}

const bulkColumns = `id, verb, queue, error_kind, error_code, reference, until, per_minute, actor, source, reason, state, total, done, skipped, failed, last_letter, last_error, stopped_by,
	created_at, updated_at, ended_at`

const chosenLetters = `state = 'open' AND created_at <= $1 AND ($2 = '' OR queue = $2) AND ($3 = '' OR error_kind = $3) AND ($4::text IS NULL OR error_code = $4) AND ($5 = '' OR reference = $5)`

func (c BulkChoice) args() []any {
	return []any{c.Until, c.Queue, c.ErrorKind, c.ErrorCode, c.Reference}
}

// BulkPreview is what a bulk run would touch.
type BulkPreview struct {
	Count          int
	Oldest, Newest *time.Time // of the last failures
	// Until is when the newest letter of them was written.
	Until *time.Time
	// First are some of the letters, in the order in which they would be worked off.
	First []DeadLetter
}

// PreviewBulk shows what a bulk run with this choice would touch now. A choice without Until means all that are there.
func (s *Store) PreviewBulk(ctx context.Context, c BulkChoice, show int) (p BulkPreview, err error) {
	if c.Until.IsZero() {
		c.Until = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	err = s.pool.QueryRow(ctx, `SELECT count(*), min(last_failed_at), max(last_failed_at), max(created_at) FROM dead_letters WHERE `+chosenLetters, c.args()...).
		Scan(&p.Count, &p.Oldest, &p.Newest, &p.Until)
	if err == nil {
		p.First, err = letters(ctx, s.pool, `WHERE `+chosenLetters+` ORDER BY id LIMIT $6`, append(c.args(), show)...)
	}
	return p, wrap("preview dead letters", err)
}

// ErrNothingChosen says that a bulk run would touch nothing.
var ErrNothingChosen = &fault.Error{Op: "begin bulk run", Kind: fault.Conflict, Safe: "no open dead letter is chosen any more", Permanent: true}

// BeginBulk puts a bulk run on record, in the audit trail, too. Somebody then works it off: see NextBulkLetters.
func (s *Store) BeginBulk(ctx context.Context, verb BulkVerb, c BulkChoice, perMinute int, d Decision) (r BulkRun, err error) {
	if d.Reason == "" {
		return r, ErrReason
	}
	err = s.tx(ctx, "begin bulk run", func(tx pgx.Tx) error {
		var total int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM dead_letters WHERE `+chosenLetters, c.args()...).Scan(&total); err != nil {
			return err
		}
		if total == 0 {
			return ErrNothingChosen
		}
		id := newID()
		a := Action{Actor: d.Actor, Source: d.Source, Verb: "bulk_" + string(verb), TargetKind: "bulk_run", Target: id.String(), Reason: d.Reason, Outcome: "requested", Detail: c.detail(total, perMinute)}
		if err := s.appendAction(ctx, tx, &a); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `INSERT INTO bulk_runs (id, verb, queue, error_kind, error_code, reference, until, per_minute, actor, source, reason, total)
			VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12) RETURNING `+bulkColumns,
			id, string(verb), c.Queue, c.ErrorKind, c.ErrorCode, c.Reference, c.Until, perMinute, d.Actor, d.Source, d.Reason, total)
		if err != nil {
			return err
		}
		r, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[BulkRun])
		return err
	})
	return r, err
}

func (c BulkChoice) detail(total, perMinute int) map[string]string {
	out := map[string]string{"letters": strconv.Itoa(total), "per_minute": strconv.Itoa(perMinute)}
	for name, v := range map[string]string{"queue": c.Queue, "error_kind": c.ErrorKind, "reference": c.Reference} {
		if v != "" {
			out[name] = v
		}
	}
	if c.ErrorCode != nil {
		out["error_code"] = *c.ErrorCode
	}
	return out
}

// StopBulk stops a bulk run; what it has decided stays decided. stopped is false when it was over already.
func (s *Store) StopBulk(ctx context.Context, d Decision) (stopped bool, err error) {
	err = s.tx(ctx, "stop bulk run", func(tx pgx.Tx) error {
		var state BulkState
		if err := tx.QueryRow(ctx, `SELECT state FROM bulk_runs WHERE id = $1 FOR UPDATE`, d.ID).Scan(&state); err != nil {
			return err
		}
		a := Action{Actor: d.Actor, Source: d.Source, Verb: "bulk_stop", TargetKind: "bulk_run", Target: d.ID.String(), Reason: d.Reason, Outcome: "already"}
		if stopped = state == BulkRunning; stopped {
			a.Outcome = "applied"
		}
		if err := s.appendAction(ctx, tx, &a); err != nil || !stopped {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE bulk_runs SET state = 'stopped', stopped_by = $2, ended_at = $3 WHERE id = $1`, d.ID, d.Actor, s.opt.Now())
		return err
	})
	return stopped, err
}

// BulkRun returns a bulk run, or a fault of Kind NotFound.
func (s *Store) BulkRun(ctx context.Context, id uuid.UUID) (BulkRun, error) {
	out, err := collect(ctx, s.pool, pgx.RowToStructByPos[BulkRun], `SELECT `+bulkColumns+` FROM bulk_runs WHERE id = $1`, id)
	if err == nil && len(out) == 0 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return BulkRun{}, wrap("read bulk run", err)
	}
	return out[0], nil
}

// BulkRuns returns bulk runs, the newest first; with running only those that are not over, the oldest first.
func (s *Store) BulkRuns(ctx context.Context, running bool, limit int) ([]BulkRun, error) {
	tail := ` ORDER BY created_at DESC LIMIT $1`
	if running {
		tail = ` WHERE state = 'running' ORDER BY created_at LIMIT $1`
	}
	out, err := collect(ctx, s.pool, pgx.RowToStructByPos[BulkRun], `SELECT `+bulkColumns+` FROM bulk_runs`+tail, limit)
	return out, wrap("list bulk runs", err)
}

// HoldBulk takes the right to work a bulk run off, see Hold. A run whose holder died is taken over by whoever asks next.
func (s *Store) HoldBulk(ctx context.Context, id uuid.UUID) (held context.Context, release func(), ok bool, err error) {
	return s.hold(ctx, LeaseDuty, "bulk/"+id.String(), 0)
}

// NextBulkLetters returns the next letters of a run in the order of their ids, none when it is through. over is true when the run is
// not running any more.
func (s *Store) NextBulkLetters(ctx context.Context, id uuid.UUID, limit int) (next []DeadLetter, over bool, err error) {
	r, err := s.BulkRun(ctx, id)
	if err != nil || r.State != BulkRunning {
		return nil, r.State != BulkRunning, err
	}
	after := uuid.Nil
	if r.LastLetter != nil {
		after = *r.LastLetter
	}
	next, err = letters(ctx, s.pool, `WHERE `+chosenLetters+` AND id > $6 ORDER BY id LIMIT $7`, append(r.Choice().args(), after, limit)...)
	return next, false, wrap("read dead letters of a bulk run", err)
}

// Outcomes of one letter in a bulk run.
const (
	BulkLetterDone    = "done"
	BulkLetterSkipped = "skipped"
	BulkLetterFailed  = "failed"
)

// BulkStep puts on record how a run fared with one letter. It returns false when the run is over: somebody stopped it.
func (s *Store) BulkStep(ctx context.Context, id, letter uuid.UUID, outcome, trouble string) (goOn bool, err error) {
	var state BulkState
	err = s.pool.QueryRow(ctx, `UPDATE bulk_runs SET last_letter = $2, done = done + ($3 = 'done')::int, skipped = skipped + ($3 = 'skipped')::int, failed = failed + ($3 = 'failed')::int,
		last_error = CASE WHEN $4 = '' THEN last_error ELSE $4 END WHERE id = $1 RETURNING state`, id, letter, outcome, trouble).Scan(&state)
	return state == BulkRunning, wrap("record bulk step", err)
}

// EndBulk says that a run is through, in the audit trail, too.
func (s *Store) EndBulk(ctx context.Context, id uuid.UUID) error {
	return s.tx(ctx, "end bulk run", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `UPDATE bulk_runs SET state = 'done', ended_at = $2 WHERE id = $1 AND state = 'running' RETURNING `+bulkColumns, id, s.opt.Now())
		if err != nil {
			return err
		}
		r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[BulkRun])
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // it was stopped
		}
		if err != nil {
			return err
		}
		return s.appendAction(ctx, tx, &Action{
			Actor: r.Actor, Source: r.Source, Verb: "bulk_" + string(r.Verb), TargetKind: "bulk_run", Target: id.String(), Reason: r.Reason, Outcome: "applied",
			Detail: map[string]string{"done": strconv.Itoa(r.Done), "skipped": strconv.Itoa(r.Skipped), "failed": strconv.Itoa(r.Failed)},
		})
	})
}

// LetterGroup is dead letters with one error in one queue.
type LetterGroup struct {
	Queue, ErrorKind, ErrorCode string
	Count                       int
	// Text is the error of the newest.
	Text string
	// Oldest and Newest are when they failed last.
	Oldest, Newest time.Time
}

// LetterGroups counts dead letters by their error and queue, the largest group first, at most 200.
func (s *Store) LetterGroups(ctx context.Context, f LetterFilter) ([]LetterGroup, error) {
	states := make([]string, 0, len(f.States))
	for _, st := range f.States {
		states = append(states, string(st))
	}
	out, err := collect(ctx, s.pool, pgx.RowToStructByPos[LetterGroup], `SELECT queue, error_kind, error_code, count(*), (array_agg(error_text ORDER BY last_failed_at DESC))[1], min(last_failed_at), max(last_failed_at)
		FROM dead_letters WHERE (cardinality($1::text[]) = 0 OR state = ANY ($1)) AND ($2 = '' OR queue = $2) AND ($3 = '' OR error_kind = $3) AND ($4 = '' OR reference = $4)
		AND ($5::text IS NULL OR error_code = $5) GROUP BY 1, 2, 3 ORDER BY 4 DESC, 7 DESC LIMIT 200`, states, f.Queue, f.ErrorKind, f.Reference, f.ErrorCode)
	return out, wrap("group dead letters", err)
}
