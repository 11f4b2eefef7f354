package nphiesclient_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"sort"
	"strings"
)

// This file is a second reading of the guide: it shares no code, type or table with the package, walks bare JSON, and
// computes with big.Rat. It returns everything wrong with a request as text.

const (
	sd = "http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/"
	cs = "http://nphies.sa/terminology/CodeSystem/"
)

var lowerGUID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

type checker struct {
	wrong   []string
	entries []map[string]any
	byURL   map[string]map[string]any
}

func (c *checker) say(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

func (c *checker) must(ok bool, format string, args ...any) {
	if !ok {
		c.say(format, args...)
	}
}

// at follows a path of names and indexes.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func text(v any, path ...any) string {
	s, _ := at(v, path...).(string)
	return s
}

func arr(v any, path ...any) []any {
	l, _ := at(v, path...).([]any)
	return l
}

func rat(v any, path ...any) *big.Rat {
	n, ok := at(v, path...).(json.Number)
	if !ok {
		return nil
	}
	r, ok := new(big.Rat).SetString(n.String())
	if !ok {
		return nil
	}
	return r
}

func extOf(v any, name string) any {
	for _, e := range arr(v, "extension") {
		if text(e, "url") == sd+"extension-"+name {
			return e
		}
	}
	return nil
}

// halfUp rounds to two places, away from zero at the half.
func halfUp(r *big.Rat) *big.Rat {
	x := new(big.Rat).Mul(r, big.NewRat(100, 1))
	n := new(big.Int).Mul(x.Num(), big.NewInt(2))
	n.Add(n, x.Denom())
	n.Div(n, new(big.Int).Mul(x.Denom(), big.NewInt(2)))
	return new(big.Rat).SetFrac(n, big.NewInt(100))
}

