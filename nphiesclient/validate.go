package nphiesclient

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// check gathers what is wrong with a document. Its methods name paths and rules, never values of the patient.
type check struct {
	findings
	now time.Time
}

// need reports a missing value and says whether it is there.
func (c *check) need(value, rule, path string) bool {
	if strings.TrimSpace(value) == "" {
		c.add(rule, path, "is missing")
		return false
	}
	return true
}

// oneOf reports a value outside a closed list; rule document means that our format fixes the list.
func (c *check) oneOf(value, rule, path string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		c.add(rule, path, "must be one of %s", strings.Join(allowed, ", "))
	}
}

// tooLong returns how many characters a text has and how many the guide allows. Where it gives two lengths, half is for text
// with Arabic letters.
func tooLong(value string, limit, half int) (n, most int) {
	if half > 0 && strings.ContainsFunc(value, func(r rune) bool { return unicode.Is(unicode.Arabic, r) }) {
		limit = half
	}
	return utf8.RuneCountInString(value), limit
}

func (c *check) length(value, path string, limit, half int) {
	if n, most := tooLong(value, limit, half); n > most {
		c.add(ruleLength, path, "has %d characters, NPHIES takes %d", n, most)
	}
}

func (c *check) text(value, rule, path string, limit, half int) {
	if c.need(value, rule, path) {
		c.length(value, path, limit, half)
	}
}

// identifier is a business identifier's value: at most 50 characters (BV-00275 refuses more than 100, the guide's table 50).
func (c *check) identifier(value, rule, path string) {
	if c.need(value, rule, path) && utf8.RuneCountInString(value) > 50 {
		c.add("BV-00275", path, "has more than 50 characters")
	}
}

// date reports what is no complete date and returns its day in Riyadh.
func (c *check) date(value, rule, path string) (time.Time, bool) {
	if !c.need(value, rule, path) {
		return time.Time{}, false
	}
	t, err := time.ParseInLocation(time.DateOnly, value, Riyadh)
	if err != nil {
		c.add(ruleDocument, path, "must be a date like 2026-02-10")
		return time.Time{}, false
	}
	return t, true
}

// moment reports what is no time to the second with a zone; with dateOK a date will do.
func (c *check) moment(value, rule, path string, dateOK bool) (time.Time, bool) {
	if !c.need(value, rule, path) {
		return time.Time{}, false
	}
	if t, err := time.Parse(time.RFC3339, value); err == nil {
		return t, true
	}
	if dateOK {
		if t, err := time.ParseInLocation(time.DateOnly, value, Riyadh); err == nil {
			return t, true
		}
		c.add(ruleDocument, path, "must be a date or a time like 2026-02-10T09:20:00+03:00")
		return time.Time{}, false
	}
	c.add(rule, path, "must be a time to the second with zone, like 2026-02-10T09:20:00+03:00")
	return time.Time{}, false
}

func (c *check) period(p *Period, rule, path string, both bool) {
	if p == nil {
		return
	}
	if p.Start == "" && p.End == "" {
		c.add(rule, path, "has neither start nor end")
		return
	}
	if both && (p.Start == "" || p.End == "") {
		c.add(rule, path, "needs both start and end")
		return
	}
	var start, end time.Time
	okStart, okEnd := false, false
	if p.Start != "" {
		start, okStart = c.moment(p.Start, rule, path+".start", true)
	}
	if p.End != "" {
		end, okEnd = c.moment(p.End, rule, path+".end", true)
	}
	if okStart && okEnd && end.Before(start) {
		c.add(rule, path, "ends before it starts")
	}
}

// address is an absolute http(s) or urn address.
func (c *check) address(value, path string) {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Scheme == "" || (u.Host == "" && u.Opaque == "") || strings.ContainsFunc(value, unicode.IsSpace):
		c.add(ruleDocument, path, "must be an address like http://hospital.example")
	default:
		c.length(value, path, 255, 0)
	}
}

// namespace is the root of identifiers and fullUrls: an http(s) address without query or fragment.
func (c *check) namespace(value, path string) {
	if !c.need(value, ruleDocument, path) {
		return
	}
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" ||
		u.User != nil || strings.ContainsFunc(value, unicode.IsSpace) {
		c.add(ruleDocument, path, "must be an address like http://hospital.example")
		return
	}
	c.length(value, path, 150, 0)
}

