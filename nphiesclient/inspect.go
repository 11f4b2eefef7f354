package nphiesclient

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"
)

// Inspection explains one message, request or answer, in the words an operator uses. Absent facts are left out of the JSON;
// amounts have two decimals, more where the sender wrote more. Disposition, Notes and the texts of reasons are the sender's own words,
// everything else is codes, licences and numbers: no patient data.
type Inspection struct {
	// Event is absent for a bare OperationOutcome.
	Event    string `json:"event,omitempty"`
	BundleID string `json:"bundle_id,omitempty"`
	HeaderID string `json:"header_id,omitempty"`
	// ResponseCode is ok, transient-error or fatal-error, absent for requests.
	ResponseCode string `json:"response_code,omitempty"`
	// Sender and Receiver are licences.
	Sender   string `json:"sender,omitempty"`
	Receiver string `json:"receiver,omitempty"`
	// NPHIESGenerated is absent where there is no message around the content.
	NPHIESGenerated *bool `json:"nphies_generated,omitempty"`
	// MoreQueued: more messages wait in the mailbox.
	MoreQueued bool `json:"more_queued,omitempty"`
	// Target is the claim or authorization that a status-check or cancel-request asks about.
	Target *Identifier `json:"target,omitempty"`
	// Request is what the message is about: a request's own business identifier, the identifier an answer quotes, the
	// claim of a status or cancel answer, the first subject of a communication.
	Request *Identifier `json:"request,omitempty"`
	// Outcome is ClaimResponse.outcome, CoverageEligibilityResponse.outcome, or the status of a Task in an answer.
	Outcome         string `json:"outcome,omitempty"`
	Adjudication    string `json:"adjudication,omitempty"`
	SiteEligibility string `json:"site_eligibility,omitempty"`
	Disposition     string `json:"disposition,omitempty"`
	Reissue         string `json:"reissue,omitempty"`
	// Use is claim or preauthorization, PreAuthRef the reference an authorization gives.
	Use        string `json:"use,omitempty"`
	PreAuthRef string `json:"pre_auth_ref,omitempty"`
	// Wanted are the reasons a payer asks for more: missing-info, missing-attach, info-correct.
	Wanted []string `json:"wanted,omitempty"`
	// Balanced says of a payment whether its sums are exact.
	Balanced *bool `json:"balanced,omitempty"`
	// TaskResult is the state a status-response names, TaskReason why a cancel was refused.
	TaskResult string `json:"task_result,omitempty"`
	TaskReason string `json:"task_reason,omitempty"`
	// Totals by category; of a request "claimed", of a payment "paid". Nothing is computed. An amount that is there and is no
	// number of riyals is "unreadable", here and below.
	Totals map[string]string `json:"totals,omitempty"`
	// Paid is what the payer of a decided claim pays, computed of totals or items: benefit and tax. Absent where the answer does
	// not tell it.
	Paid string `json:"paid,omitempty"`
	// Items are the decisions about the items of a claim, Added the payer's own lines.
	Items []InspectedItem `json:"items,omitempty"`
	Added []InspectedItem `json:"added,omitempty"`
	// Notes are the payer's remarks; items name them by number.
	Notes []InspectedNote `json:"notes,omitempty"`
	// Inforce are the flags of the coverages of an eligibility answer, Benefits what they offer.
	Inforce  []bool    `json:"inforce,omitempty"`
	Benefits []Benefit `json:"benefits,omitempty"`
	// Payments are the lines of a payment-reconciliation.
	Payments []InspectedPayment `json:"payments,omitempty"`
	// Errors are each given once, with their number.
	Errors []CodedError `json:"errors,omitempty"`
	// Nested are the messages of a poll answer or a batch. One that cannot be read has only Unreadable.
	Nested []*Inspection `json:"nested,omitempty"`
	// Unreadable says why a nested message cannot be read.
	Unreadable string `json:"unreadable,omitempty"`
}

// InspectedItem is what an answer says about one item.
type InspectedItem struct {
	Sequence int    `json:"sequence,omitempty"`
	Outcome  string `json:"outcome,omitempty"`
	// Amounts by category, Values numbers without currency by category: approved-quantity, eligpercent.
	Amounts map[string]string `json:"amounts,omitempty"`
	Values  map[string]string `json:"values,omitempty"`
	// Reasons are codes, ReasonTexts what the payer wrote beside each, "" for nothing.
	Reasons     []string `json:"reasons,omitempty"`
	ReasonTexts []string `json:"reason_texts,omitempty"`
	// Notes are numbers of the answer's notes.
	Notes []int `json:"notes,omitempty"`
}

