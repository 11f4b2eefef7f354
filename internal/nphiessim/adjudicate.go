package nphiessim

import (
	"encoding/json"

	"github.com/shopspring/decimal"
)

// Amounts are the sums of an adjudicated claim in SAR.
type Amounts struct {
	Submitted    decimal.Decimal // as billed, with tax
	Eligible     decimal.Decimal // accepted, without tax
	Benefit      decimal.Decimal // what the payer pays, without tax
	Tax          decimal.Decimal // tax the payer pays
	Paid         decimal.Decimal // Benefit + Tax
	PatientShare decimal.Decimal
	Rejected     decimal.Decimal // not accepted, without tax
}

// MarshalJSON writes decimal strings with two places.
func (a Amounts) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{
		"submitted": a.Submitted.StringFixed(2), "eligible": a.Eligible.StringFixed(2), "benefit": a.Benefit.StringFixed(2),
		"tax": a.Tax.StringFixed(2), "paid": a.Paid.StringFixed(2), "patient_share": a.PatientShare.StringFixed(2),
		"rejected": a.Rejected.StringFixed(2),
	})
}

func (a Amounts) plus(b Amounts) Amounts {
	return Amounts{
		a.Submitted.Add(b.Submitted), a.Eligible.Add(b.Eligible), a.Benefit.Add(b.Benefit), a.Tax.Add(b.Tax),
		a.Paid.Add(b.Paid), a.PatientShare.Add(b.PatientShare), a.Rejected.Add(b.Rejected),
	}
}

// adjudication is a payer's decision about a whole claim.
type adjudication struct {
	outcome verdict
	items   []itemDecision
	total   Amounts
}

// itemDecision is a payer's decision about one item.
type itemDecision struct {
	item     node
	outcome  verdict
	amounts  Amounts
	quantity decimal.Decimal
	reason   reason
	note     string
}

type reason struct{ code, display string }

// decide adjudicates a claim. Partly approved claims have their first item approved, the second cut, the third rejected
// and the rest approved; if there is one item only, it is cut.
func decide(claim node, v verdict) adjudication {
	out := adjudication{}
	list := claim.get("item").list()
	for i, item := range list {
		want := v
		if v == partial && len(list) > 1 {
			want = []verdict{approved, partial, rejected}[min(i, 3)%3]
		}
		d := decideItem(item, want)
		out.items = append(out.items, d)
		out.total = out.total.plus(d.amounts)
	}
	out.outcome = combine(out.items)
	return out
}

// combine derives the claim's outcome from its items (BV-00393, 394, 397).
func combine(items []itemDecision) verdict {
	seen := map[verdict]bool{}
	for _, d := range items {
		seen[d.outcome] = true
	}
	switch {
	case len(seen) == 1 && seen[approved]:
		return approved
	case len(seen) == 1 && seen[rejected]:
		return rejected
	case len(seen) == 1 && seen[notRequired]:
		return notRequired
	default:
		return partial
	}
}

func decideItem(item node, v verdict) itemDecision {
	submitted := amount(item.get("net"))
	itemTax := itemTax(item)
	base := submitted.Sub(itemTax)
	quantity := amount(item.get("quantity"))
	d := itemDecision{item: item, outcome: v, quantity: quantity}

	accepted := base
	switch v {
	case partial:
		accepted, d.quantity = cut(base, quantity)
		d.reason = reason{"CV-3-2", "Service/procedure may be appropriate, but too frequent"}
		d.note = "Part of the item is outside the allowed frequency"
	case rejected:
		accepted, d.quantity = decimal.Zero, decimal.Zero
		d.reason = reason{"MN-1-1", "Service is not clinically justified based on clinical practice guideline, without additional supporting diagnosis"}
		d.note = "Please provide supporting diagnosis"
	default:
	}

	share := decimal.Min(amount(item.ext("patient-share").get("valueMoney")), base)
	patient := portion(share, accepted, base)
	benefit := accepted.Sub(patient)
	paidTax := portion(itemTax, benefit, base)
	d.amounts = Amounts{
		Submitted: submitted, Eligible: accepted, Benefit: benefit, Tax: paidTax, Paid: benefit.Add(paidTax),
		PatientShare: patient, Rejected: base.Sub(accepted),
	}
	return d
}

// itemTax is the item's own tax or, where only its details carry tax, their sum; never more than the net.
func itemTax(item node) decimal.Decimal {
	t := tax(item)
	if t.IsZero() {
		for _, d := range item.get("detail").list() {
			t = t.Add(tax(d))
		}
	}
	return decimal.Min(t, amount(item.get("net")))
}

// cut accepts half of the units, rounded down, or half the price of a single unit.
func cut(base, quantity decimal.Decimal) (accepted, units decimal.Decimal) {
	two := decimal.NewFromInt(2)
	units = quantity.Div(two).Floor()
	if units.IsPositive() {
		return portion(base, units, quantity), units
	}
	return base.Div(two).Round(2), quantity
}

// portion is whole * part / of, half-up to two places; 0 if of is 0.
func portion(whole, part, of decimal.Decimal) decimal.Decimal {
	if of.IsZero() {
		return decimal.Zero
	}
	return whole.Mul(part).Div(of).Round(2)
}

// render makes the item[], total[], and processNote[] elements of a ClaimResponse.
func (a adjudication) render() (items, totals, notes []any) {
	for _, d := range a.items {
		item := map[string]any{
			"extension":    []any{conceptExtension("adjudication-outcome", systemOutcome, string(d.outcome))},
			"itemSequence": d.item.get("sequence").v,
			"adjudication": d.render(),
		}
		if invoice := d.item.ext("patientInvoice"); invoice.exists() && sizeOf(invoice.v) <= maxEchoElement {
			item["extension"] = append(item["extension"].([]any), invoice.v)
		}
		if d.note != "" {
			notes = append(notes, map[string]any{"number": number(len(notes) + 1), "type": "print", "text": d.note})
			item["noteNumber"] = []any{number(len(notes))}
		}
		items = append(items, item)
	}
	return items, amountLines(a.total, reason{}), notes
}

func (d itemDecision) render() []any {
	out := amountLines(d.amounts, d.reason)
	return append(out, map[string]any{"category": concept(systemKSA, "approved-quantity"), "value": plain(d.quantity)})
}

// amountLines are the adjudication entries of an item or the totals of a claim. "rejected" stands only where there is
// something to tell, and the reason with it.
func amountLines(a Amounts, r reason) []any {
	line := func(system, code string, d decimal.Decimal) map[string]any {
		return map[string]any{"category": concept(system, code), "amount": money(d)}
	}
	eligible := line(systemAdjudication, "eligible", a.Eligible)
	out := []any{
		line(systemAdjudication, "submitted", a.Submitted), eligible, line(systemAdjudication, "copay", a.PatientShare),
		line(systemAdjudication, "benefit", a.Benefit), line(systemAdjudication, "tax", a.Tax),
	}
	if r.code != "" || a.Rejected.IsPositive() {
		rejected := line(systemKSA, "rejected", a.Rejected)
		if r.code != "" {
			because := map[string]any{"coding": []any{map[string]any{"system": systemReason, "code": r.code, "display": r.display}}}
			eligible["reason"], rejected["reason"] = because, because
		}
		out = append(out, rejected)
	}
	return append(out, line(systemKSA, "patientShare", a.PatientShare))
}
