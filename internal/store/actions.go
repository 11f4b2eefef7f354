package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

// VerifyActions walks the whole record and returns how many rows it has. The error names the first row that was changed,
// removed or put in between.
func (s *Store) VerifyActions(ctx context.Context) (int64, error) {
	all, err := s.Actions(ctx, "", 0)
	if err != nil {
		return 0, err
	}
	prev := ""
	for i, a := range slices.Backward(all) {

		want, err := a.hash()
		if err != nil {
			return 0, err
		}
		if n := int64(len(all) - i); a.Seq != n || a.PrevHash != prev || a.Hash != want {
			return n, fmt.Errorf("the audit trail is broken at row %d", n)
		}
		prev = a.Hash
	}
	return int64(len(all)), nil
}
