package nphiesclient

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// priced is an item or detail with everything that is computed.
type priced struct {
	unitPrice, tax, net Amount
	quantity            Number
	factor              *Number
	details             []priced
}

// lineNet is quantity x unit price x factor + tax, half up to two places.
//
// Source: rule BV-00251, GE-00028.
func lineNet(quantity Number, unitPrice Amount, factor *Number, tax Amount) Amount {
	f := decimal.NewFromInt(1)
	if factor != nil {
		f = factor.d
	}
	return Amount{d: quantity.d.Mul(unitPrice.d).Mul(f).Add(tax.d)}.Round()
}

// price computes an item. It trusts what check.items has found good.
func price(it Item) priced {
	p := priced{quantity: it.Quantity, factor: it.Factor}
	if it.Tax != nil {
		p.tax = *it.Tax
	}
	if it.UnitPrice != nil {
		p.unitPrice = *it.UnitPrice
	}
	var sumNet, sumUnit, sumTax Amount
	for _, d := range it.Details {
		x := priceDetail(d)
		sumNet, sumUnit, sumTax = sumNet.Add(x.net), sumUnit.Add(x.unitPrice), sumTax.Add(x.tax)
		p.details = append(p.details, x)
	}
	switch {
	case len(it.Details) > 0 && !it.Package:
		p.net, p.unitPrice = sumNet, sumUnit
		if it.Tax == nil {
			p.tax = sumTax
		}
	case it.Package && it.Net != nil:
		p.net = *it.Net // the net of a package is taken as sent
	default:
		p.net = lineNet(p.quantity, p.unitPrice, p.factor, p.tax)
	}
	return p
}

// priceDetail computes a detail: of its parts, if it has any, as an item is of its details.
func priceDetail(d Detail) priced {
	p := priced{quantity: d.Quantity, factor: d.Factor}
	if d.UnitPrice != nil {
		p.unitPrice = *d.UnitPrice
	}
	if d.Tax != nil {
		p.tax = *d.Tax
	}
	var sumNet, sumUnit, sumTax Amount
	for _, s := range d.SubDetails {
		x := priceDetail(s.detail())
		sumNet, sumUnit, sumTax = sumNet.Add(x.net), sumUnit.Add(x.unitPrice), sumTax.Add(x.tax)
		p.details = append(p.details, x)
	}
	if len(d.SubDetails) > 0 {
		p.net, p.unitPrice = sumNet, sumUnit
		if d.Tax == nil {
			p.tax = sumTax
		}
		return p
	}
	p.net = lineNet(p.quantity, p.unitPrice, p.factor, p.tax)
	return p
}

// detail is the same part one level up, for the arithmetic they share.
func (s SubDetail) detail() Detail {
	return Detail{
		System: s.System, Code: s.Code, Display: s.Display, Local: s.Local, Quantity: s.Quantity, UnitPrice: s.UnitPrice,
		Factor: s.Factor, Tax: s.Tax, Net: s.Net, PatientShare: s.PatientShare,
	}
}

// claimTotal is the sum of the items' net (BV-00059).
func claimTotal(d *ClaimDocument) Amount {
	var sum Amount
	for _, it := range d.Items {
		sum = sum.Add(price(it).net)
	}
	return sum
}

// amountOK checks money: not negative, two decimals. A nil amount is fine.
func (c *check) amountOK(a *Amount, path string) {
	switch {
	case a == nil:
	case a.d.Sign() < 0:
		c.add(ruleAmount, path, "must not be negative")
	case !a.twoPlaces():
		c.add("GE-00028", path, "has more than two decimals")
	}
}

func (c *check) quantityOK(q Number, path string) {
	if q.d.Sign() <= 0 {
		c.advise("Enter a quantity above zero.", ruleCardinality, path, "is missing or not above zero")
	}
}

func (c *check) factorOK(f *Number, path string) {
	if f != nil && f.d.Sign() <= 0 {
		c.add("BV-00482", path, "must be above zero")
	}
}

// stated compares a stated amount with the computed one.
func (c *check) stated(a *Amount, want Amount, rule, path, how string) {
	if a != nil && !a.Equal(want) {
		c.add(rule, path, "is %s, but %s gives %s", a, how, want)
	}
}

