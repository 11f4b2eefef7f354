package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

// TestRegistryIsTheCatalogue: docs/metrics.md says what the worker registers, no more and no less.
func TestRegistryIsTheCatalogue(t *testing.T) {
	for name, value := range map[string]string{
		"DATABASE_URL": testenv.DatabaseURL(t), "REDIS_URL": testenv.RedisURL(t), "HTTP_ADDR": "127.0.0.1:0", "NPHIES_BASE_URL": "http://127.0.0.1:9",
	} {
		t.Setenv(name, value)
	}
	cfg, err := config.Load()
	require.NoError(t, err)
	p, err := newMain(t.Context(), cfg, testenv.Logger(t), tasks.Table())
	require.NoError(t, err)
	t.Cleanup(p.close)
	require.NoError(t, p.open(t.Context()))
	require.Empty(t, metric.Compare(metric.Worker, p.registry))

	families, err := p.registry.Gather()
	require.NoError(t, err)
	require.Empty(t, metric.Verify(families))
	have := map[string]bool{}
	for _, f := range families {
		have[f.GetName()] = true
	}
	for _, r := range metric.Table() {
		if strings.HasPrefix(r.Name, "asynq_") || r.When != "" || strings.Contains(r.Name, "_poll_") || strings.Contains(r.Name, "_mailbox_") || r.Name == "nphiesq_pauses" || r.Of[0] != metric.Worker {
			continue // queues and licences are not known yet
		}
		require.True(t, have[r.Name], "%s is there from the start", r.Name)
	}
}

func TestBadPayerGroups(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://u:p@127.0.0.1:9/x")
	t.Setenv("NPHIES_BASE_URL", "http://127.0.0.1:9")
	t.Setenv("METRICS_PAYER_GROUPS", "1001=Big")
	cfg, err := config.Load()
	require.NoError(t, err)
	_, err = newMain(t.Context(), cfg, testenv.Discard(), tasks.Table())
	require.ErrorContains(t, err, "METRICS_PAYER_GROUPS")
}
