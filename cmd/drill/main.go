// Command drill proves the promises under fault: it runs the real programs on real servers under load, breaks something, waits
// until everything goes on by itself, and compares the books of NPHIES (simulated), the database, Redis and Teams.
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
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/claimlinc/nphiesq/internal/localserver"
)

const usage = `Usage: drill [--short | --only NAME,...] [--seed N] [--claims N] [--report FILE]
       drill --prove
       drill --list

Runs each scenario on servers of its own: load, fault, recovery, and then the books: what enqueue promised, what
NPHIES got, what the database says, what Teams showed. Prints a table; exit 0 only if nothing was lost, nothing
doubled, no card is missing and the work went on in time.

  --list         list the scenarios
  --only A,B     run these scenarios
  --short        run the short set
  --prove        break promises on purpose, in programs built for it: the matching scenario must fail
  --seed N       seed of claims, delays and moments (default 1); a scenario is repeated with its seed
  --claims N     claims per scenario (default 60)
  --report FILE  write the table as JSON
  --markdown     print the table as Markdown
  --bin DIR      folder with the programs, built with -tags drill (default: that of this program)
  --verbose      print the programs' logs of scenarios that fail

Exit status: 0 all promises held, 1 not, 2 wrong usage.
`

type options struct {
	list, short, prove, markdown, verbose bool
	only, report, bin                     string
	seed                                  uint64
	claims                                int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	fs := flag.NewFlagSet("drill", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&o.list, "list", false, "")
	fs.BoolVar(&o.short, "short", false, "")
	fs.BoolVar(&o.prove, "prove", false, "")
	fs.BoolVar(&o.markdown, "markdown", false, "")
	fs.BoolVar(&o.verbose, "verbose", false, "")
	fs.StringVar(&o.only, "only", "", "")
	fs.StringVar(&o.report, "report", "", "")
	fs.StringVar(&o.bin, "bin", "", "")
	fs.Uint64Var(&o.seed, "seed", 1, "")
	fs.IntVar(&o.claims, "claims", 60, "")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(stdout, usage)
		return 0
	}
	var chosen []scenario
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("unknown argument %q", fs.Arg(0))
	}
	if err == nil && o.claims < 12 {
		err = fmt.Errorf("--claims: %d is not allowed; want 12 or more", o.claims)
	}
	if err == nil {
		chosen, err = choose(o)
	}
	if err == nil && o.bin == "" {
		var self string
		if self, err = os.Executable(); err == nil {
			o.bin = filepath.Dir(self)
		}
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "drill: %v\n\n%s", err, usage)
		return 2
	}
	if o.list {
		w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
		for _, s := range chosen {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", s.name, s.what)
		}
		_ = w.Flush()
		return 0
	}
	if err := localserver.Install(ctx, stderr); err != nil {
		_, _ = fmt.Fprintf(stderr, "drill: %v\n", err)
		return 1
	}
	if o.prove {
		return prove(ctx, o, chosen, stdout)
	}
	var results []*result
	ok := true
	for _, s := range chosen {
		_, _ = fmt.Fprintf(stderr, "%-22s %s\n", s.name, s.what)
		r := drillOne(ctx, o, s, "", stderr)
		if ctx.Err() != nil {
			_, _ = fmt.Fprintln(stderr, "drill: interrupted")
			return 1
		}
		results = append(results, r)
		ok = ok && r.OK
		for _, p := range r.Problems {
			_, _ = fmt.Fprintf(stderr, "  %s\n", p)
		}
	}
	if o.markdown {
		printMarkdown(stdout, results)
	} else {
		printTable(stdout, results)
	}
	if o.report != "" {
		if err := writeReport(o.report, results); err != nil {
			_, _ = fmt.Fprintf(stderr, "drill: %v\n", err)
			return 1
		}
	}
	if !ok {
		_, _ = fmt.Fprintln(stdout, "\nA promise was broken: see above.")
		return 1
	}
	_, _ = fmt.Fprintf(stdout, "\nEvery promise held in %d scenarios (seed %d).\n", len(results), o.seed)
	return 0
}

