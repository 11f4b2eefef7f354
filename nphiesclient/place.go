package nphiesclient

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// places pairs the fields of our documents with the elements the builders make of them, so that a finding about either names
// both. # stands for a place in a list, counted from 0 on both sides. The element is named by the part the resource plays in
// the message, see layout.
var places = append([][2]string{
	{"use", "Claim.use"},
	{"type", "Claim.type"},
	{"subtype", "Claim.subType"},
	{"claim_number", "Claim.identifier"},
	{"claim_system", "Claim.identifier[0].system"},
	{"created", "Claim.created"},
	{"priority", "Claim.priority"},
	{"payee", "Claim.payee"},
	{"care_team", "Claim.careTeam"},
	{"diagnoses", "Claim.diagnosis"},
	{"supporting_information", "Claim.supportingInfo"},
	{"items", "Claim.item"},
	{"total", "Claim.total"},
	{"coverage", "Claim.insurance"},
	{"related", "Claim.related"},
	{"accident", "Claim.accident"},
	{"prescription", "Claim.prescription"},
	{"eligibility", "Claim.ext:eligibility-response"},
	{"eligibility.offline_reference", "Claim.ext:eligibility-offline-reference"},
	{"eligibility.offline_date", "Claim.ext:eligibility-offline-date"},
	{"authorization", "Claim.ext:priorauth-response"},
	{"authorization.offline_date", "Claim.ext:authorization-offline-date"},
	{"authorization.references", "Claim.insurance[#].preAuthRef"},
	{"episode", "Claim.ext:episode"},
	{"accounting_period", "Claim.ext:accountingPeriod"},
	{"newborn", "Claim.ext:newborn"},
	{"transfer", "Claim.ext:transfer"},
	{"encounter", "Claim.ext:encounter"},
	{"care_team[#]", "Claim.careTeam[#]"},
	{"diagnoses[#]", "Claim.diagnosis[#]"},
	{"diagnoses[#].code", "Claim.diagnosis[#].diagnosisCodeableConcept"},
	{"diagnoses[#].type", "Claim.diagnosis[#].type"},
	{"diagnoses[#].on_admission", "Claim.diagnosis[#].onAdmission"},
	{"diagnoses[#].condition_onset", "Claim.diagnosis[#].ext:condition-onset"},
	{"supporting_information[#]", "Claim.supportingInfo[#]"},
	{"supporting_information[#].category", "Claim.supportingInfo[#].category"},
	{"supporting_information[#].code", "Claim.supportingInfo[#].code"},
	{"supporting_information[#].text", "Claim.supportingInfo[#].valueString"},
	{"supporting_information[#].value", "Claim.supportingInfo[#].valueQuantity"},
	{"supporting_information[#].absence_reason", "Claim.supportingInfo[#].reason"},
	{"supporting_information[#].attachment", "Claim.supportingInfo[#].valueAttachment"},
	{"related[#]", "Claim.related[#]"},
	{"items[#]", "Claim.item[#]"},
	{"items[#].code", "Claim.item[#].productOrService"},
	{"items[#].date", "Claim.item[#].servicedDate"},
	{"items[#].period", "Claim.item[#].servicedPeriod"},
	{"items[#].quantity", "Claim.item[#].quantity"},
	{"items[#].unit_price", "Claim.item[#].unitPrice"},
	{"items[#].factor", "Claim.item[#].factor"},
	{"items[#].net", "Claim.item[#].net"},
	{"items[#].tax", "Claim.item[#].ext:tax"},
	{"items[#].patient_share", "Claim.item[#].ext:patient-share"},
	{"items[#].payer_share", "Claim.item[#].ext:payer-share"},
	{"items[#].package", "Claim.item[#].ext:package"},
	{"items[#].maternity", "Claim.item[#].ext:maternity"},
	{"items[#].invoice", "Claim.item[#].ext:patientInvoice"},
	{"items[#].care_team", "Claim.item[#].careTeamSequence"},
	{"items[#].diagnoses", "Claim.item[#].diagnosisSequence"},
	{"items[#].information", "Claim.item[#].informationSequence"},
	{"items[#].medication.selection_reason", "Claim.item[#].ext:pharmacist-Selection-Reason"},
	{"items[#].medication.prescribed", "Claim.item[#].ext:prescribed-Medication"},
	{"items[#].body_site", "Claim.item[#].bodySite"},
	{"items[#].details", "Claim.item[#].detail"},
	{"items[#].details[#]", "Claim.item[#].detail[#]"},
	{"items[#].details[#].code", "Claim.item[#].detail[#].productOrService"},
	{"items[#].details[#].quantity", "Claim.item[#].detail[#].quantity"},
	{"items[#].details[#].unit_price", "Claim.item[#].detail[#].unitPrice"},
	{"items[#].details[#].net", "Claim.item[#].detail[#].net"},
	{"items[#].details[#].tax", "Claim.item[#].detail[#].ext:tax"},
	{"items[#].details[#].sub_details[#]", "Claim.item[#].detail[#].subDetail[#]"},
	{"items[#].details[#].sub_details[#].net", "Claim.item[#].detail[#].subDetail[#].net"},
	{"items[#].details[#].sub_details[#].unit_price", "Claim.item[#].detail[#].subDetail[#].unitPrice"},

	{"request_number", "Request.identifier"},
	{"request_system", "Request.identifier[0].system"},
	{"created", "Request.created"},
	{"priority", "Request.priority"},
	{"purpose", "Request.purpose"},
	{"service_date", "Request.servicedDate"},
	{"service_date", "Request.serviced"},
	{"service_period", "Request.servicedPeriod"},
	{"newborn", "Request.ext:newborn"},
	{"transfer", "Request.ext:transfer"},

	{"encounter", "Encounter"},
	{"encounter.number", "Encounter.identifier"},
	{"encounter.class", "Encounter.class"},
	{"encounter.status", "Encounter.status"},
	{"encounter.start", "Encounter.period.start"},
	{"encounter.end", "Encounter.period.end"},
	{"encounter.service_type", "Encounter.serviceType"},
	{"encounter.service_event", "Encounter.ext:serviceEventType"},
	{"encounter.admission", "Encounter.hospitalization"},
	{"encounter.admission.source", "Encounter.hospitalization.admitSource"},
	{"encounter.admission.discharge_disposition", "Encounter.hospitalization.dischargeDisposition"},

	{"coverage", "Coverage"},
	{"coverage.member_id", "Coverage.identifier"},
	{"coverage.type", "Coverage.type"},
	{"coverage.relationship", "Coverage.relationship"},
	{"coverage.period", "Coverage.period"},
	{"coverage.plan", "Coverage.class"},
	{"coverage.network", "Coverage.network"},
	{"coverage.dependent", "Coverage.dependent"},
	{"coverage.subscriber_id", "Coverage.subscriberId"},
	{"coverage.policy_holder", "Coverage.policyHolder"},
	{"coverage.policy_holder", "PolicyHolder.name"},
	{"coverage.policy_holder", "PolicyHolder"},

	{"care_team[#].license", "Practitioner.identifier"},
	{"care_team[#].name", "Practitioner.name"},
	{"care_team[#]", "Practitioner"},
	{"location", "Location"},
	{"location.license", "Location.identifier"},
	{"location.name", "Location.name"},
	{"provider", "Provider"},
	{"provider.license", "Provider.identifier"},
	{"provider.name", "Provider.name"},
	{"provider.type", "Provider.ext:provider-type"},
	{"provider.license", "Header.sender"},
	{"payer", "Insurer"},
	{"payer.license", "Insurer.identifier"},
	{"payer.name", "Insurer.name"},
	{"payer.license", "Header.destination"},
}, append(personPlaces("patient", "Patient"), personPlaces("coverage.subscriber", "Subscriber")...)...)