func (c *check) provider(p Provider) {
	c.need(p.License, "BV-00176", "provider.license")
	c.text(p.Name, ruleCardinality, "provider.name", 250, 125)
	c.need(p.Type, "IC-01574", "provider.type")
	c.namespace(p.Namespace, "provider.namespace")
}

func (c *check) payer(p Payer) {
	c.need(p.License, "GE-00015", "payer.license")
	c.length(p.License, "payer.license", 64, 0)
	c.length(p.TPALicense, "payer.tpa_license", 64, 0)
	c.text(p.Name, ruleCardinality, "payer.name", 250, 125)
	c.namespace(p.Namespace, "payer.namespace")
}

func (c *check) patient(p Patient, path string) {
	id, known := patientIDs[p.IDType]
	if c.need(p.IDType, ruleCardinality, path+".id_type") && !known {
		c.add(ruleDocument, path+".id_type",
			"must be one of national_id, iqama, passport, border_number, displaced_person, visa, mrn")
	}
	c.identifier(p.IDNumber, ruleCardinality, path+".id_number")
	if known && id.first != 0 && p.IDNumber != "" {
		digits := strings.Trim(p.IDNumber, "0123456789") == ""
		if len(p.IDNumber) != 10 || !digits || p.IDNumber[0] != id.first {
			c.add(id.rule, path+".id_number", "must have 10 digits, the first %c", id.first)
		}
	}
	if p.IDType == "passport" {
		c.need(p.IDCountry, "BV-00481", path+".id_country")
	}
	c.text(p.Name, ruleCardinality, path+".name", 250, 125)
	c.length(p.Family, path+".family", 100, 50)
	for i, g := range p.Given {
		c.text(g, ruleCardinality, fmt.Sprintf("%s.given[%d]", path, i), 100, 50)
	}
	if c.need(p.Gender, ruleCardinality, path+".gender") {
		c.oneOf(p.Gender, ruleCode, path+".gender", "male", "female", "other", "unknown")
	}
	if p.AdministrativeGender != "" {
		c.oneOf(p.AdministrativeGender, ruleCode, path+".administrative_gender", "male", "female", "unknown", "U", "N", "A", "B", "C")
	} else if p.Gender == "other" {
		c.add(ruleCardinality, path+".administrative_gender", "is missing: the gender other needs a code of its own")
	}
	if t, ok := c.date(p.BirthDate, "BV-00848", path+".birth_date"); ok &&
		(t.Year() < 1900 || p.BirthDate > day(c.now)) {
		c.add("BV-00848", path+".birth_date", "must lie between 1900-01-01 and today")
	}
	c.need(p.MaritalStatus, ruleCardinality, path+".marital_status")
	c.need(p.Occupation, ruleCardinality, path+".occupation")
}

func (c *check) coverage(v *Coverage) {
	if v == nil {
		return
	}
	c.identifier(v.MemberID, ruleCardinality, "coverage.member_id")
	if v.MemberSystem != "" {
		c.address(v.MemberSystem, "coverage.member_system")
	}
	if c.need(v.Type, "IB-00109", "coverage.type") {
		c.oneOf(v.Type, "IB-00109", "coverage.type", "EHCPOL", "PUBLICPOL")
	}
	c.text(v.PolicyHolder, "IC-01564", "coverage.policy_holder", 250, 125)
	if c.need(v.Relationship, ruleCardinality, "coverage.relationship") {
		c.oneOf(v.Relationship, ruleCode, "coverage.relationship", "self", "spouse", "child", "parent", "common", "other", "injured")
	}
	if v.Subscriber != nil {
		if v.Relationship == "self" {
			c.add(ruleDocument, "coverage.subscriber", "is given although the patient is the subscriber")
		}
		c.patient(*v.Subscriber, "coverage.subscriber")
	}
	c.text(v.Plan, "IC-01571", "coverage.plan", 30, 0)
	c.length(v.Network, "coverage.network", 30, 0)
	c.length(v.Dependent, "coverage.dependent", 10, 0)
	c.period(v.Period, ruleDocument, "coverage.period", false)
}

