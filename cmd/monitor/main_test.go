package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// output may be written and read at the same time.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) { o.mu.Lock(); defer o.mu.Unlock(); return o.b.Write(p) }

func (o *output) String() string { o.mu.Lock(); defer o.mu.Unlock(); return o.b.String() }

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"--help"}, 0, "ACTIONS_ADDR serves", ""},
		{[]string{"--version"}, 0, "\n", ""},
		{[]string{"--nonsense"}, 2, "", "Usage: monitor"},
		{[]string{"serve"}, 2, "", "unknown arguments: serve"},
	} {
		var stdout, stderr output
		require.Equal(t, c.code, run(t.Context(), c.args, strings.NewReader(""), &stdout, &stderr), c.args)
		require.Contains(t, stdout.String(), c.stdout)
		require.Contains(t, stderr.String(), c.stderr)
	}
}

func TestHashReadsOneLine(t *testing.T) {
	var stdout, stderr output
	require.Zero(t, run(t.Context(), []string{"hash"}, strings.NewReader("correct horse battery\r\nmore"), &stdout, &stderr))
	hash := strings.TrimSpace(stdout.String())
	require.NoError(t, bcrypt.CompareHashAndPassword([]byte(hash), []byte("correct horse battery")))
	cost, err := bcrypt.Cost([]byte(hash))
	require.NoError(t, err)
	require.Equal(t, 12, cost)
	require.Equal(t, 1, run(t.Context(), []string{"hash"}, strings.NewReader("short"), &stdout, &stderr))
	require.Contains(t, stderr.String(), "12 to 72 bytes")
}

// settings sets the environment of a monitor on servers of this test.
func settings(t *testing.T, users string) {
	t.Helper()
	for name, value := range map[string]string{
		"DATABASE_URL": testenv.DatabaseURL(t), "REDIS_URL": testenv.RedisURL(t), "MONITOR_ADDR": "127.0.0.1:0", "ACTIONS_ADDR": "127.0.0.1:0", "MONITOR_HTTP_ADDR": "127.0.0.1:0",
		"MONITOR_USERS": users, "MONITOR_INSECURE_COOKIES": "true", "LOG_FORMAT": "json", "LOG_LEVEL": "info",
	} {
		t.Setenv(name, value)
	}
}

func TestRefusesWithoutUsers(t *testing.T) {
	for users, want := range map[string]string{
		"":                        "MONITOR_USERS: nobody may sign in: set this or MONITOR_USERS_FILE (name:role:hash), or OIDC_ISSUER",
		"amal:operator:plaintext": "MONITOR_USERS: entry 1: the hash is no bcrypt hash",
	} {
		settings(t, users)
		var stdout, stderr output
		require.Equal(t, 1, run(t.Context(), nil, strings.NewReader(""), &stdout, &stderr))
		require.Contains(t, stderr.String(), want)
		require.NotContains(t, stderr.String(), "plaintext")
	}
}

func hashed(t *testing.T) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte("correct horse battery"), bcrypt.MinCost)
	require.NoError(t, err)
	return "amal:operator:" + string(h)
}

func TestStartsWithoutRedis(t *testing.T) {
	settings(t, hashed(t))
	t.Setenv("REDIS_URL", "redis://:hunter2@127.0.0.1:1/0")
	log := started(t, func(string, string) {})
	require.Contains(t, log, "started without Redis")
	require.NotContains(t, log, "hunter2")
}

func TestServesBothListenersAndStops(t *testing.T) {
	users := hashed(t)
	settings(t, users)
	log := started(t, func(pages, actions string) {
		for url, want := range map[string]int{
			pages + "/livez": 200, pages + "/readyz": 200, pages + "/signin": 200, pages + "/": 303,
			actions + "/livez": 200, actions + "/": 404, actions + "/signin": 404, actions + "/readyz": 404,
		} {
			require.Equal(t, want, status(t, url), url)
		}
	})
	require.Contains(t, log, "monitor stopping")
	require.NotContains(t, log, strings.TrimPrefix(users, "amal:operator:"))
}

// started runs a monitor, calls visit with its two addresses, stops it and returns its log.
func started(t *testing.T, visit func(pages, actions string)) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var stdout, stderr output
	done := make(chan int, 1)
	go func() { done <- run(ctx, nil, strings.NewReader(""), &stdout, &stderr) }()
	var entry struct {
		Msg     string `json:"msg"`
		Addr    string `json:"addr"`
		Actions string `json:"actions_addr"`
	}
	testenv.Eventually(t, func() bool {
		for line := range strings.Lines(stderr.String()) {
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "monitor started" {
				return true
			}
		}
		return len(done) > 0
	}, "the monitor starts")
	require.NotEmpty(t, entry.Addr, stderr.String())
	visit("http://"+entry.Addr, "http://"+entry.Actions)
	stop()
	require.Zero(t, <-done, stderr.String())
	require.Empty(t, stdout.String())
	return stderr.String()
}

func status(t *testing.T, url string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestWaysFromTeams: each route exists only when its settings are set, and is closed to those who prove nothing.
func TestWaysFromTeams(t *testing.T) {
	post := func(url string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		return resp.StatusCode
	}
	routes := []string{"/api/messages", "/api/outgoing", "/api/v1/flow-actions"}
	settings(t, hashed(t))
	started(t, func(_, actions string) {
		for _, r := range routes {
			require.Equal(t, http.StatusNotFound, post(actions+r), r)
		}
	})
	for name, value := range map[string]string{
		"TEAMS_BOT_APP_ID": "app", "TEAMS_BOT_APP_SECRET": "hunter2", "TEAMS_BOT_TENANT": "tenant", "BOT_OPERATORS": "*", "ACTION_LINK_KEYS": "k1:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=",
		"TEAMS_OUTGOING_TOKEN": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "FLOW_AUDIENCE": "api://x", "FLOW_APPS": "y",
	} {
		t.Setenv(name, value)
	}
	log := started(t, func(_, actions string) {
		for _, r := range routes {
			require.Equal(t, http.StatusUnauthorized, post(actions+r), r)
			require.Equal(t, http.StatusMethodNotAllowed, status(t, actions+r), r)
		}
	})
	require.NotContains(t, log, "hunter2")
	t.Setenv("BOT_OPERATORS", "amal@example.com")
	var stdout, stderr output
	require.Equal(t, 1, run(t.Context(), nil, strings.NewReader(""), &stdout, &stderr))
	require.Contains(t, stderr.String(), `BOT_OPERATORS: "amal@example.com" is not allowed; want Entra object ids`)
}
