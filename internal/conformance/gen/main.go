// Command gen writes docs/conformance.md, docs/errors.md and docs/nphiessim-rules.md. Run it by make generate.
package main

import (
	"log/slog"
	"os"

	"github.com/claimlinc/nphiesq/internal/conformance"
)

func main() {
	if err := write("../../docs/"); err != nil {
		slog.Error("write docs", "error", err) //nolint:sloglint // a program of one step
		os.Exit(1)
	}
}

func write(docs string) error {
	corpus, err := conformance.ReadCorpus("../../nphiesclient/testdata")
	if err != nil {
		return err
	}
	pages, err := conformance.Pages(corpus)
	if err != nil {
		return err
	}
	for name, page := range pages {
		if err := os.WriteFile(docs+name, []byte(page), 0o644); err != nil { //nolint:gosec // a file for everybody to read
			return err
		}
	}
	return nil
}