// InspectedNote is a remark of the payer.
type InspectedNote struct {
	Number int    `json:"number,omitempty"`
	Text   string `json:"text"`
}

// InspectedPayment is the money for one claim, fees as sent. An amount the message does not tell is absent.
type InspectedPayment struct {
	Type      string      `json:"type,omitempty"`
	Request   *Identifier `json:"request,omitempty"`
	Response  *Identifier `json:"response,omitempty"`
	Amount    string      `json:"amount,omitempty"`
	Payment   string      `json:"payment,omitempty"`
	EarlyFee  string      `json:"early_fee,omitempty"`
	NPHIESFee string      `json:"nphies_fee,omitempty"`
}

// unreadable stands for an amount that is there and is no number of riyals.
const unreadable = "unreadable"

// Inspect explains any NPHIES message, request or answer, as tolerantly as Parse.
//
// Errors are those of Parse: only a body that is no FHIR at all.
func Inspect(raw []byte) (*Inspection, error) {
	m, err := readMessage(raw)
	if err != nil {
		return nil, err
	}
	a, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	in := inspectAnswer(a)
	if m.header != nil && !m.header.has("response") {
		in.request(m)
	}
	return in, nil
}

func inspectAnswer(a *Answer) *Inspection {
	in := &Inspection{
		Event: a.Event, BundleID: a.BundleID, HeaderID: a.HeaderID, ResponseCode: a.ResponseCode,
		Sender: a.Sender.Value, Receiver: a.Receiver.Value, Errors: a.Errors, MoreQueued: a.MoreQueued,
	}
	if !a.OperationOutcome {
		in.NPHIESGenerated = &a.NPHIESGenerated
	}
	in.nested(a.Batch)
	switch {
	case a.Claim != nil:
		c := a.Claim
		in.about(c.Request)
		in.Outcome, in.Adjudication, in.Disposition, in.Reissue = c.Outcome, c.Adjudication, c.Disposition, c.Reissue
		in.Use, in.PreAuthRef = c.Use, c.PreAuthRef
		for k, v := range c.Totals {
			in.total(k, v.exact())
		}
		for _, k := range c.Unreadable {
			in.total(k, unreadable)
		}
		if s := c.State(); s == StateApproved || s == StatePartial || s == StateRejected {
			if paid, known := c.Paid(); known {
				in.Paid = paid.exact()
			}
		}
		in.Items, in.Added = inspectItems(c.Items), inspectItems(c.Added)
		for _, n := range c.Notes {
			in.Notes = append(in.Notes, InspectedNote(n))
		}
	case a.Eligibility != nil:
		e := a.Eligibility
		in.about(e.Request)
		in.Outcome, in.SiteEligibility, in.Disposition = e.Outcome, e.SiteEligibility, e.Disposition
		in.Inforce, in.Benefits = e.Inforce, e.Benefits
	case a.Poll != nil:
		in.about(a.Poll.Task)
		in.Outcome = a.Poll.Status
		in.nested(a.Poll.Nested)
	case a.Task != nil:
		in.Outcome, in.TaskResult, in.TaskReason = a.Task.Status, a.Task.Result, a.Task.StatusReason
		in.about(a.Task.Focus)
	case a.Communication != nil:
		in.Wanted = a.Communication.Reasons
		if about := a.Communication.About; len(about) > 0 {
			in.about(about[0])
		}
	case a.Payment != nil:
		balanced := a.Payment.Balanced()
		in.about(a.Payment.Identifier)
		if v := orUnreadable(a.Payment.Amount, a.Payment.Unreadable); v != "" {
			in.total("paid", v)
		}
		in.Balanced = &balanced
		for _, d := range a.Payment.Details {
			in.Payments = append(in.Payments, inspectPayment(d))
		}
	}
	return in
}

func inspectItems(items []ItemAnswer) []InspectedItem {
	var out []InspectedItem
	for _, it := range items {
		x := InspectedItem{Sequence: it.Sequence, Outcome: it.Outcome, Amounts: map[string]string{}}
		for k, v := range it.Amounts {
			x.Amounts[k] = v.exact()
		}
		for _, k := range it.Unreadable {
			x.Amounts[k] = unreadable
		}
		for k, v := range it.Values {
			if x.Values == nil {
				x.Values = map[string]string{}
			}
			x.Values[k] = v.String()
		}
		for _, r := range it.Reasons {
			x.Reasons, x.ReasonTexts = append(x.Reasons, r.Code), append(x.ReasonTexts, r.Display)
		}
		x.Notes = it.Notes
		out = append(out, x)
	}
	return out
}

