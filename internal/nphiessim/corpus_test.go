package nphiessim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The addresses of the examples' resources.
const (
	aPatient  = `{"reference":"http://alwaha-demo.example/Patient/b9156bfe-bb69-571e-aeee-4f2a309421d6"}`
	aProvider = `{"reference":"http://alwaha-demo.example/Organization/00017389-6578-51df-9972-bc16c7349848"}`
	anInsurer = `{"reference":"http://alwaha-demo.example/Organization/a2424de8-38ad-577e-ba92-c821a55a7e8f"}`
	aService  = `"productOrService":{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/services","code":"1"}]},"quantity":{"value":1}`
	yes       = `{"valueBoolean":true}`
)

func profiled(name string) string { return `"` + profileURL(name) + `"` }

// kind makes another type of claim of the professional one.
func kind(claimType, subType string) []edit {
	return []edit{
		{"Claim.type.coding[0].code", `"` + claimType + `"`},
		{"Claim.subType.coding[0].code", `"` + subType + `"`},
		{"Claim.meta.profile[0]", profiled(claimType + "-claim")},
	}
}

var (
	admissionEdits = slices.Concat(kind("institutional", "ip"), []edit{
		{"Encounter.class.code", `"IMP"`},
		{"Encounter.ext(admissionSpecialty)", `{"valueCodeableConcept":{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/practice-codes","code":"08.00"}]}}`},
		{"Encounter.ext(dischargeSpecialty)", `{"valueCodeableConcept":{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/practice-codes","code":"08.00"}]}}`},
		{"Encounter.hospitalization", `{"extension":[{"url":"` + extensionURL("intendedLengthOfStay") + `","valueCodeableConcept":{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/intended-length-of-stay","code":"IO"}]}}],"admitSource":{"coding":[{"system":"x","code":"x"}]},"dischargeDisposition":{"coding":[{"system":"x","code":"x"}]}}`},
		{"Claim.diagnosis[1]", `{"sequence":2,"diagnosisCodeableConcept":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-am","code":"R52"}]},"type":[{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/diagnosis-type","code":"admitting"}]}],"onAdmission":{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/diagnosis-on-admission","code":"y"}]}}`},
	})
	emergencyEdits = []edit{
		{"Claim.subType.coding[0].code", `"emr"`},
		{"Encounter.class.code", `"EMER"`},
		{"Encounter.ext(emergency-arrival-code)", `{"valueCodeableConcept":` + coding + `}`},
		{"Encounter.ext(triageCategory)", `{"valueCodeableConcept":` + coding + `}`},
		{"Encounter.ext(triageDate)", `{"valueDateTime":"2026-02-10T09:21:00+03:00"}`},
		{"Encounter.ext(emergencyServiceStart)", `{"valueDateTime":"2026-02-10T09:22:00+03:00"}`},
		{"Encounter.ext(emergencyDepartmentDisposition)", `{"valueCodeableConcept":` + coding + `}`},
	}
	visionEdits = slices.Concat(kind("vision", "op"), []edit{
		{"Claim.ext(encounter)", ``},
		{"Bundle.entry[2]", ``},
		{"Claim.item[0].ext(maternity)", ``},
		{"Claim.item[1].ext(maternity)", ``},
	})
)

// authorized makes a prior authorization of a claim: what its profile does not have is left out.
func authorized(claimType string, edits []edit) []edit {
	out := slices.Concat(edits, []edit{
		{"MessageHeader.eventCoding.code", `"priorauth-request"`},
		{"Claim.use", `"preauthorization"`},
		{"Claim.meta.profile[0]", profiled(claimType + "-priorauth")},
		{"Claim.ext(episode)", ``},
		{"Claim.ext(accountingPeriod)", ``},
	})
	for i := range 2 {
		out = append(out, edit{fmt.Sprintf("Claim.item[%d].ext(patientInvoice)", i), ``})
	}
	return out
}

