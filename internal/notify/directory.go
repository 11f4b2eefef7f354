package notify

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/claimlinc/nphiesq/cards"
)

// Hook is how a stakeholder's channel is reached. It cannot be printed. The zero value is no way at all.
type Hook struct {
	URL WebhookURL
	// Previous is tried once when URL is refused (401, 403, 404), while an address is being changed; often there is none.
	Previous WebhookURL
	// Login is for a trigger that demands one; its zero value is for those that do not.
	Login Login
}

// Channel is a webhook as an event sees it. Stakeholders that share a webhook share the channel.
type Channel struct {
	// Name is the first of all the groups that share the webhook, in the fixed order of cards.Stakeholders.
	Name string
	// Stakeholders are those of the event, in the fixed order.
	Stakeholders []cards.Stakeholder
	// Redacted is the webhook's printable form. It is empty when there is no webhook: the notification is then written all
	// the same and fails visibly.
	Redacted string
}

// Warning is a shortcoming of the settings that does not stop the start.
type Warning struct {
	Stakeholder cards.Stakeholder
	Text        string
}

// Directory knows the stakeholders' webhooks. It is safe for concurrent use; Use and Replace exchange all of them at once.
type Directory struct {
	allowInsecure bool
	extraHosts    []string
	bots          map[cards.Stakeholder]string
	current       atomic.Pointer[map[cards.Stakeholder]Hook]
	unknown       atomic.Bool
}

// NewDirectory reads the webhook addresses by stakeholder; empty ones count as missing, and each missing one is a Warning.
// allowInsecure and extraHosts are those of ParseWebhookURL.
//
// Errors name the stakeholder and wrap those of ParseWebhookURL; they never show the address.
func NewDirectory(urls map[cards.Stakeholder]string, allowInsecure bool, extraHosts ...string) (*Directory, []Warning, error) {
	d := &Directory{allowInsecure: allowInsecure, extraHosts: extraHosts}
	warnings, err := d.Replace(urls)
	if err != nil {
		return nil, nil, err
	}
	return d, warnings, nil
}

// ParseBotChannels reads "sre=19:…@thread.tacv2 pmo=19:…", separated by blanks or commas: the conversations of stakeholders that the bot
// posts to. Errors name the entry and what is allowed.
func ParseBotChannels(text string) (map[cards.Stakeholder]string, error) {
	out := map[cards.Stakeholder]string{}
	for _, entry := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' }) {
		name, id, ok := strings.Cut(entry, "=")
		s := cards.Stakeholder(strings.ToUpper(name))
		switch {
		case !ok || !s.Valid():
			return nil, fmt.Errorf("%q is not allowed; want stakeholder=channel id, such as sre=19:…@thread.tacv2", entry)
		case !conversation.MatchString(id):
			return nil, fmt.Errorf("%q: not the id of a channel; want 19:…@thread.tacv2", entry)
		}
		if _, twice := out[s]; twice {
			return nil, fmt.Errorf("%q: the stakeholder was given before", entry)
		}
		out[s] = id
	}
	return out, nil
}

var conversation = regexp.MustCompile(`^19:[A-Za-z0-9_.=-]{1,200}@thread\.(tacv2|skype)$`)

// SetBots says which stakeholders' cards the bot posts, and to which conversations. It is called before the first use. Those that share a
// conversation share a channel.
func (d *Directory) SetBots(conversations map[cards.Stakeholder]string) {
	d.bots = maps.Clone(conversations)
}

// Bot returns the conversation of a channel's bot; ok is false when none is set.
func (d *Directory) Bot(channel string) (conversation string, ok bool) {
	conversation, ok = d.bots[cards.Stakeholder(channel)]
	return conversation, ok
}

// way tells stakeholders' channels apart: "" for none.
func (d *Directory) way(hooks map[cards.Stakeholder]Hook, s cards.Stakeholder) string {
	if c := d.bots[s]; c != "" {
		return "bot " + c
	}
	return hooks[s].URL.Reveal()
}

// Replace takes new addresses, for all stakeholders at once. On an error the old ones stay.
func (d *Directory) Replace(urls map[cards.Stakeholder]string) ([]Warning, error) {
	next := make(map[cards.Stakeholder]Hook, len(urls))
	for s, raw := range urls {
		h, err := d.Parse(s, raw)
		if err != nil {
			return nil, err
		}
		next[s] = h
	}
	return d.Use(next), nil
}

