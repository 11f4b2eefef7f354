package store_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/localserver"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/migrations"
)

// bounded is generous: it ends a test that hangs, not one on a busy machine.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// writers write rows, each in a transaction of its own, and remember what PostgreSQL acknowledged.
type writers struct {
	pool  *pgxpool.Pool
	next  atomic.Int64
	mu    sync.Mutex
	acked []string
	done  atomic.Int64
	end   atomic.Bool
	wg    sync.WaitGroup
}

func write(ctx context.Context, pool *pgxpool.Pool) *writers {
	w := &writers{pool: pool}
	for range 4 {
		w.wg.Go(func() {
			for !w.end.Load() && ctx.Err() == nil {
				license := fmt.Sprintf("L-%d", w.next.Add(1))
				if _, err := w.pool.Exec(ctx, `INSERT INTO poll_state (license) VALUES ($1)`, license); err == nil {
					w.mu.Lock()
					w.acked = append(w.acked, license)
					w.mu.Unlock()
					w.done.Add(1)
				}
			}
		})
	}
	return w
}

func (w *writers) more(t *testing.T, n int64) {
	t.Helper()
	want := w.done.Load() + n
	testenv.Eventually(t, func() bool { return w.done.Load() >= want }, "writes go on")
}

func (w *writers) stop() []string {
	w.end.Store(true)
	w.wg.Wait()
	return w.acked
}

// TestFailover follows the primary of a pair with synchronous replication through a demotion that leaves connections open, a
// kill -9 in the midst of writes, and a freeze.
func TestFailover(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	p, err := localserver.StartPostgresPair(ctx, localserver.PostgresOptions{Synchronous: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Remove()) })
	a, b := p.Nodes[0], p.Nodes[1]
	dsn := p.URL("", "postgres")
	_, err = migrations.Up(ctx, dsn)
	require.NoError(t, err)
	require.NoError(t, migrations.Check(ctx, dsn))
	pool, err := store.Open(ctx, dsn+"&statement_timeout=1s", 6)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	st := store.New(pool, store.Options{})
	var port int
	where := func() int {
		require.NoError(t, pool.QueryRow(ctx, `SELECT inet_server_port()`).Scan(&port))
		return port
	}
	first := where()

	// Demoted: the connections stay, the server takes no writes. One write fails and says so, the next ones go to the new primary.
	var held []*pgxpool.Conn
	for range 4 {
		c, err := pool.Acquire(ctx)
		require.NoError(t, err)
		held = append(held, c)
	}
	for _, c := range held {
		c.Release()
	}
	require.NoError(t, a.Exec(ctx, `ALTER SYSTEM SET default_transaction_read_only = on`))
	require.NoError(t, a.Exec(ctx, `SELECT pg_reload_conf()`))
	testenv.Eventually(t, func() bool {
		var on string
		return pool.QueryRow(ctx, `SHOW transaction_read_only`).Scan(&on) == nil && on == "on"
	}, "the connections are read only")
	require.NoError(t, p.Promote(ctx, b))
	err = st.SchedulePoll(ctx, "L", time.Now())
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	require.ErrorContains(t, err, "takes no writes")
	require.NoError(t, st.SchedulePoll(ctx, "L", time.Now()), "one is enough to know")
	require.NotEqual(t, first, where())
	require.NoError(t, p.Rejoin(ctx, a))

	// Killed: no acknowledged write is lost.
	w := write(ctx, pool)
	w.more(t, 50)
	b.Kill()
	since := time.Now()
	require.NoError(t, p.Promote(ctx, a))
	promoted := time.Now()
	w.more(t, 1)
	t.Logf("primary killed: promoted after %v, writes went on %v later", promoted.Sub(since).Round(time.Millisecond), time.Since(promoted).Round(time.Millisecond))
	w.more(t, 50)
	acked := w.stop()
	var n int
	require.NoError(t, pool.QueryRow(ctx, `SELECT count(*) FROM unnest($1::text[]) l WHERE l NOT IN (SELECT license FROM poll_state)`, acked).Scan(&n))
	require.Zero(t, n, "acknowledged writes that are lost, of %d", len(acked))
	require.NoError(t, migrations.Check(ctx, dsn), "with the first host or the second one away")

	// Frozen: everything ends by itself, also without a deadline, and goes on with the server.
	require.NoError(t, a.Freeze())
	var wg sync.WaitGroup
	since = time.Now()
	for range 12 { // twice the pool
		wg.Go(func() {
			if err := st.SchedulePoll(context.Background(), "L", time.Now()); !fault.Is(err, fault.Unavailable) {
				t.Errorf("a frozen PostgreSQL: %v", err)
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	testenv.Eventually(t, func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}, "all calls end while PostgreSQL is frozen")
	t.Logf("PostgreSQL frozen: twelve calls on six connections ended within %v", time.Since(since).Round(10*time.Millisecond))
	_, err = store.Open(ctx, a.URL("", "postgres")+"?connect_timeout=2", 1)
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
	a.Thaw()
	testenv.Eventually(t, func() bool { return st.SchedulePoll(ctx, "L", time.Now()) == nil }, "it goes on")
}

// TestTLS: a private authority is named in DATABASE_URL, and another one is refused.
func TestTLS(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	ca, err := localserver.NewAuthority(t.TempDir())
	require.NoError(t, err)
	other, err := localserver.NewAuthority(t.TempDir())
	require.NoError(t, err)
	n, err := localserver.StartPostgres(ctx, localserver.PostgresOptions{Authority: ca})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Remove()) })
	dsn := n.URL("", "postgres") + "?sslmode=verify-full&sslrootcert="
	pool, err := store.Open(ctx, dsn+ca.CAFile(), 1)
	require.NoError(t, err)
	defer pool.Close()
	var encrypted bool
	require.NoError(t, pool.QueryRow(ctx, `SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`).Scan(&encrypted))
	require.True(t, encrypted)
	require.NoError(t, pool.QueryRow(ctx, `SELECT pg_sleep(0.1)::text = ''`).Scan(&encrypted), "reads wait with TLS, too")
	_, err = store.Open(ctx, dsn+other.CAFile(), 1)
	require.True(t, fault.Is(err, fault.Config), "%v", err)
	require.ErrorContains(t, err, "authority that is not known: name it with sslrootcert")
	_, err = store.Open(ctx, dsn+"/nonexistent", 1)
	require.ErrorContains(t, err, "DATABASE_URL: config: cannot read a file that it names (sslrootcert, sslcert, sslkey): no such file")
}

