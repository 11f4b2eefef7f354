// Command worker runs the queues: it sends eligibility checks and claims to NPHIES, polls for answers, posts notifications to
// Teams, and keeps the record and the queues in step. Any number may run side by side.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claimlinc/nphiesq/deploy/postgres"
	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/build"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/telemetry"
	"github.com/claimlinc/nphiesq/migrations"
	"github.com/claimlinc/nphiesq/tasks"
)

const usage = `Usage: worker [--queues LIST]
       worker migrate up|down|status|version|grants
       worker health [--live]

Runs the queues until SIGTERM or Ctrl-C, then finishes what it has begun. Health and metrics are on HTTP_ADDR:
/livez, /readyz, /metrics. Settings come from the environment: see docs/settings.md.

  --queues LIST   queues to run, separated by commas: %s (default: all)
  --version       print version, commit and date

worker migrate up       applies all missing migrations
worker migrate down     takes back the newest one
worker migrate status   lists them
worker migrate version  prints the version of the database
worker migrate grants   gives the roles of deploy/postgres/roles.sql their rights on the tables; needed after each up, where
                        the programs are not the owner

worker health           asks the worker on this machine, at HTTP_ADDR, whether it does its work (/readyz), or with --live whether it
                        lives (/livez)

Exit status: 0 done, 1 failed, 2 wrong usage.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("worker", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	queues := fs.String("queues", strings.Join(tasks.Queues(), ","), "")
	showVersion := fs.Bool("version", false, "")
	help := fmt.Sprintf(usage, strings.Join(tasks.Queues(), ", "))
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, help)
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "worker: %v\n\n%s", err, help)
		return 2
	case *showVersion:
		_, _ = fmt.Fprintln(stdout, build.Get().Line())
		return 0
	case fs.Arg(0) == "migrate" && fs.NArg() == 2:
		return migrate(ctx, fs.Arg(1), stdout, stderr, help)
	case fs.Arg(0) == "health":
		return app.Health(ctx, "worker", fs.Args()[1:], stdout, stderr, help, func(c *config.Config) (string, string) { return "HTTP_ADDR", c.HTTPAddr })
	case fs.NArg() > 0:
		_, _ = fmt.Fprintf(stderr, "worker: unknown arguments: %s\n\n%s", strings.Join(fs.Args(), " "), help)
		return 2
	}
	chosen, err := chooseQueues(*queues)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "worker: %v\n", err)
		return 2
	}
	cfg, err := config.Load()
	if err != nil {
		return failed(stderr, err)
	}
	log := telemetry.Logger(stderr, cfg.LogLevel, cfg.LogFormat)
	stop, err := app.Trace(ctx, cfg, "worker", log, 5*time.Second)
	if err != nil {
		return failed(stderr, err)
	}
	defer stop()
	m, err := newMain(ctx, cfg, log, chosen)
	if err != nil {
		return failed(stderr, err)
	}
	defer m.close()
	if err := m.run(ctx); err != nil {
		log.ErrorContext(ctx, "worker ended", slog.String("error", err.Error()))
		return 1
	}
	return 0
}

// failed prints what keeps the program from starting, one wrong setting per line.
func failed(stderr io.Writer, err error) int {
	for line := range strings.Lines(err.Error()) {
		_, _ = fmt.Fprintf(stderr, "worker: %s\n", strings.TrimSpace(line))
	}
	return 1
}

func chooseQueues(list string) ([]tasks.Spec, error) {
	var out []tasks.Spec
	for name := range strings.SplitSeq(list, ",") {
		found := false
		for _, s := range tasks.Table() {
			if s.Queue == strings.TrimSpace(name) {
				out, found = append(out, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("--queues: no queue %q; there are %s", name, strings.Join(tasks.Queues(), ", "))
		}
	}
	return out, nil
}

func migrate(ctx context.Context, verb string, stdout, stderr io.Writer, help string) int {
	cfg, err := config.Load()
	if err == nil {
		err = cfg.Require("DATABASE_URL")
	}
	if err != nil {
		return failed(stderr, err)
	}
	dsn := cfg.DatabaseURL.Reveal()
	switch verb {
	case "up":
		names, err := migrations.Up(ctx, dsn)
		for _, n := range names {
			_, _ = fmt.Fprintf(stdout, "applied\t%s\n", n)
		}
		if err != nil {
			return failed(stderr, err)
		}
	case "down":
		name, err := migrations.Down(ctx, dsn)
		if err != nil {
			return failed(stderr, err)
		}
		if name != "" {
			_, _ = fmt.Fprintf(stdout, "taken back\t%s\n", name)
		}
	case "status":
		list, err := migrations.List(ctx, dsn)
		if err != nil {
			return failed(stderr, err)
		}
		for _, s := range list {
			state := "missing"
			if s.Applied {
				state = "applied"
			}
			_, _ = fmt.Fprintf(stdout, "%s\t%s\n", state, s.Name)
		}
	case "version":
		have, want, err := migrations.Version(ctx, dsn)
		if err != nil {
			return failed(stderr, err)
		}
		_, _ = fmt.Fprintf(stdout, "%d\n", have)
		if have < want {
			_, _ = fmt.Fprintf(stderr, "worker: this program needs version %d: run `worker migrate up`\n", want)
			return 1
		}
	case "grants":
		if err := grant(ctx, dsn); err != nil {
			return failed(stderr, err)
		}
	default:
		_, _ = fmt.Fprintf(stderr, "worker: unknown: migrate %s\n\n%s", verb, help)
		return 2
	}
	return 0
}

func grant(ctx context.Context, dsn string) error {
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	if _, err = c.Exec(ctx, postgres.Grants); err != nil {
		return fmt.Errorf("grants: %w", err)
	}
	return nil
}
