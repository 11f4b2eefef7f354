package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/crypto/bcrypt"

	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/localserver"
	"github.com/claimlinc/nphiesq/migrations"
)

// demo is one run.
type demo struct {
	opt      options
	out, err io.Writer
	dir      string
	children []child
	env      []string
	teams    string
	started  time.Time
}

type child struct {
	name string
	*localserver.Server
}

// report is what --report writes.
type report struct {
	OK            bool               `json:"ok"`
	Problems      []string           `json:"problems,omitempty"`
	Claims        []row              `json:"claims"`
	Eligibility   []row              `json:"eligibility"`
	Notifications []notification     `json:"notifications"`
	Addresses     map[string]string  `json:"addresses"`
	Timings       map[string]float64 `json:"timings_seconds"`
}

// row is a claim or an eligibility check as enqueue prints it, with what was expected of it.
type row struct {
	ID         string `json:"id"`
	Identifier struct {
		System string `json:"system"`
		Value  string `json:"value"`
	} `json:"identifier"`
	State           string            `json:"state"`
	Expected        string            `json:"expected"`
	Amounts         map[string]string `json:"amounts,omitempty"`
	SiteEligibility string            `json:"site_eligibility,omitempty"`
	Attempts        int               `json:"attempts"`
	LastError       *struct {
		Code string `json:"code,omitempty"`
		Text string `json:"text"`
	} `json:"last_error,omitempty"`
}

// outcome is what expected.json is about: the state, or the answer's code for an eligibility check.
func (r row) outcome() string {
	switch r.State {
	case "not_eligible", "eligible":
		return r.SiteEligibility
	}
	return r.State
}

type notification struct {
	ID         string  `json:"id"`
	Event      string  `json:"event"`
	Channel    string  `json:"channel"`
	StatusCode *int    `json:"status_code"`
	RetryCount int     `json:"retry_count"`
	Digest     *string `json:"digest,omitempty"`
}

// stop ends the children, the last started first, and removes the folder.
func (d *demo) stop() {
	for _, c := range slices.Backward(d.children) {
		c.Stop()
	}
	if d.dir != "" {
		if err := os.RemoveAll(d.dir); err != nil {
			_, _ = fmt.Fprintf(d.err, "demo: %s remains: %v\n", d.dir, err)
		}
	}
}

func (d *demo) printLogs() {
	for _, c := range d.children {
		if c.name == "worker" || c.name == "monitor" || c.name == "nphiessim" {
			lines := strings.Split(c.Log(), "\n")
			_, _ = fmt.Fprintf(d.err, "--- the last of %s ---\n%s\n", c.name, strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	}
}

func (d *demo) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, "%6.1f s  "+format+"\n", append([]any{time.Since(d.started).Seconds()}, args...)...)
}

// play starts everything, submits the examples and waits for all outcomes and cards.
func (d *demo) play(ctx context.Context) (*report, error) {
	d.started = time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &report{Addresses: map[string]string{}, Timings: map[string]float64{}}
	lap := func(name string) { r.Timings[name] = time.Since(d.started).Round(time.Millisecond).Seconds() }
	if err := localserver.Install(ctx, d.err); err != nil {
		return nil, err
	}
	if err := d.servers(ctx); err != nil {
		return nil, err
	}
	lap("servers_up")
	if err := d.programs(ctx, r.Addresses); err != nil {
		return nil, err
	}
	lap("programs_up")
	if err := d.submit(ctx); err != nil {
		return nil, err
	}
	lap("submitted")
	err := d.await(ctx, r, lap)
	d.show(r)
	return r, err
}

// servers starts Redis and PostgreSQL and migrates.
func (d *demo) servers(ctx context.Context) error {
	var err error
	if d.dir, err = os.MkdirTemp("", "nphiesq-demo"); err != nil {
		return err
	}
	if err := os.Chmod(d.dir, 0o755); err != nil { //nolint:gosec // PostgreSQL runs under another account and must get through
		return err
	}
	redis, err := localserver.Redis(ctx, d.dir, "--appendonly", "yes")
	if err != nil {
		return err
	}
	d.children = append(d.children, child{"redis", redis})
	postgres, err := localserver.Postgres(ctx, d.dir)
	if err != nil {
		return err
	}
	d.children = append(d.children, child{"postgres", postgres})
	dsn := localserver.PostgresURL(postgres.Dir(), "postgres")
	if _, err := migrations.Up(ctx, dsn); err != nil {
		return err
	}
	d.env = []string{"DATABASE_URL=" + dsn, "REDIS_URL=" + localserver.RedisURL(redis.Dir())}
	d.say("Redis and PostgreSQL are up, the schema is there")
	return nil
}

