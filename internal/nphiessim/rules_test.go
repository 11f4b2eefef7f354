package nphiessim

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// edit sets (or, with value "", removes) what a path names in a message. A path begins with a resource type, "Bundle" or
// the profile of an Organization; ":<n>" picks another resource of the type than the first. "ext(name)" is an extension.
type edit struct {
	path  string
	value string // JSON
}

var stepPattern = regexp.MustCompile(`^(\w+)(?:\[(\d+)\])?$`)

func apply(t *testing.T, m map[string]any, e edit) {
	t.Helper()
	head, rest, _ := strings.Cut(e.path, ".")
	var at any = find(t, m, head)
	steps := strings.Split(rest, ".")
	for i, step := range steps {
		parent := at.(map[string]any)
		if name, isExt := strings.CutPrefix(step, "ext("); isExt {
			at = extensionIn(t, parent, strings.TrimSuffix(name, ")"), i == len(steps)-1, e.value)
			continue
		}
		part := stepPattern.FindStringSubmatch(step)
		require.NotNil(t, part, step)
		if i < len(steps)-1 {
			if parent[part[1]] == nil {
				parent[part[1]] = map[string]any{}
			}
			at = parent[part[1]]
			if part[2] != "" {
				n, _ := strconv.Atoi(part[2])
				at = at.([]any)[n]
			}
			continue
		}
		change(t, parent, part, e.value)
	}
}

func change(t *testing.T, parent map[string]any, part []string, value string) {
	t.Helper()
	if part[2] == "" {
		if value == "" {
			delete(parent, part[1])
			return
		}
		parent[part[1]] = parsed(t, value)
		return
	}
	list, _ := parent[part[1]].([]any)
	n, err := strconv.Atoi(part[2])
	require.NoError(t, err)
	switch {
	case value == "":
		parent[part[1]] = slices.Delete(list, n, n+1)
	case n >= len(list):
		parent[part[1]] = append(list, parsed(t, value))
	default:
		list[n] = parsed(t, value)
	}
}

// extensionIn finds an extension by name; as the last step it is replaced, added or removed.
func extensionIn(t *testing.T, parent map[string]any, name string, last bool, value string) any {
	t.Helper()
	list, _ := parent["extension"].([]any)
	i := slices.IndexFunc(list, func(e any) bool { return e.(map[string]any)["url"] == extensionURL(name) })
	switch {
	case !last:
		require.GreaterOrEqual(t, i, 0, name)
		return list[i]
	case value == "":
		require.GreaterOrEqual(t, i, 0, name)
		parent["extension"] = slices.Delete(list, i, i+1)
	default:
		if i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
		v := parsed(t, value).(map[string]any)
		v["url"] = extensionURL(name)
		parent["extension"] = append(list, v)
	}
	return nil
}

func parsed(t *testing.T, value string) any {
	t.Helper()
	v, err := parseJSON([]byte(value))
	require.NoError(t, err, value)
	return v
}

func find(t *testing.T, m map[string]any, head string) map[string]any {
	t.Helper()
	if head == "Bundle" {
		return m
	}
	for _, e := range m["entry"].([]any) {
		r := rooted(e, "").get("resource")
		if r.get("resourceType").str() == head || profileName(r) == head+"-organization" {
			return r.v.(map[string]any)
		}
	}
	require.Fail(t, "no such resource", head)
	return nil
}

const (
	coding   = `{"coding":[{"system":"x","code":"x"}]}`
	infoHead = `{"sequence":99,"category":{"coding":[{"system":"http://nphies.sa/terminology/CodeSystem/claim-information-category","code":"`
)

// broken is one mistake in an otherwise good message and the code it must be refused with.
type broken struct {
	code  string
	edits []edit
}

func one(code, path, value string) broken { return broken{code, []edit{{path, value}}} }

