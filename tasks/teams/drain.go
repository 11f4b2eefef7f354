package teams

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/sabotage"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

const (
	// page is how many rows are read at a time; fresh is how long they are worked on before the record is asked again, so that
	// an urgent row written meanwhile comes first.
	page  = 100
	fresh = time.Second
	// patience is how many failures in a row a webhook may have before all its posts wait.
	patience = 3
)

// message is one post: a row, or a digest of many.
type message struct {
	id       string // the webhook-id
	digest   string // the same for a digest, else ""
	rows     []store.Notification
	card     []byte
	summary  string
	priority cards.Priority
}

// outcome is a message after its post.
type outcome struct {
	message
	url    notify.WebhookURL
	result notify.Result
	at     time.Time
}

// drain is one run over a channel, under its lease. Only the goroutine of run touches it.
type drain struct {
	*Handler
	channel  string
	deadline time.Time

	buffer   []store.Notification
	readAt   time.Time
	inFlight map[uuid.UUID]bool // rows of messages under way; the record still calls them due
	posts    int                // under way
	launched int                // in all
	done     chan outcome
	next     time.Time
}

func newDrain(h *Handler, channel string, deadline time.Time) *drain {
	return &drain{
		Handler: h, channel: channel, deadline: deadline, inFlight: map[uuid.UUID]bool{}, done: make(chan outcome, h.opt.Concurrency),
	}
}

// run posts until nothing is due, the limit refuses, the time is up, or ctx ends; it never leaves a post behind.
func (d *drain) run(ctx context.Context) error {
	err := d.launch(ctx)
	for d.posts > 0 { // whatever happened, what Teams took must be marked
		if e := d.collect(ctx); err == nil {
			err = e
		}
	}
	return err
}

