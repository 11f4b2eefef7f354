package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// programs builds the real programs once.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "nphiesq-bin")
	if err != nil {
		return "", err
	}
	testenv.OnExit(func() { _ = os.RemoveAll(dir) })
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", dir, ".", "../enqueue")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return dir, nil
})

// site is one installation: servers, simulator and settings.
type site struct {
	t   *testing.T
	bin string
	sim *nphiessim.Sim
	env map[string]string
	db  *pgx.Conn
}

const signingKey = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

func newSite(t *testing.T) *site {
	t.Helper()
	bin, err := programs()
	require.NoError(t, err)
	sim := nphiessim.New(nphiessim.Options{SigningKeys: []string{signingKey}})
	nphies, teams := httptest.NewServer(sim.NPHIES()), httptest.NewServer(sim.Teams())
	t.Cleanup(func() { sim.Close(); nphies.Close(); teams.Close() })
	s := &site{t: t, bin: bin, sim: sim, env: map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": t.TempDir(), "DATABASE_URL": testenv.DatabaseURL(t), "REDIS_URL": testenv.RedisURL(t),
		"NPHIES_BASE_URL": nphies.URL, "NPHIES_PROVIDER_LICENSE": "DEMO-PR-0001", "NPHIES_POLL_INTERVAL": "1", "NPHIES_OFFLINE_RETRY": "1",
		"TEAMS_WEBHOOK_ALLOW_INSECURE": "true", "TEAMS_HMAC_SECRET_KEY": signingKey, "TEAMS_RATE_LIMIT_REQUESTS": "60000", "TEAMS_RATE_LIMIT_BURST": "1000",
		"TEAMS_DIGEST_ABOVE": "0", "TEAMS_RETRY_BASE": "1", "RECONCILE_INTERVAL": "1", "MONITOR_URL": "https://monitor.example",
	}}
	for _, who := range []string{"SECURITY_ENG", "CLOUDOPS", "RUNTIME_ENG", "DEVOPS", "SRE", "COMPLIANCE", "NPHIES_INTEGRATION", "PMO"} {
		s.env["TEAMS_WEBHOOK_"+who] = teams.URL + "/workflows/" + strings.ToLower(who) + "/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=s3cr3tsig"
	}
	s.db, err = pgx.Connect(t.Context(), s.env["DATABASE_URL"])
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.db.Close(context.Background()) })
	return s
}

// command prepares one of our programs with the site's settings.
func (s *site) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), filepath.Join(s.bin, name), args...)
	for k, v := range s.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd
}

// run runs a program to its end and returns what it printed and its exit status.
func (s *site) run(stdin io.Reader, name string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	cmd := s.command(name, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	err := cmd.Run()
	if err != nil {
		var exit *exec.ExitError
		require.ErrorAs(s.t, err, &exit)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (s *site) enqueue(args ...string) string {
	s.t.Helper()
	stdout, stderr, code := s.run(nil, "enqueue", args...)
	require.Zero(s.t, code, "%s%s", stdout, stderr)
	return stdout
}

// running is a worker process.
type running struct {
	cmd  *exec.Cmd
	addr string
	log  *syncBuffer
	done chan struct{}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}
func (b *syncBuffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

// worker starts the real program and waits until it says that it is ready.
func (s *site) worker(args ...string) *running {
	s.t.Helper()
	w := s.begin(args...)
	testenv.Eventually(s.t, func() bool {
		select {
		case <-w.done:
			s.t.Fatalf("worker ended: %s", w.log.String())
		default:
		}
		code, _ := w.get("/readyz")
		return code == http.StatusOK
	}, "the worker is ready")
	return w
}

// begin starts the real program.
func (s *site) begin(args ...string) *running {
	s.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(s.t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	w := &running{addr: l.Addr().String(), log: &syncBuffer{}, done: make(chan struct{})}
	require.NoError(s.t, l.Close())
	w.cmd = s.command("worker", args...)
	w.cmd.Env = append(w.cmd.Env, "HTTP_ADDR="+w.addr)
	w.cmd.Stderr = w.log
	require.NoError(s.t, w.cmd.Start())
	go func() { _ = w.cmd.Wait(); close(w.done) }()
	s.t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		<-w.done
		if s.t.Failed() {
			s.t.Log(w.log.String())
		}
	})
	return w
}

func (w *running) get(path string) (int, string) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+w.addr+path, nil)
	if err != nil {
		return 0, ""
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(body)
}

func (w *running) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, w.cmd.Process.Signal(syscall.SIGTERM))
	<-w.done
	require.True(t, w.cmd.ProcessState.Success(), "a stop on request is a success")
}