var brokenClaims = []broken{
	one("BV-00341", "Bundle.id", `"8B18233B-4981-56B8-A69E-5F6824AC44B0"`),
	one("BV-00225", "Bundle.meta.profile[0]", `"http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/bundle"`),
	one("BV-00225", "Patient.meta", ``),
	one("RE-00170", "Patient.meta.profile[0]", `"http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/person|1.0.0"`),
	one("RE-00170", "Claim.meta.profile[0]", `"http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/oral-claim|1.0.0"`),
	one("BV-00130", "Bundle.type", `"collection"`),
	one("GE-00013", "Bundle.timestamp", `"2026-02-10T11:30:02"`),
	one("GE-00013", "Bundle.timestamp", ``),
	one("BV-00207", "Bundle.entry[3].fullUrl", ``),
	one("BV-00207", "Bundle.entry[9]", `{"fullUrl":"urn:uuid:39fadcc1-8a44-58f3-977e-0f620533af70","resource":{"resourceType":"Location","id":"39fadcc1-8a44-58f3-977e-0f620533af70"}}`),
	one("BV-00208", "Patient.id", `"other"`),
	one("GE-00013", "Patient.id", `"no id"`),
	one("BV-00126", "Bundle.entry[9]", `{"fullUrl":"urn:uuid:a","resource":{"resourceType":"MessageHeader","id":"a"}}`),
	one("BV-00168", "MessageHeader.id", `"1"`),
	one("IC-01428", "MessageHeader.destination[1]", `{"endpoint":"http://x"}`),
	one("BV-00218", "MessageHeader.destination[0].endpoint", `"x"`),
	one("BV-00177", "MessageHeader.source", ``),
	one("IB-00242", "MessageHeader.sender.type", `"Practitioner"`),
	one("BV-00176", "MessageHeader.sender.identifier.system", `"http://nphies.sa/license/payer-license"`),
	one("BV-00221", "MessageHeader.focus[1]", `{"reference":"http://alwaha-demo.example/Claim/1b79c8ef-328f-5a76-9565-53bbd0ac4e41"}`),
	one("RE-00100", "MessageHeader.focus[0].reference", `"Claim/1b79c8ef-328f-5a76-9565-53bbd0ac4e41"`),
	one("BV-00167", "MessageHeader.focus[0].reference", `"http://alwaha-demo.example/Patient/b9156bfe-bb69-571e-aeee-4f2a309421d6"`),
	one("BV-00248", "MessageHeader.response", `{"identifier":"x","code":"ok"}`),
	one("GE-00031", "MessageHeader.sender.identifier.value", `"DEMO-PR-0002"`),
	one("BV-00351", "MessageHeader.sender.identifier.value", `"DEMO-PR-0002"`),
	one("GE-00032", "MessageHeader.destination[0].receiver.identifier.value", `"DEMO-INS-0002"`),

	one("GE-00013", "Claim.disposition", `""`),
	one("GE-00013", "Claim.facility", `null`),
	one("GE-00013", "Claim.related", `[]`),
	one("RE-00169", "Claim.facility", `{"reference":"http://alwaha-demo.example/Location/1"}`),
	one("BV-00389", "Claim.ext(newborn)", `{}`),
	one("BV-00526", "Claim.type.coding[1]", `{"system":"http://terminology.hl7.org/CodeSystem/claim-type","code":"oral"}`),
	one("BV-00275", "Claim.identifier[0].value", `"`+strings.Repeat("x", 101)+`"`),
	one("GE-00013", "Coverage.network", `"`+strings.Repeat("x", 31)+`"`),
	one("GE-00013", "Coverage.class[0].value", `"`+strings.Repeat("x", 31)+`"`),
	one("GE-00013", "Claim.supportingInfo[9].valueString", `"`+strings.Repeat("x", 251)+`"`),
	one("BV-00458", "Claim.item[0].unitPrice.currency", `"USD"`),
	one("BV-00458", "Claim.item[0].net.currency", ``),
	one("GE-00028", "Claim.item[0].net.value", `230.001`),
	one("GE-00013", "Claim.total.value", `"333.5"`),
	one("GE-00013", "Claim.item[0].net.value", `1e999999999`),

	one("IC-01428", "Patient.identifier", ``),
	one("IC-01428", "Patient.identifier[0].type", ``),
	one("BV-00798", "Patient.identifier[0].value", `"1000000000"`),
	{"BV-00797", []edit{{"Patient.identifier[0].system", `"http://nphies.sa/identifier/nationalid"`}, {"Patient.identifier[0].type.coding[0].code", `"NI"`}}},
	{"BV-00481", []edit{{"Patient.identifier[0].system", `"http://nphies.sa/identifier/passportnumber"`}, {"Patient.identifier[0].type.coding[0].code", `"PPN"`}}},
	one("IB-00242", "Patient.identifier[0].type.coding[0].code", `"NI"`),
	one("IC-01428", "Patient.active", `false`),
	one("IC-01428", "Patient.name", ``),
	one("IC-01428", "Patient.name[0].text", ``),
	one("IB-00242", "Patient.gender", `"F"`),
	one("IC-01428", "Patient._gender", ``),
	one("BV-00848", "Patient.birthDate", `"1899-12-31"`),
	one("BV-00848", "Patient.birthDate", `"2026-02-11"`),
	one("BV-00848", "Patient.birthDate", `"1991-11"`),
	one("IC-01428", "Patient.maritalStatus", ``),
	one("IC-01428", "Patient.ext(occupation)", ``),
	one("IC-01428", "Coverage.identifier", ``),
	one("IB-00242", "Coverage.status", `"cancelled"`),
	one("IB-00109", "Coverage.type.coding[0].code", `"X"`),
	one("IC-01564", "Coverage.policyHolder", ``),
	one("RE-00169", "Coverage.beneficiary", ``),
	one("IB-00242", "Coverage.relationship", coding),
	one("RE-00169", "Coverage.payor", ``),
	one("IC-01571", "Coverage.class", ``),
	one("BV-00729", "Coverage.class[0].type.coding[0].code", `"group"`),
	one("IC-01428", "provider.identifier[0].system", `"x"`),
	one("IC-01428", "insurer.identifier[0].system", `"x"`),
	one("IC-01428", "insurer.active", ``),
	one("IB-00242", "provider.type[0].coding[0].code", `"ins"`),
	one("IB-00242", "insurer.type[0].coding[0].code", `"prov"`),
	one("IC-01574", "provider.ext(provider-type)", ``),
	one("IC-01428", "policyholder.name", ``),
	one("GE-00021", "Practitioner.identifier[0].type", ``),
	one("GE-00021", "Practitioner.identifier[0].system", `"http://moh.example/license"`),
	one("IC-01428", "Practitioner.active", ``),
	one("IC-01428", "Practitioner.name", ``),

	one("IB-00242", "Claim.type", coding),
	one("BV-00365", "Claim.subType", ``),
	one("BV-00365", "Claim.subType.coding[0].code", `"ip"`),
	one("BV-00457", "Claim.identifier[0].system", ``),
	one("BV-00330", "Claim.status", `"draft"`),
	one("BV-00165", "Claim.use", `"preauthorization"`),
	one("RE-00169", "Claim.patient.reference", `"http://alwaha-demo.example/Coverage/998c4a74-5dbf-5d46-a9f0-a16eb8978876"`),
	one("RE-00169", "Claim.insurer", ``),
	one("BV-00351", "Claim.provider.reference", `"http://alwaha-demo.example/Organization/a2424de8-38ad-577e-ba92-c821a55a7e8f"`),
	one("BV-00351", "Claim.provider.identifier", `{"system":"http://nphies.sa/license/provider-license","value":"DEMO-PR-0002"}`),
	one("BV-00064", "Claim.created", `"2026-02-10T20:00:01+03:00"`),
	one("BV-00064", "Claim.created", `"2026-02-11"`),
	one("BV-00064", "Claim.created", `"10.2.2026"`),
	one("IB-00242", "Claim.priority", coding),
	one("BV-00492", "Claim.payee.type.coding[0].code", `"subscriber"`),
	one("BV-00485", "Claim.payee.type.coding[0].code", `"other"`),
	one("BV-00725", "Claim.related", `[{"claim":{"identifier":{"system":"a","value":"b"}},"relationship":`+coding+`}]`),
	one("BV-00379", "Claim.ext(eligibility-response)", ``),
	one("BV-00381", "Claim.ext(eligibility-offline-reference)", `{"valueString":"x"}`),
	one("BV-00349", "Claim.ext(eligibility-offline-reference)", `{"valueString":"x"}`),
	one("IC-01428", "Claim.ext(eligibility-response)", `{"valueReference":{"reference":"x"}}`),
	one("IC-01453", "Claim.ext(episode)", ``),
	one("IC-01620", "Claim.ext(accountingPeriod)", ``),
	one("BV-01010", "Claim.ext(accountingPeriod)", `{"valueDate":"2026-02-10"}`),
	one("BV-00420", "Claim.insurance[0].preAuthRef", `["A"]`),
	one("BV-00508", "Claim.ext(transfer)", `{"valueBoolean":true}`),
	one("IB-00242", "Claim.accident", `{"date":"2026-02-01","type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"SPT"}]}}`),

	one("IC-01428", "Claim.careTeam", ``),
	one("BV-00044", "Claim.careTeam[0].sequence", `0`),
	one("RE-00169", "Claim.careTeam[0].provider", ``),
	one("IB-00242", "Claim.careTeam[0].role", ``),
	one("IB-00242", "Claim.careTeam[0].qualification", ``),
	one("IC-01428", "Claim.diagnosis", ``),
	one("BV-00044", "Claim.diagnosis[0].sequence", `"1"`),
	one("IB-00242", "Claim.diagnosis[0].diagnosisCodeableConcept", coding),
	one("IB-00242", "Claim.diagnosis[0].type", ``),
	one("BV-00054", "Claim.diagnosis[0].type[0].coding[0].code", `"secondary"`),
	one("BV-00057", "Claim.diagnosis[1]", `{"sequence":2,"diagnosisCodeableConcept":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-am","code":"R51"}]}}`),
	one("BV-00477", "Claim.diagnosis[0].type[0].coding[0].code", `"admitting"`),
	one("BV-00478", "Claim.diagnosis[0].type[0].coding[0].code", `"discharge"`),
	one("IC-01428", "Claim.insurance", ``),
	one("BV-00044", "Claim.insurance[0].sequence", ``),
	one("BV-00400", "Claim.insurance[0].focal", `false`),
	one("RE-00169", "Claim.insurance[0].coverage", ``),

	one("IC-01428", "Claim.item", ``),
	one("BV-00044", "Claim.item[1].sequence", `1`),
	one("IC-01428", "Claim.item[0].careTeamSequence", ``),
	one("BV-00442", "Claim.item[0].careTeamSequence[0]", `2`),
	one("BV-00443", "Claim.item[0].diagnosisSequence[0]", `2`),
	one("BV-00444", "Claim.item[1].informationSequence[0]", `15`),
	one("BV-00501", "Claim.item[1].informationSequence", ``),
	one("BV-00502", "Claim.item[1].informationSequence", `[14,14]`),
	one("IC-01428", "Claim.item[0].productOrService", ``),
	one("BV-00527", "Claim.item[0].productOrService", coding),
	one("BV-00066", "Claim.item[0].servicedDate", ``),
	one("BV-00439", "Claim.item[0].servicedPeriod", `{"start":"2026-02-10","end":"2026-02-10"}`),
	one("BV-00041", "Claim.item[0].servicedDate", `"2026-02-09"`),
	one("BV-00061", "Claim.item[0].servicedDate", `"2026-02-11"`),
	one("GE-00013", "Claim.item[0].quantity", ``),
	one("GE-00013", "Claim.item[0].quantity.value", `-1`),
	one("GE-00013", "Claim.item[0].unitPrice", ``),
	one("GE-00013", "Claim.item[0].net", ``),
	one("GE-00013", "Claim.item[0].net.value", `-230`),
	one("BV-00482", "Claim.item[1].factor", `0`),
	one("IC-01428", "Claim.item[0].ext(patient-share)", ``),
	one("IC-01454", "Claim.item[0].ext(patientInvoice)", ``),
	one("IC-01428", "Claim.item[0].ext(maternity)", ``),
	one("GE-00013", "Claim.item[0].ext(tax)", `{"valueBoolean":true}`),
	one("BV-00036", "Claim.item[0].ext(package)", `{"valueBoolean":true}`),
	one("BV-00251", "Claim.item[0].net.value", `229.99`),
	one("BV-00251", "Claim.item[1].factor", `0.8`),
	one("BV-00251", "Claim.item[0].ext(tax)", ``),
	one("BV-00224", "Claim.item[0].detail", `[{"sequence":1,"quantity":{"value":1},"unitPrice":{"value":200,"currency":"SAR"},"net":{"value":200,"currency":"SAR"}}]`),
	one("BV-00372", "Claim.item[0].detail", `[{"sequence":1,"quantity":{"value":2},"unitPrice":{"value":115,"currency":"SAR"},"net":{"value":230,"currency":"SAR"}}]`),
	one("BV-00251", "Claim.item[0].detail", `[{"sequence":1,"quantity":{"value":2},"unitPrice":{"value":200,"currency":"SAR"},"net":{"value":230,"currency":"SAR"}}]`),
	one("IC-00062", "Claim.total", ``),
	one("BV-00059", "Claim.total.value", `333.49`),
	one("BV-00096", "Claim.total.currency", `"EUR"`),

	one("BV-00453", "Claim.supportingInfo[1].sequence", `1`),
	one("IB-00242", "Claim.supportingInfo[1].category", coding),
	one("IC-01428", "Claim.supportingInfo[9].valueString", ``),
	one("BV-00812", "Claim.supportingInfo[1].valueQuantity", ``),
	one("IB-00242", "Claim.supportingInfo[1].valueQuantity.code", `"kPa"`),
	one("IB-00242", "Claim.supportingInfo[13].code.coding[0].code", `"X"`),
	one("BV-00846", "Claim.supportingInfo[13].code.coding[0].code", `"IRA"`),
	one("BV-00752", "Claim.supportingInfo[13].code.coding[0].code", `"other"`),
	one("BV-00429", "Claim.supportingInfo[0].code", `{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-am","code":"R51"}]}`),
	one("IB-00242", "Claim.supportingInfo[14]", infoHead+`lab-test"}]}}`),
	one("IC-01428", "Claim.supportingInfo[14]", infoHead+`attachment"}]},"valueAttachment":{"contentType":"text/html"}}`),
	one("BV-00506", "Claim.ext(newborn)", `{"valueBoolean":true}`),
	one("BV-00557", "Claim.ext(newborn)", `{"valueBoolean":true}`),
	one("BV-00779", "Claim.supportingInfo[0]", ``), one("BV-00772", "Claim.supportingInfo[1]", ``),
	one("BV-00773", "Claim.supportingInfo[2]", ``), one("BV-00776", "Claim.supportingInfo[3]", ``),
	one("BV-00777", "Claim.supportingInfo[4]", ``), one("BV-00774", "Claim.supportingInfo[5]", ``),
	one("BV-00775", "Claim.supportingInfo[6]", ``), one("BV-00780", "Claim.supportingInfo[7]", ``),
	one("BV-00778", "Claim.supportingInfo[8]", ``), one("BV-00803", "Claim.supportingInfo[9]", ``),
	one("BV-00804", "Claim.supportingInfo[10]", ``), one("BV-00805", "Claim.supportingInfo[11]", ``),
	one("BV-00806", "Claim.supportingInfo[12]", ``), one("BV-00752", "Claim.supportingInfo[13]", ``),

	one("RE-00189", "Claim.ext(encounter)", ``),
	one("IC-00183", "Encounter.identifier", ``),
	one("IB-00242", "Encounter.status", `"gone"`),
	one("IB-00242", "Encounter.class.code", `"IMP"`),
	one("BV-00755", "Encounter.class.code", `"EMER"`),
	one("BV-00755", "Claim.subType.coding[0].code", `"emr"`),
	one("RE-00189", "Encounter.subject", ``),
	one("RE-00189", "Encounter.serviceProvider", ``),
	one("BV-00811", "Encounter.period.start", `"2026-02-10"`),
	one("BV-00736", "Encounter.ext(serviceEventType)", ``),
	one("BV-00811", "Encounter.period.end", `"2026-02-10"`),
	one("GE-00013", "Patient.name", `{"text":"x"}`),
	one("GE-00013", "Claim.careTeamSequence", `1`),
	one("GE-00013", "Claim.created", `"2026-02-10T11:30:00"`),
	one("GE-00013", "Claim.item[0].servicedDate", `"2026-02"`),
	one("GE-00013", "Coverage.period", `{"start":"2026-12-31","end":"2026-01-01"}`),
	one("GE-00013", "Claim.ext(newborn)", `{"valueString":"yes"}`),
	one("GE-00013", "Patient.name[0].family", `"`+strings.Repeat("س", 51)+`"`),
	one("GE-00013", "Claim.supportingInfo[0].code.text", `"`+strings.Repeat("x", 251)+`"`),
	one("IB-00242", "Claim.related", `[{"claim":{"identifier":{"system":"known","value":"b"}},"relationship":`+coding+`}]`),
	one("IC-01428", "Claim.ext(priorauth-response)", `{"valueReference":{"reference":"x"}}`),
	one("BV-00449", "Claim.ext(priorauth-response)", `{"valueReference":{"identifier":{"system":"a","value":"b"}}}`),
	one("BV-00449", "Claim.ext(authorization-offline-date)", `{"valueDateTime":"2026-02-09"}`),
	one("IC-01428", "Claim.diagnosis[0].onAdmission", coding),
	one("IC-01428", "Claim.diagnosis[0].ext(condition-onset)", `{"valueCodeableConcept":`+coding+`}`),
	one("BV-00439", "Claim.item[0].servicedPeriod", `{"start":"2026-02-10"}`),
	one("IC-01428", "Claim.supportingInfo[14]", infoHead+`lab-test"}]},"code":{"coding":[{"system":"http://loinc.org","code":"4548-4"}]}}`),
}

