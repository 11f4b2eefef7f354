package store

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/sabotage"
	"github.com/claimlinc/nphiesq/internal/tracing"
)

// Event is something to tell people, once per channel.
type Event struct {
	cards.Event
	// Key names what happened; the same key is not written twice for a channel.
	Key string
	// Alert is the key of the alert it belongs to, if others are about the same; "" for Key.
	Alert        string
	ClaimID      *uuid.UUID
	DeadLetterID *uuid.UUID
	// Stakeholders hear of it instead of those of the table, if there are any.
	Stakeholders []cards.Stakeholder
}

// Tell writes the notifications of events that belong to no change of the record.
func (s *Store) Tell(ctx context.Context, events ...Event) (channels []string, err error) {
	err = s.tx(ctx, "write notifications", func(tx pgx.Tx) error {
		channels, err = s.insertEvents(ctx, tx, events)
		return err
	})
	return channels, err
}

// insertEvents renders the cards of events and writes one row per event and channel. It returns the channels that got a new
// row, each once. An event that cannot be rendered is a defect of ours and fails the transaction; cards has a test for each.
func (s *Store) insertEvents(ctx context.Context, tx pgx.Tx, events []Event) ([]string, error) {
	var channels []string
	if s.opt.Router == nil {
		return nil, nil
	}
	for _, e := range events {
		if sabotage.On(sabotage.DropCards) && rand.IntN(10) == 0 { //nolint:gosec // chance is all it needs
			continue
		}
		if e.ID == "" {
			e.ID = newID().String()
		}
		if e.At.IsZero() {
			e.At = s.opt.Now()
		}
		e.Environment = s.opt.Environment
		priority, stakeholders, err := e.Resolve()
		if err != nil {
			return nil, err
		}
		if len(e.Stakeholders) > 0 {
			stakeholders = e.Stakeholders
		}
		alert := e.Alert
		if alert == "" {
			alert = e.Key
		}
		state, version := AlertNotice, 0
		if e.Resolved != nil || e.Acknowledged != nil {
			priority = cards.Info // it tells of a decision or an end: nobody has to acknowledge it
		} else if state, version, err = reopen(ctx, tx, alert); err != nil {
			return nil, err
		}
		kept, err := json.Marshal(e.Event)
		if err != nil {
			return nil, err
		}
		card, err := cards.Render(e.Event, s.opt.Links)
		if err != nil {
			return nil, err
		}
		for _, ch := range s.opt.Router.Channels(stakeholders) {
			names := make([]string, 0, len(ch.Stakeholders))
			for _, st := range ch.Stakeholders {
				names = append(names, string(st))
			}
			// The id follows from the key: of two that write at once, either constraint may stop the second.
			tag, err := tx.Exec(ctx, `INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload,
				channel, event_key, summary, claim_id, dead_letter_id, next_attempt_at, alert_key, state, event, version, created_at, trace_context)
				VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17, clock_timestamp(), $18)
				ON CONFLICT DO NOTHING`,
				notificationID(e.Key, ch.Name), e.CorrelationID, string(e.Type), names, string(priority), ch.Redacted, card,
				ch.Name, e.Key, cards.Summary(card), e.ClaimID, e.DeadLetterID, s.opt.Now(), alert, string(state), kept, version, tracing.Context(ctx))
			if err != nil {
				return nil, err
			}
			if tag.RowsAffected() == 1 && !slices.Contains(channels, ch.Name) {
				channels = append(channels, ch.Name)
			}
		}
	}
	return channels, nil
}

// notificationID is the same for the same event and channel for ever: should the record be restored from a backup, a card that had
// left since goes out again under its id, not as a second one.
func notificationID(key, channel string) uuid.UUID {
	return uuid.NewSHA1(notificationSpace, []byte(key+"\n"+channel))
}

var notificationSpace = uuid.MustParse("8f0d4f0e-7a39-4c0b-9a52-5d5d8b6f2f10")

// AddEvents writes notifications that belong to no other change.
func (s *Store) AddEvents(ctx context.Context, events ...Event) (channels []string, err error) {
	err = s.tx(ctx, "write notifications", func(tx pgx.Tx) error {
		channels, err = s.insertEvents(ctx, tx, events)
		return err
	})
	return channels, err
}

// Notification is a row of teams_notifications.
type Notification struct {
	ID            uuid.UUID
	CorrelationID string
	EventType     string
	Stakeholders  []string
	Priority      string
	Channel       string
	Summary       string
	Card          json.RawMessage
	SentAt        *time.Time
	StatusCode    *int
	RetryCount    int
	ErrorMessage  *string
	ClaimID       *uuid.UUID
	NextAttemptAt time.Time
	DeadAt        *time.Time
	DigestID      *string
	CreatedAt     time.Time
	// PostedAt is set before the first post of the row alone.
	PostedAt *time.Time
	// State is that of the alert it is about, or "notice".
	State        AlertState
	DeadLetterID *uuid.UUID
	// AlertKey says what it is about: AlertID makes the alert's id of it.
	AlertKey string
	// Version is how often the alert changed its state.
	Version int
	// Activity is the message in Teams, and Conversation where it is, if the bot posted it; nil else. Shown is the version it shows,
	// and Attempts how often the change to the current one failed.
	Activity, Conversation *string
	Shown, Attempts        int
	AcknowledgedBy         *string
	AcknowledgedAt         *time.Time
	// Taken is the last verb that was applied, TakenBy, TakenWhy and TakenAt who did it, why and when (RFC 3339).
	Taken, TakenBy, TakenWhy, TakenAt *string
	// TraceContext is the trace in which it was written, "" without one.
	TraceContext string
}

