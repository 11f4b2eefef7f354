package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Figures are numbers about the record for those who watch it: how much stands where, and for how long.
type Figures struct {
	// At is the clock that the times are to be compared with.
	At time.Time
	// Open counts the claims without an outcome, see Outcomes for the others; OldestPending is when the oldest of them was taken in, by use.
	Open          []ClaimFigure
	OldestPending map[string]time.Time
	// Waiting is, by queue, since when its oldest work waits.
	Waiting map[string]time.Time
	// Letters are the open dead letters by queue; OldestLetter is zero without one.
	Letters      map[string]int
	OldestLetter time.Time
	// Paused are licences for which something is held back now.
	Paused []PauseFigure
	// WrittenLetters, GivenUp and GivenUpPages are of the last hour: dead letters by queue, whatever was decided since; notifications by
	// channel and events for PagerDuty that were given up.
	WrittenLetters map[string]int
	GivenUp        map[string]int
	GivenUpPages   int
	// Alive and Lost are worker processes.
	Alive, Lost int
	Mailboxes   []MailboxFigure
	// Unmatched are the messages of a day that belong to no claim.
	Unmatched int
	// Outbox is by channel; Unacknowledged by priority.
	Outbox         []OutboxFigure
	Unacknowledged []UnacknowledgedFigure
}

// PauseFigure says what is not sent for a licence now: nothing at all, or nothing to so many payers.
type PauseFigure struct {
	License string
	Whole   bool
	Payers  int
}

// ClaimFigure counts the claims of a use that are in a state.
type ClaimFigure struct {
	Use   string
	State State
	Count int
}

// MailboxFigure is how the mailbox of a licence stands.
type MailboxFigure struct {
	PollState
	// Unprocessed answers are kept and not yet given to their claims.
	Unprocessed int
}

// OutboxFigure is how the notifications of a channel stand.
type OutboxFigure struct {
	Channel         string
	Waiting, GaveUp int
	Oldest          *time.Time
}

// UnacknowledgedFigure counts the alerts of a priority that were told and that nobody has acknowledged or ended.
type UnacknowledgedFigure struct {
	Priority string
	Alerts   int
	Oldest   *time.Time
}