// instead replaces the Task of an example by another resource.
func instead(event, resourceType, resource string) []edit {
	return []edit{
		{"MessageHeader.eventCoding.code", `"` + event + `"`},
		{"Bundle.entry[1]", `{"fullUrl":"http://alwaha-demo.example/` + resourceType + `/r-1","resource":{"resourceType":"` + resourceType + `","id":"r-1","meta":{"profile":[` + profiled(event) + `]},` + resource + `}}`},
		{"MessageHeader.focus[0].reference", `"http://alwaha-demo.example/` + resourceType + `/r-1"`},
	}
}

func detailed(value string) string {
	line := `{"sequence":%d,` + aService + `,"unitPrice":{"value":%[2]s,"currency":"SAR"},"net":{"value":%[2]s,"currency":"SAR"}%[3]s}`
	sub := fmt.Sprintf(`,"subDetail":[`+line+`]`, 1, value, "")
	return "[" + fmt.Sprintf(line, 1, value, sub) + "," + fmt.Sprintf(line, 2, "99.9", "") + "]"
}

// goodMessages are messages that no rule may refuse: the five types of claim and authorization, every other event, and
// unusual messages that are right. Each is an example and what is changed in it.
var goodMessages = map[string]struct {
	example string
	edits   []edit
}{
	"claim-request-professional": {"claim-request-professional", nil}, "claim-request-pharmacy": {"claim-request-pharmacy", nil},
	"eligibility-request": {"eligibility-request", nil}, "poll-request": {"poll-request", nil}, "cancel-request": {"cancel-request", nil},
	"status-check": {"status-check-request", nil},

	"institutional": {"claim-request-professional", admissionEdits},
	"emergency":     {"claim-request-professional", emergencyEdits},
	"oral": {"claim-request-professional", slices.Concat(kind("oral", "op"), []edit{
		{"Claim.item[0].ext(maternity)", ``}, {"Claim.item[1].ext(maternity)", ``},
	})},
	"vision": {"claim-request-professional", visionEdits},

	"institutional authorization": {"claim-request-professional", append(authorized("institutional", admissionEdits),
		edit{"Claim.supportingInfo[14]", infoHead + `estimated-Length-of-Stay"}]},"valueQuantity":{"value":2,"system":"http://unitsofmeasure.org","code":"d"}}`},
		edit{"Claim.ext(transfer)", yes}, edit{"Encounter.meta.profile[0]", profiled("encounter-auth-IMP")})},
	"professional authorization": {"claim-request-professional", append(authorized("professional", nil),
		edit{"Claim.item[0].servicedDate", `"2026-02-10"`}, edit{"Claim.item[0].ext(patient-share)", ``})},
	"oral authorization":     {"claim-request-professional", authorized("oral", kind("oral", "op"))},
	"pharmacy authorization": {"claim-request-pharmacy", authorized("pharmacy", nil)},
	"vision authorization":   {"claim-request-professional", authorized("vision", visionEdits)},
	"authorization for later": {"claim-request-professional", append(authorized("professional", nil),
		edit{"Encounter.period", `{"start":"2026-03-01T09:00:00+03:00"}`},
		edit{"Claim.item[0].servicedDate", `"2026-03-02"`}, edit{"Claim.item[1].servicedDate", `"2026-03-02"`})},

	"communication":  {"cancel-request", instead(eventCommunication, "Communication", `"status":"completed","subject":{"display":"x"},"about":[{"type":"Claim","identifier":{"system":"http://alwaha-demo.example/claim","value":"CLM-1"}}],"basedOn":[{"identifier":{"system":"a","value":"b"}}],"payload":[{"contentString":"as asked"}]`)},
	"payment-notice": {"poll-request", instead(eventPaymentNotice, "PaymentNotice", `"status":"active","created":"2026-02-12","payment":{"identifier":{"system":"a","value":"b"}},"recipient":{"type":"Organization","identifier":{"system":"http://nphies.sa/license/nphies","value":"NPHIES"}},"amount":{"value":10.5,"currency":"SAR"},"paymentStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/paymentstatus","code":"paid"}]}`)},

	"relative references": {"claim-request-professional", []edit{
		{"Claim.patient.reference", `"Patient/b9156bfe-bb69-571e-aeee-4f2a309421d6"`}, {"Encounter.subject.reference", `"Patient/b9156bfe-bb69-571e-aeee-4f2a309421d6"`},
	}},
	"half up": {"claim-request-professional", []edit{
		{"Claim.item[1].quantity.value", `1`},
		{"Claim.item[1].unitPrice.value", `1.17`},
		{"Claim.item[1].factor", `0.5`},
		{"Claim.item[1].ext(tax)", ``},
		{"Claim.item[1].net.value", `0.59`},
		{"Claim.total.value", `230.59`},
	}},
	"details": {"claim-request-professional", []edit{
		{"Claim.item[0].detail", detailed("100.1")}, {"Claim.item[0].ext(tax)", ``}, {"Claim.item[0].net.value", `200.0`}, {"Claim.total.value", `303.50`},
	}},
	"package": {"claim-request-professional", []edit{
		{"Claim.item[0].detail", detailed("100.1")}, {"Claim.item[0].ext(package)", yes}, {"Claim.item[0].net.value", `150`}, {"Claim.total.value", `253.5`},
	}},
	"local coding": {"claim-request-professional", []edit{{"Claim.item[0].productOrService.coding[1]", `{"system":"http://alwaha-demo.example/codes","code":"7"}`}}},
	"no measurement": {"claim-request-professional", []edit{
		{"Claim.supportingInfo[1].valueQuantity", ``},
		{"Claim.supportingInfo[1].reason", `{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/systolic-absence-reason","code":"x"}]}`},
	}},
	"offline eligibility": {"claim-request-professional", []edit{
		{"Claim.ext(eligibility-response)", ``},
		{"Claim.ext(eligibility-offline-reference)", `{"valueString":"by phone"}`},
		{"Claim.ext(eligibility-offline-date)", `{"valueDateTime":"2026-02-10"}`},
	}},
	"period": {"claim-request-professional", []edit{
		{"Claim.item[0].servicedDate", ``}, {"Claim.item[0].servicedPeriod", `{"start":"2026-02-10T09:30:00+03:00","end":"2026-02-10T10:00:00+03:00"}`},
	}},
	"unknown extension": {"claim-request-professional", []edit{{"Claim.ext(something-new)", yes}}},
	"authorization quoted offline": {"claim-request-pharmacy", []edit{
		{"Claim.ext(priorauth-response)", ``}, {"Claim.ext(authorization-offline-date)", `{"valueDateTime":"2026-02-09"}`},
	}},
	"other spelling of the authorization": {"claim-request-pharmacy", []edit{
		{"Claim.ext(priorauth-response)", ``}, {"Claim.ext(priorauthresponse)", `{"valueReference":{"identifier":{"system":"a","value":"b"}}}`},
	}},
	"related claim": {"claim-request-professional", []edit{{"Claim.related", `[{"claim":{"identifier":{"system":"known","value":"b"}},"relationship":{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/related-claim-relationship","code":"prior"}]}}]`}}},
	"infant": {"claim-request-professional", slices.Concat(admissionEdits, []edit{
		{"Patient.birthDate", `"2026-02-09"`},
		{"Claim.ext(newborn)", yes},
		{"Claim.diagnosis[0].diagnosisCodeableConcept.coding[0].code", `"Z38.0"`},
		{"Claim.supportingInfo[14]", infoHead + `birth-weight"}]},"valueQuantity":{"value":3.4,"system":"http://unitsofmeasure.org","code":"kg"}}`},
		{"Claim.supportingInfo[15]", strings.Replace(infoHead, "99", "98", 1) + `admission-weight"}]},"valueQuantity":{"value":3.4,"system":"http://unitsofmeasure.org","code":"kg"}}`},
	})},
	"evidence": {"claim-request-professional", []edit{
		{"Claim.supportingInfo[13].code.coding[0].code", `"IRA"`},
		{"Claim.supportingInfo[14]", infoHead + `attachment"}]},"valueAttachment":{"contentType":"application/pdf","title":"x","creation":"2026-02-10","data":"eA=="}}`},
		{"Claim.supportingInfo[15]", strings.Replace(infoHead, "99", "98", 1) + `lab-test"}]},"code":{"coding":[{"system":"http://loinc.org","code":"4548-4"}]},"valueQuantity":{"value":6.1,"system":"http://unitsofmeasure.org","code":"%"}}`},
	}},
	"other investigation": {"claim-request-professional", []edit{
		{"Claim.supportingInfo[13].code", `{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/investigation-result","code":"other"}],"text":"seen elsewhere"}`},
	}},
	"accident": {"claim-request-professional", []edit{{"Claim.accident", `{"date":"2026-02-01","type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"MVA"}]}}`}}},
	"payee":    {"claim-request-professional", []edit{{"Claim.payee.type.coding[0].code", `"other"`}, {"Claim.payee.party", aProvider}}},
	"national id": {"claim-request-professional", []edit{
		{"Patient.identifier[0].system", `"http://nphies.sa/identifier/nationalid"`}, {"Patient.identifier[0].type.coding[0].code", `"NI"`}, {"Patient.identifier[0].value", `"1000000000"`},
	}},
	"passport": {"claim-request-professional", []edit{
		{"Patient.identifier[0]", `{"extension":[{"url":"` + extensionURL("identifier-country") + `","valueCodeableConcept":{"coding":[{"system":"urn:iso:std:iso:3166","code":"EGY"}]}}],"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"PPN"}]},"system":"http://nphies.sa/identifier/passportnumber","value":"A1"}`},
	}},
	"Arabic name": {"claim-request-professional", []edit{
		{"Patient.name[0].family", `"` + strings.Repeat("س", 50) + `"`}, {"Patient.name[0].given[0]", `"` + strings.Repeat("x", 100) + `"`},
	}},
	"single claim with batch extensions": {"claim-request-professional", batched(1)},
	"eligibility by discovery": {"eligibility-request", []edit{
		{"CoverageEligibilityRequest.insurance", ``},
		{"CoverageEligibilityRequest.purpose", `["discovery"]`},
		{"CoverageEligibilityRequest.ext(newborn)", yes},
		{"CoverageEligibilityRequest.servicedPeriod", ``},
		{"CoverageEligibilityRequest.servicedDate", `"2026-02-10"`},
		{"Bundle.entry[7]", `{"fullUrl":"urn:uuid:l","resource":{"resourceType":"Location","id":"l","meta":{"profile":[` + profiled("location") + `]}}}`},
		{"CoverageEligibilityRequest.facility", `{"reference":"urn:uuid:l"}`},
	}},
	"poll that excludes": {"poll-request", []edit{
		{"Task.input[0].type.coding[0].code", `"exclude-message-type"`},
		{"Task.input[1].type.coding[0].code", `"period"`},
		{"Task.input[1].valueCode", ``},
		{"Task.input[1].valuePeriod", `{"start":"2026-02-10","end":"2026-02-10"}`},
	}},
}

