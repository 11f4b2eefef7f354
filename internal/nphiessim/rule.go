package nphiessim

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Rule is one check of the simulator, for people and for tables that compare systems.
type Rule struct {
	// ID is the NPHIES error code with which a violation is answered, such as "BV-00251".
	ID string `json:"id"`
	// Where is the place that is checked, like a FHIRPath: "Claim.item.net", "MessageHeader.destination.endpoint". A place
	// that is no part of a message is a word in brackets: "(transport)".
	Where string `json:"where"`
	// Text is what must hold, in words.
	Text string `json:"text"`
	// Events are the message events that are checked.
	Events []string `json:"events"`
}

// at is the finding of a violation at a place.
func (r Rule) at(path string) Finding { return Finding{r.ID, r.Text, path} }

// rule is one line of the rule workbook: where it looks and what must hold there. Every place where ok is false becomes a
// finding with the place's FHIRPath.
type rule struct {
	id   string
	text string
	at   selector
	ok   func(m *message, n node) bool
}

// selector names the places of a message that a rule looks at. A found place may be an absent node: its path still says
// where something is missing.
type selector struct {
	// path is the place in words, without conditions; it begins with a resource type or focusPath.
	path string
	find func(m *message) []node
}

// focusPath stands in a selector's path for the message's main resource, whose type depends on the event.
const focusPath = "focus()"

// Finding is one violation of a rule.
type Finding struct {
	// Code is the NPHIES error code, such as "BV-00251".
	Code string `json:"code"`
	// Text is the rule in words.
	Text string `json:"text"`
	// Path is the FHIRPath of the culprit.
	Path string `json:"path,omitempty"`
}

// How many findings a message may have, and a claim of a batch: a message of 10 MB can have a million, which no answer and no page
// can hold. One more then tells how many are left out.
const (
	maxFindings      = 200
	maxBatchFindings = 20
)

// judge applies the rules of the message's event. Its work grows no faster than the message.
func judge(m *message) []Finding { return judgeBy(m, rulesFor(m.event)) }

func judgeBy(m *message, tables [][]rule) []Finding {
	var out []Finding
	most, more := maxFindings, 0
	if m.inBatch {
		most = maxBatchFindings
	}
	m.root.walkMessage(func(n node) { m.all = append(m.all, n) })
	defer func() { m.all = nil }()
	for _, table := range tables {
		for i := range table {
			r := &table[i]
			for _, n := range r.at.find(m) {
				held := r.ok(m, n)
				if m.watch != nil {
					m.watch(r, held)
				}
				switch {
				case held:
				case len(out) < most:
					out = append(out, Finding{r.id, r.text, n.path()})
				default:
					more++
				}
			}
		}
	}
	if more > 0 {
		f := ruleTooMany.at(m.root.path())
		f.Text = strconv.Itoa(more) + " more errors are not listed"
		out = append(out, f)
	}
	return out
}

// rulesFor are the tables that apply to an event.
func rulesFor(event string) [][]rule {
	common := [][]rule{envelopeRules, structureRules}
	switch event {
	case eventClaim:
		return append(common, oneFocusRules, payerRules, partyRules, claimHeadRules, claimOnlyRules, claimListRules, itemRules, invoiceRules, amountRules, infoRules, encounterRules)
	case eventAuth:
		return append(common, oneFocusRules, payerRules, partyRules, claimHeadRules, authOnlyRules, claimListRules, itemRules, amountRules, infoRules, encounterRules)
	case eventEligibility:
		return append(common, oneFocusRules, payerRules, partyRules, eligibilityRules)
	case eventPoll:
		return append(common, oneFocusRules, exchangeRules, partyRules, taskRules, pollRules)
	case eventStatus:
		return append(common, oneFocusRules, payerRules, partyRules, taskRules, targetTaskRules)
	case eventCancel:
		return append(common, oneFocusRules, payerRules, partyRules, taskRules, targetTaskRules, cancelRules)
	case eventCommunication:
		return append(common, oneFocusRules, payerRules, partyRules, communicationRules)
	case eventPaymentNotice:
		return append(common, oneFocusRules, exchangeRules, partyRules, paymentNoticeRules)
	case eventBatch:
		return append(common, batchRules)
	default:
		return common
	}
}

