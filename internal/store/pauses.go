package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Pause says that nothing is sent for a licence, or for one payer of it, for now. Claims and checks concerned wait where they
// stand; no attempt of theirs is used up.
type Pause struct {
	License string
	// Payer is the payer's licence, "" for all payers.
	Payer     string
	ErrorKind string
	ErrorCode string
	ErrorText string
	// Failures counts how often it began anew without success in between.
	Failures int
	Since    time.Time
	// Until is when sending is tried again, or sooner when an exchange goes well; nil: when a person resumes it, see EndPauses.
	Until     *time.Time
	UpdatedAt time.Time
	// Operation is what met the error: as on the cards ("submission", "poll", …).
	Operation string
	// Breaker: the way is broken, as failures in a row showed. HalfOpenAt is when a poll got through again, so that claims may try.
	Breaker    bool
	HalfOpenAt *time.Time
}

// tripped reports whether the row pauses, or paused, anything. A breaker that still counts does not.
func (p Pause) tripped() bool { return p.Until == nil || p.Until.After(p.Since) }

const pauseColumns = `license, payer, error_kind, error_code, error_text, failures, since, until, updated_at, operation, breaker, half_open_at`

// pausing is a condition on a row p of pauses that holds work back; now names the argument with the time. The breaker of a licence
// is tried by a poll, which costs no claim an attempt: until that got through, claims wait, for up to two minutes more, lest nobody polls.
func pausing(now string) string {
	return `(p.until IS NULL OR (p.until > ` + now + ` AND NOT (p.breaker AND p.half_open_at IS NOT NULL)) OR (p.breaker AND p.payer = '' AND p.until > p.since AND p.half_open_at IS NULL
		AND p.until > ` + now + ` - interval '2 minutes'))`
}

// notPaused is a condition on a row c with license and payer; now names the argument with the time.
func notPaused(now string) string {
	return `NOT EXISTS (SELECT 1 FROM pauses p WHERE p.license = c.license AND p.payer IN ('', c.payer) AND ` + pausing(now) + `)`
}

func (s *Store) isPaused(ctx context.Context, tx pgx.Tx, license, payer string) (bool, error) {
	var paused bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pauses p WHERE p.license = $1 AND p.payer IN ('', $2) AND `+pausing("$3")+`)`,
		license, payer, s.opt.Now()).Scan(&paused)
	return paused, err
}

// Paused reports whether a licence as a whole is paused now.
func (s *Store) Paused(ctx context.Context, license string) (bool, error) {
	var paused bool
	err := s.tx(ctx, "read pause", func(tx pgx.Tx) (err error) {
		paused, err = s.isPaused(ctx, tx, license, "")
		return err
	})
	return paused, err
}

// NewPause asks for a pause.
type NewPause struct {
	License, Payer string
	// Operation is what met the error.
	Operation string
	Trouble   Trouble
	// For says how long the pause lasts after so many failures, 1 for the first; nil: until a person resumes it. 0 pauses nothing yet.
	For func(failures int) time.Duration
	// Breaker: the failure is one of the way, not of a message.
	Breaker bool
}

// Pause begins a pause or, when an earlier one has lapsed, begins it anew with one more failure. While one lasts nothing is
// changed, so that any number of workers that meet the same trouble count once. events gets the row and whether it began now,
// and is written in the same transaction. The row as it stands is returned.
func (s *Store) Pause(ctx context.Context, n NewPause, events func(p Pause, began bool) []Event) (p Pause, channels []string, err error) {
	err = s.tx(ctx, "pause", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('pause/' || $1 || '/' || $2, 0))`, n.License, n.Payer); err != nil {
			return err
		}
		now := s.opt.Now()
		p, err = onePause(ctx, tx, n.License, n.Payer)
		known := err == nil
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if known && (p.Until == nil || (p.Until.After(now) && p.HalfOpenAt == nil)) {
			return nil
		}
		before := p
		if !known || (!p.tripped() && !n.Breaker) { // what was counted until now is another matter
			p = Pause{License: n.License, Payer: n.Payer, Since: now}
		}
		p.Failures++
		p.Breaker, p.HalfOpenAt = n.Breaker, nil
		p.ErrorKind, p.ErrorCode, p.ErrorText, p.Operation, p.Until = n.Trouble.Kind, n.Trouble.Code, n.Trouble.Text, n.Operation, nil
		if n.For != nil {
			until := p.Since
			if d := n.For(p.Failures); d > 0 {
				until = now.Add(d)
			}
			p.Until = &until
		}
		if _, err := tx.Exec(ctx, `INSERT INTO pauses (license, payer, error_kind, error_code, error_text, failures, since, until, operation, breaker)
			VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)
			ON CONFLICT (license, payer) DO UPDATE SET error_kind = $3, error_code = $4, error_text = $5, failures = $6, since = $7, until = $8, operation = $9,
			breaker = $10, half_open_at = NULL`,
			p.License, p.Payer, p.ErrorKind, p.ErrorCode, p.ErrorText, p.Failures, p.Since, p.Until, p.Operation, p.Breaker); err != nil {
			return err
		}
		if events == nil || !p.tripped() {
			return nil
		}
		channels, err = s.insertEvents(ctx, tx, events(p, !known || !before.tripped() || (before.Until != nil && p.Until == nil)))
		return err
	})
	return p, channels, err
}