func (c *check) priority(p string) {
	if p != "" {
		c.oneOf(p, ruleCode, "priority", "normal", "stat", "deferred")
	}
}

// created returns when the document says it was made: now when it says nothing.
func (c *check) created(value, rule string) time.Time {
	if value == "" {
		return c.now
	}
	t, ok := c.moment(value, rule, "created", true)
	if ok && t.After(c.now.Add(clockSkew)) {
		c.add(rule, "created", "lies in the future")
	}
	return t
}

func (c *check) claim(d *ClaimDocument) claimKind {
	c.oneOf(d.Document, ruleDocument, "document", DocumentClaim)
	c.oneOf(d.Use, "BV-00165", "use", UseClaim, UsePreauthorization)
	kind, ok := claimKinds[d.Type]
	if c.need(d.Type, ruleCardinality, "type") && !ok {
		c.add(ruleDocument, "type", "must be one of professional, pharmacy, institutional, oral, vision")
	}
	if ok && d.SubType != "" {
		c.oneOf(d.SubType, subTypeRules[d.Type], "subtype", kind.subTypes...)
	}
	c.identifier(d.ClaimNumber, "BV-00457", "claim_number")
	if d.ClaimSystem != "" {
		c.address(d.ClaimSystem, "claim_system")
	}
	created := c.created(d.Created, "BV-00064")
	c.priority(d.Priority)
	c.provider(d.Provider)
	c.payer(d.Payer)
	c.patient(d.Patient, "patient")
	if d.Coverage == nil {
		c.add(ruleCardinality, "coverage", "is missing")
	}
	c.coverage(d.Coverage)
	c.location(d.Location)
	c.payee(d)
	c.careTeam(d, kind)
	c.encounter(d, kind)
	c.diagnoses(d)
	c.supporting(d, kind)
	c.items(d, kind, created)
	c.references(d)
	return kind
}

func (c *check) location(l *Location) {
	if l == nil {
		return
	}
	c.identifier(l.License, ruleCardinality, "location.license")
	c.text(l.Name, ruleCardinality, "location.name", 250, 125)
}

func (c *check) payee(d *ClaimDocument) {
	if d.Payee != "" {
		c.oneOf(d.Payee, "BV-00492", "payee", "provider", "patient", "subscriber", "policy_holder")
	}
	if v := d.Coverage; d.Payee == "subscriber" && v != nil && v.Relationship != "self" && v.Subscriber == nil {
		c.add("BV-00494", "payee", "names the subscriber, whom the coverage does not describe")
	}
}

// notBefore reports what a preauthorization does not have: there is no bill yet.
func (c *check) notBefore(value, path string) {
	if value != "" {
		c.add(ruleDocument, path, "is not part of a preauthorization: leave it out")
	}
}

func (c *check) careTeam(d *ClaimDocument, kind claimKind) {
	if kind.careTeam && len(d.CareTeam) == 0 {
		c.add(ruleCardinality, "care_team", "is missing: a %s claim names who treated", d.Type)
	}
	if d.Type == "pharmacy" && len(d.CareTeam) > 0 {
		c.advise("Take the care team out.", ruleCardinality, "care_team", "is not part of a pharmacy claim; name the prescriber in prescription")
	}
	for i, m := range d.CareTeam {
		at := fmt.Sprintf("care_team[%d]", i)
		c.identifier(m.License, "GE-00021", at+".license")
		c.text(m.Name, ruleCardinality, at+".name", 250, 125)
		c.need(m.Specialty, ruleCardinality, at+".specialty")
		if m.Role != "" {
			c.oneOf(m.Role, ruleCode, at+".role", "primary", "assist", "supervisor", "other")
		}
	}
}

