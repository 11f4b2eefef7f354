package teams

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/store"
)

const (
	// silentFor is how long the bot does not post where it was refused and a webhook can stand in.
	silentFor = 5 * time.Minute
	// changesAtOnce is how many cards one round changes.
	changesAtOnce = 50
	// maxChanges is how often the change of a card to one version is tried.
	maxChanges = 8
)

// What became of the change of a card.
const (
	changeDone    = "changed"
	changeFailed  = "failed"
	changeGivenUp = "given_up"
	changeGone    = "gone"
)

// route is the way to a channel through the bot; it is asked for once a second.
type route struct {
	to           notify.WebhookURL
	conversation string
	asked        time.Time
}

// find finds out where the channel's cards go: to the bot's conversation with the webhook in reserve, or to the webhook.
func (d *drain) find(ctx context.Context) error {
	d.hook, _ = d.directory.Hook(d.channel)
	d.talk = ""
	if d.opt.Bot == nil {
		return nil
	}
	if now := d.opt.Now(); d.bot.asked.IsZero() || now.Sub(d.bot.asked) >= fresh {
		to, conversation, ok, err := d.opt.Bot.Conversation(ctx, d.channel)
		if err != nil {
			return err
		}
		if !ok {
			to, conversation = notify.WebhookURL{}, ""
		}
		d.bot = route{to, conversation, now}
	}
	if d.bot.to.IsZero() || (!d.hook.URL.IsZero() && d.isSilent(d.bot.to)) {
		return nil
	}
	d.hook, d.talk = notify.Hook{URL: d.bot.to, Previous: d.hook.URL, Login: d.hook.Login}, d.bot.conversation
	return nil
}

// silence lets the webhook do for a time.
func (h *Handler) silence(to notify.WebhookURL) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.silent[to.Key()] = h.opt.Now().Add(silentFor)
}

func (h *Handler) isSilent(to notify.WebhookURL) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.opt.Now().Before(h.silent[to.Key()])
}

// change brings the cards in Teams to what the record says. It goes on until none is due, the limit refuses, or the time is up.
func (d *drain) change(ctx context.Context) error {
	for d.opt.Now().Before(d.deadline) {
		rows, err := d.store.DueUpdates(ctx, d.channel, changesAtOnce)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, n := range rows {
			if err := ctx.Err(); err != nil {
				return err
			}
			if on, err := d.changeOne(ctx, n); err != nil || !on {
				return err
			}
		}
	}
	return nil
}

// changeOne changes one card. on is false when the limit wants the others to wait.
func (d *drain) changeOne(ctx context.Context, n store.Notification) (on bool, err error) {
	var to notify.WebhookURL
	known := false
	if n.Conversation != nil && n.Activity != nil {
		if to, known, err = d.opt.Bot.Address(ctx, *n.Conversation); err != nil {
			return false, err
		}
	}
	if !known {
		return true, d.changed(ctx, store.Updated{ID: n.ID, Gone: true}, changeGone)
	}
	g, err := d.limit.Allow(ctx, to.Key(), 1)
	if err != nil {
		return false, err
	}
	if g.N == 0 {
		d.next = d.opt.Now().Add(g.RetryIn)
		d.metrics.deferred(d.channel, string(g.Window))
		return false, nil
	}
	d.launched++
	card, err := d.opt.Bot.Card(ctx, n, *n.Conversation)
	var body []byte
	if err == nil {
		body, err = cards.BotEnvelope(n.Summary, card)
	}
	r := notify.Result{Class: notify.Permanent, Safe: "the card cannot be made"}
	if err == nil {
		r, _ = d.opt.Bot.Send(ctx, to, *n.Activity, body)
	}
	u := store.Updated{ID: n.ID, Version: n.Version}
	switch {
	case r.Class == notify.Accepted:
		return true, d.changed(ctx, u, changeDone)
	case r.Status == http.StatusNotFound || r.Status == http.StatusGone:
		u.Gone = true
		return true, d.changed(ctx, u, changeGone)
	}
	outcome := changeFailed
	u.Failed, u.NextAttemptAt = true, d.opt.Now().Add(max(d.delay(r.Class, n.Attempts), r.RetryAfter))
	if r.Class == notify.Permanent || (n.Attempts+1 >= maxChanges && !r.Throttled) {
		u.GiveUp, outcome = true, changeGivenUp
	}
	d.log.LogAttrs(ctx, slog.LevelWarn, "card not changed", slog.String("channel", d.channel), slog.String("notification_id", n.ID.String()),
		slog.String("class", string(r.Class)), slog.Int("status", r.Status), slog.String("error", r.Safe), slog.String("outcome", outcome))
	if err := d.changed(ctx, u, outcome); err != nil {
		return false, err
	}
	if r.Throttled || r.RetryAfter > 0 {
		return false, d.limit.Pause(ctx, to.Key(), max(r.RetryAfter, time.Second))
	}
	return true, nil
}

// changed keeps what became of a change, also while the worker stops.
func (d *drain) changed(ctx context.Context, u store.Updated, outcome string) error {
	d.metrics.changes.WithLabelValues(channelLabel(d.channel), outcome).Inc()
	return d.insist(context.WithoutCancel(ctx), func(ctx context.Context) error { return d.store.MarkUpdated(ctx, u) })
}
