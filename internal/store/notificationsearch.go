package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// NotificationSearch chooses notifications; zero fields choose all.
type NotificationSearch struct {
	// Status is sent, waiting or dead.
	Status, Channel, EventType, Priority string
	// Unacknowledged: only CRITICAL and HIGH ones that nobody acknowledged.
	Unacknowledged bool
}

// SearchNotifications returns a page of the notifications, without their cards, the newest first. It looks at 20,000 rows at most, see Paged.Cut.
func (s *Store) SearchNotifications(ctx context.Context, f NotificationSearch, t Turn) (Paged[Notification], error) {
	l := &list[Notification]{
		table: "teams_notifications", columns: notificationList, key: "created_at", keyType: "timestamptz", id: "id", idType: "uuid",
		isKey: isTime, isID: isUUID, descending: true, scan: pgx.RowToStructByPos[Notification], at: func(n Notification) place { return timePlace(n.CreatedAt, n.ID) },
	}
	chosen := false // whether a partial index is in use
	special := func(wanted bool, sql string) {
		switch {
		case !wanted:
		case !chosen:
			chosen, l.index = true, append(l.index, cond(sql))
		default:
			l.rest = append(l.rest, cond(sql))
		}
	}
	special(f.Status == "dead", `(sent_at IS NULL AND dead_at IS NOT NULL)`)
	special(f.Status == "waiting", `(sent_at IS NULL AND dead_at IS NULL)`)
	special(f.Unacknowledged, `(acknowledged_at IS NULL AND priority IN ('CRITICAL', 'HIGH'))`)
	if f.Status == "sent" {
		l.rest = append(l.rest, cond(`sent_at IS NOT NULL`))
	}
	for _, x := range []struct{ column, value string }{{"event_type", f.EventType}, {"channel", f.Channel}} {
		switch {
		case x.value == "":
		case !chosen && l.lead == "":
			l.lead, l.leadIs = x.column, x.value
		default:
			l.rest = append(l.rest, cond(x.column+" = ?", x.value))
		}
	}
	if f.Priority != "" {
		l.rest = append(l.rest, cond("priority = ?", f.Priority))
	}
	out, err := l.read(ctx, s, t)
	return out, wrap("search notifications", err)
}

// notificationList is notificationColumns without the card.
var notificationList = strings.Replace(notificationColumns, "card_payload", "'null'::jsonb AS card_payload", 1)

// Proof is what shows that a card arrived, and what people did about it.
type Proof struct {
	// Webhook is its address without its secret: scheme, host and fingerprint.
	Webhook        string
	EventKey       string
	DeadLetterID   *uuid.UUID
	AcknowledgedBy string
	AcknowledgedAt *time.Time
	ActionTaken    string
}

// NotificationCard returns a notification with its card and its proof of delivery, or a fault of Kind NotFound.
func (s *Store) NotificationCard(ctx context.Context, id uuid.UUID) (n Notification, p Proof, err error) {
	found, err := s.notifications(ctx, `WHERE id = $1`, id)
	if err == nil && len(found) == 0 {
		err = wrap("read notification", pgx.ErrNoRows)
	}
	if err != nil {
		return n, p, err
	}
	err = s.pool.QueryRow(ctx, `SELECT webhook_url, coalesce(event_key, ''), dead_letter_id, coalesce(acknowledged_by, ''), acknowledged_at, coalesce(action_taken, '')
		FROM teams_notifications WHERE id = $1`, id).Scan(&p.Webhook, &p.EventKey, &p.DeadLetterID, &p.AcknowledgedBy, &p.AcknowledgedAt, &p.ActionTaken)
	return found[0], p, wrap("read notification", err)
}

// NotificationCounts are what the filters of a list offer: the channels and the types of events there are.
type NotificationCounts struct{ Channels, EventTypes []string }