// TestTimeouts: PostgreSQL ends a slow statement and a transaction left open; we end a connection on which it says nothing.
func TestTimeouts(t *testing.T) {
	ctx := t.Context()
	dsn, err := url.Parse(testenv.DatabaseURL(t))
	require.NoError(t, err)
	open := func(name, value string) *pgxpool.Pool {
		u := *dsn
		q := u.Query()
		if name != "" {
			q.Set(name, value)
		}
		u.RawQuery = q.Encode()
		pool, err := store.Open(ctx, u.String(), 2)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		return pool
	}
	for name, want := range map[string]string{"statement_timeout": "30s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "1min", "application_name": "nphiesq"} {
		var got string
		require.NoError(t, open("", "").QueryRow(ctx, `SELECT current_setting($1)`, name).Scan(&got))
		require.Equal(t, want, got, name)
	}
	var pg *pgconn.PgError
	_, err = open("statement_timeout", "50").Exec(ctx, `SELECT pg_sleep(60)`)
	require.ErrorAs(t, err, &pg)
	require.Equal(t, "57014", pg.Code)
	// The server says nothing: the connection is given up all the same.
	_, err = open("statement_timeout", "200ms").Exec(ctx, `SET statement_timeout = 0; SELECT pg_sleep(60)`)
	require.ErrorContains(t, err, "timeout")
	// A deadline of the caller's own still counts, and does not outlive its call.
	pool := open("", "")
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err = pool.Exec(short, `SELECT pg_sleep(60)`)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = pool.Exec(ctx, `SELECT pg_sleep(0.2)`)
	require.NoError(t, err)
	tx, err := open("idle_in_transaction_session_timeout", "50ms").Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // gives the connection back
	testenv.Eventually(t, func() bool {
		var n int
		err := pool.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE pid = $1`, tx.Conn().PgConn().PID()).Scan(&n)
		return err == nil && n == 0
	}, "the transaction is ended")
	_, err = store.Open(ctx, dsn.String()+"&statement_timeout=soon", 1)
	require.ErrorContains(t, err, "DATABASE_URL: config: statement_timeout is not a time")
}

// TestLeastRights tries what the roles of deploy/postgres may not do.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	s, err := localserver.Postgres(ctx, "")
	require.NoError(t, err)
	t.Cleanup(func() { s.Stop(); require.NoError(t, os.RemoveAll(s.Dir())) })
	dsn := func(role string) string {
		u, err := url.Parse(localserver.PostgresURL(s.Dir(), "postgres"))
		require.NoError(t, err)
		q := u.Query()
		q.Set("user", role)
		u.RawQuery = q.Encode()
		return u.String()
	}
	script := func(role, file string) {
		t.Helper()
		body, err := os.ReadFile("../../deploy/postgres/" + file)
		require.NoError(t, err)
		c, err := pgx.Connect(ctx, dsn(role))
		require.NoError(t, err)
		defer c.Close(ctx)
		_, err = c.Exec(ctx, string(body))
		require.NoError(t, err)
	}
	for n := range 2 { // again changes nothing
		script("postgres", "roles.sql")
		if n == 0 {
			require.ErrorIs(t, migrations.Check(ctx, dsn("nphiesq_app")), migrations.ErrNotMigrated, "a program that comes before the schema waits for it")
		}
		_, err = migrations.Up(ctx, dsn("nphiesq_owner"))
		require.NoError(t, err)
		if n == 0 {
			err = migrations.Check(ctx, dsn("nphiesq_app"))
			require.ErrorIs(t, err, migrations.ErrNotMigrated, "and for its rights")
			require.ErrorContains(t, err, "migrate grants")
		}
		script("nphiesq_owner", "grants.sql")
	}
	require.NoError(t, migrations.Check(ctx, dsn("nphiesq_app")))
	require.NoError(t, migrations.Check(ctx, dsn("nphiesq_read")))
	pools := map[string]*pgxpool.Pool{}
	for _, role := range []string{"nphiesq_app", "nphiesq_read", "nphiesq_grafana"} {
		pools[role], err = store.Open(ctx, dsn(role), 2)
		require.NoError(t, err)
		t.Cleanup(pools[role].Close)
	}
	app := store.New(pools["nphiesq_app"], store.Options{})
	require.NoError(t, app.SchedulePoll(ctx, "L", time.Now()))
	key, now := bytes.Repeat([]byte("k"), 32), time.Now()
	require.NoError(t, app.CreateSignIn(ctx, store.SignIn{Key: key, Site: "monitor", PersonID: "p", Name: "p", Roles: []string{"viewer"}, Method: "oidc", Origin: key, CreatedAt: now, EndsAt: now.Add(time.Hour)}, key))
	_, err = app.SignIn(ctx, "monitor", key, now.Add(time.Minute)) // it is noted that it was seen
	require.NoError(t, err)
	require.NoError(t, app.BeginSignIn(ctx, store.SignInStart{State: key, Browser: key, Site: "monitor", Next: "/", EndsAt: now.Add(time.Hour)}, now))
	_, err = app.TakeSignIn(ctx, "monitor", key, now)
	require.NoError(t, err)
	require.NoError(t, app.EndSignIn(ctx, key))
	for _, q := range []string{
		`SELECT count(*) FROM messages`, `SELECT count(*) FROM teams_notifications_unacknowledged_critical`, `DELETE FROM pauses`,
		`INSERT INTO messages (id, direction, license, body) VALUES (gen_random_uuid(), 'in', 'L', 'x')`,
	} {
		_, err := pools["nphiesq_app"].Exec(ctx, q)
		require.NoError(t, err, q)
	}
	_, err = pools["nphiesq_read"].Exec(ctx, `SELECT count(*) FROM claims, operator_actions, teams_notifications_unacknowledged_critical`)
	require.NoError(t, err)
	_, err = pools["nphiesq_grafana"].Exec(ctx, `SELECT state, created_at, (SELECT count(*) FROM teams_notifications_unacknowledged_critical) FROM claims`)
	require.NoError(t, err)
	_, err = pools["nphiesq_read"].Exec(ctx, `SELECT state, count(*) FROM eligibility_checks GROUP BY state`)
	require.NoError(t, err)
	// Erasing is for the owner alone.
	claim, _, err := app.CreateClaim(ctx, newClaim())
	require.NoError(t, err)
	_, err = pools["nphiesq_app"].Exec(ctx, `UPDATE claims SET state = 'rejected'`)
	require.NoError(t, err)
	nextYear := store.Options{Now: func() time.Time { return time.Now().AddDate(1, 0, 0) }}
	why := store.Decision{Actor: "nora", Source: "cli", Reason: "test"}
	_, err = store.New(pools["nphiesq_app"], nextYear).EraseClaim(ctx, claim.ID, why)
	require.True(t, fault.Is(err, fault.Config), "%v", err)
	require.ErrorContains(t, err, "lacks a right")
	owner, err := store.Open(ctx, dsn("nphiesq_owner"), 2)
	require.NoError(t, err)
	t.Cleanup(owner.Close)
	_, err = store.New(owner, nextYear).EraseClaim(ctx, claim.ID, why)
	require.NoError(t, err)
	refused := map[string][]string{
		"nphiesq_app": {
			`UPDATE messages SET body = ''`, `UPDATE claim_responses SET state = 'approved'`, `UPDATE operator_actions SET actor = 'x'`, `DELETE FROM messages`,
			`DELETE FROM claim_responses`, `DELETE FROM operator_actions`, `DELETE FROM claims`, `DELETE FROM dead_letters`, `TRUNCATE pauses`, `DROP TABLE claims`,
			`ALTER TABLE messages DISABLE TRIGGER ALL`, `CREATE TABLE x (id int)`, `DELETE FROM goose_db_version`, `UPDATE goose_db_version SET is_applied = false`,
			`UPDATE sign_ins SET roles = '{operator}'`, `UPDATE sign_in_starts SET next = '/'`,
			`CREATE ROLE x`, `COPY claims TO PROGRAM 'cat'`, `SET session_replication_role = replica`,
		},
		"nphiesq_read": {
			`SELECT count(*) FROM messages`, `SELECT body FROM messages`, `BEGIN READ WRITE; INSERT INTO poll_state (license) VALUES ('x')`,
			`BEGIN READ WRITE; DELETE FROM claims`, `SELECT name FROM sign_ins`, `SELECT patient_key FROM eligibility_checks`, `SELECT * FROM eligibility_checks`,
		},
		"nphiesq_grafana": {
			`SELECT body FROM messages`, `SELECT identifier_value FROM claims`, `SELECT card_payload FROM teams_notifications`, `SELECT actor FROM operator_actions`,
			`SELECT payload FROM dead_letters`, `SELECT name FROM sign_ins`, `BEGIN READ WRITE; DELETE FROM claims`,
		},
	}
	for role, list := range refused {
		for _, q := range list {
			_, err := pools[role].Exec(ctx, q)
			var pg *pgconn.PgError
			require.ErrorAs(t, err, &pg, "%s: %s", role, q)
			require.Equal(t, "42501", pg.Code, "%s: %s", role, q)
		}
	}
	err = store.New(pools["nphiesq_read"], store.Options{}).SchedulePoll(ctx, "L", time.Now())
	require.Error(t, err)
	_, err = pools["nphiesq_app"].Exec(ctx, `SELECT 1`)
	require.NoError(t, err)
	_, err = store.Open(ctx, dsn("nobody_knows"), 1)
	require.True(t, fault.Is(err, fault.Config), "%v", err)
	require.ErrorContains(t, err, "refuses the user")
}
