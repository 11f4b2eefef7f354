// Command monitor shows people how claims, dead letters, notifications and queues stand, and lets operators decide about dead
// letters.
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

	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/build"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/telemetry"
)

const usage = `Usage: monitor
       monitor hash
       monitor health [--live]

Serves pages for people on MONITOR_ADDR until SIGTERM or Ctrl-C: claims, dead letters, notifications, queues, audit trail.
People sign in with a password (MONITOR_USERS, MONITOR_USERS_FILE), through a provider of single sign-on (OIDC_ISSUER), or either:
viewers look, operators and supervisors decide, and only the role privacy sees patient data. /livez and /readyz need no sign-in.
A sign-in lasts 8 hours. It stands in PostgreSQL: a restart ends none, and several monitors share them. See docs/sign-in.md.
ACTIONS_ADDR serves what may be reached from outside: the pages behind buttons of cards (ACTION_BASE_URL, ACTION_LINK_KEYS), the signed API
(ACTION_API_KEYS), Alertmanager's webhook (ALERTMANAGER_TOKEN), the bot in Teams (TEAMS_BOT_APP_ID), an outgoing webhook of Teams
(TEAMS_OUTGOING_TOKEN) and flows (FLOW_AUDIENCE), each only if it is set. MONITOR_HTTP_ADDR serves /metrics and /livez.
Settings come from the environment: see docs/settings.md.

  --version       print version, commit and date

monitor hash      reads a password (12 to 72 bytes) from the terminal or standard input and prints its bcrypt hash;
                  MONITOR_USERS="amal:operator:<hash>" lets it sign in

monitor health    asks the monitor on this machine, at MONITOR_ADDR, whether it does its work (/readyz), or with --live whether it
                  lives (/livez)

Exit status: 0 done, 1 failed, 2 wrong usage.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("monitor", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	showVersion := fs.Bool("version", false, "")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, usage)
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "monitor: %v\n\n%s", err, usage)
		return 2
	case *showVersion:
		_, _ = fmt.Fprintln(stdout, build.Get().Line())
		return 0
	case fs.Arg(0) == "hash" && fs.NArg() == 1:
		if err := hash(stdin, stdout, stderr); err != nil {
			return failed(stderr, err)
		}
		return 0
	case fs.Arg(0) == "health":
		return app.Health(ctx, "monitor", fs.Args()[1:], stdout, stderr, usage, func(c *config.Config) (string, string) { return "MONITOR_ADDR", c.MonitorAddr })
	case fs.NArg() > 0:
		_, _ = fmt.Fprintf(stderr, "monitor: unknown arguments: %s\n\n%s", strings.Join(fs.Args(), " "), usage)
		return 2
	}
	cfg, err := config.Load()
	if err != nil {
		return failed(stderr, err)
	}
	log := telemetry.Logger(stderr, cfg.LogLevel, cfg.LogFormat)
	stop, err := app.Trace(ctx, cfg, "monitor", log, 5*time.Second)
	if err != nil {
		return failed(stderr, err)
	}
	defer stop()
	p, err := newProgram(ctx, cfg, log)
	if err != nil {
		return failed(stderr, err)
	}
	defer p.close()
	if err := p.run(ctx); err != nil {
		log.ErrorContext(ctx, "monitor ended", slog.String("error", err.Error()))
		return 1
	}
	return 0
}

// failed prints what went wrong, one line per error.
func failed(stderr io.Writer, err error) int {
	for line := range strings.Lines(err.Error()) {
		_, _ = fmt.Fprintf(stderr, "monitor: %s\n", strings.TrimSpace(line))
	}
	return 1
}
