package nphiessim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"
)

// maxDepth bounds the nesting of a message, so that hostile input cannot exhaust the stack.
const maxDepth = 64

var errTrailing = errors.New("content after the end of the JSON value")

// node is one value of a JSON document together with its place. Every accessor is total: asking a missing or
// differently shaped value yields an absent node, an empty list or an empty string, never a panic.
type node struct {
	v     any
	name  string // element name; "" for a member of a list
	index int    // of a member of a list
	up    *node  // nil for the root
}

// rooted makes the root of a document.
func rooted(v any, name string) node { return node{v: v, name: name} }

// maxName is how much of an element's name a path shows: FHIR's are short, a hostile one may have megabytes.
const maxName = 64

// path is the FHIRPath of the node. It is made only when asked for: most nodes are never told about.
func (n node) path() string {
	var steps []string
	for at := &n; at != nil; at = at.up {
		step := "[" + strconv.Itoa(at.index) + "]"
		if at.name != "" {
			step = clip(at.name, maxName)
			if at.up != nil {
				step = "." + step
			}
		}
		steps = append(steps, step)
	}
	slices.Reverse(steps)
	return strings.Join(steps, "")
}

// clip shortens a text that a sender made too long to show.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// parseJSON reads exactly one JSON value and keeps numbers as they were written.
func parseJSON(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errTrailing
	}
	if depth(v, 0) > maxDepth {
		return nil, errors.New("nested too deeply")
	}
	return v, nil
}

func depth(v any, above int) int {
	above++
	if above > maxDepth {
		return above
	}
	deepest := above
	switch t := v.(type) {
	case map[string]any:
		for _, c := range t {
			deepest = max(deepest, depth(c, above))
		}
	case []any:
		for _, c := range t {
			deepest = max(deepest, depth(c, above))
		}
	}
	return deepest
}

func (n node) exists() bool { return n.v != nil }

// get follows a dotted path of element names; "name" of an absent node is an absent node.
func (n node) get(dotted string) node {
	for name := range strings.SplitSeq(dotted, ".") {
		m, _ := n.v.(map[string]any)
		n = n.below(m[name], name)
	}
	return n
}

// below is a value that stands, or would stand, in the node's element of that name.
func (n node) below(v any, name string) node { return node{v: v, name: name, up: &n} }

// list returns the members of an array; anything else is an empty list.
func (n node) list() []node {
	a, _ := n.v.([]any)
	out := make([]node, len(a))
	for i, v := range a {
		out[i] = node{v: v, index: i, up: &n}
	}
	return out
}

// length is the number of members of an array.
func (n node) length() int {
	a, _ := n.v.([]any)
	return len(a)
}

// at returns the member i of an array.
func (n node) at(i int) node {
	out := node{index: i, up: &n}
	if a, _ := n.v.([]any); i < len(a) {
		out.v = a[i]
	}
	return out
}

// str returns a string value, "" for anything else.
func (n node) str() string {
	s, _ := n.v.(string)
	return s
}

func (n node) isTrue() bool {
	b, ok := n.v.(bool)
	return ok && b
}

// dec returns a number exactly. Numbers with absurd exponents are refused: their digits would fill the memory.
func (n node) dec() (decimal.Decimal, bool) {
	num, ok := n.v.(json.Number)
	if !ok || len(num) > 40 {
		return decimal.Decimal{}, false
	}
	d, err := decimal.NewFromString(num.String())
	if err != nil || d.Exponent() > 20 || d.Exponent() < -40 {
		return decimal.Decimal{}, false
	}
	return d, true
}

// integer returns a whole number.
func (n node) integer() (int, bool) {
	num, ok := n.v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(num.String())
	return i, err == nil
}

// code returns the code of a CodeableConcept's coding in the given system, or of its first coding if system is "".
func (n node) code(system string) string {
	for _, c := range n.get("coding").list() {
		if system == "" || c.get("system").str() == system {
			return c.get("code").str()
		}
	}
	return ""
}

// ext returns the extension with the given short name ("episode" for …/extension-episode), absent if there is none.
func (n node) ext(name string) node {
	for _, e := range n.get("extension").list() {
		if e.get("url").str() == extensionURL(name) {
			return e
		}
	}
	return n.below(nil, "extension")
}

// identifier returns the business identifier at element "identifier", the first one if it repeats.
func (n node) identifier() Identifier {
	id := n.get("identifier")
	if l := id.list(); len(l) > 0 {
		id = l[0]
	}
	return Identifier{System: id.get("system").str(), Value: id.get("value").str()}
}

// walk calls f for n and everything below it, parents first, in a stable order.
func (n node) walk(f func(node)) {
	f(n)
	switch t := n.v.(type) {
	case map[string]any:
		for _, k := range sortedKeys(t) {
			n.below(t[k], k).walk(f)
		}
	case []any:
		for _, c := range n.list() {
			c.walk(f)
		}
	}
}

// walkMessage walks a message but not into the Bundles nested in it, which are messages of their own.
func (n node) walkMessage(f func(node)) { n.walkWhile(f, true) }

func (n node) walkWhile(f func(node), outermost bool) {
	f(n)
	switch t := n.v.(type) {
	case map[string]any:
		if !outermost && t["resourceType"] == "Bundle" {
			return
		}
		for _, k := range sortedKeys(t) {
			n.below(t[k], k).walkWhile(f, false)
		}
	case []any:
		for _, c := range n.list() {
			c.walkWhile(f, false)
		}
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// lastName is the name of the element in which the node stands, itself or as a member of a list.
func (n node) lastName() string {
	at := &n
	for at.name == "" && at.up != nil {
		at = at.up
	}
	return at.name
}

// owner is what has the element in which the node stands; absent for the root.
func (n node) owner() node {
	at := &n
	for at.name == "" && at.up != nil {
		at = at.up
	}
	if at.up == nil {
		return node{}
	}
	return *at.up
}
