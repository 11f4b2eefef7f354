package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// CheckState is where an eligibility check stands.
type CheckState string

// States of an eligibility check.
const (
	CheckReceived    CheckState = "received"
	CheckSubmitting  CheckState = "submitting"
	CheckEligible    CheckState = "eligible"
	CheckNotEligible CheckState = "not_eligible"
	CheckFailed      CheckState = "error"
)

// Answered reports whether the check has its answer.
func (s CheckState) Answered() bool { return s != CheckReceived && s != CheckSubmitting }

// Check is a row of eligibility_checks. It holds no personal data.
type Check struct {
	ID              uuid.UUID
	License         string
	Identifier      Identifier
	Payer           string
	PayerName       string
	State           CheckState
	SiteEligibility string
	Disposition     string
	Response        Identifier
	ErrorKind       string
	ErrorCode       string
	ErrorText       string
	HeaderID        string
	BundleID        string
	SourceHash      string
	Episode         int
	Attempts        int
	FirstFailedAt   *time.Time
	AnsweredAt      *time.Time
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

const checkColumns = `id, license, identifier_system, identifier_value, payer, payer_name, state, site_eligibility, disposition, response_system,
	response_value, error_kind, error_code, error_text, header_id, bundle_id, source_hash, episode, attempts, first_failed_at, answered_at, created_at, updated_at`

func scanCheck(row pgx.CollectableRow) (Check, error) {
	var c Check
	err := row.Scan(&c.ID, &c.License, &c.Identifier.System, &c.Identifier.Value, &c.Payer, &c.PayerName, &c.State, &c.SiteEligibility, &c.Disposition,
		&c.Response.System, &c.Response.Value, &c.ErrorKind, &c.ErrorCode, &c.ErrorText, &c.HeaderID, &c.BundleID, &c.SourceHash, &c.Episode, &c.Attempts,
		&c.FirstFailedAt, &c.AnsweredAt, &c.CreatedAt, &c.UpdatedAt)
	return c, err
}

func oneCheck(ctx context.Context, q querier, where string, args ...any) (Check, error) {
	rows, err := q.Query(ctx, `SELECT `+checkColumns+` FROM eligibility_checks WHERE `+where, args...)
	if err != nil {
		return Check{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanCheck)
}

// NewCheck is an eligibility check to be kept, with the bytes to be sent.
type NewCheck struct {
	License    string
	Identifier Identifier
	Payer      string
	PayerName  string
	HeaderID   string
	BundleID   string
	SourceHash string
	Body       []byte
}

// CreateCheck is CreateClaim for eligibility checks.
func (s *Store) CreateCheck(ctx context.Context, n NewCheck) (c Check, created bool, err error) {
	err = s.tx(ctx, "keep eligibility check", func(tx pgx.Tx) error {
		id := newID()
		tag, err := tx.Exec(ctx, `INSERT INTO eligibility_checks (id, license, identifier_system, identifier_value, payer, payer_name, header_id, bundle_id, source_hash)
			VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9) ON CONFLICT ON CONSTRAINT eligibility_checks_identifier_key DO NOTHING`,
			id, n.License, n.Identifier.System, n.Identifier.Value, n.Payer, n.PayerName, n.HeaderID, n.BundleID, n.SourceHash)
		if err != nil {
			return err
		}
		if created = tag.RowsAffected() == 1; created {
			if _, err := insertMessage(ctx, tx, Message{
				Direction: Out, Event: "eligibility-request", License: n.License, EligibilityID: &id, BundleID: n.BundleID, HeaderID: n.HeaderID, Body: n.Body,
			}); err != nil {
				return err
			}
		}
		c, err = oneCheck(ctx, tx, `license = $1 AND identifier_system = $2 AND identifier_value = $3`, n.License, n.Identifier.System, n.Identifier.Value)
		return err
	})
	return c, created, err
}

// Check returns the eligibility check with this id, or a fault of Kind NotFound.
func (s *Store) Check(ctx context.Context, id uuid.UUID) (Check, error) {
	c, err := oneCheck(ctx, s.pool, `id = $1`, id)
	return c, wrap("read eligibility check", err)
}

// Checks returns eligibility checks, newest first; with values only those with these identifier values. limit 0 returns all.
func (s *Store) Checks(ctx context.Context, values []string, limit int) ([]Check, error) {
	var lim *int
	if limit > 0 {
		lim = &limit
	}
	rows, err := s.pool.Query(ctx, `SELECT `+checkColumns+` FROM eligibility_checks WHERE cardinality($1::text[]) = 0 OR identifier_value = ANY ($1)
		ORDER BY created_at DESC, id LIMIT $2`, append([]string{}, values...), lim)
	if err != nil {
		return nil, wrap("list eligibility checks", err)
	}
	out, err := pgx.CollectRows(rows, scanCheck)
	return out, wrap("list eligibility checks", err)
}

// BeginCheck is BeginSubmit for eligibility checks.
func (s *Store) BeginCheck(ctx context.Context, id uuid.UUID) (c Check, request uuid.UUID, body []byte, send bool, err error) {
	err = s.tx(ctx, "begin eligibility check", func(tx pgx.Tx) error {
		c, err = oneCheck(ctx, tx, `id = $1 FOR UPDATE`, id)
		if err != nil || c.State.Answered() {
			return err
		}
		send = true
		c.State, c.Attempts = CheckSubmitting, c.Attempts+1
		if _, err := tx.Exec(ctx, `UPDATE eligibility_checks SET state = $2, attempts = $3 WHERE id = $1`, id, c.State, c.Attempts); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT id, body FROM messages WHERE eligibility_id = $1 AND direction = 'out' AND event = 'eligibility-request'`, id).Scan(&request, &body)
	})
	return c, request, body, send, err
}

// CheckFailedAttempt is SubmitFailed for eligibility checks.
func (s *Store) CheckFailedAttempt(ctx context.Context, id uuid.UUID, t Trouble, events ...Event) (channels []string, err error) {
	err = s.tx(ctx, "note failed eligibility check", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE eligibility_checks SET error_kind = $2, error_code = $3, error_text = $4, first_failed_at = coalesce(first_failed_at, $5)
			WHERE id = $1 AND state IN ('received', 'submitting')`, id, t.Kind, t.Code, t.Text, s.opt.Now())
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		channels, err = s.insertEvents(ctx, tx, events)
		return err
	})
	return channels, err
}

// CheckAnswer is the answer to an eligibility check.
type CheckAnswer struct {
	ID              uuid.UUID
	State           CheckState // CheckEligible, CheckNotEligible or CheckFailed
	SiteEligibility string
	Disposition     string
	Response        Identifier
	Trouble         Trouble
}

// RecordCheck writes the answer to an eligibility check, once, with its notifications in the same transaction. first is false
// when it had one already.
func (s *Store) RecordCheck(ctx context.Context, a CheckAnswer, events ...Event) (first bool, channels []string, err error) {
	err = s.tx(ctx, "record eligibility answer", func(tx pgx.Tx) error {
		var got uuid.UUID
		err := tx.QueryRow(ctx, `UPDATE eligibility_checks SET state = $2, site_eligibility = $3, disposition = $4, response_system = $5, response_value = $6,
			error_kind = $7, error_code = $8, error_text = $9, answered_at = $10 WHERE id = $1 AND state IN ('received', 'submitting') RETURNING id`,
			a.ID, string(a.State), a.SiteEligibility, a.Disposition, a.Response.System, a.Response.Value, a.Trouble.Kind, a.Trouble.Code, a.Trouble.Text, s.opt.Now()).Scan(&got)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		first = true
		if err := settleDeadLetters(ctx, tx, "eligibility_id", a.ID); err != nil {
			return err
		}
		channels, err = s.insertEvents(ctx, tx, events)
		return err
	})
	return first, channels, err
}

// ChecksToSend is ClaimsToSubmit for eligibility checks.
func (s *Store) ChecksToSend(ctx context.Context, before time.Time, after uuid.UUID, limit int) ([]Wish, error) {
	return s.wishes(ctx, `SELECT c.id, c.episode FROM eligibility_checks c WHERE c.state IN ('received', 'submitting') AND c.updated_at < $1 AND c.id > $2
		AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.eligibility_id = c.id AND d.state = 'open') ORDER BY c.id LIMIT $3`, before, after, limit)
}

// RenewCheck is RenewClaim for eligibility checks.
func (s *Store) RenewCheck(ctx context.Context, id uuid.UUID, episode int) (int, error) {
	var next int
	err := s.pool.QueryRow(ctx, `UPDATE eligibility_checks SET episode = episode + 1 WHERE id = $1 AND episode = $2
		AND state IN ('received', 'submitting') RETURNING episode`, id, episode).Scan(&next)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return next, wrap("renew eligibility check", err)
}
