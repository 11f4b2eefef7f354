// Command gen writes docs/conformance.md, docs/errors.md and docs/nphiessim-rules.md. Run it by make generate.
package main

import (
	"log/slog"
	"os"

	"github.com/claimlinc/nphiesq/internal/conformance"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
)

func main() {
	if err := write("../../docs/conformance.md", simulated()); err != nil {
		slog.Error("write docs/conformance.md", "error", err) //nolint:sloglint // a program of one step
		os.Exit(1)
	}
}

// simulated are the rules of the simulator.
func simulated() []conformance.SimulatedRule {
	var out []conformance.SimulatedRule
	for _, r := range nphiessim.Rules() {
		out = append(out, conformance.SimulatedRule(r))
	}
	return out
}

func write(path string, simulated []conformance.SimulatedRule) error {
	corpus, err := conformance.ReadCorpus("../../nphiesclient/testdata")
	if err != nil {
		return err
	}
	page, err := conformance.Markdown(corpus, simulated)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(page), 0o644); err != nil { //nolint:gosec // a file for everybody to read
		return err
	}
	if err := os.WriteFile("../../docs/nphiessim-rules.md", []byte(conformance.Simulator(simulated)), 0o644); err != nil { //nolint:gosec // as above
		return err
	}
	return os.WriteFile("../../docs/errors.md", []byte(conformance.Errors()), 0o644) //nolint:gosec // as above
}