func (s *site) count(sql string) int {
	s.t.Helper()
	var n int
	require.NoError(s.t, s.db.QueryRow(s.t.Context(), sql).Scan(&n))
	return n
}

// cardsArrivedOnce fails unless each notification row is one card at the Teams stand-in, and the other way round.
func (s *site) cardsArrivedOnce() {
	s.t.Helper()
	testenv.Eventually(s.t, func() bool { return s.count(`SELECT count(*) FROM teams_notifications WHERE sent_at IS NULL`) == 0 }, "all cards are sent")
	arrived := map[string]int{}
	for _, c := range s.sim.Cards() {
		arrived[c.WebhookID] += 1 + c.Duplicates
	}
	rows, err := s.db.Query(s.t.Context(), `SELECT 'msg_' || id FROM teams_notifications`)
	require.NoError(s.t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(s.t, err)
	want := map[string]int{}
	for _, id := range ids {
		want[id] = 1
	}
	require.True(s.t, maps.Equal(want, arrived), "%d rows, %d cards", len(want), len(arrived))
	require.Empty(s.t, s.sim.RefusedPosts())
}

// TestEveryOutcomeAndEveryCard follows the examples through the real programs.
func TestEveryOutcomeAndEveryCard(t *testing.T) {
	s := newSite(t)
	w := s.worker()
	var files []string
	for _, pattern := range []string{"../../examples/claims/*json"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		files = append(files, found...)
	}
	out := s.enqueue(append([]string{"submit"}, files...)...)
	require.Equal(t, strings.Count(out, "\n"), strings.Count(out, "\tqueued\n"), out)
	require.Equal(t, strings.Count(out, "\n"), strings.Count(s.enqueue(append([]string{"submit"}, files...)...), "\texists\n"), "the same files again")
	auths, err := filepath.Glob("../../examples/priorauth/0[1-5]*json")
	require.NoError(t, err)
	s.enqueue(append([]string{"priorauth", "--wait"}, auths...)...)
	s.enqueue("priorauth", "../../examples/priorauth/06-professional-changed.json")
	checks, err := filepath.Glob("../../examples/eligibility/*json")
	require.NoError(t, err)
	s.enqueue(append([]string{"eligibility"}, checks...)...)

	body, err := os.ReadFile("../../examples/expected.json")
	require.NoError(t, err)
	expected := map[string]string{}
	require.NoError(t, json.Unmarshal(body, &expected))
	var names []string
	for n := range expected {
		names = append(names, n)
	}
	type row struct {
		Identifier struct{ Value string }
		State      string
		Site       string                 `json:"site_eligibility"`
		LastError  *struct{ Text string } `json:"last_error"`
	}
	var missing string
	testenv.Eventually(t, func() bool {
		missing = ""
		sc := bufio.NewScanner(strings.NewReader(s.enqueue(append([]string{"status", "--output", "json"}, names...)...)))
		for sc.Scan() {
			var r row
			require.NoError(t, json.Unmarshal(sc.Bytes(), &r))
			got := r.State
			if r.State == "eligible" || r.State == "not_eligible" {
				got = r.Site
			}
			if got != expected[r.Identifier.Value] {
				missing += r.Identifier.Value + " " + got + "\n"
			}
		}
		return missing == ""
	}, "all outcomes, see missing")
	s.cardsArrivedOnce()
	for _, c := range s.sim.Claims() {
		require.Equal(t, 1, c.DistinctBodies, c.Identifier.Value)
	}
	seen := map[string]bool{}
	for _, c := range s.sim.Cards() {
		require.NotContains(t, string(c.Body), "Demo Patient")
		seen[s.eventOf(c.WebhookID)] = true
	}
	for _, e := range []string{"nphies.claim.submitted", "nphies.claim.approved", "nphies.claim.rejected", "nphies.eligibility.denied", "nphies.api.error"} {
		require.True(t, seen[e], e)
	}

	code, metrics := w.get("/metrics")
	require.Equal(t, http.StatusOK, code)
	for _, m := range []string{
		`teams_notifications_sent_total{event_type="nphies.claim.approved",priority="INFO"}`, "teams_notification_send_duration_seconds_count",
		`nphiesq_task_attempts_total{outcome="ok",task_type="nphies:submit"}`, `asynq_queue_size{queue="nphies-submit"}`, "nphies_request_duration_seconds_count",
	} {
		require.Contains(t, metrics, m)
	}
	code, _ = w.get("/livez")
	require.Equal(t, http.StatusOK, code)
	w.stop(t)
	s.noPersonalData(w)
}

// TestAskAndCancel asks the payer about a claim that has no answer, and cancels it.
func TestAskAndCancel(t *testing.T) {
	s := newSite(t)
	w := s.worker()
	body, err := os.ReadFile("../../examples/claims/01-professional-approved.json")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "claim.json")
	require.NoError(t, os.WriteFile(file, bytes.ReplaceAll(body, []byte("CLM-DEMO-0001"), []byte("CLM-DEMO-0901-SIM-NEVER")), 0o600))
	id, _, _ := strings.Cut(s.enqueue("submit", file), "\t")
	testenv.Eventually(t, func() bool { return strings.Contains(s.enqueue("status", id), "\tpending\t") }, "the claim is taken in")
	require.Contains(t, s.enqueue("status", "--check", id), "\tstatus\tcompleted\tqueued")
	require.Contains(t, s.enqueue("cancel", "--reason", "WI", "--note", "entered twice", "--wait", id), "\tcancel\tcompleted\t")
	require.Contains(t, s.enqueue("status", id), "\tcancelled\t")
	s.cardsArrivedOnce()
	w.stop(t)
}