// playedEvents are the requests that the simulator answers, in the order of the guide's table.
func playedEvents() []string {
	return []string{
		eventEligibility, eventAuth, eventClaim, eventBatch, eventStatus, eventCancel, eventCommunication, eventPaymentNotice, eventPoll,
	}
}

// Rules lists every rule that the simulator checks, ordered by id and place. The list is a fresh copy.
func Rules() []Rule {
	var out []Rule
	index := map[string]int{}
	add := func(r Rule, event string) {
		key := r.ID + "|" + r.Where + "|" + r.Text
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			out = append(out, r)
		}
		if !slices.Contains(out[i].Events, event) {
			out[i].Events = append(out[i].Events, event)
		}
	}
	for _, event := range playedEvents() {
		for _, table := range rulesFor(event) {
			for _, r := range table {
				add(Rule{ID: r.id, Where: r.at.path, Text: r.text}, event)
			}
		}
		for _, r := range handlingRules {
			if len(r.Events) == 0 || slices.Contains(r.Events, event) {
				add(Rule{ID: r.ID, Where: r.Where, Text: r.Text}, event)
			}
		}
	}
	for i := range out {
		out[i].Where = strings.Replace(out[i].Where, focusPath, focusName(out[i].Events), 1)
	}
	slices.SortStableFunc(out, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Where, b.Where), cmp.Compare(a.Text, b.Text))
	})
	return out
}

// focusName is the type of the main resource if all events have the same.
func focusName(events []string) string {
	name := focusTypes[events[0]]
	for _, e := range events {
		if focusTypes[e] != name {
			return "MessageHeader.focus.resolve()"
		}
	}
	return name
}

// Selectors.

var (
	atBundle = selector{"Bundle", func(m *message) []node { return []node{m.root} }}
	atHeader = selector{"MessageHeader", func(m *message) []node { return []node{m.header} }}
	atEntry  = each(atBundle, "entry")
	atFocus  = selector{focusPath, func(m *message) []node {
		if f := m.focus(); f.exists() {
			return []node{f}
		}
		return nil
	}}
)

// atAll selects the resources of one type.
func atAll(kind string) selector {
	return selector{kind, func(m *message) []node { return m.resources(kind) }}
}

// sub goes down to one element, whether or not it is there.
func sub(s selector, dotted string) selector {
	return selector{s.path + "." + dotted, func(m *message) []node {
		var out []node
		for _, n := range s.find(m) {
			out = append(out, n.get(dotted))
		}
		return out
	}}
}

// blame keeps the places but names one of their elements as the culprit, for conditions that look at the whole.
func blame(s selector, element string) selector {
	return selector{s.path + "." + element, func(m *message) []node {
		var out []node
		for _, n := range s.find(m) {
			out = append(out, n.below(n.v, element))
		}
		return out
	}}
}

// each goes down to the members of a list.
func each(s selector, dotted string) selector {
	return selector{s.path + "." + dotted, func(m *message) []node {
		var out []node
		for _, n := range s.find(m) {
			out = append(out, n.get(dotted).list()...)
		}
		return out
	}}
}

// extOf goes down to an extension, whether or not it is there.
func extOf(s selector, name string) selector {
	return selector{s.path + ".extension(" + name + ")", func(m *message) []node {
		var out []node
		for _, n := range s.find(m) {
			out = append(out, n.ext(name))
		}
		return out
	}}
}

// where keeps the places for which keep is true.
func where(s selector, keep func(m *message, n node) bool) selector {
	return selector{s.path, func(m *message) []node {
		var out []node
		for _, n := range s.find(m) {
			if keep(m, n) {
				out = append(out, n)
			}
		}
		return out
	}}
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
