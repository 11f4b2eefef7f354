package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// What only the monitor asks.

// CheckMessages returns all messages of an eligibility check, oldest first, without their bodies.
func (s *Store) CheckMessages(ctx context.Context, check uuid.UUID) ([]Message, error) {
	return s.messages(ctx, `SELECT id, direction, event, license, claim_id, eligibility_id, reply_to, parent_id, position, bundle_id, header_id,
		http_status, content_type, ''::bytea, created_at FROM messages WHERE eligibility_id = $1 ORDER BY created_at, id`, check)
}

// CheckReply returns the bytes of the last answer to an eligibility check, nil if there is none.
func (s *Store) CheckReply(ctx context.Context, check uuid.UUID) ([]byte, error) {
	var body []byte
	err := s.pool.QueryRow(ctx, `SELECT body FROM messages WHERE eligibility_id = $1 AND direction = 'in' ORDER BY created_at DESC, id DESC LIMIT 1`,
		check).Scan(&body)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return body, wrap("read the answer to a check", err)
}

// LettersOf returns the dead letters of a claim or eligibility check, the latest failure first.
func (s *Store) LettersOf(ctx context.Context, id uuid.UUID) ([]DeadLetter, error) {
	out, err := letters(ctx, s.pool, `WHERE claim_id = $1 OR eligibility_id = $1 ORDER BY last_failed_at DESC, id`, id)
	return out, wrap("list dead letters", err)
}

// ActionsOn returns the actions on any of the targets, newest first.
func (s *Store) ActionsOn(ctx context.Context, targets ...string) ([]Action, error) {
	rows, err := s.pool.Query(ctx, `SELECT seq, at, command_id, actor, source, verb, target_kind, target, reason, outcome, detail, prev_hash, hash
		FROM operator_actions WHERE target = ANY ($1) ORDER BY seq DESC`, append([]string{}, targets...))
	if err != nil {
		return nil, wrap("read actions", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Action])
	return out, wrap("read actions", err)
}

// NotificationFilter chooses notifications; zero fields choose all.
type NotificationFilter struct {
	// Status is sent, waiting or dead.
	Status  string
	Channel string
	// EventType is the type of the event.
	EventType string
	Claim     *uuid.UUID
	// Either is the id of a notification or of the digest card that carried it.
	Either string
	Limit  int
}

// ListNotifications returns notifications without their cards, newest first.
func (s *Store) ListNotifications(ctx context.Context, f NotificationFilter) ([]Notification, error) {
	var limit *int
	if f.Limit > 0 {
		limit = &f.Limit
	}
	rows, err := s.pool.Query(ctx, `SELECT `+strings.Replace(notificationColumns, "card_payload", "'null'::jsonb", 1)+` FROM teams_notifications
		WHERE ($1 = '' OR $1 = CASE WHEN sent_at IS NOT NULL THEN 'sent' WHEN dead_at IS NOT NULL THEN 'dead' ELSE 'waiting' END)
		AND ($2 = '' OR channel = $2) AND ($3::uuid IS NULL OR claim_id = $3) AND ($4 = '' OR id::text = $4 OR digest_id = $4)
		AND ($6 = '' OR event_type = $6) ORDER BY created_at DESC, id LIMIT $5`, f.Status, f.Channel, f.Claim, f.Either, limit, f.EventType)
	if err != nil {
		return nil, wrap("read notifications", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Notification])
	return out, wrap("read notifications", err)
}

// Unsent counts claims that were accepted before a time, were never sent with success and have no open dead letter: somebody
// ought to have sent them. It returns their number and the time of the oldest.
func (s *Store) Unsent(ctx context.Context, before time.Time) (n int, oldest *time.Time, err error) {
	err = s.pool.QueryRow(ctx, `SELECT count(*), min(c.created_at) FROM claims c WHERE c.state IN ('received', 'submitting') AND c.created_at < $1
		AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.claim_id = c.id AND d.state = 'open')`, before).Scan(&n, &oldest)
	return n, oldest, wrap("count unsent claims", err)
}
