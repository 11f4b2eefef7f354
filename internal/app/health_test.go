package app_test

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/config"
)

func TestHealth(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "waiting: PostgreSQL", http.StatusServiceUnavailable)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	there := srv.Listener.Addr().String()
	_, port, err := net.SplitHostPort(there)
	require.NoError(t, err)
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	for _, c := range []struct {
		addr, args     string
		code           int
		stdout, stderr string
	}{
		{there, "--live", 0, "ok\n", ""},
		{":" + port, "--live", 0, "ok\n", ""},
		{"0.0.0.0:" + port, "--live", 0, "ok\n", ""},
		{there, "", 1, "", "worker: /readyz says 503: waiting: PostgreSQL\n"},
		{"127.0.0.1:0", "", 1, "", "worker: HTTP_ADDR: names no port that could be asked\n"},
		{there, "--dead", 2, "", "worker: unknown arguments: health --dead\n\nhelp"},
		{there, "again", 2, "", "worker: unknown arguments: health again\n\nhelp"},
	} {
		var stdout, stderr bytes.Buffer
		code := app.Health(t.Context(), "worker", strings.Fields(c.args), &stdout, &stderr, "help", func(*config.Config) (string, string) { return "HTTP_ADDR", c.addr })
		require.Equal(t, c.code, code, "%s %s", c.addr, c.args)
		require.Equal(t, c.stdout, stdout.String(), "%s %s", c.addr, c.args)
		require.Equal(t, c.stderr, stderr.String(), "%s %s", c.addr, c.args)
	}
	srv.Close()
	var stdout, stderr bytes.Buffer
	require.Equal(t, 1, app.Health(t.Context(), "worker", nil, &stdout, &stderr, "help", func(*config.Config) (string, string) { return "HTTP_ADDR", there }))
	require.Contains(t, stderr.String(), "connection refused")
}
