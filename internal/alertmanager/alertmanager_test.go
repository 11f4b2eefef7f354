package alertmanager_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/alertmanager"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const token = "a-token-that-is-long-enough"

type oneChannel struct{}

func (oneChannel) Channels(who []cards.Stakeholder) []store.Channel {
	return []store.Channel{{Name: "ALL", Stakeholders: who}}
}

type notifier struct{ channels []string }

func (n *notifier) Notify(_ context.Context, c ...string) error {
	n.channels = append(n.channels, c...)
	return nil
}

func site(t *testing.T) (*store.Store, *notifier, *httptest.Server) {
	t.Helper()
	s, n := store.New(testenv.Pool(t), store.Options{Router: oneChannel{}}), &notifier{}
	srv := httptest.NewServer(alertmanager.New(s, n, token, nil, testenv.Logger(t)))
	t.Cleanup(srv.Close)
	return s, n, srv
}

func post(t *testing.T, srv *httptest.Server, auth, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, strings.NewReader(body))
	require.NoError(t, err)
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, b.String()
}

// alert as Alertmanager 0.25 writes it.
func alert(status, fingerprint string, labels map[string]string) string {
	l, _ := json.Marshal(labels)
	return fmt.Sprintf(`{"receiver":"nphiesq","status":%[1]q,"alerts":[{"status":%[1]q,"labels":%s,"annotations":{"summary":"it is broken","description":"see the runbook"},
		"startsAt":"2026-11-26T10:00:00.5+03:00","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prometheus/graph","fingerprint":%q}],
		"groupLabels":{},"commonLabels":{},"commonAnnotations":{},"externalURL":"http://alertmanager","version":"4","groupKey":"{}:{}","truncatedAlerts":0}`, status, l, fingerprint)
}

func TestAlertsBecomeConditions(t *testing.T) {
	s, n, srv := site(t)
	for _, x := range []struct {
		labels   map[string]string
		event    cards.EventType
		priority cards.Priority
	}{
		{map[string]string{"alertname": "DiskFull", "severity": "critical", "instance": "db1"}, cards.PrometheusAlertEvent, cards.Critical},
		{map[string]string{"alertname": "Slow", "severity": "warning"}, cards.PrometheusAlertEvent, cards.Medium},
		{map[string]string{"alertname": "CrashLoop", "event_type": "kubernetes.pod.crashloop", "namespace": "claims", "pod": "worker-0"}, cards.PodCrashLoopEvent, cards.High},
		{map[string]string{"alertname": "Backup", "event_type": "backup.failed", "severity": "critical", "job": "nightly"}, cards.BackupFailedEvent, cards.Critical},
		{map[string]string{"alertname": "Redis", "event_type": "redis.node.down", "instance": "redis-2"}, cards.RedisNodeDownEvent, cards.Critical},
		{map[string]string{"alertname": "Lag", "event_type": "redis.replica.lagging", "instance": "redis-3"}, cards.RedisReplicaLagEvent, cards.Medium},
		{map[string]string{"alertname": "Conns", "event_type": "postgres.connection.exhausted", "instance": "pg"}, cards.PostgresConnectionsEvent, cards.Critical},
		{map[string]string{"alertname": "PgLag", "event_type": "system.postgres.replication_lag", "instance": "pg"}, cards.PostgresReplicationLagEvent, cards.High},
		{map[string]string{"alertname": "Odd", "event_type": "nphies.claim.approved"}, cards.PrometheusAlertEvent, cards.Medium},
	} {
		fingerprint := x.labels["alertname"]
		code, body := post(t, srv, "Bearer "+token, alert("firing", fingerprint, x.labels))
		require.Equal(t, 200, code, body)
		list, err := s.Conditions(t.Context(), false)
		require.NoError(t, err)
		found := false
		for _, c := range list {
			if c.Identity == fingerprint {
				found = true
				require.Equal(t, []any{x.event, x.priority}, []any{c.Type, c.Priority}, fingerprint)
			}
		}
		require.True(t, found, fingerprint)
		for range 2 {
			code, _ = post(t, srv, "Bearer "+token, alert("resolved", fingerprint, x.labels))
			require.Equal(t, 200, code)
		}
	}
	list, err := s.Conditions(t.Context(), false)
	require.NoError(t, err)
	require.Empty(t, list)
	notes, err := s.Notifications(t.Context(), nil, 100)
	require.NoError(t, err)
	require.Len(t, notes, 12, "the six urgent ones began and ended at once; the others passed before they were told")
	require.NotEmpty(t, n.channels)
}