func (c *check) encounter(d *ClaimDocument, kind claimKind) {
	e := d.Encounter
	if e == nil {
		if kind.encounter {
			c.add("RE-00189", "encounter", "is missing: a %s claim belongs to one", d.Type)
		}
		return
	}
	c.identifier(e.Number, "IC-00183", "encounter.number")
	if c.need(e.Class, ruleCardinality, "encounter.class") {
		allowed := kind.classes
		if allowed == nil {
			allowed = []string{"AMB", "EMER", "HH", "VR", "IMP", "SS"}
		}
		c.oneOf(e.Class, ruleCode, "encounter.class", allowed...)
	}
	if d.Type == "professional" && (e.Class == "EMER") != (d.SubType == "emr") {
		c.add("BV-00755", "encounter.class", "EMER and the subtype emr go together")
	}
	if e.Status != "" {
		c.oneOf(e.Status, ruleCode, "encounter.status",
			"planned", "arrived", "triaged", "in-progress", "onleave", "finished", "cancelled")
	}
	start, okStart := c.moment(e.Start, "BV-00811", "encounter.start", false)
	if e.End != "" {
		if end, ok := c.moment(e.End, "BV-00811", "encounter.end", false); ok && okStart && end.Before(start) {
			c.add(ruleDocument, "encounter.end", "lies before the start")
		}
	}
	if kind.event && c.need(e.ServiceEvent, "BV-00736", "encounter.service_event") {
		c.oneOf(e.ServiceEvent, "BV-00736", "encounter.service_event", "ICSE", "SCSE")
	}
	c.emergency(d, e)
	c.admission(d, e)
}

func (c *check) emergency(d *ClaimDocument, e *Encounter) {
	if e.Class != "EMER" {
		if e.Emergency != nil {
			c.add(ruleDocument, "encounter.emergency", "belongs to the class EMER only")
		}
		return
	}
	if e.Emergency == nil {
		if d.preauthorization() {
			return // the guide asks it of claims
		}
		c.add("BV-00728", "encounter.emergency", "is missing: the class EMER needs it")
		return
	}
	c.need(e.Emergency.ArrivalCode, "BV-00728", "encounter.emergency.arrival_code")
	c.need(e.Emergency.TriageCategory, "BV-00732", "encounter.emergency.triage_category")
	c.moment(e.Emergency.TriageTime, "BV-00733", "encounter.emergency.triage_time", false)
	c.moment(e.Emergency.ServiceStart, "BV-00734", "encounter.emergency.service_start", false)
	if e.End != "" {
		c.need(e.Emergency.Disposition, "BV-00735", "encounter.emergency.disposition")
	}
}

func (c *check) admission(d *ClaimDocument, e *Encounter) {
	if e.Class != "IMP" && e.Class != "SS" {
		if e.Admission != nil {
			c.add(ruleDocument, "encounter.admission", "belongs to the classes IMP and SS only")
		}
		return
	}
	if e.Admission == nil {
		if d.preauthorization() {
			return // as in emergency
		}
		c.add("BV-00727", "encounter.admission", "is missing: the class %s needs it", e.Class)
		return
	}
	c.need(e.Admission.Source, "BV-00727", "encounter.admission.source")
	c.need(e.Admission.Specialty, "BV-00737", "encounter.admission.specialty")
	c.need(e.Admission.IntendedStay, "BV-00744", "encounter.admission.intended_stay")
	if e.End != "" {
		c.need(e.Admission.DischargeSpecialty, "BV-00758", "encounter.admission.discharge_specialty")
		c.need(e.Admission.DischargeDisposition, "BV-00759", "encounter.admission.discharge_disposition")
	}
}

func (c *check) diagnoses(d *ClaimDocument) {
	if len(d.Diagnoses) == 0 {
		c.add(ruleCardinality, "diagnoses", "is missing")
		return
	}
	principal := 0
	seen := map[string]bool{}
	for i, x := range d.Diagnoses {
		at := fmt.Sprintf("diagnoses[%d]", i)
		if c.need(x.Code, ruleCardinality, at+".code") {
			c.length(x.Code, at+".code", 30, 0)
			if seen[strings.ToUpper(x.Code)] {
				c.add("BV-00057", at+".code", "is given twice")
			}
			seen[strings.ToUpper(x.Code)] = true
		}
		c.length(x.Display, at+".display", 100, 0)
		institutional := d.Type == "institutional"
		switch x.Type {
		case "principal":
			principal++
		case "secondary", "differential":
		case "admitting", "discharge":
			if !institutional {
				c.add(map[string]string{"admitting": "BV-00477", "discharge": "BV-00478"}[x.Type], at+".type",
					"%s diagnoses belong to institutional claims", x.Type)
			}
		case "":
			c.need("", ruleCardinality, at+".type")
		default:
			c.oneOf(x.Type, ruleCode, at+".type", "principal", "secondary", "differential", "admitting", "discharge")
		}
		if (x.OnAdmission != "" || x.ConditionOnset != "") && !institutional {
			c.add(ruleDocument, at, "on_admission and condition_onset belong to institutional claims")
		}
	}
	if principal != 1 {
		c.add("BV-00054", "diagnoses", "needs exactly one principal diagnosis, has %d", principal)
	}
}

