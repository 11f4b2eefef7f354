package nphiesclient

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sort"
	"strings"
)

// States of a claim as an answer tells them; the same words as the state column of the record.
const (
	StateApproved = "approved"
	StatePartial  = "partial"
	StateRejected = "rejected"
	StatePending  = "pending"
	StatePended   = "pended"
	StateError    = "error"
)

// categories are the official spellings of adjudication categories, by lower case. copay is coPay in the official list and
// copay in all messages seen.
var categories = map[string]string{
	"submitted": "submitted", "eligible": "eligible", "copay": "copay", "deductible": "deductible",
	"unallocdeduct": "unallocDeduct", "eligpercent": "eligpercent", "benefit": "benefit", "tax": "tax",
	"patientshare": "patientShare", "rejected": "rejected", "discount": "discount",
	"approved-quantity": "approved-quantity", "approved-duration": "approved-duration", "approved-refill": "approved-refill",
}

func category(n *node) string {
	code := codeOf(n)
	if c, ok := categories[strings.ToLower(code)]; ok {
		return c
	}
	return code
}

func parseClaim(r *node) *ClaimAnswer {
	a := &ClaimAnswer{
		Response:     firstIdentifier(r),
		Use:          strings.ToLower(r.str("use")),
		Outcome:      strings.ToLower(r.str("outcome")),
		Adjudication: strings.ToLower(extensionCode(r, "adjudication-outcome")),
		Disposition:  r.str("disposition"),
		Reissue:      extensionCode(r, "adjudication-reissue"),
		PreAuthRef:   r.str("preAuthRef"), PreAuthPeriod: periodOf(r.get("preAuthPeriod")),
		Created: parseTime(r.str("created")),
		Errors:  errorsOf(r),
	}
	for _, x := range r.list("communicationRequest") {
		a.InformationWanted = a.InformationWanted || len(x.obj()) > 0
	}
	if e, ok := r.extension("batch-identifier"); ok {
		a.BatchIdentifier = identifierOf(e.get("valueIdentifier"))
	}
	if e, ok := r.extension("batch-number"); ok {
		a.BatchNumber = e.integer("valuePositiveInt")
	}
	for _, x := range r.list("item") {
		a.Items = append(a.Items, a.item(x, "itemSequence"))
	}
	for _, x := range r.list("addItem") {
		a.Added = append(a.Added, a.item(x, "itemSequence"))
	}
	sort.SliceStable(a.Items, func(i, j int) bool { return a.Items[i].Sequence < a.Items[j].Sequence })
	for _, t := range r.list("total") {
		if a.Totals == nil {
			a.Totals = map[string]Amount{}
		}
		take(t, a.Totals, &a.Unreadable)
	}
	for _, n := range r.list("processNote") {
		a.Notes = append(a.Notes, Note{Number: n.integer("number"), Text: n.str("text")})
	}
	return a
}

func (a *ClaimAnswer) item(x *node, sequence string) ItemAnswer {
	it := ItemAnswer{
		Sequence: x.first(sequence).asInt(),
		Outcome:  strings.ToLower(extensionCode(x, "adjudication-outcome")),
		Amounts:  map[string]Amount{},
		Values:   map[string]Number{},
	}
	if c := codesOf(x.get("productOrService")); len(c) > 0 {
		it.Product = c[0]
	}
	if q, err := ParseNumber(x.get("quantity").str("value")); err == nil {
		it.Quantity = q
	}
	for _, n := range x.list("noteNumber") {
		it.Notes = append(it.Notes, n.asInt())
	}
	for _, adj := range x.list("adjudication") {
		name := category(adj.get("category"))
		take(adj, it.Amounts, &it.Unreadable)
		if v, err := ParseNumber(adj.str("value")); err == nil && name != "" {
			it.Values[name] = v
		}
		for _, c := range codesOf(adj.get("reason")) {
			if !slices.Contains(it.Reasons, c) {
				it.Reasons = append(it.Reasons, c)
			}
			if !slices.Contains(a.Reasons, c) {
				a.Reasons = append(a.Reasons, c)
			}
		}
	}
	return it
}

// take adds the amount of a category, the first of each. An amount without a number, or of another currency, is named instead.
func take(n *node, amounts map[string]Amount, unreadable *[]string) {
	name := category(n.get("category"))
	v, bad := told(n.get("amount"))
	_, twice := amounts[name]
	switch {
	case name == "" || twice || slices.Contains(*unreadable, name):
	case bad:
		*unreadable = append(*unreadable, name)
	case v != nil:
		amounts[name] = *v
	}
}

func (n node) asInt() int { return (node{map[string]any{"n": n.v}}).integer("n") }

// State says what the answer makes of the claim:
//
//	outcome    adjudication                      state
//	error      any                               error
//	queued     any                               pending; pended if the payer asks for information
//	partial    any (processing not finished)     pending or pended likewise
//	complete   approved, partial, rejected       the same
//	complete   pended                            pending or pended likewise
//	complete   absent                            by the items: all approved, all rejected, else partial (BV-00393, 394, 397)
//	else                                         pending: the answer does not decide, see Undecided
//
// "not-required" is an answer to a prior authorization, where it means that nothing stands in the way: approved. On a claim
// it decides nothing.
func (a *ClaimAnswer) State() string {
	s, _ := a.state()
	return s
}

// Undecided reports whether State is pending only because the answer says nothing that we understand. A person should look.
func (a *ClaimAnswer) Undecided() bool {
	_, decided := a.state()
	return !decided
}

