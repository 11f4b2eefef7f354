package teams_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/testenv"
	"github.com/claimlinc/nphiesq/tasks/teams"
)

const channel = "SRE"

// clock stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

// record is the store in memory: the logic of the handler is tested against it, the SQL is tested elsewhere.
type record struct {
	mu       sync.Mutex
	clock    *clock
	rows     []*store.Notification
	locked   map[string]bool
	failMark int               // so many MarkSent fail
	onUnlock func()            // runs just before the lock is let go
	marked   map[uuid.UUID]int // how often a row was marked sent
	failures map[uuid.UUID][]store.SendFailed
	told     map[string]store.Event // by key
	changeAt map[uuid.UUID]time.Time
	changes  []store.Updated
	copies   map[string]int // by channel they came from and went to
}

func newRecord(c *clock) *record {
	return &record{clock: c, locked: map[string]bool{}, marked: map[uuid.UUID]int{}, failures: map[uuid.UUID][]store.SendFailed{}, told: map[string]store.Event{}, changeAt: map[uuid.UUID]time.Time{}, copies: map[string]int{}}
}

func (r *record) add(tb testing.TB, p cards.Priority) uuid.UUID {
	tb.Helper()
	e := cards.Event{ID: uuid.NewString(), Type: cards.ClaimSubmittedEvent, Priority: p, At: r.clock.now(), Details: cards.ClaimSubmitted{ClaimRef: "C"}}
	card, err := cards.Render(e, cards.Links{})
	require.NoError(tb, err)
	return r.addCard(p, card)
}

func (r *record) addCard(p cards.Priority, card []byte) uuid.UUID {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := &store.Notification{
		ID: uuid.New(), CorrelationID: "cor", EventType: string(cards.ClaimSubmittedEvent), Priority: string(p), Channel: channel,
		Summary: cards.Summary(card), Card: json.RawMessage(card), NextAttemptAt: r.clock.now(),
		CreatedAt: r.clock.now().Add(time.Duration(len(r.rows)) * time.Microsecond),
	}
	r.rows = append(r.rows, n)
	return n.ID
}

func (r *record) get(id uuid.UUID) store.Notification {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.rows {
		if n.ID == id {
			return *n
		}
	}
	return store.Notification{}
}

func (r *record) unsent() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, row := range r.rows {
		if row.SentAt == nil {
			n++
		}
	}
	return n
}

func (r *record) Hold(ctx context.Context, kind store.LeaseKind, key string) (context.Context, func(), bool, error) {
	name := string(kind) + "/" + key
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.locked[name] {
		return ctx, nil, false, nil
	}
	r.locked[name] = true
	return ctx, func() {
		if f := r.onUnlock; f != nil {
			r.onUnlock = nil
			f()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.locked[name] = false
	}, true, nil
}

func (r *record) pick(want func(*store.Notification) bool, limit int) []store.Notification {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []store.Notification
	for _, n := range r.rows {
		if n.SentAt == nil && n.DeadAt == nil && want(n) {
			out = append(out, *n)
		}
	}
	slices.SortStableFunc(out, func(a, b store.Notification) int {
		if d := cards.Priority(a.Priority).Rank() - cards.Priority(b.Priority).Rank(); d != 0 {
			return d
		}
		return a.CreatedAt.Compare(b.CreatedAt)
	})
	return out[:min(limit, len(out))]
}

func (r *record) DueNotifications(_ context.Context, ch string, limit int) ([]store.Notification, error) {
	now := r.clock.now()
	return r.pick(func(n *store.Notification) bool { return n.Channel == ch && !n.NextAttemptAt.After(now) }, limit), nil
}

func (r *record) DigestNotifications(_ context.Context, id string) ([]store.Notification, error) {
	return r.pick(func(n *store.Notification) bool { return n.DigestID != nil && *n.DigestID == id }, 1<<30), nil
}

func (r *record) AssignDigest(_ context.Context, digest string, ids []uuid.UUID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.rows {
		if slices.Contains(ids, n.ID) {
			n.DigestID = &digest
		}
	}
	return nil
}

func (r *record) MarkSent(ctx context.Context, sent ...store.Sent) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failMark > 0 {
		r.failMark--
		return errors.New("away")
	}
	for _, s := range sent {
		r.marked[s.ID]++
		for _, n := range r.rows {
			if n.ID == s.ID {
				at, status := s.At, s.StatusCode
				n.SentAt, n.StatusCode = &at, &status
				if s.Activity != "" {
					n.Activity, n.Conversation, n.Shown = &s.Activity, &s.Conversation, s.Version
				}
			}
		}
	}
	return nil
}

