package nphiesclient

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// CheckOptions changes what Check does. The zero value is usable.
type CheckOptions struct {
	// Rules switches rules off or changes their severity.
	Rules RuleSettings
	// Now is the time that "not in the future" is measured by, by default time.Now.
	Now time.Time
}

// clockSkew is how far ahead of us the clock of another system may be: the guide's buffer for comparing times.
const clockSkew = 15 * time.Minute

// Check looks at the final bytes of a request as NPHIES would: envelope, references, mandatory elements, arithmetic, and
// what else Rules lists. It is meant for ready messages of other systems; the builders ask it about their own, too.
//
// Paths and expressions are FHIRPaths as NPHIES writes them. An unreadable Body is one finding.
func Check(req *Request) []Finding { return CheckWith(req, CheckOptions{}) }

// CheckWith is Check with options.
func CheckWith(req *Request, o CheckOptions) []Finding {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	found := o.Rules.apply(check0(req.Body, o.Now))
	for i := range found {
		found[i].Expression = found[i].Path
	}
	return found
}

func check0(body []byte, now time.Time) []Finding {
	if why := ambiguous(body); why != "" {
		return []Finding{{Rule: "GE-00013", Path: "Bundle", Text: why}}
	}
	m, err := readMessage(body)
	switch {
	case err != nil:
		return []Finding{{Rule: "GE-00013", Path: "Bundle", Text: "is no message Bundle: " + safeText(err)}}
	case m.header == nil:
		return []Finding{{Rule: "BV-00126", Path: "Bundle.entry[0]", Text: "is no MessageHeader"}}
	}
	p := &preflight{m: m, now: now}
	p.need(len(body) <= MaxMessageBytes, "BV-00076", "Bundle", "is larger than 10 MB")
	p.envelope()
	p.entries()
	p.parties()
	focal := m.focal()
	if focal == nil {
		p.add("RE-00100", head+".focus", "does not name a resource of this Bundle")
		return p.findings
	}
	p.event(focal)
	return p.findings
}

// preflight gathers what is wrong with a message.
type preflight struct {
	findings
	m   *message
	now time.Time
}

func (p *preflight) need(ok bool, rule, path, text string) {
	if !ok {
		p.add(rule, path, "%s", text)
	}
}

// must is need for an element that is there and not as it ought to be, or too often.
func (p *preflight) must(ok bool, path, text string) {
	if !ok {
		p.advise("Correct this element.", ruleCardinality, path, "%s", text)
	}
}

// future reports whether a time lies ahead by more than clocks may differ.
func (p *preflight) future(t time.Time) bool { return t.After(p.now.Add(clockSkew)) }

// x is the FHIRPath of one of NPHIES' extensions.
func x(path, name string) string { return path + ".extension('" + extension(name) + "')" }

const head = "Bundle.entry[0].resource"

var guid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func (p *preflight) envelope() {
	b, h := p.m.bundle, p.m.header
	p.need(guid.MatchString(b.str("id")), "BV-00127", "Bundle.id", "must be a GUID in lower case")
	p.need(guid.MatchString(h.str("id")), "BV-00168", head+".id", "must be a GUID in lower case")
	p.need(b.str("type") == "message", "BV-00130", "Bundle.type", "must be message")
	ts := b.str("timestamp")
	p.must(len(ts) >= len("2026-01-01T00:00:00Z") && !parseTime(ts).IsZero(), "Bundle.timestamp", "must be a time to the second with zone")
	p.need(hasProfile(b, "bundle"), "BV-00225", "Bundle.meta.profile", "must start with the bundle profile and its version")
	p.need(len(p.m.entries) > 0 && p.m.entries[0].resource == h, "BV-00126", "Bundle.entry[0]", "must be the MessageHeader")
	if p.m.event() != EventBatchRequest {
		ref := h.first("focus").str("reference")
		p.need(len(h.list("focus")) == 1, "BV-00221", head+".focus", "must be one")
		p.need(slices.ContainsFunc(p.m.entries, func(e entry) bool { return e.fullURL == ref && ref != "" }), "RE-00100",
			head+".focus", "must equal the fullUrl of the focal resource, character for character")
	}
	receiver := h.first("destination").get("receiver").get("identifier")
	for _, must := range []struct{ value, rule, path string }{
		{h.get("sender").get("identifier").str("value"), "BV-00176", head + ".sender.identifier"},
		{h.get("source").str("endpoint"), "BV-00177", head + ".source.endpoint"},
		{h.first("destination").str("endpoint"), "BV-00218", head + ".destination[0].endpoint"},
		{receiver.str("value"), "GE-00015", head + ".destination[0].receiver"},
		{p.m.event(), "IB-00250", head + ".eventCoding"},
	} {
		p.need(must.value != "", must.rule, must.path, "is missing")
	}
	p.must(len(h.list("destination")) <= 1, head+".destination", "must be one")
	if e := p.m.event(); e == EventPollRequest || e == EventPaymentNotice {
		p.need(receiver.str("value") == nphiesLicense && receiver.str("system") == systemNPHIES, "BV-00456",
			head+".destination[0].receiver", "must be NPHIES")
	}
	p.need(!h.has("response"), "BV-00248", head+".response", "is not part of a request")
}