// choose picks the scenarios.
func choose(o options) ([]scenario, error) {
	all := scenarios()
	if o.only == "" {
		if !o.short {
			return all, nil
		}
		return slices.DeleteFunc(all, func(s scenario) bool { return !s.short }), nil
	}
	var out []scenario
	for name := range strings.SplitSeq(o.only, ",") {
		i := slices.IndexFunc(all, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("--only: no scenario %q; --list names them", name)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// prove runs each scenario with the promise broken that it guards. It must fail.
func prove(ctx context.Context, o options, chosen []scenario, stdout io.Writer) int {
	blind := 0
	for _, s := range chosen {
		if s.guards == "" {
			continue
		}
		r := drillOne(ctx, o, s, s.guards, io.Discard)
		if ctx.Err() != nil {
			return 1
		}
		if r.unplayed {
			blind++
			_, _ = fmt.Fprintf(stdout, "%-22s could not be played: %s\n", s.name, r.Problems[0])
			continue
		}
		if r.OK {
			blind++
			_, _ = fmt.Fprintf(stdout, "%-22s BLIND: %s was broken and nothing noticed\n", s.name, s.guards)
			continue
		}
		_, _ = fmt.Fprintf(stdout, "%-22s notices %s: %s\n", s.name, s.guards, r.Problems[0])
	}
	if blind > 0 {
		return 1
	}
	return 0
}

// header is the table's head.
var header = []string{"scenario", "claims in", "approved", "partial", "rejected", "other", "lost", "double", "cards", "missing", "twice", "recovered", "in all", ""}

func (r *result) row() []string {
	verdict := "ok"
	if !r.OK {
		verdict = "BROKEN"
	}
	n := func(i int) string { return fmt.Sprint(i) }
	return []string{
		r.Scenario, n(r.Claims), n(r.Approved), n(r.Partial), n(r.Rejected), n(r.Other), n(r.Lost), n(r.Double), n(r.Cards), n(r.CardsMissing), n(r.CardsTwice),
		fmt.Sprintf("%.1f s", r.Recovered.Seconds()), fmt.Sprintf("%.1f s", r.Took.Seconds()), verdict,
	}
}

func printTable(w io.Writer, results []*result) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, strings.ToUpper(strings.Join(header, "\t")))
	for _, r := range results {
		_, _ = fmt.Fprintln(t, strings.Join(r.row(), "\t"))
	}
	_ = t.Flush() // standard output
}

func printMarkdown(w io.Writer, results []*result) {
	_, _ = fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(header, " | "), strings.Repeat("---|", len(header)))
	for _, r := range results {
		_, _ = fmt.Fprintf(w, "| %s |\n", strings.Join(r.row(), " | "))
	}
}

func writeReport(path string, results []*result) error {
	body, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(body, '\n'), 0o644) //nolint:gosec // a report for everybody to read
}

// result is a row of the table.
type result struct {
	Scenario     string        `json:"scenario"`
	Seed         uint64        `json:"seed"`
	OK           bool          `json:"ok"`
	Claims       int           `json:"claims"`
	Approved     int           `json:"approved"`
	Partial      int           `json:"partial"`
	Rejected     int           `json:"rejected"`
	Other        int           `json:"other"`
	Lost         int           `json:"lost"`
	Double       int           `json:"double"`
	Cards        int           `json:"cards"`
	CardsMissing int           `json:"cards_missing"`
	CardsTwice   int           `json:"cards_twice"`
	Recovered    time.Duration `json:"recovered_ns"`
	Took         time.Duration `json:"took_ns"`
	Problems     []string      `json:"problems,omitempty"`
	// unplayed: the scenario could not be played to its end, so it says nothing about any promise.
	unplayed bool
}

func (r *result) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}
