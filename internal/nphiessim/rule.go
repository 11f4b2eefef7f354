package nphiessim

import (
	"regexp"
	"slices"
)

// rule is one line of the rule workbook: where it looks and what must hold there. Every place where ok is false becomes a
// finding with the place's FHIRPath.
type rule struct {
	id   string
	text string
	at   selector
	ok   func(m *message, n node) bool
}

// selector names the places of a message that a rule looks at. A place may be an absent node: its path still says where
// something is missing.
type selector func(m *message) []node

// Finding is one violation of a rule.
type Finding struct {
	// Code is the NPHIES error code, such as "BV-00251".
	Code string `json:"code"`
	// Text is the rule in words.
	Text string `json:"text"`
	// Path is the FHIRPath of the culprit.
	Path string `json:"path,omitempty"`
}

// judge applies rules to a message.
func judge(m *message, tables ...[]rule) []Finding {
	var out []Finding
	m.root.walk(func(n node) { m.all = append(m.all, n) })
	defer func() { m.all = nil }()
	for _, table := range tables {
		for _, r := range table {
			for _, n := range r.at(m) {
				if !r.ok(m, n) {
					out = append(out, Finding{r.id, r.text, n.path})
				}
			}
		}
	}
	return out
}

// rulesFor are the tables that apply to an event.
func rulesFor(event string) [][]rule {
	common := [][]rule{envelopeRules, structureRules, partyRules}
	switch event {
	case eventClaim:
		return append(common, claimHeadRules, claimListRules, itemRules, amountRules, infoRules, encounterRules)
	case eventEligibility:
		return append(common, eligibilityRules)
	case eventPoll:
		return append(common, taskRules, pollRules)
	case eventStatus, eventCancel:
		return append(common, taskRules, targetTaskRules)
	default:
		return common
	}
}

// Selectors.

func atBundle(m *message) []node { return []node{m.root} }
func atHeader(m *message) []node { return []node{m.header} }
func atFocus(m *message) []node {
	if f := m.focus(); f.exists() {
		return []node{f}
	}
	return nil
}

// atAll selects the resources of one type.
func atAll(kind string) selector { return func(m *message) []node { return m.resources(kind) } }

// sub goes down to one element, whether or not it is there.
func sub(s selector, dotted string) selector {
	return func(m *message) []node {
		var out []node
		for _, n := range s(m) {
			out = append(out, n.get(dotted))
		}
		return out
	}
}

// blame keeps the places but names one of their elements as the culprit, for conditions that look at the whole.
func blame(s selector, element string) selector {
	return func(m *message) []node {
		var out []node
		for _, n := range s(m) {
			out = append(out, node{n.v, n.path + "." + element})
		}
		return out
	}
}

// each goes down to the members of a list.
func each(s selector, dotted string) selector {
	return func(m *message) []node {
		var out []node
		for _, n := range s(m) {
			out = append(out, n.get(dotted).list()...)
		}
		return out
	}
}

// extOf goes down to an extension, whether or not it is there.
func extOf(s selector, name string) selector {
	return func(m *message) []node {
		var out []node
		for _, n := range s(m) {
			out = append(out, n.ext(name))
		}
		return out
	}
}

// where keeps the places for which keep is true.
func where(s selector, keep func(m *message, n node) bool) selector {
	return func(m *message) []node {
		var out []node
		for _, n := range s(m) {
			if keep(m, n) {
				out = append(out, n)
			}
		}
		return out
	}
}

// present keeps the places that exist.
func present(s selector) selector { return where(s, exists) }

// ofType keeps the places if the claim is of one of the types.
func ofType(s selector, types ...string) selector {
	return where(s, func(m *message, _ node) bool { return slices.Contains(types, m.claimType()) })
}

// Conditions.

func exists(_ *message, n node) bool { return n.exists() }
func absent(_ *message, n node) bool { return !n.exists() }

func nonEmptyList(_ *message, n node) bool { return len(n.list()) > 0 }

func isText(_ *message, n node) bool { return n.str() != "" }

func isTrue(_ *message, n node) bool { return n.isTrue() }

func isBoolean(_ *message, n node) bool { _, ok := n.v.(bool); return ok }

// oneOf accepts the given strings.
func oneOf(values ...string) func(*message, node) bool {
	return func(_ *message, n node) bool { return slices.Contains(values, n.str()) }
}

// coded accepts a CodeableConcept with a coding of that system; with codes given, only those.
func coded(system string, codes ...string) func(*message, node) bool {
	return func(_ *message, n node) bool {
		c := n.code(system)
		return c != "" && (len(codes) == 0 || slices.Contains(codes, c))
	}
}

func matches(re *regexp.Regexp) func(*message, node) bool {
	return func(_ *message, n node) bool { return re.MatchString(n.str()) }
}

// identified accepts an Identifier with system and value.
func identified(_ *message, n node) bool {
	return n.get("system").str() != "" && n.get("value").str() != ""
}

// pointsAt accepts a Reference that resolves to a resource of the kind.
func pointsAt(kind string) func(*message, node) bool {
	return func(m *message, n node) bool { return m.resolve(n).get("resourceType").str() == kind }
}

func notInFuture(m *message, n node) bool { return notAfter(n, m.now) }

// uniqueSequences accepts a list in which every member has a whole, positive and distinct "sequence".
func uniqueSequences(_ *message, n node) bool {
	seen := map[int]bool{}
	for _, c := range n.list() {
		i, ok := c.get("sequence").integer()
		if !ok || i < 1 || seen[i] {
			return false
		}
		seen[i] = true
	}
	return true
}

// The codes for which the guide names no rule of its own.
const (
	ruleCardinality = "IC-01428"
	ruleBinding     = "IB-00242"
	ruleStructure   = "GE-00013"
	ruleReference   = "RE-00169"
	ruleProfile     = "RE-00170"
)

// must is the rule that an element is there.
func must(s selector, dotted string) rule {
	return rule{ruleCardinality, dotted + " is not following the correct cardinality", sub(s, dotted), exists}
}
