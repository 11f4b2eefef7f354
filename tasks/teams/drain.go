package teams

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/sabotage"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/tracing"
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
	hook notify.Hook       // of the channel, as it was then
	url  notify.WebhookURL // where it went: hook.URL or hook.Previous
	// conversation is that of the bot whose address hook.URL is, "" for a webhook; then activity is the message it became.
	conversation, activity string
	result                 notify.Result
	bytes                  int // of the last body
	at                     time.Time
	// refusal is what the current address said before the previous one was tried; nil if that was not.
	refusal *notify.Result
	// later is when the limit lets it go on; zero if it did. Nothing has failed then.
	later  time.Time
	window ratelimit.Window
}

// byBot reports whether it goes, or went, through the bot.
func (o *outcome) byBot() bool { return o.conversation != "" && o.url.Key() == o.hook.URL.Key() }

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

	hook    notify.Hook // of the channel
	talk    string      // the conversation whose address hook.URL is, "" for a webhook
	bot     route       // that of the bot
	looked  string      // whose circuit was looked at
	circuit ratelimit.Circuit
	until   time.Time // the circuit stays open, or a message waits for the limit
	waits   string    // for what: a window's name
	copied  bool      // the fallback has got what there was to copy
	warned  bool      // it is in the log that the previous address is in use
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
	if d.until.After(d.opt.Now()) {
		d.next = d.until
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
		if ok, err := d.ready(ctx); err != nil || !ok {
			return err
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
		if !d.hook.URL.IsZero() {
			g, err := d.limit.Allow(ctx, d.hook.URL.Key(), 1)
			if err != nil {
				return err
			}
			if g.N == 0 {
				d.wait(d.opt.Now().Add(g.RetryIn), string(g.Window))
				d.metrics.deferred(d.channel, d.waits)
				return nil
			}
		}
		if n := &m.rows[0]; m.digest == "" && n.PostedAt == nil {
			at := d.opt.Now()
			if err := d.store.MarkPosting(ctx, n.ID, at); err != nil {
				return err
			}
			n.PostedAt = &at
		}
		d.post(ctx, m)
	}
}

// unknown is how long a drain waits while the webhooks are not known, and what it waits for in the metrics.
const (
	unknown        = 5 * time.Second
	waitForWebhook = "webhook"
	waitForCircuit = "circuit"
)

// wait lets the drain end until t.
func (d *drain) wait(t time.Time, what string) {
	if t.After(d.until) {
		d.until, d.waits = t, what
	}
}

// ready looks whether anything may be posted now, and where to. If not, it has said when to go on.
func (d *drain) ready(ctx context.Context) (bool, error) {
	if !d.directory.Known() {
		d.wait(d.opt.Now().Add(unknown), waitForWebhook)
	}
	if err := d.find(ctx); err != nil {
		return false, err
	}
	if key := d.hook.URL.Key(); key != d.looked {
		d.looked, d.circuit = key, ratelimit.Circuit{}
		if d.waits == waitForCircuit { // that of another webhook
			d.until, d.waits = time.Time{}, ""
		}
		if key != "" {
			c, err := d.breaker.Look(ctx, key)
			if err != nil {
				return false, err
			}
			if err := d.turned(ctx, c, ""); err != nil {
				return false, err
			}
		}
	}
	if !d.until.After(d.opt.Now()) {
		return true, nil
	}
	d.metrics.deferred(d.channel, d.waits)
	return false, nil
}

// turned takes note of the circuit. While it is open nothing is posted, others are told of it, and what is CRITICAL goes elsewhere.
func (d *drain) turned(ctx context.Context, c ratelimit.Circuit, failure string) error {
	d.circuit = c
	if c.State != ratelimit.Open {
		return nil
	}
	now := d.opt.Now()
	d.wait(now.Add(c.RetryIn), waitForCircuit)
	to, ok := d.directory.Fallback(d.channel, d.opt.Fallback)
	if failure != "" {
		d.log.LogAttrs(ctx, slog.LevelError, "channel is out of order", slog.String("channel", d.channel), slog.String("webhook", d.hook.URL.String()),
			slog.Int("failures", c.Failures), slog.Duration("for", c.RetryIn), slog.String("error", failure), slog.String("fallback", to.Name))
	}
	if !ok {
		return nil
	}
	channels, err := d.store.Tell(ctx, store.Event{
		Key:          "channel/" + d.channel + "/" + strconv.FormatInt(c.Since.UnixMilli(), 10), // once, whoever notices
		Stakeholders: to.Stakeholders,
		Event: cards.Event{Type: cards.ChannelFailingEvent, CorrelationID: "channel " + d.channel, Details: cards.ChannelTrouble{
			Channel: d.channel, Webhook: d.hook.URL.String(), Failure: failure, Since: c.Since,
			Effect: "nothing is posted there, it is tried again every few minutes; what is CRITICAL comes here, too",
			Remedy: "put an address that works into Vault, or into the settings",
		}},
	})
	if err != nil {
		return err
	}
	for _, ch := range channels {
		if err := d.schedule.NotifyAt(ctx, ch, now); err != nil {
			return err
		}
	}
	return d.copyCritical(ctx)
}