// hasProfile reports whether the first profile of a resource is this one of NPHIES', with a version.
func hasProfile(r *node, name string) bool {
	url, version, _ := strings.Cut(r.get("meta").first("profile").text(), "|")
	return url == profileBase+name && version != ""
}

// entries checks that every fullUrl fits its resource, and every element of every resource for what holds everywhere.
func (p *preflight) entries() {
	seen := map[string]bool{}
	for i, e := range p.m.entries {
		at := fmt.Sprintf("Bundle.entry[%d]", i)
		kind, id := e.resource.str("resourceType"), e.resource.str("id")
		switch {
		case e.fullURL == "":
			p.add("BV-00207", at+".fullUrl", "is missing")
		case !strings.Contains(e.fullURL, id) || (!strings.HasPrefix(e.fullURL, "urn:") && !strings.Contains(e.fullURL, kind)):
			p.add("BV-00208", at+".fullUrl", "must contain the type and the id of the resource")
		case seen[e.fullURL]:
			p.add("BV-00207", at+".fullUrl", "is used twice")
		}
		seen[e.fullURL] = true
		if e.resource.v != nil && !strings.HasPrefix(e.resource.get("meta").first("profile").text(), profileBase) {
			p.add("RE-00170", at+".resource.meta.profile", "is missing or no NPHIES profile")
		}
		p.element(e.resource.v, at+".resource")
	}
}

// element checks what holds for every element: nothing empty, references that find something, extensions with a value, no
// code system twice, nothing too long.
func (p *preflight) element(v any, at string) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range sortedKeys(v) {
			p.member(k, v[k], at+"."+k, at)
		}
	case []any:
		for i, x := range v {
			p.element(x, fmt.Sprintf("%s[%d]", at, i))
		}
	}
}

func (p *preflight) member(name string, v any, path, parent string) {
	switch v := v.(type) {
	case nil:
		p.add("GE-00013", path, "null: FHIR knows no empty elements")
	case string:
		switch {
		case strings.TrimSpace(v) == "":
			p.add("GE-00013", path, "empty: FHIR knows no empty elements")
		case strings.ContainsFunc(v, strange):
			p.advise("Take the control characters out.", "GE-00013", path, "holds control characters")
		case name == "reference" && p.m.find(v) == nil:
			p.add("RE-00169", parent, "points at a resource that is not in the Bundle")
		}
		p.length(name, v, path, parent)
	case []any:
		if len(v) == 0 {
			p.add("GE-00013", path, "empty: FHIR knows no empty elements")
		}
		switch name {
		case "extension":
			p.extensions(node{map[string]any{name: v}}, parent)
		case "coding":
			p.codings(node{map[string]any{name: v}}, path)
		}
	}
	if name == "identifier" || name == "valueIdentifier" {
		for _, id := range (node{map[string]any{name: v}}).list(name) {
			p.need(utf8.RuneCountInString(id.str("value")) <= 100, "BV-00275", path, "has more than 100 characters")
		}
	}
	p.jsonType(name, v, path)
	p.element(v, path)
}

