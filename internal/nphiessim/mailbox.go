package nphiessim

import (
	"slices"
	"time"
)

// mailbox is what waits for one provider license, oldest first.
type mailbox struct {
	mails []*mail
}

// mail is one waiting message.
type mail struct {
	event  string
	at     time.Time // enters the mailbox
	claim  Identifier
	bundle map[string]any
	size   int // of the bundle in bytes
}

// box returns the mailbox of a license. The caller holds the lock.
func (s *Sim) box(license string) *mailbox {
	b := s.boxes[license]
	if b == nil {
		b = &mailbox{}
		s.boxes[license] = b
	}
	return b
}

func (b *mailbox) add(m *mail) {
	m.size = sizeOf(m.bundle)
	i := len(b.mails)
	for i > 0 && b.mails[i-1].at.After(m.at) {
		i--
	}
	b.mails = slices.Insert(b.mails, i, m)
}

// waiting counts the messages that a poll without filter would find.
func (b *mailbox) waiting(now time.Time) int {
	n := 0
	for _, m := range b.mails {
		if !m.at.After(now) {
			n++
		}
	}
	return n
}

// maxPoll is how many bytes of messages a poll gets at most; the rest waits for the next one.
const maxPoll = 8 << 20

// take removes and returns the oldest messages that keep accepts, at most count and as many as fit into an answer.
func (b *mailbox) take(now time.Time, count int, keep func(*mail) bool) []*mail {
	var out []*mail
	size := 0
	b.mails = slices.DeleteFunc(b.mails, func(m *mail) bool {
		if len(out) == count || m.at.After(now) || !keep(m) {
			return false
		}
		if size += m.size; size > maxPoll {
			count = len(out)
			return false
		}
		out = append(out, m)
		return true
	})
	return out
}

// holds tells that a message about a claim waits.
func (b *mailbox) holds(claim Identifier) bool {
	return slices.ContainsFunc(b.mails, func(m *mail) bool { return m.claim == claim })
}

// drop removes the messages about a claim.
func (b *mailbox) drop(claim Identifier) {
	b.mails = slices.DeleteFunc(b.mails, func(m *mail) bool { return m.claim == claim })
}

// takePoll answers a poll-request. What it delivers leaves the mailbox, whether or not the answer arrives.
func (s *Sim) takePoll(m *message) (answer, []Finding) {
	findings := judge(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	findings = append(findings, s.seenIDs(m)...)
	if len(findings) > 0 {
		return s.pollReply(m, "failed", "fatal-error", errorOutputs(findings), nil), findings
	}
	box := s.box(m.sender())
	mails := box.take(m.now, pollCount(m), pollFilter(m))
	s.stats.Delivered += len(mails)
	var outputs, bundles []any
	for _, mail := range mails {
		url := nphiesBase + "Bundle/" + rooted(mail.bundle, "").get("id").str()
		outputs = append(outputs, map[string]any{
			"extension":      []any{map[string]any{"url": extensionURL("timestamp"), "valueDateTime": instant(mail.at)}},
			"type":           concept(outputSystem, "response"),
			"valueReference": map[string]any{"reference": url},
		})
		bundles = append(bundles, entryJSON(url, mail.bundle))
	}
	return s.pollReply(m, "completed", "ok", outputs, bundles), nil
}

func pollCount(m *message) int {
	for _, n := range inputs("count").find(m) {
		if i, ok := n.get("valuePositiveInt").integer(); ok {
			return i
		}
	}
	return 1
}

// pollFilter accepts the messages that a poll asks for: by type, by the period in which they came, by the request they
// answer (Task.focus).
func pollFilter(m *message) func(*mail) bool {
	codes := func(kind string) map[string]bool {
		out := map[string]bool{}
		for _, n := range inputs(kind).find(m) {
			out[n.get("valueCode").str()] = true
		}
		return out
	}
	include, exclude := codes("include-message-type"), codes("exclude-message-type")
	var from, to time.Time
	for _, n := range inputs("period").find(m) {
		from, _, _ = parseDate(n.get("valuePeriod.start").str())
		end, dateOnly, _ := parseDate(n.get("valuePeriod.end").str())
		if dateOnly {
			end = end.AddDate(0, 0, 1)
		}
		to = end
	}
	about := m.focus().get("focus").identifier()
	return func(mail *mail) bool {
		switch {
		case len(include) > 0 && !include[mail.event],
			exclude[mail.event],
			mail.at.Before(from),
			!to.IsZero() && mail.at.After(to),
			about.Value != "" && mail.claim != about:
			return false
		}
		return true
	}
}

func errorOutputs(findings []Finding) []any {
	var out []any
	for _, f := range findings {
		out = append(out, map[string]any{"type": concept(outputSystem, "error"), "valueCodeableConcept": errorCoding(f)})
	}
	return out
}

func (s *Sim) pollReply(m *message, status, code string, outputs, bundles []any) answer {
	url, task := s.taskAnswer(m, nphiesParty, status, outputs)
	task["authoredOn"], task["lastModified"] = utc(m.now), utc(m.now)
	task["owner"] = map[string]any{"identifier": identifierJSON(nphiesParty)}
	return s.realTime(m, reply{
		event: eventPollResponse, from: nphiesParty, to: m.sender(), answers: m.header.get("id").str(), status: code,
		resources: slices.Concat([]any{entryJSON(url, task)}, bundles, entriesOf(m, "Organization")),
	})
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