// brokenAdmissions are mistakes in the good institutional claim.
var brokenAdmissions = []broken{
	one("BV-00364", "Claim.subType.coding[0].code", `"op"`),
	one("BV-00727", "Encounter.hospitalization.admitSource", ``),
	one("BV-00737", "Encounter.ext(admissionSpecialty)", ``),
	one("BV-00744", "Encounter.hospitalization.extension", ``),
	one("BV-00758", "Encounter.ext(dischargeSpecialty)", ``),
	one("BV-00759", "Encounter.hospitalization.dischargeDisposition", ``),
	one("BV-00849", "Patient.birthDate", `"2025-06-01"`),
	one("BV-00770", "Claim.supportingInfo[0]", ``), one("BV-00763", "Claim.supportingInfo[1]", ``),
	one("BV-00764", "Claim.supportingInfo[2]", ``), one("BV-00767", "Claim.supportingInfo[3]", ``),
	one("BV-00768", "Claim.supportingInfo[4]", ``), one("BV-00765", "Claim.supportingInfo[5]", ``),
	one("BV-00766", "Claim.supportingInfo[6]", ``), one("BV-00771", "Claim.supportingInfo[7]", ``),
	one("BV-00769", "Claim.supportingInfo[8]", ``),
}

var brokenEmergencies = []broken{
	one("BV-00728", "Encounter.ext(emergency-arrival-code)", ``),
	one("BV-00732", "Encounter.ext(triageCategory)", ``),
	one("BV-00733", "Encounter.ext(triageDate)", ``),
	one("BV-00734", "Encounter.ext(emergencyServiceStart)", ``),
	one("BV-00735", "Encounter.ext(emergencyDepartmentDisposition)", ``),
	one("GE-00013", "Encounter.ext(triageDate)", `{"valueDateTime":"2026-02-10"}`),
}

