package nphiesclient

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// node is a JSON value read without expectations: asking for what is not there, or is of another type, gives the zero
// value. Everything that comes from NPHIES is read through it, so that no message can make the parser fail half way.
type node struct{ v any }

// obj returns the members of an object, nil for anything else. The first element stands for a list: the guide's own samples
// have lists where FHIR has single elements.
func (n node) obj() map[string]any {
	switch v := n.v.(type) {
	case map[string]any:
		return v
	case []any:
		if len(v) > 0 {
			m, _ := v[0].(map[string]any)
			return m
		}
	}
	return nil
}

func (n node) has(name string) bool { return n.obj()[name] != nil }

func (n node) get(name string) *node { return &node{n.obj()[name]} }

// list returns the elements of a list; a single value counts as a list of one.
func (n node) list(name string) []*node {
	switch v := n.obj()[name].(type) {
	case nil:
		return nil
	case []any:
		l := make([]*node, 0, len(v))
		for _, x := range v {
			l = append(l, &node{x})
		}
		return l
	default:
		return []*node{{v}}
	}
}

// first returns the first element of a list, or a node of nothing.
func (n node) first(name string) *node {
	if l := n.list(name); len(l) > 0 {
		return l[0]
	}
	return &node{}
}

// text returns a scalar as text.
func (n node) text() string {
	switch v := n.v.(type) {
	case string:
		return clean(v)
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	default:
		return ""
	}
}

// clean puts U+FFFD in the place of control characters, save line breaks and tabs, and takes blanks from around a text:
// PostgreSQL keeps no NUL, and terminals obey the others. Leaving them out would make an identifier look like another one. The raw
// bytes of a message stay as they are.
func clean(s string) string {
	if strings.ContainsFunc(s, strange) {
		s = strings.Map(func(r rune) rune {
			if strange(r) {
				return unicode.ReplacementChar
			}
			return r
		}, s)
	}
	return strings.TrimSpace(s)
}

func strange(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }

func (n node) str(name string) string { return n.get(name).text() }

func (n node) boolean(name string) (value, ok bool) {
	switch v := n.obj()[name].(type) {
	case bool:
		return v, true
	case string:
		b, err := strconv.ParseBool(v)
		return b, err == nil
	default:
		return false, false
	}
}

// amount reads the value of Money: a number or a quoted number.
func (n node) amount() (Amount, bool) {
	s := n.str("value")
	if s == "" {
		return Amount{}, false
	}
	a, err := ParseAmount(s)
	return a, err == nil
}

func (n node) integer(name string) int {
	i, err := strconv.Atoi(n.str(name))
	if err != nil {
		return 0
	}
	return i
}

// extension returns the first extension of that name. Addresses are compared by their last part and without case: the guide
// spells them in several ways.
func (n node) extension(name string) (*node, bool) {
	for _, e := range n.list("extension") {
		if lastPart(e.str("url"), "extension-"+name) {
			return e, true
		}
	}
	return &node{}, false
}

func lastPart(url, want string) bool {
	url, _, _ = strings.Cut(url, "|")
	i := strings.LastIndexByte(url, '/')
	return strings.EqualFold(url[i+1:], want)
}

func parseJSON(raw []byte) (*node, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return &node{v}, nil
}

// codesOf returns the codings of a CodeableConcept; a bare Coding or a bare code is taken too.
func codesOf(n *node) []Coded {
	var out []Coded
	for _, c := range n.list("coding") {
		if x := (Coded{System: c.str("system"), Code: c.str("code"), Display: c.str("display")}); x != (Coded{}) {
			out = append(out, x)
		}
	}
	if len(out) == 0 {
		if x := (Coded{System: n.str("system"), Code: n.str("code"), Display: n.str("display")}); x.Code != "" {
			out = append(out, x)
		} else if s := n.text(); s != "" {
			out = append(out, Coded{Code: s})
		}
	}
	return out
}

// codeOf returns the first code, "" if there is none.
func codeOf(n *node) string {
	if c := codesOf(n); len(c) > 0 {
		return c[0].Code
	}
	return ""
}

func identifierOf(n *node) Identifier {
	return Identifier{System: n.str("system"), Value: n.str("value")}
}

func firstIdentifier(n *node) Identifier { return identifierOf(n.first("identifier")) }

// parseTime reads a FHIR instant, dateTime or date (in Riyadh); the zero time if it is none.
func parseTime(s string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateOnly, "2006-01", "2006"} {
		if t, err := time.ParseInLocation(layout, s, Riyadh); err == nil {
			return t
		}
	}
	return time.Time{}
}

// entry is one entry of a Bundle.
type entry struct {
	fullURL  string
	raw      json.RawMessage // of the resource
	resource *node           // of nothing for a nested Bundle
	bundle   bool
	position int
}

// message is a Bundle taken apart.
type message struct {
	bundle  *node // all but its entries
	entries []entry
	header  *node
}

func safeText(err error) string { return fault.Of(err).Safe }

