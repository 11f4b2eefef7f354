package nphiesclient

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// maxNesting is how deep Bundles are read inside Bundles: a poll-response holds messages, and a batch's may hold more.
const maxNesting = 3

// Parse reads any NPHIES message: tolerant of everything seen in the wild (other letter case, missing parts, lists for
// single elements, numbers as text, unknown events), and never panicking. A request is read too; it has only the envelope.
//
// Errors: a fault of Kind Network when the body is no FHIR at all (empty, HTML, other JSON, cut off): it tells nothing
// about what became of the request. One unreadable message inside a poll-response is its Nested.Err, never an error here.
//
// Source: Implementation Guide; for the tolerance, messages captured from the conformance environment.
func Parse(raw []byte) (*Answer, error) { return parse(raw, 0) }

func parse(raw []byte, depth int) (*Answer, error) {
	m, err := readMessage(raw)
	if err != nil {
		return nil, err
	}
	a := &Answer{BundleID: m.bundle.str("id"), Event: m.event()}
	if m.header == nil {
		oo := m.ofType("OperationOutcome")
		if oo == nil {
			return nil, &fault.Error{
				Op: "read message", Kind: fault.Network, Safe: "FHIR, but neither a message nor an OperationOutcome",
			}
		}
		a.OperationOutcome = true
		a.Errors = outcomeErrors(oo)
		return a, nil
	}
	a.envelope(m)
	var errs errorList
	focal := m.focal()
	switch kind := kindOf(focal); {
	case a.Event == EventPollResponse || (kind == "Task" && codeOf(focal.get("code")) == "poll" && m.header.has("response")):
		a.Event = EventPollResponse
		a.Poll = parsePoll(m, depth)
		errs.addAll(a.Poll.Errors)
	case kind == "ClaimResponse":
		a.Claim = parseClaim(focal)
		a.Claim.Request = m.identify(focal.get("request"))
		errs.addAll(a.Claim.Errors)
	case kind == "CoverageEligibilityResponse":
		a.Eligibility = parseEligibility(focal)
		a.Eligibility.Request = m.identify(focal.get("request"))
		errs.addAll(a.Eligibility.Errors)
	case kind == "Task":
		a.Task = parseTask(focal)
		errs.addAll(taskErrors(focal))
	case kind == "CommunicationRequest" || kind == "Communication":
		a.Communication = parseCommunication(focal)
	case kind == "PaymentReconciliation":
		a.Payment = parsePayment(focal)
	}
	if a.Poll == nil {
		c := nestedCollector{depth: depth, taken: map[int]bool{}}
		c.rest(m)
		a.Batch = c.list
	}
	for _, e := range m.entries {
		if e.resource.str("resourceType") == "OperationOutcome" {
			errs.addAll(outcomeErrors(e.resource))
		}
	}
	a.Errors = errs.list
	return a, nil
}

// identify is the identifier a reference carries, or that of the resource it points at.
func (m *message) identify(ref *node) Identifier {
	if id := identifierOf(ref.get("identifier")); id.Value != "" {
		return id
	}
	if e := m.find(ref.str("reference")); e != nil {
		return firstIdentifier(e.resource)
	}
	return Identifier{}
}

func kindOf(n *node) string {
	if n == nil {
		return ""
	}
	return n.str("resourceType")
}

func (a *Answer) envelope(m *message) {
	h := m.header
	a.HeaderID = h.str("id")
	a.RequestHeaderID = h.get("response").str("identifier")
	if a.RequestHeaderID == "" {
		a.RequestHeaderID = h.get("response").get("identifier").str("value")
	}
	a.ResponseCode = strings.ToLower(h.get("response").str("code"))
	a.Sender = m.identify(h.get("sender"))
	a.Receiver = m.identify(h.first("destination").get("receiver"))
	a.NPHIESGenerated = strings.EqualFold(strings.TrimRight(a.Sender.System, "/"), systemNPHIES)
	tags := h.get("meta").list("tag")
	if f := m.focal(); f != nil {
		tags = append(tags, f.get("meta").list("tag")...)
	}
	for _, t := range append(tags, m.bundle.get("meta").list("tag")...) {
		switch strings.ReplaceAll(strings.ToLower(t.str("code")), " ", "-") {
		case "queued-messages":
			a.MoreQueued = true
		case "nphies-generated":
			a.NPHIESGenerated = true
		case "large-claim":
			a.LargeClaim = true
		}
	}
}

// errorList keeps errors in order, each (code, expression, item) once.
type errorList struct {
	list []CodedError
	at   map[string]int
}

