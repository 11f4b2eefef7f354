package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/tracing"
)

// Trace begins to send the traces of a program, if the settings want any. The caller calls stop at its end: it sends what is left, for
// at most patience.
func Trace(ctx context.Context, cfg *config.Config, program string, log *slog.Logger, patience time.Duration) (stop func(), err error) {
	end, err := tracing.Start(ctx, tracing.Settings{
		Endpoint: cfg.TraceEndpoint, Headers: cfg.TraceHeaders.Reveal(), Ratio: cfg.TraceRatio, Service: "nphiesq-" + program, Version: Version(), Environment: cfg.Environment, Log: log,
	})
	if err != nil {
		return nil, &config.SettingError{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Problem: err.Error()}
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		if err := end(ctx); err != nil {
			log.WarnContext(ctx, "the last traces are not sent", slog.String("error", err.Error()))
		}
	}, nil
}
