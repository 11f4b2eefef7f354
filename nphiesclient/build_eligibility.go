package nphiesclient

import (
	"cmp"
	"fmt"
	"slices"
)

// BuildEligibility makes an eligibility-request of an eligibility document, as BuildClaim does of a claim. A document
// without a service date asks for the day of o.Now in Riyadh.
//
// Source: Implementation Guide, eligibility use case; rules named in the findings.
func BuildEligibility(doc *EligibilityDocument, o BuildOptions) (*Request, error) {
	o.defaults()
	d := *doc
	c := &check{now: o.Now}
	c.license(&d.Provider, o)
	if len(d.Purpose) == 0 {
		d.Purpose = []string{"discovery"}
		if d.Coverage != nil {
			d.Purpose = []string{"benefits", "validation"}
		}
	}
	if d.ServiceDate == "" && d.ServicePeriod == nil {
		d.ServiceDate = day(o.Now)
	}
	c.eligibility(&d)
	found := d.layout().settle(c.findings, o)
	if err := invalid(found); err != nil {
		return nil, err
	}

	b := newDraft(d.Provider.Namespace, o)
	request := b.slot("CoverageEligibilityRequest")
	patient, provider, insurer := b.slot("Patient"), b.slot("Organization"), b.slot("Organization")
	place, policy := b.place(d.Location), b.insured(d.Coverage, patient)
	var extensions list
	if d.Newborn {
		extensions = append(extensions, ext("newborn", "valueBoolean", true))
	}
	if d.Transfer {
		extensions = append(extensions, ext("transfer", "valueBoolean", true))
	}
	identifier := Identifier{cmp.Or(d.RequestSystem, b.base+"/coverageeligibilityrequest"), d.RequestNumber}
	created := instant(o.Now)
	if d.Created != "" {
		created = fhirTime(d.Created)
	}
	b.put(request, "eligibility-request",
		member{"extension", extensions},
		member{"identifier", list{fhirIdentifier(identifier)}},
		member{"status", "active"},
		member{"priority", concept(hl7Base+"processpriority", cmp.Or(d.Priority, "normal"))},
		member{"purpose", strs(d.Purpose)},
		member{"patient", reference(patient.url)},
		member{"servicedDate", d.ServiceDate},
		member{"servicedPeriod", fhirPeriod(d.ServicePeriod)},
		member{"created", created},
		member{"provider", reference(provider.url)},
		member{"insurer", reference(insurer.url)},
		member{"facility", reference(place.url)},
		member{"insurance", list{object{{"coverage", reference(policy.coverage.url)}}}},
	)
	b.patient(patient, d.Patient)
	b.provider(provider, d.Provider)
	b.payer(insurer, d.Payer)
	b.coverage(policy, d.Coverage, d.Payer, patient, insurer)
	b.location(place, d.Location, provider)
	req := &Request{
		Event: EventEligibilityRequest, BundleID: b.bundleID, HeaderID: b.headerID,
		License: d.Provider.License, Payer: d.Payer.receiver(), PayerName: d.Payer.Name, Identifier: identifier,
		Patient: d.Patient.identifier(b.base), Created: parseTime(created),
		Body: b.finish(EventEligibilityRequest, providerParty(d.Provider.License), payerParty(d.Payer.receiver()), request),
	}
	if err := d.layout().judge(req, o, d.Payer, found); err != nil {
		return nil, err
	}
	return req, nil
}

func (c *check) eligibility(d *EligibilityDocument) {
	c.oneOf(d.Document, ruleDocument, "document", DocumentEligibility)
	c.identifier(d.RequestNumber, ruleCardinality, "request_number")
	if d.RequestSystem != "" {
		c.address(d.RequestSystem, "request_system")
	}
	c.created(d.Created, "BV-00062")
	c.priority(d.Priority)
	for i, p := range d.Purpose {
		at := fmt.Sprintf("purpose[%d]", i)
		c.oneOf(p, ruleCode, at, "validation", "benefits", "discovery", "auth-requirements")
		if slices.Contains(d.Purpose[:i], p) {
			c.add(ruleDocument, at, "is given twice")
		}
	}
	if d.Coverage == nil && !slices.Contains(d.Purpose, "discovery") {
		c.advise("Add discovery, or enter the coverage.", ruleCardinality, "purpose", "must include discovery when no coverage is given")
	}
	today := day(c.now)
	switch {
	case d.ServiceDate != "" && d.ServicePeriod != nil:
		c.add("BV-00437", "service_date", "service_date and service_period exclude each other")
	case d.ServicePeriod != nil:
		c.period(d.ServicePeriod, "BV-00437", "service_period", true)
		if t := parseTime(d.ServicePeriod.Start); !t.IsZero() && day(t) < today {
			c.add("BV-00058", "service_period.start", "lies before today")
		}
	default:
		if t, ok := c.date(d.ServiceDate, "BV-00437", "service_date"); ok && day(t) < today {
			c.add("BV-00058", "service_date", "lies before today")
		}
	}
	c.provider(d.Provider)
	c.payer(d.Payer)
	c.patient(d.Patient, "patient")
	c.coverage(d.Coverage)
	c.location(d.Location)
}
