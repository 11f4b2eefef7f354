package notify

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/metric"
)

// KV reads the values of a secret and its version; secrets.Vault does.
type KV interface {
	ReadKV(ctx context.Context, path string) (values map[string]string, version int, err error)
}

// WatchOptions of a Watch.
type WatchOptions struct {
	// Vault and Path say where the webhooks are kept. The secret's keys are the stakeholders in lower case ("sre"), each with the
	// address; "sre_previous" is the address before, while one is being changed. "oauth_channels" names the stakeholders whose triggers
	// demand a login (or "all"), "oauth_tenant", "oauth_client_id" and "oauth_client_secret" are that login.
	Vault KV
	Path  string
	// Interval is the time between two reads: 30 s.
	Interval time.Duration
	// Directory gets what was read.
	Directory *Directory
	// Environment is what the settings say: it counts for those of whom the secret says nothing.
	Environment map[cards.Stakeholder]Hook
	// Login and LoginChannels are what the settings say about the login; the secret's keys go before each.
	Login         LoginSettings
	LoginChannels string
	Log           *slog.Logger
	// Trouble is told of each problem once, as long as it stays the same; it may be nil.
	Trouble func(ctx context.Context, p Problem)
	// Rotated is told when another version of the secret came into use; it may be nil.
	Rotated func(ctx context.Context, version int)
}

// Problem is something in the secret that cannot be used. The others of the secret are in use all the same.
type Problem struct {
	// Stakeholder whose webhook it is, or "" when it is nobody's.
	Stakeholder cards.Stakeholder
	// Text may be shown.
	Text string
	// Version is that of the secret.
	Version int
}

// Watch keeps a Directory in step with a secret in Vault. It is safe for concurrent use.
type Watch struct {
	opt   WatchOptions
	login func() LoginSettings // a function for the reason given at WebhookURL
	poke  chan struct{}

	mu       sync.Mutex
	version  int                        // of the secret, in use; 0 before the first read
	good     map[cards.Stakeholder]Hook // the last usable ones that the secret held
	goodAuth Login                      // as the last usable one
	goodWho  []cards.Stakeholder
	told     string                       // what was last said about reading
	missing  string                       // what was last said about that
	state    map[cards.Stakeholder]string // as it was last, printable
	problems map[Problem]bool
	reads    map[fault.Kind]int
	found    map[cards.Stakeholder]int // problems, in all
}

// NewWatch returns a Watch. The Directory counts as not known until Vault has answered once.
func NewWatch(o WatchOptions) *Watch {
	if o.Interval <= 0 {
		o.Interval = 30 * time.Second
	}
	login := o.Login
	o.Login = LoginSettings{}
	o.Directory.SetKnown(false)
	return &Watch{
		opt: o, login: func() LoginSettings { return login }, poke: make(chan struct{}, 1),
		reads: map[fault.Kind]int{}, found: map[cards.Stakeholder]int{}, state: map[cards.Stakeholder]string{},
	}
}

// eager is the time between two reads while nothing is known, and the least time between two that somebody asked for.
const eager = 5 * time.Second

// Run reads again and again until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	last := time.Now()
	for {
		wait := w.opt.Interval
		if !w.opt.Directory.Known() {
			wait = min(wait, eager)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		case <-w.poke:
			t.Stop()
			if time.Since(last) < min(eager, w.opt.Interval) {
				continue
			}
		}
		last = time.Now()
		_ = w.Refresh(ctx) // it is in the log
	}
}