// copyCritical hands what is CRITICAL to the fallback, once in a drain.
func (d *drain) copyCritical(ctx context.Context) error {
	to, ok := d.directory.Fallback(d.channel, d.opt.Fallback)
	if !ok || d.copied {
		return nil
	}
	n, err := d.store.CopyCritical(ctx, d.channel, store.Channel{Name: to.Name, Stakeholders: to.Stakeholders, Redacted: to.Redacted})
	if err != nil {
		return err
	}
	d.copied = true
	if n == 0 {
		return nil
	}
	d.metrics.copied(d.channel, n)
	d.log.LogAttrs(ctx, slog.LevelWarn, "critical notifications go to the fallback channel", slog.String("channel", d.channel),
		slog.String("fallback", to.Name), slog.Int("notifications", n))
	return d.schedule.NotifyAt(ctx, to.Name, d.opt.Now())
}

// width is how many posts may be under way: one while the webhook is failing, to lose no more rows' attempts than needed.
func (d *drain) width() int {
	if d.failing() || d.circuit.Failures > 0 {
		return 1
	}
	return d.opt.Concurrency
}

// post sends m in a goroutine; collect takes its outcome.
func (d *drain) post(ctx context.Context, m message) {
	for _, n := range m.rows {
		d.inFlight[n.ID] = true
	}
	d.posts++
	d.launched++
	o := outcome{message: m, hook: d.hook, url: d.hook.URL, conversation: d.talk}
	go func() {
		// Outside the goroutine of the task nobody else would catch it, and the whole worker would end.
		defer func() {
			if v := recover(); v != nil {
				o.result = notify.Result{Class: notify.Ambiguous, Safe: "the post panicked, see the log"}
				d.log.LogAttrs(ctx, slog.LevelError, "post panicked", slog.String("webhook_id", m.id), slog.String("stack", string(debug.Stack())))
			}
			o.at = d.opt.Now()
			d.done <- o
		}()
		d.send(ctx, &o)
	}()
}

// send posts o: to the previous address if the current one is refused, and as a minimal card if Teams finds it too large.
func (d *drain) send(ctx context.Context, o *outcome) {
	var whole, card []byte
	small := false
	minimal := func() bool {
		m, err := cards.Minimal(whole)
		if err != nil || small || len(m) >= len(whole) {
			return false
		}
		card, small = m, true
		d.metrics.shrunk(o.eventType())
		return true
	}
	for {
		var body []byte
		var err error
		if card == nil { // the first time, and when it goes another way
			whole, err = d.render(ctx, o)
			card = whole
			if err == nil && d.isLarge(o.id) {
				minimal()
			}
		}
		if err == nil && o.byBot() {
			body, err = cards.BotEnvelope(o.summary, card)
		} else if err == nil {
			body, err = cards.Envelope(o.summary, card)
		}
		if err != nil {
			o.result = notify.Result{Class: notify.Permanent, Safe: cards.SafeLine("the card cannot be sent: "+err.Error(), 180)}
			return
		}
		o.bytes = len(body)
		o.result = d.try(ctx, o, body)
		next := o.url
		switch {
		case o.result.Status == http.StatusRequestEntityTooLarge && minimal():
			d.noteLarge(o.id)
		case d.refused(o) && o.refusal == nil && !o.hook.Previous.IsZero():
			first := o.result
			o.refusal, next = &first, o.hook.Previous
			card, small = nil, false
		case o.refusal != nil && o.result.Class == notify.Config: // both are wrong: the current one is to be mended
			o.url, o.result = o.hook.URL, *o.refusal
			return
		default:
			return
		}
		// One more post needs one more grant.
		g, err := d.limit.Allow(ctx, next.Key(), 1)
		switch {
		case err != nil:
			o.later, o.window = d.opt.Now().Add(time.Second), ratelimit.WindowPause
		case g.N == 0:
			o.later, o.window = d.opt.Now().Add(g.RetryIn), g.Window
		}
		if !o.later.IsZero() {
			return
		}
		o.url = next
	}
}

// render is the card as it is posted: with buttons of the bot, or with links.
func (d *drain) render(ctx context.Context, o *outcome) ([]byte, error) {
	if o.byBot() && o.digest == "" {
		return d.opt.Bot.Card(ctx, o.rows[0], o.conversation)
	}
	return d.withButtons(o.message)
}

