// Command demo runs the whole of nphiesq on one machine with nothing configured: its own Redis and PostgreSQL, the simulator
// of NPHIES and Teams, two workers and the monitor. It submits the examples and shows what became of them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const usage = `Usage: demo [--once] [--report FILE] [--examples DIR] [--timeout DURATION]

Starts a Redis, a PostgreSQL, the NPHIES simulator with its Teams stand-in, two workers and the monitor, all on
loopback and in a temporary folder, submits the examples, and prints the outcomes and the addresses. It stays up
until Ctrl-C and leaves nothing behind. What the machine lacks it installs on Debian as root, or names.

  --once           end when all outcomes and cards are there; exit 0 only if each was the expected one
  --report FILE    write claims, eligibility answers, notifications and timings as JSON
  --examples DIR   folder with claims/, eligibility/ and expected.json (default "examples")
  --bin DIR        folder with the programs (default: that of this program)
  --timeout D      longest time to wait for the outcomes (default 3m)

Exit status: 0 all as expected, 1 not, 2 wrong usage.
`

type options struct {
	once                  bool
	report, examples, bin string
	timeout               time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&o.once, "once", false, "")
	fs.StringVar(&o.report, "report", "", "")
	fs.StringVar(&o.examples, "examples", "examples", "")
	fs.StringVar(&o.bin, "bin", "", "")
	fs.DurationVar(&o.timeout, "timeout", 3*time.Minute, "")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(stdout, usage)
		return 0
	}
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("unknown argument %q", fs.Arg(0))
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "demo: %v\n\n%s", err, usage)
		return 2
	}
	if o.bin == "" {
		self, err := os.Executable()
		if err != nil {
			_, _ = fmt.Fprintf(stderr, "demo: %v\n", err)
			return 1
		}
		o.bin = filepath.Dir(self)
	}
	d := &demo{opt: o, out: stdout, err: stderr}
	defer d.stop()
	r, err := d.play(ctx)
	if r != nil && o.report != "" {
		if werr := writeReport(o.report, r); werr != nil {
			err = errors.Join(err, werr)
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			_, _ = fmt.Fprintln(stderr, "demo: interrupted")
		} else {
			_, _ = fmt.Fprintf(stderr, "demo: %v\n", err)
			d.printLogs()
		}
		return 1
	}
	if !o.once {
		_, _ = fmt.Fprintln(stdout, "\nStays up until Ctrl-C.")
		<-ctx.Done()
	}
	return 0
}

func writeReport(path string, r *report) error {
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(body, '\n'), 0o644) //nolint:gosec // a report for everybody to read
}