func TestWhatIsNotAlertmanagerIsRefused(t *testing.T) {
	s, _, srv := site(t)
	good := alert("firing", "f", map[string]string{"alertname": "X", "severity": "critical"})
	many := `{"version":"4","alerts":[` + strings.TrimSuffix(strings.Repeat(`{"status":"firing"},`, 201), ",") + `]}`
	for name, x := range map[string]struct {
		auth, body string
		code       int
	}{
		"no token":    {"", good, 401},
		"wrong token": {"Bearer other", good, 401},
		"basic":       {"Basic " + token, good, 401},
		"no JSON":     {"Bearer " + token, "{", 400},
		"version":     {"Bearer " + token, `{"version":"3"}`, 400},
		"too many":    {"Bearer " + token, many, 413},
		"too large":   {"Bearer " + token, `{"version":"4","receiver":"` + strings.Repeat("x", 2<<20) + `"}`, 400},
	} {
		code, body := post(t, srv, x.auth, x.body)
		require.Equal(t, x.code, code, name)
		require.NotContains(t, body, token)
	}
	off := httptest.NewServer(alertmanager.New(s, &notifier{}, "", nil, testenv.Logger(t)))
	defer off.Close()
	code, _ := post(t, off, "Bearer ", good)
	require.Equal(t, 401, code, "without a token nobody may")
	resp, err := http.Get(srv.URL) //nolint:noctx // a test
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 405, resp.StatusCode)
	list, err := s.Conditions(t.Context(), true)
	require.NoError(t, err)
	require.Empty(t, list)
}

type broken struct{}

func (broken) Raise(context.Context, store.Condition) ([]string, error) {
	return nil, errors.New("away")
}

func (broken) Clear(context.Context, cards.EventType, string) ([]string, error) {
	return nil, errors.New("away")
}

func TestWhatCannotBeKeptIsAskedForAgain(t *testing.T) {
	srv := httptest.NewServer(alertmanager.New(broken{}, &notifier{}, token, nil, testenv.Logger(t)))
	defer srv.Close()
	code, _ := post(t, srv, "Bearer "+token, alert("firing", "f", map[string]string{"alertname": "X"}))
	require.Equal(t, 503, code)
}

// realAlertmanager runs it, where it is installed, and returns a function that gives it an alert; nil where it is not.
func realAlertmanager(t *testing.T, config string) func(labels map[string]string, ends string) {
	t.Helper()
	bin, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		require.Empty(t, os.Getenv("CI"), "prometheus-alertmanager is missing: apt-get install prometheus-alertmanager")
		t.Log("left out: prometheus-alertmanager is not installed (Debian: apt-get install prometheus-alertmanager)")
		return nil
	}
	dir := t.TempDir()
	addr := freeAddr(t)
	file := dir + "/alertmanager.yml"
	writeFile(t, file, config)
	cmd := exec.CommandContext(t.Context(), bin, "--config.file="+file, "--storage.path="+dir, "--web.listen-address="+addr, "--cluster.listen-address=")
	var log bytes.Buffer
	cmd.Stderr = &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return func(labels map[string]string, ends string) {
		t.Helper()
		l, err := json.Marshal(labels)
		require.NoError(t, err)
		testenv.Eventually(t, func() bool {
			body := `[{"labels":` + string(l) + `,"annotations":{"summary":"s"}` + ends + `}]`
			resp, err := http.Post("http://"+addr+"/api/v2/alerts", "application/json", strings.NewReader(body)) //nolint:noctx // a test
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			return resp.StatusCode == 200
		}, "Alertmanager takes the alert")
	}
}

// TestTheRealAlertmanager, where it is installed, is understood.
func TestTheRealAlertmanager(t *testing.T) {
	s, _, srv := site(t)
	send := realAlertmanager(t, fmt.Sprintf("route:\n  receiver: nphiesq\n  group_wait: 0s\n  group_interval: 1s\nreceivers:\n- name: nphiesq\n  webhook_configs:\n  - url: %s/api/v1/alertmanager\n    send_resolved: true\n    http_config:\n      authorization:\n        credentials: %s\n", srv.URL, token))
	if send == nil {
		return
	}
	firing := func(want int) {
		testenv.Eventually(t, func() bool {
			list, err := s.Conditions(t.Context(), false)
			return err == nil && len(list) == want
		}, "%d alerts fire", want)
	}
	labels := map[string]string{"alertname": "Real", "severity": "critical"}
	send(labels, "")
	firing(1)
	send(labels, `,"endsAt":"`+time.Now().Add(-time.Second).UTC().Format(time.RFC3339)+`"`)
	firing(0)
}