func independentCheck(body []byte) []string {
	c := &checker{byURL: map[string]map[string]any{}}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var b map[string]any
	if err := dec.Decode(&b); err != nil {
		return []string{"no JSON: " + err.Error()}
	}
	c.must(len(body) < 10<<20, "too large")
	c.must(b["resourceType"] == "Bundle" && b["type"] == "message", "no message Bundle")
	c.must(lowerGUID.MatchString(text(b, "id")), "Bundle.id")
	c.must(text(b, "meta", "profile", 0) == sd+"bundle|1.0.0", "Bundle profile")
	c.must(regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+03:00$`).MatchString(text(b, "timestamp")), "timestamp")
	ids := map[string]bool{text(b, "id"): true}
	for i, e := range arr(b, "entry") {
		r, _ := at(e, "resource").(map[string]any)
		c.entries = append(c.entries, r)
		url, kind, id := text(e, "fullUrl"), text(r, "resourceType"), text(r, "id")
		c.must(lowerGUID.MatchString(id) && !ids[id], "entry %d: id is no GUID or used twice", i)
		ids[id] = true
		if i == 0 {
			c.must(kind == "MessageHeader" && url == "urn:uuid:"+id, "entry 0 must be the header")
		} else {
			c.must(strings.HasPrefix(url, "http") && strings.HasSuffix(url, "/"+kind+"/"+id), "entry %d: fullUrl", i)
		}
		c.must(c.byURL[url] == nil, "entry %d: fullUrl used twice", i)
		c.byURL[url] = r
		p := text(r, "meta", "profile", 0)
		c.must(strings.HasPrefix(p, sd) && strings.HasSuffix(p, "|1.0.0"), "entry %d: profile %s", i, p)
	}
	c.noEmpty("Bundle", b)
	c.references("Bundle", b)
	c.header()
	for i, r := range c.entries {
		c.common(fmt.Sprintf("entry %d %s", i, text(r, "resourceType")), r)
	}
	focal := c.byURL[text(c.entries[0], "focus", 0, "reference")]
	event := text(c.entries[0], "eventCoding", "code")
	switch event {
	case "claim-request":
		c.claim(focal, false)
	case "priorauth-request":
		c.claim(focal, true)
	case "eligibility-request":
		c.eligibility(focal)
	case "poll-request", "status-check", "cancel-request":
		c.task(event, focal)
	default:
		c.say("event %q", event)
	}
	return c.wrong
}

func (c *checker) noEmpty(path string, v any) {
	switch v := v.(type) {
	case nil:
		c.say("%s is null", path)
	case string:
		c.must(strings.TrimSpace(v) != "", "%s is empty", path)
	case []any:
		c.must(len(v) > 0, "%s is an empty list", path)
		for i, x := range v {
			c.noEmpty(fmt.Sprintf("%s[%d]", path, i), x)
		}
	case map[string]any:
		c.must(len(v) > 0, "%s is an empty object", path)
		for k, x := range v {
			c.noEmpty(path+"."+k, x)
			if k == "extension" {
				for _, e := range arr(x) {
					m, _ := e.(map[string]any)
					c.must(len(m) == 2 && strings.HasPrefix(text(e, "url"), sd+"extension-") && !strings.Contains(text(e, "url"), "|"),
						"%s: extension without value, or with a version", path)
				}
			}
			if k == "coding" {
				systems := map[string]bool{}
				for _, co := range arr(x) {
					s := text(co, "system")
					c.must(s != "" && text(co, "code") != "" && !systems[s], "%s: coding without system, or system twice", path)
					systems[s] = true
				}
			}
			if k == "currency" {
				c.must(x == "SAR", "%s: currency", path)
				r := rat(v, "value")
				c.must(r != nil && r.Sign() >= 0 && halfUp(r).Cmp(r) == 0, "%s: amount is negative or has three decimals", path)
			}
		}
	}
}

func (c *checker) references(path string, v any) {
	switch v := v.(type) {
	case []any:
		for i, x := range v {
			c.references(fmt.Sprintf("%s[%d]", path, i), x)
		}
	case map[string]any:
		if ref, ok := v["reference"].(string); ok {
			c.must(c.byURL[ref] != nil, "%s: reference to nothing", path)
		}
		for k, x := range v {
			c.references(path+"."+k, x)
		}
	}
}

func (c *checker) header() {
	h := c.entries[0]
	c.must(text(h, "eventCoding", "system") == cs+"ksa-message-events", "event system")
	c.must(len(arr(h, "destination")) == 1 && len(arr(h, "focus")) == 1, "one destination, one focus")
	sender := text(h, "sender", "identifier", "value")
	c.must(text(h, "sender", "identifier", "system") == "http://nphies.sa/license/provider-license" && sender != "", "sender")
	c.must(text(h, "sender", "type") == "Organization" && text(h, "destination", 0, "receiver", "type") == "Organization", "types")
	c.must(text(h, "source", "endpoint") == "http://nphies.sa/license/provider-license/"+sender, "source")
	receiver, system := text(h, "destination", 0, "receiver", "identifier", "value"), text(h, "destination", 0, "receiver", "identifier", "system")
	if text(h, "eventCoding", "code") == "poll-request" {
		c.must(receiver == "NPHIES" && system == "http://nphies.sa/license/nphies" &&
			text(h, "destination", 0, "endpoint") == "http://nphies.sa", "a poll goes to NPHIES")
	} else {
		c.must(system == "http://nphies.sa/license/payer-license" &&
			text(h, "destination", 0, "endpoint") == system+"/"+receiver && receiver != "", "receiver")
	}
	c.must(h["response"] == nil, "a request with a response")
	for _, r := range c.entries {
		if text(r, "meta", "profile", 0) == sd+"provider-organization|1.0.0" {
			c.must(text(r, "identifier", 0, "value") == sender, "provider organization is not the sender")
		}
		if text(r, "meta", "profile", 0) == sd+"insurer-organization|1.0.0" {
			c.must(text(r, "identifier", 0, "value") == receiver, "insurer is not the receiver")
		}
	}
}

func code(v any, path ...any) string { return text(at(v, path...), "coding", 0, "code") }

func (c *checker) common(at0 string, r map[string]any) {
	switch text(r, "resourceType") {
	case "Patient":
		c.must(len(arr(r, "identifier")) > 0 && code(r, "identifier", 0, "type") != "" && text(r, "identifier", 0, "system") != "" &&
			text(r, "identifier", 0, "value") != "", "%s: identifier", at0)
		c.must(r["active"] == true && len(arr(r, "name")) == 1 && text(r, "name", 0, "text") != "", "%s: active, name", at0)
		c.must(text(r, "gender") != "" && text(r, "birthDate") != "" && code(r, "maritalStatus") != "", "%s: gender, birth, marital", at0)
		c.must(code(extOf(r["_gender"], "ksa-administrative-gender"), "valueCodeableConcept") != "", "%s: _gender", at0)
		c.must(code(extOf(r, "occupation"), "valueCodeableConcept") != "", "%s: occupation", at0)
	case "Coverage":
		c.must(text(r, "identifier", 0, "value") != "" && r["status"] == "active", "%s: identifier, status", at0)
		t := code(r, "type")
		c.must(t == "EHCPOL" || t == "PUBLICPOL", "%s: type", at0)
		for _, k := range []string{"policyHolder", "beneficiary"} {
			c.must(text(r, k, "reference") != "", "%s: %s", at0, k)
		}
		c.must(text(r, "payor", 0, "reference") != "" && code(r, "relationship") != "", "%s: payor, relationship", at0)
		plans := 0
		for _, x := range arr(r, "class") {
			if code(x, "type") == "plan" && text(x, "value") != "" {
				plans++
			}
		}
		c.must(plans == 1, "%s: %d plans", at0, plans)
	case "Organization":
		c.must(r["active"] == true, "%s: active", at0)
		switch text(r, "meta", "profile", 0) {
		case sd + "provider-organization|1.0.0":
			c.must(code(r, "type", 0) == "prov" && code(extOf(r, "provider-type"), "valueCodeableConcept") != "", "%s: type", at0)
		case sd + "insurer-organization|1.0.0":
			c.must(code(r, "type", 0) == "ins" && text(r, "identifier", 0, "system") == "http://nphies.sa/license/payer-license", "%s", at0)
		case sd + "policyholder-organization|1.0.0":
			c.must(text(r, "name") != "", "%s: name", at0)
		default:
			c.say("%s: profile", at0)
		}
	case "Practitioner":
		c.must(code(r, "identifier", 0, "type") == "MD" && text(r, "identifier", 0, "value") != "" && r["active"] == true &&
			text(r, "name", 0, "text") != "", "%s", at0)
	case "Encounter":
		c.must(len(arr(r, "identifier")) == 1 && text(r, "status") != "" && text(r, "class", "code") != "" &&
			len(text(r, "period", "start")) == 25, "%s", at0)
		c.must(text(r, "subject", "reference") != "" && text(r, "serviceProvider", "reference") != "", "%s: references", at0)
	}
}

func (c *checker) eligibility(r any) {
	c.must(text(r, "resourceType") == "CoverageEligibilityRequest", "focus type")
	c.must(text(r, "meta", "profile", 0) == sd+"eligibility-request|1.0.0", "profile")
	c.must(len(arr(r, "identifier")) == 1 && text(r, "identifier", 0, "value") != "" && text(r, "status") == "active", "identifier, status")
	c.must(code(r, "priority") != "" && len(arr(r, "purpose")) > 0 && text(r, "created") != "", "priority, purpose, created")
	c.must((at(r, "servicedDate") == nil) != (at(r, "servicedPeriod") == nil), "serviced")
	for _, k := range []string{"patient", "provider", "insurer"} {
		c.must(text(r, k, "reference") != "", "%s", k)
	}
	if len(arr(r, "insurance")) == 0 {
		discovery := false
		for _, p := range arr(r, "purpose") {
			discovery = discovery || p == "discovery"
		}
		c.must(discovery, "no coverage, no discovery")
	}
}

func (c *checker) task(event string, r any) {
	c.must(text(r, "resourceType") == "Task" && text(r, "status") == "requested" && text(r, "intent") == "order", "task")
	want := map[string]string{"poll-request": "poll", "status-check": "status", "cancel-request": "cancel"}[event]
	c.must(code(r, "code") == want && text(r, "identifier", 0, "value") != "", "task code, identifier")
	c.must(text(r, "authoredOn") != "" && text(r, "lastModified") != "" && text(r, "requester", "reference") != "", "task times, requester")
	if event == "poll-request" {
		c.must(text(r, "owner", "identifier", "value") == "NPHIES", "owner")
	} else {
		c.must(text(r, "focus", "type") == "Claim" && text(r, "focus", "identifier", "value") != "", "task focus")
	}
	c.must((code(r, "reasonCode") != "") == (event == "cancel-request"), "reason of cancel")
}

func sequences(c *checker, r any, list string) map[string]bool {
	m := map[string]bool{}
	for _, x := range arr(r, list) {
		n, _ := at(x, "sequence").(json.Number)
		c.must(n != "" && !m[n.String()], "%s: sequence missing or twice", list)
		m[n.String()] = true
	}
	return m
}

func (c *checker) claim(r any, before bool) {
	kind, sub := code(r, "type"), code(r, "subType")
	profiles := map[string]string{
		"institutional": "institutional-claim", "professional": "professional-claim", "oral": "oral-claim",
		"pharmacy": "pharmacy-claim", "vision": "vision-claim",
	}
	profile, use := profiles[kind], "claim"
	if before {
		profile, use = strings.Replace(profile, "-claim", "-priorauth", 1), "preauthorization"
	}
	c.must(text(r, "resourceType") == "Claim" && text(r, "meta", "profile", 0) == sd+profile+"|1.0.0", "profile of %s", kind)
	subs := map[string]string{"institutional": "ip", "professional": "op emr", "oral": "op", "pharmacy": "op", "vision": "op"}
	c.must(strings.Contains(subs[kind], sub) && sub != "", "subtype %s of %s", sub, kind)
	c.must(len(arr(r, "identifier")) == 1 && text(r, "identifier", 0, "system") != "" && text(r, "identifier", 0, "value") != "", "identifier")
	c.must(text(r, "status") == "active" && text(r, "use") == use && text(r, "created") != "", "status, use, created")
	c.must(code(r, "priority") != "" && code(r, "payee", "type") != "", "priority, payee")
	c.must((code(r, "payee", "type") == "other") == (at(r, "payee", "party") != nil), "payee other has a party")
	for _, k := range []string{"patient", "provider", "insurer"} {
		c.must(text(r, k, "reference") != "", "%s", k)
	}
	if before {
		c.must(extOf(r, "episode") == nil && extOf(r, "accountingPeriod") == nil, "a preauthorization with episode or accounting period")
	} else {
		c.must(text(extOf(r, "episode"), "valueIdentifier", "value") != "", "episode")
		c.must(regexp.MustCompile(`^\d{4}-\d\d-01$`).MatchString(text(extOf(r, "accountingPeriod"), "valueDate")), "accounting period")
		c.must(extOf(r, "transfer") == nil, "a claim with transfer")
	}
	online, offline := extOf(r, "eligibility-response") != nil, extOf(r, "eligibility-offline-reference") != nil
	c.must(online != offline, "exactly one eligibility reference")
	if len(arr(r, "insurance", 0, "preAuthRef")) > 0 {
		c.must(extOf(r, "priorauth-response") != nil || extOf(r, "authorization-offline-date") != nil, "authorization response")
	}
	needsEncounter := kind == "institutional" || kind == "professional" || kind == "oral"
	encounter := c.byURL[text(extOf(r, "encounter"), "valueReference", "reference")]
	c.must(!needsEncounter || encounter != nil, "encounter")
	classes := map[string]string{"institutional": "IMP SS", "professional": "AMB EMER HH VR", "oral": "AMB"}
	if needsEncounter && encounter != nil {
		c.must(strings.Contains(classes[kind], text(encounter, "class", "code")), "class")
		c.must(kind == "institutional" || code(extOf(encounter, "serviceEventType"), "valueCodeableConcept") != "", "service event type")
		c.must(text(encounter, "subject", "reference") == text(r, "patient", "reference"), "encounter's patient")
		c.must(text(encounter, "serviceProvider", "reference") == text(r, "provider", "reference"), "encounter's provider")
	}
	c.must((len(arr(r, "careTeam")) == 0) == (kind == "pharmacy"), "care team")
	c.must(len(arr(r, "insurance")) == 1 && at(r, "insurance", 0, "focal") == true, "insurance")
	principal, codes := 0, map[string]bool{}
	for _, d := range arr(r, "diagnosis") {
		if code(d, "type", 0) == "principal" {
			principal++
		}
		x := code(d, "diagnosisCodeableConcept")
		c.must(x != "" && !codes[x], "diagnosis code missing or twice")
		codes[x] = true
	}
	c.must(principal == 1, "%d principal diagnoses", principal)
	c.information(r, kind, before)
	c.items(r, kind, encounter, before)
}

func (c *checker) information(r any, kind string, before bool) {
	need := strings.Fields("treatment-plan patient-history physical-examination history-of-present-illness investigation-result")
	if kind != "pharmacy" && kind != "vision" {
		need = append(need, "chief-complaint")
	}
	if kind == "professional" || kind == "institutional" {
		need = append(need, strings.Fields("vital-sign-systolic vital-sign-diastolic pulse respiratory-rate temperature "+
			"vital-sign-height vital-sign-weight oxygen-saturation")...)
	}
	if kind == "institutional" && before {
		need = append(need, "estimated-Length-of-Stay")
	}
	have := map[string]bool{}
	for _, s := range arr(r, "supportingInfo") {
		have[code(s, "category")] = true
		values := 0
		m, _ := s.(map[string]any)
		for k := range m {
			if strings.HasPrefix(k, "value") || k == "code" || k == "reason" {
				values++
			}
		}
		c.must(values >= 1, "supporting information %s says nothing", code(s, "category"))
		if q := at(s, "valueQuantity"); q != nil {
			c.must(rat(q, "value") != nil && text(q, "system") == "http://unitsofmeasure.org" && text(q, "code") != "", "quantity")
		}
	}
	sort.Strings(need)
	for _, n := range need {
		c.must(have[n], "supporting information %s is missing", n)
	}
}

func (c *checker) items(r any, kind string, encounter any, before bool) {
	pointers := map[string]map[string]bool{
		"careTeamSequence": sequences(c, r, "careTeam"), "diagnosisSequence": sequences(c, r, "diagnosis"),
		"informationSequence": sequences(c, r, "supportingInfo"),
	}
	sequences(c, r, "item")
	sum := new(big.Rat)
	for i, it := range arr(r, "item") {
		for name, known := range pointers {
			seen := map[string]bool{}
			for _, s := range arr(it, name) {
				n, _ := s.(json.Number)
				c.must(known[n.String()] && !seen[n.String()], "item %d: %s", i, name)
				seen[n.String()] = true
			}
			c.must(len(seen) > 0 || len(known) == 0, "item %d: no %s", i, name)
		}
		c.must((text(extOf(it, "patientInvoice"), "valueIdentifier", "value") != "") == !before, "item %d: invoice", i)
		c.must(before || rat(extOf(it, "patient-share"), "valueMoney", "value") != nil, "item %d: patient share", i)
		_, isBool := at(extOf(it, "maternity"), "valueBoolean").(bool)
		c.must(isBool == (kind != "oral" && kind != "vision"), "item %d: maternity", i)
		c.must(text(it, "productOrService", "coding", 0, "system") != "", "item %d: product", i)
		day := text(it, "servicedDate")
		c.must((day == "") != (at(it, "servicedPeriod") == nil), "item %d: serviced", i)
		if day != "" {
			c.must(before || day <= text(r, "created")[:10], "item %d: served after created", i)
			if start := text(encounter, "period", "start"); start != "" {
				c.must(day >= start[:10], "item %d: before the encounter", i)
				if end := text(encounter, "period", "end"); end != "" {
					c.must(day <= end[:10], "item %d: after the encounter", i)
				}
			}
		}
		if kind == "pharmacy" && text(it, "productOrService", "coding", 0, "system") == cs+"medication-codes" {
			supplies := 0
			for _, s := range arr(it, "informationSequence") {
				for _, info := range arr(r, "supportingInfo") {
					if at(info, "sequence") == s && code(info, "category") == "days-supply" {
						supplies++
					}
				}
			}
			c.must(supplies == 1, "item %d: %d days supplies", i, supplies)
			c.must(code(extOf(it, "pharmacist-Selection-Reason"), "valueCodeableConcept") != "", "item %d: selection reason", i)
		}
		if net := c.arithmetic(fmt.Sprintf("item %d", i), it); net != nil {
			sum.Add(sum, net)
		}
	}
	total := rat(r, "total", "value")
	c.must(total != nil && total.Cmp(sum) == 0, "total is not the sum of net")
}

func (c *checker) arithmetic(name string, it any) *big.Rat {
	q, u, net := rat(it, "quantity", "value"), rat(it, "unitPrice", "value"), rat(it, "net", "value")
	if q == nil || u == nil || net == nil {
		c.say("%s: quantity, unit price and net must be numbers", name)
		return nil
	}
	want := new(big.Rat).Mul(q, u)
	if at(it, "factor") != nil {
		f := rat(it, "factor")
		c.must(f != nil && f.Sign() > 0, "%s: factor", name)
		if f != nil {
			want.Mul(want, f)
		}
	}
	if tax := rat(extOf(it, "tax"), "valueMoney", "value"); tax != nil {
		want.Add(want, tax)
	}
	pack := at(extOf(it, "package"), "valueBoolean") == true
	details := append(arr(it, "detail"), arr(it, "subDetail")...)
	sumNet, sumUnit := new(big.Rat), new(big.Rat)
	for j, d := range details {
		if n := c.arithmetic(fmt.Sprintf("%s detail %d", name, j), d); n != nil {
			sumNet.Add(sumNet, n)
			sumUnit.Add(sumUnit, rat(d, "unitPrice", "value"))
		}
	}
	if pack {
		c.must(len(details) > 0, "%s: package of nothing", name)
		return net
	}
	if len(details) > 0 {
		c.must(net.Cmp(sumNet) == 0, "%s: net is not the sum of its details", name)
		c.must(u.Cmp(sumUnit) == 0, "%s: unit price is not the sum of its details", name)
	}
	c.must(halfUp(want).Cmp(net) == 0, "%s: net %s, computed %s", name, net.FloatString(2), halfUp(want).FloatString(4))
	return net
}
