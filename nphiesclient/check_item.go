package nphiesclient

import (
	"fmt"
	"strings"

	"github.com/shopspring/decimal"
)

// items checks sequences, pointers, dates, what each line must tell, and all arithmetic.
func (p *preflight) items(r *node, at, typ, use string) {
	kind := claimKinds[typ]
	targets := []pointer{
		{"careTeamSequence", "BV-00442", p.sequences(r, "careTeam", ruleCardinality, at)},
		{"diagnosisSequence", "BV-00443", p.sequences(r, "diagnosis", ruleCardinality, at)},
		{"informationSequence", "BV-00444", p.sequences(r, "supportingInfo", "BV-00453", at)},
	}
	p.sequences(r, "item", "BV-00044", at)
	var sum Amount
	for i, it := range r.list("item") {
		path := fmt.Sprintf("%s.item[%d]", at, i)
		for _, t := range targets {
			p.pointers(it, t, path)
		}
		p.need(it.has("careTeamSequence") || !r.has("careTeam"), ruleCardinality, path+".careTeamSequence", "is missing")
		p.need(it.has("informationSequence") || !r.has("supportingInfo"), "BV-00501", path+".informationSequence", "is missing")
		has := func(name string) bool { _, ok := it.extension(name); return ok }
		if use == UseClaim {
			p.need(has("patient-share"), ruleCardinality, x(path, "patient-share"), "is missing")
			p.need(has("patientInvoice"), "IC-01454", x(path, "patientInvoice"), "is missing")
		}
		p.need(has("maternity") || !kind.maternity, ruleCardinality, x(path, "maternity"), "is missing")
		p.need(codeOf(it.get("productOrService")) != "", ruleCardinality, path+".productOrService", "is missing")
		p.serviced(r, it, path, use)
		p.medication(r, it, path, typ)
		sum = sum.Add(p.line(it, path))
	}
	total, ok := r.get("total").amount()
	p.need(ok, "IC-00062", at+".total", "is missing")
	p.need(!ok || total.Equal(sum), "BV-00059", at+".total", "is "+total.String()+", but the sum of the items' net is "+sum.String())
	p.need(!ok || r.get("total").str("currency") == currency, "BV-00096", at+".total.currency", "must be SAR")
}

// sequences reports numbers that are missing or used twice and returns those that are there.
func (p *preflight) sequences(r *node, list, rule, at string) map[string]bool {
	seen := map[string]bool{}
	for i, x := range r.list(list) {
		s := x.str("sequence")
		if s == "" || seen[s] {
			p.advise("Number the entries 1, 2, 3.", rule, fmt.Sprintf("%s.%s[%d].sequence", at, list, i), "is missing or used twice")
		}
		seen[s] = true
	}
	return seen
}

type pointer struct {
	name, rule string
	known      map[string]bool
}

func (p *preflight) pointers(it *node, t pointer, at string) {
	seen := map[string]bool{}
	for _, s := range it.list(t.name) {
		p.need(t.known[s.text()], t.rule, at+"."+t.name, "points at nothing")
		p.need(!seen[s.text()], "BV-00502", at+"."+t.name, "names the same twice")
		seen[s.text()] = true
	}
}

func (p *preflight) serviced(r, it *node, at, use string) {
	date, period := it.str("servicedDate"), it.get("servicedPeriod")
	path, first, last := at+".servicedDate", date, date
	switch {
	case date != "" && it.has("servicedPeriod"):
		p.add("BV-00439", path, "a date and a period exclude each other")
		return
	case it.has("servicedPeriod"):
		path, first, last = at+".servicedPeriod", period.str("start"), period.str("end")
	}
	from, to := parseTime(first), parseTime(last)
	p.need(!from.IsZero(), "BV-00066", path, "is missing or no date")
	if from.IsZero() {
		return
	}
	if to.IsZero() {
		to = from
	}
	created := parseTime(r.str("created"))
	p.need(use != UseClaim || created.IsZero() || day(to) <= day(created), "BV-00061", path, "lies after the creation of the claim")
	if e := p.encounterOf(r); e != nil {
		start, end := parseTime(e.get("period").str("start")), parseTime(e.get("period").str("end"))
		before, after := !start.IsZero() && day(from) < day(start), !end.IsZero() && day(to) > day(end)
		p.need(!before && !after, "BV-00041", path, "lies outside the encounter")
	}
}