func inspectPayment(d PaymentDetail) InspectedPayment {
	said := func(name string, v *Amount) string { return orUnreadable(v, slices.Contains(d.Unreadable, name)) }
	x := InspectedPayment{
		Type: d.Type, Amount: said(partAmount, d.Amount), Payment: said(partPayment, d.Payment), EarlyFee: said(partEarlyFee, d.EarlyFee),
		NPHIESFee: said(partNPHIESFee, d.NPHIESFee),
	}
	if !d.Request.IsZero() {
		x.Request = &d.Request
	}
	if !d.Response.IsZero() {
		x.Response = &d.Response
	}
	return x
}

func orUnreadable(v *Amount, bad bool) string {
	switch {
	case bad:
		return unreadable
	case v == nil:
		return ""
	default:
		return v.exact()
	}
}

func (in *Inspection) nested(messages []Nested) {
	for _, n := range messages {
		if n.Err != nil {
			in.Nested = append(in.Nested, &Inspection{BundleID: n.ID, Unreadable: safeText(n.Err)})
			continue
		}
		nested := inspectAnswer(n.Answer)
		if m, err := readMessage(n.Raw); err == nil && m.header != nil && !m.header.has("response") {
			nested.request(m)
		}
		in.Nested = append(in.Nested, nested)
	}
}

func (in *Inspection) about(id Identifier) {
	if !id.IsZero() {
		in.Request = &id
	}
}

func (in *Inspection) total(category, amount string) {
	if in.Totals == nil {
		in.Totals = map[string]string{}
	}
	in.Totals[category] = amount
}

// request adds what a message without a response part says of itself.
func (in *Inspection) request(m *message) {
	focal := m.focal()
	switch kindOf(focal) {
	case "Claim":
		in.about(firstIdentifier(focal))
		in.Use = focal.str("use")
		if v, bad := told(focal.get("total")); v != nil || bad {
			in.total("claimed", orUnreadable(v, bad))
		}
	case "CoverageEligibilityRequest":
		in.about(firstIdentifier(focal))
	case "Task":
		if !strings.HasSuffix(in.Event, "-response") {
			in.Outcome = ""
			in.about(firstIdentifier(focal))
			if target := identifierOf(focal.get("focus").get("identifier")); !target.IsZero() {
				in.Target = &target
			}
		}
	}
}

// Printable makes one line of a sender's text that is safe on a terminal: no character that moves the cursor or changes the direction
// of the text around it.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r):
			return unicode.ReplacementChar
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		default:
			return r
		}
	}, s)
}

// WriteText writes the inspection for a person: one fact a line, nested messages indented.
func (in *Inspection) WriteText(w io.Writer) error {
	var b strings.Builder
	in.text(&b, "")
	_, err := io.WriteString(w, b.String())
	return err
}

func (in *Inspection) text(b *strings.Builder, indent string) {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "%s%-17s %s\n", indent, Printable(name), Printable(value))
		}
	}
	if in.Unreadable != "" {
		line("unreadable", in.Unreadable)
	}
	event := in.Event
	if event == "" && in.NPHIESGenerated == nil && in.Unreadable == "" {
		event = "(none: a bare OperationOutcome)"
	}
	line("event", event)
	line("bundle", in.BundleID)
	line("header", in.HeaderID)
	line("response code", in.ResponseCode)
	line("sender", in.Sender)
	line("receiver", in.Receiver)
	if in.NPHIESGenerated != nil && *in.NPHIESGenerated {
		line("written by", "NPHIES, not the payer")
	}
	if in.Request != nil {
		line("about", in.Request.String())
	}
	if in.Target != nil {
		line("asks about", in.Target.String())
	}
	if in.MoreQueued {
		line("more messages", "wait: poll again")
	}
	line("use", in.Use)
	line("outcome", in.Outcome)
	line("adjudication", in.Adjudication)
	line("site eligibility", in.SiteEligibility)
	line("disposition", in.Disposition)
	line("reissue", in.Reissue)
	line("authorization", in.PreAuthRef)
	line("wanted", strings.Join(in.Wanted, ", "))
	if in.Balanced != nil && !*in.Balanced {
		line("balance", "the amounts do not add up, or not all can be read")
	}
	line("task result", in.TaskResult)
	line("task reason", in.TaskReason)
	for _, k := range totalOrder(in.Totals) {
		line("total "+k, inSAR(in.Totals[k]))
	}
	line("pays", inSAR(in.Paid))
	for _, it := range in.Items {
		line("item "+strconv.Itoa(it.Sequence), it.text())
	}
	for _, it := range in.Added {
		line("payer's line", it.text())
	}
	for _, n := range in.Notes {
		line("note "+strconv.Itoa(n.Number), n.Text)
	}
	for i, v := range in.Inforce {
		line("coverage "+strconv.Itoa(i+1), map[bool]string{true: "in force", false: "not in force"}[v])
	}
	for _, v := range in.Benefits {
		line("benefit", v.String())
	}
	for _, p := range in.Payments {
		line(firstOf(p.Type, "line"), p.text())
	}
	for _, e := range in.Errors {
		text := strings.TrimSpace(e.Code + " " + e.Display)
		if e.Count > 1 {
			text += fmt.Sprintf(" (%d times)", e.Count)
		}
		line("error", text)
		line("  at", e.Expression)
	}
	for i, n := range in.Nested {
		fmt.Fprintf(b, "%smessage %d of %d:\n", indent, i+1, len(in.Nested))
		n.text(b, indent+"  ")
	}
}

