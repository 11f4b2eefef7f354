package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Codes of a FHIR Task that we start about a claim.
const (
	TaskStatus = "status"
	TaskCancel = "cancel"
)

// FHIRTaskState is where a FHIR Task stands.
type FHIRTaskState string

// States of a FHIR Task. Completed and failed are answers; error means refused by NPHIES, or given up.
const (
	FHIRTaskReceived   FHIRTaskState = "received"
	FHIRTaskSubmitting FHIRTaskState = "submitting"
	FHIRTaskCompleted  FHIRTaskState = "completed"
	FHIRTaskFailed     FHIRTaskState = "failed"
	FHIRTaskError      FHIRTaskState = "error"
)

// Answered reports whether the task has its answer.
func (s FHIRTaskState) Answered() bool { return s != FHIRTaskReceived && s != FHIRTaskSubmitting }

// FHIRTask is a row of fhir_tasks: a status-check or a cancel-request about a claim.
type FHIRTask struct {
	ID      uuid.UUID
	ClaimID uuid.UUID
	// Code is TaskStatus or TaskCancel; Reason the code of a cancel: WI, NP or TAS.
	Code       string
	Reason     string
	License    string
	Payer      string
	Identifier Identifier
	MessageID  uuid.UUID
	State      FHIRTaskState
	// Result is what a status-check said: queued, complete, error, partial or cancelled; StatusReason why a cancel failed.
	Result        string
	StatusReason  string
	ErrorKind     string
	ErrorCode     string
	ErrorText     string
	Episode       int
	Attempts      int
	FirstFailedAt *time.Time
	AnsweredAt    *time.Time
	CreatedAt     time.Time
	UpdatedAt     time.Time
	// Automatic: nphiesq asked by itself, of an overdue claim.
	Automatic bool
}

const fhirTaskColumns = `id, claim_id, code, reason, license, payer, identifier_system, identifier_value, message_id, state, result, status_reason,
	error_kind, error_code, error_text, episode, attempts, first_failed_at, answered_at, created_at, updated_at, automatic`

func fhirTasks(ctx context.Context, q querier, where string, args ...any) ([]FHIRTask, error) {
	rows, err := q.Query(ctx, `SELECT `+fhirTaskColumns+` FROM fhir_tasks WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t FHIRTask, err error) {
		err = row.Scan(&t.ID, &t.ClaimID, &t.Code, &t.Reason, &t.License, &t.Payer, &t.Identifier.System, &t.Identifier.Value, &t.MessageID, &t.State,
			&t.Result, &t.StatusReason, &t.ErrorKind, &t.ErrorCode, &t.ErrorText, &t.Episode, &t.Attempts, &t.FirstFailedAt, &t.AnsweredAt,
			&t.CreatedAt, &t.UpdatedAt, &t.Automatic)
		return t, err
	})
}

func oneFHIRTask(ctx context.Context, q querier, where string, args ...any) (FHIRTask, error) {
	found, err := fhirTasks(ctx, q, where, args...)
	if err == nil && len(found) != 1 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return FHIRTask{}, err
	}
	return found[0], nil
}

// NewFHIRTask is a status-check or cancel-request to be kept, with the bytes to be sent.
type NewFHIRTask struct {
	ClaimID    uuid.UUID
	Code       string
	Reason     string
	License    string
	Payer      string
	Identifier Identifier
	Event      string
	BundleID   string
	HeaderID   string
	Body       []byte
	// Automatic: nphiesq asks by itself.
	Automatic bool
	// By is put on record for a cancel; its Reason is the person's own words, beside the code.
	By Decision
}

// CreateFHIRTask keeps a FHIR Task and its request bytes. created is false when one of the same code waits for its answer
// already: then that one is returned. A cancel is put on record in the same transaction.
func (s *Store) CreateFHIRTask(ctx context.Context, n NewFHIRTask) (t FHIRTask, created bool, err error) {
	err = s.tx(ctx, "keep FHIR task", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT id FROM claims WHERE id = $1 FOR UPDATE`, n.ClaimID); err != nil {
			return err
		}
		t, err = oneFHIRTask(ctx, tx, `claim_id = $1 AND code = $2 AND state IN ('received', 'submitting')`, n.ClaimID, n.Code)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		message, err := insertMessage(ctx, tx, Message{
			Direction: Out, Event: n.Event, License: n.License, ClaimID: &n.ClaimID, BundleID: n.BundleID, HeaderID: n.HeaderID, Body: n.Body,
		})
		if err != nil {
			return err
		}
		id := newID()
		if _, err := tx.Exec(ctx, `INSERT INTO fhir_tasks (id, claim_id, code, reason, license, payer, identifier_system, identifier_value, message_id, automatic)
			VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)`, id, n.ClaimID, n.Code, n.Reason, n.License, n.Payer, n.Identifier.System, n.Identifier.Value, message, n.Automatic); err != nil {
			return err
		}
		created = true
		if n.Code == TaskCancel {
			a := Action{
				Actor: n.By.Actor, Source: n.By.Source, Verb: "cancel", TargetKind: "claim", Target: n.ClaimID.String(), Reason: n.By.Reason,
				Outcome: "requested", Detail: map[string]string{"code": n.Reason, "fhir_task": id.String()},
			}
			if err := s.appendAction(ctx, tx, &a); err != nil {
				return err
			}
		}
		t, err = oneFHIRTask(ctx, tx, `id = $1`, id)
		return err
	})
	return t, created, err
}