func (d *drain) launch(ctx context.Context) error {
	for {
		if d.posts >= d.width() {
			if err := d.collect(ctx); err != nil {
				return err
			}
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !d.opt.Now().Before(d.deadline) {
			return nil
		}
		m, ok, err := d.nextMessage(ctx)
		if err != nil {
			return err
		}
		if !ok {
			if d.posts == 0 {
				return nil
			}
			if err := d.collect(ctx); err != nil { // a row may be due again, or a new one be there
				return err
			}
			continue
		}
		url, _ := d.directory.URL(d.channel)
		if !url.IsZero() {
			granted, retryIn, err := d.limit.Allow(ctx, url.Key(), 1)
			if err != nil {
				return err
			}
			if granted == 0 {
				d.next = d.opt.Now().Add(retryIn)
				return nil
			}
		}
		d.post(ctx, m, url)
	}
}

// width is how many posts may be under way: one while the webhook is failing, to lose no more rows' attempts than needed.
func (d *drain) width() int {
	if d.failing() {
		return 1
	}
	return d.opt.Concurrency
}

// post sends m in a goroutine; collect takes its outcome.
func (d *drain) post(ctx context.Context, m message, url notify.WebhookURL) {
	for _, n := range m.rows {
		d.inFlight[n.ID] = true
	}
	d.posts++
	d.launched++
	go func() {
		// Outside the goroutine of the task nobody else would catch it, and the whole worker would end.
		r := notify.Result{Class: notify.Ambiguous, Safe: "the post panicked, see the log"}
		defer func() {
			if v := recover(); v != nil {
				d.log.LogAttrs(ctx, slog.LevelError, "post panicked", slog.String("webhook_id", m.id), slog.String("stack", string(debug.Stack())))
			}
			d.done <- outcome{message: m, url: url, result: r, at: d.opt.Now()}
		}()
		r = d.send(ctx, m, url)
	}()
}

// send posts m, and once more as a minimal card if Teams finds it too large.
func (d *drain) send(ctx context.Context, m message, url notify.WebhookURL) notify.Result {
	body, err := cards.Envelope(m.summary, m.card)
	if err != nil {
		return notify.Result{Class: notify.Permanent, Safe: cards.SafeLine("the card cannot be sent: "+err.Error(), 180)}
	}
	id := m.id
	if sabotage.On(sabotage.NewWebhookID) {
		id = "msg_" + uuid.NewString()
	}
	post := notify.Post{
		URL: url, WebhookID: id, CorrelationID: m.rows[0].CorrelationID, Priority: m.priority, Body: body,
	}
	start := d.opt.Now()
	r := d.poster.Post(ctx, post)
	d.metrics.took(d.opt.Now().Sub(start))
	if r.Status != 413 {
		return r
	}
	small, err := cards.Minimal(m.card)
	if err != nil {
		return r
	}
	if post.Body, err = cards.Envelope(m.summary, small); err != nil || len(post.Body) >= len(body) {
		return r
	}
	start = d.opt.Now()
	defer func() { d.metrics.took(d.opt.Now().Sub(start)) }()
	return d.poster.Post(ctx, post)
}

// collect waits for one outcome, takes all others that are there, and records them.
func (d *drain) collect(ctx context.Context) error {
	outcomes := []outcome{<-d.done}
	for len(d.done) > 0 {
		outcomes = append(outcomes, <-d.done)
	}
	d.posts -= len(outcomes)
	stopped := ctx.Err() != nil
	ctx = context.WithoutCancel(ctx) // what happened is recorded even while the worker stops
	err := d.recordSent(ctx, outcomes)
	for _, o := range outcomes {
		// A post that our own stop cut off is nobody's failure: the row stays as it was and goes out again under its id.
		if o.result.Class != notify.Accepted && (!stopped || o.result.Status != 0) {
			if e := d.recordFailed(ctx, o); err == nil {
				err = e
			}
		}
		for _, n := range o.rows {
			delete(d.inFlight, n.ID)
		}
	}
	return err
}

func (d *drain) recordSent(ctx context.Context, outcomes []outcome) error {
	var sent []store.Sent
	for _, o := range outcomes {
		if o.result.Class != notify.Accepted {
			continue
		}
		d.forget(o.url)
		d.metrics.accepted(o.rows)
		for _, n := range o.rows {
			sent = append(sent, store.Sent{ID: n.ID, StatusCode: o.result.Status, At: o.at, WebhookURL: o.url.String(), DigestID: o.digest})
		}
	}
	if len(sent) == 0 {
		return nil
	}
	// Only here can a card be sent twice: Teams has it and the record does not know. So it is worth some tries.
	return d.insist(ctx, func(ctx context.Context) error { return d.store.MarkSent(ctx, sent...) })
}

func (d *drain) recordFailed(ctx context.Context, o outcome) error {
	r := o.result
	d.metrics.refused(r)
	var status *int
	if r.Status != 0 {
		status = &r.Status
	}
	now := d.opt.Now()
	level := slog.LevelWarn
	if r.Class == notify.Config {
		level = slog.LevelError // a person must act
	}
	d.log.LogAttrs(ctx, level, "notification not sent", slog.String("channel", d.channel), slog.String("webhook", o.url.String()),
		slog.String("webhook_id", o.id), slog.Int("rows", len(o.rows)), slog.String("class", string(r.Class)), slog.Int("status", r.Status),
		slog.String("error", r.Safe))
	err := d.slowDown(ctx, o)
	most := slices.MaxFunc(o.rows, func(a, b store.Notification) int { return a.RetryCount - b.RetryCount }).RetryCount
	nextAttempt := now.Add(max(d.delay(r.Class, most), r.RetryAfter))
	for _, n := range o.rows {
		failed := n.RetryCount + 1
		f := store.SendFailed{
			ID: n.ID, StatusCode: status, Text: r.Safe, WebhookURL: o.url.String(), NextAttemptAt: nextAttempt,
			Dead: r.Class == notify.Permanent || failed >= d.opt.MaxRetries,
		}
		if f.Dead {
			d.log.LogAttrs(ctx, slog.LevelError, "notification given up", slog.String("channel", d.channel),
				slog.String("notification_id", n.ID.String()), slog.String("event_type", n.EventType), slog.String("priority", n.Priority),
				slog.Int("failed_posts", failed))
		}
		if e := d.insist(ctx, func(ctx context.Context) error { return d.store.MarkFailed(ctx, f) }); err == nil {
			err = e
		}
	}
	return err
}

// delay is the time to a row's next attempt. What a person must mend gets the longest.
func (h *Handler) delay(c notify.Class, failed int) time.Duration {
	if c == notify.Config {
		return h.opt.MaxRetryDelay
	}
	return min(tasks.Backoff(failed, h.opt.RetryBase, h.opt.RetryFactor, h.opt.MaxRetryDelay), h.opt.MaxRetryDelay)
}

// slowDown pauses the webhook for all workers when Teams asks for it, or when it has failed several times without a success.
// Else an outage of Teams would use up the attempts of every waiting row within seconds.
func (d *drain) slowDown(ctx context.Context, o outcome) error {
	if o.url.IsZero() {
		return nil
	}
	if o.result.Class == notify.Permanent { // the message's own fault: the webhook works
		d.forget(o.url)
		return nil
	}
	pause := o.result.RetryAfter
	if n := d.fail(o.url); n >= patience || o.result.Status == 429 {
		pause = max(pause, d.delay(notify.Temporary, max(0, n-patience)))
	}
	return d.limit.Pause(ctx, o.url.Key(), pause)
}

// insist tries a write to the record a few times.
func (d *drain) insist(ctx context.Context, write func(context.Context) error) error {
	b := backoff.WithMaxRetries(backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond)), 3)
	return backoff.Retry(func() error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return write(ctx)
	}, b)
}

