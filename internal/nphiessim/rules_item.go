package nphiessim

import (
	"slices"
	"strings"

	"github.com/shopspring/decimal"
)

var (
	items      = each(atFocus, "item")
	details    = each(items, "detail")
	subDetails = each(details, "subDetail")
)

// lines are the items, details and sub-details.
var lines = selector{"Claim.(item|detail|subDetail)", func(m *message) []node {
	return slices.Concat(items.find(m), details.find(m), subDetails.find(m))
}}

// itemRules are section 6.4 without the arithmetic.
var itemRules = []rule{
	{ruleCardinality, "Claim.item is not following the correct cardinality", sub(atFocus, "item"), nonEmptyList},
	{"BV-00044", "Sequences SHALL be unique", present(sub(atFocus, "item")), uniqueSequences},
	{"BV-00044", "Sequences SHALL be unique", present(sub(items, "detail")), uniqueSequences},
	{"BV-00044", "Sequences SHALL be unique", present(sub(details, "subDetail")), uniqueSequences},
	{ruleCardinality, "careTeamSequence is not following the correct cardinality", where(sub(items, "careTeamSequence"), hasCareTeam), nonEmptyList},
	{"BV-00442", "careTeamSequence SHALL point at a care team member", each(items, "careTeamSequence"), pointerInto("careTeam")},
	{"BV-00443", "diagnosisSequence SHALL point at a diagnosis", each(items, "diagnosisSequence"), pointerInto("diagnosis")},
	{"BV-00444", "informationSequence SHALL point at supporting information", each(items, "informationSequence"), pointerInto("supportingInfo")},
	{"BV-00501", "informationSequence is expected when there is supporting information", where(sub(items, "informationSequence"), hasInfo), nonEmptyList},
	{"BV-00502", "informationSequence SHALL NOT repeat", present(sub(items, "informationSequence")), distinctNumbers},
	{ruleCardinality, "productOrService is not following the correct cardinality", sub(lines, "productOrService"), func(_ *message, n node) bool {
		return n.code("") != ""
	}},
	{"BV-00527", "productOrService SHALL have one coding of an nphies list", present(sub(lines, "productOrService")), oneNphiesCoding},
	{"BV-00066", "An item SHALL have servicedDate or servicedPeriod", items, func(_ *message, n node) bool {
		return n.get("servicedDate").exists() || n.get("servicedPeriod").exists()
	}},
	{"BV-00439", "An item SHALL NOT have both servicedDate and servicedPeriod, and a period SHALL have both ends", where(items, isServiced), oneServiced},
	{"BV-00041", "An item SHALL be served within the encounter", where(items, hasEncounter), withinEncounter},
	{ruleStructure, "quantity.value SHALL be a positive number", sub(lines, "quantity.value"), isPositive},
	{ruleStructure, "unitPrice.value SHALL be a number, not negative", sub(lines, "unitPrice.value"), isNotNegative},
	{ruleStructure, "net.value SHALL be a number, not negative", sub(lines, "net.value"), isNotNegative},
	{"BV-00482", "factor SHALL be positive", present(sub(lines, "factor")), isPositive},
	{ruleCardinality, "Maternity is not following the correct cardinality", sub(ofType(extOf(items, "maternity"), "institutional", "professional", "pharmacy"), "valueBoolean"), isBoolean},
	{ruleStructure, "Tax SHALL be an amount", present(extOf(lines, "tax")), moneyExtension},
	{"BV-00036", "A package SHALL have details", where(items, isPackage), func(_ *message, n node) bool {
		return len(n.get("detail").list()) > 0
	}},
	{"BV-00723", "A medication line SHALL point at a diagnosis", sub(medications, "diagnosisSequence"), nonEmptyList},
	{"BV-00708", "A medication line SHALL give the pharmacist's reason of selection", extOf(medications, "pharmacist-Selection-Reason"), func(_ *message, n node) bool {
		return n.get("valueCodeableConcept").code(systemPrefix+"pharmacist-selection-reason") != ""
	}},
	{"BV-00376", "A medication line SHALL point at exactly one days-supply", medications, oneDaysSupply},
}

// invoiceRules are the extensions of items that only claims need.
var invoiceRules = []rule{
	{ruleCardinality, "The patient share is not following the correct cardinality", extOf(items, "patient-share"), moneyExtension},
	{"IC-01454", "The patient invoice is not following the correct cardinality", extOf(items, "patientInvoice"), func(_ *message, n node) bool {
		return identified(nil, n.get("valueIdentifier"))
	}},
}

