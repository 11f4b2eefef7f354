package nphiessim

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
		return identified(nil, id) && contentHash(id) == contentHash(m.nested[0].focus().ext("batch-identifier").get("valueIdentifier"))
	})},
	{"BV-00421", "The claims of a batch SHALL have the same batch-period", nestedBundles, nestedIs(func(m, n *message) bool {
		period := n.focus().ext("batch-period").get("valuePeriod")
		return period.exists() && contentHash(period) == contentHash(m.nested[0].focus().ext("batch-period").get("valuePeriod"))
	})},
	{"BV-00451", "A claim of a batch SHALL have its batch-number", nestedBundles, nestedIs(func(_, n *message) bool { return batchNumber(n) > 0 })},
	{"BV-00452", "The batch-number SHALL be distinct", nestedBundles, nestedIs(func(m, n *message) bool {
		same := 0
		for _, other := range m.nested {
			if batchNumber(other) == batchNumber(n) {
				same++
			}
		}
		return same == 1
	})},
}

// nestedIs applies a condition to the nested message behind a place.
func nestedIs(ok func(m, nested *message) bool) func(*message, node) bool {
	return func(m *message, n node) bool {
		for _, nested := range m.nested {
			if nested.root.path == n.path {
				return ok(m, nested)
			}
		}
		return false
	}
}

func batchNumber(m *message) int {
	i, _ := m.focus().ext("batch-number").get("valuePositiveInt").integer()
	return i
}

// nest finds the claim messages of a batch, in the order of the header's focus.
func (m *message) nest() {
	for _, f := range m.foci {
		if f.get("resourceType").str() != "Bundle" {
			continue
		}
		raw, err := encode(f.v)
		if err != nil {
			continue // cannot happen: the value came out of a JSON parser
		}
		nested := newMessageAt(f.path, raw, f.v, m.now)
		nested.knows = m.knows
		m.nested = append(m.nested, nested)
	}
}