// programs starts the simulator, two workers and the monitor.
func (d *demo) programs(ctx context.Context, addresses map[string]string) error {
	key := "whsec_" + rand.Text() + rand.Text() // random and long enough; base64 reads it
	key = key[:len("whsec_")+48]
	sim, err := d.start(ctx, "nphiessim", []string{"--addr", "127.0.0.1:0", "--teams-addr", "127.0.0.1:0", "--teams-signing-key", key}, nil, func(s string) bool {
		return strings.Contains(s, "teams_url")
	})
	if err != nil {
		return err
	}
	var at struct {
		NPHIES  string `json:"nphies_url"`
		Control string `json:"control_url"`
		Teams   string `json:"teams_url"`
	}
	for line := range strings.Lines(sim.Log()) {
		if strings.Contains(line, "teams_url") {
			if err := json.Unmarshal([]byte(line), &at); err != nil {
				return fmt.Errorf("nphiessim: %w", err)
			}
			break
		}
	}
	d.teams = at.Teams
	monitorAddr, err := freeAddress(ctx, "127.0.0.1:8080")
	if err != nil {
		return err
	}
	password := strings.ToLower(rand.Text()[:10])
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost) // lives as long as the demo
	if err != nil {
		return err
	}
	d.env = append(d.env, "NPHIES_BASE_URL="+strings.TrimSuffix(at.NPHIES, "/$process-message"), "NPHIES_PROVIDER_LICENSE=DEMO-PR-0001", "NPHIES_POLL_INTERVAL=1", "NPHIES_OFFLINE_RETRY=1",
		"TEAMS_WEBHOOK_ALLOW_INSECURE=true", "TEAMS_HMAC_SECRET_KEY="+key, "TEAMS_RATE_LIMIT_REQUESTS=1200", "TEAMS_RATE_LIMIT_BURST=60", "TEAMS_DIGEST_ABOVE=0",
		"ENVIRONMENT=demo", "MONITOR_URL=http://"+monitorAddr, "RECONCILE_INTERVAL=2", "LOG_FORMAT=text",
		"MONITOR_USERS=operator:operator:"+string(hash)+" viewer:viewer:"+string(hash)+" privacy:operator+privacy:"+string(hash), "MONITOR_INSECURE_COOKIES=true",
		"PAGERDUTY_URL="+strings.TrimSuffix(at.Teams, "/"), "PAGERDUTY_ROUTING_KEYS=default="+strings.ToLower(rand.Text() + rand.Text())[:32])
	actions, err := freeAddress(ctx, "")
	if err != nil {
		return err
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails
	d.env = append(d.env, "ACTION_BASE_URL=http://"+actions, "ACTION_LINK_KEYS=demo:"+base64.StdEncoding.EncodeToString(secret[:]))
	for _, s := range config.Settings() {
		if who, ok := strings.CutPrefix(s.Name, "TEAMS_WEBHOOK_"); ok && s.Secret {
			d.env = append(d.env, s.Name+"="+strings.TrimSuffix(at.Teams, "/")+"/workflows/"+strings.ToLower(who)+"/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=demo")
		}
	}
	for n := range 2 {
		addr, err := freeAddress(ctx, "")
		if err != nil {
			return err
		}
		if _, err := d.start(ctx, "worker", nil, []string{"HTTP_ADDR=" + addr}, answers(ctx, "http://"+addr+"/readyz")); err != nil {
			return err
		}
		addresses[fmt.Sprintf("worker %d metrics", n+1)] = "http://" + addr + "/metrics"
	}
	machines, err := freeAddress(ctx, "")
	if err != nil {
		return err
	}
	if _, err := d.start(ctx, "monitor", nil, []string{"MONITOR_ADDR=" + monitorAddr, "ACTIONS_ADDR=" + actions, "MONITOR_HTTP_ADDR=" + machines}, answers(ctx, "http://"+monitorAddr+"/readyz")); err != nil {
		return err
	}
	addresses["monitor"] = "http://" + monitorAddr + "  (operator, viewer or privacy, password " + password + ")"
	addresses["monitor metrics"] = "http://" + machines + "/metrics"
	addresses["queues"] = "http://" + monitorAddr + "/queues/"
	addresses["cards in Teams"] = at.Teams
	addresses["NPHIES simulator"] = at.Control
	d.say("simulator, two workers and the monitor are up")
	return nil
}

