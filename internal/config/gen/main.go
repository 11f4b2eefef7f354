// Command gen writes .env.example and docs/settings.md from the settings in internal/config. Run it by make generate.
package main

import (
	"log/slog"
	"os"

	"github.com/claimlinc/nphiesq/internal/config"
)

func main() {
	for path, body := range map[string]string{"../../.env.example": config.EnvExample(), "../../docs/settings.md": config.Markdown()} {
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil { //nolint:gosec // files for everybody to read
			slog.Error("write", "path", path, "error", err) //nolint:sloglint // a two-line program
			os.Exit(1)
		}
	}
}