func (r *record) MarkPosting(ctx context.Context, id uuid.UUID, at time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.rows {
		if n.ID == id && n.PostedAt == nil {
			n.PostedAt = &at
		}
	}
	return ctx.Err()
}

func (r *record) MarkFailed(ctx context.Context, failed ...store.SendFailed) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range failed {
		r.fail(f)
	}
	return nil
}

func (r *record) fail(f store.SendFailed) {
	r.failures[f.ID] = append(r.failures[f.ID], f)
	for _, n := range r.rows {
		if n.ID == f.ID {
			if f.Deferred {
				n.PostedAt = nil
			} else {
				n.RetryCount++
			}
			n.StatusCode, n.NextAttemptAt = f.StatusCode, f.NextAttemptAt
			if f.Unfold {
				n.DigestID = nil
			}
			if f.Dead {
				at := r.clock.now()
				n.DeadAt = &at
			}
		}
	}
}

func (r *record) NextDue(_ context.Context, ch string) (time.Time, bool, error) {
	var at time.Time
	for _, n := range r.pick(func(n *store.Notification) bool { return n.Channel == ch }, 1<<30) {
		if at.IsZero() || n.NextAttemptAt.Before(at) {
			at = n.NextAttemptAt
		}
	}
	return at, !at.IsZero(), nil
}

func (r *record) DueUpdates(_ context.Context, ch string, limit int) ([]store.Notification, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []store.Notification
	for _, n := range r.rows {
		if n.Channel == ch && n.Activity != nil && n.Shown < n.Version && !r.changeAt[n.ID].After(r.clock.now()) && len(out) < limit {
			out = append(out, *n)
		}
	}
	return out, nil
}

func (r *record) NextUpdate(_ context.Context, ch string) (at time.Time, ok bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.rows {
		if next := r.changeAt[n.ID]; n.Channel == ch && n.Activity != nil && n.Shown < n.Version && (!ok || next.Before(at)) {
			at, ok = next, true
		}
	}
	return at, ok, nil
}

func (r *record) MarkUpdated(_ context.Context, u store.Updated) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, u)
	for _, n := range r.rows {
		switch {
		case n.ID != u.ID:
		case u.Gone:
			n.Activity = nil
		case u.Failed && !u.GiveUp:
			n.Attempts++
			r.changeAt[n.ID] = u.NextAttemptAt
		default:
			n.Shown, n.Attempts = max(n.Shown, u.Version), 0
			delete(r.changeAt, n.ID)
		}
	}
	return nil
}

func (r *record) CopyCritical(_ context.Context, from string, to store.Channel) (int, error) {
	critical := func(n *store.Notification) bool {
		return n.Channel == from && n.SentAt == nil && n.Priority == string(cards.Critical)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	copied := 0
	for _, n := range slices.Clone(r.rows) {
		key := n.ID.String() + " " + to.Name
		if !critical(n) || r.copies[key] > 0 {
			continue
		}
		r.copies[key]++
		c := *n
		c.ID, c.Channel, c.RetryCount, c.DeadAt, c.NextAttemptAt = uuid.New(), to.Name, 0, nil, r.clock.now()
		r.rows = append(r.rows, &c)
		copied++
	}
	return copied, nil
}

func (r *record) Tell(_ context.Context, events ...store.Event) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var channels []string
	for _, e := range events {
		if _, known := r.told[e.Key]; !known {
			r.told[e.Key] = e
			for _, s := range e.Stakeholders {
				channels = append(channels, string(s))
			}
		}
	}
	return channels, nil
}

// circuits is the breaker in memory.
type circuits struct {
	mu       sync.Mutex
	clock    *clock
	failures map[string]int
	since    map[string]time.Time
	ends     map[string]time.Time
}

const circuitTime = 10 * time.Minute

func newCircuits(c *clock) *circuits {
	return &circuits{clock: c, failures: map[string]int{}, since: map[string]time.Time{}, ends: map[string]time.Time{}}
}