// personPlaces are the same for one of the two persons of a document.
func personPlaces(field, role string) [][2]string {
	var out [][2]string
	for _, p := range [][2]string{
		{"", ""},
		{".id_number", ".identifier"},
		{".id_country", ".identifier[#].ext:identifier-country"},
		{".name", ".name"},
		{".family", ".name[0].family"},
		{".gender", ".gender"},
		{".birth_date", ".birthDate"},
		{".marital_status", ".maritalStatus"},
		{".occupation", ".ext:occupation"},
	} {
		out = append(out, [2]string{field + p[0], role + p[1]})
	}
	return out
}

// layout lists the parts that the entries of a built message play, by their position.
type layout []string

func (d *ClaimDocument) layout() layout {
	l := layout{"Header", "Claim"}
	if d.Encounter != nil {
		l = append(l, "Encounter")
	}
	l = l.insured(d.Coverage)
	for range d.CareTeam {
		l = append(l, "Practitioner")
	}
	return l.located(d.Location, "Patient", "Provider", "Insurer")
}

func (d *EligibilityDocument) layout() layout {
	l := layout{"Header", "Request", "Patient", "Provider", "Insurer"}.insured(d.Coverage)
	return l.located(d.Location)
}

func (l layout) insured(v *Coverage) layout {
	if v == nil {
		return l
	}
	l = append(l, "Coverage", "PolicyHolder")
	if v.Subscriber != nil && v.Relationship != "self" {
		l = append(l, "Subscriber")
	}
	return l
}

