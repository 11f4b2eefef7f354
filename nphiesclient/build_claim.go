package nphiesclient

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// BuildClaim makes a claim-request of a claim document, or a priorauth-request where its use is preauthorization. The same
// document, Now, NewID and answers of FindEligibility give the same bytes. doc is not changed.
//
// Errors: *InvalidError with every breach found of what the guide makes mandatory, each with its path in the document and
// its NPHIES rule; or what FindEligibility returned.
//
// Source: Implementation Guide, claim and prior authorization use cases; rules named in the findings.
func BuildClaim(doc *ClaimDocument, o BuildOptions) (*Request, error) {
	o.defaults()
	d := *doc
	d.Use = cmp.Or(d.Use, UseClaim)
	c := &check{now: o.Now}
	c.license(&d.Provider, o)
	if err := c.quote(&d, o); err != nil {
		return nil, err
	}
	kind := c.claim(&d)
	found := d.layout().settle(c.findings, o)
	if err := invalid(found); err != nil {
		return nil, err
	}
	b := &claimBuilder{doc: &d, kind: kind, o: o, d: newDraft(d.Provider.Namespace, o)}
	req := b.build()
	if err := d.layout().judge(req, o, d.Payer, found); err != nil {
		return nil, err
	}
	return req, nil
}

// quote turns the number of our own eligibility check into the identifier of its answer, or finds the latest answer where
// the document quotes none and the options ask for it.
func (c *check) quote(d *ClaimDocument, o BuildOptions) error {
	e := d.Eligibility
	switch {
	case e == nil && o.QuoteEligibility && o.FindEligibility != nil:
	case e == nil || e.Request == "":
		return nil
	case e.Response != "" || e.OfflineReference != "" || e.OfflineDate != "":
		c.add("BV-00381", "eligibility.request", "is given together with another reference: quote one of them")
		return nil
	case o.FindEligibility == nil:
		c.add(ruleDocument, "eligibility.request", "cannot be looked up here: quote the response")
		return nil
	}
	base := strings.TrimRight(d.Provider.Namespace, "/")
	q := EligibilityQuery{License: d.Provider.License, Payer: d.Payer.receiver(), Patient: d.Patient.identifier(base)}
	if e != nil {
		q.Request = Identifier{System: cmp.Or(e.RequestSystem, base+"/coverageeligibilityrequest"), Value: e.Request}
	}
	found, err := o.FindEligibility(q)
	switch {
	case err != nil:
		return err
	case found.Value != "":
		d.Eligibility = &EligibilityRef{Response: found.Value, ResponseSystem: found.System}
	case e != nil:
		c.add("BV-00379", "eligibility.request", "this check has no positive answer yet: wait for it, or quote another reference")
	}
	return nil
}

type claimBuilder struct {
	doc  *ClaimDocument
	kind claimKind
	o    BuildOptions
	d    *draft

	claim, patient, provider, insurer, encounter, place slot
	policy                                              insured
	practitioners                                       []slot
	infos                                               list // supportingInfo, the document's first
	common                                              []int
}

// preauthorization says what a message is that asks beforehand.
func (d *ClaimDocument) preauthorization() bool { return d.Use == UsePreauthorization }

