package migrations_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/migrations"
)

var update = flag.Bool("update", false, "write migrations.sum (new files only) and schema.sql")

func TestMain(m *testing.M) { testenv.Main(m) }

// schema describes everything a program can notice: columns, constraints, indexes, views, triggers, functions.
func schema(t *testing.T, dsn string) string {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer c.Close(t.Context())
	rows, err := c.Query(t.Context(), `
SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || coalesce('(' || character_maximum_length || ')', '') ||
       coalesce('(' || CASE WHEN data_type = 'numeric' THEN numeric_precision END || ',' || numeric_scale || ')', '') ||
       CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END || coalesce(' DEFAULT ' || column_default, '')
  FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'goose_db_version'
UNION ALL
SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
  WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND conrelid::regclass::text <> 'goose_db_version'
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'goose_db_version'
UNION ALL SELECT 'view ' || viewname || ' ' || regexp_replace(definition, '\s+', ' ', 'g') FROM pg_views WHERE schemaname = 'public'
UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
ORDER BY 1`)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return strings.Join(lines, "\n") + "\n"
}

func TestUpDownUpKeepsTheSchema(t *testing.T) {
	ctx, dsn := t.Context(), testenv.EmptyDatabaseURL(t)
	require.ErrorIs(t, migrations.Check(ctx, dsn), migrations.ErrNotMigrated)

	applied, err := migrations.Up(ctx, dsn)
	require.NoError(t, err)
	list, err := migrations.List(ctx, dsn)
	require.NoError(t, err)
	require.Len(t, applied, len(list))
	require.NoError(t, migrations.Check(ctx, dsn))
	full := schema(t, dsn)

	// Step by step down, each step leaving what the step up had found.
	before := map[int64]string{}
	for _, l := range slices.Backward(list) {
		name, err := migrations.Down(ctx, dsn)
		require.NoError(t, err)
		require.Equal(t, l.Name, name)
		before[l.Version] = schema(t, dsn)
	}
	require.Equal(t, "\n", before[list[0].Version], "the first Down leaves something behind")
	name, err := migrations.Down(ctx, dsn)
	require.NoError(t, err)
	require.Empty(t, name)

	_, err = migrations.Up(ctx, dsn)
	require.NoError(t, err)
	require.Equal(t, full, schema(t, dsn))
	again, err := migrations.Up(ctx, dsn)
	require.NoError(t, err)
	require.Empty(t, again)

	if *update {
		require.NoError(t, os.WriteFile("testdata/schema.txt", []byte(full), 0o600))
	}
	want, err := os.ReadFile("testdata/schema.txt")
	require.NoError(t, err, "run go test ./migrations -update")
	require.Equal(t, string(want), full, "testdata/schema.txt is the schema in review: run go test ./migrations -update")
}

// TestLandedMigrationsAreNotEdited compares each file with its line in migrations.sum. -update adds lines for new files; it
// never changes one.
func TestLandedMigrationsAreNotEdited(t *testing.T) {
	names, err := fs.Glob(migrations.Files, "*.sql")
	require.NoError(t, err)
	sum, err := os.ReadFile("migrations.sum")
	if *update && os.IsNotExist(err) {
		sum, err = nil, nil
	}
	require.NoError(t, err)
	landed := map[string]string{}
	var order []string
	for line := range strings.Lines(string(sum)) {
		hash, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		require.True(t, ok, "migrations.sum: %q", line)
		landed[name] = hash
		order = append(order, name)
	}
	for _, name := range names {
		require.Regexp(t, `^\d{14}_[a-z_]+\.sql$`, name)
		body, err := fs.ReadFile(migrations.Files, name)
		require.NoError(t, err)
		hash := fmt.Sprintf("%x", sha256.Sum256(body))
		have, ok := landed[name]
		if !ok && *update {
			sum = append(sum, hash+"  "+name+"\n"...)
			require.NoError(t, os.WriteFile("migrations.sum", sum, 0o600))
			landed[name], order = hash, append(order, name)
			continue
		}
		require.True(t, ok, "%s is not in migrations.sum: run make schema", name)
		require.Equal(t, have, hash, "%s has landed and may not be edited: write a new migration", name)
	}
	require.Len(t, landed, len(names), "migrations.sum names a file that is gone")
	require.Equal(t, names, order, "a new migration must sort after those that have landed")
}

