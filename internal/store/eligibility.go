package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/claimlinc/nphiesq/internal/tracing"
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
	// TraceContext is the trace in which it was taken in, "" without one.
	TraceContext string
}

// Answered reports whether the payer decided.
func (c Check) Answered() bool { return c.State == CheckEligible || c.State == CheckNotEligible }

const checkColumns = `id, license, identifier_system, identifier_value, payer, payer_name, state, site_eligibility, disposition, response_system,
	response_value, error_kind, error_code, error_text, header_id, bundle_id, source_hash, episode, attempts, first_failed_at, answered_at, created_at, updated_at, trace_context`

func scanCheck(row pgx.CollectableRow) (Check, error) {
	var c Check
	err := row.Scan(&c.ID, &c.License, &c.Identifier.System, &c.Identifier.Value, &c.Payer, &c.PayerName, &c.State, &c.SiteEligibility, &c.Disposition,
		&c.Response.System, &c.Response.Value, &c.ErrorKind, &c.ErrorCode, &c.ErrorText, &c.HeaderID, &c.BundleID, &c.SourceHash, &c.Episode, &c.Attempts,
		&c.FirstFailedAt, &c.AnsweredAt, &c.CreatedAt, &c.UpdatedAt, &c.TraceContext)
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
	// Patient is the person's identifier; only a hash of it is kept, for Eligible.
	Patient Identifier
	Body    []byte
}

// patientKey is a hash that finds the checks of one person with one payer.
func patientKey(license, payer string, patient Identifier) string {
	if patient.Value == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(license + "\x00" + payer + "\x00" + patient.System + "\x00" + patient.Value))
	return hex.EncodeToString(sum[:])
}

// Eligible returns the identifier of the answer to an eligibility check that said yes: the check with this number if request
// is given, if it was about this person, else the latest one of this person with this payer, of the last 30 days. It is zero
// when there is none.
func (s *Store) Eligible(ctx context.Context, license, payer string, request, patient Identifier) (Identifier, error) {
	var id Identifier
	err := s.pool.QueryRow(ctx, `SELECT response_system, response_value FROM eligibility_checks WHERE license = $1 AND payer = $2 AND state = 'eligible' AND response_value <> ''
		AND CASE WHEN $3 <> '' THEN identifier_value = $3 AND ($4 = '' OR identifier_system = $4) AND patient_key IN ('', $5) ELSE patient_key <> '' AND patient_key = $5 AND answered_at > $6 END
		ORDER BY answered_at DESC LIMIT 1`, license, payer, request.Value, request.System, patientKey(license, payer, patient), s.opt.Now().AddDate(0, 0, -30)).Scan(&id.System, &id.Value)
	if errors.Is(err, pgx.ErrNoRows) {
		return Identifier{}, nil
	}
	return id, wrap("find eligibility check", err)
}

// CreateCheck is CreateClaim for eligibility checks.
func (s *Store) CreateCheck(ctx context.Context, n NewCheck) (c Check, created bool, err error) {
	err = s.tx(ctx, "keep eligibility check", func(tx pgx.Tx) error {
		id := newID()
		tag, err := tx.Exec(ctx, `INSERT INTO eligibility_checks (id, license, identifier_system, identifier_value, payer, payer_name, header_id, bundle_id, source_hash, patient_key, trace_context)
			VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11) ON CONFLICT ON CONSTRAINT eligibility_checks_identifier_key DO NOTHING`,
			id, n.License, n.Identifier.System, n.Identifier.Value, n.Payer, n.PayerName, n.HeaderID, n.BundleID, n.SourceHash, patientKey(n.License, n.Payer, n.Patient), tracing.Context(ctx))
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
		if paused, err := s.isPaused(ctx, tx, c.License, c.Payer); err != nil || paused {
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
		if err := s.settleDeadLetters(ctx, tx, "eligibility_id", a.ID); err != nil {
			return err
		}
		channels, err = s.insertEvents(ctx, tx, events)
		return err
	})
	return first, channels, err
}

// ChecksToSend is ClaimsToSubmit for eligibility checks.
func (s *Store) ChecksToSend(ctx context.Context, before time.Time, after uuid.UUID, limit int) ([]Wish, error) {
	return s.wishes(ctx, `SELECT c.id, c.episode, '' FROM eligibility_checks c WHERE c.state IN ('received', 'submitting') AND c.updated_at < $1 AND c.id > $2
		AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.eligibility_id = c.id AND d.state = 'open') AND `+notPaused("$4")+` ORDER BY c.id LIMIT $3`,
		before, after, limit, s.opt.Now())
}

// RenewCheck is RenewClaim for eligibility checks.
func (s *Store) RenewCheck(ctx context.Context, id uuid.UUID, episode int) (int, error) {
	var next int
	err := s.pool.QueryRow(ctx, `UPDATE eligibility_checks SET episode = episode + 1 WHERE id = $1 AND episode = $2
		AND state IN ('received', 'submitting')
		AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.eligibility_id = $1 AND d.state = 'open') RETURNING episode`, id, episode).Scan(&next)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return next, wrap("renew eligibility check", err)
}