func (c *check) items(d *ClaimDocument, kind claimKind, created time.Time) {
	if len(d.Items) == 0 {
		c.add(ruleCardinality, "items", "is missing")
		return
	}
	for i, it := range d.Items {
		at := fmt.Sprintf("items[%d]", i)
		c.service(it.System, it.Code, it.Display, it.Local, at)
		c.serviced(d, it, created, at)
		c.itemMoney(d, it, at)
		c.pointers(it.CareTeam, len(d.CareTeam), "BV-00442", at+".care_team")
		c.pointers(it.Diagnoses, len(d.Diagnoses), "BV-00443", at+".diagnoses")
		c.pointers(it.Information, len(d.Supporting), "BV-00444", at+".information")
		if d.preauthorization() {
			c.notBefore(it.Invoice, at+".invoice")
		} else if it.Invoice == "" {
			c.identifier(d.Invoice, "IC-01454", at+".invoice")
		} else {
			c.identifier(it.Invoice, "IC-01454", at+".invoice")
		}
		if it.Maternity && !kind.maternity {
			c.add(ruleDocument, at+".maternity", "is not part of a %s claim", d.Type)
		}
		c.medication(d, it, at)
		if it.BodySite != nil {
			c.need(it.BodySite.Code, ruleDocument, at+".body_site.code")
			c.need(it.BodySite.System, ruleDocument, at+".body_site.system")
		}
	}
	c.stated(d.Total, claimTotal(d), "BV-00059", "total", "the sum of the items' net")
	c.amountOK(d.Total, "total")
}

// service checks the code of an item or detail.
func (c *check) service(system, code, display string, local *Code, at string) {
	c.need(system, ruleCardinality, at+".system")
	c.text(code, ruleCardinality, at+".code", 30, 0)
	c.length(display, at+".display", 100, 0)
	if local == nil {
		return
	}
	c.text(local.Code, ruleDocument, at+".local.code", 30, 0)
	if c.need(local.System, ruleDocument, at+".local.system") && codeSystem(local.System) == codeSystem(system) {
		c.add("BV-00526", at+".local.system", "must differ from the system of the code")
	}
	c.length(local.Display, at+".local.display", 100, 0)
}

// serviced checks the date of service against the encounter and the claim.
func (c *check) serviced(d *ClaimDocument, it Item, created time.Time, at string) {
	var first, last string
	switch {
	case it.Date != "" && it.Period != nil:
		c.add("BV-00439", at, "date and period exclude each other")
		return
	case it.Period != nil:
		c.period(it.Period, "BV-00066", at+".period", true)
		first, last = it.Period.Start, it.Period.End
	case it.Date == "":
		c.add("BV-00066", at+".date", "is missing")
		return
	default:
		if _, ok := c.date(it.Date, "BV-00066", at+".date"); !ok {
			return
		}
		first, last = it.Date, it.Date
	}
	from, to := parseTime(first), parseTime(last)
	if from.IsZero() || to.IsZero() {
		return
	}
	if day(to) > day(created) && !created.IsZero() && !d.preauthorization() {
		c.add("BV-00061", at, "was served after the claim was created")
	}
	if e := d.Encounter; e != nil {
		start, end := parseTime(e.Start), parseTime(e.End)
		if !start.IsZero() && day(from) < day(start) || !end.IsZero() && day(to) > day(end) {
			c.add("BV-00041", at, "was served outside the encounter")
		}
	}
}