// Parse reads what a setting says about a stakeholder's webhook: its address, and after a blank the previous one, if it is being
// changed. An empty setting is no Hook.
//
// Errors name the stakeholder and wrap those of ParseWebhookURL; they never show the address.
func (d *Directory) Parse(s cards.Stakeholder, setting string) (Hook, error) {
	if !s.Valid() {
		return Hook{}, fmt.Errorf("%w: unknown stakeholder %q", ErrWebhookURL, s)
	}
	urls := strings.Fields(setting)
	if len(urls) == 0 {
		return Hook{}, nil
	}
	if len(urls) > 2 {
		return Hook{}, fmt.Errorf("webhook of %s: %w: more than two addresses", s, ErrWebhookURL)
	}
	var h Hook
	for i, to := range []*WebhookURL{&h.URL, &h.Previous}[:len(urls)] {
		var err error
		if *to, err = ParseWebhookURL(urls[i], d.allowInsecure, d.extraHosts...); err != nil {
			return Hook{}, fmt.Errorf("webhook of %s: %w", s, err)
		}
	}
	return h, nil
}

// Use takes new webhooks, for all stakeholders at once; those of no stakeholder are left out. What one of those that share a webhook
// says about it (a previous address, a login) holds for all of them. The warnings name the missing ones.
func (d *Directory) Use(hooks map[cards.Stakeholder]Hook) []Warning {
	next := make(map[cards.Stakeholder]Hook, len(hooks))
	var warnings []Warning
	for _, s := range cards.Stakeholders() {
		h := hooks[s]
		if h.URL.IsZero() {
			if d.bots[s] != "" {
				continue
			}
			warnings = append(warnings, Warning{Stakeholder: s, Text: fmt.Sprintf("no webhook for %s: its notifications will fail", s)})
			continue
		}
		for _, other := range cards.Stakeholders() {
			o := hooks[other]
			if o.URL.Reveal() != h.URL.Reveal() {
				continue
			}
			if h.Previous.IsZero() {
				h.Previous = o.Previous
			}
			if h.Login.IsZero() {
				h.Login = o.Login
			}
		}
		next[s] = h
	}
	d.current.Store(&next)
	return warnings
}

// SetKnown says whether the webhooks are known at all. They are not as long as the place where they are kept has never answered:
// notifications wait then instead of failing. A Directory begins as known.
func (d *Directory) SetKnown(known bool) { d.unknown.Store(!known) }

// Known reports whether the webhooks are known; see SetKnown.
func (d *Directory) Known() bool { return !d.unknown.Load() }

// Channels groups stakeholders by webhook, in the fixed order. Each stakeholder is in exactly one channel; one without a webhook
// has a channel of its own.
func (d *Directory) Channels(stakeholders []cards.Stakeholder) []Channel {
	hooks := *d.current.Load()
	var out []Channel
	for _, s := range cards.Stakeholders() {
		if !slices.Contains(stakeholders, s) {
			continue
		}
		name := d.nameOf(hooks, s)
		if i := slices.IndexFunc(out, func(c Channel) bool { return c.Name == name }); i >= 0 {
			out[i].Stakeholders = append(out[i].Stakeholders, s)
			continue
		}
		out = append(out, Channel{Name: name, Stakeholders: []cards.Stakeholder{s}, Redacted: hooks[s].URL.String()})
	}
	return out
}

// nameOf returns the first stakeholder that has the channel of s.
func (d *Directory) nameOf(hooks map[cards.Stakeholder]Hook, s cards.Stakeholder) string {
	own := d.way(hooks, s)
	if own == "" {
		return string(s)
	}
	for _, other := range cards.Stakeholders() {
		if d.way(hooks, other) == own {
			return string(other)
		}
	}
	return string(s)
}

// Names lists the channels that exist for all stakeholders together, in the fixed order.
func (d *Directory) Names() []string {
	channels := d.Channels(cards.Stakeholders())
	names := make([]string, 0, len(channels))
	for _, c := range channels {
		names = append(names, c.Name)
	}
	return names
}

// Hook returns the way to a channel; ok is false when there is none. A channel is named after a stakeholder, so rows written
// before the groups' webhooks were split or joined still find theirs.
func (d *Directory) Hook(channel string) (h Hook, ok bool) {
	h = (*d.current.Load())[cards.Stakeholder(channel)]
	return h, !h.URL.IsZero()
}

// Fallback returns the channel that stands in for another: that of the preferred stakeholder, or if that is the same webhook or
// none, the first other one with a webhook. ok is false when there is no other.
func (d *Directory) Fallback(channel string, preferred cards.Stakeholder) (c Channel, ok bool) {
	hooks := *d.current.Load()
	own := d.way(hooks, cards.Stakeholder(channel))
	for _, s := range append([]cards.Stakeholder{preferred}, cards.Stakeholders()...) {
		if to := d.way(hooks, s); to == "" || string(s) == channel || to == own {
			continue
		}
		return Channel{Name: d.nameOf(hooks, s), Stakeholders: []cards.Stakeholder{s}, Redacted: hooks[s].URL.String()}, true
	}
	return Channel{}, false
}