// amountRules are the arithmetic of section 6.4. Decimals only, half-up to two places.
var amountRules = []rule{
	{
		"BV-00251", "Claim Item net is not equal to ((quantity * unit price) * factor) + tax",
		blame(where(lines, isSimpleLine), "net"),
		func(_ *message, n node) bool { return amount(n.get("net")).Equal(lineNet(n)) },
	},
	{"BV-00224", "Claim Item net is not equal to the sum of its details' net", blame(where(items, isSum), "net"), detailsAdd("net")},
	{"BV-00372", "Claim Item unit price is not equal to the sum of its details' unit price", blame(where(items, isSum), "unitPrice"), detailsAdd("unitPrice")},
	{"IC-00062", "Claim.total is not following the correct cardinality", sub(atFocus, "total"), exists},
	{"BV-00059", "Claim.total is not equal to the sum of the items' net", present(sub(atFocus, "total")), func(m *message, n node) bool {
		total, ok := n.get("value").dec()
		return ok && total.Equal(sum(items.find(m), "net"))
	}},
	{"BV-00096", "Claim.total SHALL be in SAR", present(sub(atFocus, "total")), inSAR},
}

// medications are the lines of pharmacy claims that carry a medication code.
var medications = where(ofType(items, "pharmacy"), func(_ *message, n node) bool {
	return n.get("productOrService").code(systemMedication) != ""
})

func hasCareTeam(m *message, _ node) bool { return m.focus().get("careTeam").length() > 0 }

func hasInfo(m *message, _ node) bool { return m.focus().get("supportingInfo").length() > 0 }

func hasEncounter(m *message, _ node) bool { return m.encounter().exists() }

func isPackage(_ *message, n node) bool { return n.ext("package").get("valueBoolean").isTrue() }

func pointerInto(list string) func(*message, node) bool {
	return func(m *message, n node) bool {
		want, ok := n.integer()
		return ok && m.claim.sequences[list][want]
	}
}

func distinctNumbers(_ *message, n node) bool {
	seen := map[int]bool{}
	for _, c := range n.list() {
		i, _ := c.integer()
		if seen[i] {
			return false
		}
		seen[i] = true
	}
	return true
}

// oneNphiesCoding wants one coding from the exchange's lists; others may be local.
func oneNphiesCoding(_ *message, n node) bool {
	return count(n.get("coding").list(), func(c node) bool {
		return strings.HasPrefix(c.get("system").str(), systemPrefix) && c.get("code").str() != ""
	}) == 1
}

func oneServiced(_ *message, n node) bool {
	start, end := served(n)
	return n.get("servicedDate").exists() != n.get("servicedPeriod").exists() && start != "" && end != ""
}

func isServiced(_ *message, n node) bool {
	return n.get("servicedDate").exists() || n.get("servicedPeriod").exists()
}

// served is the first and the last Riyadh day of a service.
func served(n node) (start, end string) {
	if d := n.get("servicedDate"); d.exists() {
		return dayOf(d), dayOf(d)
	}
	return dayOf(n.get("servicedPeriod.start")), dayOf(n.get("servicedPeriod.end"))
}

func withinEncounter(m *message, n node) bool {
	start, end := served(n)
	period := m.encounter().get("period")
	from, to := dayOf(period.get("start")), dayOf(period.get("end"))
	return (start == "" || start >= from) && (to == "" || end <= to)
}

func isPositive(_ *message, n node) bool {
	d, ok := n.dec()
	return ok && d.IsPositive()
}

func isNotNegative(_ *message, n node) bool {
	d, ok := n.dec()
	return ok && !d.IsNegative()
}

func moneyExtension(_ *message, n node) bool {
	return isNotNegative(nil, n.get("valueMoney.value"))
}

// amount is the value of a Money, 0 if there is none.
func amount(n node) decimal.Decimal {
	d, _ := n.get("value").dec()
	return d
}

// tax is what an item, detail or sub-detail carries as tax.
func tax(n node) decimal.Decimal { return amount(n.ext("tax").get("valueMoney")) }

// sum adds one amount over lines.
func sum(list []node, element string) decimal.Decimal {
	total := decimal.Zero
	for _, n := range list {
		total = total.Add(amount(n.get(element)))
	}
	return total
}

// isSimpleLine selects the lines whose net is computed from their own quantity and price: an item with details is their
// sum, and a package's net is taken as sent.
func isSimpleLine(_ *message, n node) bool {
	return !isPackage(nil, n) && len(n.get("detail").list()) == 0 && len(n.get("subDetail").list()) == 0
}

func isSum(_ *message, n node) bool { return !isPackage(nil, n) && len(n.get("detail").list()) > 0 }

// lineNet computes quantity * unitPrice * factor + tax, half-up to two places.
func lineNet(n node) decimal.Decimal {
	factor := decimal.NewFromInt(1)
	if f, ok := n.get("factor").dec(); ok {
		factor = f
	}
	return amount(n.get("quantity")).Mul(amount(n.get("unitPrice"))).Mul(factor).Add(tax(n)).Round(2)
}

func detailsAdd(element string) func(*message, node) bool {
	return func(_ *message, n node) bool {
		return amount(n.get(element)).Equal(sum(n.get("detail").list(), element))
	}
}

func oneDaysSupply(m *message, n node) bool {
	pointed, supplies := map[int]bool{}, 0
	for _, p := range n.get("informationSequence").list() {
		if i, ok := p.integer(); ok && !pointed[i] {
			pointed[i] = true
			supplies += m.claim.supplies[i]
		}
	}
	return supplies == 1
}
