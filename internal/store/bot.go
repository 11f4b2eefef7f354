package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// BotConversation is a channel of Teams in which the bot is.
type BotConversation struct {
	// ID is the channel's thread id (19:…@thread.tacv2); TeamID that of the team.
	ID, TeamID, TenantID string
	// ServiceURL is where it is reached.
	ServiceURL string
	// Channel is the stakeholder that it serves, "" for none.
	Channel string
}

// SaveBotConversation keeps where the bot is.
func (s *Store) SaveBotConversation(ctx context.Context, c BotConversation) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO bot_conversations (conversation_id, team_id, tenant_id, service_url, channel, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (conversation_id) DO UPDATE SET team_id = $2, tenant_id = $3, service_url = $4, channel = $5, updated_at = $6`,
		c.ID, c.TeamID, c.TenantID, c.ServiceURL, c.Channel, s.opt.Now())
	return wrap("save a conversation of the bot", err)
}

// DropBotConversations forgets a conversation and all those of a team: the bot is gone from there. It returns how many there were.
func (s *Store) DropBotConversations(ctx context.Context, team, conversation string) (int, error) {
	tag, err := s.pool.Exec(ctx, `DELETE FROM bot_conversations WHERE conversation_id = $2 OR ($1 <> '' AND team_id = $1)`, team, conversation)
	return int(tag.RowsAffected()), wrap("drop conversations of the bot", err)
}

// BotConversation returns where a conversation is reached, or a fault of Kind NotFound.
func (s *Store) BotConversation(ctx context.Context, id string) (c BotConversation, err error) {
	err = s.pool.QueryRow(ctx, `SELECT conversation_id, team_id, tenant_id, service_url, channel FROM bot_conversations WHERE conversation_id = $1`, id).
		Scan(&c.ID, &c.TeamID, &c.TenantID, &c.ServiceURL, &c.Channel)
	return c, wrap("read a conversation of the bot", err)
}

// Notification returns a row, or a fault of Kind NotFound.
func (s *Store) Notification(ctx context.Context, id uuid.UUID) (Notification, error) {
	list, err := s.notifications(ctx, `WHERE id = $1`, id)
	if err == nil && len(list) == 0 {
		err = wrap("read notification", pgx.ErrNoRows)
	}
	if err != nil {
		return Notification{}, err
	}
	return list[0], nil
}

// unshown chooses rows whose message in Teams shows what is no longer so.
const unshown = `activity_id IS NOT NULL AND activity_version < version`

// DueUpdates returns at most limit rows of a channel whose message in Teams is to be changed now, the longest waiting first.
func (s *Store) DueUpdates(ctx context.Context, channel string, limit int) ([]Notification, error) {
	return s.notifications(ctx, `WHERE channel = $1 AND `+unshown+` AND coalesce(activity_next_at, created_at) <= $2
		ORDER BY coalesce(activity_next_at, created_at), id LIMIT $3`, channel, s.opt.Now(), limit)
}

// NextUpdate returns when the next message of a channel is to be changed; ok is false when none is.
func (s *Store) NextUpdate(ctx context.Context, channel string) (at time.Time, ok bool, err error) {
	var next *time.Time
	err = s.pool.QueryRow(ctx, `SELECT min(coalesce(activity_next_at, created_at)) FROM teams_notifications WHERE channel = $1 AND `+unshown, channel).Scan(&next)
	if err != nil || next == nil {
		return time.Time{}, false, wrap("read next update", err)
	}
	return *next, true, nil
}

// UpdateChannels returns the channels with messages that are to be changed since before a time.
func (s *Store) UpdateChannels(ctx context.Context, before time.Time) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT DISTINCT channel FROM teams_notifications WHERE `+unshown+` AND coalesce(activity_next_at, created_at) <= $1 ORDER BY 1`, before)
	if err != nil {
		return nil, wrap("read channels", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return out, wrap("read channels", err)
}

// Updated says what became of a change of a message in Teams.
type Updated struct {
	ID uuid.UUID
	// Version is that of the alert which the change shows.
	Version int
	// Failed: it was not taken; NextAttemptAt is when to try again. GiveUp: this version is not tried any more. Gone: there is no such
	// message, so it is never changed again.
	Failed, GiveUp, Gone bool
	NextAttemptAt        time.Time
}

// MarkUpdated keeps it. A newer version that was shown before stays.
func (s *Store) MarkUpdated(ctx context.Context, u Updated) error {
	var err error
	switch {
	case u.Gone:
		_, err = s.pool.Exec(ctx, `UPDATE teams_notifications SET activity_id = NULL WHERE id = $1`, u.ID)
	case u.Failed && !u.GiveUp:
		_, err = s.pool.Exec(ctx, `UPDATE teams_notifications SET activity_attempts = activity_attempts + 1, activity_next_at = $2 WHERE id = $1`, u.ID, u.NextAttemptAt)
	default:
		_, err = s.pool.Exec(ctx, `UPDATE teams_notifications SET activity_version = greatest(activity_version, $2), activity_attempts = 0, activity_next_at = NULL WHERE id = $1`, u.ID, u.Version)
	}
	return wrap("mark a message changed", err)
}