// CancelUnsent cancels a claim that was never sent: nobody else knows of it. done is false when it was sent meanwhile, or has
// an outcome.
func (s *Store) CancelUnsent(ctx context.Context, id uuid.UUID, d Decision, code string) (done bool, err error) {
	err = s.tx(ctx, "cancel claim", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE claims SET state = 'cancelled', adjudicated_at = $2 WHERE id = $1 AND state = 'received' AND attempts = 0`, id, s.opt.Now())
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		done = true
		a := Action{
			Actor: d.Actor, Source: d.Source, Verb: "cancel", TargetKind: "claim", Target: id.String(), Reason: d.Reason, Outcome: "applied",
			Detail: map[string]string{"code": code, "sent": "never"},
		}
		return s.appendAction(ctx, tx, &a)
	})
	return done, err
}

// FHIRTask returns the FHIR Task with this id, or a fault of Kind NotFound.
func (s *Store) FHIRTask(ctx context.Context, id uuid.UUID) (FHIRTask, error) {
	t, err := oneFHIRTask(ctx, s.pool, `id = $1`, id)
	return t, wrap("read FHIR task", err)
}

// FHIRTasksOf returns the FHIR Tasks about a claim, oldest first.
func (s *Store) FHIRTasksOf(ctx context.Context, claim uuid.UUID) ([]FHIRTask, error) {
	out, err := fhirTasks(ctx, s.pool, `claim_id = $1 ORDER BY created_at, id`, claim)
	return out, wrap("read FHIR tasks", err)
}

// BeginFHIRTask is BeginSubmit for FHIR Tasks.
func (s *Store) BeginFHIRTask(ctx context.Context, id uuid.UUID) (t FHIRTask, body []byte, send bool, err error) {
	err = s.tx(ctx, "begin FHIR task", func(tx pgx.Tx) error {
		t, err = oneFHIRTask(ctx, tx, `id = $1 FOR UPDATE`, id)
		if err != nil || t.State.Answered() {
			return err
		}
		if paused, err := s.isPaused(ctx, tx, t.License, t.Payer); err != nil || paused {
			return err
		}
		send = true
		t.State, t.Attempts = FHIRTaskSubmitting, t.Attempts+1
		if _, err := tx.Exec(ctx, `UPDATE fhir_tasks SET state = $2, attempts = $3 WHERE id = $1`, id, string(t.State), t.Attempts); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT body FROM messages WHERE id = $1`, t.MessageID).Scan(&body)
	})
	return t, body, send, err
}