// nextMessage returns the next thing to post; ok is false when nothing is due.
func (d *drain) nextMessage(ctx context.Context) (m message, ok bool, err error) {
	for {
		if len(d.buffer) == 0 || d.opt.Now().Sub(d.readAt) >= fresh {
			if err := d.read(ctx, max(page, d.opt.DigestAbove+1)); err != nil {
				return message{}, false, err
			}
		}
		if len(d.buffer) == 0 {
			return message{}, false, nil
		}
		at := d.candidate()
		n := d.buffer[at]
		if n.DigestID != nil { // it has gone out in a digest that Teams may have: only that one may be repeated
			if m, ok, err = d.sameDigest(ctx, *n.DigestID); ok || err != nil {
				return m, ok, err
			}
			continue
		}
		if !cards.Priority(n.Priority).Urgent() && d.storm() {
			if m, ok, err = d.newDigest(ctx); ok || err != nil {
				return m, ok, err
			}
			continue
		}
		d.buffer = slices.Delete(d.buffer, at, at+1)
		return message{
			id: "msg_" + n.ID.String(), rows: []store.Notification{n}, card: n.Card, summary: n.Summary, priority: cards.Priority(n.Priority),
		}, true, nil
	}
}

// failing reports whether the last post to the webhook failed.
func (d *drain) failing() bool {
	url, _ := d.directory.URL(d.channel)
	return d.streak(url) > 0
}

// candidate is the place in the buffer of the next row: the first. While the webhook is failing it is the first of those with
// the most attempts left, so that an outage uses up no row while another could find out whether it is over.
func (d *drain) candidate() int {
	if !d.failing() {
		return 0
	}
	best := 0
	for i, n := range d.buffer {
		if n.RetryCount < d.buffer[best].RetryCount {
			best = i
		}
	}
	return best
}

// read fills the buffer with due rows that are not under way.
func (d *drain) read(ctx context.Context, limit int) error {
	rows, err := d.store.DueNotifications(ctx, d.channel, limit+len(d.inFlight))
	if err != nil {
		return err
	}
	d.buffer = slices.DeleteFunc(rows, func(n store.Notification) bool { return d.inFlight[n.ID] })
	d.readAt = d.opt.Now()
	return nil
}

