package app

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/secrets"
	"github.com/claimlinc/nphiesq/internal/telemetry"
)

// Measure registers what the programs that run for long have in common: whether their servers answer, their connections, and the tasks
// they make. vault is nil without Vault.
func (a *App) Measure(r prometheus.Registerer, vault *secrets.Vault) {
	ask := map[string]func(context.Context) error{
		"postgresql": a.Store.Ping,
		"redis":      func(ctx context.Context) error { return broker.Ping(ctx, a.Redis) },
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
	sent := metric.NewCounter("messaging_client_sent_messages_total")
	a.Queue.Sent = func(queue, outcome string) { sent.WithLabelValues(queue, outcome).Inc() }
	r.MustRegister(telemetry.NewDependencies(ask), telemetry.NewPools(a.Pool, a.Redis), sent)
}
