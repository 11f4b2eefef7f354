package doccheck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/deploy/postgres"
	"github.com/claimlinc/nphiesq/internal/broker"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/localserver"
	"github.com/claimlinc/nphiesq/internal/reconcile"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/migrations"
	"github.com/claimlinc/nphiesq/tasks"
)

// site is an installation in which the commands of one page are executed.
type site struct {
	t       *testing.T
	running []*localserver.Server
	dir     string
	env     []string
	dsn     string
	redis   string
}

// newSite starts Redis and the simulator and makes a database. Nothing of the caller's settings gets in.
func newSite(t *testing.T, dsn string) *site {
	t.Helper()
	bin, err := programs()
	require.NoError(t, err)
	s := &site{t: t, dir: t.TempDir(), dsn: dsn}
	for _, name := range []string{"examples", "deploy", "docs"} {
		full, err := filepath.Abs(filepath.Join(root, name))
		require.NoError(t, err)
		require.NoError(t, os.Symlink(full, filepath.Join(s.dir, name)))
	}
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, "tmp"), 0o700))
	// A statement that fails is a command that fails, also where the page lets psql go on.
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, ".psqlrc"), []byte("\\set ON_ERROR_STOP 1\n"), 0o600))
	s.redis = s.newRedis()
	psql, err := localserver.PostgresBinary("psql")
	require.NoError(t, err)
	s.env = []string{
		"PATH=" + strings.Join([]string{bin, filepath.Dir(psql), os.Getenv("PATH")}, ":"), "HOME=" + s.dir, "TMPDIR=" + s.dir + "/tmp", "USER=docs", "LANG=C.UTF-8", "PSQLRC=" + s.dir + "/.psqlrc",
		"DATABASE_URL=" + s.dsn, "REDIS_URL=" + s.redis, "NPHIES_PROVIDER_LICENSE=DEMO-PR-0001", "NPHIES_POLL_INTERVAL=1", "NPHIES_OFFLINE_RETRY=1", "RECONCILE_INTERVAL=1",
		"TEAMS_WEBHOOK_ALLOW_INSECURE=true", "TEAMS_RATE_LIMIT_REQUESTS=1200", "TEAMS_RATE_LIMIT_BURST=60", "ENVIRONMENT=docs", "LOG_FORMAT=text",
	}
	sim := s.start("nphiessim", []string{"--addr", "127.0.0.1:0", "--teams-addr", "127.0.0.1:0"}, func(log string) bool { return strings.Contains(log, "teams_url") })
	var at struct {
		NPHIES string `json:"nphies_url"`
		Teams  string `json:"teams_url"`
	}
	for line := range strings.Lines(sim.Log()) {
		if strings.Contains(line, "teams_url") {
			require.NoError(t, json.Unmarshal([]byte(line), &at))
		}
	}
	s.env = append(s.env, "NPHIES_BASE_URL="+strings.TrimSuffix(at.NPHIES, "/$process-message"))
	for _, x := range config.Settings() {
		if who, ok := strings.CutPrefix(x.Name, "TEAMS_WEBHOOK_"); ok && x.Secret {
			s.env = append(s.env, x.Name+"="+at.Teams+"/workflows/"+strings.ToLower(who)+"/triggers/manual/paths/invoke?sig=docs")
		}
	}
	return s
}

func (s *site) newRedis() string {
	s.t.Helper()
	_, url := s.redisOnPort()
	return url
}

// redisOnPort starts a Redis that redis-cli reaches, too.
func (s *site) redisOnPort(args ...string) (addr, url string) {
	s.t.Helper()
	addr = free(s.t)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(s.t, err)
	r, err := localserver.Redis(s.t.Context(), "", append([]string{"--bind", "127.0.0.1", "--port", port}, args...)...)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { r.Stop(); _ = os.RemoveAll(r.Dir()) })
	return addr, "redis://" + addr + "/0"
}

// start runs one of our programs until the test ends.
func (s *site) start(name string, args []string, ready func(log string) bool) *localserver.Server {
	s.t.Helper()
	bin, err := programs()
	require.NoError(s.t, err)
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), filepath.Join(bin, name), args...)
	cmd.Env = s.env
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	srv, err := localserver.Start(ctx, name, s.dir, cmd, syscall.SIGTERM, func(context.Context) error {
		if log, ok := cmd.Stdout.(fmt.Stringer); !ok || !ready(log.String()) {
			return fmt.Errorf("%s is not ready", name)
		}
		return nil
	})
	require.NoError(s.t, err)
	s.t.Cleanup(srv.Stop)
	s.running = append(s.running, srv)
	return srv
}

