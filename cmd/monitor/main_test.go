package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/internal/testidp"
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
		{[]string{"--version"}, 0, " go1.", ""},
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
	settings(t, "")
	var stdout, stderr output
	require.Equal(t, 1, run(t.Context(), nil, strings.NewReader(""), &stdout, &stderr))
	require.Contains(t, stderr.String(), "MONITOR_USERS: nobody may sign in")
	require.Contains(t, stderr.String(), "OIDC_ISSUER")
	t.Setenv("OIDC_ISSUER", "https://idp.example")
	t.Setenv("OIDC_CLIENT_ID", "c")
	t.Setenv("OIDC_CLIENT_SECRET", "hidden")
	t.Setenv("MONITOR_URL", "https://monitor.example")
	t.Setenv("OIDC_ROLES", "boss=x")
	require.Equal(t, 1, run(t.Context(), nil, strings.NewReader(""), &stdout, &stderr))
	require.Contains(t, stderr.String(), "OIDC_ROLES: pair 1: want role=value")
	t.Setenv("OIDC_ISSUER", "")
	t.Setenv("OIDC_CLIENT_ID", "")
	t.Setenv("OIDC_ROLES", "")
	for users, want := range map[string]string{
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
		t.Setenv("MONITOR_ADDR", strings.TrimPrefix(pages, "http://"))
		var stdout, stderr output
		require.Zero(t, run(t.Context(), []string{"health"}, nil, &stdout, &stderr), stderr.String())
		require.Equal(t, "ok\n", stdout.String())
	})
	require.Contains(t, log, "monitor stopping")
	require.NotContains(t, log, strings.TrimPrefix(users, "amal:operator:"))
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// TestSingleSignOnOnBothListeners: the provider is away at the start and comes then; each listener has a cookie of its own; a restart
// ends nothing.
func TestSingleSignOnOnBothListeners(t *testing.T) {
	idp := testidp.Start(t, testidp.User{Name: "nora@contoso.example", Password: "correct horse battery", ID: "oid-nora", Tenant: "t", Roles: []string{"ops"}})
	idp.Away(true)
	settings(t, "")
	pagesAddr, actionsAddr := free(t), free(t)
	for name, value := range map[string]string{
		"MONITOR_ADDR": pagesAddr, "MONITOR_URL": "http://" + pagesAddr, "ACTIONS_ADDR": actionsAddr, "ACTION_BASE_URL": "http://" + actionsAddr,
		"OIDC_ISSUER": idp.Issuer, "OIDC_CLIENT_ID": idp.ClientID, "OIDC_CLIENT_SECRET": idp.ClientSecret, "OIDC_ROLES": "operator=ops", "OIDC_TENANTS": "t",
	} {
		t.Setenv(name, value)
	}
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	c := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(url string) (status int, to, body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		resp, err := c.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, resp.Header.Get("Location"), string(text)
	}
	log := started(t, func(pages, actions string) {
		_, _, page := get(pages + "/signin")
		require.Contains(t, page, "is not available now")
		idp.Away(false)
		testenv.Eventually(t, func() bool { _, _, page := get(pages + "/signin"); return strings.Contains(page, "/signin/start") }, "the provider is found")
		for _, base := range []string{pages, actions} {
			_, to, _ := get(base + "/signin/start?next=/claims")
			status, to, body := get(idp.Submit(t, c, to, "nora@contoso.example", "correct horse battery"))
			require.Equal(t, http.StatusSeeOther, status, body)
			require.Equal(t, "/claims", to)
		}
		status, _, page := get(pages + "/claims")
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, page, "<strong>nora@contoso.example</strong>")
		status, to, _ := get(actions + "/signin?next=/x")
		require.Equal(t, http.StatusSeeOther, status, "signed in")
		require.Equal(t, "/x", to)
	})
	require.Contains(t, log, "signed in")
	require.NotContains(t, log, idp.ClientSecret)
	var names []string
	for _, cookie := range jar.Cookies(&url.URL{Scheme: "http", Host: "127.0.0.1"}) {
		names = append(names, cookie.Name)
	}
	require.ElementsMatch(t, []string{"monitor-session", "monitor-start", "actions-session", "actions-start"}, names)
	started(t, func(pages, _ string) {
		status, _, _ := get(pages + "/claims")
		require.Equal(t, http.StatusOK, status, "the restart ended nothing")
	})
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

// TestStopsWithPagesThatListen: a stream that is open does not hold the end up.
func TestStopsWithPagesThatListen(t *testing.T) {
	settings(t, hashed(t))
	var began time.Time
	started(t, func(pages, _ string) {
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		c := &http.Client{Jar: jar}
		form, err := http.NewRequestWithContext(t.Context(), http.MethodPost, pages+"/signin", strings.NewReader(url.Values{"name": {"amal"}, "password": {"correct horse battery"}}.Encode()))
		require.NoError(t, err)
		form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r, err := c.Do(form)
		require.NoError(t, err)
		require.NoError(t, r.Body.Close())
		listen, err := http.NewRequestWithContext(t.Context(), http.MethodGet, pages+"/live?of=claims", nil)
		require.NoError(t, err)
		stream, err := c.Do(listen)
		require.NoError(t, err)
		t.Cleanup(func() { _ = stream.Body.Close() })
		require.Equal(t, "text/event-stream; charset=utf-8", stream.Header.Get("Content-Type"))
		began = time.Now()
	})
	require.Less(t, time.Since(began), stopWithin/2)
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
