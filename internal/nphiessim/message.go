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

	entries  []node              // Bundle.entry[i]
	urls     map[string]int      // how many entries have a fullUrl
	byURL    map[string]node     // fullUrl -> resource
	byTail   map[string]node     // "Type/id" -> resource
	licenses map[Identifier]bool // of the Organizations
	foci     []node              // what the header's focus names; an absent node where it names nothing
	claim    claimIndex
	all      []node              // everything in the Bundle but the contents of nested ones, while it is judged
	nested   []*message          // the claims of a batch, in the order of its foci
	nestedAt map[string]*message // by path
	inBatch  bool                // this is one of the claims of a batch
	numbered map[int]int         // how many claims of a batch have a batch-number

	asked    *message // of an answer: what it answers
	realTime bool     // of an answer: it comes on the request's connection

	watch func(r *rule, held bool) // sees every judgement, for tests

	// knows tells whether a claim with this identifier was taken in from the same sender for the same payer.
	knows func(Identifier) bool
}

// claimIndex is what the rules for many items, or many entries of supporting information, ask of the whole claim.
type claimIndex struct {
	kind      string // type of claim
	encounter node
	sequences map[string]map[int]bool // by list
	supplies  map[int]int             // how many entries of category days-supply, above zero, have a sequence
	infos     map[string]bool         // categories of supporting information
	answered  bool                    // the extensions name an authorization's answer
	offline   bool                    // the extensions give the date of an authorization by telephone
}

func (m *message) indexClaim() claimIndex {
	c := m.focus()
	x := claimIndex{
		kind: c.get("type").code(systemClaimType), encounter: m.resolve(c.ext("encounter").get("valueReference")),
		sequences: map[string]map[int]bool{}, supplies: map[int]int{}, infos: map[string]bool{},
		answered: authorization(c).exists(), offline: c.ext("authorization-offline-date").exists(),
	}
	for _, list := range []string{"careTeam", "diagnosis", "supportingInfo"} {
		x.sequences[list] = map[int]bool{}
		for _, n := range c.get(list).list() {
			i, ok := n.get("sequence").integer()
			if ok {
				x.sequences[list][i] = true
			}
			if list != "supportingInfo" {
				continue
			}
			category := infoCategory(n)
			x.infos[category] = true
			if category == "days-supply" && isPositive(nil, n.get("valueQuantity.value")) {
				x.supplies[i]++
			}
		}
	}
	return x
}

// newMessage indexes a Bundle. The header is absent if the first entry is no MessageHeader.
func newMessage(raw []byte, v any, now time.Time) *message {
	return newMessageAt(rooted(v, "Bundle"), raw, now)
}

// newMessageAt indexes a Bundle that may stand in another one.
func newMessageAt(root node, raw []byte, now time.Time) *message {
	m := &message{
		raw: raw, root: root, now: now, urls: map[string]int{}, byURL: map[string]node{}, byTail: map[string]node{},
		licenses: map[Identifier]bool{},
	}
	m.entries = m.root.get("entry").list()
	for i, e := range m.entries {
		res := e.get("resource")
		if i == 0 && res.get("resourceType").str() == "MessageHeader" {
			m.header = res
		}
		if u := e.get("fullUrl").str(); u != "" {
			m.byURL[u] = res
			m.urls[u]++
		}
		if res.get("resourceType").str() == "Organization" {
			m.licenses[res.identifier()] = true
		}
		m.byTail[res.get("resourceType").str()+"/"+res.get("id").str()] = res
	}
	m.event = m.header.get("eventCoding.code").str()
	for _, f := range m.header.get("focus").list() {
		m.foci = append(m.foci, m.byURL[f.get("reference").str()])
	}
	m.claim = m.indexClaim()
	m.knows = func(Identifier) bool { return false }
	if m.event == eventBatch {
		m.nest()
	}
	return m
}

// resolve returns the resource that a Reference points at, absent if it is not in the Bundle.
func (m *message) resolve(ref node) node { return m.named(ref.get("reference").str()) }

// named returns the resource with a fullUrl or a relative address.
func (m *message) named(r string) node {
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

func (m *message) claimType() string { return m.claim.kind }

func (m *message) encounter() node { return m.claim.encounter }

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
