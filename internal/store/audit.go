package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
)

// Published is an event as others may hear of it: what happened, to whom it was told, and the ids under which to look. No personal data.
type Published struct {
	// ID is the same for the same event for ever.
	ID            uuid.UUID   `json:"id"`
	EventType     string      `json:"event_type"`
	Priority      string      `json:"priority"`
	CorrelationID string      `json:"correlation_id"`
	Stakeholders  []string    `json:"stakeholders"`
	Notifications []uuid.UUID `json:"notifications"`
	CreatedAt     time.Time   `json:"created_at"`
}

// UnpublishedEvents returns at most limit events whose rows were not published, oldest first. Rows of one event are one.
func (s *Store) UnpublishedEvents(ctx context.Context, limit int) ([]Published, error) {
	rows, err := s.pool.Query(ctx, `SELECT coalesce(event_key, id::text), min(event_type), min(priority), min(correlation_id), array_agg(DISTINCT who ORDER BY who), array_agg(DISTINCT id), min(created_at)
		FROM (SELECT * FROM teams_notifications WHERE published_at IS NULL ORDER BY created_at LIMIT $1) n, unnest(stakeholders) AS who
		GROUP BY 1 ORDER BY min(created_at)`, limit)
	if err != nil {
		return nil, wrap("read events", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p Published, err error) {
		var key string
		err = row.Scan(&key, &p.EventType, &p.Priority, &p.CorrelationID, &p.Stakeholders, &p.Notifications, &p.CreatedAt)
		p.ID = notificationID(key, "")
		return p, err
	})
	return out, wrap("read events", err)
}

// MarkPublished marks the rows of events as published.
func (s *Store) MarkPublished(ctx context.Context, events ...Published) error {
	var ids []uuid.UUID
	for _, e := range events {
		ids = append(ids, e.Notifications...)
	}
	_, err := s.pool.Exec(ctx, `UPDATE teams_notifications SET published_at = $2 WHERE id = ANY ($1)`, ids, s.opt.Now())
	return wrap("mark events published", err)
}

// DeleteOldNotifications deletes at most limit notifications that were written before a time and sent: never one that Teams did not
// take, nor a CRITICAL or HIGH one that nobody acknowledged. It returns how many; fewer than limit means that it is done.
func (s *Store) DeleteOldNotifications(ctx context.Context, before time.Time, limit int) (int64, error) {
	tag, err := s.pool.Exec(ctx, `DELETE FROM teams_notifications WHERE id IN (SELECT id FROM teams_notifications WHERE created_at < $1 AND sent_at IS NOT NULL
		AND (acknowledged_at IS NOT NULL OR priority NOT IN ('CRITICAL', 'HIGH')) ORDER BY created_at LIMIT $2)`, before, limit)
	return tag.RowsAffected(), wrap("delete old notifications", err)
}

// Heartbeat writes a sign of life for each channel that has been silent since before: flows that nobody uses are switched off after a
// while, and a channel that does not show it is broken. It returns the channels. A channel that never had a card counts from the first
// one of any channel.
func (s *Store) Heartbeat(ctx context.Context, before time.Time) (channels []string, err error) {
	if s.opt.Router == nil {
		return nil, nil
	}
	err = s.tx(ctx, "write heartbeats", func(tx pgx.Tx) error {
		for _, ch := range s.opt.Router.Channels(cards.Stakeholders()) {
			var last *time.Time
			if err := tx.QueryRow(ctx, `SELECT coalesce((SELECT max(created_at) FROM teams_notifications WHERE channel = $1), (SELECT min(created_at) FROM teams_notifications))`,
				ch.Name).Scan(&last); err != nil {
				return err
			}
			if last == nil || last.After(before) {
				continue
			}
			to, err := s.insertEvents(ctx, tx, []Event{{
				Key:   fmt.Sprintf("heartbeat/%s/%d", ch.Name, last.UnixMilli()),
				Event: cards.Event{Type: cards.HeartbeatEvent, CorrelationID: ch.Name, Details: cards.Heartbeat{Channel: ch.Name, SilentSince: *last, Stakeholders: ch.Stakeholders}},
			}})
			if err != nil {
				return err
			}
			channels = append(channels, to...)
		}
		return nil
	})
	return channels, err
}

// Resent says what became of a wish to send a notification once more.
type Resent struct {
	Notification Notification
	// Applied is false when the row waits to be sent anyway.
	Applied bool
}

// Resend sends a notification again by a person's decision, which goes on record. One that was given up gets a fresh budget; one that
// was sent gets a copy, under an id of its own, so that the proof of the first stays.
func (s *Store) Resend(ctx context.Context, d Decision) (out Resent, err error) {
	if d.Reason == "" {
		return out, ErrReason
	}
	err = s.tx(ctx, "resend notification", func(tx pgx.Tx) error {
		var sent, dead *time.Time
		err := tx.QueryRow(ctx, `SELECT sent_at, dead_at FROM teams_notifications WHERE id = $1 FOR UPDATE`, d.ID).Scan(&sent, &dead)
		if err != nil {
			return err
		}
		id := d.ID
		switch {
		case sent != nil:
			id = newID()
			_, err = tx.Exec(ctx, `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, channel, event_key, summary,
				claim_id, dead_letter_id, next_attempt_at, created_at, published_at, alert_key, state, version, event) SELECT $2::uuid, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, channel,
				event_key || '/again/' || $2::uuid::text, summary, claim_id, dead_letter_id, $3::timestamptz, clock_timestamp(), $3::timestamptz, alert_key, state, version, event FROM teams_notifications WHERE id = $1`, d.ID, id, s.opt.Now())
			out.Applied = true
		case dead != nil:
			_, err = tx.Exec(ctx, `UPDATE teams_notifications SET dead_at = NULL, retry_count = 0, next_attempt_at = $2 WHERE id = $1`, d.ID, s.opt.Now())
			out.Applied = true
		}
		if err != nil {
			return err
		}
		a := Action{Actor: d.Actor, Source: d.Source, Verb: "resend", TargetKind: "notification", Target: d.ID.String(), Reason: d.Reason, Outcome: "already"}
		if out.Applied {
			a.Outcome, a.Detail = "applied", map[string]string{"notification": id.String()}
		}
		if err := s.appendAction(ctx, tx, &a); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT `+notificationColumns+` FROM teams_notifications WHERE id = $1`, id)
		if err != nil {
			return err
		}
		out.Notification, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Notification])
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = &fault.Error{Op: "resend notification", Kind: fault.NotFound, Safe: "no such notification", Permanent: true}
	}
	return out, err
}
