package migrations_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/migrations"
)

// TestTheFormerTableIsTakenOver: a database of the former system is refused as long as its table is in the way, then its rows are taken
// over without patients and secrets, and nothing of what runs here sends, escalates or keeps them for ever.
func TestTheFormerTableIsTakenOver(t *testing.T) {
	ctx, dsn := t.Context(), testenv.EmptyDatabaseURL(t)
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer conn.Close(ctx)
	run := func(file string) error {
		body, err := os.ReadFile(file)
		require.NoError(t, err)
		_, err = conn.Exec(ctx, string(body))
		return err
	}
	require.ErrorContains(t, run("../deploy/former/aside.sql"), "is this the former database?")
	_, err = conn.Exec(ctx, `ROLLBACK`)
	require.NoError(t, err)
	require.NoError(t, run("testdata/former.sql"))
	_, err = migrations.Up(ctx, dsn)
	require.ErrorIs(t, err, migrations.ErrFormer)
	require.ErrorIs(t, migrations.Check(ctx, dsn), migrations.ErrNotMigrated)
	var made bool
	require.NoError(t, conn.QueryRow(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&made))
	require.False(t, made, "a refusal and a look change nothing")

	require.NoError(t, run("../deploy/former/aside.sql"))
	_, err = migrations.Up(ctx, dsn)
	require.NoError(t, err)
	ours := slices.DeleteFunc(strings.Split(schema(t, dsn), "\n"), func(l string) bool { return strings.Contains(l, " former.") })
	require.Empty(t, cmp.Diff(strings.Split(schema(t, testenv.DatabaseURL(t)), "\n"), ours), "the schema is that of a new database")
	require.ErrorContains(t, run("../deploy/former/aside.sql"), "is not the former one")
	_, err = conn.Exec(ctx, `ROLLBACK`)
	require.NoError(t, err)

	require.NoError(t, run("../deploy/former/import.sql"))
	require.NoError(t, run("../deploy/former/import.sql"), "again")
	pool, err := pgxpool.New(ctx, dsn)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	s := store.New(pool, store.Options{})
	rows, err := s.ListNotifications(ctx, store.NotificationFilter{})
	require.NoError(t, err)
	require.Len(t, rows, 3, "what was not sent and is new stays behind")
	failed, missing, rejected := rows[0], rows[1], rows[2]
	require.Equal(t, "task.failed", failed.EventType)
	require.Equal(t, "RUNTIME_ENG", failed.Channel)
	require.NotNil(t, failed.SentAt)
	require.Equal(t, "nobody: taken over", *failed.AcknowledgedBy)
	require.Nil(t, missing.SentAt)
	require.NotNil(t, missing.DeadAt)
	require.Equal(t, "cannot connect to (an address)", *missing.ErrorMessage)
	require.Nil(t, missing.AcknowledgedAt, "a MEDIUM one needs nobody")
	require.Equal(t, "sara@example.com", *rejected.AcknowledgedBy)
	require.Equal(t, []string{"NPHIES_INTEGRATION", "PMO"}, rejected.Stakeholders)

	d, _, err := notify.NewDirectory(nil, false)
	require.NoError(t, err)
	hook, err := d.Parse("SRE", "https://prod-1.westeurope.logic.azure.com/workflows/w/triggers/manual/paths/invoke?sig=FORMERSECRET")
	require.NoError(t, err)
	var address string
	require.NoError(t, pool.QueryRow(ctx, `SELECT webhook_url FROM teams_notifications WHERE id = $1`, failed.ID).Scan(&address))
	require.Equal(t, hook.URL.String(), address, "redacted as ours are")
	var text string
	require.NoError(t, pool.QueryRow(ctx, `SELECT string_agg(n::text, ' ') FROM teams_notifications n`).Scan(&text))
	require.NotContains(t, text, "Formerly Known")
	require.NotContains(t, text, "FORMERSECRET")

	// Nothing here takes them for work of its own.
	later := time.Now().Add(time.Hour)
	channels, err := s.DueChannels(ctx, later)
	require.NoError(t, err)
	require.Empty(t, channels)
	channels, err = s.ReviveNotifications(ctx, later)
	require.NoError(t, err)
	require.Empty(t, channels)
	events, err := s.UnpublishedEvents(ctx, 10)
	require.NoError(t, err)
	require.Empty(t, events)
	overdue, err := s.Overdue(ctx, store.AlertFilter{Priority: "CRITICAL", Before: later})
	require.NoError(t, err)
	require.Empty(t, overdue)
	a, err := s.AlertOf(ctx, failed.ID)
	require.NoError(t, err)
	require.Equal(t, store.AlertResolved, a.State)
	n, err := s.DeleteOldNotifications(ctx, later, 10)
	require.NoError(t, err)
	require.EqualValues(t, 2, n, "those that were sent go when their time is over")

	// Once it is old enough, what was left behind can be taken over, too.
	_, err = pool.Exec(ctx, `UPDATE former.teams_notifications SET created_at = now() - interval '5 days' WHERE id = $1`, uuid.MustParse("00000000-0000-4000-8000-000000000004"))
	require.NoError(t, err)
	require.NoError(t, run("../deploy/former/import.sql"))
	require.NoError(t, pool.QueryRow(ctx, `SELECT count(*) FROM teams_notifications WHERE sent_at IS NULL AND dead_at IS NOT NULL`).Scan(&n))
	require.EqualValues(t, 2, n)
}