func batched(number int) []edit {
	return []edit{
		{"Claim.ext(batch-identifier)", `{"valueIdentifier":{"system":"http://alwaha-demo.example/batch","value":"B-1"}}`},
		{"Claim.ext(batch-number)", fmt.Sprintf(`{"valuePositiveInt":%d}`, number)},
		{"Claim.ext(batch-period)", `{"valuePeriod":{"start":"2026-02-01","end":"2026-02-28"}}`},
	}
}

// batchOf wraps claim messages in a batch-request.
func batchOf(t *testing.T, claims ...map[string]any) map[string]any {
	t.Helper()
	batch := example(t, "cancel-request")
	apply(t, batch, edit{"MessageHeader.eventCoding.code", `"batch-request"`})
	entries := batch["entry"].([]any)[:1]
	var foci []any
	for _, c := range claims {
		url := "urn:uuid:" + c["id"].(string)
		entries = append(entries, entryJSON(url, c))
		foci = append(foci, map[string]any{"reference": url})
	}
	batch["entry"] = entries
	header := entries[0].(map[string]any)["resource"].(map[string]any)
	header["focus"] = foci
	v, err := parseJSON(raw(t, batch))
	require.NoError(t, err)
	return v.(map[string]any)
}

// batchMessage is a batch of as many good claims as there are identifiers.
func batchMessage(t *testing.T, identifiers ...string) map[string]any {
	t.Helper()
	var claims []map[string]any
	for i, id := range identifiers {
		v, err := parseJSON(claimMessage(t, id))
		require.NoError(t, err)
		m := v.(map[string]any)
		for _, e := range batched(i + 1) {
			apply(t, m, e)
		}
		claims = append(claims, m)
	}
	v, err := parseJSON(fresh(t, "cancel-request", "unused"))
	require.NoError(t, err)
	out := batchOf(t, claims...)
	ids := rooted(v, "")
	out["id"] = ids.get("id").str()
	header := rooted(out, "").get("entry").at(0)
	header.get("resource").v.(map[string]any)["id"] = ids.get("entry").at(0).get("resource.id").str()
	header.v.(map[string]any)["fullUrl"] = ids.get("entry").at(0).get("fullUrl").str()
	return out
}