// worker starts a worker and waits until it works.
func (s *site) worker() {
	s.t.Helper()
	addr := free(s.t)
	s.env = append(s.env, "HTTP_ADDR="+addr)
	s.start("worker", nil, func(string) bool { return answers(s.t, "http://"+addr+"/readyz") })
}

func answers(t *testing.T, url string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func free(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

var loopback = regexp.MustCompile(`(?:127\.0\.0\.1|localhost):\d{4,5}\b`)

// together puts the blocks of a page together. Ports of loopback addresses become free ones and /tmp a folder of the page, the same
// everywhere in it, so that pages do not meet each other or what else runs here.
func (s *site) together(p page) (text string, n int) {
	s.t.Helper()
	ports := map[string]string{}
	var b strings.Builder
	b.WriteString(`set -eu -o pipefail
at() { echo "@@ $1" >&2; }
await() { for _ in $(seq 200); do if [ -s "$1" ]; then sleep 0.1; kill -0 "$2"; return; fi; kill -0 "$2" || { cat "$1" >&2; return 1; }; sleep 0.05; done; return 1; }
`)
	for _, k := range p.blocks {
		if !k.executed() {
			continue
		}
		n++
		body := strings.ReplaceAll(loopback.ReplaceAllStringFunc(k.text, func(a string) string {
			if ports[a] == "" {
				ports[a] = free(s.t)
			}
			return ports[a]
		}), "/tmp/", s.dir+"/tmp/")
		fmt.Fprintf(&b, "at %s:%d\n", p.name, k.line)
		if k.kind == "serve" {
			fmt.Fprintf(&b, "(\n%s\n) >serve.%d 2>&1 &\nawait serve.%d $!\n", body, n, n)
			continue
		}
		b.WriteString(body)
	}
	return b.String(), n
}

// run executes the blocks of a page.
func (s *site) run(p page) (out string) {
	s.t.Helper()
	script, n := s.together(p)
	require.NotZero(s.t, n)
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.Env, cmd.WaitDelay = s.dir, s.env, 5*time.Second
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // what served until now; often nothing
	out = both.String()
	if err != nil {
		at := strings.LastIndex(out, "@@ ")
		for _, r := range s.running {
			s.t.Log(r.Log())
		}
		s.t.Fatalf("%v in the block %s", err, out[max(at, 0):])
	}
	return out
}

// former makes a database of the former system.
func former(t *testing.T) string {
	t.Helper()
	dsn := testenv.EmptyDatabaseURL(t)
	body, err := os.ReadFile(filepath.Join(root, "migrations/testdata/former.sql"))
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), string(body))
	require.NoError(t, err)
	return dsn
}

// post sends a message to NPHIES, as another system would.
func (s *site) post(file string) {
	s.t.Helper()
	body, err := os.ReadFile(filepath.Join(s.dir, file))
	require.NoError(s.t, err)
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.get("NPHIES_BASE_URL")+"/$process-message", bytes.NewReader(bytes.TrimSpace(body)))
	require.NoError(s.t, err)
	req.Header.Set("Content-Type", "application/fhir+json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	require.NoError(s.t, resp.Body.Close())
	require.Equal(s.t, http.StatusOK, resp.StatusCode)
}

