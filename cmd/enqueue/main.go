// Command enqueue is the operator's and the billing system's way in: it takes claims and eligibility checks, shows how they
// stand, explains messages, and decides about dead letters.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/build"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/telemetry"
	"github.com/claimlinc/nphiesq/nphiesclient"
	"github.com/claimlinc/nphiesq/tasks"
)

// cli is the grammar of the command line.
type cli struct {
	Output  string           `enum:"text,json" default:"text" help:"Form of the results on stdout: text or json (one object per line)."`
	Version kong.VersionFlag `help:"Print version, commit and date."`

	Submit        submitCmd        `cmd:"" help:"Take claims in: claim documents or ready claim-request messages. Prints one line per claim: its id, and queued, exists or invalid."`
	Priorauth     priorauthCmd     `cmd:"" help:"Take prior authorizations in: claim documents with \"use\": \"preauthorization\", or ready priorauth-request messages."`
	Eligibility   eligibilityCmd   `cmd:"" help:"Take eligibility checks in: eligibility documents or ready eligibility-request messages."`
	Poll          pollCmd          `cmd:"" help:"Look into the mailbox of a provider licence now."`
	Validate      validateCmd      `cmd:"" help:"Check claims and eligibility checks without sending or keeping them."`
	Cancel        cancelCmd        `cmd:"" help:"Ask the payer to cancel a claim or prior authorization."`
	Status        statusCmd        `cmd:"" help:"Show how claims and eligibility checks stand; with --check ask the payer."`
	List          listCmd          `cmd:"" help:"List claims, newest first."`
	Inspect       inspectCmd       `cmd:"" help:"Explain NPHIES messages, requests and answers."`
	Inbox         inboxCmd         `cmd:"" help:"What the mailboxes brought, matched or not."`
	Payments      paymentsCmd      `cmd:"" help:"Payment reconciliations, or the lines of one."`
	Pauses        pausesCmd        `cmd:"" help:"What is not sent for now, and why; resume it."`
	Dead          deadCmd          `cmd:"" help:"Dead letters: what failed for good and waits for a decision."`
	Notifications notificationsCmd `cmd:"" help:"What was told in Teams: list it, send it again."`
	Audit         auditCmd         `cmd:"" help:"The record of what people decided: check it, list it."`
	Erase         eraseCmd         `cmd:"" help:"Erase what was sent and received about claims and eligibility checks that are over: personal data go, numbers stay. Needs the database role that owns the tables."`
	Generate      generateCmd      `cmd:"" help:"Print synthetic valid claims as NDJSON."`
}

// env is what a command works with.
type env struct {
	ctx    context.Context //nolint:containedctx // lives as long as the one command that runs
	in     io.Reader
	out    *bufio.Writer
	err    io.Writer
	json   bool
	failed bool
	// later: Redis is away, so what is kept is enqueued by a worker, when it is back.
	later bool
	// traced sends what is left of the traces; nil before open.
	traced func()
}

// usageError is a wrong flag or argument: exit status 2.
type usageError struct{ problem string }

func (e *usageError) Error() string { return e.problem }

func wrongUsage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errNotDone is returned when the results on stdout already say what could not be done.
var errNotDone = errors.New("not all was done")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c cli
	exit := -1
	parser, err := kong.New(&c, kong.Name("enqueue"), kong.Writers(stdout, stderr), kong.Exit(func(code int) { exit = code }),
		kong.Vars{"version": build.Get().Line()}, kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Description("Claims and eligibility checks for NPHIES. FILE is a path, or - for standard input; it holds one JSON value, several, an array, or NDJSON.\n\n"+
			"Exit status: 0 all was done, 1 something was not, 2 wrong usage. Settings come from the environment: see docs/settings.md."))
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "enqueue: %v\n", err)
		return 1
	}
	kctx, err := parser.Parse(args)
	if exit >= 0 {
		return exit // --help and --version have printed
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "enqueue: %v\nTry: enqueue --help\n", err)
		return 2
	}
	out := bufio.NewWriter(stdout)
	e := &env{ctx: ctx, in: stdin, out: out, err: stderr, json: c.Output == "json"}
	err = kctx.Run(e)
	if e.traced != nil {
		e.traced()
	}
	if ferr := out.Flush(); err == nil {
		err = ferr
	}
	switch {
	case errors.Is(err, errNotDone):
		return 1
	case isUsage(err):
		_, _ = fmt.Fprintf(stderr, "enqueue: %v\nTry: enqueue --help\n", err)
		return 2
	case errors.Is(err, context.Canceled):
		_, _ = fmt.Fprintln(stderr, "enqueue: interrupted; what is printed above was done")
		return 1
	case err != nil:
		for line := range strings.Lines(err.Error()) {
			_, _ = fmt.Fprintf(stderr, "enqueue: %s\n", strings.TrimRight(line, "\n"))
		}
		return 1
	case e.failed:
		return 1
	}
	return 0
}

func isUsage(err error) bool {
	_, ok := errors.AsType[*usageError](err)
	return ok
}

// print writes one result: text as a line of fields, or the value as JSON.
func (e *env) print(value any, fields ...string) error {
	if e.json {
		enc := json.NewEncoder(e.out)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(value); err != nil {
			return err
		}
	} else {
		safe := make([]string, len(fields))
		for i, f := range fields {
			safe[i] = nphiesclient.Printable(f)
		}
		if _, err := fmt.Fprintln(e.out, strings.Join(safe, "\t")); err != nil {
			return err
		}
	}
	return e.out.Flush() // a line that is out is a promise kept: it may not wait in a buffer
}

// warn writes a remark for people to stderr.
func (e *env) warn(format string, args ...any) {
	_, _ = fmt.Fprintln(e.err, "enqueue: "+nphiesclient.Printable(fmt.Sprintf(format, args...)))
}

// open reads the settings and connects.
func (e *env) open() (*app.App, error) {
	cfg, err := config.Load()
	if err != nil {
		return nil, err
	}
	log := telemetry.Logger(e.err, cfg.LogLevel, "text")
	if e.traced, err = app.Trace(e.ctx, cfg, "enqueue", log, time.Second); err != nil {
		return nil, err
	}
	a, err := app.OpenRecord(e.ctx, cfg, log, 0)
	if err == nil && a.RedisAway != nil {
		e.unscheduled(a.RedisAway)
	}
	return a, err
}

// unscheduled says, once, that tasks are left to the workers.
func (e *env) unscheduled(why error) {
	if !e.later {
		e.warn("Redis is away; what is kept is not lost, a worker enqueues it when Redis is back: %v", why)
	}
	e.later = true
}

// schedule enqueues the task of a row that is kept. Kept is accepted: should Redis not take it, the reconciler enqueues it.
func (e *env) schedule(ctx context.Context, a *app.App, t tasks.Task) {
	if e.later {
		return
	}
	if _, err := a.Queue.Enqueue(ctx, t); err != nil {
		e.unscheduled(err)
	}
}

// open returns the content of FILE.
func (e *env) file(path string) (io.ReadCloser, string, error) {
	if path == "-" {
		return io.NopCloser(e.in), "stdin", nil
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, path, err
	}
	return f, path, nil
}

// actor is who runs the command, for the audit trail.
func actor() string {
	// LookupId, not Current: for an account that /etc/passwd does not know, Current takes the word of $USER.
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
		return u.Username
	}
	if says := nphiesclient.Printable(os.Getenv("USER")); says != "" { //nolint:forbidigo // a name, no setting
		return fmt.Sprintf("uid %d (says %.60s)", os.Getuid(), says)
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}
