package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/metric"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

// TestRegistryIsTheCatalogue: docs/metrics.md says what the monitor registers, no more and no less; and requests are counted.
func TestRegistryIsTheCatalogue(t *testing.T) {
	settings(t, "a:viewer:$2y$12$abcdefghijklmnopqrstuu5Lh4Yb1vdXhHHLqkBBbBDBwGmZzGuYa")
	cfg, err := config.Load()
	require.NoError(t, err)
	p, err := newProgram(t.Context(), cfg, testenv.Logger(t))
	require.NoError(t, err)
	t.Cleanup(p.close)
	require.Empty(t, metric.Compare(metric.Monitor, p.registry))

	for _, method := range []string{http.MethodGet, "BREW"} {
		p.pages.server.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), method, "/nowhere", nil))
		p.actions.server.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), method, "/nowhere", nil))
	}
	families, err := p.registry.Gather()
	require.NoError(t, err)
	require.Empty(t, metric.Verify(families))
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, want := range []string{`listener="pages",method="get"`, `listener="actions",method="get"`, `method="unknown"`} {
		require.Contains(t, answer.Body.String(), want)
	}
	problems, err := promlint.New(strings.NewReader(answer.Body.String())).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}