func (l layout) located(place *Location, rest ...string) layout {
	if place != nil {
		l = append(l, "Location")
	}
	return append(l, rest...)
}

var (
	listIndex     = regexp.MustCompile(`\[(\d+)\]`)
	extensionCall = regexp.MustCompile(`extension\('[^']*extension-([^']*)'\)`)
	entryPath     = regexp.MustCompile(`^Bundle\.entry\[(\d+)\]\.resource`)
)

// generalize replaces the places in lists by # and returns them.
func generalize(path string) (string, []string) {
	var at []string
	for _, m := range listIndex.FindAllStringSubmatch(path, -1) {
		at = append(at, m[1])
	}
	return listIndex.ReplaceAllString(path, "[#]"), at
}

// specialize puts the places back, 0 where there are none left.
func specialize(path string, at []string) string {
	for strings.Contains(path, "[#]") {
		n := "0"
		if len(at) > 0 {
			n, at = at[0], at[1:]
		}
		path = strings.Replace(path, "[#]", "["+n+"]", 1)
	}
	return path
}

// other returns what is paired with the longest known beginning of path; side says on which side path stands.
func other(path string, side int) (string, bool) {
	for {
		for _, p := range places {
			if pair, _ := generalize(p[side]); pair == path {
				return p[1-side], true
			}
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return "", false
		}
		path = path[:i]
	}
}

// expression is the FHIRPath of a place of the document, "" if the message has no such place.
func (l layout) expression(place string) string {
	path, at := generalize(place)
	found, ok := other(path, 0)
	if !ok {
		return ""
	}
	role, rest, _ := strings.Cut(found, ".")
	entry, skip := 0, 0
	if role == "Practitioner" && len(at) > 0 {
		skip, _ = strconv.Atoi(at[0]) // digits, as generalize found them
	}
	for i, r := range l {
		if r == role {
			if entry = i; skip == 0 {
				break
			}
			skip--
		}
	}
	if l[entry] != role {
		return ""
	}
	if rest != "" {
		rest = "." + specialize(rest, at)
	}
	if before, name, ok := strings.Cut(rest, "ext:"); ok {
		rest = before + "extension('" + extension(name) + "')"
	}
	return fmt.Sprintf("Bundle.entry[%d].resource%s", entry, rest)
}

// place is where in the document an element of its message comes from, "" if nowhere.
func (l layout) place(expression string) string {
	m := entryPath.FindStringSubmatch(expression)
	if m == nil {
		return ""
	}
	entry, err := strconv.Atoi(m[1])
	if err != nil || entry >= len(l) {
		return ""
	}
	path, at := generalize(extensionCall.ReplaceAllString(expression[len(m[0]):], "ext:$1"))
	if l[entry] == "Practitioner" {
		nth := 0
		for _, r := range l[:entry] {
			if r == "Practitioner" {
				nth++
			}
		}
		at = []string{strconv.Itoa(nth)}
	}
	found, ok := other(l[entry]+path, 1)
	if !ok {
		return ""
	}
	return specialize(found, at)
}

// judge is the end of a builder: it has the finished message checked as NPHIES would, names the places of the document, and
// keeps what only warns beside what warned before.
func (l layout) judge(r *Request, o BuildOptions, payer Payer, before []Finding) error {
	r.Warnings = before
	for _, f := range CheckWith(r, CheckOptions{Rules: o.Rules, Now: o.Now}) {
		f.Path = l.place(f.Expression)
		known := slices.ContainsFunc(before, func(b Finding) bool { return b.Rule == f.Rule && b.Path == f.Path })
		// That an administrator receives is what the document says.
		if !known && (f.Rule != "GE-00032" || payer.TPALicense == "") {
			r.Warnings = append(r.Warnings, f)
		}
	}
	return invalid(r.Warnings)
}

// settle gives the findings of a document their FHIRPaths, severities and advice.
func (l layout) settle(f []Finding, o BuildOptions) []Finding {
	out := o.Rules.apply(f)
	for i := range out {
		out[i].Expression = l.expression(out[i].Path)
	}
	return out
}
