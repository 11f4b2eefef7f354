package nphiesclient

import (
	"cmp"
	"strings"
	"time"

	"github.com/google/uuid"
)

// BuildOptions is what a builder needs beside the document. The zero value is usable.
type BuildOptions struct {
	// License is the provider licence of documents that name none. A document that names another one is refused: the
	// certificate would not fit (GE-00020).
	License string
	// Now is the time of building, by default time.Now. Bytes depend on the document, Now and NewID only.
	Now time.Time
	// NewID returns a new lower-case GUID, by default a random one.
	NewID func() string
	// PriorAuthExtension is the name of the extension that quotes an authorization answer, by default
	// "priorauth-response"; one onboarding integration has to write "priorauthresponse".
	PriorAuthExtension string
	// EncounterProfilePerClass writes the newer profiles "encounter-claim-AMB", "encounter-auth-AMB" and so on instead of
	// "encounter".
	EncounterProfilePerClass bool
	// Rules switches rules off or changes their severity.
	Rules RuleSettings
	// ProfileVersion is the version behind each profile address, by default "1.0.0".
	ProfileVersion string
	// QuoteEligibility lets FindEligibility look for the latest positive check of the patient when the document quotes no
	// eligibility at all.
	QuoteEligibility bool
	// FindEligibility returns the identifier of the eligibility answer that fits the query, the zero Identifier if there is
	// none that says yes. Its error ends the building and is returned as it is. It is called for documents that quote a check
	// by its request number, and for those of QuoteEligibility; nil: such a request number is a finding.
	FindEligibility func(EligibilityQuery) (Identifier, error)
}

// EligibilityQuery asks for the answer to one eligibility check (Request is set) or the latest of a patient (Patient is).
type EligibilityQuery struct {
	// License is the provider's, Payer the receiver's, as in Request.
	License, Payer string
	// Request is the identifier of the eligibility-request, or zero.
	Request Identifier
	// Patient is the patient's first identifier; it is set with Request as well, so that nobody quotes another one's check.
	Patient Identifier
}

func (o *BuildOptions) defaults() {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.NewID == nil {
		o.NewID = uuid.NewString
	}
	o.ProfileVersion = cmp.Or(o.ProfileVersion, "1.0.0")
	o.PriorAuthExtension = cmp.Or(o.PriorAuthExtension, "priorauth-response")
}

// checkLicense gives the document the licence of the options, or reports that the two differ.
func (c *check) license(p *Provider, o BuildOptions) {
	switch {
	case p.License == "":
		p.License = o.License
	case o.License != "" && p.License != o.License:
		c.add("GE-00020", "provider.license", "differs from the licence this system sends for")
	}
}

// draft is a message under construction: resources get an id and a fullUrl under the provider's namespace.
type draft struct {
	base     string // provider's namespace without a slash at the end
	newID    func() string
	now      time.Time
	version  string // of every profile
	bundleID string
	headerID string
	entries  list
}

// newDraft starts a message; o has its defaults.
func newDraft(namespace string, o BuildOptions) *draft {
	d := &draft{base: strings.TrimRight(namespace, "/"), newID: o.NewID, now: o.Now, version: o.ProfileVersion}
	d.bundleID, d.headerID = d.newID(), d.newID()
	return d
}

func (d *draft) meta(profileName string) object {
	return object{{"profile", list{profileBase + profileName + "|" + d.version}}}
}

// slot is a place reserved for a resource, so that others can refer to it before it is written.
type slot struct{ kind, id, url string }

func (d *draft) slot(kind string) slot {
	id := d.newID()
	return slot{kind: kind, id: id, url: d.base + "/" + kind + "/" + id}
}

// put writes a resource into its slot.
func (d *draft) put(s slot, profileName string, members ...member) {
	r := append(object{{"resourceType", s.kind}, {"id", s.id}, {"meta", d.meta(profileName)}}, members...)
	d.entries = append(d.entries, object{{"fullUrl", s.url}, {"resource", r}})
}

// party is one end of a message.
type party struct{ system, license, endpoint string }

func providerParty(license string) party {
	return party{systemProviderLicense, license, systemProviderLicense + "/" + license}
}

// receiver is the licence a message for this payer goes to: the administrator's where there is one.
func (p Payer) receiver() string { return cmp.Or(p.TPALicense, p.License) }

func payerParty(license string) party {
	return party{systemPayerLicense, license, systemPayerLicense + "/" + license}
}

func (p party) reference() object {
	return object{{"type", "Organization"}, {"identifier", fhirIdentifier(Identifier{p.system, p.license})}}
}

// finish puts header and envelope around the resources and returns the final bytes.
func (d *draft) finish(event string, from, to party, focus slot) []byte {
	header := object{
		{"resourceType", "MessageHeader"},
		{"id", d.headerID},
		{"meta", d.meta("message-header")},
		{"eventCoding", coding(codeBase+"ksa-message-events", event, "")},
		{"destination", list{object{{"endpoint", to.endpoint}, {"receiver", to.reference()}}}},
		{"sender", from.reference()},
		{"source", object{{"endpoint", from.endpoint}}},
		{"focus", list{reference(focus.url)}},
	}
	first := object{{"fullUrl", "urn:uuid:" + d.headerID}, {"resource", header}}
	return appendJSON(nil, object{
		{"resourceType", "Bundle"},
		{"id", d.bundleID},
		{"meta", d.meta("bundle")},
		{"type", "message"},
		{"timestamp", timestamp(d.now)},
		{"entry", append(list{first}, d.entries...)},
	})
}

// fhirTime writes a checked date as it is and a checked time in Riyadh's zone.
func fhirTime(s string) string {
	if s == "" || len(s) == len(time.DateOnly) {
		return s
	}
	t := parseTime(s)
	if t.IsZero() {
		return s // the rule that asks for a time is switched off
	}
	return instant(t)
}

