package cards

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Digest is one card that stands for many: in a storm the less urgent events of a channel are counted and named together.
type Digest struct {
	ID          string // UUID; the webhook id of the message
	Channel     string
	Environment string
	At          time.Time
	Entries     []DigestEntry
}

// DigestEntry is one event in a digest.
type DigestEntry struct {
	ID       string
	Type     EventType
	Priority Priority
	Card     json.RawMessage // the card it would have got; its fallback text names the event
}

// digestNames is how many events a digest names; the others are only counted, and the monitor lists them all.
const digestNames = 40

// RenderDigest builds the digest's card, under the same rules as Render. Its priority is that of the worst entry.
//
// Errors wrap ErrEvent (no entries, no usable id, no time) or ErrCardTooLarge.
func RenderDigest(d Digest, l Links) ([]byte, error) {
	if len(d.Entries) == 0 || !identifier.MatchString(d.ID) || d.At.IsZero() {
		return nil, fmt.Errorf("%w: digest without entries, id or time", ErrEvent)
	}
	entries := slices.Clone(d.Entries)
	slices.SortStableFunc(entries, func(a, b DigestEntry) int { return a.Priority.Rank() - b.Priority.Rank() })

	w := l.Language
	counts := map[EventType]int{}
	names := make([]said, 0, len(entries))
	for _, e := range entries {
		counts[e.Type]++
		name := ownLine(Summary(e.Card))
		if name == "" {
			name = plain(fmt.Sprintf("%s: %s (%s)", e.Priority, e.Type, e.ID))
		}
		names = append(names, w.cut(name, 160))
	}
	facts := []fact{must("Events", grouped(len(entries)))}
	for _, t := range slices.Sorted(maps.Keys(counts)) {
		title := phrase(line(string(t)))
		if r, ok := rows[t]; ok {
			title = phrase(r.Title)
		}
		facts = append(facts, may(title, grouped(counts[t])))
	}
	if over := len(facts) - maxFacts; over > 0 {
		rest := 0
		for _, t := range slices.Sorted(maps.Keys(counts))[maxFacts-2:] {
			rest += counts[t]
		}
		facts = append(facts[:maxFacts-1], may("Others", grouped(rest)))
	}
	texts := batches(names, w)
	detail := make([]block, 0, len(texts))
	for i, t := range texts {
		heading := phrase("Events")
		if i > 0 {
			heading = "Events, continued"
		}
		detail = append(detail, block{heading, t})
	}
	c := content{
		title:       w.say("%s events in one card", grouped(len(entries))),
		object:      d.Channel,
		counter:     plain(grouped(len(entries))),
		facts:       facts,
		detail:      detail,
		actions:     []action{{"Grafana", l.Grafana}, {"Details", page(l.Monitor, "notifications", d.ID)}},
		language:    w,
		priority:    entries[0].Priority,
		id:          d.ID,
		environment: d.Environment,
		at:          d.At,
	}
	if !c.priority.Valid() {
		c.priority = Info
	}
	return c.render()
}

// batches writes the first digestNames names, ten to a text, so that the ladder's limit per text cuts none of them.
func batches(names []said, w Language) []said {
	var out []said
	shown := names[:min(len(names), digestNames)]
	for chunk := range slices.Chunk(shown, 10) {
		out = append(out, w.list(chunk, 10, "\n"))
	}
	if more := len(names) - len(shown); more > 0 {
		out[len(out)-1] += "\n" + w.say("… and %s more", grouped(more))
	}
	return out
}