// TestQuotedEligibility: a claim quotes the answer to an eligibility check of ours, by its number or because it was asked to.
func TestQuotedEligibility(t *testing.T) {
	s := newSite(t)
	w := s.worker()
	s.enqueue("eligibility", "--wait", "../../examples/eligibility/01-eligible.json")
	var check, claim map[string]any
	body, err := os.ReadFile("../../examples/eligibility/01-eligible.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(body, &check))
	require.Contains(t, s.enqueue("status", check["request_number"].(string)), "\n\tbenefit\tMedical Care (category 1), in network, individual, annual, benefit 250000.00 SAR")
	require.Contains(t, s.enqueue("status", "--output", "json", check["request_number"].(string)), `"type":"copay-percent","allowed":"10"`)
	body, err = os.ReadFile("../../examples/claims/01-professional-approved.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(body, &claim))
	claim["patient"], claim["payer"], claim["coverage"] = check["patient"], check["payer"], check["coverage"]
	var value string
	require.NoError(t, s.db.QueryRow(t.Context(), `SELECT response_value FROM eligibility_checks`).Scan(&value))
	require.NotEmpty(t, value)
	for number, args := range map[string][]string{"CLM-DEMO-0911": {"submit", "--wait"}, "CLM-DEMO-0912": {"submit", "--wait", "--quote-eligibility"}} {
		claim["claim_number"] = number
		delete(claim, "eligibility")
		if len(args) == 2 {
			claim["eligibility"] = map[string]any{"request": check["request_number"]}
		}
		body, err := json.Marshal(claim)
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "claim.json")
		require.NoError(t, os.WriteFile(file, body, 0o600))
		require.Contains(t, s.enqueue(append(args, file)...), "\tapproved\n")
		var sent []byte
		require.NoError(t, s.db.QueryRow(t.Context(), `SELECT m.body FROM messages m JOIN claims c ON c.id = m.claim_id WHERE c.identifier_value = $1 AND direction = 'out'`, number).Scan(&sent))
		require.Contains(t, string(sent), value)
	}
	w.stop(t)
}

func (s *site) eventOf(webhookID string) string {
	s.t.Helper()
	var e string
	require.NoError(s.t, s.db.QueryRow(s.t.Context(), `SELECT event_type FROM teams_notifications WHERE 'msg_' || id = $1`, webhookID).Scan(&e))
	return e
}

// noPersonalData searches everything that may not hold a patient or a secret: Redis, logs, metrics, notifications.
func (s *site) noPersonalData(w *running) {
	s.t.Helper()
	rc, err := broker.Connect(s.env["REDIS_URL"])
	require.NoError(s.t, err)
	defer rc.Close()
	ctx := s.t.Context()
	keys, err := rc.Keys(ctx, "*").Result()
	require.NoError(s.t, err)
	require.NotEmpty(s.t, keys)
	var dump strings.Builder
	for _, k := range keys {
		dump.WriteString(k)
		switch rc.Type(ctx, k).Val() {
		case "hash":
			fmt.Fprint(&dump, rc.HGetAll(ctx, k).Val())
		case "string":
			dump.WriteString(rc.Get(ctx, k).Val())
		}
	}
	rows, err := s.db.Query(ctx, `SELECT to_jsonb(n)::text FROM teams_notifications n`)
	require.NoError(s.t, err)
	notes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(s.t, err)
	for where, text := range map[string]string{"Redis": dump.String(), "the log": w.log.String(), "teams_notifications": strings.Join(notes, "\n")} {
		for _, forbidden := range []string{"Patient", "MEM-DEMO", "s3cr3tsig", "MDEyMzQ1", "birthDate", "2000000000"} {
			require.NotContains(s.t, text, forbidden, "in %s", where)
		}
	}
}

// TestFiveHundredClaimsTwoWorkers is the promise at a glance: 500 in, 500 outcomes, 500 at NPHIES, every card once.
func TestFiveHundredClaimsTwoWorkers(t *testing.T) {
	s := newSite(t)
	s.worker()
	s.worker("--queues", "nphies-submit,teams")
	claims := s.enqueue("generate", "-n", "500", "--seed", "42")
	out, stderr, code := s.run(strings.NewReader(claims), "enqueue", "submit", "-")
	require.Zero(t, code, stderr)
	require.Equal(t, 500, strings.Count(out, "\tqueued\n"))
	testenv.Eventually(t, func() bool {
		return s.count(`SELECT count(*) FROM claims WHERE state IN ('approved', 'partial', 'rejected', 'error')`) == 500
	}, "500 outcomes")
	require.Len(t, s.sim.Claims(), 500)
	require.Equal(t, 500, s.sim.Stats().Billed)
	require.Zero(t, s.sim.Stats().Changed)
	s.cardsArrivedOnce()
	require.Equal(t, 500*2*3, s.count(`SELECT count(*) FROM teams_notifications`), "taken in and approved, to three groups each")
}

// TestDeadLetterIsRetriedWithAReason: an archived task becomes a dead letter with its card; a person's retry sends the stored
// bytes; the second person is told.
func TestDeadLetterIsRetriedWithAReason(t *testing.T) {
	s := newSite(t)
	out := s.enqueue("submit", "../../examples/claims/01-professional-approved.json", "../../examples/claims/02-pharmacy-approved.json")
	rc, err := broker.Connect(s.env["REDIS_URL"])
	require.NoError(t, err)
	t.Cleanup(func() { _ = rc.Close() })
	insp := broker.New(rc).Inspector()
	pending, err := insp.ListPendingTasks(tasks.QueueSubmit)
	require.NoError(t, err)
	require.Len(t, pending, 2)
	for _, p := range pending {
		require.NoError(t, insp.ArchiveTask(tasks.QueueSubmit, p.ID))
	}
	s.worker()
	testenv.Eventually(t, func() bool { return strings.Count(s.enqueue("dead", "list"), "\n") == 2 }, "two dead letters")
	s.cardsArrivedOnce()
	require.Positive(t, s.count(`SELECT count(*) FROM teams_notifications WHERE event_type = 'task.dlq' AND stakeholders && '{RUNTIME_ENG}'`))

	first, _, _ := strings.Cut(out, "\t")
	letters := s.enqueue("dead", "list", "--output", "json")
	var ids [2]string
	for line := range strings.Lines(letters) {
		var l struct {
			ID      string `json:"id"`
			ClaimID string `json:"claim_id"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &l))
		if l.ClaimID == first {
			ids[0] = l.ID
		} else {
			ids[1] = l.ID
		}
	}
	_, stderr, code := s.run(nil, "enqueue", "dead", "retry", ids[0])
	require.Equal(t, 2, code, "a reason is needed")
	require.Contains(t, stderr, "--reason")
	_, stderr, code = s.run(nil, "enqueue", "dead", "retry", "--reason", "all of them")
	require.Equal(t, 2, code, "everything is no filter: %s", stderr)
	require.Contains(t, s.enqueue("dead", "retry", "--reason", "see", "--dry-run", "--queue", "nphies-submit"), "would be decided")
	require.Contains(t, s.enqueue("dead", "retry", "--reason", "NPHIES is back", ids[0]), "applied")
	stdout, _, code := s.run(nil, "enqueue", "dead", "retry", "--reason", "me too", ids[0])
	require.Equal(t, 1, code)
	require.Contains(t, stdout, "already ")
	require.Contains(t, s.enqueue("dead", "discard", "--reason", "billed on paper", ids[1]), "applied")

	testenv.Eventually(t, func() bool { return strings.Contains(s.enqueue("status", first), "\tapproved\t") }, "the retried claim is approved")
	require.Contains(t, s.enqueue("status", "CLM-DEMO-0002"), "billed on paper")
	require.Len(t, s.sim.Claims(), 1, "the discarded one never left")
	require.Contains(t, s.enqueue("dead", "show", ids[0]), "NPHIES is back")
	require.Contains(t, s.enqueue("dead", "list", "--state", "resolved"), ids[0])
	s.cardsArrivedOnce()
}

// TestTeamsTroubleNeverTouchesAClaim: what Teams does concerns the rows only.
func TestTeamsTroubleNeverTouchesAClaim(t *testing.T) {
	s := newSite(t)
	s.sim.SetFaults(
		nphiessim.Fault{Match: "teams:pmo", Kind: nphiessim.Fault500, Count: 1},
		nphiessim.Fault{Match: "teams:compliance", Kind: nphiessim.Fault429, Count: 1},
		nphiessim.Fault{Match: "teams:nphies_integration", Kind: nphiessim.Fault401},
	)
	s.worker()
	s.enqueue("submit", "--wait", "../../examples/claims/01-professional-approved.json")
	testenv.Eventually(t, func() bool {
		return s.count(`SELECT count(*) FROM teams_notifications WHERE channel IN ('PMO', 'COMPLIANCE') AND sent_at IS NOT NULL AND status_code = 202`) == 4
	}, "the cards of the channels that recover")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM teams_notifications WHERE retry_count = 1 AND sent_at IS NOT NULL AND channel = 'PMO'`))
	require.Zero(t, s.count(`SELECT count(*) FROM teams_notifications WHERE retry_count > 0 AND channel = 'COMPLIANCE'`), "asked to come later is not a failure")
	testenv.Eventually(t, func() bool {
		return s.count(`SELECT count(*) FROM teams_notifications WHERE channel = 'NPHIES_INTEGRATION' AND retry_count > 0 AND status_code = 401 AND error_message <> ''`) > 0
	}, "the failure is written down")
	require.Equal(t, 1, s.count(`SELECT count(*) FROM claims WHERE state = 'approved'`))
}

func TestBadStartsSayWhatIsWrong(t *testing.T) {
	s := newSite(t)
	good := maps.Clone(s.env)
	for name, tt := range map[string]struct {
		env  map[string]string
		args []string
		code int
		want string
	}{
		"not migrated":    {map[string]string{"DATABASE_URL": testenv.EmptyDatabaseURL(t)}, nil, 1, "run `worker migrate up`"},
		"no database":     {map[string]string{"DATABASE_URL": "postgres:///x?host=/nonexistent"}, nil, 1, "PostgreSQL is away"},
		"no redis":        {map[string]string{"REDIS_URL": "unix:///nonexistent.sock"}, nil, 1, "Redis does not answer"},
		"bad setting":     {map[string]string{"NPHIES_POLL_COUNT": "1000"}, nil, 1, "NPHIES_POLL_COUNT: 1000 is not allowed; want 1 to 100"},
		"bad webhook":     {map[string]string{"TEAMS_WEBHOOK_SRE": "https://evil.example/x"}, nil, 1, "SRE"},
		"bad key":         {map[string]string{"TEAMS_HMAC_SECRET_KEY": "short"}, nil, 1, "TEAMS_HMAC_SECRET_KEY"},
		"missing setting": {map[string]string{"NPHIES_BASE_URL": ""}, nil, 1, "NPHIES_BASE_URL: is needed"},
		"bad certificate": {map[string]string{"NPHIES_CLIENT_PKCS12_FILE": "/nonexistent.p12"}, nil, 1, "NPHIES_CLIENT_PKCS12_FILE: no file /nonexistent.p12"},
		"unknown queue":   {nil, []string{"--queues", "other"}, 2, "there are nphies-eligibility, nphies-submit"},
		"unknown flag":    {nil, []string{"--other"}, 2, "Usage: worker"},
		"unknown verb":    {nil, []string{"migrate", "sideways"}, 2, "migrate up|down|status|version|grants"},
	} {
		t.Run(name, func(t *testing.T) {
			s.env = maps.Clone(good)
			s.env["START_WAIT"] = "0"
			maps.Copy(s.env, tt.env)
			_, stderr, code := s.run(nil, "worker", tt.args...)
			require.Equal(t, tt.code, code, stderr)
			require.Contains(t, stderr, tt.want)
			require.NotContains(t, stderr, "s3cr3tsig")
			require.NotContains(t, stderr, "panic")
		})
	}
}

// TestAWorkerWaitsForItsServers: it lives, says what it waits for, goes on by itself, and can be stopped meanwhile.
func TestAWorkerWaitsForItsServers(t *testing.T) {
	s := newSite(t)
	s.env["DATABASE_URL"] = testenv.EmptyDatabaseURL(t)
	waiting := func(w *running) {
		t.Helper()
		last := ""
		testenv.Eventually(t, func() bool {
			var code int
			code, last = w.get("/readyz")
			return code == http.StatusServiceUnavailable && strings.Contains(last, "worker migrate up")
		}, "it says that it waits for the schema: %s", last)
		code, _ := w.get("/livez")
		require.Equal(t, http.StatusOK, code)
	}
	stopped := s.begin()
	waiting(stopped)
	stopped.stop(t)
	require.Zero(t, stopped.cmd.ProcessState.ExitCode(), stopped.log.String())

	w := s.begin()
	waiting(w)
	_, metrics := w.get("/metrics") // what it is, and what it waits for, shows meanwhile
	for _, want := range []string{`nphiesq_build_info{program="worker"`, `nphiesq_dependency_up{dependency="postgresql"} 1`, `nphiesq_dependency_up{dependency="redis"} 1`, `nphiesq_reconcile_findings_total{finding="poll"} 0`} {
		require.Contains(t, metrics, want)
	}
	s.env["HTTP_ADDR"] = w.addr // the health check of a container has the settings of its program
	_, stderr, code := s.run(nil, "worker", "health")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "/readyz says 503: waiting: the database is not migrated")
	stdout, stderr, code := s.run(nil, "worker", "health", "--live")
	require.Zero(t, code, stderr)
	require.Equal(t, "ok\n", stdout)
	_, stderr, code = s.run(nil, "worker", "migrate", "up")
	require.Zero(t, code, stderr)
	testenv.Eventually(t, func() bool { _, _, code := s.run(nil, "worker", "health"); return code == 0 }, "it goes on")
	w.stop(t)
}