// foldable rows may be sent in a digest: not urgent, and never posted alone, else it could be shown twice under two ids.
func foldable(n store.Notification) bool {
	return !cards.Priority(n.Priority).Urgent() && n.RetryCount == 0 && n.DigestID == nil
}

// storm reports whether so many rows wait that they are folded. A failing webhook is tried with a single row: a digest would
// use up an attempt of all its rows.
func (d *drain) storm() bool {
	if d.opt.DigestAbove <= 0 || d.failing() {
		return false
	}
	count := 0
	for _, n := range d.buffer {
		if foldable(n) {
			count++
		}
	}
	return count > d.opt.DigestAbove
}

// newDigest folds the waiting rows into one message. They are marked as its members before it is posted. ok is false when the
// rows are others by now: the buffer holds them.
func (d *drain) newDigest(ctx context.Context) (message, bool, error) {
	if err := d.read(ctx, max(page, d.opt.DigestAbove+1, d.opt.DigestMax)); err != nil {
		return message{}, false, err
	}
	if len(d.buffer) == 0 || cards.Priority(d.buffer[0].Priority).Urgent() || !d.storm() {
		return message{}, false, nil
	}
	var members []store.Notification
	for _, n := range d.buffer {
		if foldable(n) && len(members) < d.opt.DigestMax {
			members = append(members, n)
		}
	}
	d.buffer = nil
	ids := make([]uuid.UUID, 0, len(members))
	for _, n := range members {
		ids = append(ids, n.ID)
	}
	id := digestID(ids)
	if err := d.store.AssignDigest(ctx, id, ids); err != nil {
		return message{}, false, err
	}
	return d.digest(id, members)
}

// sameDigest returns a digest that was begun before, as it was.
func (d *drain) sameDigest(ctx context.Context, id string) (message, bool, error) {
	members, err := d.store.DigestNotifications(ctx, id)
	if err != nil {
		return message{}, false, err
	}
	d.buffer = slices.DeleteFunc(d.buffer, func(n store.Notification) bool { return n.DigestID != nil && *n.DigestID == id })
	if len(members) == 0 {
		return message{}, false, nil
	}
	return d.digest(id, members)
}

// digest builds the message. Everything in it follows from its members, so that a repetition has the same bytes.
func (d *drain) digest(id string, members []store.Notification) (message, bool, error) {
	at := members[0].CreatedAt
	entries := make([]cards.DigestEntry, 0, len(members))
	for _, n := range members {
		if n.CreatedAt.After(at) {
			at = n.CreatedAt
		}
		entries = append(entries, cards.DigestEntry{
			ID: n.ID.String(), Type: cards.EventType(n.EventType), Priority: cards.Priority(n.Priority), Card: n.Card,
		})
	}
	card, err := cards.RenderDigest(cards.Digest{ID: id, Channel: d.channel, Environment: d.opt.Environment, At: at, Entries: entries}, d.opt.Links)
	if err != nil {
		return message{}, false, err
	}
	priority := slices.MinFunc(entries, func(a, b cards.DigestEntry) int { return a.Priority.Rank() - b.Priority.Rank() }).Priority
	return message{id: id, digest: id, rows: members, card: card, summary: cards.Summary(card), priority: priority}, true, nil
}

// digestID is the webhook-id of the digest of these rows.
func digestID(ids []uuid.UUID) string {
	h := sha256.New()
	for _, id := range ids {
		h.Write(id[:])
	}
	return "dig_" + hex.EncodeToString(h.Sum(nil)[:16])
}

// The streak of a webhook's failures.

func (h *Handler) streak(w notify.WebhookURL) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streaks[w.Key()]
}

func (h *Handler) fail(w notify.WebhookURL) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.streaks[w.Key()]++
	return h.streaks[w.Key()]
}

func (h *Handler) forget(w notify.WebhookURL) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streaks, w.Key())
}
