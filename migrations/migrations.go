// Package migrations holds the schema of the record as goose migrations and applies them. Files that have landed are never
// edited: their checksums stand in migrations.sum, and a test compares them; testdata/schema.txt shows the result for review.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Files are the migrations, one SQL file each with an Up and a Down part.
//
//go:embed *.sql
var Files embed.FS

// ErrNotMigrated says that the database is older than this program.
var ErrNotMigrated = errors.New("the database is not migrated: run `worker migrate up`")

// ErrFormer says that the database holds the former system's table under the name of ours.
var ErrFormer = errors.New("the database holds a teams_notifications of another system: deploy/former/aside.sql moves it out of the way, see docs/migration.md")

// Status is one migration and whether it is applied.
type Status struct {
	Version int64
	Name    string
	Applied bool
}

const (
	// connectTimeout is for each host of an address that names no connect_timeout.
	connectTimeout = 5 * time.Second
	// checkTimeout bounds Check: a database that hangs must not keep a program from telling so.
	checkTimeout = 30 * time.Second
)

// open makes a provider on the database at dsn. Migrations of several processes wait for each other (advisory lock).
func open(dsn string) (*goose.Provider, *sql.DB, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, nil, errors.New("DATABASE_URL is not a PostgreSQL address")
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	db := stdlib.OpenDB(*cfg)
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	files, err := fs.Sub(Files, ".")
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker), goose.WithVerbose(false))
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return p, db, nil
}

// Up applies every missing migration and returns the names of those it applied. Each one is a transaction. A database of the former system
// is refused with ErrFormer.
func Up(ctx context.Context, dsn string) ([]string, error) {
	p, db, err := open(dsn)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := notFormer(ctx, p, db); err != nil {
		return nil, err
	}
	results, err := p.Up(ctx)
	return names(results), err
}

// notFormer returns ErrFormer for a database without a migration of ours that has a teams_notifications all the same.
func notFormer(ctx context.Context, p *goose.Provider, db *sql.DB) error {
	begun, err := begun(ctx, db)
	if err != nil {
		return err
	}
	if begun {
		if have, err := p.GetDBVersion(ctx); err != nil || have > 0 {
			return err
		}
	}
	var there bool
	if err := db.QueryRowContext(ctx, `SELECT to_regclass('teams_notifications') IS NOT NULL`).Scan(&there); err != nil {
		return err
	}
	if there {
		return ErrFormer
	}
	return nil
}

// begun reports whether the table of versions is there. goose makes it whenever it is asked for a version, and not every role may.
func begun(ctx context.Context, db *sql.DB) (there bool, err error) {
	err = db.QueryRowContext(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&there)
	return there, err
}

// Down takes back the newest migration and returns its name; "" when there is none.
func Down(ctx context.Context, dsn string) (string, error) {
	p, db, err := open(dsn)
	if err != nil {
		return "", err
	}
	defer db.Close()
	r, err := p.Down(ctx)
	if errors.Is(err, goose.ErrNoNextVersion) || (err == nil && r == nil) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return r.Source.Path, nil
}

// List returns all migrations in order.
func List(ctx context.Context, dsn string) ([]Status, error) {
	p, db, err := open(dsn)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := p.Status(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Status, 0, len(rows))
	for _, r := range rows {
		out = append(out, Status{Version: r.Source.Version, Name: r.Source.Path, Applied: r.State == goose.StateApplied})
	}
	return out, nil
}

// Version returns the version of the database (0 when empty) and the newest one this program knows. It changes nothing.
func Version(ctx context.Context, dsn string) (have, want int64, err error) {
	p, db, err := open(dsn)
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	begun, err := begun(ctx, db)
	if err != nil {
		return 0, 0, err
	}
	if !begun {
		known := p.ListSources()
		return 0, known[len(known)-1].Version, nil
	}
	return p.GetVersions(ctx)
}

// Check returns ErrNotMigrated when the database lacks a migration, or the rights that follow it. A newer database passes: schema changes expand first, so
// the former program runs on it.
func Check(ctx context.Context, dsn string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	have, want, err := Version(ctx, dsn)
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "42501" {
		return fmt.Errorf("%w and `worker migrate grants` (this role may not read its version yet)", ErrNotMigrated)
	}
	if err != nil {
		return err
	}
	if have < want {
		return fmt.Errorf("%w (it is at version %d, this program needs %d)", ErrNotMigrated, have, want)
	}
	return nil
}

func names(results []*goose.MigrationResult) []string {
	out := make([]string, 0, len(results))
	for _, r := range results {
		out = append(out, r.Source.Path)
	}
	return out
}