// withButtons is the card as it is posted.
func (d *drain) withButtons(m message) ([]byte, error) {
	if d.opt.Buttons == nil || m.digest != "" {
		return m.card, nil
	}
	buttons, err := d.opt.Buttons(m.rows[0])
	if err != nil {
		return nil, err
	}
	return cards.WithButtons(m.card, buttons)
}

// refused reports whether the answer blames the address; of the bot, whether it cannot post.
func (d *drain) refused(o *outcome) bool {
	r := o.result
	return r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden || r.Status == http.StatusNotFound ||
		r.Class == notify.Config && (r.Status == http.StatusBadRequest || o.byBot())
}

// try is one post.
func (d *drain) try(ctx context.Context, o *outcome, body []byte) (r notify.Result) {
	id := o.id
	if sabotage.On(sabotage.NewWebhookID) {
		id = "msg_" + uuid.NewString()
	}
	var from []string
	for _, n := range o.rows {
		from = append(from, n.TraceContext)
	}
	ctx, span := tracing.BeginLinked(ctx, "post card", trace.SpanKindClient, append(from, tracing.Context(ctx)), attribute.String(tracing.Channel, channelLabel(d.channel)),
		attribute.String(tracing.EventType, typeLabel(o.eventType())), attribute.Int(tracing.Notifications, len(o.rows)), attribute.String(tracing.MessageID, id))
	defer func() {
		span.SetAttributes(attribute.Int(tracing.HTTPStatus, r.Status))
		if r.Class != notify.Accepted {
			span.SetAttributes(attribute.String(tracing.ErrorType, string(r.Class)))
			span.SetStatus(codes.Error, string(r.Class))
		}
		span.End()
	}()
	start := d.opt.Now()
	if o.byBot() {
		r, o.activity = d.opt.Bot.Send(ctx, o.url, "", body)
	} else {
		r = d.poster.Post(ctx, notify.Post{
			URL: o.url, WebhookID: id, CorrelationID: o.rows[0].CorrelationID, Priority: o.priority, Body: body, Login: o.hook.Login,
		})
	}
	d.metrics.attempt(d.channel, r, d.opt.Now().Sub(start))
	return r
}