const notificationColumns = `id, correlation_id, event_type, stakeholders, priority, channel, summary, card_payload, sent_at, status_code, retry_count,
	error_message, claim_id, next_attempt_at, dead_at, digest_id, created_at, posted_at, state, dead_letter_id, alert_key, version, activity_id,
	activity_conversation, activity_version, activity_attempts, acknowledged_by, acknowledged_at, action_taken, action_data->>'by', action_data->>'reason', action_data->>'at', trace_context`

func (s *Store) notifications(ctx context.Context, where string, args ...any) ([]Notification, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+notificationColumns+` FROM teams_notifications `+where, args...)
	if err != nil {
		return nil, wrap("read notifications", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Notification])
	return out, wrap("read notifications", err)
}

const byUrgency = `CASE priority WHEN 'CRITICAL' THEN 0 WHEN 'HIGH' THEN 1 WHEN 'MEDIUM' THEN 2 WHEN 'LOW' THEN 3 ELSE 4 END`

// DueNotifications returns at most limit rows of a channel that wait to be sent now, the most urgent and then the oldest first.
func (s *Store) DueNotifications(ctx context.Context, channel string, limit int) ([]Notification, error) {
	return s.notifications(ctx, `WHERE channel = $1 AND sent_at IS NULL AND dead_at IS NULL AND next_attempt_at <= $2
		ORDER BY `+byUrgency+`, created_at, id LIMIT $3`, channel, s.opt.Now(), limit)
}

// Notifications returns rows, newest first; with claim set only those of that claim.
func (s *Store) Notifications(ctx context.Context, claim *uuid.UUID, limit int) ([]Notification, error) {
	return s.notifications(ctx, `WHERE $1::uuid IS NULL OR claim_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2`, claim, limit)
}

// Sent says that Teams accepted a row.
type Sent struct {
	ID         uuid.UUID
	StatusCode int
	At         time.Time
	// WebhookURL is the redacted address it went to.
	WebhookURL string
	// DigestID is the webhook-id of the digest that carried it; "" when it went alone.
	DigestID string
	// Activity is the message in Teams, if the bot posted it alone, Conversation where it is, and Version that of the alert it shows.
	Activity, Conversation string
	Version                int
}

// MarkSent marks rows as accepted. A row that is marked already stays as it was.
func (s *Store) MarkSent(ctx context.Context, sent ...Sent) error {
	return s.tx(ctx, "mark notifications sent", func(tx pgx.Tx) error {
		var b pgx.Batch
		for _, n := range sent {
			b.Queue(`UPDATE teams_notifications SET sent_at = $2, status_code = $3, webhook_url = $4, digest_id = nullif($5, ''), error_message = NULL,
				activity_id = nullif($6, ''), activity_conversation = nullif($7, ''), activity_version = $8
				WHERE id = $1 AND sent_at IS NULL`, n.ID, n.At, n.StatusCode, n.WebhookURL, n.DigestID, n.Activity, n.Conversation, n.Version)
		}
		return tx.SendBatch(ctx, &b).Close()
	})
}

// SendFailed says that a post of a row failed.
type SendFailed struct {
	ID uuid.UUID
	// StatusCode is nil when there was no answer.
	StatusCode *int
	// Text may be shown.
	Text string
	// NextAttemptAt is when to try again; Dead means never.
	NextAttemptAt time.Time
	Dead          bool
	// Deferred: Teams asked to come later. That uses up no retry.
	Deferred   bool
	WebhookURL string
	// Unfold takes the row out of its digest: that was refused as a whole, so no reader has seen it.
	Unfold bool
}

// MarkFailed counts failed posts, all or none: the members of a digest stay together.
func (s *Store) MarkFailed(ctx context.Context, failed ...SendFailed) error {
	return s.tx(ctx, "mark notifications failed", func(tx pgx.Tx) error {
		var b pgx.Batch
		for _, f := range failed {
			b.Queue(`UPDATE teams_notifications SET retry_count = least(retry_count + CASE WHEN $8 THEN 0 ELSE 1 END, 3), status_code = $2, error_message = $3, next_attempt_at = $4,
				dead_at = CASE WHEN $5 THEN $6::timestamptz END, webhook_url = CASE WHEN $7 = '' THEN webhook_url ELSE $7 END,
				digest_id = CASE WHEN $9 THEN NULL ELSE digest_id END, posted_at = CASE WHEN $8 THEN NULL ELSE posted_at END WHERE id = $1 AND sent_at IS NULL`,
				f.ID, f.StatusCode, f.Text, f.NextAttemptAt, f.Dead, s.opt.Now(), f.WebhookURL, f.Deferred, f.Unfold)
		}
		return tx.SendBatch(ctx, &b).Close()
	})
}