func insert(t *testing.T, c *pgx.Conn, column, value string) error {
	t.Helper()
	cols := map[string]string{
		"id": "gen_random_uuid()", "correlation_id": "'c'", "event_type": "'task.dlq'", "stakeholders": "'{SRE}'",
		"priority": "'HIGH'", "webhook_url": "'https://h/…#0'", "card_payload": "'{}'",
	}
	if column != "" {
		cols[column] = value
	}
	var names, values []string
	for n, v := range cols {
		names, values = append(names, n), append(values, v)
	}
	_, err := c.Exec(t.Context(), "INSERT INTO teams_notifications ("+strings.Join(names, ",")+") VALUES ("+strings.Join(values, ",")+")")
	return err
}

func TestTeamsNotifications(t *testing.T) {
	ctx := t.Context()
	c, err := pgx.Connect(ctx, testenv.DatabaseURL(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(ctx) })

	for _, bad := range []struct{ column, value, constraint string }{
		{"priority", "'high'", "teams_notifications_priority_check"},
		{"priority", "'URGENT'", "teams_notifications_priority_check"},
		{"retry_count", "-1", "teams_notifications_retry_count_check"},
		{"retry_count", "4", "teams_notifications_retry_count_check"},
		{"status_code", "99", "teams_notifications_status_code_check"},
		{"status_code", "600", "teams_notifications_status_code_check"},
	} {
		var pg *pgconn.PgError
		require.ErrorAs(t, insert(t, c, bad.column, bad.value), &pg, "%s = %s", bad.column, bad.value)
		require.Equal(t, bad.constraint, pg.ConstraintName)
	}
	for _, good := range [][2]string{
		{"priority", "'INFO'"},
		{"priority", "'LOW'"},
		{"priority", "'MEDIUM'"},
		{"retry_count", "0"},
		{"retry_count", "3"},
		{"status_code", "100"},
		{"status_code", "599"},
		{"status_code", "NULL"},
	} {
		require.NoError(t, insert(t, c, good[0], good[1]), good)
	}

	// The view shows what waits for a person, with its age.
	_, err = c.Exec(ctx, `DELETE FROM teams_notifications`)
	require.NoError(t, err)
	require.NoError(t, insert(t, c, "priority", "'HIGH'"))
	require.NoError(t, insert(t, c, "priority", "'CRITICAL'"))
	_, err = c.Exec(ctx, `UPDATE teams_notifications SET created_at = now() - interval '90 minutes'`)
	require.NoError(t, err)
	var n int
	var age time.Duration
	require.NoError(t, c.QueryRow(ctx, `SELECT count(*) OVER (), age FROM teams_notifications_unacknowledged_critical`).Scan(&n, &age))
	require.Equal(t, 1, n)
	require.InDelta(t, 90*60, age.Seconds(), 60)

	// The trigger moves updated_at on every change, within one transaction too.
	tx, err := c.Begin(ctx)
	require.NoError(t, err)
	var a, b time.Time
	for _, at := range []*time.Time{&a, &b} {
		require.NoError(t, tx.QueryRow(ctx, `UPDATE teams_notifications SET acknowledged_at = now(), updated_at = 'epoch' WHERE priority = 'CRITICAL' RETURNING updated_at`).Scan(at))
	}
	require.NoError(t, tx.Commit(ctx))
	require.True(t, b.After(a), "%s, %s", a, b)
	require.NoError(t, c.QueryRow(ctx, `SELECT count(*) FROM teams_notifications_unacknowledged_critical`).Scan(&n))
	require.Zero(t, n, "an acknowledged one does not wait")

	// An event is written once for a channel; rows without a key are free.
	for _, q := range []string{
		`INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, channel, event_key)
		 VALUES (gen_random_uuid(), 'c', 'task.dlq', '{SRE}', 'HIGH', '', '{}', 'SRE', 'k')`,
	} {
		_, err = c.Exec(ctx, q)
		require.NoError(t, err)
		_, err = c.Exec(ctx, q)
		require.ErrorContains(t, err, "teams_notifications_event_key")
	}
}