func TestRedisThatEvictsIsRefused(t *testing.T) {
	s := newSite(t)
	rc, err := broker.Connect(s.env["REDIS_URL"])
	require.NoError(t, err)
	defer rc.Close()
	require.NoError(t, rc.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
	_, stderr, code := s.run(nil, "worker")
	require.NoError(t, rc.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "set it to noeviction")
}

func TestMigrateVerbs(t *testing.T) {
	s := newSite(t)
	s.env["DATABASE_URL"] = testenv.EmptyDatabaseURL(t)
	out, stderr, code := s.run(nil, "worker", "migrate", "version")
	require.Equal(t, 1, code, "an old database is not all done")
	require.Equal(t, "0\n", out)
	require.Contains(t, stderr, "migrate up")
	out, _, code = s.run(nil, "worker", "migrate", "up")
	require.Zero(t, code)
	require.Equal(t, strings.Count(out, "\n"), strings.Count(out, "applied\t"))
	_, _, code = s.run(nil, "worker", "migrate", "version")
	require.Zero(t, code)
	out, _, code = s.run(nil, "worker", "migrate", "down")
	require.Zero(t, code)
	require.Contains(t, out, "taken back\t")
	out, _, code = s.run(nil, "worker", "migrate", "status")
	require.Zero(t, code)
	require.Contains(t, out, "missing\t")
}