var brokenOral = []broken{
	one("BV-00366", "Claim.subType.coding[0].code", `"ip"`),
	one("BV-00751", "Claim.supportingInfo[0]", ``),
	one("IB-00242", "Encounter.class.code", `"EMER"`),
}

var brokenVision = []broken{
	one("BV-00367", "Claim.subType.coding[0].code", `"emr"`),
	one("IC-01428", "Claim.careTeam", ``),
}

var brokenAuthorizations = []broken{
	one("BV-00802", "Claim.supportingInfo[14]", ``),
	one("BV-00165", "Claim.use", `"claim"`),
	one("RE-00170", "Claim.meta.profile[0]", `"`+profileURL("institutional-claim")+`"`),
	one("GE-00013", "Claim.ext(transfer)", `{"valueString":"yes"}`),
	one("IC-01428", "Claim.item[0].ext(patient-share)", `{"valueString":"20"}`),
	one("BV-00379", "Claim.ext(eligibility-response)", ``),
}

var brokenCommunications = []broken{
	one("IC-01428", "Communication.status", ``),
	one("IB-00242", "Communication.about", ``),
	one("IB-00242", "Communication.about[0].type", `"Patient"`),
	one("BV-00455", "Communication.basedOn[0].identifier", `{"value":"x"}`),
	one("IC-01428", "Communication.payload", ``),
	one("IC-01428", "Communication.payload[0].contentString", ``),
	one("GE-00032", "MessageHeader.destination[0].receiver.identifier.value", `"X"`),
}

