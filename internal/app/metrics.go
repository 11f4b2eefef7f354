package app

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/secrets"
	"github.com/claimlinc/nphiesq/internal/telemetry"
)

// Dependencies is a collector that shows whether our servers answer, also while a program waits for them: opened returns nil then, and they
// are asked by connections of their own. vault is nil without Vault.
func Dependencies(cfg *config.Config, vault *secrets.Vault, opened func() *App) prometheus.Collector {
	ask := map[string]func(context.Context) error{
		"postgresql": func(ctx context.Context) error {
			if a := opened(); a != nil {
				return a.Store.Ping(ctx)
			}
			c, err := pgx.Connect(ctx, cfg.DatabaseURL.Reveal())
			if err != nil {
				return err
			}
			return c.Close(ctx)
		},
		"redis": func(ctx context.Context) error {
			if a := opened(); a != nil {
				return broker.Ping(ctx, a.Redis)
			}
			rc, err := Redis(cfg)
			if err != nil {
				return err
			}
			return errors.Join(broker.Ping(ctx, rc), rc.Close())
		},
	}
	if vault != nil {
		ask["vault"] = func(ctx context.Context) error {
			s, err := vault.Seal(ctx)
			if err == nil && s.Sealed {
				err = errors.New("sealed")
			}
			return err
		}
	}
	return telemetry.NewDependencies(ask)
}

// Measure registers the connections of a program that runs for long, and the tasks it makes.
func (a *App) Measure(r prometheus.Registerer) {
	sent := metric.NewCounter("messaging_client_sent_messages_total")
	a.Queue.Sent = func(queue, outcome string) { sent.WithLabelValues(queue, outcome).Inc() }
	r.MustRegister(telemetry.NewPools(a.Pool, a.Redis), sent)
}