func (c *check) supporting(d *ClaimDocument, kind claimKind) {
	count := map[string]int{}
	for i, x := range d.Supporting {
		at := fmt.Sprintf("supporting_information[%d]", i)
		count[x.Category]++
		if c.need(x.Category, ruleCardinality, at+".category") {
			c.info(x, at)
		}
		if x.Category == "investigation-result" && x.Code == "IRA" &&
			!slices.ContainsFunc(d.Supporting, func(o Info) bool { return o.Category == "attachment" }) {
			c.add("BV-00846", at, "IRA needs an attachment")
		}
	}
	missing := func(category, rule string) {
		if count[category] == 0 {
			c.add(rule, "supporting_information", "an entry of the category %s is missing", category)
		}
	}
	for _, r := range requiredInfo {
		missing(r[0], r[1])
	}
	if kind.complaint != "" {
		missing("chief-complaint", kind.complaint)
	}
	if kind.vitals {
		for _, v := range vitalSigns {
			missing(v.category, v.rule(d.Type))
		}
	}
	if d.Type == "institutional" && d.preauthorization() {
		missing("estimated-Length-of-Stay", "BV-00802")
	}
	if d.Newborn {
		missing("birth-weight", "BV-00506")
		if !slices.ContainsFunc(d.Diagnoses, func(x Diagnosis) bool { return strings.HasPrefix(strings.ToUpper(x.Code), "Z38") }) {
			c.add("BV-00557", "diagnoses", "a newborn needs a Z38 diagnosis")
		}
	}
}

// info checks one supporting information entry against its category.
func (c *check) info(x Info, at string) {
	kind, known := infoKinds[x.Category]
	if !known {
		if x.Text == "" && x.Code == "" && x.Value == nil && x.Attachment == nil && x.Start == "" {
			c.add(ruleDocument, at, "says nothing")
		}
	}
	switch {
	case x.Absence != nil:
		c.need(x.Absence.System, ruleDocument, at+".absence_reason.system")
		c.need(x.Absence.Code, ruleDocument, at+".absence_reason.code")
		if x.Value != nil {
			c.add(ruleDocument, at+".value", "is given together with a reason for its absence")
		}
	case known && kind.shape == infoText:
		c.need(x.Text, ruleCardinality, at+".text")
	case known && kind.shape == infoCode:
		if x.Code == "" && x.Text == "" && x.Start == "" {
			c.add(ruleCardinality, at+".code", "is missing")
		}
		if x.Category == "investigation-result" && x.Code == "other" {
			c.need(x.Text, "BV-00752", at+".text")
		}
		if x.Code != "" && kind.system == "" && x.System == "" {
			c.need("", ruleDocument, at+".system")
		}
	case known && kind.shape == infoQuantity:
		if x.Value == nil {
			c.add(ruleCardinality, at+".value", "is missing")
		} else if kind.unit == "" {
			c.need(x.Unit, ruleCardinality, at+".unit")
		}
		if x.Unit != "" && kind.unit != "" && x.Unit != kind.unit {
			c.add(ruleDocument, at+".unit", "must be %s", kind.unit)
		}
	case known && kind.shape == infoFile:
		c.attachment(x.Attachment, at+".attachment")
	}
	if !known && x.Value != nil {
		c.need(x.Unit, ruleCardinality, at+".unit")
	}
	if !known && x.Code != "" {
		c.need(x.System, ruleDocument, at+".system")
	}
	if x.Category == "days-supply" && x.Value != nil && x.Value.d.Sign() <= 0 {
		c.add("BV-00376", at+".value", "must be above zero")
	}
	half := 125
	if x.Code != "" || known && kind.shape == infoCode {
		half = 0 // the words of a code, not a valueString
	}
	c.length(x.Text, at+".text", 250, half)
	c.length(x.Code, at+".code", 30, 0)
	c.length(x.Display, at+".display", 100, 0)
	if x.Start != "" || x.End != "" {
		c.period(&Period{Start: x.Start, End: x.End}, ruleDocument, at, false)
	}
}