func (c *check) itemMoney(d *ClaimDocument, it Item, at string) {
	before := len(c.findings)
	c.quantityOK(it.Quantity, at+".quantity")
	c.factorOK(it.Factor, at+".factor")
	c.amountOK(it.UnitPrice, at+".unit_price")
	c.amountOK(it.Tax, at+".tax")
	c.amountOK(it.Net, at+".net")
	c.amountOK(it.PatientShare, at+".patient_share")
	c.amountOK(it.PayerShare, at+".payer_share")
	if it.PatientShare == nil && !d.preauthorization() {
		c.add(ruleCardinality, at+".patient_share", "is missing: what the patient was charged, 0 if nothing")
	}
	if it.UnitPrice == nil && (len(it.Details) == 0 || it.Package) {
		c.add(ruleCardinality, at+".unit_price", "is missing")
	}
	if it.Package && len(it.Details) == 0 {
		c.add("BV-00036", at+".details", "is missing: a package says what it holds")
	}
	for j, x := range it.Details {
		c.detail(x, fmt.Sprintf("%s.details[%d]", at, j))
	}
	if len(c.findings) > before {
		return // sums of what is wrong would only be noise
	}
	p := price(it)
	if len(it.Details) > 0 && !it.Package {
		c.stated(it.Net, p.net, "BV-00224", at+".net", "the sum of the details' net")
		c.stated(it.UnitPrice, p.unitPrice, "BV-00372", at+".unit_price", "the sum of the details' unit prices")
		if computed := lineNet(p.quantity, p.unitPrice, p.factor, p.tax); !computed.Equal(p.net) {
			c.add("BV-00251", at, "quantity x unit price x factor + tax gives %s, the details %s: give each part of a repeated "+
				"service as an item of its own", computed, p.net)
		}
		return
	}
	if !it.Package {
		c.stated(it.Net, p.net, "BV-00251", at+".net", "quantity x unit price x factor + tax")
	}
}

// detail checks a detail and its parts.
func (c *check) detail(x Detail, at string) {
	before := len(c.findings)
	c.service(x.System, x.Code, x.Display, x.Local, at)
	c.quantityOK(x.Quantity, at+".quantity")
	c.factorOK(x.Factor, at+".factor")
	if x.UnitPrice == nil {
		c.add(ruleCardinality, at+".unit_price", "is missing")
	}
	c.amountOK(x.UnitPrice, at+".unit_price")
	c.amountOK(x.Tax, at+".tax")
	c.amountOK(x.Net, at+".net")
	c.amountOK(x.PatientShare, at+".patient_share")
	for k, y := range x.SubDetails {
		c.detail(y.detail(), fmt.Sprintf("%s.sub_details[%d]", at, k))
	}
	if len(c.findings) > before {
		return // as in itemMoney
	}
	p := priceDetail(x)
	computed := lineNet(p.quantity, p.unitPrice, p.factor, p.tax)
	if len(x.SubDetails) == 0 {
		c.stated(x.Net, computed, "BV-00251", at+".net", "quantity x unit price x factor + tax")
		return
	}
	c.stated(x.Net, p.net, "BV-00224", at+".net", "the sum of the sub-details' net")
	c.stated(x.UnitPrice, p.unitPrice, "BV-00372", at+".unit_price", "the sum of the sub-details' unit prices")
	if !computed.Equal(p.net) {
		c.add("BV-00251", at, "quantity x unit price x factor + tax gives %s, the sub-details %s", computed, p.net)
	}
}

func (c *check) pointers(seqs []int, n int, rule, path string) {
	for i, s := range seqs {
		if s < 1 || s > n {
			c.add(rule, path, "points at %d, there are %d", s, n)
		}
		if slices.Contains(seqs[:i], s) {
			c.add("BV-00502", path, "names %d twice", s)
		}
	}
}

const medicationCodes = codeBase + "medication-codes"

func (it Item) isMedication() bool { return strings.EqualFold(codeSystem(it.System), medicationCodes) }

func (c *check) medication(d *ClaimDocument, it Item, at string) {
	if it.DaysSupply < 0 {
		c.add("BV-00376", at+".days_supply", "must be above zero")
	}
	if !it.isMedication() || d.Type != "pharmacy" {
		if it.Medication != nil && d.Type != "pharmacy" {
			c.add(ruleDocument, at+".medication", "is part of pharmacy claims only")
		}
		if it.DaysSupply != 0 && d.Type != "pharmacy" {
			c.add(ruleDocument, at+".days_supply", "is part of pharmacy claims only")
		}
		return
	}
	supplies := 0
	if it.DaysSupply > 0 {
		supplies++
	}
	for _, s := range it.Information {
		if s >= 1 && s <= len(d.Supporting) && d.Supporting[s-1].Category == "days-supply" {
			supplies++
		}
	}
	if supplies != 1 {
		c.add("BV-00376", at+".days_supply", "a medication has exactly one days supply, this one %d", supplies)
	}
	if it.Medication == nil || it.Medication.SelectionReason == "" {
		c.add("BV-00708", at+".medication.selection_reason", "is missing")
	}
}
