package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Direction of a message, seen from us.
const (
	Out = "out"
	In  = "in"
)

// Message is one message as it went over the wire. Body holds personal health data and leaves the database only towards
// NPHIES or a person who may see it.
type Message struct {
	ID            uuid.UUID
	Direction     string
	Event         string
	License       string
	ClaimID       *uuid.UUID
	EligibilityID *uuid.UUID
	// ReplyTo is the request an answer came back on.
	ReplyTo *uuid.UUID
	// ParentID and Position place a message that came inside a poll answer.
	ParentID    *uuid.UUID
	Position    *int
	BundleID    string
	HeaderID    string
	HTTPStatus  *int
	ContentType string
	Body        []byte
	CreatedAt   time.Time
}

// SaveMessage keeps a message and returns its id. Raw answers are kept before anybody tries to read them.
func (s *Store) SaveMessage(ctx context.Context, m Message) (uuid.UUID, error) {
	var id uuid.UUID
	err := s.tx(ctx, "keep message", func(tx pgx.Tx) (err error) {
		id, err = insertMessage(ctx, tx, m)
		return err
	})
	return id, err
}

func insertMessage(ctx context.Context, tx pgx.Tx, m Message) (uuid.UUID, error) {
	if m.ID == uuid.Nil {
		m.ID = newID()
	}
	_, err := tx.Exec(ctx, `INSERT INTO messages (id, direction, event, license, claim_id, eligibility_id, reply_to, parent_id, position,
		bundle_id, header_id, http_status, content_type, body) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14)`,
		m.ID, m.Direction, m.Event, m.License, m.ClaimID, m.EligibilityID, m.ReplyTo, m.ParentID, m.Position, m.BundleID, m.HeaderID,
		m.HTTPStatus, m.ContentType, m.Body)
	return m.ID, err
}

// ClaimMessages returns all messages of a claim, oldest first, without their bodies.
func (s *Store) ClaimMessages(ctx context.Context, claim uuid.UUID) ([]Message, error) {
	return s.messages(ctx, `SELECT id, direction, event, license, claim_id, eligibility_id, reply_to, parent_id, position, bundle_id, header_id,
		http_status, content_type, ''::bytea, created_at FROM messages WHERE claim_id = $1 ORDER BY created_at, id`, claim)
}

func (s *Store) messages(ctx context.Context, sql string, args ...any) ([]Message, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, wrap("read messages", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Message])
	return out, wrap("read messages", err)
}

// MessageBody returns the bytes of one message.
func (s *Store) MessageBody(ctx context.Context, id uuid.UUID) ([]byte, error) {
	var body []byte
	err := s.pool.QueryRow(ctx, `SELECT body FROM messages WHERE id = $1`, id).Scan(&body)
	return body, wrap("read message", err)
}