// medication checks a line of medicine in a pharmacy claim.
func (p *preflight) medication(r, it *node, at, typ string) {
	if typ != "pharmacy" || !strings.EqualFold(it.get("productOrService").first("coding").str("system"), medicationCodes) {
		return
	}
	p.need(it.has("diagnosisSequence"), "BV-00723", at+".diagnosisSequence", "is missing")
	p.need(extensionCode(it, "pharmacist-Selection-Reason") != "", "BV-00708", x(at, "pharmacist-Selection-Reason"), "is missing")
	supplies := 0
	for _, s := range it.list("informationSequence") {
		for _, info := range r.list("supportingInfo") {
			if info.str("sequence") == s.text() && codeOf(info.get("category")) == "days-supply" {
				supplies++
			}
		}
	}
	p.need(supplies == 1, "BV-00376", at+".informationSequence", fmt.Sprintf("must point at exactly one days-supply, not %d", supplies))
}

// line checks the arithmetic of an item, detail or subDetail and returns its net.
func (p *preflight) line(it *node, at string) Amount {
	for _, name := range []string{"unitPrice", "net"} {
		p.need(it.get(name).str("currency") == currency, "BV-00096", at+"."+name+".currency", "must be SAR")
	}
	for _, name := range []string{"tax", "patient-share", "payer-share"} {
		if e, ok := it.extension(name); ok {
			money := e.get("valueMoney")
			v, _ := money.amount()
			p.need(v.twoPlaces(), "GE-00028", x(at, name), "has more than two decimals")
			p.need(money.str("currency") == currency, "BV-00096", x(at, name), "must be in SAR")
		}
	}
	net, okNet := it.get("net").amount()
	unit, okUnit := it.get("unitPrice").amount()
	quantity, err := ParseNumber(it.get("quantity").str("value"))
	if !okNet || !okUnit || err != nil {
		p.must(false, at, "quantity, unitPrice and net must be numbers")
		return net
	}
	factor := Number{d: decimal.NewFromInt(1)}
	if it.has("factor") {
		if f, err := ParseNumber(it.str("factor")); err == nil {
			factor = f
		}
		p.need(factor.d.Sign() > 0, "BV-00482", at+".factor", "must be above zero")
	}
	taxExt, _ := it.extension("tax")
	tax, _ := taxExt.get("valueMoney").amount()
	p.need(unit.twoPlaces(), "GE-00028", at+".unitPrice", "has more than two decimals")
	p.need(net.twoPlaces(), "GE-00028", at+".net", "has more than two decimals")
	packageExt, _ := it.extension("package")
	isPackage, _ := packageExt.boolean("valueBoolean")
	name := "detail"
	if !it.has(name) {
		name = "subDetail"
	}
	p.sequences(it, name, "BV-00044", at)
	var sumNet, sumUnit Amount
	for i, d := range it.list(name) {
		sumNet = sumNet.Add(p.line(d, fmt.Sprintf("%s.%s[%d]", at, name, i)))
		u, _ := d.get("unitPrice").amount()
		sumUnit = sumUnit.Add(u)
	}
	parts := it.has(name)
	if isPackage {
		p.need(parts, "BV-00036", at+".detail", "a package needs at least one detail")
		return net
	}
	p.need(!parts || net.Equal(sumNet), "BV-00224", at+".net", "is "+net.String()+", but the sum of the details' net is "+sumNet.String())
	p.need(!parts || unit.Equal(sumUnit), "BV-00372", at+".unitPrice", "is "+unit.String()+", but the sum of the details' is "+sumUnit.String())
	computed := lineNet(quantity, unit, &factor, tax)
	p.need(net.Equal(computed), "BV-00251", at+".net", "is "+net.String()+", but quantity x unitPrice x factor + tax gives "+computed.String())
	return net
}