// get is a variable of the site's environment.
func (s *site) get(name string) string {
	for _, v := range slices.Backward(s.env) {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	s.t.Fatalf("no %s", name)
	return ""
}

// special are pages, or folders of pages, that need something else than a migrated database and a worker.
var special = map[string]func(t *testing.T, p page){
	"docs/migration.md": func(t *testing.T, p page) {
		t.Helper()
		super := database(t, "")
		script(t, super, "roles.sql")
		s := newSite(t, asRole(t, super, "nphiesq_app"))
		s.env = append(s.env, "SUPERUSER_URL="+super, "OWNER_URL="+asRole(t, super, "nphiesq_owner"), "FORMER_DATABASE_URL="+former(t), "HTTP_ADDR="+free(t))
		s.post("examples/claims/50-ready-message.json")                                              // NPHIES knows it from the former system
		s.start("worker", nil, func(log string) bool { return strings.Contains(log, "migrate up") }) // it waits for the schema
		require.Contains(t, s.run(p), "\tapproved\n")
		s.listed()
	},
	"docs/runbooks/dead-letters/": deadLetters,
	"docs/runbooks/":              runbook,
	"docs/security.md": func(t *testing.T, p page) {
		t.Helper()
		s := newSite(t, database(t, "TEMPLATE installed"))
		conn, err := pgx.Connect(t.Context(), s.dsn)
		require.NoError(t, err)
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), `DROP ROLE IF EXISTS nphiesq_app_b`)
		require.NoError(t, err)
		s.env = append(s.env, "NEW_DATABASE_URL="+asRole(t, s.dsn, "nphiesq_app_b"))
		s.withUsers()
		s.worker()
		s.run(p)
		_, err = conn.Exec(t.Context(), `DROP OWNED BY nphiesq_app_b; DROP ROLE nphiesq_app_b`)
		require.NoError(t, err)
	},
	"docs/data-protection.md": func(t *testing.T, p page) {
		t.Helper()
		s := least(t)
		s.worker()
		// Another person's number begins with that of the page.
		s.run(page{name: "the start of " + p.name, blocks: []block{{lang: "sh", text: `
sed -e 's/"2000000000"/"20000000001"/' -e 's/"iqama"/"mrn"/' -e 's/CLM-DEMO-0001/CLM-OTHER-0001/' examples/claims/01-professional-approved.json >other.json
grep -q 20000000001 other.json
enqueue submit --wait examples/claims/01-professional-approved.json examples/claims/02-pharmacy-approved.json other.json
enqueue eligibility --wait examples/eligibility/01-eligible.json
`}}})
		pool, err := pgxpool.New(t.Context(), s.get("SUPERUSER_URL"))
		require.NoError(t, err)
		defer pool.Close()
		// One has been over for a month, the other for ten years.
		_, err = pool.Exec(t.Context(), `ALTER TABLE claims DISABLE TRIGGER claims_updated_at_trigger;
			UPDATE claims SET adjudicated_at = adjudicated_at - interval '40 days', updated_at = updated_at - interval '40 days' WHERE identifier_value = 'CLM-DEMO-0001';
			UPDATE claims SET adjudicated_at = adjudicated_at - interval '11 years', updated_at = updated_at - interval '11 years' WHERE identifier_value = 'CLM-DEMO-0002';
			UPDATE claims SET adjudicated_at = adjudicated_at - interval '40 days', updated_at = updated_at - interval '40 days' WHERE identifier_value = 'CLM-OTHER-0001';
			ALTER TABLE claims ENABLE TRIGGER claims_updated_at_trigger; ALTER TABLE eligibility_checks DISABLE TRIGGER USER;
			UPDATE eligibility_checks SET answered_at = answered_at - interval '11 years', updated_at = updated_at - interval '11 years'`)
		require.NoError(t, err)
		_, err = store.New(pool, store.Options{}).SaveMessage(t.Context(), store.Message{Direction: store.In, Event: "claim-response", License: "DEMO-PR-0001", Body: []byte(`{"value": "2000000000"}`)})
		require.NoError(t, err)
		s.run(p)
		var left string
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT coalesce(string_agg(DISTINCT coalesce(c.identifier_value, m.event), ' '), '') FROM messages m LEFT JOIN claims c ON c.id = m.claim_id
			WHERE m.body <> '' AND m.event NOT LIKE 'poll%'`).Scan(&left))
		require.Equal(t, "CLM-OTHER-0001", left, "messages are left of these")
		s.listed()
	},
	"docs/reliability.md": func(t *testing.T, p page) {
		t.Helper()
		s, now := least(t), database(t, "")
		s.env = append(s.env, "NEW_SUPERUSER_URL="+now, "NEW_OWNER_URL="+asRole(t, now, "nphiesq_owner"), "NEW_DATABASE_URL="+asRole(t, now, "nphiesq_app"), "NEW_REDIS_URL="+s.newRedis())
		s.worker()
		s.run(page{name: "the start of " + p.name, blocks: []block{{lang: "sh", text: "enqueue submit examples/claims/01-professional-approved.json\n"}}})
		s.run(p)
		s.env = append(s.env, "DATABASE_URL="+asRole(t, now, "nphiesq_app"))
		s.listed()
	},
}

// script runs scripts of deploy/postgres as the user of dsn.
func script(t *testing.T, dsn string, files ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	for _, file := range files {
		body, err := os.ReadFile(filepath.Join(root, "deploy/postgres", file))
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), string(body))
		require.NoError(t, err, file)
	}
}

// least is a site whose people have the logins that an installation gives them: nphiesq_app, and the owner's and a superuser's beside it.
func least(t *testing.T) *site {
	t.Helper()
	super := database(t, "TEMPLATE installed")
	s := newSite(t, asRole(t, super, "nphiesq_app"))
	s.env = append(s.env, "SUPERUSER_URL="+super, "OWNER_URL="+asRole(t, super, "nphiesq_owner"), "MONITOR_REDIS_URL="+s.redis)
	return s
}

// runbook executes a page about an alert: a worker runs, and whoever acts has the login of enqueue.
func runbook(t *testing.T, p page) {
	t.Helper()
	s := least(t)
	s.withUsers()
	s.worker()
	mine := func(user string) string { return strings.Replace(s.get("REDIS_URL"), "nphiesq-worker", user, 1) }
	s.env = append(s.env, "MONITOR_REDIS_URL="+mine("nphiesq-monitor"), "REDIS_URL="+mine("nphiesq-operator"))
	s.run(p)
}

// listed says that the programs, as their own role, read what the page left behind.
func (s *site) listed() {
	s.t.Helper()
	require.Contains(s.t, s.run(page{name: "the end", blocks: []block{{lang: "sh", text: `
case "$DATABASE_URL" in *nphiesq_app*) ;; *) exit 1 ;; esac
enqueue list
`}}}), "CLM-")
}

// installation is a server of our own, which trusts every role: a superuser's address of it. Its database "installed" has our tables, as
// nphiesq_owner's, and the roles with their rights.
var installation = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pg, err := localserver.Postgres(ctx, "")
	if err != nil {
		return "", err
	}
	testenv.OnExit(func() { pg.Stop(); _ = os.RemoveAll(pg.Dir()) })
	base := localserver.PostgresURL(pg.Dir(), "postgres")
	if err := execSQL(ctx, base, `CREATE DATABASE installed`); err != nil {
		return "", err
	}
	super := localserver.PostgresURL(pg.Dir(), "installed")
	body, err := os.ReadFile(filepath.Join(root, "deploy/postgres/roles.sql"))
	if err != nil {
		return "", err
	}
	if err := execSQL(ctx, super, string(body)); err != nil {
		return "", err
	}
	owner, err := as(super, "nphiesq_owner")
	if err != nil {
		return "", err
	}
	if _, err := migrations.Up(ctx, owner); err != nil {
		return "", err
	}
	return base, execSQL(ctx, owner, postgres.Grants)
})

// execSQL executes SQL by a connection of its own.
func execSQL(ctx context.Context, dsn, sql string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// copying is held while a database is copied: its template must be used by nobody.
var (
	copying   sync.Mutex
	databases int
)

// database makes a database on the server of our own and returns a superuser's address of it. It ends with the server.
func database(t *testing.T, options string) string {
	t.Helper()
	copying.Lock()
	defer copying.Unlock()
	base, err := installation()
	require.NoError(t, err)
	databases++
	name := fmt.Sprintf("page%d", databases)
	require.NoError(t, execSQL(t.Context(), base, `CREATE DATABASE `+name+` `+options))
	u, err := url.Parse(base)
	require.NoError(t, err)
	u.Path = "/" + name
	return u.String()
}

// asRole is dsn with another user, at a server that trusts everybody.
func asRole(t *testing.T, dsn, role string) string {
	t.Helper()
	out, err := as(dsn, role)
	require.NoError(t, err)
	return out
}

func as(dsn, role string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return "", err
	}
	q := u.Query()
	if q.Has("user") {
		q.Set("user", role)
	} else {
		u.User = url.User(role)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// withUsers gives the site a Redis on a port, with the users of deploy/redis and an administrator.
func (s *site) withUsers() {
	s.t.Helper()
	acl, err := os.ReadFile(filepath.Join(root, "deploy/redis/users.acl"))
	require.NoError(s.t, err)
	file := filepath.Join(s.dir, "users.acl")
	text := strings.Replace(strings.ReplaceAll(string(acl), "CHANGE-ME", "before"), "user default off\n", "user default on nopass +ping +info ~* &*\n", 1)
	require.NoError(s.t, os.WriteFile(file, []byte(text+"user admin on >admin ~* &* +@all\n"), 0o600))
	addr, _ := s.redisOnPort("--aclfile", file)
	s.env = append(s.env, "REDIS_URL=redis://nphiesq-worker:before@"+addr+"/0", "ADMIN_REDIS_URL=redis://admin:admin@"+addr, "ADDRESS="+addr, "OLD_PASSWORD=before")
}

// deadLetters executes a page about a kind of dead letters in an installation that has some, without a worker. Once the page is done with
// them a worker runs, and none may be left over: what is tried again gets its answer.
func deadLetters(t *testing.T, p page) {
	t.Helper()
	ctx := t.Context()
	s := least(t)
	s.run(page{name: "the start of " + p.name, blocks: []block{{lang: "sh", text: `
