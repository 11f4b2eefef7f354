package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/claimlinc/nphiesq/internal/localserver"
	"github.com/claimlinc/nphiesq/internal/nphiessim"
	"github.com/claimlinc/nphiesq/internal/synth"
	"github.com/claimlinc/nphiesq/migrations"
)

const (
	license    = "DEMO-PR-0001"
	signingKey = "whsec_ZHJpbGxkcmlsbGRyaWxsZHJpbGxkcmlsbGRyaWxs"
)

var stakeholders = []string{"SECURITY_ENG", "CLOUDOPS", "RUNTIME_ENG", "DEVOPS", "SRE", "COMPLIANCE", "NPHIES_INTEGRATION", "PMO"}

// site is one installation under drill: servers, simulator, workers, load.
type site struct {
	opt      options
	patience time.Duration
	broken   bool // on purpose
	dir      string
	rnd      *rand.Rand
	sim      *nphiessim.Sim
	env      map[string]string
	redis    *localserver.RedisNode     // of a plain site
	sentinel *localserver.SentinelGroup // or these
	cluster  *localserver.RedisCluster
	postgres *localserver.PostgresNode
	pair     *localserver.PostgresPair
	fronts   []*front // one for each worker: its own way to NPHIES
	teams    *front
	workers  []*process
	pool     *pgxpool.Pool // the drill's own eyes
	claims   []claim
	// loading is closed when all claims are promised.
	loading chan struct{}

	// pause keeps the load waiting. fed counts the claims that were given to enqueue.
	pause sync.Mutex
	fed   atomic.Int64

	mu       sync.Mutex
	promised map[string]time.Time // by claim number: when enqueue said so
	enqueue  *exec.Cmd            // running now
	started  time.Time
	polling  atomic.Int32
	crowded  atomic.Bool // two polls of one licence at a time
}

type claim struct {
	number string
	line   []byte
}

// process is a program of ours.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *logBuffer
	done chan struct{}
	addr string
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) tail(lines int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := strings.Split(strings.TrimSpace(b.buf.String()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // gone already: fine
	<-p.done
}

// stop is SIGTERM, and waits.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.done
}

// front is an address under which a handler is served, and which can go away and come back.
type front struct {
	addr    string
	handler http.Handler
	mu      sync.Mutex
	server  *http.Server
}

func newFront(h http.Handler) (*front, error) {
	f := &front{handler: h}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return nil, err
	}
	f.addr = l.Addr().String()
	f.serve(l)
	return f, nil
}

func (f *front) serve(l net.Listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server = &http.Server{Handler: f.handler, ReadHeaderTimeout: 10 * time.Second}
	go func(s *http.Server) { _ = s.Serve(l) }(f.server) // ends with down
}

// down refuses connections and cuts those that are open.
func (f *front) down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.server.Close()
}

// up takes connections again.
func (f *front) up() error {
	l, err := net.Listen("tcp", f.addr) //nolint:noctx // at once
	if err != nil {
		return err
	}
	f.serve(l)
	return nil
}

// gate is one worker's way to the simulator. Hooks see each message before and after the simulator does.
type gate struct {
	site *site
	mu   sync.Mutex
	// before and after may be nil. after runs when the simulator has processed the message and before the answer leaves.
	before, after func(event string)
	// answered runs when the answer is out.
	answered func(event string)
}

func (g *gate) hooks() (before, after, answered func(string)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.before, g.after, g.answered
}

func (g *gate) set(change func(*gate)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g)
}

// ServeHTTP takes as long as a payer might.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut off
	}
	event := ""
	for _, e := range []string{"claim-request", "poll-request", "status-check"} {
		if bytes.Contains(body, []byte(`"code":"`+e+`"`)) {
			event = e
			break
		}
	}
	if event == "poll-request" {
		if g.site.polling.Add(1) > 1 {
			g.site.crowded.Store(true)
		}
		defer g.site.polling.Add(-1)
	}
	before, after, answered := g.hooks()
	if before != nil {
		before(event)
	}
	g.site.mu.Lock()
	delay := time.Duration(20+g.site.rnd.IntN(80)) * time.Millisecond
	g.site.mu.Unlock()
	wait(r.Context(), delay)
	r.Body = io.NopCloser(bytes.NewReader(body))
	kept := &keeper{header: http.Header{}}
	panicked := kept.run(g.site.sim.NPHIES(), r)
	if after != nil {
		after(event)
	}
	if panicked {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), kept.header)
	w.WriteHeader(kept.status)
	_, _ = w.Write(kept.body.Bytes()) // the sender may be dead
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	if answered != nil {
		answered(event)
	}
}