var brokenPaymentNotices = []broken{
	one("IC-01428", "PaymentNotice.payment.identifier", ``),
	one("RE-00169", "PaymentNotice.recipient.identifier.value", `"X"`),
	one("IB-00242", "PaymentNotice.paymentStatus.coding[0].code", `"late"`),
	one("BV-00456", "MessageHeader.destination[0].endpoint", `"http://nphies.example"`),
}

// inClaim changes the second claim of a batch.
func inClaim(code, path, value string) broken {
	return broken{code, []edit{{"batch:" + path, value}}}
}

var brokenBatches = []broken{
	one("BV-00373", "MessageHeader.focus", ``),
	one("BV-00167", "Bundle.entry[1].resource.resourceType", `"Claim"`),
	inClaim("BV-00227", "MessageHeader.eventCoding.code", `"priorauth-request"`),
	inClaim("BV-00238", "MessageHeader.sender.identifier.value", `"X"`),
	inClaim("BV-00383", "MessageHeader.destination[0].receiver.identifier.value", `"X"`),
	inClaim("BV-00385", "Claim.ext(batch-identifier)", ``),
	inClaim("BV-00385", "Claim.ext(batch-identifier)", `{"valueIdentifier":{"system":"a","value":"b"}}`),
	inClaim("BV-00421", "Claim.ext(batch-period)", `{"valuePeriod":{"start":"2026-01-01","end":"2026-01-31"}}`),
	inClaim("BV-00451", "Claim.ext(batch-number)", ``),
	inClaim("BV-00452", "Claim.ext(batch-number)", `{"valuePositiveInt":1}`),
	inClaim("BV-00059", "Claim.total.value", `1`),
}

