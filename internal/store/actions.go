package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Action is a row of operator_actions: who did what to what, why, and what came of it.
type Action struct {
	Seq        int64
	At         time.Time
	CommandID  uuid.UUID
	Actor      string
	Source     string
	Verb       string
	TargetKind string
	Target     string
	Reason     string
	// Outcome is requested, applied, already, refused or failed. What is done outside the database gets two rows with one
	// CommandID: requested before it and the rest after.
	Outcome  string
	Detail   map[string]string
	PrevHash string
	Hash     string
}

// AppendAction puts an action on record and fills in what the record adds (Seq, At, CommandID if empty, hashes).
func (s *Store) AppendAction(ctx context.Context, a *Action) error {
	return s.tx(ctx, "record action", func(tx pgx.Tx) error { return s.appendAction(ctx, tx, a) })
}

func (s *Store) appendAction(ctx context.Context, tx pgx.Tx, a *Action) error {
	// One writer at a time: each row carries the hash of the one before it.
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('operator_actions', 0))`); err != nil {
		return err
	}
	err := tx.QueryRow(ctx, `SELECT seq, hash FROM operator_actions ORDER BY seq DESC LIMIT 1`).Scan(&a.Seq, &a.PrevHash)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	a.Seq++
	if a.CommandID == uuid.Nil {
		a.CommandID = newID()
	}
	if a.Detail == nil {
		a.Detail = map[string]string{}
	}
	a.At = s.opt.Now().UTC().Truncate(time.Microsecond) // what the database keeps, so that the hash can be computed again
	if a.Hash, err = a.hash(); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO operator_actions (seq, at, command_id, actor, source, verb, target_kind, target, reason, outcome, detail, prev_hash, hash)
		VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13)`,
		a.Seq, a.At, a.CommandID, a.Actor, a.Source, a.Verb, a.TargetKind, a.Target, a.Reason, a.Outcome, a.Detail, a.PrevHash, a.Hash)
	return err
}

// hash is SHA-256 over the previous hash and the row as JSON with its keys in a fixed order.
func (a *Action) hash() (string, error) {
	row, err := json.Marshal([]any{a.Seq, a.At.UTC().Format(time.RFC3339Nano), a.CommandID, a.Actor, a.Source, a.Verb, a.TargetKind, a.Target, a.Reason, a.Outcome, a.Detail})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(a.PrevHash), row...))
	return hex.EncodeToString(sum[:]), nil
}

// Actions returns actions, newest first; with target set only those on it. limit 0 returns all.
func (s *Store) Actions(ctx context.Context, target string, limit int) ([]Action, error) {
	var lim *int
	if limit > 0 {
		lim = &limit
	}
	rows, err := s.pool.Query(ctx, `SELECT seq, at, command_id, actor, source, verb, target_kind, target, reason, outcome, detail, prev_hash, hash
		FROM operator_actions WHERE $1 = '' OR target = $1 ORDER BY seq DESC LIMIT $2`, target, lim)
	if err != nil {
		return nil, wrap("read actions", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Action])
	return out, wrap("read actions", err)
}

// TrailEnd is the last row of the audit trail and its hash. Kept elsewhere it shows later that no row up to there is gone.
type TrailEnd struct {
	Row  int64
	Hash string
}

// VerifyActions is VerifySince without an end of before. It returns how many rows the record has.
func (s *Store) VerifyActions(ctx context.Context) (int64, error) {
	end, err := s.VerifySince(ctx, TrailEnd{})
	return end.Row, err
}

// VerifySince walks the whole record and returns its end. The error names the first row that was changed, removed or put in between, or
// says that the row that was the end before is no longer there as it was.
func (s *Store) VerifySince(ctx context.Context, before TrailEnd) (end TrailEnd, err error) {
	seen := before.Row == 0
	for {
		rows, err := s.pool.Query(ctx, `SELECT seq, at, command_id, actor, source, verb, target_kind, target, reason, outcome, detail, prev_hash, hash
			FROM operator_actions WHERE seq > $1 ORDER BY seq LIMIT 5000`, end.Row)
		if err != nil {
			return end, wrap("verify the audit trail", err)
		}
		some, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Action])
		if err != nil {
			return end, wrap("verify the audit trail", err)
		}
		for _, a := range some {
			want, err := a.hash()
			if err != nil {
				return end, err
			}
			if n := end.Row + 1; a.Seq != n || a.PrevHash != end.Hash || a.Hash != want {
				return TrailEnd{Row: n}, fmt.Errorf("the audit trail is broken at row %d", n)
			}
			end = TrailEnd{a.Seq, a.Hash}
			if end.Row == before.Row {
				if seen = end.Hash == before.Hash; !seen {
					return end, fmt.Errorf("the audit trail was made anew: row %d has another hash than before", end.Row)
				}
			}
		}
		if len(some) == 0 {
			break
		}
	}
	if !seen {
		return end, fmt.Errorf("the audit trail ends at row %d; before it had %d", end.Row, before.Row)
	}
	return end, nil
}