// eventType is that of the message's row, or "digest".
func (m message) eventType() string {
	if m.digest != "" {
		return digestType
	}
	return m.rows[0].EventType
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
		d.noteRefusal(ctx, o)
		if !o.later.IsZero() { // it has not been tried to the end: the row stays as it was
			d.wait(o.later, string(o.window))
			for _, n := range o.rows {
				delete(d.inFlight, n.ID)
			}
			d.readAt = time.Time{} // what is in the buffer may be less urgent than this one
			continue
		}
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
		d.small(o.id)
		d.metrics.accepted(d.channel, o)
		if s := o.result.Status; s != http.StatusAccepted && s != http.StatusOK && !o.byBot() {
			d.log.LogAttrs(ctx, slog.LevelWarn, "Teams accepted with an unexpected status", slog.String("channel", d.channel), slog.Int("status", s))
		}
		if o.url.Key() == d.looked {
			d.works(ctx)
		}
		for _, n := range o.rows {
			mark := store.Sent{ID: n.ID, StatusCode: o.result.Status, At: o.at, WebhookURL: o.url.String(), DigestID: o.digest}
			if o.byBot() && o.digest == "" && o.activity != "" {
				mark.Activity, mark.Conversation, mark.Version = o.activity, o.conversation, n.Version
			}
			sent = append(sent, mark)
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
	d.metrics.failure(r)
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
	if r.Throttled { // the pause is the channel's: after it the most urgent row is first again
		nextAttempt = now.Add(max(r.RetryAfter, time.Second))
	}
	// One row in it may be at fault. The others must not be lost with it: each goes alone now.
	unfold := o.digest != "" && r.Class == notify.Permanent
	critical := false
	var all []store.SendFailed
	for _, n := range o.rows {
		failed := n.RetryCount + 1
		f := store.SendFailed{
			ID: n.ID, StatusCode: status, Text: r.Safe, WebhookURL: o.url.String(), NextAttemptAt: nextAttempt,
			Dead: !unfold && (r.Class == notify.Permanent || failed >= d.opt.MaxRetries), Unfold: unfold,
		}
		if unfold {
			f.NextAttemptAt = now
		}
		if r.Throttled && now.Sub(n.CreatedAt) < deferrable {
			f.Deferred, f.Dead = true, false
		}
		if f.Dead {
			d.small(o.id)
			d.metrics.givenUp(d.channel, n)
			critical = critical || (r.Class != notify.Permanent && n.Priority == string(cards.Critical))
			d.log.LogAttrs(ctx, slog.LevelError, "notification given up", slog.String("channel", d.channel),
				slog.String("notification_id", n.ID.String()), slog.String("event_type", n.EventType), slog.String("priority", n.Priority),
				slog.Int("failed_posts", failed))
		}
		all = append(all, f)
	}
	if e := d.insist(ctx, func(ctx context.Context) error { return d.store.MarkFailed(ctx, all...) }); err == nil {
		err = e
	}
	if critical { // no second failure after it would tell of it
		d.copied = false
		if e := d.copyCritical(ctx); err == nil {
			err = e
		}
	}
	return err
}

// deferrable is how long a row may be put off because Teams asks to come later. After it such answers count as failures.
const deferrable = 24 * time.Hour

// noteRefusal says that the current address is wrong and the previous one was tried, once in a drain.
func (d *drain) noteRefusal(ctx context.Context, o outcome) {
	if o.conversation != "" && o.refusal != nil { // the bot was refused, and there is a webhook: it does for a time
		d.silence(o.hook.URL)
		d.bot = route{}
		if !d.warned {
			d.warned = true
			d.log.LogAttrs(ctx, slog.LevelError, "the bot cannot post, the webhook is used", slog.String("channel", d.channel),
				slog.String("webhook", o.hook.Previous.String()), slog.String("error", o.refusal.Safe))
		}
		return
	}
	if o.refusal == nil && !d.refused(&o) {
		return
	}
	d.opt.Refused()
	if o.refusal == nil || d.warned {
		return
	}
	d.warned = true
	d.log.LogAttrs(ctx, slog.LevelError, "webhook refused, the previous one is tried", slog.String("channel", d.channel),
		slog.String("webhook", o.hook.URL.String()), slog.String("previous", o.hook.Previous.String()), slog.String("error", o.refusal.Safe))
}

// works closes the circuit of the channel's webhook.
func (d *drain) works(ctx context.Context) {
	if d.circuit.Failures == 0 {
		return
	}
	if err := d.breaker.Succeed(ctx, d.looked); err != nil { // the next success does it
		d.log.LogAttrs(ctx, slog.LevelWarn, "circuit not closed", slog.String("channel", d.channel), slog.String("error", err.Error()))
		return
	}
	if d.circuit.State != ratelimit.Closed {
		d.log.LogAttrs(ctx, slog.LevelInfo, "channel works again", slog.String("channel", d.channel), slog.String("webhook", d.hook.URL.String()))
	}
	d.circuit = ratelimit.Circuit{}
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
		if o.result.Status >= 400 && o.url.Key() == d.looked {
			d.works(ctx)
		}
		return nil
	}
	if o.result.Class == notify.Config && o.url.Key() == d.looked {
		c, err := d.breaker.Fail(ctx, d.looked)
		if err == nil {
			err = d.turned(ctx, c, o.result.Safe)
		}
		if err != nil {
			return err
		}
	}
	pause := o.result.RetryAfter
	if n := d.fail(o.url); n >= patience || o.result.Throttled {
		pause = max(pause, d.delay(notify.Temporary, max(0, n-patience)))
	}
	d.metrics.asked(d.channel, o.result.RetryAfter)
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
		if foldsWith(n, n) && d.storm(n) {
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
	return d.streak(d.hook.URL) > 0
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

// foldsWith reports whether n may be sent in one digest with first: neither was posted alone before, else it could be shown twice under
// two ids. What is not urgent is folded together; HIGH only with its like, so that the card says what it is about; CRITICAL never.
func foldsWith(first, n store.Notification) bool {
	if n.RetryCount != 0 || n.DigestID != nil || n.PostedAt != nil {
		return false
	}
	switch cards.Priority(first.Priority) {
	case cards.Critical:
		return false
	case cards.High:
		return cards.Priority(n.Priority) == cards.High && n.EventType == first.EventType
	default:
		return !cards.Priority(n.Priority).Urgent()
	}
}

// storm reports whether so many rows wait beside first that they are folded. A failing webhook is tried with a single row: a digest would
// use up an attempt of all its rows.
func (d *drain) storm(first store.Notification) bool {
	if d.opt.DigestAbove <= 0 || d.failing() {
		return false
	}
	count := 0
	for _, n := range d.buffer {
		if foldsWith(first, n) {
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
	if len(d.buffer) == 0 || !d.storm(d.buffer[0]) {
		return message{}, false, nil
	}
	first := d.buffer[0]
	var members []store.Notification
	for _, n := range d.buffer {
		if foldsWith(first, n) && len(members) < d.opt.DigestMax {
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

// The messages that Teams found too large. Forgotten ones are found so again.

const maxLarge = 1000

func (h *Handler) isLarge(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.large[id]
}

func (h *Handler) noteLarge(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.large) >= maxLarge {
		clear(h.large)
	}
	h.large[id] = true
}

func (h *Handler) small(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.large, id)
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