// Hurry asks for a read before its time: a webhook was refused, and another one may be there.
func (w *Watch) Hurry() {
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

// Refresh reads the secret once and puts it to use.
//
// An error is a fault: Kind Unavailable while Vault is away, Config when it refuses. What was in use stays in use then. That there is
// no secret is no error: the settings count.
func (w *Watch) Refresh(ctx context.Context) error {
	values, version, err := w.opt.Vault.ReadKV(ctx, w.opt.Path)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads[fault.KindOf(err)]++
	var fresh []Problem
	rotated := false
	switch {
	case fault.Is(err, fault.NotFound):
		w.say(ctx, err)
		err, w.good, w.goodAuth, w.goodWho = nil, nil, Login{}, nil
	case fault.Is(err, fault.Unavailable):
		if ctx.Err() == nil {
			w.say(ctx, err)
		}
		return err
	case err != nil:
		w.say(ctx, err)
		w.opt.Directory.SetKnown(true) // a person must act; until then the settings and what was read before count
	default:
		w.say(ctx, nil)
		fresh = w.read(ctx, values, version)
		rotated = w.version != 0 && version != w.version
		w.version = version
	}
	w.apply(ctx)
	if rotated && w.opt.Rotated != nil {
		w.opt.Rotated(ctx, version)
	}
	if w.opt.Trouble != nil {
		for _, p := range fresh { // told by way of what works now
			w.opt.Trouble(ctx, p)
		}
	}
	return err
}

// say logs how reading goes when that has changed.
func (w *Watch) say(ctx context.Context, err error) {
	path, text := slog.String("path", w.opt.Path), "ok"
	if err != nil {
		text = err.Error()
	}
	if text == w.told {
		return
	}
	w.told = text
	switch {
	case err == nil:
		w.opt.Log.LogAttrs(ctx, slog.LevelInfo, "webhooks are read from Vault", path)
	case fault.Is(err, fault.NotFound):
		w.opt.Log.LogAttrs(ctx, slog.LevelInfo, "Vault has no secret with webhooks, the settings count", path)
	default:
		w.opt.Log.LogAttrs(ctx, slog.LevelWarn, "webhooks cannot be read from Vault", path, slog.String("error", text))
	}
}

// The keys of the secret beside those of the stakeholders.
const (
	previousKey   = "_previous"
	loginChannels = "oauth_channels"
	loginTenant   = "oauth_tenant"
	loginID       = "oauth_client_id"
	loginSecret   = "oauth_client_secret" //nolint:gosec // the name of a key
)

var printableKey = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,40}$`)

// read takes what is usable out of the secret and logs the rest. It returns what was not known to be unusable.
func (w *Watch) read(ctx context.Context, values map[string]string, version int) (fresh []Problem) {
	var found []Problem
	next := map[cards.Stakeholder]Hook{}
	rest := maps.Clone(values)
	for _, s := range cards.Stakeholders() {
		key := strings.ToLower(string(s))
		url, previous := strings.TrimSpace(values[key]), strings.TrimSpace(values[key+previousKey])
		delete(rest, key)
		delete(rest, key+previousKey)
		if url == "" {
			if previous != "" {
				found = append(found, Problem{s, "webhook of " + string(s) + ": there is a previous address and no current one", version})
			}
			continue
		}
		h, err := w.opt.Directory.Parse(s, url)
		if err == nil && previous != "" {
			var p Hook
			if p, err = w.opt.Directory.Parse(s, previous); err == nil && p.Previous.IsZero() {
				h.Previous = p.URL
			} else if err != nil { // the current one is good
				found = append(found, Problem{s, "previous " + err.Error(), version})
				err = nil
			}
		}
		if err != nil {
			found = append(found, Problem{s, err.Error(), version})
			h = w.good[s]
		}
		if !h.URL.IsZero() {
			next[s] = h
		}
	}
	w.good = next
	if problem := w.readLogin(values, rest); problem != "" {
		found = append(found, Problem{"", problem, version})
	}
	for _, key := range slices.Sorted(maps.Keys(rest)) {
		if !printableKey.MatchString(key) {
			key = "(not shown)" // an address in the place of a key, perhaps
		}
		found = append(found, Problem{"", "unknown key " + key + ": keys are the stakeholders in lower case, with _previous for an address that is on its way out, and oauth_…", version})
	}
	now := map[Problem]bool{}
	for _, p := range found {
		same := p
		same.Version = 0 // told once, however often the rest of the secret changes
		now[same] = true
		if w.problems[same] {
			continue
		}
		w.found[p.Stakeholder]++
		w.opt.Log.LogAttrs(ctx, slog.LevelError, "a webhook in Vault cannot be used", slog.String("path", w.opt.Path),
			slog.Int("version", version), slog.String("stakeholder", string(p.Stakeholder)), slog.String("error", p.Text))
		fresh = append(fresh, p)
	}
	w.problems = now
	return fresh
}

// readLogin joins the login of the secret with that of the settings. It returns what is wrong with it; the one before stays then.
func (w *Watch) readLogin(values, rest map[string]string) string {
	s, channels := w.login(), w.opt.LoginChannels
	for key, to := range map[string]*string{loginChannels: &channels, loginTenant: &s.Tenant, loginID: &s.ClientID, loginSecret: &s.ClientSecret} {
		if v := strings.TrimSpace(values[key]); v != "" {
			*to = v
		}
		delete(rest, key)
	}
	who, err := LoginChannels(channels)
	if err != nil {
		return err.Error()
	}
	w.goodWho = who
	if len(who) == 0 {
		return ""
	}
	login, err := NewLogin(s)
	if err != nil {
		return err.Error()
	}
	w.goodAuth = login
	return ""
}

// LoginChannels reads a list of stakeholders, separated by commas or blanks, in either case; "all" stands for all of them.
//
// Errors wrap ErrLogin.
func LoginChannels(list string) ([]cards.Stakeholder, error) {
	var out []cards.Stakeholder
	for _, f := range strings.FieldsFunc(strings.ToUpper(list), func(r rune) bool { return r == ',' || r == ' ' }) {
		if f == "ALL" {
			return cards.Stakeholders(), nil
		}
		s := cards.Stakeholder(f)
		if !s.Valid() {
			return nil, fmt.Errorf("%w: the list of channels with a login names an unknown stakeholder", ErrLogin)
		}
		out = append(out, s)
	}
	return out, nil
}

// apply puts to use what the secret and the settings hold, and logs what is another than before.
func (w *Watch) apply(ctx context.Context) {
	hooks := maps.Clone(w.opt.Environment)
	if hooks == nil {
		hooks = map[cards.Stakeholder]Hook{}
	}
	maps.Copy(hooks, w.good)
	for _, s := range w.goodWho {
		if h, ok := hooks[s]; ok && !w.goodAuth.IsZero() {
			h.Login = w.goodAuth // whether the address comes from the secret or from the settings
			hooks[s] = h
		}
	}
	warnings := w.opt.Directory.Use(hooks)
	w.opt.Directory.SetKnown(true)
	for _, s := range cards.Stakeholders() {
		h, _ := w.opt.Directory.Hook(string(s))
		state := h.URL.String()
		if !h.Previous.IsZero() {
			state += " before " + h.Previous.String()
		}
		if before := w.state[s]; state != before {
			w.state[s] = state
			if state != "" {
				w.opt.Log.LogAttrs(ctx, slog.LevelInfo, "webhook in use", slog.String("stakeholder", string(s)), slog.String("webhook", state))
			}
		}
	}
	missing := fmt.Sprint(warnings)
	if missing != w.missing {
		w.missing = missing
		for _, m := range warnings {
			w.opt.Log.LogAttrs(ctx, slog.LevelWarn, "a channel is missing", slog.String("stakeholder", string(m.Stakeholder)), slog.String("warning", m.Text))
		}
	}
}

// collector shows a Directory and its Watch as metrics.
type collector struct {
	d                                  *Directory
	w                                  *Watch
	configured, unusable, found, reads *prometheus.Desc
}

// Collector returns metrics of a Directory and of the Watch that keeps it, nil if none does.
func Collector(d *Directory, w *Watch) prometheus.Collector {
	return &collector{
		d: d, w: w,
		configured: metric.Desc("teams_webhook_configured"),
		unusable:   metric.Desc("teams_webhook_unusable"),
		found:      metric.Desc("teams_webhook_problems_total"),
		reads:      metric.Desc("teams_webhook_reads_total"),
	}
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.configured, c.unusable, c.found, c.reads} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range cards.Stakeholders() {
		_, ok := c.d.Hook(string(s))
		ch <- prometheus.MustNewConstMetric(c.configured, prometheus.GaugeValue, number(ok), string(s))
	}
	if c.w == nil {
		return
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	for _, s := range append(cards.Stakeholders(), "") {
		bad := false
		for p := range c.w.problems {
			bad = bad || p.Stakeholder == s
		}
		label := string(s)
		if label == "" {
			label = "none"
		}
		ch <- prometheus.MustNewConstMetric(c.unusable, prometheus.GaugeValue, number(bad), label)
		ch <- prometheus.MustNewConstMetric(c.found, prometheus.CounterValue, float64(c.w.found[s]), label)
	}
	for kind, n := range c.w.reads {
		outcome := string(kind)
		if outcome == "" {
			outcome = "ok"
		}
		ch <- prometheus.MustNewConstMetric(c.reads, prometheus.CounterValue, float64(n), outcome)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
