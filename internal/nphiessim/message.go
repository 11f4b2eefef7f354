package nphiessim

import (
	"strings"
	"time"
)

// riyadh is the time zone in which "today" is decided; it has no daylight saving.
var riyadh = time.FixedZone("Asia/Riyadh", 3*60*60)

// message is a parsed request Bundle.
type message struct {
	raw    []byte
	root   node
	now    time.Time
	event  string
	header node

	entries []node          // Bundle.entry[i]
	byURL   map[string]node // fullUrl -> resource
	byTail  map[string]node // "Type/id" -> resource
	foci    []node          // what the header's focus names; an absent node where it names nothing
	all     []node          // everything in the Bundle but the contents of nested ones, while it is judged
	nested  []*message      // the claims of a batch

	watch func(r *rule, held bool) // sees every judgement, for tests

	// knows tells whether a claim with this identifier was taken in from the same sender for the same payer.
	knows func(Identifier) bool
}

// newMessage indexes a Bundle. The header is absent if the first entry is no MessageHeader.
func newMessage(raw []byte, v any, now time.Time) *message {
	return newMessageAt("Bundle", raw, v, now)
}

// newMessageAt indexes a Bundle that stands at a path of another one.
func newMessageAt(path string, raw []byte, v any, now time.Time) *message {
	m := &message{raw: raw, root: node{v, path}, now: now, byURL: map[string]node{}, byTail: map[string]node{}}
	m.entries = m.root.get("entry").list()
	for i, e := range m.entries {
		res := e.get("resource")
		if i == 0 && res.get("resourceType").str() == "MessageHeader" {
			m.header = res
		}
		if u := e.get("fullUrl").str(); u != "" {
			m.byURL[u] = res
		}
		m.byTail[res.get("resourceType").str()+"/"+res.get("id").str()] = res
	}
	m.event = m.header.get("eventCoding.code").str()
	for _, f := range m.header.get("focus").list() {
		m.foci = append(m.foci, m.byURL[f.get("reference").str()])
	}
	m.knows = func(Identifier) bool { return false }
	if m.event == eventBatch {
		m.nest()
	}
	return m
}

// resolve returns the resource that a Reference points at, absent if it is not in the Bundle.
func (m *message) resolve(ref node) node {
	r := ref.get("reference").str()
	if res, ok := m.byURL[r]; ok {
		return res
	}
	if strings.Count(r, "/") == 1 {
		return m.byTail[r]
	}
	return node{}
}

// focus is the resource that the header's first focus names.
func (m *message) focus() node {
	if len(m.foci) == 0 {
		return node{}
	}
	return m.foci[0]
}

func (m *message) sender() string {
	return m.header.get("sender.identifier.value").str()
}

func (m *message) receiver() string {
	return m.header.get("destination").at(0).get("receiver.identifier.value").str()
}

func (m *message) resources(kind string) []node {
	var out []node
	for _, e := range m.entries {
		if r := e.get("resource"); r.get("resourceType").str() == kind {
			out = append(out, r)
		}
	}
	return out
}

func (m *message) claimType() string { return m.focus().get("type").code(systemClaimType) }

func (m *message) encounter() node {
	return m.resolve(m.focus().ext("encounter").get("valueReference"))
}

// parseDate reads a FHIR date or dateTime. dateOnly tells that there was no time; such a value is that day's beginning in
// Riyadh. A time needs seconds and a zone.
func parseDate(s string) (t time.Time, dateOnly, ok bool) {
	if t, err := time.ParseInLocation(time.DateOnly, s, riyadh); err == nil {
		return t, true, true
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, false, err == nil
}

// day is the Riyadh calendar day of t, for comparing days as strings.
func day(t time.Time) string { return t.In(riyadh).Format(time.DateOnly) }

// dayOf is the Riyadh day of a FHIR date or dateTime, "" if it cannot be read.
func dayOf(n node) string {
	t, _, ok := parseDate(n.str())
	if !ok {
		return ""
	}
	return day(t)
}

// notAfter tells that a date or dateTime is not later than the moment now; a date alone counts as a whole day.
func notAfter(n node, now time.Time) bool {
	t, dateOnly, ok := parseDate(n.str())
	if !ok {
		return false
	}
	if dateOnly {
		return n.str() <= day(now)
	}
	return !t.After(now)
}
