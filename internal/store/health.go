package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// ServerHealth is how the PostgreSQL that we are connected to stands.
type ServerHealth struct {
	Instance, Database, Version string
	// Connections of MaxConnections for ordinary users are in use.
	Connections, MaxConnections int
	LongestTransaction          time.Duration
	LocksWaiting                int
	// Replicas that stream from it, as far as our role may see them.
	Replicas []ReplicaHealth
}

// ReplicaHealth is how far a replica is behind.
type ReplicaHealth struct {
	Name     string
	Lag      time.Duration
	LagBytes int64
}

// ServerHealth asks the database how it stands.
func (s *Store) ServerHealth(ctx context.Context) (ServerHealth, error) {
	var h ServerHealth
	err := s.pool.QueryRow(ctx, `SELECT coalesce(host(inet_server_addr()) || ':' || inet_server_port(), 'local'), current_database(), current_setting('server_version'),
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
		(SELECT coalesce(max(clock_timestamp() - xact_start), interval '0') FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
		(SELECT count(*) FROM pg_locks WHERE NOT granted)`).
		Scan(&h.Instance, &h.Database, &h.Version, &h.Connections, &h.MaxConnections, &h.LongestTransaction, &h.LocksWaiting)
	if err != nil {
		return h, wrap("ask PostgreSQL how it stands", err)
	}
	rows, err := s.pool.Query(ctx, `SELECT coalesce(nullif(application_name, ''), 'replica') || coalesce('@' || host(client_addr), ''), CASE WHEN replay_lsn < pg_current_wal_lsn() THEN greatest(replay_lag, clock_timestamp() - reply_time, interval '0') ELSE interval '0' END,
		coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0)::bigint FROM pg_stat_replication WHERE state IS NOT NULL AND NOT pg_is_in_recovery() ORDER BY 1`)
	if err != nil {
		return h, wrap("ask PostgreSQL for its replicas", err)
	}
	h.Replicas, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ReplicaHealth])
	return h, wrap("ask PostgreSQL for its replicas", err)
}

// LetterSummary is what a card about too many dead letters tells.
type LetterSummary struct {
	Open, LastHour   int
	Oldest           time.Time
	TopKind, TopTask string
}

// LetterSummary sums up the open dead letters.
func (s *Store) LetterSummary(ctx context.Context) (LetterSummary, error) {
	var x LetterSummary
	var oldest *time.Time
	err := s.pool.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE created_at > $1), min(created_at),
		coalesce(mode() WITHIN GROUP (ORDER BY error_kind), ''), coalesce(mode() WITHIN GROUP (ORDER BY task_type), '') FROM dead_letters WHERE state = 'open'`,
		s.opt.Now().Add(-time.Hour)).Scan(&x.Open, &x.LastHour, &oldest, &x.TopKind, &x.TopTask)
	if oldest != nil {
		x.Oldest = *oldest
	}
	return x, wrap("sum up dead letters", err)
}

// noLetter is the beginning of a condition on a row c: no dead letter of it, found by its column, waits for a person.
func noLetter(column string) string {
	return `NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.` + column + ` = c.id AND d.state = 'open') AND `
}

// OldestWaiting returns, by queue, since when the oldest work waits to be done: what was never begun, is not paused, and is no dead
// letter.
func (s *Store) OldestWaiting(ctx context.Context) (map[string]time.Time, error) {
	rows, err := s.pool.Query(ctx, `
SELECT CASE c.use WHEN 'claim' THEN 'nphies-submit' ELSE 'nphies-priorauth' END, min(c.created_at) FROM claims c WHERE c.state = 'received' AND `+noLetter("claim_id")+notPaused("$1")+` GROUP BY 1
UNION ALL SELECT 'nphies-eligibility', min(c.created_at) FROM eligibility_checks c WHERE c.state = 'received' AND `+noLetter("eligibility_id")+notPaused("$1")+` HAVING count(*) > 0
UNION ALL SELECT 'nphies-' || c.code, min(c.created_at) FROM fhir_tasks c WHERE c.state = 'received' AND `+noLetter("fhir_task_id")+notPaused("$1")+` GROUP BY 1
UNION ALL SELECT 'nphies-poll', min(next_poll_at) FROM poll_state WHERE next_poll_at < $1 HAVING count(*) > 0
UNION ALL SELECT 'teams', min(next_attempt_at) FROM teams_notifications WHERE sent_at IS NULL AND dead_at IS NULL AND next_attempt_at < $1 HAVING count(*) > 0
UNION ALL SELECT 'pagerduty', min(next_attempt_at) FROM pagerduty_events WHERE sent_at IS NULL AND dead_at IS NULL AND next_attempt_at < $1 HAVING count(*) > 0`, s.opt.Now())
	if err != nil {
		return nil, wrap("look for old work", err)
	}
	out := map[string]time.Time{}
	var queue string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&queue, &at}, func() error { out[queue] = at; return nil })
	return out, wrap("look for old work", err)
}

// Worker is a worker process: one that runs, or one that died.
type Worker struct {
	Key, Holder, Host string
	Since, LastSeen   time.Time
	Alive             bool
}

// Workers lists the workers that run, and those that died (half a minute ago, lest an outage of the database counts) and are not
// forgotten. A worker holds a lease under LeaseWorker for as long as
// it runs; one that stops in good order gives it back.
func (s *Store) Workers(ctx context.Context) ([]Worker, error) {
	rows, err := s.pool.Query(ctx, `SELECT key, holder, split_part(holder, '/', 1), since, until - $2::interval, until + 2 * $2::interval >= clock_timestamp() FROM leases WHERE kind = $1 ORDER BY since, key`,
		string(LeaseWorker), s.opt.LeaseTime)
	if err != nil {
		return nil, wrap("list workers", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Worker])
	return out, wrap("list workers", err)
}

// ForgetWorker removes a worker that died.
func (s *Store) ForgetWorker(ctx context.Context, key string) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM leases WHERE kind = $1 AND key = $2 AND until < clock_timestamp()`, string(LeaseWorker), key)
	return wrap("forget worker", err)
}
