// Package teams does the job "teams:notify": it drains one channel. The channel's waiting rows of teams_notifications are posted
// to its webhook, the most urgent first, as far as the shared limit grants; then the task wishes for itself again at the moment
// the limit or a row's next attempt names. It knows no claims, and no failure here reaches one.
package teams

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/ratelimit"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

// Store is the record of notifications.
type Store interface {
	// Hold takes a lease, without waiting; held ends when it is lost.
	Hold(ctx context.Context, kind store.LeaseKind, key string) (held context.Context, release func(), ok bool, err error)
	// DueNotifications returns at most limit live, unsent rows whose next attempt is due: priority first, then age.
	DueNotifications(ctx context.Context, channel string, limit int) ([]store.Notification, error)
	// AssignDigest marks rows as members of a digest before it is posted, so that a repetition is the same digest.
	AssignDigest(ctx context.Context, digestID string, ids []uuid.UUID) error
	// DigestNotifications returns the live, unsent members of a digest, due or not: priority first, then age, then id.
	DigestNotifications(ctx context.Context, digestID string) ([]store.Notification, error)
	// MarkSent marks rows as accepted, all or none.
	MarkSent(ctx context.Context, sent ...store.Sent) error
	// MarkPosting says that a row is about to be posted alone, for the first time.
	MarkPosting(ctx context.Context, id uuid.UUID, at time.Time) error
	// MarkFailed counts failed posts, all or none.
	MarkFailed(ctx context.Context, failed ...store.SendFailed) error
	// NextDue returns the earliest next attempt of a live, unsent row of the channel; ok is false when there is none.
	NextDue(ctx context.Context, channel string) (at time.Time, ok bool, err error)
	// CopyCritical writes the unsent CRITICAL rows of a channel for another one, too, each once.
	CopyCritical(ctx context.Context, from string, to store.Channel) (int, error)
	// DueUpdates returns at most limit rows of a channel whose message in Teams is to be changed now, NextUpdate when the next one is.
	DueUpdates(ctx context.Context, channel string, limit int) ([]store.Notification, error)
	NextUpdate(ctx context.Context, channel string) (at time.Time, ok bool, err error)
	// MarkUpdated keeps what became of a change.
	MarkUpdated(ctx context.Context, u store.Updated) error
	// Tell writes the rows of events; one whose key is known already writes none.
	Tell(ctx context.Context, events ...store.Event) (channels []string, err error)
}

// Directory knows the channels' webhooks.
type Directory interface {
	Hook(channel string) (notify.Hook, bool)
	// Known is false until the place where the webhooks are kept has answered once.
	Known() bool
	// Fallback is the channel that stands in for one that is out of order.
	Fallback(channel string, preferred cards.Stakeholder) (notify.Channel, bool)
}

// Poster posts one message.
type Poster interface {
	Post(ctx context.Context, p notify.Post) notify.Result
}

// Limiter is the limit per webhook that all workers share.
type Limiter interface {
	Allow(ctx context.Context, key string, n int) (ratelimit.Grant, error)
	Pause(ctx context.Context, key string, d time.Duration) error
}

// Breaker is the circuit per webhook that all workers share. It opens after failures in a row that a person must mend.
type Breaker interface {
	Fail(ctx context.Context, key string) (ratelimit.Circuit, error)
	Look(ctx context.Context, key string) (ratelimit.Circuit, error)
	Succeed(ctx context.Context, key string) error
}

// Bot posts the cards of channels that the settings give to it, and changes them.
type Bot interface {
	// Conversation returns where a channel's cards go; ok is false when the settings name no conversation, or the bot is not in it.
	Conversation(ctx context.Context, channel string) (to notify.WebhookURL, conversation string, ok bool, err error)
	// Address returns where a conversation is reached; ok is false when the bot is not in it any more.
	Address(ctx context.Context, conversation string) (to notify.WebhookURL, ok bool, err error)
	// Card is a row's card with what was done and the buttons of what can be done, for a conversation.
	Card(ctx context.Context, n store.Notification, conversation string) ([]byte, error)
	// Send posts a message, or changes the one that update names, and returns its id.
	Send(ctx context.Context, to notify.WebhookURL, update string, body []byte) (notify.Result, string)
}

// Scheduler wishes for a channel to be drained at a time.
type Scheduler interface {
	NotifyAt(ctx context.Context, channel string, at time.Time) error
}