func (c *check) attachment(a *Attachment, at string) {
	if a == nil {
		c.add(ruleCardinality, at, "is missing")
		return
	}
	if c.need(a.ContentType, ruleCardinality, at+".content_type") {
		c.oneOf(a.ContentType, ruleCode, at+".content_type", "application/pdf", "image/jpeg")
	}
	c.text(a.Title, ruleCardinality, at+".title", 250, 125)
	c.moment(a.Created, ruleCardinality, at+".created", true)
	if c.need(a.Data, ruleCardinality, at+".data") {
		if _, err := base64.StdEncoding.DecodeString(a.Data); err != nil {
			c.add(ruleDocument, at+".data", "is not base64")
		}
	}
}

// references checks what a claim quotes of other messages.
func (c *check) references(d *ClaimDocument) {
	if d.preauthorization() {
		c.notBefore(d.Episode, "episode")
		c.notBefore(d.Invoice, "invoice")
		c.notBefore(d.AccountingPeriod, "accounting_period")
	} else {
		c.identifier(d.Episode, "IC-01453", "episode")
		if d.Transfer {
			c.add("BV-00508", "transfer", "is part of a preauthorization only")
		}
	}
	if d.AccountingPeriod != "" {
		if t, ok := c.date(d.AccountingPeriod, "IC-01620", "accounting_period"); ok && t.Day() != 1 {
			c.add("BV-01010", "accounting_period", "must be the first of a month")
		}
	}
	switch e := d.Eligibility; {
	case e != nil && e.Request != "": // reported by quote
	case e == nil || (e.Response == "" && e.OfflineReference == ""):
		c.add("BV-00379", "eligibility", "is missing: quote the eligibility response, or an offline reference and date")
	case e.Response != "" && (e.OfflineReference != "" || e.OfflineDate != ""):
		c.add("BV-00381", "eligibility", "a response and an offline check exclude each other")
	case e.Response != "":
		c.identifier(e.Response, "BV-00379", "eligibility.response")
		if e.ResponseSystem != "" {
			c.address(e.ResponseSystem, "eligibility.response_system")
		}
	default:
		c.length(e.OfflineReference, "eligibility.offline_reference", 250, 125)
		c.moment(e.OfflineDate, "BV-00349", "eligibility.offline_date", true)
	}
	if a := d.Authorization; a != nil {
		if len(a.References) == 0 {
			c.add("BV-00449", "authorization.references", "is missing")
		}
		for i, r := range a.References {
			c.text(r, "BV-00449", fmt.Sprintf("authorization.references[%d]", i), 40, 0)
		}
		switch {
		case a.Response == "" && a.OfflineDate == "":
			c.add("BV-00420", "authorization", "quote the authorization response, or the date of an offline authorization")
		case a.Response != "" && a.OfflineDate != "":
			c.add("BV-00462", "authorization", "a response and an offline date exclude each other")
		case a.OfflineDate != "":
			c.moment(a.OfflineDate, "BV-00420", "authorization.offline_date", true)
		default:
			c.identifier(a.Response, "BV-00420", "authorization.response")
			if a.ResponseSystem != "" {
				c.address(a.ResponseSystem, "authorization.response_system")
			}
		}
	}
	for i, r := range d.Related {
		at := fmt.Sprintf("related[%d]", i)
		c.identifier(r.ClaimNumber, "BV-00725", at+".claim_number")
		c.oneOf(r.Relationship, "BV-00725", at+".relationship", "prior", "associated", "extend", "appealing")
	}
	if d.Accident != nil {
		c.oneOf(d.Accident.Type, ruleCode, "accident.type", "MVA", "WPA")
		c.date(d.Accident.Date, ruleCardinality, "accident.date")
	}
	c.length(d.Prescription, "prescription", 100, 0)
}