func (a *ClaimAnswer) state() (state string, decided bool) {
	waiting := StatePending
	if a.InformationWanted {
		waiting = StatePended
	}
	switch a.Outcome {
	case "error":
		return StateError, true
	case "queued", "partial":
		return waiting, true
	case "complete":
	default:
		return waiting, a.Adjudication == "pended"
	}
	adjudication := a.Adjudication
	if adjudication == "" {
		adjudication = a.itemsOutcome()
	}
	switch adjudication {
	case "approved":
		return StateApproved, true
	case "partial":
		return StatePartial, true
	case "rejected":
		return StateRejected, true
	case "pended":
		return waiting, true
	case "not-required":
		if a.Use == UsePreauthorization {
			return StateApproved, true
		}
		return waiting, false
	default:
		return waiting, false
	}
}

// itemsOutcome derives the outcome of the claim from its items, "" if any of them has none.
func (a *ClaimAnswer) itemsOutcome() string {
	approved, rejected := 0, 0
	for _, it := range a.Items {
		switch it.Outcome {
		case "approved":
			approved++
		case "rejected":
			rejected++
		case "partial":
		case "pended":
			return "pended"
		default:
			return ""
		}
	}
	switch n := len(a.Items); {
	case n == 0:
		return ""
	case approved == n:
		return "approved"
	case rejected == n:
		return "rejected"
	default:
		return "partial"
	}
}

// Paid is what the payer pays: benefit + tax, of the totals, or of the items where there is no total. known is false when the
// answer does not tell it: without any benefit, with an approved item that has none, or with an amount that is no number. An answer that
// rejects everything and names no benefit pays nothing.
func (a *ClaimAnswer) Paid() (paid Amount, known bool) {
	benefit, benefitIs := a.sum("benefit")
	tax, taxIs := a.sum("tax")
	if benefitIs == amountAbsent && a.State() == StateRejected {
		benefitIs = amountTold
	}
	_, total := a.Totals["benefit"]
	for _, it := range a.Items {
		if _, ok := it.Amounts["benefit"]; !ok && !total && it.Outcome != "rejected" && a.State() != StateRejected {
			return Amount{}, false
		}
	}
	if benefitIs != amountTold || taxIs == amountUnreadable {
		return Amount{}, false
	}
	return benefit.Add(tax), true
}

// Sum returns the total of a category, of the items where there is no total. known is false when neither tells it, or an
// amount of it is no number.
func (a *ClaimAnswer) Sum(category string) (sum Amount, known bool) {
	sum, is := a.sum(category)
	return sum, is == amountTold
}

// amountState is what is known of an amount.
type amountState int

const (
	amountAbsent amountState = iota
	amountTold
	amountUnreadable
)

func (a *ClaimAnswer) sum(category string) (Amount, amountState) {
	if v, ok := a.Totals[category]; ok {
		return v, amountTold
	}
	if slices.Contains(a.Unreadable, category) {
		return Amount{}, amountUnreadable
	}
	var sum Amount
	is := amountAbsent
	for _, it := range a.Items {
		if slices.Contains(it.Unreadable, category) {
			return Amount{}, amountUnreadable
		}
		if v, ok := it.Amounts[category]; ok {
			sum, is = sum.Add(v), amountTold
		}
	}
	return sum, is
}

// Fingerprint is the SHA-256, in hex, of what the answer decides: identifiers, outcome, adjudication, reissue, disposition,
// totals, items, reasons, errors. Ids, times and the order of the envelope are not part of it, so the same answer delivered
// twice has the same fingerprint. Amounts count by value: 230 and 230.00 are the same.
func (a *ClaimAnswer) Fingerprint() string {
	type item struct {
		Sequence int
		Outcome  string
		Amounts  map[string]string
		Values   map[string]string
		Reasons  []string
		Notes    []int
		// Unreadable is left out where it is empty, so that fingerprints on record stay valid.
		Unreadable []string `json:",omitempty"`
	}
	amounts := func(m map[string]Amount) map[string]string {
		o := map[string]string{}
		for k, v := range m {
			o[k] = v.d.String()
		}
		return o
	}
	items := func(in []ItemAnswer) []item {
		out := make([]item, 0, len(in))
		for _, it := range in {
			x := item{Sequence: it.Sequence, Outcome: it.Outcome, Amounts: amounts(it.Amounts), Notes: it.Notes, Unreadable: it.Unreadable}
			x.Values = map[string]string{}
			for k, v := range it.Values {
				x.Values[k] = v.d.String()
			}
			for _, r := range it.Reasons {
				x.Reasons = append(x.Reasons, r.Code)
			}
			sort.Strings(x.Reasons)
			out = append(out, x)
		}
		return out
	}
	var errs []string
	for _, e := range a.Errors {
		errs = append(errs, e.Code+"\x00"+strings.ToLower(e.Expression))
	}
	sort.Strings(errs)
	facts := []any{
		a.Request, a.Response, a.Outcome, a.Adjudication, a.Reissue, a.Disposition, a.PreAuthRef, a.InformationWanted,
		amounts(a.Totals), items(a.Items), items(a.Added), a.Notes, errs,
	}
	if len(a.Unreadable) > 0 {
		facts = append(facts, a.Unreadable)
	}
	b, err := json.Marshal(facts)
	if err != nil {
		panic("nphiesclient: fingerprint: " + err.Error()) // strings and numbers only: cannot happen
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