func inSAR(amount string) string {
	if amount == "" || amount == unreadable {
		return amount
	}
	return amount + " SAR"
}

func (it InspectedItem) text() string {
	var parts []string
	if it.Outcome != "" {
		parts = append(parts, it.Outcome)
	}
	for _, k := range totalOrder(it.Amounts) {
		parts = append(parts, k+" "+it.Amounts[k])
	}
	for _, k := range slices.Sorted(maps.Keys(it.Values)) {
		parts = append(parts, k+" "+it.Values[k])
	}
	for i, code := range it.Reasons {
		if text := it.ReasonTexts[i]; text != "" {
			code = strings.TrimSpace(code + " (" + text + ")")
		}
		parts = append(parts, code)
	}
	for _, n := range it.Notes {
		parts = append(parts, "note "+strconv.Itoa(n))
	}
	return strings.Join(parts, ", ")
}

// String gives a benefit one line: what it is, to whom, then its limits.
func (b Benefit) String() string {
	parts := []string{firstOf(b.Name, b.Category, "unnamed")}
	if b.Name != "" && b.Category != "" {
		parts[0] += " (category " + b.Category + ")"
	}
	if b.Coverage > 1 {
		parts = append(parts, "of coverage "+strconv.Itoa(b.Coverage))
	}
	if b.Excluded {
		parts = append(parts, "excluded")
	}
	if b.Network != "" {
		parts = append(parts, b.Network+" network")
	}
	for _, x := range []string{b.Unit, b.Term} {
		if x != "" {
			parts = append(parts, x)
		}
	}
	for _, l := range b.Limits {
		parts = append(parts, l.String())
	}
	return strings.Join(parts, ", ")
}

// String is the limit in words: "benefit 3000.00 SAR (used 120.00 SAR)".
func (l BenefitLimit) String() string {
	text := strings.TrimSpace(l.Type + " " + l.Allowed)
	if l.Used != "" {
		text += " (used " + l.Used + ")"
	}
	return text
}

func (p InspectedPayment) text() string {
	parts := []string{inSAR(firstOf(p.Amount, "no amount"))}
	for _, x := range []struct{ name, amount string }{{"payment", p.Payment}, {"early fee", p.EarlyFee}, {"NPHIES fee", p.NPHIESFee}} {
		if x.amount != "" {
			parts = append(parts, x.name+" "+x.amount)
		}
	}
	if p.Request != nil {
		parts = append(parts, "claim "+p.Request.Value)
	}
	if p.Response != nil {
		parts = append(parts, "answer "+p.Response.Value)
	}
	return strings.Join(parts, ", ")
}

// totalOrder lists categories from what was asked to what is paid, others by name.
func totalOrder(totals map[string]string) []string {
	order := []string{"claimed", "submitted", "eligible", "copay", "patientShare", "deductible", "rejected", "benefit", "tax", "paid"}
	var keys []string
	for k := range totals {
		keys = append(keys, k)
	}
	rank := func(k string) int {
		if i := slices.Index(order, k); i >= 0 {
			return i
		}
		return len(order)
	}
	sort.Slice(keys, func(i, j int) bool {
		if a, b := rank(keys[i]), rank(keys[j]); a != b {
			return a < b
		}
		return keys[i] < keys[j]
	})
	return keys
}