// readMessage takes a Bundle apart, keeping the bytes of each resource. A bare resource that is no Bundle (an
// OperationOutcome) gives a message with that one entry and no header. The error is a fault of Kind Network: the body is
// no FHIR, so it tells nothing about what became of a request.
func readMessage(raw []byte) (*message, error) {
	notFHIR := func(why string, cause error) error {
		return &fault.Error{Op: "read message", Kind: fault.Network, Safe: why, Err: cause}
	}
	raw = bytes.TrimSpace(trimBOM(raw))
	switch {
	case len(raw) == 0:
		return nil, notFHIR("empty body", nil)
	case raw[0] == '<':
		return nil, notFHIR("HTML or XML instead of FHIR JSON", nil)
	case !utf8.Valid(raw):
		return nil, notFHIR("not UTF-8 text", nil)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(raw, &top); err != nil {
		if !json.Valid(raw) {
			return nil, notFHIR("not well-formed JSON (cut off or damaged)", err)
		}
		return nil, notFHIR("not a JSON object", err)
	}
	entries := top["entry"]
	delete(top, "entry")
	m := &message{bundle: objectNode(top)}
	kind := m.bundle.str("resourceType")
	switch {
	case strings.EqualFold(kind, "Bundle"):
	case kind != "":
		m.entries = []entry{{raw: raw, resource: must(parseJSON(raw))}}
		m.bundle = &node{}
		return m, nil
	default:
		return nil, notFHIR("JSON without a resourceType", nil)
	}
	var rawEntries []json.RawMessage
	_ = json.Unmarshal(entries, &rawEntries) // an entry element that is no list counts as none
	for i, re := range rawEntries {
		var parts map[string]json.RawMessage
		_ = json.Unmarshal(re, &parts)
		e := entry{raw: parts["resource"], resource: &node{}, position: i}
		_ = json.Unmarshal(parts["fullUrl"], &e.fullURL)
		if e.bundle = isBundle(e.raw); len(e.raw) > 0 && !e.bundle {
			e.resource = must(parseJSON(e.raw))
		}
		m.entries = append(m.entries, e)
		if m.header == nil && e.resource.str("resourceType") == "MessageHeader" {
			m.header = e.resource
		}
	}
	return m, nil
}

func objectNode(parts map[string]json.RawMessage) *node {
	o := map[string]any{}
	for k, v := range parts {
		o[k] = must(parseJSON(v)).v
	}
	return &node{o}
}

// must turns an impossible error (the JSON was valid as a whole) into an empty node.
func must(n *node, err error) *node {
	if err != nil {
		return &node{}
	}
	return n
}

func isBundle(raw json.RawMessage) bool {
	if !bytes.Contains(raw, []byte("Bundle")) {
		return false
	}
	var r struct {
		ResourceType string `json:"resourceType"`
	}
	return json.Unmarshal(raw, &r) == nil && r.ResourceType == "Bundle"
}

func (m *message) event() string {
	if m.header == nil {
		return ""
	}
	if c := m.header.get("eventCoding").str("code"); c != "" {
		return strings.ToLower(c)
	}
	return strings.ToLower(codeOf(m.header.get("eventCoding")))
}

// path names the place of a resource as NPHIES does.
func (m *message) path(r *node) string {
	for _, e := range m.entries {
		if e.resource == r {
			return "Bundle.entry[" + strconv.Itoa(e.position) + "].resource"
		}
	}
	return "Bundle"
}

// find resolves a reference tolerantly: the fullUrl itself, the same without case, or the same type and id, whatever the
// server before them.
func (m *message) find(ref string) *entry {
	if ref == "" {
		return nil
	}
	for i := range m.entries {
		if m.entries[i].fullURL == ref {
			return &m.entries[i]
		}
	}
	for i := range m.entries {
		if strings.EqualFold(m.entries[i].fullURL, ref) {
			return &m.entries[i]
		}
	}
	tail := refTail(ref)
	for i := range m.entries {
		e := &m.entries[i]
		if strings.EqualFold(refTail(e.fullURL), tail) ||
			strings.EqualFold(e.resource.str("resourceType")+"/"+e.resource.str("id"), tail) {
			return e
		}
	}
	return nil
}

// refTail is the "Type/id" at the end of a reference, or the id of a urn.
func refTail(ref string) string {
	parts := strings.Split(ref, "/")
	if len(parts) < 2 {
		return strings.TrimPrefix(ref, "urn:uuid:")
	}
	return strings.Join(parts[len(parts)-2:], "/")
}

// focal returns the resource the header's focus names, or nil. Without a usable focus it is the first resource that can be
// the subject of a message.
func (m *message) focal() *node {
	if m.header != nil {
		if e := m.find(m.header.first("focus").str("reference")); e != nil && e.resource.v != nil {
			return e.resource
		}
		if m.header.has("focus") && !m.header.has("response") {
			return nil
		}
	}
	return m.ofType("ClaimResponse", "CoverageEligibilityResponse", "Task", "CommunicationRequest", "PaymentReconciliation",
		"Claim", "CoverageEligibilityRequest", "PaymentNotice", "Communication")
}

// ofType returns the first resource of the first type that is there.
func (m *message) ofType(types ...string) *node {
	for _, t := range types {
		for _, e := range m.entries {
			if strings.EqualFold(e.resource.str("resourceType"), t) {
				return e.resource
			}
		}
	}
	return nil
}

// payerName is the name of the insurer a focal resource points at, or of the Organization with that licence.
func (m *message) payerName(focal *node, license string) string {
	if e := m.find(focal.get("insurer").str("reference")); e != nil {
		if name := e.resource.str("name"); name != "" {
			return name
		}
	}
	for _, e := range m.entries {
		if e.resource.str("resourceType") == "Organization" && firstIdentifier(e.resource).Value == license {
			return e.resource.str("name")
		}
	}
	return ""
}
