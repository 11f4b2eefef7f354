package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// What PagerDuty can be told of an alert.
const (
	PageTrigger     = "trigger"
	PageAcknowledge = "acknowledge"
	PageResolve     = "resolve"
)

// page writes something for PagerDuty and reports whether it did. What follows a trigger goes where that went, to each integration that
// knows of the alert; without one it is not written.
func (s *Store) page(ctx context.Context, tx pgx.Tx, alertKey string, p Page) (bool, error) {
	now := s.opt.Now()
	if p.Action == PageTrigger {
		payload, err := json.Marshal(p.Payload)
		if err != nil {
			return false, err
		}
		_, err = tx.Exec(ctx, `INSERT INTO pagerduty_events (alert_key, dedup_key, action, routing, payload, created_at, next_attempt_at) VALUES ($1, $2, 'trigger', $3, $4, $5, $5)`,
			alertKey, p.DedupKey, p.Routing, payload, now)
		return err == nil, err
	}
	tag, err := tx.Exec(ctx, `INSERT INTO pagerduty_events (alert_key, dedup_key, action, routing, created_at, next_attempt_at)
		SELECT alert_key, dedup_key, $2, routing, $3, $3 FROM (SELECT DISTINCT ON (routing) * FROM pagerduty_events WHERE alert_key = $1 AND dead_at IS NULL ORDER BY routing, seq DESC) last
		WHERE action <> 'resolve' AND action <> $2 ORDER BY seq`, alertKey, p.Action, now)
	return tag.RowsAffected() > 0, err
}

// paged returns what PagerDuty was told last of an alert, by integration, unless that is its end.
func paged(ctx context.Context, q querier, alertKey string) (map[string]string, error) {
	rows, err := q.Query(ctx, `SELECT DISTINCT ON (routing) routing, action FROM pagerduty_events WHERE alert_key = $1 AND dead_at IS NULL ORDER BY routing, seq DESC`, alertKey)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	var routing, action string
	_, err = pgx.ForEachRow(rows, []any{&routing, &action}, func() error {
		if action != PageResolve {
			out[routing] = action
		}
		return nil
	})
	return out, err
}

// PageEvent is a row of pagerduty_events that waits to be sent.
type PageEvent struct {
	Seq                      int64
	DedupKey, Action         string
	Routing                  string
	Payload                  json.RawMessage
	CreatedAt, NextAttemptAt time.Time
	Attempts                 int
	// Known: PagerDuty has taken a trigger that this can follow. A trigger needs none.
	Known bool
}

// heads are the first waiting rows of each dedup_key: the others wait for them.
const heads = `(SELECT DISTINCT ON (dedup_key) * FROM pagerduty_events WHERE sent_at IS NULL AND dead_at IS NULL ORDER BY dedup_key, seq) e`

// DuePages returns at most limit rows that are to be sent now, the oldest first, and of each dedup_key only its first: the next one
// waits until that is sent or dead.
func (s *Store) DuePages(ctx context.Context, limit int) ([]PageEvent, error) {
	rows, err := s.pool.Query(ctx, `SELECT seq, dedup_key, action, routing, payload, created_at, next_attempt_at, attempts,
		action = 'trigger' OR coalesce((SELECT t.action = 'trigger' FROM pagerduty_events t WHERE t.alert_key = e.alert_key AND t.dedup_key = e.dedup_key AND t.routing = e.routing AND t.seq < e.seq
			AND t.sent_at IS NOT NULL AND t.action <> 'acknowledge' ORDER BY t.seq DESC LIMIT 1), false)
		FROM `+heads+` WHERE next_attempt_at <= $1 ORDER BY seq LIMIT $2`, s.opt.Now(), limit)
	if err != nil {
		return nil, wrap("read pages", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[PageEvent])
	return out, wrap("read pages", err)
}

// NextPage returns when the next row falls due that nothing stands before; ok is false when none waits.
func (s *Store) NextPage(ctx context.Context) (at time.Time, ok bool, err error) {
	var next *time.Time
	err = s.pool.QueryRow(ctx, `SELECT min(next_attempt_at) FROM `+heads).Scan(&next)
	if err != nil || next == nil {
		return time.Time{}, false, wrap("read next page", err)
	}
	return *next, true, nil
}

// PageSent says that PagerDuty accepted a row.
func (s *Store) PageSent(ctx context.Context, seq int64, status int) error {
	_, err := s.pool.Exec(ctx, `UPDATE pagerduty_events SET sent_at = $2, status_code = $3, error_message = NULL, attempts = attempts + 1 WHERE seq = $1 AND sent_at IS NULL`, seq, s.opt.Now(), status)
	return wrap("mark page sent", err)
}

// PageFailure is a row that PagerDuty did not take.
type PageFailure struct {
	Seq int64
	// Status is 0 when there was no answer.
	Status int
	// Text may be shown.
	Text string
	// Next is when to try again; Dead means never.
	Next time.Time
	Dead bool
}

// PageFailed notes a failed attempt.
func (s *Store) PageFailed(ctx context.Context, f PageFailure) error {
	_, err := s.pool.Exec(ctx, `UPDATE pagerduty_events SET attempts = attempts + 1, status_code = nullif($2, 0), error_message = $3, next_attempt_at = $4,
		dead_at = CASE WHEN $5 THEN $6::timestamptz END WHERE seq = $1 AND sent_at IS NULL`, f.Seq, f.Status, f.Text, f.Next, f.Dead, s.opt.Now())
	return wrap("mark page failed", err)
}

// PageCounts returns how many rows wait and how many were given up.
func (s *Store) PageCounts(ctx context.Context) (waiting, dead int, err error) {
	err = s.pool.QueryRow(ctx, `SELECT count(*) FILTER (WHERE dead_at IS NULL), count(*) FILTER (WHERE dead_at IS NOT NULL) FROM pagerduty_events WHERE sent_at IS NULL`).Scan(&waiting, &dead)
	return waiting, dead, wrap("count pages", err)
}

// DeleteOldPages deletes at most limit rows of before a time that are sent or dead and that nothing can follow any more: the alert's end
// was told, or nothing of it was taken.
func (s *Store) DeleteOldPages(ctx context.Context, before time.Time, limit int) (int64, error) {
	tag, err := s.pool.Exec(ctx, `DELETE FROM pagerduty_events WHERE seq IN (SELECT seq FROM pagerduty_events e WHERE created_at < $1 AND (sent_at IS NOT NULL OR dead_at IS NOT NULL)
		AND coalesce((SELECT l.action = 'resolve' AND l.sent_at IS NOT NULL FROM pagerduty_events l WHERE l.alert_key = e.alert_key AND l.routing = e.routing AND l.dead_at IS NULL ORDER BY l.seq DESC LIMIT 1), true)
		ORDER BY seq LIMIT $2)`, before, limit)
	return tag.RowsAffected(), wrap("delete old pages", err)
}