// MarkPosting says that a row is about to be posted alone, for the first time.
func (s *Store) MarkPosting(ctx context.Context, id uuid.UUID, at time.Time) error {
	_, err := s.pool.Exec(ctx, `UPDATE teams_notifications SET posted_at = $2 WHERE id = $1 AND posted_at IS NULL`, id, at)
	return wrap("mark notification posted", err)
}

// NextDue returns the moment when the next waiting row of a channel falls due; ok is false when none waits.
func (s *Store) NextDue(ctx context.Context, channel string) (at time.Time, ok bool, err error) {
	var next *time.Time
	err = s.pool.QueryRow(ctx, `SELECT min(next_attempt_at) FROM teams_notifications WHERE channel = $1 AND sent_at IS NULL AND dead_at IS NULL`, channel).Scan(&next)
	if err != nil || next == nil {
		return time.Time{}, false, wrap("read next notification", err)
	}
	return *next, true, nil
}

// DueChannels returns the channels with rows that have waited to be sent since before.
func (s *Store) DueChannels(ctx context.Context, before time.Time) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT DISTINCT channel FROM teams_notifications WHERE sent_at IS NULL AND dead_at IS NULL AND next_attempt_at <= $1 ORDER BY 1`, before)
	if err != nil {
		return nil, wrap("read channels", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return out, wrap("read channels", err)
}

// ChannelCount says how the notifications of a channel stand.
type ChannelCount struct {
	Channel               string
	Sent, Waiting, Dead   int
	OldestWaiting         *time.Time
	UnacknowledgedUrgency int
}

// ChannelCounts counts notifications by channel.
func (s *Store) ChannelCounts(ctx context.Context) ([]ChannelCount, error) {
	rows, err := s.pool.Query(ctx, `SELECT channel, count(*) FILTER (WHERE sent_at IS NOT NULL), count(*) FILTER (WHERE sent_at IS NULL AND dead_at IS NULL),
		count(*) FILTER (WHERE dead_at IS NOT NULL), min(created_at) FILTER (WHERE sent_at IS NULL AND dead_at IS NULL),
		count(*) FILTER (WHERE acknowledged_at IS NULL AND priority IN ('CRITICAL', 'HIGH')) FROM teams_notifications GROUP BY channel ORDER BY channel`)
	if err != nil {
		return nil, wrap("count notifications", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ChannelCount])
	return out, wrap("count notifications", err)
}

// AssignDigest marks waiting rows as members of a digest before it is posted, so that a repetition is the same digest.
func (s *Store) AssignDigest(ctx context.Context, digestID string, ids []uuid.UUID) error {
	_, err := s.pool.Exec(ctx, `UPDATE teams_notifications SET digest_id = $1 WHERE id = ANY ($2) AND sent_at IS NULL AND dead_at IS NULL AND digest_id IS NULL`, digestID, ids)
	return wrap("assign digest", err)
}

// DigestNotifications returns the waiting members of a digest, due or not, the most urgent and then the oldest first.
func (s *Store) DigestNotifications(ctx context.Context, digestID string) ([]Notification, error) {
	return s.notifications(ctx, `WHERE digest_id = $1 AND sent_at IS NULL AND dead_at IS NULL ORDER BY `+byUrgency+`, created_at, id`, digestID)
}

// ReviveNotifications gives rows another chance that died of their channel's trouble, not of their own: an outage, a limit, a
// webhook that was not there. Rows of a channel that has accepted something since are all due again; of a channel that has
// not, the most urgent one is tried. A digest comes back whole, for it is repeated under its id. Only rows that died before the given time and are younger than three days count. It
// returns the channels concerned.
func (s *Store) ReviveNotifications(ctx context.Context, before time.Time) ([]string, error) {
	rows, err := s.pool.Query(ctx, `
WITH dead AS (
	SELECT id, channel, dead_at, digest_id, row_number() OVER (PARTITION BY channel ORDER BY `+byUrgency+`, created_at, id) AS place FROM teams_notifications
	WHERE dead_at <= $1 AND sent_at IS NULL AND created_at > $2
	  AND (status_code IS NULL OR status_code IN (401, 403, 404, 408, 410, 425, 429) OR status_code >= 500
    OR status_code = 400 AND error_message LIKE 'Teams answered HTTP 400 WorkflowTriggerIsNotEnabled%')
), revived AS (
	UPDATE teams_notifications n SET dead_at = NULL, next_attempt_at = $3 FROM dead d
	WHERE (n.id = d.id OR n.digest_id = d.digest_id AND n.dead_at IS NOT NULL AND n.sent_at IS NULL) AND (d.place = 1 OR EXISTS (SELECT 1 FROM teams_notifications s WHERE s.channel = d.channel AND s.sent_at > d.dead_at))
	RETURNING n.channel
) SELECT DISTINCT channel FROM revived ORDER BY 1`, before, s.opt.Now().AddDate(0, 0, -3), s.opt.Now())
	if err != nil {
		return nil, wrap("revive notifications", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return out, wrap("revive notifications", err)
}