func (l *errorList) add(e CodedError) {
	e.Code = errorCode(e.Code)
	if e.Code == "" && e.Display == "" && e.Expression == "" {
		return
	}
	e.Count = max(e.Count, 1)
	key := e.Code + "\x00" + strings.ToLower(e.Expression)
	if e.Code == "" {
		key += "\x00" + e.Display
	}
	if i, ok := l.at[key]; ok {
		l.list[i].Count += e.Count
		if l.list[i].Item != e.Item {
			l.list[i].Item = 0
		}
		return
	}
	if l.at == nil {
		l.at = map[string]int{}
	}
	l.at[key] = len(l.list)
	l.list = append(l.list, e)
}

func (l *errorList) addAll(es []CodedError) {
	for _, e := range es {
		l.add(e)
	}
}

// UnusableCode stands for a code that is none: a sentence, or a number that may be a person's.
const UnusableCode = "other"

var (
	codeToken  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,31}$`)
	longNumber = regexp.MustCompile(`[0-9]{8}`)
)

// errorCode keeps of a code only what can be one: it stands in logs, traces, labels of dead letters and on cards, where no person's data
// may be. FHIR lets a code hold blanks, and senders write sentences there; the raw message has them.
func errorCode(code string) string {
	if code == "" {
		return ""
	}
	first, _, _ := strings.Cut(strings.TrimSpace(code), " ")
	if !codeToken.MatchString(first) || longNumber.MatchString(first) || (first != strings.TrimSpace(code) && LookupError(first).Code == "") {
		return UnusableCode
	}
	return first
}

// addConcept adds the errors of a CodeableConcept: every coding of NPHIES' error list, or the first of another list.
func (l *errorList) addConcept(concept *node, expression, diagnostics string, item int) {
	outer := expressionOf(concept)
	type found struct {
		c    Coded
		expr string
	}
	var ours, others []found
	for _, c := range concept.list("coding") {
		x := found{Coded{c.str("system"), c.str("code"), c.str("display")}, firstOf(expressionOf(c), outer, expression)}
		if strings.EqualFold(x.c.System, systemErrors) {
			ours = append(ours, x)
		} else {
			others = append(others, x)
		}
	}
	if len(ours) == 0 && len(others) > 0 {
		ours = others[:1]
	}
	for _, x := range ours {
		l.add(CodedError{
			Code: x.c.Code, Display: firstOf(x.c.Display, concept.str("text"), diagnostics), Expression: x.expr, Item: item,
		})
	}
	if len(ours) == 0 {
		l.add(CodedError{
			Code: concept.text(), Display: firstOf(concept.str("text"), diagnostics), Expression: firstOf(outer, expression), Item: item,
		})
	}
}

func firstOf(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}

func expressionOf(n *node) string {
	e, _ := n.extension("error-expression")
	return e.str("valueString")
}

func errorsOf(resource *node) []CodedError {
	var l errorList
	for _, e := range resource.list("error") {
		l.addConcept(e.get("code"), expressionOf(e), "", e.integer("itemSequence"))
	}
	return l.list
}

// ofNPHIES reports whether a coding is of NPHIES' error list: it says so, or its code looks like one. A plain number might be
// anybody's.
func ofNPHIES(c *node) bool {
	system := c.str("system")
	if strings.EqualFold(system, systemErrors) {
		return true
	}
	e := CodedError{Code: c.str("code")}
	return e.isCode() && (system == "" || strings.Trim(e.Code, "0123456789") != "")
}

// outcomeErrors reads an OperationOutcome; issues that only inform or warn are left out: they refuse nothing.
func outcomeErrors(oo *node) []CodedError {
	var l errorList
	for _, i := range oo.list("issue") {
		switch strings.ToLower(i.str("severity")) {
		case "information", "success", "warning":
			continue
		}
		expression := firstOf(expressionOf(i), i.first("expression").text(), i.first("location").text())
		details := i.get("details")
		if slices.ContainsFunc(details.list("coding"), ofNPHIES) {
			l.addConcept(details, expression, i.str("diagnostics"), 0)
			continue
		}
		l.add(CodedError{
			Code:       i.str("code"),
			Display:    firstOf(details.str("text"), details.first("coding").str("display"), i.str("diagnostics"), details.first("coding").str("code")),
			Expression: expression,
		})
	}
	return l.list
}

// taskErrors are the outputs of type error.
func taskErrors(task *node) []CodedError {
	var l errorList
	for _, o := range task.list("output") {
		if strings.EqualFold(codeOf(o.get("type")), "error") {
			l.addConcept(o.get("valueCodeableConcept"), expressionOf(o), o.str("valueString"), 0)
		}
	}
	return l.list
}

func extensionCode(n *node, name string) string {
	e, ok := n.extension(name)
	if !ok {
		return ""
	}
	return firstOf(codeOf(e.get("valueCodeableConcept")), codeOf(e.get("valueCoding")), e.str("valueCode"), e.str("valueString"))
}

func parseEligibility(r *node) *EligibilityAnswer {
	a := &EligibilityAnswer{
		Response:        firstIdentifier(r),
		Outcome:         strings.ToLower(r.str("outcome")),
		SiteEligibility: extensionCode(r, "siteEligibility"),
		Disposition:     r.str("disposition"),
		Created:         parseTime(r.str("created")),
		Errors:          errorsOf(r),
	}
	header := a.SiteEligibility != ""
	usable, inforce := 0, false
	insurances := r.list("insurance")
	for i, in := range insurances {
		flag, flagged := in.boolean("inforce")
		if flagged {
			a.Inforce = append(a.Inforce, flag)
			inforce = inforce || flag
		}
		site := extensionCode(in, "siteEligibility")
		if (!flagged || flag) && (site == "" || strings.EqualFold(site, "eligible")) {
			usable++
		}
		// The header's extension is mandatory (BV-00503); without it the coverages' own decide, one eligible is enough.
		if !header && site != "" && (a.SiteEligibility == "" || strings.EqualFold(site, "eligible")) {
			a.SiteEligibility = site
		}
		for _, it := range in.list("item") {
			a.Benefits = append(a.Benefits, parseBenefit(it, i+1))
		}
	}
	switch {
	case a.Outcome != "complete":
	case a.SiteEligibility != "":
		a.Eligible = strings.EqualFold(a.SiteEligibility, "eligible") && (usable > 0 || len(insurances) == 0)
	default:
		a.Eligible = inforce
	}
	return a
}

func parseBenefit(it *node, coverage int) Benefit {
	excluded, _ := it.boolean("excluded")
	b := Benefit{
		Coverage: coverage, Category: codeOf(it.get("category")), Name: it.str("name"), Excluded: excluded,
		Network: codeOf(it.get("network")), Unit: codeOf(it.get("unit")), Term: codeOf(it.get("term")),
	}
	for _, l := range it.list("benefit") {
		b.Limits = append(b.Limits, BenefitLimit{
			Type: codeOf(l.get("type")), Allowed: benefitValue(l, "allowed"), Used: benefitValue(l, "used"),
		})
	}
	return b
}

// benefitValue reads allowed[x] or used[x].
func benefitValue(l *node, name string) string {
	if m := l.get(name + "Money"); m.v != nil {
		v, ok := m.amount()
		if !ok {
			return unreadable
		}
		return v.exact() + " " + firstOf(m.str("currency"), currency)
	}
	if n := l.get(name + "UnsignedInt"); n.v != nil {
		v, err := ParseNumber(n.text())
		if err != nil {
			return unreadable
		}
		return v.String()
	}
	return l.str(name + "String")
}

func periodOf(n *node) Period { return Period{Start: n.str("start"), End: n.str("end")} }

func requestIdentifier(r *node) Identifier {
	return identifierOf(r.get("request").get("identifier"))
}

func parseTask(r *node) *TaskAnswer {
	a := &TaskAnswer{
		Code:         codeOf(r.get("code")),
		Status:       strings.ToLower(r.str("status")),
		StatusReason: codeOf(r.get("statusReason")),
		Identifier:   firstIdentifier(r),
		Focus:        identifierOf(r.get("focus").get("identifier")),
	}
	for _, o := range r.list("output") {
		if t := codeOf(o.get("type")); strings.EqualFold(t, "status") {
			a.Result = strings.ToLower(firstOf(o.str("valueCode"), codeOf(o.get("valueCodeableConcept")),
				codeOf(o.get("valueCoding")), o.str("valueString")))
		}
	}
	return a
}

func parseCommunication(r *node) *CommunicationAnswer {
	identifiers := func(name string) []Identifier {
		var out []Identifier
		for _, x := range r.list(name) {
			if id := identifierOf(x.get("identifier")); !id.IsZero() {
				out = append(out, id)
			}
		}
		return out
	}
	a := &CommunicationAnswer{Identifier: firstIdentifier(r), About: identifiers("about"), BasedOn: identifiers("basedOn")}
	for _, x := range r.list("reasonCode") {
		if c := codeOf(x); c != "" {
			a.Reasons = append(a.Reasons, c)
		}
	}
	for _, x := range r.list("payload") {
		if s := x.str("contentString"); s != "" {
			a.Texts = append(a.Texts, s)
		}
		if s := x.get("contentAttachment").str("title"); s != "" {
			a.Attachments = append(a.Attachments, s)
		}
	}
	return a
}

func parsePayment(r *node) *PaymentAnswer {
	a := &PaymentAnswer{
		Identifier: firstIdentifier(r), Payment: identifierOf(r.get("paymentIdentifier")), Date: r.str("paymentDate"),
		Method: codeOf(r.get("paymentIdentifier").get("type")), Period: periodOf(r.get("period")), Disposition: r.str("disposition"),
	}
	a.Amount, a.Unreadable = told(r.get("paymentAmount"))
	for _, d := range r.list("detail") {
		x := PaymentDetail{
			Type: codeOf(d.get("type")), Request: requestIdentifier(d), Response: identifierOf(d.get("response").get("identifier")),
			Date: d.str("date"),
		}
		read := func(name string, n *node) *Amount {
			v, bad := told(n)
			if bad {
				x.Unreadable = append(x.Unreadable, name)
			}
			return v
		}
		component := func(name string) *Amount {
			e, _ := d.extension(name)
			return read(name, e.get("valueMoney"))
		}
		x.Amount = read(partAmount, d.get("amount"))
		x.Payment, x.EarlyFee, x.NPHIESFee = component(partPayment), component(partEarlyFee), component(partNPHIESFee)
		a.Details = append(a.Details, x)
	}
	return a
}

// Elements of a payment's line that carry money: its amount and its component extensions.
const (
	partAmount    = "amount"
	partPayment   = "component-payment"
	partEarlyFee  = "component-early-fee"
	partNPHIESFee = "component-nphies-fee"
)

// told is the amount of a Money element, nil if there is none; bad says that there is something, and that it is no number or not
// of riyals (BV-00458). Without a currency it is taken as SAR.
func told(n *node) (v *Amount, bad bool) {
	if n.v == nil {
		return nil, false
	}
	a, ok := n.amount()
	if c := n.str("currency"); !ok || c != "" && !strings.EqualFold(c, currency) {
		return nil, true
	}
	return &a, false
}

// parsePoll reads the messages fetched: first those the Task names, in its order, then any other Bundle that is there.
func parsePoll(m *message, depth int) *PollAnswer {
	task := m.ofType("Task")
	if task == nil {
		task = &node{}
	}
	a := &PollAnswer{Task: firstIdentifier(task), Status: strings.ToLower(task.str("status")), Errors: taskErrors(task)}
	c := nestedCollector{depth: depth, taken: map[int]bool{}}
	for _, o := range task.list("output") {
		if !strings.EqualFold(codeOf(o.get("type")), "response") {
			continue
		}
		var n Nested
		if ts, ok := o.extension("timestamp"); ok {
			n.ReceivedAt = parseTime(firstOf(ts.str("valueDateTime"), ts.str("valueInstant")))
		}
		e := m.findNested(o.get("valueReference").str("reference"))
		switch {
		case e == nil || len(e.raw) == 0:
			n.Err = &fault.Error{
				Op: "read message", Kind: fault.Network, Safe: "the poll answer names a message that it does not contain",
			}
		case c.taken[e.position]:
			continue
		default:
			c.taken[e.position] = true
			n.Raw = e.raw
		}
		c.add(n)
	}
	c.rest(m)
	a.Nested = c.list
	return a
}

// nestedCollector reads messages inside a message.
type nestedCollector struct {
	depth int
	taken map[int]bool // positions of entries
	list  []Nested
}

func (c *nestedCollector) add(n Nested) {
	n.Position = len(c.list)
	if n.Raw != nil {
		var b struct {
			ID string `json:"id"`
		}
		_ = json.Unmarshal(n.Raw, &b) // an id of another type is no id
		n.ID = clean(b.ID)
		if c.depth >= maxNesting {
			n.Err = &fault.Error{Op: "read message", Kind: fault.Network, Safe: "messages nested too deeply"}
		} else {
			n.Answer, n.Err = parse(n.Raw, c.depth+1)
		}
	}
	c.list = append(c.list, n)
}

// rest adds the Bundles that were not taken.
func (c *nestedCollector) rest(m *message) {
	for _, e := range m.entries {
		if !c.taken[e.position] && e.bundle {
			c.add(Nested{Raw: e.raw})
		}
	}
}

// findNested resolves a Task output: by fullUrl, or by the id of the nested Bundle.
func (m *message) findNested(ref string) *entry {
	if e := m.find(ref); e != nil && e.resource.str("resourceType") == "" {
		return e
	}
	want := strings.TrimPrefix(refTail(ref), "Bundle/")
	for i := range m.entries {
		var b struct {
			ID string `json:"id"`
		}
		if m.entries[i].bundle && json.Unmarshal(m.entries[i].raw, &b) == nil && b.ID != "" && strings.EqualFold(b.ID, want) {
			return &m.entries[i]
		}
	}
	return nil
}

// IsEmptyQueue reports whether a poll was answered and nothing was waiting.
func (p *PollAnswer) IsEmptyQueue() bool { return p.Status == "completed" && len(p.Nested) == 0 }
