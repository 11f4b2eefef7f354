package notify

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/claimlinc/nphiesq/cards"
)

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

// Directory knows the stakeholders' webhooks. It is safe for concurrent use; Replace exchanges all of them at once.
type Directory struct {
	allowInsecure bool
	extraHosts    []string
	current       atomic.Pointer[map[cards.Stakeholder]WebhookURL]
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

// Replace takes new addresses, for all stakeholders at once. On an error the old ones stay.
func (d *Directory) Replace(urls map[cards.Stakeholder]string) ([]Warning, error) {
	next := make(map[cards.Stakeholder]WebhookURL, len(urls))
	for s, raw := range urls {
		if !s.Valid() {
			return nil, fmt.Errorf("%w: unknown stakeholder %q", ErrWebhookURL, s)
		}
		if raw == "" {
			continue
		}
		w, err := ParseWebhookURL(raw, d.allowInsecure, d.extraHosts...)
		if err != nil {
			return nil, fmt.Errorf("webhook of %s: %w", s, err)
		}
		next[s] = w
	}
	var warnings []Warning
	for _, s := range cards.Stakeholders() {
		if next[s].IsZero() {
			warnings = append(warnings, Warning{Stakeholder: s, Text: fmt.Sprintf("no webhook for %s: its notifications will fail", s)})
		}
	}
	d.current.Store(&next)
	return warnings, nil
}

// Channels groups stakeholders by webhook, in the fixed order. Each stakeholder is in exactly one channel; one without a webhook
// has a channel of its own.
func (d *Directory) Channels(stakeholders []cards.Stakeholder) []Channel {
	urls := *d.current.Load()
	var out []Channel
	for _, s := range cards.Stakeholders() {
		if !slices.Contains(stakeholders, s) {
			continue
		}
		name := nameOf(urls, s)
		if i := slices.IndexFunc(out, func(c Channel) bool { return c.Name == name }); i >= 0 {
			out[i].Stakeholders = append(out[i].Stakeholders, s)
			continue
		}
		out = append(out, Channel{Name: name, Stakeholders: []cards.Stakeholder{s}, Redacted: urls[s].String()})
	}
	return out
}

// nameOf returns the first stakeholder that has the webhook of s.
func nameOf(urls map[cards.Stakeholder]WebhookURL, s cards.Stakeholder) string {
	own := urls[s]
	if own.IsZero() {
		return string(s)
	}
	for _, other := range cards.Stakeholders() {
		if urls[other].Reveal() == own.Reveal() {
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

// URL returns a channel's webhook; ok is false when there is none. A channel is named after a stakeholder, so rows written
// before the groups' webhooks were split or joined still find theirs.
func (d *Directory) URL(channel string) (w WebhookURL, ok bool) {
	w = (*d.current.Load())[cards.Stakeholder(channel)]
	return w, !w.IsZero()
}
