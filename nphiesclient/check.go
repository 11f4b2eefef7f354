package nphiesclient

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/shopspring/decimal"
)

// Check looks at the final bytes of a request as NPHIES would: envelope, references, mandatory elements, arithmetic. It is
// meant for ready messages of other systems, and finds nothing in what the builders of this package make. It knows what
// sections on messaging, common resources, eligibility and claims make mandatory, not all 3,000 rules.
//
// Paths are FHIRPaths as NPHIES writes them. An unreadable Body is one finding.
func Check(req *Request) []Finding {
	m, err := readMessage(req.Body)
	if err != nil || m.header == nil {
		return []Finding{{Rule: "GE-00013", Path: "Bundle", Text: "is no message Bundle", Severity: SeverityError}}
	}
	p := &preflight{m: m}
	p.envelope()
	p.references()
	p.resources()
	focal := m.focal()
	if focal == nil {
		p.add("RE-00100", "Bundle.entry[0].resource.focus", "does not name a resource of this Bundle")
		return p.findings
	}
	switch kindOf(focal) {
	case "Claim":
		p.claim(focal)
	case "CoverageEligibilityRequest":
		p.eligibility(focal)
	}
	return p.findings
}

type preflight struct {
	findings
	m *message
}

var guid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func (p *preflight) envelope() {
	b, h := p.m.bundle, p.m.header
	const head = "Bundle.entry[0].resource"
	if !guid.MatchString(b.str("id")) {
		p.add("BV-00127", "Bundle.id", "must be a GUID in lower case")
	}
	if !guid.MatchString(h.str("id")) {
		p.add("BV-00168", head+".id", "must be a GUID in lower case")
	}
	if b.str("type") != "message" {
		p.add("BV-00130", "Bundle.type", "must be message")
	}
	if ts := b.str("timestamp"); len(ts) < len("2026-01-01T00:00:00Z") || parseTime(ts).IsZero() {
		p.add(ruleCardinality, "Bundle.timestamp", "must be a time to the second with zone")
	}
	if !hasProfile(b, "bundle") {
		p.add("BV-00225", "Bundle.meta.profile", "must start with the bundle profile and its version")
	}
	if len(p.m.entries) == 0 || p.m.entries[0].resource != h {
		p.add("BV-00126", "Bundle.entry[0]", "must be the MessageHeader")
	}
	if len(h.list("focus")) != 1 && p.m.event() != "batch-request" {
		p.add("BV-00221", head+".focus", "must be one")
	}
	ref := h.first("focus").str("reference")
	exact := slices.ContainsFunc(p.m.entries, func(e entry) bool { return e.fullURL == ref && ref != "" })
	if !exact && p.m.event() != "batch-request" {
		p.add("RE-00100", head+".focus", "must equal the fullUrl of the focal resource, character for character")
	}
	for _, must := range []struct{ value, rule, path string }{
		{h.get("sender").get("identifier").str("value"), "BV-00176", head + ".sender.identifier"},
		{h.get("source").str("endpoint"), "BV-00177", head + ".source.endpoint"},
		{h.first("destination").str("endpoint"), "BV-00218", head + ".destination[0].endpoint"},
		{h.first("destination").get("receiver").get("identifier").str("value"), "GE-00015", head + ".destination[0].receiver"},
		{p.m.event(), "IB-00250", head + ".eventCoding"},
	} {
		if must.value == "" {
			p.add(must.rule, must.path, "is missing")
		}
	}
	if h.has("response") {
		p.add("BV-00248", head+".response", "is not part of a request")
	}
}

// hasProfile reports whether the first profile of a resource is this one of NPHIES', with a version.
func hasProfile(r *node, name string) bool {
	url, version, _ := strings.Cut(r.get("meta").first("profile").text(), "|")
	return url == profileBase+name && version != ""
}

// references checks that every fullUrl fits its resource and that every reference finds one.
func (p *preflight) references() {
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
		p.refs(e.resource.v, at+".resource")
	}
}