// FHIRTaskFailed is SubmitFailed for FHIR Tasks.
func (s *Store) FHIRTaskFailed(ctx context.Context, id uuid.UUID, t Trouble, events ...Event) (channels []string, err error) {
	err = s.tx(ctx, "note failed FHIR task", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE fhir_tasks SET error_kind = $2, error_code = $3, error_text = $4, first_failed_at = coalesce(first_failed_at, $5)
			WHERE id = $1 AND state IN ('received', 'submitting')`, id, t.Kind, t.Code, t.Text, s.opt.Now())
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		channels, err = s.insertEvents(ctx, tx, events)
		return err
	})
	return channels, err
}

// FHIRTaskAnswer is the answer to a FHIR Task.
type FHIRTaskAnswer struct {
	ID           uuid.UUID
	State        FHIRTaskState
	Result       string
	StatusReason string
	Trouble      Trouble
	// Cancelled: the claim is cancelled now, whatever it was. Recheck: the claim has an answer that we do not have; its bytes are
	// due at once, to fetch it.
	Cancelled bool
	Recheck   bool
	// AskAgainAt, if set: the payer has the claim and works on it; nothing is overdue until then.
	AskAgainAt time.Time
}

// RecordFHIRTask writes the answer to a FHIR Task, once, with its effect on the claim and the notifications, in one
// transaction. first is false when it had one already.
func (s *Store) RecordFHIRTask(ctx context.Context, a FHIRTaskAnswer, events ...Event) (first bool, channels []string, err error) {
	err = s.tx(ctx, "record FHIR task", func(tx pgx.Tx) error {
		now := s.opt.Now()
		var claim uuid.UUID
		var code string
		err := tx.QueryRow(ctx, `UPDATE fhir_tasks SET state = $2, result = $3, status_reason = $4, error_kind = $5, error_code = $6, error_text = $7, answered_at = $8
			WHERE id = $1 AND state IN ('received', 'submitting') RETURNING claim_id, code`,
			a.ID, string(a.State), a.Result, a.StatusReason, a.Trouble.Kind, a.Trouble.Code, a.Trouble.Text, now).Scan(&claim, &code)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		first = true
		switch {
		case a.Cancelled:
			if _, err := tx.Exec(ctx, `UPDATE claims SET state = 'cancelled', next_poll_at = NULL, adjudicated_at = $2, error_kind = '', error_code = '', error_text = '',
				first_failed_at = NULL WHERE id = $1`, claim, now); err != nil {
				return err
			}
			if err := s.settleDeadLetters(ctx, tx, "claim_id", claim); err != nil {
				return err
			}
		case a.Recheck:
			if _, err := tx.Exec(ctx, `UPDATE claims SET next_poll_at = $2, overdue_step = 2 WHERE id = $1 AND state IN ('pending', 'pended')`, claim, now); err != nil {
				return err
			}
		case !a.AskAgainAt.IsZero():
			if _, err := tx.Exec(ctx, `UPDATE claims SET next_poll_at = $2, overdue_step = 0 WHERE id = $1 AND state IN ('pending', 'pended')`, claim, a.AskAgainAt); err != nil {
				return err
			}
		}
		if code == TaskCancel {
			outcome := map[FHIRTaskState]string{FHIRTaskCompleted: "applied", FHIRTaskFailed: "refused"}[a.State]
			if outcome == "" {
				outcome = "failed"
			}
			action := Action{
				Actor: "nphiesq", Source: "system", Verb: "cancel", TargetKind: "claim", Target: claim.String(), Outcome: outcome,
				Detail: map[string]string{"fhir_task": a.ID.String(), "status_reason": a.StatusReason, "code": a.Trouble.Code},
			}
			if err := s.appendAction(ctx, tx, &action); err != nil {
				return err
			}
		}
		if err := s.settleDeadLetters(ctx, tx, "fhir_task_id", a.ID); err != nil {
			return err
		}
		channels, err = s.insertEvents(ctx, tx, events)
		return err
	})
	return first, channels, err
}

// FHIRTasksToSend is ClaimsToSubmit for FHIR Tasks.
func (s *Store) FHIRTasksToSend(ctx context.Context, before time.Time, after uuid.UUID, limit int) ([]Wish, error) {
	return s.wishes(ctx, `SELECT c.id, c.episode, c.code FROM fhir_tasks c WHERE c.state IN ('received', 'submitting') AND c.updated_at < $1 AND c.id > $2
		AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.fhir_task_id = c.id AND d.state = 'open') AND `+notPaused("$4")+` ORDER BY c.id LIMIT $3`,
		before, after, limit, s.opt.Now())
}

// RenewFHIRTask is RenewClaim for FHIR Tasks.
func (s *Store) RenewFHIRTask(ctx context.Context, id uuid.UUID, episode int) (int, error) {
	var next int
	err := s.pool.QueryRow(ctx, `UPDATE fhir_tasks SET episode = episode + 1 WHERE id = $1 AND episode = $2
		AND state IN ('received', 'submitting')
		AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.fhir_task_id = $1 AND d.state = 'open') RETURNING episode`, id, episode).Scan(&next)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return next, wrap("renew FHIR task", err)
}