// keeper holds an answer back until the hook has run.
type keeper struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *keeper) Header() http.Header { return k.header }
func (k *keeper) WriteHeader(s int) {
	if k.status == 0 {
		k.status = s
	}
}

func (k *keeper) Write(p []byte) (int, error) { k.WriteHeader(http.StatusOK); return k.body.Write(p) }

// run runs h; it reports whether h cut the connection.
func (k *keeper) run(h http.Handler, r *http.Request) (cut bool) {
	defer func() {
		if v := recover(); v != nil {
			if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(v)
			}
			cut = true
		}
	}()
	h.ServeHTTP(k, r)
	k.WriteHeader(http.StatusOK)
	return false
}

// wait waits, or ends with ctx.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// until waits for a condition.
func until(ctx context.Context, limit time.Duration, what string, cond func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !cond() {
		if wait(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return fmt.Errorf("not within %s: %s", limit, what)
		}
	}
	return nil
}

// behaviours is the load's mix of what payers do.
var behaviours = map[string]int{"APPROVE": 4, "PARTIAL": 1, "REJECT": 1, "PEND": 3, "PEND-REJECT": 1, "QUEUED": 1, "PEND-PARTIAL": 1, "REISSUE": 1}

func newSite(ctx context.Context, o options, s scenario, sabotage string) (*site, error) {
	t := &site{
		opt: o, rnd: rand.New(rand.NewPCG(o.seed, uint64(len(s.name)))), promised: map[string]time.Time{}, loading: make(chan struct{}), //nolint:gosec // repeatable on purpose
		patience: settleLimit, started: time.Now(),
	}
	if sabotage != "" {
		t.patience, t.broken = brokenLimit, true
	}
	var err error
	if t.dir, err = os.MkdirTemp("", "drill"); err != nil {
		return t, err
	}
	if err := os.Chmod(t.dir, 0o755); err != nil { //nolint:gosec // PostgreSQL runs under another account and must get through
		return t, err
	}
	t.sim = nphiessim.New(nphiessim.Options{Seed: int64(o.seed), SigningKeys: []string{signingKey}, SlowDelay: time.Second}) //nolint:gosec // any number
	if t.teams, err = newFront(t.sim.Teams()); err != nil {
		return t, err
	}
	for n := range o.claims {
		doc := synth.Claim(o.seed, n, synth.Options{Behaviours: behaviours, Kinds: []string{"professional", "pharmacy"}})
		line, err := json.Marshal(doc)
		if err != nil {
			return t, err
		}
		t.claims = append(t.claims, claim{doc.ClaimNumber, line})
	}
	t.env = map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": t.dir, "NPHIES_PROVIDER_LICENSE": license, "NPHIES_POLL_INTERVAL": "1", "NPHIES_TIMEOUT": "5", "NPHIES_OFFLINE_RETRY": "1", //nolint:forbidigo // PATH is no setting
		"RECONCILE_INTERVAL": "2", "TEAMS_WEBHOOK_ALLOW_INSECURE": "true", "TEAMS_HMAC_SECRET_KEY": signingKey, "TEAMS_RATE_LIMIT_REQUESTS": "60000", "TEAMS_RATE_LIMIT_BURST": "1000",
		"TEAMS_DIGEST_ABOVE": "0", "TEAMS_RETRY_BASE": "1", "TEAMS_MAX_RETRY_DELAY": "2", "TEAMS_CONNECTION_TIMEOUT": "3", "LOG_LEVEL": "info", "ENVIRONMENT": "drill",
		"MONITOR_URL": "https://monitor.example", "NPHIESQ_SABOTAGE": sabotage,
	}
	for _, who := range stakeholders {
		t.env["TEAMS_WEBHOOK_"+who] = "http://" + t.teams.addr + "/workflows/" + strings.ToLower(who) + "/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=drill"
	}
	maps.Copy(t.env, s.env)
	if err := t.servers(ctx, s.servers); err != nil {
		return t, err
	}
	for range 2 {
		f, err := newFront(&gate{site: t})
		if err != nil {
			return t, err
		}
		t.fronts = append(t.fronts, f)
	}
	if s.late {
		return t, nil
	}
	return t, t.migrateAndWork(ctx)
}