func (b *circuits) Look(_ context.Context, key string) (ratelimit.Circuit, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := ratelimit.Circuit{State: ratelimit.Closed, Failures: b.failures[key]}
	if c.Failures < 5 {
		return c, nil
	}
	c.State, c.Since = ratelimit.HalfOpen, b.since[key]
	if in := b.ends[key].Sub(b.clock.now()); in > 0 {
		c.State, c.RetryIn = ratelimit.Open, in
	}
	return c, nil
}

func (b *circuits) Fail(ctx context.Context, key string) (ratelimit.Circuit, error) {
	b.mu.Lock()
	b.failures[key]++
	if b.failures[key] == 5 {
		b.since[key] = b.clock.now()
	}
	if b.failures[key] >= 5 {
		b.ends[key] = b.clock.now().Add(circuitTime)
	}
	b.mu.Unlock()
	return b.Look(ctx, key)
}

func (b *circuits) Succeed(_ context.Context, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.failures, key)
	return nil
}

// answers is a poster that says what answer says, and remembers what it was asked.
type answers struct {
	mu     sync.Mutex
	posts  []notify.Post
	answer func(notify.Post) notify.Result
}

func (a *answers) Post(_ context.Context, p notify.Post) notify.Result {
	a.mu.Lock()
	a.posts = append(a.posts, p)
	f := a.answer
	a.mu.Unlock()
	if f != nil {
		return f(p)
	}
	return notify.Result{Class: notify.Accepted, Status: 202}
}

func (a *answers) ids() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, p := range a.posts {
		out = append(out, p.WebhookID)
	}
	return out
}

// tokens is a limiter with a number of grants.
type tokens struct {
	mu     sync.Mutex
	left   int
	in     time.Duration
	pauses []time.Duration
	clock  *clock
	until  time.Time
}

func (l *tokens) Allow(_ context.Context, _ string, n int) (ratelimit.Grant, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.clock.now(); now.Before(l.until) {
		return ratelimit.Grant{RetryIn: l.until.Sub(now), Window: ratelimit.WindowPause}, nil
	}
	if l.left < n {
		return ratelimit.Grant{RetryIn: l.in, Window: ratelimit.WindowBurst}, nil
	}
	l.left -= n
	return ratelimit.Grant{N: n}, nil
}

func (l *tokens) Pause(_ context.Context, _ string, d time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d > 0 {
		l.pauses = append(l.pauses, d)
		l.until = l.clock.now().Add(d)
	}
	return nil
}

// wishes remembers what was scheduled: for the channel of these tests when, for others how often.
type wishes struct {
	mu     sync.Mutex
	ats    []time.Time
	others map[string]int
}

func (w *wishes) NotifyAt(_ context.Context, ch string, at time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ch != channel {
		if w.others == nil {
			w.others = map[string]int{}
		}
		w.others[ch]++
		return nil
	}
	w.ats = append(w.ats, at)
	return nil
}

// bench is a handler with everything around it.
type bench struct {
	*teams.Handler
	clock    *clock
	record   *record
	teams    *answers
	limit    *tokens
	circuits *circuits
	wishes   *wishes
	registry *prometheus.Registry
	dir      *notify.Directory
}

func newBench(tb testing.TB, o teams.Options) *bench {
	tb.Helper()
	c := &clock{at: time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)}
	dir, _, err := notify.NewDirectory(map[cards.Stakeholder]string{cards.SRE: "http://127.0.0.1:1/x?sig=TopSecret"}, true)
	require.NoError(tb, err)
	b := &bench{
		clock: c, record: newRecord(c), teams: &answers{}, limit: &tokens{left: 1 << 30, in: time.Second, clock: c}, circuits: newCircuits(c), wishes: &wishes{},
		registry: prometheus.NewPedanticRegistry(), dir: dir,
	}
	o.Now = c.now
	if o.MaxRetries == 0 {
		o.MaxRetries = 3
	}
	b.Handler = teams.New(b.record, dir, b.teams, b.limit, b.circuits, b.wishes, teams.NewMetrics(b.registry), testenv.Discard(), o)
	return b
}

func (b *bench) drain(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, b.Drain(tb.Context(), channel))
}