var brokenPharmacy = []broken{
	one("BV-00368", "Claim.subType.coding[0].code", `"ip"`),
	one("BV-00420", "Claim.ext(priorauth-response)", ``),
	one("BV-00449", "Claim.insurance[0].preAuthRef", ``),
	one("BV-00462", "Claim.ext(authorization-offline-date)", `{"valueDateTime":"2026-02-09"}`),
	one("BV-00723", "Claim.item[0].diagnosisSequence", ``),
	one("BV-00708", "Claim.item[0].ext(pharmacist-Selection-Reason)", ``),
	one("BV-00376", "Claim.item[0].informationSequence", `[1,2]`),
	one("BV-00376", "Claim.item[0].informationSequence", `[3]`),
	one("BV-00376", "Claim.supportingInfo[0].valueQuantity.value", `0`),
	one("IB-00242", "Claim.supportingInfo[0].valueQuantity.code", `"h"`),
}

var brokenEligibility = []broken{
	one("GE-00013", "CoverageEligibilityRequest.ext(transfer)", `{"valueString":"yes"}`),
	one("IC-01428", "CoverageEligibilityRequest.identifier", ``),
	one("BV-00538", "CoverageEligibilityRequest.status", `"draft"`),
	one("IB-00242", "CoverageEligibilityRequest.priority", ``),
	one("IC-01428", "CoverageEligibilityRequest.purpose", ``),
	one("IB-00242", "CoverageEligibilityRequest.purpose[0]", `"all"`),
	one("IB-00242", "CoverageEligibilityRequest.insurance", ``),
	one("RE-00169", "CoverageEligibilityRequest.patient", ``),
	one("RE-00169", "CoverageEligibilityRequest.insurer", ``),
	one("BV-00541", "CoverageEligibilityRequest.provider", ``),
	one("BV-00437", "CoverageEligibilityRequest.servicedPeriod", ``),
	one("BV-00437", "CoverageEligibilityRequest.servicedPeriod.end", ``),
	one("BV-00437", "CoverageEligibilityRequest.servicedDate", `"2026-02-10"`),
	one("BV-00058", "CoverageEligibilityRequest.servicedPeriod.start", `"2026-02-09"`),
	one("BV-00062", "CoverageEligibilityRequest.created", `"2026-02-11"`),
	one("RE-00169", "CoverageEligibilityRequest.facility", `{"display":"x"}`),
	one("RE-00169", "CoverageEligibilityRequest.insurance[0].coverage", ``),
}