// Figures reads them.
func (s *Store) Figures(ctx context.Context) (Figures, error) {
	f := Figures{At: s.opt.Now(), OldestPending: map[string]time.Time{}, Letters: map[string]int{}, WrittenLetters: map[string]int{}, GivenUp: map[string]int{}}
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		if f.Open, err = rowsOf[ClaimFigure](ctx, tx, `SELECT use, state, count(*)::int FROM claims WHERE state IN ('received', 'submitting', 'pending', 'pended') GROUP BY 1, 2`); err != nil {
			return err
		}
		var use string
		var at time.Time
		rows, _ := tx.Query(ctx, // rows that could not be asked for hold the error, and ForEachRow returns it
			`SELECT use, min(created_at) FROM claims WHERE state IN ('received', 'submitting', 'pending', 'pended') GROUP BY 1`)
		if _, err = pgx.ForEachRow(rows, []any{&use, &at}, func() error { f.OldestPending[use] = at; return nil }); err != nil {
			return err
		}
		var queue string
		var n int
		rows, _ = tx.Query(ctx, `SELECT queue, count(*)::int, min(created_at) FROM dead_letters WHERE state = 'open' GROUP BY 1`)
		if _, err = pgx.ForEachRow(rows, []any{&queue, &n, &at}, func() error {
			f.Letters[queue] = n
			if f.OldestLetter.IsZero() || at.Before(f.OldestLetter) {
				f.OldestLetter = at
			}
			return nil
		}); err != nil {
			return err
		}
		if err = tx.QueryRow(ctx, `SELECT count(*)::int FROM messages WHERE parent_id IS NOT NULL AND claim_id IS NULL AND created_at > $1`, f.At.Add(-24*time.Hour)).Scan(&f.Unmatched); err != nil {
			return err
		}
		if f.Outbox, err = rowsOf[OutboxFigure](ctx, tx, `SELECT channel, count(*) FILTER (WHERE dead_at IS NULL)::int, count(*) FILTER (WHERE dead_at IS NOT NULL)::int,
			min(created_at) FILTER (WHERE dead_at IS NULL) FROM teams_notifications WHERE sent_at IS NULL GROUP BY 1`); err != nil {
			return err
		}
		if f.Paused, err = rowsOf[PauseFigure](ctx, tx, `SELECT license, bool_or(payer = ''), count(*) FILTER (WHERE payer <> '')::int FROM pauses p WHERE `+pausing("$1")+` GROUP BY 1`, f.At); err != nil {
			return err
		}
		hour := f.At.Add(-time.Hour)
		// updated_at has an index, and is never before created_at.
		rows, _ = tx.Query(ctx, `SELECT queue, count(*)::int FROM dead_letters WHERE updated_at > $1 AND created_at > $1 GROUP BY 1`, hour)
		if _, err = pgx.ForEachRow(rows, []any{&queue, &n}, func() error { f.WrittenLetters[queue] = n; return nil }); err != nil {
			return err
		}
		rows, _ = tx.Query(ctx, `SELECT channel, count(*)::int FROM teams_notifications WHERE sent_at IS NULL AND dead_at > $1 GROUP BY 1`, hour)
		if _, err = pgx.ForEachRow(rows, []any{&queue, &n}, func() error { f.GivenUp[queue] = n; return nil }); err != nil {
			return err
		}
		if err = tx.QueryRow(ctx, `SELECT count(*)::int FROM pagerduty_events WHERE sent_at IS NULL AND dead_at > $1`, hour).Scan(&f.GivenUpPages); err != nil {
			return err
		}
		f.Unacknowledged, err = rowsOf[UnacknowledgedFigure](ctx, tx, `SELECT priority, count(DISTINCT alert_key)::int, min(sent_at) FROM teams_notifications
			WHERE acknowledged_at IS NULL AND priority IN ('CRITICAL', 'HIGH') AND state IN ('open', 'escalated') AND sent_at IS NOT NULL GROUP BY 1`)
		return err
	})
	if err != nil {
		return f, wrap("read figures", err)
	}
	if f.Waiting, err = s.OldestWaiting(ctx); err != nil {
		return f, err
	}
	workers, err := s.Workers(ctx)
	if err != nil {
		return f, err
	}
	for _, w := range workers {
		if w.Alive {
			f.Alive++
		} else {
			f.Lost++
		}
	}
	states, err := s.PollStates(ctx)
	if err != nil {
		return f, err
	}
	unprocessed := map[string]int{}
	var license string
	var n int
	rows, _ := s.pool.Query(ctx, `SELECT license, count(*)::int FROM poll_answers WHERE processed_at IS NULL GROUP BY 1`)
	if _, err := pgx.ForEachRow(rows, []any{&license, &n}, func() error { unprocessed[license] = n; return nil }); err != nil {
		return f, wrap("read figures", err)
	}
	for _, p := range states {
		f.Mailboxes = append(f.Mailboxes, MailboxFigure{p, unprocessed[p.License]})
	}
	return f, nil
}

// Outcomes counts the claims that have their outcome. It looks at each of them, unlike Figures: about 0.3 s for a million.
func (s *Store) Outcomes(ctx context.Context) ([]ClaimFigure, error) {
	out, err := rowsOf[ClaimFigure](ctx, s.pool, `SELECT use, state, count(*)::int FROM claims WHERE state NOT IN ('received', 'submitting', 'pending', 'pended') GROUP BY 1, 2`)
	return out, wrap("count claims", err)
}

func rowsOf[T any](ctx context.Context, q querier, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

// AuditCheck is what the last check of the audit trail found.
type AuditCheck struct {
	At    time.Time `json:"at"`
	Valid bool      `json:"valid"`
	// Rows and Hash are the end of the trail when it was last whole. The next check expects to find this row as it was, so that a
	// trail whose end was cut off is noticed, too.
	Rows int64  `json:"rows"`
	Hash string `json:"hash"`
	// Problem says what is wrong.
	Problem string `json:"problem,omitempty"`
}

const auditMemory = "audit"

// LastAuditCheck returns what CheckAudit found last; At is zero before the first time.
func (s *Store) LastAuditCheck(ctx context.Context) (c AuditCheck, err error) {
	err = s.Recall(ctx, auditMemory, &c)
	return c, err
}

// CheckAudit walks the whole audit trail, compares it with what the last check saw, and remembers what it found. The error is one of
// the database; a broken trail is none.
func (s *Store) CheckAudit(ctx context.Context) (AuditCheck, error) {
	before, err := s.LastAuditCheck(ctx)
	if err != nil {
		return before, err
	}
	end, err := s.VerifySince(ctx, TrailEnd{before.Rows, before.Hash})
	if fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Config) {
		return before, err
	}
	now := AuditCheck{At: s.opt.Now().UTC(), Valid: err == nil, Rows: end.Row, Hash: end.Hash}
	if err != nil {
		now.Rows, now.Hash, now.Problem = before.Rows, before.Hash, err.Error()
	}
	return now, s.Remember(ctx, auditMemory, now)
}