func onePause(ctx context.Context, q querier, license, payer string) (Pause, error) {
	rows, err := q.Query(ctx, `SELECT `+pauseColumns+` FROM pauses WHERE license = $1 AND payer = $2`, license, payer)
	if err != nil {
		return Pause{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Pause])
}

// Pauses returns all pauses, but not the breakers that only count, the oldest first; those whose time has come wait for their first success.
func (s *Store) Pauses(ctx context.Context) ([]Pause, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+pauseColumns+` FROM pauses WHERE until IS NULL OR until > since ORDER BY since, license, payer`)
	if err != nil {
		return nil, wrap("list pauses", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Pause])
	return out, wrap("list pauses", err)
}

// halfOpen is how long after the first good poll a breaker that no claim has tried is forgotten.
const halfOpen = 10 * time.Minute

// EndPauses ends the pauses of a licence, and of a payer if one is given, that end by themselves anyway, because an exchange went
// well. One that waits for a person stays, since the exchange may have begun before it; but what an operation met because of the
// certificate is over when the same operation goes well: give it for those of which only one runs at a time, else "". Most of the
// time there are no pauses.
func (s *Store) EndPauses(ctx context.Context, license, payer, operation string) (ended int64, err error) {
	if operation != "" {
		// Claims may try. If they go well they end it; if they fail, it was only polls that got through, and the pause goes on.
		if _, err := s.pool.Exec(ctx, `UPDATE pauses SET half_open_at = $2 WHERE license = $1 AND payer = '' AND breaker AND until > since AND half_open_at IS NULL`,
			license, s.opt.Now()); err != nil {
			return 0, wrap("end pause", err)
		}
	}
	tag, err := s.pool.Exec(ctx, `DELETE FROM pauses WHERE license = $1 AND payer IN ('', $2)
		AND ((until IS NOT NULL AND ($3 = '' OR NOT breaker OR (until = since AND operation = $3) OR half_open_at < $5)) OR (error_kind = $4 AND operation = $3 AND operation <> ''))`,
		license, payer, operation, string(fault.Certificate), s.opt.Now().Add(-halfOpen))
	return tag.RowsAffected(), wrap("end pause", err)
}

// Resume ends a pause by a person's decision, which goes on record. applied is false when there is none (any more).
func (s *Store) Resume(ctx context.Context, license, payer string, d Decision) (applied bool, err error) {
	if d.Reason == "" {
		return false, ErrReason
	}
	err = s.tx(ctx, "resume", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM pauses WHERE license = $1 AND payer = $2`, license, payer)
		if err != nil {
			return err
		}
		applied = tag.RowsAffected() == 1
		target := license
		if payer != "" {
			target += "/" + payer
		}
		a := Action{Actor: d.Actor, Source: d.Source, Verb: "resume", TargetKind: "pause", Target: target, Reason: d.Reason, Outcome: "already"}
		if applied {
			a.Outcome = "applied"
		}
		return s.appendAction(ctx, tx, &a)
	})
	return applied, err
}