// good makes one of the good messages.
func good(t *testing.T, name string) map[string]any {
	t.Helper()
	if name == "batch-request" {
		return batchMessage(t, "CLM-1", "CLM-2")
	}
	g, ok := goodMessages[name]
	require.True(t, ok, name)
	m := example(t, g.example)
	for _, e := range g.edits {
		apply(t, m, e)
	}
	return m
}

// timeFor is a moment at which a good message may arrive: two of the examples were written later than the claims.
func timeFor(name string) time.Time {
	if strings.HasPrefix(name, "eligibility") {
		return testNow
	}
	return testNow.AddDate(0, 0, 2)
}

// judged tells the findings in a message and, by key, the rules that looked at it; a rule is true if it held everywhere.
func judged(t *testing.T, m map[string]any, now time.Time) ([]Finding, map[string]bool) {
	t.Helper()
	body := raw(t, m)
	v, err := parseJSON(body)
	require.NoError(t, err)
	msg := newMessage(body, v, now)
	looked := map[string]bool{}
	watch := func(r *rule, held bool) {
		before, seen := looked[keyOf(*r)]
		looked[keyOf(*r)] = held && (before || !seen)
	}
	var out []Finding
	for _, one := range append([]*message{msg}, msg.nested...) {
		one.watch = watch
		one.knows = func(id Identifier) bool { return id.System == "known" }
		out = append(out, judge(one)...)
	}
	return out, looked
}

func keyOf(r rule) string { return r.id + " " + r.at.path + " " + r.text }

// allRules are the keys of the rules of every event.
func allRules() map[string]bool {
	out := map[string]bool{}
	for _, event := range playedEvents() {
		for _, table := range rulesFor(event) {
			for _, r := range table {
				out[keyOf(r)] = true
			}
		}
	}
	return out
}

// TestGoodMessages finds no fault in the good messages. Every rule must look at some place of one of them and hold there.
func TestGoodMessages(t *testing.T) {
	t.Parallel()
	idle := allRules()
	names := []string{"batch-request"}
	for name := range goodMessages {
		names = append(names, name)
	}
	for _, name := range names {
		findings, looked := judged(t, good(t, name), timeFor(name))
		require.Empty(t, findings, name)
		for key, held := range looked {
			if held {
				delete(idle, key)
			}
		}
	}
	require.Empty(t, idle, "rules that no good message meets")
}