func TestSixIndexesOfTheFormerTable(t *testing.T) {
	s := schema(t, testenv.DatabaseURL(t))
	for _, name := range []string{
		"event_type_sent_at ON public.teams_notifications USING btree (event_type, sent_at)",
		"priority_sent_at ON public.teams_notifications USING btree (priority, sent_at)",
		"acknowledged_at ON public.teams_notifications USING btree (acknowledged_at)",
		"unacknowledged ON public.teams_notifications USING btree (priority, created_at) WHERE ((acknowledged_at IS NULL) AND ((priority)::text = ANY",
		"card_payload_gin ON public.teams_notifications USING gin (card_payload)",
		"action_data_gin ON public.teams_notifications USING gin (action_data)",
	} {
		require.Contains(t, s, "CREATE INDEX ix_teams_notifications_"+name)
	}
}

func TestAppendOnlyTables(t *testing.T) {
	ctx := t.Context()
	c, err := pgx.Connect(ctx, testenv.DatabaseURL(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(ctx) })
	for _, q := range []string{
		`INSERT INTO messages (id, direction, license, body) VALUES (gen_random_uuid(), 'in', 'L', 'x')`,
		`INSERT INTO operator_actions (seq, at, command_id, actor, source, verb, target_kind, target, outcome, prev_hash, hash)
		 VALUES (1, now(), gen_random_uuid(), 'a', 'cli', 'retry', 'dead_letter', 'x', 'applied', '', 'h')`,
		`INSERT INTO dead_letters (id, queue, task_type, task_id, error_kind, first_failed_at, last_failed_at)
		 VALUES (gen_random_uuid(), 'q', 't', 'i', 'network', now(), now())`,
	} {
		_, err = c.Exec(ctx, q)
		require.NoError(t, err)
	}
	for _, q := range []string{
		`UPDATE messages SET body = 'y'`, `DELETE FROM messages`, `UPDATE operator_actions SET actor = 'b'`, `DELETE FROM operator_actions`,
		`DELETE FROM dead_letters`,
	} {
		_, err = c.Exec(ctx, q)
		var pg *pgconn.PgError
		require.ErrorAs(t, err, &pg, q)
		require.Equal(t, "23001", pg.Code, q)
	}
}

// TestAnswerThatReturnedSurvivesTheWayDown: the older schema has each content of a claim's answers once; no version is lost for it.
func TestAnswerThatReturnedSurvivesTheWayDown(t *testing.T) {
	ctx, dsn := t.Context(), testenv.EmptyDatabaseURL(t)
	_, err := migrations.Up(ctx, dsn)
	require.NoError(t, err)
	c, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer c.Close(ctx)
	const id = "00000000-0000-4000-8000-000000000001"
	_, err = c.Exec(ctx, `INSERT INTO claims (id, license, identifier_system, identifier_value, payer, claim_type, item_count, amount_claimed, header_id, bundle_id, source_hash)
		VALUES ($1, 'L', 's', 'v', 'P', 'professional', 1, 1, 'h', 'b', 'x')`, id)
	require.NoError(t, err)
	_, err = c.Exec(ctx, `INSERT INTO messages (id, direction, event, license, claim_id, body) VALUES ($1, 'in', 'claim-response', 'L', $1, '{}')`, id)
	require.NoError(t, err)
	_, err = c.Exec(ctx, `INSERT INTO claim_responses (id, claim_id, version, message_id, fingerprint, outcome, state)
		SELECT gen_random_uuid(), $1, v, $1, CASE v % 2 WHEN 0 THEN 'b' ELSE 'a' END, 'complete', 'partial' FROM generate_series(1, 4) v`, id)
	require.NoError(t, err)
	for name := ""; name != "20261126000050_answers_return.sql"; {
		name, err = migrations.Down(ctx, dsn)
		require.NoError(t, err)
		require.NotEmpty(t, name)
	}
	rows, err := c.Query(ctx, `SELECT fingerprint FROM claim_responses ORDER BY version`)
	require.NoError(t, err)
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "a/3", "b/4"}, got)
}