const noQuotes = "Write it without quotes."

// jsonType refuses text where FHIR has a number or a boolean, and the other way round. Answers may have either (the parser is
// patient); what we send must be right.
func (p *preflight) jsonType(name string, v any, path string) {
	number := func(of any, at string) {
		if _, ok := of.(json.Number); of != nil && !ok {
			p.advise(noQuotes, "GE-00013", at, "must be a JSON number, without quotes")
		}
	}
	switch name {
	case "unitPrice", "net", "total", "valueMoney", "valueQuantity", "quantity":
		if m, ok := v.(map[string]any); ok {
			number(m["value"], path+".value")
		}
	case "factor", "sequence", "valueDecimal", "valueInteger", "valuePositiveInt":
		number(v, path)
	case "focal", "valueBoolean", "active":
		if _, ok := v.(bool); v != nil && !ok {
			p.advise(noQuotes, "GE-00013", path, "must be true or false, without quotes")
		}
	}
}

func (p *preflight) extensions(n node, at string) {
	for i, e := range n.list("extension") {
		full := e.has("url") && slices.ContainsFunc(sortedKeys(e.obj()), func(k string) bool {
			return strings.HasPrefix(k, "value") || k == "extension"
		})
		p.need(full, "BV-00389", fmt.Sprintf("%s.extension[%d]", at, i), "has no address, or neither a value nor extensions")
	}
}

func (p *preflight) codings(n node, at string) {
	seen := map[string]bool{}
	for _, c := range n.list("coding") {
		s := c.str("system")
		p.need(!seen[s], "BV-00526", at, "names a code system twice")
		seen[s] = true
	}
}

// longest are the longest texts by element, where it matters with the element that holds it, for Latin letters and, where the
// guide gives two, for Arabic ones.
//
// Source: Implementation Guide, table of data types.
var longest = map[string][2]int{
	"id": {64, 0}, "code": {30, 0}, "system": {255, 0}, "url": {255, 0}, "reference": {250, 0}, "display": {100, 0}, "text": {250, 0},
	"name.text": {250, 125}, "family": {100, 50}, "title": {250, 125}, "valueString": {250, 125}, "network": {30, 0}, "dependent": {10, 0},
	"disposition": {250, 0}, "class.value": {30, 0},
}

// length checks a text against the longest of its element; parent is the path of what holds it.
func (p *preflight) length(name, value, path, parent string) {
	holder, _, _ := strings.Cut(parent[strings.LastIndexByte(parent, '.')+1:], "[")
	limit, ok := longest[holder+"."+name]
	if !ok {
		limit, ok = longest[name]
	}
	if ok {
		if n, most := tooLong(value, limit[0], limit[1]); n > most {
			p.add(ruleLength, path, "has %d characters, NPHIES takes %d", n, most)
		}
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// event checks the focal resource.
func (p *preflight) event(focal *node) {
	kind, at := kindOf(focal), p.m.path(focal)
	if want := focalOf[p.m.event()]; want != "" && want != kind {
		p.add("BV-00167", head+".focus", "a %s must point at a %s", p.m.event(), want)
		return
	}
	id := firstIdentifier(focal)
	p.need(id.Value != "", "BV-00457", at+".identifier", "is missing")
	switch kind {
	case "Claim":
		p.claim(focal, at)
	case "CoverageEligibilityRequest":
		p.eligibility(focal, at)
	case "Task":
		p.task(focal, at)
	}
}

// one reports a code outside a closed list.
func (p *preflight) one(code, rule, path string, allowed ...string) {
	if !slices.Contains(allowed, code) {
		p.add(rule, path, "must be one of %s", strings.Join(allowed, ", "))
	}
}

// points reports whether a reference names a resource of that type in the Bundle.
func (p *preflight) points(ref *node, kind string) bool {
	e := p.m.find(ref.str("reference"))
	return e != nil && kindOf(e.resource) == kind
}

// licence of the Organization a reference names; its own identifier, else that of the resource.
func (p *preflight) licence(ref *node) string { return p.m.identify(ref).Value }

func (p *preflight) sender() string { return p.m.header.get("sender").get("identifier").str("value") }