func (b *claimBuilder) build() *Request {
	doc := b.doc
	b.claim = b.d.slot("Claim")
	if doc.Encounter != nil {
		b.encounter = b.d.slot("Encounter")
	}
	for range doc.CareTeam {
		b.practitioners = append(b.practitioners, b.d.slot("Practitioner"))
	}
	b.patient, b.provider, b.insurer = b.d.slot("Patient"), b.d.slot("Organization"), b.d.slot("Organization")
	b.policy, b.place = b.d.insured(doc.Coverage, b.patient), b.d.place(doc.Location)

	event, profileName := EventClaimRequest, doc.Type+"-claim"
	if doc.preauthorization() {
		event, profileName = EventPriorAuthRequest, doc.Type+"-priorauth"
	}
	subType := cmp.Or(doc.SubType, b.kind.subTypes[0])
	identifier := Identifier{System: cmp.Or(doc.ClaimSystem, b.d.base+"/claim"), Value: doc.ClaimNumber}
	created := instant(b.o.Now)
	if doc.Created != "" {
		created = fhirTime(doc.Created)
	}
	total := claimTotal(doc)
	b.supportingInfo()
	items := b.items() // adds days supplies to infos
	b.d.put(b.claim, profileName,
		member{"extension", b.claimExtensions()},
		member{"identifier", list{fhirIdentifier(identifier)}},
		member{"status", "active"},
		member{"type", concept(hl7Base+"claim-type", doc.Type)},
		member{"subType", concept(codeBase+"claim-subtype", subType)},
		member{"use", doc.Use},
		member{"patient", reference(b.patient.url)},
		member{"created", created},
		member{"insurer", reference(b.insurer.url)},
		member{"provider", reference(b.provider.url)},
		member{"priority", concept(hl7Base+"processpriority", cmp.Or(doc.Priority, "normal"))},
		member{"related", b.related()},
		member{"prescription", object{{"display", doc.Prescription}}},
		member{"payee", b.payee()},
		member{"facility", reference(b.place.url)},
		member{"careTeam", b.careTeam()},
		member{"supportingInfo", b.infos},
		member{"diagnosis", b.diagnoses()},
		member{"insurance", list{object{
			{"sequence", 1}, {"focal", true}, {"coverage", reference(b.policy.coverage.url)}, {"preAuthRef", b.preAuthRefs()},
		}}},
		member{"accident", b.accident()},
		member{"item", items},
		member{"total", money(total)},
	)
	if doc.Encounter != nil {
		b.putEncounter()
	}
	b.d.coverage(b.policy, doc.Coverage, doc.Payer, b.patient, b.insurer)
	for i, m := range doc.CareTeam {
		b.d.put(b.practitioners[i], "practitioner",
			member{"identifier", list{object{
				{"type", concept(v2Identifiers, "MD")}, {"system", systemPractitionerLicense}, {"value", m.License},
			}}},
			member{"active", true},
			member{"name", list{humanName(m.Name, m.Family, m.Given)}},
		)
	}
	b.d.location(b.place, doc.Location, b.provider)
	b.d.patient(b.patient, doc.Patient)
	b.d.provider(b.provider, doc.Provider)
	b.d.payer(b.insurer, doc.Payer)

	return &Request{
		Event: event, BundleID: b.d.bundleID, HeaderID: b.d.headerID, Use: doc.Use, Patient: doc.Patient.identifier(b.d.base),
		License: doc.Provider.License, Payer: doc.Payer.receiver(), PayerName: doc.Payer.Name, Identifier: identifier,
		ClaimType: doc.Type, ClaimSubType: subType, Replaces: b.replaces(), Items: len(doc.Items), Total: total, Created: parseTime(created),
		Body: b.d.finish(event, providerParty(doc.Provider.License), payerParty(doc.Payer.receiver()), b.claim),
	}
}

// payee is the provider, or with the type other one of the persons and organizations of the message (BV-00485, BV-00494).
func (b *claimBuilder) payee() object {
	party, kind := slot{}, "other"
	switch b.doc.Payee {
	case "patient":
		party = b.patient
	case "subscriber":
		party = b.policy.subscriber
	case "policy_holder":
		party = b.policy.policyHolder
	default:
		kind = "provider"
	}
	return object{{"type", concept(hl7Base+"payeetype", kind)}, {"party", reference(party.url)}}
}

func (b *claimBuilder) claimExtensions() list {
	doc := b.doc
	payer := strings.TrimRight(doc.Payer.Namespace, "/")
	identifierRef := func(system, value string) object {
		if value == "" {
			return nil
		}
		return object{{"identifier", fhirIdentifier(Identifier{system, value})}}
	}
	var l list
	if e := doc.Eligibility; e != nil {
		l = append(l,
			ext("eligibility-response", "valueReference",
				identifierRef(cmp.Or(e.ResponseSystem, payer+"/coverageeligibilityresponse"), e.Response)),
			ext("eligibility-offline-reference", "valueString", e.OfflineReference),
			ext("eligibility-offline-date", "valueDateTime", fhirTime(e.OfflineDate)))
	}
	if a := doc.Authorization; a != nil {
		l = append(l,
			ext(b.o.PriorAuthExtension, "valueReference",
				identifierRef(cmp.Or(a.ResponseSystem, payer+"/authorizationresponse"), a.Response)),
			ext("authorization-offline-date", "valueDateTime", fhirTime(a.OfflineDate)))
	}
	if doc.Encounter != nil {
		l = append(l, ext("encounter", "valueReference", reference(b.encounter.url)))
	}
	if !doc.preauthorization() {
		l = append(l,
			ext("episode", "valueIdentifier", fhirIdentifier(Identifier{b.d.base + "/episode", doc.Episode})),
			ext("accountingPeriod", "valueDate", cmp.Or(doc.AccountingPeriod, firstOfMonth(doc))))
	}
	if doc.Newborn {
		l = append(l, ext("newborn", "valueBoolean", true))
	}
	if doc.Transfer {
		l = append(l, ext("transfer", "valueBoolean", true))
	}
	return l
}

