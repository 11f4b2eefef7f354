package nphiessim

import "reflect"

// maxBatch is how many claims a batch may hold: the rule workbook's limit. The web guide says 200.
const maxBatch = 100

// nestedBundles are the claim messages of a batch.
var nestedBundles = selector{"Bundle.entry.resource.ofType(Bundle)", func(m *message) []node {
	var out []node
	for _, n := range m.nested {
		out = append(out, n.root)
	}
	return out
}}

// batchRules are section 6.6: what a batch-request adds to the claims in it, each of which is judged as a message of its
// own. Which of the ids that the guide lists together means which condition is our reading.
var batchRules = []rule{
	{"BV-00373", "A batch SHALL have 1 to 100 claims", sub(atHeader, "focus"), func(_ *message, n node) bool {
		return len(n.list()) >= 1 && len(n.list()) <= maxBatch
	}},
	{"BV-00227", "A nested message SHALL be a claim-request", nestedBundles, nestedIs(func(_, n *message) bool { return n.event == eventClaim })},
	{"BV-00238", "A nested message SHALL have the sender of the batch", nestedBundles, nestedIs(func(m, n *message) bool { return n.sender() == m.sender() })},
	{"BV-00383", "A nested message SHALL have the receiver of the batch", nestedBundles, nestedIs(func(m, n *message) bool {
		return n.receiver() == m.receiver()
	})},
	{"BV-00385", "The claims of a batch SHALL have the same batch-identifier", nestedBundles, nestedIs(func(m, n *message) bool {
		id := n.focus().ext("batch-identifier").get("valueIdentifier")
		return identified(nil, id) && reflect.DeepEqual(id.v, m.nested[0].focus().ext("batch-identifier").get("valueIdentifier").v)
	})},
	{"BV-00421", "The claims of a batch SHALL have the same batch-period", nestedBundles, nestedIs(func(m, n *message) bool {
		period := n.focus().ext("batch-period").get("valuePeriod")
		return period.exists() && reflect.DeepEqual(period.v, m.nested[0].focus().ext("batch-period").get("valuePeriod").v)
	})},
	{"BV-00451", "A claim of a batch SHALL have its batch-number", nestedBundles, nestedIs(func(_, n *message) bool { return batchNumber(n) > 0 })},
	{"BV-00452", "The batch-number SHALL be distinct", nestedBundles, nestedIs(func(m, n *message) bool {
		return m.numbered[batchNumber(n)] == 1
	})},
}

// nestedIs applies a condition to the nested message behind a place.
func nestedIs(ok func(m, nested *message) bool) func(*message, node) bool {
	return func(m *message, n node) bool {
		nested := m.nestedAt[n.path()]
		return nested != nil && ok(m, nested)
	}
}

func batchNumber(m *message) int {
	i, _ := m.focus().ext("batch-number").get("valuePositiveInt").integer()
	return i
}

// nest finds the claim messages of a batch, in the order of the header's focus. Of more than a batch may hold only the first are
// read, and one that is named twice only once: the batch is refused anyway.
func (m *message) nest() {
	m.nestedAt, m.numbered = map[string]*message{}, map[int]int{}
	for _, f := range m.foci[:min(len(m.foci), maxBatch)] {
		if f.get("resourceType").str() != "Bundle" {
			continue
		}
		path := f.path()
		if again := m.nestedAt[path]; again != nil {
			m.numbered[batchNumber(again)]++
			continue
		}
		raw, err := encode(f.v)
		if err != nil {
			continue // cannot happen: the value came out of a JSON parser
		}
		nested := newMessageAt(f, raw, m.now)
		nested.knows, nested.inBatch = m.knows, true
		m.nestedAt[path] = nested
		m.nested = append(m.nested, nested)
		m.numbered[batchNumber(nested)]++
	}
}