func (t *site) migrate(ctx context.Context) error {
	_, err := migrations.Up(ctx, t.env["DATABASE_URL"])
	return err
}

func (t *site) migrateAndWork(ctx context.Context) error {
	if err := t.migrate(ctx); err != nil {
		return err
	}
	for i := range t.fronts {
		if err := t.work(i); err != nil {
			return err
		}
	}
	return t.look(ctx)
}

// look opens the drill's own connection.
func (t *site) look(ctx context.Context) (err error) {
	if t.pool != nil {
		t.pool.Close()
	}
	t.pool, err = pgxpool.New(ctx, t.env["DATABASE_URL"])
	return err
}

// servers starts Redis and PostgreSQL of the wanted kind.
func (t *site) servers(ctx context.Context, kind serverKind) error {
	aof := localserver.RedisOptions{Base: t.dir, Args: []string{"--appendonly", "yes"}}
	var err error
	switch kind {
	case sentinel:
		if t.sentinel, err = localserver.StartSentinel(ctx, localserver.SentinelOptions{RedisOptions: aof}); err == nil {
			t.env["REDIS_URL"] = t.sentinel.URL("", "")
		}
	case cluster:
		if t.cluster, err = localserver.StartCluster(ctx, aof, true); err == nil {
			t.env["REDIS_URL"] = t.cluster.URL("", "")
		}
	default:
		if t.redis, err = localserver.StartRedis(ctx, aof); err == nil {
			t.env["REDIS_URL"] = t.redis.URL("", "")
		}
	}
	if err != nil {
		return err
	}
	o := localserver.PostgresOptions{Base: t.dir, Settings: []string{"fsync=on"}}
	if kind == postgresPair {
		o.Synchronous = true
		if t.pair, err = localserver.StartPostgresPair(ctx, o); err == nil {
			t.env["DATABASE_URL"] = t.pair.URL("postgres", "postgres")
		}
		return err
	}
	if t.postgres, err = localserver.StartPostgres(ctx, o); err == nil {
		t.env["DATABASE_URL"] = t.postgres.URL("postgres", "postgres")
	}
	return err
}

func (t *site) environ(more ...string) []string {
	var out []string
	for k, v := range t.env {
		out = append(out, k+"="+v)
	}
	return append(out, more...)
}

// clockFile tells worker i how wrong its clock is.
func (t *site) clockFile(i int) string { return filepath.Join(t.dir, fmt.Sprintf("clock%d", i)) }

// work starts worker i.
func (t *site) work(i int) error {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	p, err := t.start("worker", nil, nil, "HTTP_ADDR="+addr, "NPHIES_BASE_URL=http://"+t.fronts[i].addr, "NPHIESQ_CLOCK="+t.clockFile(i))
	if err != nil {
		return err
	}
	p.addr = addr
	for len(t.workers) <= i {
		t.workers = append(t.workers, nil)
	}
	t.workers[i] = p
	return nil
}

// ready reports whether worker i says so.
func (t *site) ready(ctx context.Context, i int) (bool, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.workers[i].addr+"/readyz", nil)
	if err != nil {
		return false, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // a reason, for people
	return resp.StatusCode == http.StatusOK, string(body)
}

func (t *site) start(name string, stdin io.Reader, args []string, env ...string) (*process, error) {
	p := &process{name: name, log: &logBuffer{}, done: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(t.opt.bin, name), args...) //nolint:gosec,noctx // our own program; ended by remove
	p.cmd.Env = t.environ(env...)
	p.cmd.Dir, p.cmd.Stdin, p.cmd.Stderr = t.dir, stdin, p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }() // how it ended, the books tell
	return p, nil
}