// firstOfMonth is the first of the month of the earliest service, "" without any.
func firstOfMonth(doc *ClaimDocument) string {
	var first time.Time
	for _, it := range doc.Items {
		s := it.Date
		if it.Period != nil {
			s = it.Period.Start
		}
		if t := parseTime(s); first.IsZero() || t.Before(first) {
			first = t
		}
	}
	if first.IsZero() {
		return ""
	}
	return first.In(Riyadh).Format("2006-01") + "-01"
}

func (b *claimBuilder) relatedTo(r RelatedClaim) Identifier {
	return Identifier{cmp.Or(r.ClaimSystem, b.d.base+"/claim"), r.ClaimNumber}
}

func (b *claimBuilder) replaces() []Identifier {
	var out []Identifier
	for _, r := range b.doc.Related {
		if r.Relationship == relationPrior {
			out = append(out, b.relatedTo(r))
		}
	}
	return out
}

func (b *claimBuilder) related() list {
	var l list
	for _, r := range b.doc.Related {
		l = append(l, object{
			{"claim", object{{"identifier", fhirIdentifier(b.relatedTo(r))}}},
			{"relationship", concept(codeBase+"related-claim-relationship", r.Relationship)},
		})
	}
	return l
}

func (b *claimBuilder) careTeam() list {
	var l list
	for i, m := range b.doc.CareTeam {
		l = append(l, object{
			{"sequence", i + 1},
			{"provider", reference(b.practitioners[i].url)},
			{"role", concept(hl7Base+"claimcareteamrole", cmp.Or(m.Role, "primary"))},
			{"qualification", concept(codeBase+"practice-codes", m.Specialty)},
		})
	}
	return l
}

func (b *claimBuilder) supportingInfo() {
	for i, x := range b.doc.Supporting {
		b.infos = append(b.infos, supportingInfo(i+1, x))
		if x.Category != "days-supply" {
			b.common = append(b.common, i+1)
		}
	}
}

func supportingInfo(sequence int, x Info) object {
	kind, known := infoKinds[x.Category]
	o := object{
		{"sequence", sequence},
		{"category", concept(codeBase+"claim-information-category", x.Category)},
	}
	coded := x.Code != "" || (known && kind.shape == infoCode)
	if coded {
		o = append(o, member{"code", object{
			{"coding", list{coding(codeSystem(cmp.Or(x.System, kind.system)), x.Code, x.Display)}}, {"text", x.Text},
		}})
	}
	if x.Start != "" || x.End != "" {
		if x.End == "" && len(x.Start) == len(time.DateOnly) {
			o = append(o, member{"timingDate", x.Start})
		} else {
			o = append(o, member{"timingPeriod", fhirPeriod(&Period{x.Start, x.End})})
		}
	}
	switch {
	case x.Absence != nil:
	case x.Value != nil:
		o = append(o, member{"valueQuantity", object{
			{"value", *x.Value}, {"system", systemUCUM}, {"code", cmp.Or(x.Unit, kind.unit)},
		}})
	case x.Attachment != nil:
		a := x.Attachment
		o = append(o, member{"valueAttachment", object{
			{"contentType", a.ContentType}, {"data", a.Data}, {"title", a.Title}, {"creation", fhirTime(a.Created)},
		}})
	case !coded:
		o = append(o, member{"valueString", x.Text})
	}
	if x.Absence != nil {
		o = append(o, member{"reason", coding(codeSystem(x.Absence.System), x.Absence.Code, "")})
	}
	return o
}