func fhirPeriod(p *Period) object {
	if p == nil {
		return nil
	}
	return period(&Period{Start: fhirTime(p.Start), End: fhirTime(p.End)})
}

// identifier is the patient's number with its namespace; base is the provider's.
func (p Patient) identifier(base string) Identifier {
	return Identifier{System: cmp.Or(patientIDs[p.IDType].system, base+"/mrn"), Value: p.IDNumber}
}

func (d *draft) patient(s slot, p Patient) {
	id, number := patientIDs[p.IDType], p.identifier(d.base)
	identifier := object{{"type", concept(id.codeFrom, id.code)}, {"system", number.System}, {"value", number.Value}}
	if p.IDCountry != "" {
		country := ext("identifier-country", "valueCodeableConcept", concept("urn:iso:std:iso:3166", p.IDCountry))
		identifier = append(object{{"extension", list{country}}}, identifier...)
	}
	var phone object
	if p.Phone != "" {
		phone = object{{"system", "phone"}, {"value", p.Phone}}
	}
	gender := concept(codeBase+"ksa-administrative-gender", cmp.Or(p.AdministrativeGender, p.Gender))
	d.put(s, "patient",
		member{"extension", list{ext("occupation", "valueCodeableConcept", concept(codeBase+"occupation", p.Occupation))}},
		member{"identifier", list{identifier}},
		member{"active", true},
		member{"name", list{humanName(p.Name, p.Family, p.Given)}},
		member{"telecom", list{phone}},
		member{"gender", p.Gender},
		member{"_gender", object{{"extension", list{ext("ksa-administrative-gender", "valueCodeableConcept", gender)}}}},
		member{"birthDate", p.BirthDate},
		member{"maritalStatus", concept(hl7Base+"v3-MaritalStatus", p.MaritalStatus)},
	)
}

func humanName(text, family string, given []string) object {
	return object{{"use", "official"}, {"text", text}, {"family", family}, {"given", strs(given)}}
}

func (d *draft) provider(s slot, p Provider) {
	kind := concept(codeBase+"provider-type", p.Type)
	d.put(s, "provider-organization",
		member{"extension", list{ext("provider-type", "valueCodeableConcept", kind)}},
		member{"identifier", list{fhirIdentifier(Identifier{systemProviderLicense, p.License})}},
		member{"active", true},
		member{"type", list{concept(codeBase+"organization-type", "prov")}},
		member{"name", p.Name},
	)
}

func (d *draft) payer(s slot, p Payer) {
	d.put(s, "insurer-organization",
		member{"identifier", list{object{
			{"type", concept(v2Identifiers, "NII")}, {"system", systemPayerLicense}, {"value", p.License},
		}}},
		member{"active", true},
		member{"type", list{concept(codeBase+"organization-type", "ins")}},
		member{"name", p.Name},
	)
}

// place reserves the place of a Location, if there is one.
func (d *draft) place(l *Location) slot {
	if l == nil {
		return slot{}
	}
	return d.slot("Location")
}

// location writes the place of service. No source names the profile; it follows the pattern of the others.
func (d *draft) location(s slot, l *Location, provider slot) {
	if l == nil {
		return
	}
	d.put(s, "location",
		member{"identifier", list{fhirIdentifier(Identifier{systemLocationLicense, l.License})}},
		member{"status", "active"},
		member{"name", l.Name},
		member{"managingOrganization", reference(provider.url)},
	)
}

// insured are the places of a Coverage and of what it names beside patient and insurer.
type insured struct{ coverage, policyHolder, subscriber slot }

// insured reserves the places of a coverage; the subscriber has one of his own when he is not the patient.
func (d *draft) insured(v *Coverage, patient slot) insured {
	if v == nil {
		return insured{}
	}
	x := insured{coverage: d.slot("Coverage"), policyHolder: d.slot("Organization")}
	switch {
	case v.Relationship == "self":
		x.subscriber = patient
	case v.Subscriber != nil:
		x.subscriber = d.slot("Patient")
	}
	return x
}

// coverage writes the Coverage with its policy holder and, when the patient is not the subscriber, the subscriber.
func (d *draft) coverage(x insured, v *Coverage, payer Payer, patient, insurer slot) {
	if v == nil {
		return
	}
	subscriberID := v.SubscriberID
	if v.Relationship == "self" {
		subscriberID = cmp.Or(subscriberID, v.MemberID)
	}
	d.put(x.coverage, "coverage",
		member{"identifier", list{fhirIdentifier(Identifier{
			cmp.Or(v.MemberSystem, strings.TrimRight(payer.Namespace, "/")+"/memberid"), v.MemberID,
		})}},
		member{"status", "active"},
		member{"type", concept(codeBase+"coverage-type", v.Type)},
		member{"policyHolder", reference(x.policyHolder.url)},
		member{"subscriber", reference(x.subscriber.url)},
		member{"subscriberId", subscriberID},
		member{"beneficiary", reference(patient.url)},
		member{"dependent", v.Dependent},
		member{"relationship", concept(hl7Base+"subscriber-relationship", v.Relationship)},
		member{"period", fhirPeriod(v.Period)},
		member{"payor", list{reference(insurer.url)}},
		member{"class", list{object{
			{"type", concept(hl7Base+"coverage-class", "plan")}, {"value", v.Plan}, {"name", v.PlanName},
		}}},
		member{"network", v.Network},
	)
	d.put(x.policyHolder, "policyholder-organization", member{"active", true}, member{"name", v.PolicyHolder})
	if v.Subscriber != nil && v.Relationship != "self" {
		d.patient(x.subscriber, *v.Subscriber)
	}
}