// start runs one of our programs.
func (d *demo) start(ctx context.Context, name string, args, env []string, ready func(log string) bool) (*localserver.Server, error) {
	cmd := exec.Command(filepath.Join(d.opt.bin, name), args...) //nolint:gosec,noctx // our own program; it is ended by stop
	cmd.Env = d.environ(env)
	s, err := localserver.Start(ctx, name, d.dir, cmd, syscall.SIGTERM, func(context.Context) error {
		text := ""
		if w, ok := cmd.Stdout.(fmt.Stringer); ok {
			text = w.String() // what it has printed so far
		}
		if !ready(text) {
			return errors.New("not ready")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.children = append(d.children, child{name, s})
	return s, nil
}

// environ is the environment of our programs: nothing of the caller's settings gets in.
func (d *demo) environ(more []string) []string {
	return append(append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir, "USER=demo"}, d.env...), more...) //nolint:forbidigo // PATH is no setting
}

func answers(ctx context.Context, url string) func(string) bool {
	return func(string) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return get(ctx, url, nil) == nil
	}
}

// get fetches url and decodes JSON into v, unless nil.
func get(ctx context.Context, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	if v == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// freeAddress returns want when it is free, else a free port of loopback.
func freeAddress(ctx context.Context, want string) (string, error) {
	if want == "" {
		want = "127.0.0.1:0"
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", want)
	if err != nil && want != "127.0.0.1:0" {
		return freeAddress(ctx, "")
	}
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// enqueue runs the command line and returns what it printed.
func (d *demo) enqueue(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(d.opt.bin, "enqueue"), args...) //nolint:gosec // our own program
	cmd.Env = d.environ(nil)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("enqueue %s: %w\n%s%s", args[0], err, errs.String(), out)
	}
	return out, nil
}

func (d *demo) submit(ctx context.Context) error {
	for _, part := range []struct{ verb, files string }{
		{"eligibility", "eligibility/*json"},
		{"submit", "claims/*json"},
		{"priorauth --wait", "priorauth/0[1-5]*json"},
		{"priorauth", "priorauth/06*json"}, // it changes one of those before, which must be there
	} {
		files, err := filepath.Glob(filepath.Join(d.opt.examples, part.files))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("no examples in %s", filepath.Join(d.opt.examples, part.files))
		}
		out, err := d.enqueue(ctx, append(strings.Fields(part.verb), files...)...)
		if err != nil {
			return err
		}
		d.say("enqueue %s: %d accepted", part.verb, bytes.Count(out, []byte("\tqueued\n")))
	}
	return nil
}

// await looks until every claim and check has its expected outcome and every card has arrived, once.
func (d *demo) await(ctx context.Context, r *report, lap func(string)) error {
	expected := map[string]string{}
	body, err := os.ReadFile(filepath.Join(d.opt.examples, "expected.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, &expected); err != nil {
		return fmt.Errorf("expected.json: %w", err)
	}
	names := make([]string, 0, len(expected))
	for n := range expected {
		names = append(names, n)
	}
	sort.Strings(names)
	pool, err := pgxpool.New(ctx, strings.TrimPrefix(d.env[0], "DATABASE_URL="))
	if err != nil {
		return err
	}
	defer pool.Close()

	deadline := time.After(d.opt.timeout)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	outcomes := false
	for {
		if err := d.look(ctx, r, names, expected, pool); err != nil {
			return err
		}
		if !outcomes && !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, "expected") }) {
			outcomes = true
			lap("outcomes")
			d.say("every claim and check has its outcome")
		}
		if r.OK = len(r.Problems) == 0; r.OK {
			lap("cards")
			d.say("every card has arrived, once")
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("after %s:\n  %s", d.opt.timeout, strings.Join(r.Problems, "\n  "))
		case <-tick.C:
		}
	}
}