func (b *claimBuilder) diagnoses() list {
	var l list
	for i, x := range b.doc.Diagnoses {
		onset := ext("condition-onset", "valueCodeableConcept", concept(codeBase+"condition-onset", x.ConditionOnset))
		l = append(l, object{
			{"extension", list{onset}},
			{"sequence", i + 1},
			{"diagnosisCodeableConcept", object{{"coding", list{coding(systemICD10AM, x.Code, x.Display)}}}},
			{"type", list{concept(codeBase+"diagnosis-type", x.Type)}},
			{"onAdmission", concept(codeBase+"diagnosis-on-admission", x.OnAdmission)},
		})
	}
	return l
}

func (b *claimBuilder) preAuthRefs() list {
	if b.doc.Authorization == nil {
		return nil
	}
	return strs(b.doc.Authorization.References)
}

func (b *claimBuilder) accident() object {
	a := b.doc.Accident
	if a == nil {
		return nil
	}
	return object{{"date", a.Date}, {"type", concept(hl7Base+"v3-ActCode", a.Type)}}
}

// upTo lists 1 to n.
func upTo(n int) []int {
	l := make([]int, n)
	for i := range l {
		l[i] = i + 1
	}
	return l
}

func (b *claimBuilder) items() list {
	var l list
	for i, it := range b.doc.Items {
		p := price(it)
		information := it.Information
		if information == nil {
			information = b.common
		}
		if it.DaysSupply > 0 {
			days := Number{d: decimal.NewFromInt(int64(it.DaysSupply))}
			b.infos = append(b.infos, supportingInfo(len(b.infos)+1, Info{Category: "days-supply", Value: &days}))
			information = append(slices.Clone(information), len(b.infos))
		}
		careTeam, diagnoses := it.CareTeam, it.Diagnoses
		if careTeam == nil {
			careTeam = upTo(len(b.doc.CareTeam))
		}
		if diagnoses == nil {
			diagnoses = upTo(len(b.doc.Diagnoses))
		}
		o := object{
			{"extension", b.itemExtensions(it, p)},
			{"sequence", i + 1},
			{"careTeamSequence", ints(careTeam)},
			{"diagnosisSequence", ints(diagnoses)},
			{"informationSequence", ints(information)},
			{"productOrService", product(it.System, it.Code, it.Display, it.Local)},
		}
		if it.Period != nil {
			o = append(o, member{"servicedPeriod", fhirPeriod(it.Period)})
		} else {
			o = append(o, member{"servicedDate", it.Date})
		}
		o = append(o, pricing(p)...)
		if it.BodySite != nil {
			o = append(o, member{"bodySite", object{
				{"coding", list{coding(codeSystem(it.BodySite.System), it.BodySite.Code, it.BodySite.Display)}},
			}})
		}
		o = append(o, member{"detail", details(it, p)})
		l = append(l, o)
	}
	return l
}

func pricing(p priced) object {
	o := object{
		{"quantity", object{{"value", p.quantity}}},
		{"unitPrice", money(p.unitPrice)},
	}
	if p.factor != nil {
		o = append(o, member{"factor", *p.factor})
	}
	return append(o, member{"net", money(p.net)})
}

func product(system, code, display string, local *Code) object {
	l := list{coding(codeSystem(system), code, display)}
	if local != nil {
		l = append(l, coding(codeSystem(local.System), local.Code, local.Display))
	}
	return object{{"coding", l}}
}

func details(it Item, p priced) list {
	var l list
	for j, x := range it.Details {
		o := detail(j+1, x, p.details[j])
		var subs list
		for k, y := range x.SubDetails {
			subs = append(subs, detail(k+1, y.detail(), p.details[j].details[k]))
		}
		l = append(l, append(o, member{"subDetail", subs}))
	}
	return l
}

// detail writes a detail or a subDetail without its parts.
func detail(sequence int, x Detail, p priced) object {
	o := object{
		{"extension", list{ext("tax", "valueMoney", money(p.tax)), optionalMoney("patient-share", x.PatientShare)}},
		{"sequence", sequence},
		{"productOrService", product(x.System, x.Code, x.Display, x.Local)},
	}
	return append(o, pricing(p)...)
}