var brokenPolls = []broken{
	one("BV-00456", "MessageHeader.destination[0].endpoint", `"http://nphies.example"`),
	one("BV-00456", "MessageHeader.destination[0].receiver.identifier.value", `"X"`),
	one("IC-01428", "Task.identifier", ``),
	one("IB-00242", "Task.status", `"ready"`),
	one("IB-00242", "Task.intent", `"plan"`),
	one("IB-00242", "Task.priority", `"soon"`),
	one("IB-00242", "Task.code.coding[0].code", `"status"`),
	one("BV-00471", "Task.authoredOn", ``),
	one("BV-00471", "Task.lastModified", `"2027-01-01"`),
	one("RE-00169", "Task.requester", ``),
	one("RE-00169", "Task.owner", ``),
	one("IB-00242", "Task.input[0].type", coding),
	one("IB-00293", "Task.input[0].valueCode", `"claim"`),
	{"IB-00294", []edit{{"Task.input[0].type.coding[0].code", `"exclude-message-type"`}, {"Task.input[0].valueCode", ``}}},
	one("IB-00242", "Task.input[0].type.coding[0].code", `"exclude-message-type"`),
	one("GE-00013", "Task.input[2].valuePositiveInt", `101`),
	one("GE-00013", "Task.input[2].valuePositiveInt", `0`),
	one("IC-01428", "Task.input[1].type.coding[0].code", `"count"`),
	{"BV-00216", []edit{{"Task.input[0].type.coding[0].code", `"period"`}, {"Task.input[1].type.coding[0].code", `"period"`}}},
}

