// Command gen writes docs/metrics.md from the catalogue. Run it by make generate.
package main

import (
	"log/slog"
	"os"

	"github.com/claimlinc/nphiesq/internal/metric"
)

func main() {
	if err := os.WriteFile("../../docs/metrics.md", []byte(metric.Markdown()), 0o644); err != nil { //nolint:gosec // a file for everybody to read
		slog.Error("write", "error", err) //nolint:sloglint // a two-line program
		os.Exit(1)
	}
}