// Options are the handler's settings. Zero values take the defaults named here, where one is named.
type Options struct {
	// MaxRetries is how many posts of a row may fail before it is dead. 1 or less: the first failure is the last.
	MaxRetries int
	// RetryBase is the delay after the first failure (2 s); it grows by RetryFactor (2) up to MaxRetryDelay (60 s).
	RetryBase     time.Duration
	RetryFactor   float64
	MaxRetryDelay time.Duration
	// Concurrency is how many posts of one channel may be under way (4).
	Concurrency int
	// DigestAbove: more waiting INFO to MEDIUM rows than this are sent as one digest. 0 switches digests off.
	DigestAbove int
	// DigestMax is how many rows one digest may stand for (2000).
	DigestMax int
	// Budget is how long one task goes on (60 s). With the longest post it must stay below the task's timeout.
	Budget time.Duration
	// Environment and Links are for digest cards.
	Environment string
	Links       cards.Links
	// Fallback is who gets the CRITICAL notifications of a channel that is out of order, and hears of it (SRE).
	Fallback cards.Stakeholder
	// Buttons makes what is put into a card when it is posted; nil for none. What it makes is in no record.
	Buttons func(store.Notification) ([]cards.Button, error)
	// Bot is nil without one.
	Bot Bot
	// Refused is called when a webhook was refused: another one may be known elsewhere. It may be nil and must not wait.
	Refused func()
	// Now is the clock: time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.RetryBase <= 0 {
		o.RetryBase = 2 * time.Second
	}
	if o.RetryFactor < 1 {
		o.RetryFactor = 2
	}
	if o.MaxRetryDelay <= 0 {
		o.MaxRetryDelay = time.Minute
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 4
	}
	if o.DigestMax <= 0 {
		o.DigestMax = 2000
	}
	if o.Budget <= 0 {
		o.Budget = time.Minute
	}
	if o.Fallback == "" {
		o.Fallback = cards.SRE
	}
	if o.Refused == nil {
		o.Refused = func() {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Handler drains channels. It is safe for concurrent use.
type Handler struct {
	store     Store
	directory Directory
	poster    Poster
	limit     Limiter
	breaker   Breaker
	schedule  Scheduler
	metrics   *Metrics
	log       *slog.Logger
	opt       Options

	mu      sync.Mutex
	streaks map[string]int       // failures of a webhook without a success between them, as this process saw them
	silent  map[string]time.Time // until when the bot does not post to a conversation that refused it, if there is a webhook
	large   map[string]bool      // messages that were found too large, by webhook-id: their next post is the minimal card
}

// New returns a Handler.
func New(s Store, d Directory, p Poster, l Limiter, b Breaker, q Scheduler, m *Metrics, log *slog.Logger, o Options) *Handler {
	return &Handler{
		store: s, directory: d, poster: p, limit: l, breaker: b, schedule: q, metrics: m, log: log, opt: o.withDefaults(), streaks: map[string]int{}, large: map[string]bool{}, silent: map[string]time.Time{},
	}
}

// Register makes h the handler of "teams:notify".
func (h *Handler) Register(r *tasks.Router) { r.Handle(tasks.TypeNotify, h.Notify) }

// Notify handles one task.
//
// Errors: a permanent fault of Kind Invalid for a payload without a channel; Kind Unavailable when PostgreSQL or Redis is away,
// which asynq retries. What Teams says is never the task's error: it stands in the rows.
func (h *Handler) Notify(ctx context.Context, t *asynq.Task) error {
	p, err := tasks.Decode[tasks.NotifyPayload](t)
	if err != nil {
		return err
	}
	return h.Drain(ctx, p.Channel)
}

// Drain posts what is due in a channel. One drain per channel goes on at a time; a second one ends at once, for the first looks
// again after it has let go of the channel.
func (h *Handler) Drain(ctx context.Context, channel string) error {
	deadline := h.opt.Now().Add(h.opt.Budget)
	for {
		round, err := h.locked(ctx, channel, deadline)
		if err != nil || round == nil {
			return err
		}
		// Written while the channel was held by us, a row's own task found it taken and ended: it is ours to see.
		due, ok, err := h.nextDue(ctx, channel)
		if err != nil || !ok {
			return err
		}
		now := h.opt.Now()
		if due.Before(round.next) {
			due = round.next // the limit's word counts for all rows
		}
		if !due.After(now) && round.launched == 0 {
			due = now.Add(time.Second) // due by one clock and not by another, or written just now: no spinning
		}
		if due.After(now) || !now.Before(deadline) {
			return h.schedule.NotifyAt(ctx, channel, due)
		}
	}
}

// nextDue is when the channel has something to do again: a post, or a change of a card.
func (h *Handler) nextDue(ctx context.Context, channel string) (time.Time, bool, error) {
	due, ok, err := h.store.NextDue(ctx, channel)
	if err != nil || h.opt.Bot == nil {
		return due, ok, err
	}
	change, also, err := h.store.NextUpdate(ctx, channel)
	if also && (!ok || change.Before(due)) {
		due = change
	}
	return due, ok || also, err
}

// locked drains under the channel's lease. It returns nil when another drain holds it.
func (h *Handler) locked(ctx context.Context, channel string, deadline time.Time) (*drain, error) {
	held, release, ok, err := h.store.Hold(ctx, store.LeaseChannel, channel)
	if err != nil || !ok {
		return nil, err
	}
	defer release()
	d := newDrain(h, channel, deadline)
	err = d.run(held)
	if err == nil && h.opt.Bot != nil {
		err = d.change(held)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}