var brokenDetails = []broken{
	one("BV-00044", "Claim.item[0].detail[1].sequence", `1`),
	one("BV-00044", "Claim.item[0].detail[0].subDetail[0].sequence", ``),
}

var brokenCancels = []broken{
	one("IC-01428", "Task.focus.identifier", ``),
	one("RE-00169", "Task.owner", ``),
	one("BV-00071", "Task.reasonCode", ``),
}

// TestRules breaks good messages in one way each. Every rule of every table must be broken by some case.
func TestRules(t *testing.T) {
	t.Parallel()
	unbroken := allRules()
	for name, cases := range map[string][]broken{
		"claim-request-professional": brokenClaims, "claim-request-pharmacy": brokenPharmacy, "institutional": brokenAdmissions,
		"emergency": brokenEmergencies, "oral": brokenOral, "vision": brokenVision, "institutional authorization": brokenAuthorizations,
		"eligibility-request": brokenEligibility, "poll-request": brokenPolls, "cancel-request": brokenCancels,
		"details": brokenDetails, "communication": brokenCommunications, "payment-notice": brokenPaymentNotices, "batch-request": brokenBatches,
	} {
		now := timeFor(name)
		if name == "claim-request-professional" {
			now = testNow
		}
		for _, c := range cases {
			m := good(t, name)
			for _, e := range c.edits {
				if path, ok := strings.CutPrefix(e.path, "batch:"); ok {
					second := rooted(m, "").get("entry").at(2).get("resource").v.(map[string]any)
					apply(t, second, edit{path, e.value})
					continue
				}
				apply(t, m, e)
			}
			findings, looked := judged(t, m, now)
			var codes []string
			for _, f := range findings {
				codes = append(codes, f.Code)
				require.True(t, strings.HasPrefix(f.Path, "Bundle"), f)
			}
			require.Contains(t, codes, c.code, c.edits)
			for key, held := range looked {
				if !held && strings.HasPrefix(key, c.code+" ") {
					delete(unbroken, key)
				}
			}
		}
	}
	require.Empty(t, unbroken, "rules without a case")
}

// TestRulesTable checks the exported list against the tables.
func TestRulesTable(t *testing.T) {
	t.Parallel()
	list := Rules()
	require.Greater(t, len(list), 200)
	seen := map[string]bool{}
	for _, r := range list {
		key := r.ID + r.Where + r.Text
		require.False(t, seen[key], r)
		seen[key] = true
		require.NotEmpty(t, r.Where, r)
		require.NotEmpty(t, r.Text, r)
		require.NotEmpty(t, r.Events, r)
		require.NotContains(t, r.Where, focusPath, r)
		require.Regexp(t, `^[A-Z]{2}-\d{5}$`, r.ID)
	}
	i := slices.IndexFunc(list, func(r Rule) bool { return r.ID == "BV-00251" })
	require.Equal(t, Rule{
		ID: "BV-00251", Where: "Claim.(item|detail|subDetail).net", Text: "Claim Item net is not equal to ((quantity * unit price) * factor) + tax",
		Events: []string{eventAuth, eventClaim},
	}, list[i])
}

// FuzzJudge finds no message that makes the simulator panic.
func FuzzJudge(f *testing.F) {
	for _, name := range []string{"claim-request-professional", "eligibility-request", "poll-request"} {
		b, err := readTestdata(name)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte(`{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"MessageHeader","focus":7}}]}`))
	f.Add([]byte(`{"entry":[{"resource":{"resourceType":"MessageHeader","eventCoding":{"code":"batch-request"},"focus":[{"reference":"a"}]}},{"fullUrl":"a","resource":{"resourceType":"Bundle","entry":7}}]}`))
	f.Fuzz(func(_ *testing.T, body []byte) {
		v, err := parseJSON(body)
		if err != nil {
			return
		}
		s := New(Options{Now: func() time.Time { return testNow }})
		m := newMessage(body, v, testNow)
		s.takeClaim(m)
		s.takeEligibility(m)
		s.takePoll(m)
		s.takeTargetTask(m)
		s.takeBatch(m)
		s.takeCommunication(m)
		s.takePaymentNotice(m)
	})
}