// remove ends everything and deletes the folder.
func (t *site) remove() {
	if t.pool != nil {
		t.pool.Close()
	}
	t.mu.Lock()
	if t.enqueue != nil {
		_ = t.enqueue.Process.Kill()
	}
	t.mu.Unlock()
	for _, p := range t.workers {
		if p != nil {
			p.kill()
		}
	}
	for _, f := range append(slices.Clone(t.fronts), t.teams) {
		if f != nil {
			f.down()
		}
	}
	if t.sim != nil {
		t.sim.Close()
	}
	if t.redis != nil {
		_ = t.redis.Remove()
	}
	if t.sentinel != nil {
		_ = t.sentinel.Remove()
	}
	if t.cluster != nil {
		_ = t.cluster.Remove()
	}
	if t.postgres != nil {
		_ = t.postgres.Remove()
	}
	if t.pair != nil {
		_ = t.pair.Remove()
	}
	_ = os.RemoveAll(t.dir)
}

// load hands the claims in, as an upstream system would: a few at a time, and what was not taken in once more, until all are.
func (t *site) load(ctx context.Context, pace time.Duration) {
	defer close(t.loading)
	for ctx.Err() == nil {
		var left []claim
		t.mu.Lock()
		for _, c := range t.claims {
			if _, ok := t.promised[c.number]; !ok {
				left = append(left, c)
			}
		}
		t.mu.Unlock()
		if len(left) == 0 {
			return
		}
		t.handIn(ctx, left, pace)
		wait(ctx, 200*time.Millisecond)
	}
}

// handIn runs enqueue once over claims and notes what it promises.
func (t *site) handIn(ctx context.Context, claims []claim, pace time.Duration) {
	stdin, feed := io.Pipe()
	cmd := exec.CommandContext(ctx, filepath.Join(t.opt.bin, "enqueue"), "--output", "json", "submit", "-") //nolint:gosec // our own program
	cmd.Env, cmd.Dir, cmd.Stdin, cmd.WaitDelay = t.environ(), t.dir, stdin, time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return
	}
	if err := cmd.Start(); err != nil {
		return
	}
	t.mu.Lock()
	t.enqueue = cmd
	t.mu.Unlock()
	go func() {
		defer feed.Close()
		for _, c := range claims {
			t.pause.Lock()
			t.pause.Unlock() //nolint:staticcheck // only to wait
			if _, err := feed.Write(append(slices.Clone(c.line), '\n')); err != nil {
				return
			}
			t.fed.Add(1)
			wait(ctx, pace)
		}
	}()
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var line struct {
			Identifier struct{ Value string }
			Result     string
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && (line.Result == "queued" || line.Result == "exists") {
			t.mu.Lock()
			if _, ok := t.promised[line.Identifier.Value]; !ok {
				t.promised[line.Identifier.Value] = time.Now()
			}
			t.mu.Unlock()
		}
	}
	_ = stdin.CloseWithError(io.ErrClosedPipe) // ends the feeder if the program died
	_ = cmd.Wait()                             // what it did not promise is handed in again
	t.mu.Lock()
	t.enqueue = nil
	t.mu.Unlock()
}

func (t *site) promises() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.promised)
}

// promisedBefore lists the claims promised before a moment.
func (t *site) promisedBefore(at time.Time) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for n, when := range t.promised {
		if when.Before(at) {
			out = append(out, n)
		}
	}
	return out
}

// open counts those of the claims that have no outcome in the record; -1 while that cannot be asked.
func (t *site) open(ctx context.Context, numbers []string) int {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var n int
	err := t.pool.QueryRow(ctx, `SELECT count(*) FROM unnest($1::text[]) AS n (v) LEFT JOIN claims c ON c.identifier_value = n.v
		WHERE c.state IS NULL OR c.state NOT IN ('approved', 'partial', 'rejected', 'error', 'cancelled')`, numbers).Scan(&n)
	if err != nil {
		return -1
	}
	return n
}