// look fills the report and lists what is not yet as it should be.
func (d *demo) look(ctx context.Context, r *report, names []string, expected map[string]string, pool *pgxpool.Pool) error {
	out, err := d.enqueue(ctx, append([]string{"status", "--output", "json"}, names...)...)
	if err != nil {
		return err
	}
	r.Claims, r.Eligibility, r.Notifications, r.Problems = nil, nil, nil, nil
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var x struct {
			row
			Kind string `json:"kind"`
		}
		if err := dec.Decode(&x); err != nil {
			return err
		}
		x.Expected = expected[x.Identifier.Value]
		if x.outcome() != x.Expected {
			r.Problems = append(r.Problems, fmt.Sprintf("%s is %s, expected %s", x.Identifier.Value, x.outcome(), x.Expected))
		}
		if x.Kind != "eligibility" {
			r.Claims = append(r.Claims, x.row)
		} else {
			r.Eligibility = append(r.Eligibility, x.row)
		}
	}
	rows, err := pool.Query(ctx, `SELECT id, event_type, channel, CASE WHEN sent_at IS NULL THEN NULL ELSE status_code END, retry_count, digest_id FROM teams_notifications ORDER BY created_at, id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var n notification
		if err := rows.Scan(&n.ID, &n.Event, &n.Channel, &n.StatusCode, &n.RetryCount, &n.Digest); err != nil {
			return err
		}
		r.Notifications = append(r.Notifications, n)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	var cards []struct {
		WebhookID  string `json:"webhook_id"`
		Duplicates int    `json:"duplicates"`
	}
	if err := get(ctx, strings.TrimSuffix(d.teams, "/")+"/cards.json", &cards); err != nil {
		return err
	}
	arrived := map[string]int{}
	for _, c := range cards {
		arrived[c.WebhookID] += 1 + c.Duplicates
	}
	waiting := 0
	for _, n := range r.Notifications {
		id := "msg_" + n.ID
		if n.Digest != nil {
			id = *n.Digest
		}
		switch {
		case n.StatusCode == nil || arrived[id] == 0:
			waiting++
		case arrived[id] > 1 && n.Digest == nil:
			r.Problems = append(r.Problems, fmt.Sprintf("card %s arrived %d times", id, arrived[id]))
		}
	}
	if waiting > 0 || len(r.Notifications) == 0 {
		r.Problems = append(r.Problems, fmt.Sprintf("%d of %d cards have not arrived", waiting, len(r.Notifications)))
	}
	return nil
}

// show prints the tables.
func (d *demo) show(r *report) {
	w := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "\nCLAIM OR CHECK\tOUTCOME\tEXPECTED\tCLAIMED\tAPPROVED\tATTEMPTS\tLAST ERROR")
	for _, x := range slices.Concat(r.Claims, r.Eligibility) {
		trouble := ""
		if x.LastError != nil {
			trouble = x.LastError.Code
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", x.Identifier.Value, x.outcome(), x.Expected, x.Amounts["claimed"], x.Amounts["approved"], x.Attempts, trouble)
	}
	counts := map[[2]string]int{}
	for _, n := range r.Notifications {
		if n.StatusCode != nil {
			counts[[2]string{n.Event, n.Channel}]++
		}
	}
	keys := make([][2]string, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b [2]string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) })
	_, _ = fmt.Fprintln(w, "\nCARDS\tCHANNEL\tACCEPTED")
	for _, k := range keys {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\n", k[0], k[1], counts[k])
	}
	_, _ = fmt.Fprintln(w, "\nADDRESS")
	names := make([]string, 0, len(r.Addresses))
	for n := range r.Addresses {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", n, r.Addresses[n])
	}
	_ = w.Flush() // standard output
}