func (p *preflight) refs(v any, at string) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range sortedKeys(v) {
			child := at + "." + k
			if s, ok := v[k].(string); ok && k == "reference" {
				if p.m.find(s) == nil {
					p.add("RE-00169", at, "points at a resource that is not in the Bundle")
				}
				continue
			}
			switch x := v[k].(type) {
			case nil:
				p.add("GE-00013", child, "null: FHIR knows no empty elements")
			case string:
				if strings.TrimSpace(x) == "" {
					p.add("GE-00013", child, "empty: FHIR knows no empty elements")
				}
			case []any:
				if len(x) == 0 {
					p.add("GE-00013", child, "empty: FHIR knows no empty elements")
				}
			}
			p.refs(v[k], child)
		}
	case []any:
		for i, x := range v {
			p.refs(x, fmt.Sprintf("%s[%d]", at, i))
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

func (p *preflight) need(ok bool, rule, path, text string) {
	if !ok {
		p.add(rule, path, "%s", text)
	}
}

// resources checks what the common resources must have.
func (p *preflight) resources() {
	sender := p.m.header.get("sender").get("identifier").str("value")
	receiver := p.m.header.first("destination").get("receiver").get("identifier").str("value")
	for _, e := range p.m.entries {
		r, at := e.resource, fmt.Sprintf("Bundle.entry[%d].resource", e.position)
		if r.v != nil && !strings.HasPrefix(r.get("meta").first("profile").text(), profileBase) {
			p.add("RE-00170", at+".meta.profile", "is missing or no NPHIES profile")
		}
		switch kindOf(r) {
		case "Patient":
			p.patient(r, at)
		case "Coverage":
			p.coverage(r, at)
		case "Organization":
			switch id := firstIdentifier(r); {
			case hasProfile(r, "provider-organization"):
				p.need(id.Value == sender, "GE-00031", at+".identifier", "differs from the sender's licence")
				p.need(extensionCode(r, "provider-type") != "", "IC-01574", at+".extension", "provider type is missing")
			case hasProfile(r, "insurer-organization") && id.Value != receiver:
				p.warn("GE-00032", at+".identifier", "differs from the receiver's licence; right only for an administrator (TPA)")
			}
		case "Practitioner":
			p.need(firstIdentifier(r).Value != "", "GE-00021", at+".identifier", "licence is missing")
		case "Encounter":
			p.need(firstIdentifier(r).Value != "", "IC-00183", at+".identifier", "is missing")
			p.need(r.get("class").str("code") != "", ruleCardinality, at+".class", "is missing")
			p.need(len(r.get("period").str("start")) >= len("2026-01-01T00:00:00Z"), "BV-00811", at+".period.start",
				"must be a time to the second")
		}
	}
}

func (p *preflight) patient(r *node, at string) {
	p.need(firstIdentifier(r).Value != "", ruleCardinality, at+".identifier", "is missing")
	for i, id := range r.list("identifier") {
		for _, k := range []patientID{patientIDs["national_id"], patientIDs["iqama"]} {
			if id.str("system") != k.system {
				continue
			}
			v := id.str("value")
			p.need(len(v) == 10 && v[0] == k.first && strings.Trim(v, "0123456789") == "", k.rule,
				fmt.Sprintf("%s.identifier[%d]", at, i), fmt.Sprintf("must have 10 digits, the first %c", k.first))
		}
	}
	p.need(len(r.list("name")) == 1 && r.first("name").str("text") != "", ruleCardinality, at+".name", "must be one, with text")
	p.need(r.str("gender") != "", ruleCardinality, at+".gender", "is missing")
	p.need(!parseTime(r.str("birthDate")).IsZero(), "BV-00848", at+".birthDate", "is missing or no date")
	p.need(codeOf(r.get("maritalStatus")) != "", ruleCardinality, at+".maritalStatus", "is missing")
	p.need(extensionCode(r, "occupation") != "", ruleCardinality, at+".extension", "occupation is missing")
}

func (p *preflight) coverage(r *node, at string) {
	p.need(firstIdentifier(r).Value != "", ruleCardinality, at+".identifier", "member number is missing")
	p.need(codeOf(r.get("type")) != "", "IB-00109", at+".type", "is missing")
	p.need(r.get("policyHolder").str("reference") != "", "IC-01564", at+".policyHolder", "is missing")
	p.need(r.get("beneficiary").str("reference") != "", ruleCardinality, at+".beneficiary", "is missing")
	p.need(codeOf(r.get("relationship")) != "", ruleCardinality, at+".relationship", "is missing")
	p.need(r.first("payor").str("reference") != "", ruleCardinality, at+".payor", "is missing")
	plans := 0
	for _, c := range r.list("class") {
		if codeOf(c.get("type")) == "plan" {
			plans++
		}
	}
	p.need(plans == 1, "IC-01571", at+".class", "needs exactly one plan")
}

func (p *preflight) eligibility(r *node) {
	at := p.m.path(r)
	p.need(firstIdentifier(r).Value != "", ruleCardinality, at+".identifier", "is missing")
	p.need(r.str("status") == "active", "BV-00538", at+".status", "must be active")
	p.need(codeOf(r.get("priority")) != "", ruleCardinality, at+".priority", "is missing")
	p.need(len(r.list("purpose")) > 0, ruleCardinality, at+".purpose", "is missing")
	p.need(r.has("servicedDate") != r.has("servicedPeriod"), "BV-00437", at+".serviced", "must be a date or a period")
	p.need(r.has("created"), ruleCardinality, at+".created", "is missing")
	for _, ref := range []string{"patient", "provider", "insurer"} {
		p.need(r.get(ref).str("reference") != "", ruleCardinality, at+"."+ref, "is missing")
	}
}

func (p *preflight) claim(r *node) {
	at := p.m.path(r)
	p.need(firstIdentifier(r).Value != "", "BV-00457", at+".identifier", "is missing")
	p.need(r.str("status") == "active", "BV-00330", at+".status", "must be active")
	kind, known := claimKinds[codeOf(r.get("type"))]
	p.need(known, ruleCardinality, at+".type", "is missing or unknown")
	if known {
		p.need(slices.Contains(kind.subTypes, codeOf(r.get("subType"))), subTypeRules[codeOf(r.get("type"))], at+".subType",
			"does not fit the type")
		p.need(!kind.careTeam || r.has("careTeam"), ruleCardinality, at+".careTeam", "is missing")
		_, encounter := r.extension("encounter")
		p.need(!kind.encounter || encounter, "RE-00189", at+".extension", "encounter is missing")
	}
	for _, name := range []string{"created", "priority", "payee", "diagnosis", "insurance", "item"} {
		p.need(r.has(name), ruleCardinality, at+"."+name, "is missing")
	}
	for _, ref := range []string{"patient", "provider", "insurer"} {
		p.need(r.get(ref).str("reference") != "", ruleCardinality, at+"."+ref, "is missing")
	}
	p.claimExtensions(r, at)
	principal := 0
	for _, d := range r.list("diagnosis") {
		for _, t := range d.list("type") {
			if codeOf(t) == "principal" {
				principal++
			}
		}
	}
	p.need(principal == 1, "BV-00054", at+".diagnosis", "needs exactly one principal diagnosis")
	if p.m.event() == EventClaimRequest {
		p.information(r, at, kind)
	}
	p.sums(r, at, kind)
}

func (p *preflight) claimExtensions(r *node, at string) {
	use := r.str("use")
	if use != "claim" {
		return
	}
	episode, _ := r.extension("episode")
	p.need(episode.get("valueIdentifier").str("value") != "", "IC-01453", at+".extension", "episode is missing")
	if ap, ok := r.extension("accountingPeriod"); !ok {
		p.add("IC-01620", at+".extension", "accountingPeriod is missing")
	} else {
		p.need(strings.HasSuffix(ap.str("valueDate"), "-01"), "BV-01010", at+".extension", "accountingPeriod must be the first of a month")
	}
	_, online := r.extension("eligibility-response")
	_, offline := r.extension("eligibility-offline-reference")
	p.need(!online || !offline, "BV-00381", at+".extension", "eligibility response and offline reference exclude each other")
	p.need(online || offline, "BV-00379", at+".extension", "eligibility reference is missing")
	if len(r.first("insurance").list("preAuthRef")) > 0 {
		_, a := r.extension("priorauth-response")
		_, b := r.extension("priorauthresponse")
		_, c := r.extension("authorization-offline-date")
		p.need(a || b || c, "BV-00420", at+".extension", "preAuthRef needs the authorization response or its offline date")
	}
}

func (p *preflight) information(r *node, at string, kind claimKind) {
	have := map[string]bool{}
	for _, s := range r.list("supportingInfo") {
		have[codeOf(s.get("category"))] = true
	}
	need := func(category, rule string) {
		p.need(have[category], rule, at+".supportingInfo", category+" is missing")
	}
	for _, x := range requiredInfo {
		need(x[0], x[1])
	}
	if kind.complaint != "" {
		need("chief-complaint", kind.complaint)
	}
	if kind.vitals {
		for _, v := range requiredVitals {
			need(v, vitalRule(codeOf(r.get("type")), v))
		}
	}
}

// sums checks sequences, pointers and all arithmetic of the items.
func (p *preflight) sums(r *node, at string, kind claimKind) {
	sequences := func(list string) map[string]bool {
		m := map[string]bool{}
		for i, x := range r.list(list) {
			s := x.str("sequence")
			rule := map[string]string{"item": "BV-00044", "supportingInfo": "BV-00453"}[list]
			if rule == "" {
				rule = ruleCardinality
			}
			p.need(s != "" && !m[s], rule, fmt.Sprintf("%s.%s[%d].sequence", at, list, i), "is missing or used twice")
			m[s] = true
		}
		return m
	}
	targets := []struct {
		name, rule string
		known      map[string]bool
	}{
		{"careTeamSequence", "BV-00442", sequences("careTeam")},
		{"diagnosisSequence", "BV-00443", sequences("diagnosis")},
		{"informationSequence", "BV-00444", sequences("supportingInfo")},
	}
	sequences("item")
	var sum Amount
	for i, it := range r.list("item") {
		iat := fmt.Sprintf("%s.item[%d]", at, i)
		for _, t := range targets {
			for _, s := range it.list(t.name) {
				p.need(t.known[s.text()], t.rule, iat+"."+t.name, "points at nothing")
			}
		}
		if r.str("use") == "claim" {
			for _, x := range [][2]string{{"patient-share", ruleCardinality}, {"patientInvoice", "IC-01454"}, {"maternity", ruleCardinality}} {
				_, ok := it.extension(x[0])
				p.need(ok || (x[0] == "maternity" && !kind.maternity), x[1], iat+".extension", x[0]+" is missing")
			}
		}
		p.need(it.has("servicedDate") != it.has("servicedPeriod"), "BV-00066", iat+".serviced", "must be a date or a period")
		p.need(codeOf(it.get("productOrService")) != "", ruleCardinality, iat+".productOrService", "is missing")
		sum = sum.Add(p.item(it, iat))
	}
	total, ok := r.get("total").amount()
	p.need(ok, "IC-00062", at+".total", "is missing")
	p.need(!ok || total.Equal(sum), "BV-00059", at+".total", "differs from the sum of the items' net")
}

// item checks the arithmetic of an item or detail and returns its net.
func (p *preflight) item(it *node, at string) Amount {
	for _, name := range []string{"unitPrice", "net"} {
		p.need(it.get(name).str("currency") == currency, "BV-00096", at+"."+name+".currency", "must be SAR")
	}
	net, okNet := it.get("net").amount()
	unit, okUnit := it.get("unitPrice").amount()
	quantity, err := ParseNumber(it.get("quantity").str("value"))
	if !okNet || !okUnit || err != nil {
		p.add(ruleCardinality, at, "quantity, unitPrice and net must be numbers")
		return net
	}
	factor := Number{d: decimal.NewFromInt(1)}
	if f, err := ParseNumber(it.str("factor")); err == nil {
		factor = f
	}
	taxExt, _ := it.extension("tax")
	tax, _ := taxExt.get("valueMoney").amount()
	p.need(unit.twoPlaces(), "GE-00028", at+".unitPrice", "has more than two decimals")
	p.need(net.twoPlaces(), "GE-00028", at+".net", "has more than two decimals")
	p.need(tax.twoPlaces(), "GE-00028", at+".extension", "tax has more than two decimals")
	packageExt, _ := it.extension("package")
	isPackage, _ := packageExt.boolean("valueBoolean")
	nested := it.list("detail")
	name := "detail"
	if len(nested) == 0 {
		nested, name = it.list("subDetail"), "subDetail"
	}
	var sumNet, sumUnit Amount
	for i, d := range nested {
		sumNet = sumNet.Add(p.item(d, fmt.Sprintf("%s.%s[%d]", at, name, i)))
		u, _ := d.get("unitPrice").amount()
		sumUnit = sumUnit.Add(u)
	}
	if isPackage {
		p.need(len(nested) > 0, "BV-00036", at+".detail", "a package needs at least one detail")
		return net
	}
	if len(nested) > 0 {
		p.need(net.Equal(sumNet), "BV-00224", at+".net", "differs from the sum of the details' net")
		p.need(unit.Equal(sumUnit), "BV-00372", at+".unitPrice", "differs from the sum of the details' unit prices")
	}
	p.need(net.Equal(lineNet(quantity, unit, &factor, tax)), "BV-00251", at+".net", "is not quantity x unitPrice x factor + tax")
	return net
}