enqueue submit examples/claims/01-professional-approved.json examples/claims/02-pharmacy-approved.json
enqueue eligibility examples/eligibility/01-eligible.json
enqueue poll
`}}})
	pool, err := pgxpool.New(ctx, s.dsn)
	require.NoError(t, err)
	defer pool.Close()
	rc, err := broker.Connect(s.redis)
	require.NoError(t, err)
	defer rc.Close()
	kind, inspector := fault.Kind(strings.TrimSuffix(path.Base(p.name), ".md")), broker.New(rc).Inspector()
	failure := (&fault.Error{Op: "docs", Kind: kind, Code: "TEST-1", Safe: "made for a page"}).Error()
	letters := reconcile.Letters{Store: store.New(pool, store.Options{}), Notify: quiet{}, Log: testenv.Discard()}
	n := 0
	for _, queue := range tasks.Queues() {
		list, err := inspector.ListPendingTasks(queue)
		if errors.Is(err, asynq.ErrQueueNotFound) {
			continue
		}
		require.NoError(t, err)
		for _, x := range list {
			require.NoError(t, inspector.ArchiveTask(queue, x.ID))
			require.NoError(t, letters.Write(ctx, reconcile.Dead{Queue: queue, Type: x.Type, ID: x.ID, Payload: x.Payload, Retried: 3, MaxRetry: 3, ErrorText: failure, LastFailedAt: time.Now()}))
			n++
		}
	}
	require.Equal(t, 4, n, "two claims, a check, a poll")
	out := s.run(p)
	require.Contains(t, out, string(kind), "the page lists its letters")
	s.worker()
	var left string
	t.Cleanup(func() { t.Log("left:", left) })
	testenv.Eventually(t, func() bool {
		require.NoError(t, pool.QueryRow(ctx, `SELECT coalesce(string_agg(task_type || ' ' || state, ', '), '') FROM dead_letters WHERE state IN ('open', 'retrying')`).Scan(&left))
		return left == ""
	}, "all letters are over")
	var resolved int
	require.NoError(t, pool.QueryRow(ctx, `SELECT count(*) FROM dead_letters WHERE state = 'resolved' AND decided_by <> ''`).Scan(&resolved))
	require.NotZero(t, resolved, "the page tries nothing again")
}

// quiet tells nobody.
type quiet struct{}

func (quiet) Notify(context.Context, ...string) error { return nil }

// roles belong to the whole server: pages that make them go one after the other.
var roles sync.Mutex

func executed(p page) bool {
	return slices.ContainsFunc(p.blocks, func(b block) bool { return b.executed() })
}

// atOnce is how many pages are executed at a time: they wait more than they compute.
const atOnce = 6

// TestCommands executes the commands of all pages.
func TestCommands(t *testing.T) {
	t.Parallel()
	_, err := programs()
	require.NoError(t, err)
	n := 0
	var wg sync.WaitGroup
	turn := make(chan struct{}, atOnce)
	for _, p := range pages(t) {
		if !executed(p) {
			continue
		}
		n++
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			t.Run(p.name, func(t *testing.T) { execute(t, p) })
		})
	}
	wg.Wait()
	require.Greater(t, n, 5, "few pages have commands: is the search broken?")
}

// makesRoles reports whether a page changes roles, which are the whole server's.
func makesRoles(p page) bool {
	return strings.Contains(p.text, "roles.sql")
}

func execute(t *testing.T, p page) {
	t.Helper()
	if makesRoles(p) {
		roles.Lock()
		defer roles.Unlock()
	}
	for dir := p.name; dir != "."; dir = path.Dir(dir) { // the nearest folder
		for _, name := range []string{dir, dir + "/"} {
			if run := special[name]; run != nil {
				run(t, p)
				return
			}
		}
	}
	s := newSite(t, testenv.DatabaseURL(t))
	s.worker()
	s.run(p)
}

// TestQueries runs the queries of all pages against the migrated database.
func TestQueries(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), testenv.DatabaseURL(t))
	require.NoError(t, err)
	defer conn.Close(t.Context())
	bad, n := problems{t}, 0
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.lang != "sql" {
				continue
			}
			n++
			tx, err := conn.Begin(t.Context())
			require.NoError(t, err)
			if _, err := tx.Conn().PgConn().Exec(t.Context(), b.text).ReadAll(); err != nil {
				bad.at(p, b.line, "%v", err)
			}
			require.NoError(t, tx.Rollback(t.Context()))
		}
	}
	require.NotZero(t, n)
}
