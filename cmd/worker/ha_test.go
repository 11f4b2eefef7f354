package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/localserver"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

// TestLeastRights runs the real programs, each with the users and roles that deploy/ gives it and no more, on a Redis Cluster
// with TLS and a certificate of our own: every kind of task, a dead letter, the monitor's pages.
func TestLeastRights(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	const password = "p@ss/wörd:1"
	s := newSite(t)

	// Redis.
	acl, err := os.ReadFile("../../deploy/redis/users.acl")
	require.NoError(t, err)
	ca, err := localserver.NewAuthority(t.TempDir())
	require.NoError(t, err)
	cluster, err := localserver.StartCluster(ctx, localserver.RedisOptions{
		Authority: ca, ClientCertificates: true, Users: strings.Split(strings.TrimSpace(strings.ReplaceAll(string(acl), ">CHANGE-ME ", ">"+password+" ")), "\n"),
	}, false)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Remove()) })
	cert, key, err := ca.Issue("client")
	require.NoError(t, err)
	s.env["REDIS_CA_FILE"], s.env["REDIS_CERT_FILE"], s.env["REDIS_KEY_FILE"] = ca.CAFile(), cert, key
	redisAs := func(user string) { s.env["REDIS_URL"] = cluster.URL(user, password) }

	// PostgreSQL.
	pg, err := localserver.Postgres(ctx, "")
	require.NoError(t, err)
	t.Cleanup(func() { pg.Stop(); require.NoError(t, os.RemoveAll(pg.Dir())) })
	dsn := func(role string) string {
		return strings.Replace(localserver.PostgresURL(pg.Dir(), "postgres"), "user=postgres", "user="+role, 1)
	}
	script := func(role, file string) {
		t.Helper()
		body, err := os.ReadFile("../../deploy/postgres/" + file)
		require.NoError(t, err)
		c, err := pgx.Connect(ctx, dsn(role))
		require.NoError(t, err)
		defer c.Close(ctx)
		_, err = c.Exec(ctx, string(body))
		require.NoError(t, err)
	}
	script("postgres", "roles.sql")
	s.env["DATABASE_URL"] = dsn("nphiesq_owner")
	_, stderr, code := s.run(nil, "worker", "migrate", "up")
	require.Zero(t, code, stderr)
	_, stderr, code = s.run(nil, "worker", "migrate", "grants")
	require.Zero(t, code, stderr)
	s.env["DATABASE_URL"] = dsn("nphiesq_app")
	s.db, err = pgx.Connect(ctx, dsn("nphiesq_read"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.db.Close(context.WithoutCancel(ctx)) })

	// Two claims become dead letters before there is a worker.
	redisAs("nphiesq-enqueue")
	s.enqueue("submit", "../../examples/claims/01-professional-approved.json", "../../examples/claims/02-pharmacy-approved.json")
	rc, err := broker.Connect(cluster.URL("nphiesq-monitor", password), broker.TLSFiles(ca.CAFile(), cert, key))
	require.NoError(t, err)
	t.Cleanup(func() { _ = rc.Close() })
	insp := broker.New(rc).Inspector()
	pending, err := insp.ListPendingTasks(tasks.QueueSubmit)
	require.NoError(t, err)
	require.Len(t, pending, 2)
	for _, p := range pending {
		require.NoError(t, insp.ArchiveTask(tasks.QueueSubmit, p.ID))
	}

	redisAs("nphiesq-worker")
	w := s.worker()
	redisAs("nphiesq-enqueue")
	s.enqueue("submit", "../../examples/claims/03-professional-partial.json", "../../examples/claims/04-professional-rejected.json", "../../examples/claims/09-professional-queued.json",
		"../../examples/claims/10-professional-reissued.json", "../../examples/claims/12-professional-http503.json")
	s.enqueue("priorauth", "--wait", "../../examples/priorauth/01-institutional.json")
	s.enqueue("eligibility", "--wait", "../../examples/eligibility/01-eligible.json", "../../examples/eligibility/02-not-covered.json")
	s.enqueue("poll")
	body, err := os.ReadFile("../../examples/claims/01-professional-approved.json")
	require.NoError(t, err)
	silent := filepath.Join(t.TempDir(), "claim.json")
	require.NoError(t, os.WriteFile(silent, []byte(strings.ReplaceAll(string(body), "CLM-DEMO-0001", "CLM-DEMO-0901-SIM-NEVER")), 0o600))
	id, _, _ := strings.Cut(s.enqueue("submit", silent), "\t")
	testenv.Eventually(t, func() bool { return strings.Contains(s.enqueue("status", id), "\tpending\t") }, "the claim is taken in")
	require.Contains(t, s.enqueue("status", "--check", id), "\tstatus\tcompleted\tqueued")
	require.Contains(t, s.enqueue("cancel", "--reason", "WI", "--wait", id), "\tcancel\tcompleted\t")

	testenv.Eventually(t, func() bool { return s.count(`SELECT count(*) FROM dead_letters WHERE state = 'open'`) == 2 }, "two dead letters")
	redisAs("nphiesq-operator")
	var letters []string
	for line := range strings.Lines(s.enqueue("dead", "list", "--output", "json")) {
		var l struct {
			ID string `json:"id"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &l))
		letters = append(letters, l.ID)
	}
	require.Len(t, letters, 2)
	require.Contains(t, s.enqueue("dead", "retry", "--reason", "NPHIES is back", letters[0]), "applied")
	require.Contains(t, s.enqueue("dead", "discard", "--reason", "billed on paper", letters[1]), "applied")

	redisAs("nphiesq-monitor")
	m := newMonitor(t, s)
	for _, path := range []string{
		"/readyz", "/", "/claims", "/dead", "/dead/" + letters[0], "/notifications", "/inbox", "/payments", "/pauses", "/audit", "/queues/",
		"/queues/api/queues", "/queues/api/queues/nphies-submit", "/queues/api/queue_stats", "/queues/api/servers", "/queues/api/scheduler_entries", "/queues/api/redis_info",
		"/queues/api/queues/nphies-submit/active_tasks", "/queues/api/queues/nphies-submit/pending_tasks", "/queues/api/queues/nphies-submit/scheduled_tasks",
		"/queues/api/queues/nphies-submit/retry_tasks", "/queues/api/queues/nphies-submit/archived_tasks", "/queues/api/queues/nphies-submit/completed_tasks",
		"/queues/api/queues/nphies-submit/groups",
	} {
		status, text := m.do(http.MethodGet, path)
		require.Equal(t, http.StatusOK, status, "%s: %s", path, text)
	}
	_, info := m.do(http.MethodGet, "/queues/api/redis_info")
	require.Contains(t, info, `"cluster":true`)
	require.Contains(t, info, `"queue":"nphies-submit"`)
	for _, path := range []string{"/queues/api/queues/nphies-eligibility:pause", "/queues/api/queues/nphies-eligibility:resume"} {
		status, text := m.do(http.MethodPost, path)
		require.Equal(t, http.StatusNoContent, status, "%s: %s", path, text)
	}
	done, err := insp.ListCompletedTasks(tasks.QueueSubmit)
	require.NoError(t, err)
	require.NotEmpty(t, done)
	status, text := m.do(http.MethodDelete, "/queues/api/queues/nphies-submit/completed_tasks/"+done[0].ID)
	require.Equal(t, http.StatusNoContent, status, text)

	redisAs("nphiesq-enqueue")
	testenv.Eventually(t, func() bool {
		return s.count(`SELECT count(*) FROM claims WHERE state IN ('approved', 'partial', 'rejected', 'error', 'cancelled')`) == 9
	}, "all outcomes")
	s.cardsArrivedOnce()
	code, metrics := w.get("/metrics")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, metrics, `asynq_queue_size{queue="nphies-submit"}`)
	w.stop(t)
	require.NotContains(t, w.log.String(), "NOPERM")
	require.NotContains(t, w.log.String(), "lacks a right")
	for _, n := range cluster.Nodes {
		refused, err := n.Do(ctx, "ACL", "LOG")
		require.NoError(t, err)
		require.Empty(t, refused)
	}
}

// monitor is the real program with somebody signed in.
type monitor struct {
	t    *testing.T
	addr string
	c    *http.Client
}

func newMonitor(t *testing.T, s *site) *monitor {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "../monitor").CombinedOutput()
	require.NoError(t, err, string(out))
	hash, err := bcrypt.GenerateFromPassword([]byte("correct horse battery"), bcrypt.MinCost)
	require.NoError(t, err)
	cmd := s.command("monitor")
	cmd.Path = filepath.Join(dir, "monitor")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := &monitor{t: t, addr: l.Addr().String()}
	require.NoError(t, l.Close())
	cmd.Env = append(cmd.Env, "MONITOR_ADDR="+m.addr, "ACTIONS_ADDR=127.0.0.1:0", "MONITOR_HTTP_ADDR=127.0.0.1:0", "MONITOR_USERS=amal:operator:"+string(hash), "MONITOR_INSECURE_COOKIES=true")
	var log syncBuffer
	cmd.Stderr = &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	m.c = &http.Client{Jar: jar}
	testenv.Eventually(t, func() bool { status, _ := m.try(http.MethodGet, "/livez"); return status == http.StatusOK }, "the monitor is there")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+m.addr+"/signin",
		strings.NewReader(url.Values{"name": {"amal"}, "password": {"correct horse battery"}}.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := m.c.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	return m
}

func (m *monitor) do(method, path string) (int, string) {
	m.t.Helper()
	status, text := m.try(method, path)
	require.NotZero(m.t, status, text)
	return status, text
}

func (m *monitor) try(method, path string) (int, string) {
	req, err := http.NewRequestWithContext(m.t.Context(), method, "http://"+m.addr+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := m.c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, fmt.Sprint(err)
	}
	return resp.StatusCode, string(body)
}