func optionalMoney(name string, a *Amount) object {
	if a == nil {
		return nil
	}
	return ext(name, "valueMoney", money(*a))
}

func (b *claimBuilder) itemExtensions(it Item, p priced) list {
	l := list{
		ext("package", "valueBoolean", it.Package),
		ext("tax", "valueMoney", money(p.tax)),
		optionalMoney("patient-share", it.PatientShare),
		optionalMoney("payer-share", it.PayerShare),
	}
	if !b.doc.preauthorization() {
		invoice := Identifier{b.d.base + "/patientInvoice", cmp.Or(it.Invoice, b.doc.Invoice)}
		l = append(l, ext("patientInvoice", "valueIdentifier", fhirIdentifier(invoice)))
	}
	if b.kind.maternity {
		l = append(l, ext("maternity", "valueBoolean", it.Maternity))
	}
	if m := it.Medication; m != nil {
		code := func(system, code string) object {
			if code == "" {
				return nil
			}
			return concept(codeBase+system, code)
		}
		l = append(l,
			ext("prescribed-Medication", "valueCodeableConcept", code("medication-codes", cmp.Or(m.Prescribed, it.Code))),
			ext("pharmacist-Selection-Reason", "valueCodeableConcept", code("pharmacist-selection-reason", m.SelectionReason)),
			ext("pharmacist-substitute", "valueCodeableConcept", code("pharmacist-substitute", m.Substitute)))
	}
	return l
}

// putEncounter writes the Encounter. The names of the emergency and admission extensions follow the pattern of the others;
// see docs/claim-document.md for what is confirmed.
func (b *claimBuilder) putEncounter() {
	e := b.doc.Encounter
	profileName := "encounter"
	if b.o.EncounterProfilePerClass {
		profileName = "encounter-claim-" + e.Class
		if b.doc.preauthorization() {
			profileName = "encounter-auth-" + e.Class
		}
	}
	code := func(system, code string) object {
		if code == "" {
			return nil
		}
		return concept(codeBase+system, code)
	}
	extensions := list{ext("serviceEventType", "valueCodeableConcept", code("service-event-type", e.ServiceEvent))}
	if m := e.Emergency; m != nil {
		extensions = append(extensions,
			ext("emergencyArrivalCode", "valueCodeableConcept", code("emergency-arrival-code", m.ArrivalCode)),
			ext("emergencyServiceStart", "valueDateTime", fhirTime(m.ServiceStart)),
			ext("emergencyDepartmentDisposition", "valueCodeableConcept",
				code("emergency-department-disposition", m.Disposition)),
			ext("triageCategory", "valueCodeableConcept", code("triage-category", m.TriageCategory)),
			ext("triageDate", "valueDateTime", fhirTime(m.TriageTime)))
	}
	b.d.put(b.encounter, profileName,
		member{"extension", extensions},
		member{"identifier", list{fhirIdentifier(Identifier{b.d.base + "/encounter", e.Number})}},
		member{"status", cmp.Or(e.Status, "finished")},
		member{"class", coding(hl7Base+"v3-ActCode", e.Class, "")},
		member{"serviceType", code("service-type", e.ServiceType)},
		member{"subject", reference(b.patient.url)},
		member{"period", fhirPeriod(&Period{e.Start, e.End})},
		member{"hospitalization", hospitalization(e.Admission)},
		member{"serviceProvider", reference(b.provider.url)},
	)
}

func hospitalization(a *Admission) object {
	if a == nil {
		return nil
	}
	code := func(system, code string) object {
		if code == "" {
			return nil
		}
		return concept(codeSystem(system), code)
	}
	return object{
		{"extension", list{
			ext("admissionSpecialty", "valueCodeableConcept", code("practice-codes", a.Specialty)),
			ext("dischargeSpecialty", "valueCodeableConcept", code("practice-codes", a.DischargeSpecialty)),
			ext("intendedLengthOfStay", "valueCodeableConcept", code("intended-length-of-stay", a.IntendedStay)),
		}},
		{"admitSource", code("admit-source", a.Source)},
		{"dischargeDisposition", code(hl7Base+"discharge-disposition", a.DischargeDisposition)},
	}
}
