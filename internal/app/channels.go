package app

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/notify"
	"github.com/claimlinc/nphiesq/internal/store"
)

// router shows the channels to the store: those of the directory, or those that the workers found in Vault, see ShareChannels.
type router struct {
	d     *notify.Directory
	found atomic.Pointer[[]sharedChannel]
}

// sharedChannel is a channel in the record. Redacted is as in teams_notifications: no address.
type sharedChannel struct {
	Name         string              `json:"name"`
	Stakeholders []cards.Stakeholder `json:"stakeholders"`
	Redacted     string              `json:"redacted"`
}

func (r *router) Channels(who []cards.Stakeholder) []store.Channel {
	var out []store.Channel
	if found := r.found.Load(); found != nil {
		for _, c := range *found {
			those := slices.DeleteFunc(slices.Clone(c.Stakeholders), func(s cards.Stakeholder) bool { return !slices.Contains(who, s) })
			if len(those) > 0 {
				out = append(out, store.Channel{Name: c.Name, Stakeholders: those, Redacted: c.Redacted})
			}
		}
		return out
	}
	for _, c := range r.d.Channels(who) {
		out = append(out, store.Channel{Name: c.Name, Stakeholders: c.Stakeholders, Redacted: c.Redacted})
	}
	return out
}

// channelsMemory is where the workers say which stakeholders share a channel.
const channelsMemory = "channels"

// ShareChannels says in the record which stakeholders share a channel, until ctx ends. Only workers read the webhooks in Vault, and the
// monitor needs none in its settings: what it and enqueue tell must not go twice to stakeholders who have one webhook.
func (a *App) ShareChannels(ctx context.Context) {
	if a.router == nil {
		return
	}
	var told []sharedChannel
	a.every(ctx, func() {
		if !a.Directory.Known() {
			return
		}
		var now []sharedChannel
		for _, c := range a.Directory.Channels(cards.Stakeholders()) {
			now = append(now, sharedChannel{c.Name, c.Stakeholders, c.Redacted})
		}
		if slices.EqualFunc(now, told, func(x, y sharedChannel) bool {
			return x.Name == y.Name && x.Redacted == y.Redacted && slices.Equal(x.Stakeholders, y.Stakeholders)
		}) {
			return
		}
		if err := a.Store.Remember(ctx, channelsMemory, now); err != nil {
			a.Log.WarnContext(ctx, "the channels are not shared yet", slog.String("error", err.Error()))
			return
		}
		told = now
	})
}

// FollowChannels takes over what ShareChannels says, until ctx ends.
func (a *App) FollowChannels(ctx context.Context) { a.every(ctx, func() { a.readChannels(ctx) }) }

// readChannels takes over what ShareChannels said last. Before it ever said anything our own settings count.
func (a *App) readChannels(ctx context.Context) {
	if a.router == nil {
		return
	}
	var found []sharedChannel
	if err := a.Store.Recall(ctx, channelsMemory, &found); err != nil {
		a.Log.WarnContext(ctx, "the channels that workers found in Vault are not known", slog.String("error", err.Error()))
		return
	}
	if len(found) > 0 {
		a.router.found.Store(&found)
	}
}

func (a *App) every(ctx context.Context, do func()) {
	tick := time.NewTicker(a.Config.VaultReload.D())
	defer tick.Stop()
	for {
		do()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