// TestTheExampleOfAlertmanager, deploy/prometheus/alertmanager.yml, gets alerts here, and those that would feed themselves elsewhere only. What
// follows from another by necessity is held back, and nothing else.
func TestTheExampleOfAlertmanager(t *testing.T) {
	s, _, srv := site(t)
	var mu sync.Mutex
	outside := map[string]bool{}
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct {
			Alerts []struct{ Labels map[string]string }
		}
		_ = json.NewDecoder(r.Body).Decode(&m)
		mu.Lock()
		defer mu.Unlock()
		for _, a := range m.Alerts {
			outside[a.Labels["alertname"]] = true
		}
	}))
	t.Cleanup(other.Close)
	body, err := os.ReadFile("../../deploy/prometheus/alertmanager.yml")
	require.NoError(t, err)
	file := t.TempDir() + "/token"
	writeFile(t, file, token+"\n")
	config := string(body)
	for what, with := range map[string]string{
		"http://monitor:8081":                                   srv.URL,
		"/run/secrets/alertmanager_token":                       file,
		"group_wait: 30s":                                       "group_wait: 0s",
		"email_configs:\n      - to: on-call@example.sa":        "webhook_configs:\n      - url: " + other.URL,
		"  smtp_auth_password_file: /run/secrets/smtp_password": "",
	} {
		require.Equal(t, 1, strings.Count(config, what), what)
		config = strings.Replace(config, what, with, 1)
	}
	send := realAlertmanager(t, config)
	if send == nil {
		return
	}
	send(map[string]string{"alertname": "TeamsOutboxLag", "severity": "critical", "way": "outside"}, "")
	send(map[string]string{"alertname": "NphiesqNoWorker", "severity": "critical", "way": "both"}, "")
	send(map[string]string{"alertname": "NphiesqPollsFailing", "severity": "critical"}, "")
	send(map[string]string{"alertname": "NphiesqRedisAway", "severity": "critical", "way": "both", "dependency": "redis", "program": "worker"}, "")
	send(map[string]string{"alertname": "NphiesqPostgreSQLAway", "severity": "critical", "way": "both", "dependency": "postgresql", "program": "monitor"}, "")
	for _, name := range []string{"NphiesqWorkWaiting", "NphiesqPollsMissing"} { // Redis explains them
		send(map[string]string{"alertname": name, "severity": "critical"}, "")
	}
	for _, l := range []map[string]string{{"dependency": "redis", "program": "monitor"}, {"dependency": "redis", "program": "worker"}} { // the second is explained
		send(map[string]string{"alertname": "NphiesqServerUnreached", "severity": "critical", "dependency": l["dependency"], "program": l["program"], "instance": l["program"] + ":1"}, "")
	}
	send(map[string]string{"alertname": "NphiesqRecordUnread", "severity": "critical"}, "") // a monitor's trouble explains nothing of the workers'
	testenv.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return outside["TeamsOutboxLag"] && outside["NphiesqNoWorker"]
	}, "two are told outside")
	want := []string{"NphiesqNoWorker", "NphiesqPollsFailing", "NphiesqPostgreSQLAway", "NphiesqRecordUnread", "NphiesqRedisAway", "NphiesqServerUnreached"}
	var here []string
	testenv.Eventually(t, func() bool {
		list, err := s.Conditions(t.Context(), false)
		here = nil
		for _, c := range list {
			var a cards.Alert
			require.NoError(t, json.Unmarshal(c.Details, &a))
			require.Equal(t, cards.Critical, c.Priority, a.Name)
			here = append(here, a.Name)
		}
		slices.Sort(here)
		return err == nil && len(here) >= len(want)
	}, "%v become cards", want)
	require.Equal(t, want, here)
	require.NotContains(t, outside, "NphiesqPollsFailing")
}

// TestWhoTriesTokensIsNotListenedTo for a while.
func TestWhoTriesTokensIsNotListenedTo(t *testing.T) {
	s, n := store.New(testenv.Pool(t), store.Options{Router: oneChannel{}}), &notifier{}
	limit := ratelimit.NewFailures(testenv.Redis(t), "alertmanager", ratelimit.FailureSettings{Limit: 3, Window: time.Minute})
	srv := httptest.NewServer(alertmanager.New(s, n, token, limit, testenv.Logger(t)))
	defer srv.Close()
	good := alert("firing", "f", map[string]string{"alertname": "X", "severity": "critical"})
	code, _ := post(t, srv, "Bearer "+token, good)
	require.Equal(t, 200, code)
	for range 3 {
		code, _ = post(t, srv, "Bearer wrong", good)
		require.Equal(t, 401, code)
	}
	code, _ = post(t, srv, "Bearer "+token, good)
	require.Equal(t, 429, code, "nor if it has the right one by now")
}