// NotificationValues returns the channels and event types of all notifications. It steps through their indexes and does not read the rows.
func (s *Store) NotificationValues(ctx context.Context) (out NotificationCounts, err error) {
	if out.Channels, err = s.distinct(ctx, "teams_notifications", "channel"); err == nil {
		out.EventTypes, err = s.distinct(ctx, "teams_notifications", "event_type")
	}
	return out, wrap("read notifications", err)
}

// ClaimValues are the payers and licences of all claims, for filters.
func (s *Store) ClaimValues(ctx context.Context) (payers, licenses []string, err error) {
	if payers, err = s.distinct(ctx, "claims", "payer"); err == nil {
		licenses, err = s.distinct(ctx, "claims", "license")
	}
	return payers, licenses, wrap("read claims", err)
}

// distinct steps from value to value through an index that begins with the column, a thousand steps at most.
func (s *Store) distinct(ctx context.Context, table, column string) ([]string, error) {
	return collect(ctx, s.pool, pgx.RowTo[string], `WITH RECURSIVE v AS (
		(SELECT `+column+`::text AS x, 1 AS n FROM `+table+` ORDER BY `+column+` LIMIT 1)
		UNION ALL SELECT (SELECT `+column+`::text FROM `+table+` WHERE `+column+` > v.x ORDER BY `+column+` LIMIT 1), n + 1 FROM v WHERE v.x IS NOT NULL AND n < 1000)
		SELECT x FROM v WHERE x IS NOT NULL`)
}

// Pulse says how far the record has come, by what pages show: a value changes when what they show has changed.
type Pulse map[string]string

// Pulse looks at the ends of a few indexes, so that it may be asked every second.
func (s *Store) Pulse(ctx context.Context) (Pulse, error) {
	var raw []byte
	err := s.pool.QueryRow(ctx, `SELECT jsonb_build_object(
		'claims', jsonb_build_array((SELECT id FROM messages ORDER BY id DESC LIMIT 1), (SELECT id FROM claim_responses ORDER BY id DESC LIMIT 1),
			(SELECT max(updated_at) FROM claims WHERE state IN ('received', 'submitting', 'pending', 'pended')), (SELECT max(seq) FROM operator_actions)),
		'dead', jsonb_build_array((SELECT max(updated_at) FROM dead_letters), (SELECT max(created_at) FROM dead_letters WHERE state = 'open')),
		'notifications', jsonb_build_array((SELECT max(created_at) FROM teams_notifications), (SELECT max(acknowledged_at) FROM teams_notifications),
			(SELECT max((SELECT max(sent_at) FROM teams_notifications WHERE priority = p)) FROM unnest(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW', 'INFO']) AS p),
			(SELECT count(*) FROM (SELECT 1 FROM teams_notifications WHERE sent_at IS NULL AND dead_at IS NOT NULL LIMIT 1000) AS d)),
		'audit', (SELECT max(seq) FROM operator_actions),
		'bulk', (SELECT jsonb_agg(jsonb_build_array(id, state, updated_at)) FROM (SELECT * FROM bulk_runs ORDER BY created_at DESC LIMIT 5) AS b),
		'pauses', (SELECT jsonb_build_array(count(*), max(updated_at)) FROM pauses),
		'conditions', (SELECT jsonb_agg(jsonb_build_array(event_type, identity, priority, suppressed, told)) FROM (SELECT * FROM conditions WHERE firing ORDER BY event_type, identity LIMIT 50) AS c))`).Scan(&raw)
	if err != nil {
		return nil, wrap("feel the pulse", err)
	}
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		return nil, err
	}
	out := Pulse{}
	for name, v := range parts {
		out[name] = string(v)
	}
	return out, nil
}

// DigestMembers returns the notifications that went out in a digest card, without their cards, at most limit.
func (s *Store) DigestMembers(ctx context.Context, digest string, limit int) ([]Notification, error) {
	out, err := collect(ctx, s.pool, pgx.RowToStructByPos[Notification], `SELECT `+notificationList+` FROM teams_notifications WHERE digest_id = $1 ORDER BY created_at DESC, id LIMIT $2`, digest, limit)
	return out, wrap("read notifications", err)
}
