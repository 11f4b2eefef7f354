// Package testenv gives tests real servers: Redis and PostgreSQL from an address in the environment, else from containers when
// an engine answers, else as local child processes (installed first on Debian as root). Each test gets a database of its own,
// migrated, and an empty Redis. A missing server fails the test and says what to install; it never skips.
package testenv

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	tcpostgres "github.com/testcontainers/testcontainers-go/modules/postgres"
	tcredis "github.com/testcontainers/testcontainers-go/modules/redis"

	"github.com/claimlinc/nphiesq/internal/localserver"
	"github.com/claimlinc/nphiesq/migrations"
)

// EnvRedis and EnvPostgres name servers to use instead of starting some. They must be for tests only: databases are made and
// dropped there, and the Redis database that is named is flushed.
const (
	EnvRedis    = "TEST_REDIS_URL"
	EnvPostgres = "TEST_DATABASE_URL"
)

// Main runs the tests of a package and then ends the servers they started. Call it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	cleanup.run()
	os.Exit(code)
}

// OnExit lets f run after all tests of the package, for what they share.
func OnExit(f func()) { cleanup.add(f) }

type closers struct {
	mu  sync.Mutex
	fns []func()
}

func (c *closers) add(f func()) { c.mu.Lock(); defer c.mu.Unlock(); c.fns = append(c.fns, f) }

func (c *closers) run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range slices.Backward(c.fns) {
		v()
	}
	c.fns = nil
}

var cleanup closers

const startTimeout = 5 * time.Minute // an installation may be part of it

// hasEngine reports whether a container engine answers. Asked once.
var hasEngine = sync.OnceValue(func() (ok bool) {
	defer func() {
		if recover() != nil { // the library panics where no engine is configured
			ok = false
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	p, err := testcontainers.NewDockerProvider()
	if err != nil {
		return false
	}
	defer p.Close()
	return p.Health(ctx) == nil
})

// redisURL starts the package's Redis once.
var redisURL = sync.OnceValues(func() (string, error) {
	if u := os.Getenv(EnvRedis); u != "" {
		return u, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if hasEngine() {
		if c, err := tcredis.Run(ctx, "redis:7"); err == nil {
			cleanup.add(func() { _ = testcontainers.TerminateContainer(c) })
			return c.ConnectionString(ctx)
		}
	}
	if err := localserver.Install(ctx, os.Stderr); err != nil {
		return "", err
	}
	s, err := localserver.Redis(ctx, "")
	if err != nil {
		return "", err
	}
	cleanup.add(func() { s.Stop(); _ = os.RemoveAll(s.Dir()) })
	return localserver.RedisURL(s.Dir()), nil
})

// postgresURL starts the package's PostgreSQL once and migrates the template database.
var postgresURL = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	base, err := startPostgres(ctx)
	if err != nil {
		return "", err
	}
	tpl := templateName()
	if err := execOn(ctx, base, `CREATE DATABASE `+tpl); err != nil {
		return "", err
	}
	cleanup.add(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = execOn(ctx, base, `DROP DATABASE IF EXISTS `+tpl)
	})
	if _, err := migrations.Up(ctx, withDatabase(base, tpl)); err != nil {
		return "", err
	}
	return base, nil
})

func startPostgres(ctx context.Context) (string, error) {
	if u := os.Getenv(EnvPostgres); u != "" {
		return u, nil
	}
	if hasEngine() {
		c, err := tcpostgres.Run(ctx, "postgres:15", tcpostgres.WithUsername("postgres"), tcpostgres.WithPassword("postgres"), tcpostgres.BasicWaitStrategies())
		if err == nil {
			cleanup.add(func() { _ = testcontainers.TerminateContainer(c) })
			return c.ConnectionString(ctx, "sslmode=disable")
		}
	}
	if err := localserver.Install(ctx, os.Stderr); err != nil {
		return "", err
	}
	s, err := localserver.Postgres(ctx, "")
	if err != nil {
		return "", err
	}
	cleanup.add(func() { s.Stop(); _ = os.RemoveAll(s.Dir()) })
	return localserver.PostgresURL(s.Dir(), "postgres"), nil
}

func templateName() string { return fmt.Sprintf("nphiesq_tpl_%d", os.Getpid()) }

// RedisURL returns the address of an empty Redis that no other running test of the package uses. Tests that share a package
// and use Redis must not run in parallel with each other.
func RedisURL(t testing.TB) string {
	t.Helper()
	u, err := redisURL()
	require.NoError(t, err)
	rc := redisClient(t, u)
	require.NoError(t, rc.FlushDB(t.Context()).Err())
	return u
}

// Redis returns a client of an empty Redis; see RedisURL.
func Redis(t testing.TB) *redis.Client {
	t.Helper()
	return redisClient(t, RedisURL(t))
}

func redisClient(t testing.TB, u string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(u)
	require.NoError(t, err)
	rc := redis.NewClient(o)
	t.Cleanup(func() { _ = rc.Close() })
	return rc
}

var dbCount atomic.Int64

// DatabaseURL returns the address of a migrated database that belongs to this test alone and is dropped with it.
func DatabaseURL(t testing.TB) string {
	t.Helper()
	return newDatabase(t, ` TEMPLATE `+templateName())
}

// EmptyDatabaseURL is DatabaseURL without migrations.
func EmptyDatabaseURL(t testing.TB) string {
	t.Helper()
	return newDatabase(t, "")
}

func newDatabase(t testing.TB, suffix string) string {
	t.Helper()
	base, err := postgresURL()
	require.NoError(t, err)
	name := fmt.Sprintf("nphiesq_%d_%d", os.Getpid(), dbCount.Add(1))
	require.NoError(t, execOn(t.Context(), base, `CREATE DATABASE `+name+suffix))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := execOn(ctx, base, `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	return withDatabase(base, name)
}

// Pool returns a connection pool on a database of this test; see DatabaseURL.
func Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), DatabaseURL(t))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// Logger writes to the test's log; it is silent unless the test fails or runs with -v.
func Logger(t testing.TB) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Discard is a logger for benchmarks and for goroutines that may outlive their test.
func Discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// Eventually waits until cond holds, asking every 20 ms, and fails the test with what after a minute.
func Eventually(t testing.TB, cond func() bool, what string, args ...any) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("did not happen within three minutes: "+what, args...)
		case <-tick.C:
		}
	}
}

func execOn(ctx context.Context, dsn, sql string) error {
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

// withDatabase replaces the database name of a PostgreSQL URL.
func withDatabase(dsn, name string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		return dsn
	}
	u.Path = "/" + name
	return u.String()
}
