package nphiesclient_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/nphiesclient"
)

// goodMessages builds the messages that the cases below damage.
func goodMessages(t *testing.T) map[string]*nphiesclient.Request {
	t.Helper()
	out := map[string]*nphiesclient.Request{}
	for name, file := range map[string]string{
		"professional": "claims/01-professional-approved", "pharmacy": "claims/02-pharmacy-approved", "details": "claims/14-professional-details",
		"package": "claims/15-professional-package", "oral": "claims/16-oral-approved", "vision": "claims/17-vision-approved",
		"stay": "claims/18-institutional-approved", "emergency": "claims/19-emergency-approved", "newborn": "claims/20-newborn-approved",
		"before": "priorauth/01-institutional", "changed": "priorauth/06-professional-changed", "eligibility": "eligibility/01-eligible",
		"passport": "eligibility/02-not-covered",
	} {
		r, err := example(t, file+".json").Request(buildOptions())
		require.NoError(t, err, file)
		out[name] = r
	}
	claim := nphiesclient.ClaimRef{Identifier: nphiesclient.Identifier{System: "http://x.example/claim", Value: "C"}, Payer: "P-1"}
	opts := nphiesclient.TaskOptions{License: "L-1", Now: fixedNow}
	var err error
	out["status"], err = nphiesclient.BuildStatusCheck(claim, opts)
	require.NoError(t, err)
	out["cancel"], err = nphiesclient.BuildCancel(claim, "WI", opts)
	require.NoError(t, err)
	out["poll"], err = nphiesclient.BuildPoll(nphiesclient.PollOptions{
		License: "L-1", Now: fixedNow, Include: []string{"claim-response"}, Exclude: nil, Count: 5,
	})
	require.NoError(t, err)
	return out
}

// ruleCases damage a good message in one place each. The place starts with a resource type; ext:name is an extension,
// info:category an entry of the supporting information, + the end of a list. An empty value takes the element away.
var ruleCases = []struct{ rule, message, place, value string }{
	{"GE-00013", "professional", "Coverage/network", `""`},
	{"GE-00013", "professional", "Coverage/network", `null`},
	{"GE-00013", "professional", "Patient/telecom", `[]`},
	{"GE-00013", "professional", "Claim/item/0/unitPrice/value", `"200.00"`},
	{"GE-00013", "professional", "Claim/total/value", `"1"`},
	{"GE-00013", "professional", "Claim/item/0/quantity/value", `"1"`},
	{"GE-00013", "professional", "Claim/item/0/sequence", `"1"`},
	{"GE-00013", "professional", "Claim/insurance/0/focal", `"true"`},
	{"BV-00127", "professional", "Bundle/id", `"0000000A-0000-4000-8000-000000000001"`},
	{"BV-00130", "professional", "Bundle/type", `"batch"`},
	{"BV-00225", "professional", "Bundle/meta/profile/0", `"http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/bundle"`},
	{"BV-00126", "professional", "Bundle/entry/0", `{"fullUrl":"http://x.example/Basic/1","resource":{"resourceType":"Basic","id":"1"}}`},
	{"BV-00207", "professional", "Bundle/entry/1/fullUrl", ``},
	{"BV-00208", "professional", "Bundle/entry/1/fullUrl", `"http://alwaha-demo.example/Claim/other"`},
	{"BV-00389", "professional", "Claim/ext:episode/valueIdentifier", ``},
	{"BV-00526", "professional", "Claim/subType/coding/+", `{"system":"http://nphies.sa/terminology/CodeSystem/claim-subtype","code":"emr"}`},
	{"RE-00169", "professional", "Coverage/policyHolder/reference", `"http://alwaha-demo.example/Organization/none"`},
	{"RE-00170", "professional", "Patient/meta/profile/0", `"http://other.example/patient"`},
	{"RE-00170", "before", "Claim/meta/profile/0", `"` + sd + `institutional-claim|1.0.0"`},
	{"length", "professional", "Coverage/network", `"a network whose name is too long for this"`},
	{"length", "professional", "Coverage/class/0/value", `"a plan whose name is too long for this"`},
	{"BV-00275", "professional", "Claim/identifier/0/value", strconv.Quote(strings.Repeat("7", 101))},
	{"BV-00168", "professional", "MessageHeader/id", `"no-guid"`},
	{"IB-00250", "professional", "MessageHeader/eventCoding", ``},
	{"BV-00218", "professional", "MessageHeader/destination/0/endpoint", ``},
	{"GE-00015", "professional", "MessageHeader/destination/0/receiver", ``},
	{"BV-00456", "poll", "MessageHeader/destination/0/receiver/identifier/value", `"P-1"`},
	{"BV-00176", "professional", "MessageHeader/sender", ``},
	{"BV-00177", "professional", "MessageHeader/source/endpoint", ``},
	{"BV-00221", "professional", "MessageHeader/focus/+", `{"reference":"http://x.example/Claim/2"}`},
	{"RE-00100", "professional", "MessageHeader/focus/0/reference", `"http://x.example/Claim/2"`},
	{"BV-00248", "professional", "MessageHeader/response", `{"identifier":"x","code":"ok"}`},
	{"BV-00167", "professional", "MessageHeader/eventCoding/code", `"eligibility-request"`},
	{"GE-00031", "professional", "MessageHeader/sender/identifier/value", `"OTHER"`},
	{"GE-00032", "professional", "MessageHeader/destination/0/receiver/identifier/value", `"OTHER"`},
	{"IC-01428", "professional", "Patient/name", ``},
	{"IC-01428", "professional", "Patient/_gender", ``},
	{"IC-01428", "professional", "Patient/_gender/extension/0/valueCodeableConcept", `{"text":"?"}`},
	{"IC-01428", "professional", "Organization/active", ``},
	{"IC-01428", "professional", "Organization:insurer/active", `false`},
	{"IC-01428", "professional", "Claim/careTeam/0/provider", ``},
	{"IB-00242", "oral", "Encounter/class/code", `"HH"`},
	{"IB-00242", "professional", "Claim/accident", `{"date":"2026-02-01","type":{"coding":[{"system":"x","code":"FALL"}]}}`},
	{"BV-00797", "eligibility", "Patient/identifier/0/value", `"2000000000"`},
	{"BV-00798", "professional", "Patient/identifier/0/value", `"12345"`},
	{"BV-00481", "passport", "Patient/identifier/0/extension", ``},
	{"BV-00848", "professional", "Patient/birthDate", `"1899-12-31"`},
	{"BV-00848", "professional", "Patient/birthDate", `"2031-01-01"`},
	{"IC-01574", "professional", "Organization/ext:provider-type", ``},
	{"GE-00021", "professional", "Practitioner/identifier", ``},
	{"GE-00021", "professional", "Practitioner/identifier/0/system", `"http://moh.example/license"`},
	{"IB-00109", "professional", "Coverage/type/coding/0/code", `"PRIVATE"`},
	{"IC-01564", "professional", "Coverage/policyHolder", ``},
	{"IC-01571", "professional", "Coverage/class/0/type/coding/0/code", `"group"`},
	{"RE-00189", "professional", "Claim/ext:encounter", ``},
	{"RE-00189", "newborn", "Encounter/subject/reference", `"http://alwaha-demo.example/Organization/00000000-0000-4000-8000-000000000007"`},
	{"IC-00183", "professional", "Encounter/identifier", ``},
	{"BV-00811", "professional", "Encounter/period/start", `"2026-02-10"`},
	{"BV-00736", "oral", "Encounter/ext:serviceEventType", ``},
	{"BV-00755", "emergency", "Claim/subType/coding/0/code", `"op"`},
	{"BV-00755", "emergency", "Encounter/class/code", `"AMB"`},
	{"BV-00728", "emergency", "Encounter/ext:emergencyArrivalCode", ``},
	{"BV-00732", "emergency", "Encounter/ext:triageCategory", ``},
	{"BV-00733", "emergency", "Encounter/ext:triageDate", ``},
	{"BV-00734", "emergency", "Encounter/ext:emergencyServiceStart", ``},
	{"BV-00735", "emergency", "Encounter/ext:emergencyDepartmentDisposition", ``},
	{"BV-00727", "stay", "Encounter/hospitalization/admitSource", ``},
	{"BV-00737", "stay", "Encounter/hospitalization/ext:admissionSpecialty", ``},
	{"BV-00744", "stay", "Encounter/hospitalization/ext:intendedLengthOfStay", ``},
	{"BV-00758", "stay", "Encounter/hospitalization/ext:dischargeSpecialty", ``},
	{"BV-00759", "stay", "Encounter/hospitalization/dischargeDisposition", ``},
	{"BV-00538", "eligibility", "CoverageEligibilityRequest/status", `"draft"`},
	{"BV-00541", "eligibility", "CoverageEligibilityRequest/provider", `{"identifier":{"value":"OTHER"},"reference":"x"}`},
	{"BV-00437", "eligibility", "CoverageEligibilityRequest/servicedDate", ``},
	{"BV-00437", "eligibility", "CoverageEligibilityRequest/servicedPeriod", `{"start":"2026-11-01","end":"2026-11-02"}`},
	{"BV-00058", "eligibility", "CoverageEligibilityRequest/servicedDate", `"2026-10-31"`},
	{"BV-00062", "eligibility", "CoverageEligibilityRequest/created", `"2026-11-01T10:00:00+03:00"`},
	{"BV-00457", "professional", "Claim/identifier", ``},
	{"BV-00330", "professional", "Claim/status", `"draft"`},
	{"BV-00165", "professional", "Claim/use", `"preauthorization"`},
	{"BV-00165", "before", "Claim/use", `"claim"`},
	{"BV-00364", "stay", "Claim/subType/coding/0/code", `"op"`},
	{"BV-00365", "professional", "Claim/subType/coding/0/code", `"ip"`},
	{"BV-00366", "oral", "Claim/subType/coding/0/code", `"emr"`},
	{"BV-00367", "vision", "Claim/subType/coding/0/code", `"ip"`},
	{"BV-00368", "pharmacy", "Claim/subType/coding/0/code", `"ip"`},
	{"BV-00351", "professional", "Claim/provider/identifier", `{"value":"OTHER"}`},
	{"BV-00064", "professional", "Claim/created", `"2026-11-02"`},
	{"BV-00492", "professional", "Claim/payee/type/coding/0/code", `"subscriber"`},
	{"BV-00494", "professional", "Claim/payee/type/coding/0/code", `"other"`},
	{"BV-00725", "changed", "Claim/related/0/claim", ``},
	{"BV-00379", "professional", "Claim/ext:eligibility-response", ``},
	{"BV-00381", "professional", "Claim/extension/+", `{"url":"` + sd + `extension-eligibility-offline-reference","valueString":"call"}`},
	{"BV-00349", "package", "Claim/ext:eligibility-offline-date", ``},
	{"IC-01453", "professional", "Claim/ext:episode", ``},
	{"IC-01620", "professional", "Claim/ext:accountingPeriod", ``},
	{"BV-01010", "professional", "Claim/ext:accountingPeriod/valueDate", `"2026-02-02"`},
	{"BV-00420", "pharmacy", "Claim/ext:priorauth-response", ``},
	{"BV-00449", "pharmacy", "Claim/insurance/0/preAuthRef", ``},
	{"BV-00462", "pharmacy", "Claim/extension/+", `{"url":"` + sd + `extension-authorization-offline-date","valueDateTime":"2026-02-01"}`},
	{"BV-00508", "professional", "Claim/extension/+", `{"url":"` + sd + `extension-transfer","valueBoolean":true}`},
	{"BV-00506", "newborn", "Claim/info:birth-weight", ``},
	{"BV-00557", "newborn", "Claim/diagnosis/1/diagnosisCodeableConcept/coding/0/code", `"I10"`},
	{"BV-00054", "professional", "Claim/diagnosis/0/type/0/coding/0/code", `"secondary"`},
	{"BV-00057", "stay", "Claim/diagnosis/1/diagnosisCodeableConcept/coding/0/code", `"k29.7"`},
	{"BV-00477", "professional", "Claim/diagnosis/0/type/0/coding/0/code", `"admitting"`},
	{"BV-00478", "professional", "Claim/diagnosis/0/type/0/coding/0/code", `"discharge"`},
	{"BV-00400", "professional", "Claim/insurance/+", `{"sequence":2,"focal":true,"coverage":{"reference":"x"}}`},
	{"IC-00062", "professional", "Claim/total", ``},
	{"BV-00059", "professional", "Claim/total/value", `333.49`},
	{"BV-00096", "professional", "Claim/item/0/net/currency", `"USD"`},
	{"BV-00096", "professional", "Claim/item/0/ext:patient-share/valueMoney/currency", `"USD"`},
	{"BV-00096", "professional", "Claim/item/0/ext:tax/valueMoney/currency", ``},
	{"GE-00028", "professional", "Claim/item/0/unitPrice/value", `200.001`},
	{"GE-00028", "professional", "Claim/item/0/ext:tax/valueMoney/value", `30.001`},
	{"GE-00028", "professional", "Claim/item/0/ext:patient-share/valueMoney/value", `1.2345`},
	{"BV-00453", "professional", "Claim/supportingInfo/1/sequence", `1`},
	{"BV-00803", "vision", "Claim/info:treatment-plan", ``},
	{"BV-00804", "vision", "Claim/info:patient-history", ``},
	{"BV-00805", "before", "Claim/info:physical-examination", ``},
	{"BV-00806", "pharmacy", "Claim/info:history-of-present-illness", ``},
	{"BV-00752", "vision", "Claim/info:investigation-result", ``},
	{"BV-00752", "vision", "Claim/info:investigation-result/code/coding/0/code", `"other"`},
	{"BV-00846", "vision", "Claim/info:investigation-result/code/coding/0/code", `"IRA"`},
	{"BV-00770", "stay", "Claim/info:chief-complaint", ``},
	{"BV-00779", "professional", "Claim/info:chief-complaint", ``},
	{"BV-00751", "oral", "Claim/info:chief-complaint", ``},
	{"BV-00763", "before", "Claim/info:vital-sign-systolic", ``},
	{"BV-00764", "stay", "Claim/info:vital-sign-diastolic", ``},
	{"BV-00765", "before", "Claim/info:vital-sign-height", ``},
	{"BV-00766", "stay", "Claim/info:vital-sign-weight", ``},
	{"BV-00767", "before", "Claim/info:pulse", ``},
	{"BV-00768", "stay", "Claim/info:temperature", ``},
	{"BV-00769", "before", "Claim/info:oxygen-saturation", ``},
	{"BV-00771", "stay", "Claim/info:respiratory-rate", ``},
	{"BV-00772", "professional", "Claim/info:vital-sign-systolic", ``},
	{"BV-00773", "professional", "Claim/info:vital-sign-diastolic", ``},
	{"BV-00774", "professional", "Claim/info:vital-sign-height", ``},
	{"BV-00775", "professional", "Claim/info:vital-sign-weight", ``},
	{"BV-00776", "professional", "Claim/info:pulse", ``},
	{"BV-00777", "professional", "Claim/info:temperature", ``},
	{"BV-00778", "professional", "Claim/info:oxygen-saturation", ``},
	{"BV-00780", "professional", "Claim/info:respiratory-rate", ``},
	{"BV-00812", "professional", "Claim/info:temperature/valueQuantity", ``},
	{"BV-00812", "professional", "Claim/info:temperature/valueQuantity/code", `"[degF]"`},
	{"BV-00802", "before", "Claim/info:estimated-Length-of-Stay", ``},
	{"BV-00849", "newborn", "Claim/info:admission-weight", ``},
	{"BV-00044", "professional", "Claim/item/1/sequence", `1`},
	{"BV-00044", "details", "Claim/item/1/detail/1/sequence", `1`},
	{"BV-00442", "professional", "Claim/item/0/careTeamSequence/0", `2`},
	{"BV-00443", "professional", "Claim/item/0/diagnosisSequence/0", `7`},
	{"BV-00444", "professional", "Claim/item/0/informationSequence/0", `70`},
	{"BV-00501", "professional", "Claim/item/0/informationSequence", ``},
	{"BV-00502", "professional", "Claim/item/0/informationSequence/0", `2`},
	{"BV-00723", "pharmacy", "Claim/item/0/diagnosisSequence", ``},
	{"BV-00066", "professional", "Claim/item/0/servicedDate", ``},
	{"BV-00439", "professional", "Claim/item/0/servicedPeriod", `{"start":"2026-02-10","end":"2026-02-10"}`},
	{"BV-00041", "professional", "Claim/item/0/servicedDate", `"2026-02-11"`},
	{"BV-00041", "stay", "Claim/item/0/servicedPeriod/end", `"2026-03-05"`},
	{"BV-00061", "pharmacy", "Claim/item/0/servicedDate", `"2026-11-02"`},
	{"BV-00482", "professional", "Claim/item/1/factor", `0`},
	{"IC-01454", "professional", "Claim/item/0/ext:patientInvoice", ``},
	{"BV-00708", "pharmacy", "Claim/item/0/ext:pharmacist-Selection-Reason", ``},
	{"BV-00376", "pharmacy", "Claim/info:days-supply/category/coding/0/code", `"info"`},
	{"BV-00376", "pharmacy", "Claim/info:days-supply/valueQuantity/value", `0`},
	{"BV-00251", "professional", "Claim/item/0/net/value", `230.01`},
	{"BV-00251", "stay", "Claim/item/1/detail/0/subDetail/0/net/value", `1`},
	{"BV-00224", "details", "Claim/item/1/net/value", `308.77`},
	{"BV-00372", "details", "Claim/item/1/unitPrice/value", `268.51`},
	{"BV-00036", "package", "Claim/item/0/detail", ``},
	{"BV-00459", "status", "Task/focus", ``},
	{"BV-00071", "cancel", "Task/reasonCode", ``},
	{"BV-00471", "poll", "Task/lastModified", `"2026-11-01T10:00:00+03:00"`},
	{"BV-00216", "poll", "Task/input", `[{"type":{"coding":[{"code":"period"}]},"valuePeriod":{"start":"2026"}},{"type":{"coding":[{"code":"period"}]},"valuePeriod":{"start":"2026"}}]`},
	{"IB-00293", "poll", "Task/input/0/valueCode", ``},
	{"IB-00294", "poll", "Task/input/+", `{"type":{"coding":[{"code":"exclude-message-type"}]},"valueCode":"claim-response"}`},
	{"IB-00294", "poll", "Task/input/0", `{"type":{"coding":[{"code":"exclude-message-type"}]},"valueString":"x"}`},
}

// documentRules are rules a finished message cannot break alone, or whose size makes them awkward above: each is broken in a
// document or at the door.
var documentRules = map[string]func(t *testing.T) error{
	"GE-00020": func(t *testing.T) error {
		t.Helper()
		_, err := example(t, "claims/01-professional-approved.json").Request(nphiesclient.BuildOptions{Now: fixedNow, License: "OTHER"})
		return err
	},
	"BV-00462": func(t *testing.T) error {
		t.Helper()
		d := example(t, "claims/02-pharmacy-approved.json").Claim
		d.Authorization.OfflineDate = "2026-02-01"
		_, err := nphiesclient.BuildClaim(d, buildOptions())
		return err
	},
	"amount": func(t *testing.T) error {
		t.Helper()
		d := example(t, "claims/01-professional-approved.json").Claim
		less := nphiesclient.MustAmount("-20")
		d.Items[0].PatientShare = &less
		_, err := nphiesclient.BuildClaim(d, buildOptions())
		return err
	},
	"BV-00076": func(t *testing.T) error {
		t.Helper()
		d := example(t, "claims/01-professional-approved.json").Claim
		d.Supporting = append(d.Supporting, nphiesclient.Info{Category: "attachment", Attachment: &nphiesclient.Attachment{
			ContentType: "application/pdf", Title: "scan", Created: "2026-02-10", Data: strings.Repeat("AAAA", nphiesclient.MaxMessageBytes/4),
		}})
		_, err := nphiesclient.BuildClaim(d, buildOptions())
		return err
	},
}

// TestEveryRuleHasItsCases: each good message passes, each damage is found by its rule, and no rule is without a damage.
func TestEveryRuleHasItsCases(t *testing.T) {
	t.Parallel()
	good := goodMessages(t)
	for name, r := range good {
		require.Empty(t, check(r), name)
	}
	cases := map[string]bool{}
	for _, c := range ruleCases {
		cases[c.rule] = true
		t.Run(c.rule+" "+c.place, func(t *testing.T) {
			t.Parallel()
			broken := *good[c.message]
			broken.Body = damage(t, broken.Body, c.place, c.value)
			i := slices.IndexFunc(check(&broken), func(f nphiesclient.Finding) bool { return f.Rule == c.rule })
			require.GreaterOrEqual(t, i, 0, "not found in %v", check(&broken))
			f := check(&broken)[i]
			require.NotEmpty(t, f.Text)
			require.True(t, strings.HasPrefix(f.Expression, "Bundle"), f.Expression)
			require.Equal(t, f.Expression, f.Path)
		})
	}
	for rule, breakIt := range documentRules {
		cases[rule] = true
		var found *nphiesclient.InvalidError
		require.ErrorAs(t, breakIt(t), &found, rule)
		require.Contains(t, rulesOf(found.Findings), rule)
	}
	for _, r := range nphiesclient.Rules() {
		require.True(t, cases[r.ID], "rule %s has no case", r.ID)
		for _, s := range []string{r.Where, r.Text, r.Fix, string(r.Severity)} {
			require.NotEmpty(t, s, r.ID)
		}
	}
}

func rulesOf(found []nphiesclient.Finding) []string {
	var out []string
	for _, f := range found {
		out = append(out, f.Rule)
	}
	return out
}

// damage changes one place of a message.
func damage(t *testing.T, body []byte, place, value string) []byte {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var m map[string]any
	require.NoError(t, dec.Decode(&m))
	parts := strings.Split(place, "/")
	var target any = m
	if parts[0] != "Bundle" {
		target = nil
		for _, e := range arr(m, "entry") {
			kind, profile, _ := strings.Cut(parts[0], ":")
			wanted := text(e, "resource", "resourceType") == kind && (kind != "Organization" ||
				strings.Contains(text(e, "resource", "meta", "profile", 0), "/"+cmp.Or(profile, "provider")+"-organization|"))
			if wanted && target == nil {
				target = at(e, "resource")
			}
			if wanted && parts[0] == "Patient" && strings.HasSuffix(text(claimOrRequest(m), "patient", "reference"), text(e, "resource", "id")) {
				target = at(e, "resource")
			}
		}
	}
	require.NotNil(t, target, place)
	alter(t, target, parts[1:], value, func(any) {})
	out, err := json.Marshal(m)
	require.NoError(t, err)
	return out
}

func claimOrRequest(m any) any { return at(m, "entry", 1, "resource") }

func alter(t *testing.T, v any, parts []string, value string, replace func(any)) {
	t.Helper()
	if len(parts) == 0 {
		if value == "" {
			replace(nil)
			return
		}
		var x any
		dec := json.NewDecoder(strings.NewReader(value))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&x))
		if x == nil {
			x = json.RawMessage("null")
		}
		replace(x)
		return
	}
	name := parts[0]
	if list, ok := v.([]any); ok {
		if name == "+" {
			alter(t, nil, nil, value, func(x any) { replace(append(list, x)) })
			return
		}
		i, err := strconv.Atoi(name)
		require.NoError(t, err)
		require.Less(t, i, len(list))
		alter(t, list[i], parts[1:], value, func(x any) {
			if list[i] = x; x == nil {
				replace(slices.Delete(list, i, i+1))
			}
		})
		return
	}
	m, ok := v.(map[string]any)
	require.True(t, ok, parts)
	kind, what, found := strings.Cut(name, ":")
	if !found {
		alter(t, m[name], parts[1:], value, func(x any) {
			if m[name] = x; x == nil {
				delete(m, name)
			}
		})
		return
	}
	field := map[string]string{"ext": "extension", "info": "supportingInfo"}[kind]
	list := arr(m, field)
	i := slices.IndexFunc(list, func(x any) bool {
		return strings.HasSuffix(text(x, "url"), "/extension-"+what) || code(x, "category") == what
	})
	require.GreaterOrEqual(t, i, 0, name)
	alter(t, list, append([]string{strconv.Itoa(i)}, parts[1:]...), value, func(x any) { m[field] = x })
}

// TestWhatTheGuideDoesNotAsk: messages that lack, or have, what is nobody's rule.
func TestWhatTheGuideDoesNotAsk(t *testing.T) {
	t.Parallel()
	good := goodMessages(t)
	for _, c := range []struct{ message, place, value string }{
		{"professional", "Organization:policyholder/active", ``},
		{"professional", "Organization:policyholder/active", `false`},
		{"professional", "Claim/item/0/ext:patient-share/valueMoney/value", `0`},
		{"professional", "Coverage/class/0/value", strconv.Quote(strings.Repeat("x", 30))},
		{"pharmacy", "Claim/item/0/ext:patient-share/valueMoney/value", `1.50`},
	} {
		changed := *good[c.message]
		changed.Body = damage(t, changed.Body, c.place, c.value)
		require.Empty(t, check(&changed), "%s %s", c.place, c.value)
	}
}

// TestEveryRuleNamedIsInTheTable reads the package's own source: a rule that a function names must be listed.
func TestEveryRuleNamedIsInTheTable(t *testing.T) {
	t.Parallel()
	listed := rulesListed()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	named := 0
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") || f == "classify.go" || f == "rules.go" || f == "delivery.go" {
			continue // errors that NPHIES answers with, and the table itself
		}
		source, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`"((?:BV|GE|IC|IB|RE)-\d{5})"`).FindAllStringSubmatch(string(source), -1) {
			named++
			require.Contains(t, listed, m[1], f)
		}
	}
	require.Greater(t, named, 150)
	require.Len(t, listed, len(nphiesclient.Rules()), "a rule is listed twice")
	for _, r := range nphiesclient.UncheckedRules() {
		require.NotContains(t, listed, r.ID)
		require.NotEmpty(t, r.Text+r.Why)
	}
}

func rulesListed() map[string]bool {
	listed := map[string]bool{}
	for _, r := range nphiesclient.Rules() {
		listed[r.ID] = true
	}
	return listed
}

func TestRulesCanBeSwitched(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"BV-99999=off":       `"BV-99999=off" names no rule that is checked`,
		"BV-00803":           `"BV-00803": want BV-00803=off, BV-00803=warning or BV-00803=error`,
		"BV-00803=maybe":     "want BV-00803=off",
		"document=off":       "names no rule",
		"BV-00803=off, x=on": `"x=on" names no rule`,
	} {
		_, err := nphiesclient.ParseRules(text)
		require.ErrorContains(t, err, want, text)
	}
	settings, err := nphiesclient.ParseRules(" BV-00803=off,BV-01010=warning BV-00501=error\n")
	require.NoError(t, err)
	d := example(t, "claims/01-professional-approved.json").Claim
	d.Supporting = slices.DeleteFunc(d.Supporting, func(x nphiesclient.Info) bool { return x.Category == "treatment-plan" })
	d.AccountingPeriod = "2026-02-02"
	_, err = nphiesclient.BuildClaim(d, buildOptions())
	requireFinding(t, err, "BV-00803", "supporting_information")
	o := buildOptions()
	o.Rules = settings
	r, err := nphiesclient.BuildClaim(d, o)
	require.NoError(t, err)
	require.Equal(t, []string{"BV-01010"}, rulesOf(r.Warnings))
	require.Equal(t, nphiesclient.SeverityWarning, r.Warnings[0].Severity)
	require.Equal(t, "accounting_period", r.Warnings[0].Path)

	in := &nphiesclient.Input{Message: r.Body}
	_, err = in.Request(nphiesclient.BuildOptions{Now: fixedNow})
	requireFinding(t, err, "BV-01010", x("Bundle.entry[1].resource", "accountingPeriod"))
	again, err := in.Request(nphiesclient.BuildOptions{Now: fixedNow, Rules: settings})
	require.NoError(t, err)
	require.Equal(t, []string{"BV-01010"}, rulesOf(again.Warnings))

	d = example(t, "claims/01-professional-approved.json").Claim
	d.Items[0].Information = []int{}
	o = buildOptions()
	r, err = nphiesclient.BuildClaim(d, o)
	require.NoError(t, err)
	require.Equal(t, []string{"BV-00501"}, rulesOf(r.Warnings))
	require.Equal(t, "items[0].information", r.Warnings[0].Path)
	o.Rules = settings
	_, err = nphiesclient.BuildClaim(d, o)
	requireFinding(t, err, "BV-00501", "items[0].information")
}

// TestAllRulesOff: what a missing part makes of a message is then NPHIES' to judge, but nothing breaks here.
func TestAllRulesOff(t *testing.T) {
	t.Parallel()
	var off []string
	for _, r := range nphiesclient.Rules() {
		off = append(off, r.ID+"=off")
	}
	settings, err := nphiesclient.ParseRules(strings.Join(off, ","))
	require.NoError(t, err)
	full := example(t, "claims/18-institutional-approved.json").Claim
	d := &nphiesclient.ClaimDocument{
		Document: full.Document, Type: full.Type, Provider: full.Provider, Payer: full.Payer,
		Patient: nphiesclient.Patient{IDType: "mrn", Gender: "male"}, Encounter: &nphiesclient.Encounter{Class: "IMP", Start: "soon"},
	}
	d.Items = []nphiesclient.Item{{System: "services", Details: []nphiesclient.Detail{{System: "services", SubDetails: []nphiesclient.SubDetail{{}}}}}}
	o := buildOptions()
	o.Rules = settings
	_, err = nphiesclient.BuildClaim(d, o)
	var found *nphiesclient.InvalidError
	if err != nil {
		require.ErrorAs(t, err, &found)
		for _, f := range found.Findings {
			require.Equal(t, "document", f.Rule, f)
		}
	}
	d.Items = nil
	r, err := nphiesclient.BuildClaim(d, o)
	require.NoError(t, err)
	require.Empty(t, r.Warnings)
}

func x(at, name string) string { return at + ".extension('" + sd + "extension-" + name + "')" }

// TestPlaces: a finding about a document names the element of the message, and one about the message the field of the document.
func TestPlaces(t *testing.T) {
	t.Parallel()
	d := example(t, "claims/20-newborn-approved.json").Claim
	d.CareTeam = append(d.CareTeam, nphiesclient.CareMember{Name: "Dr. Two", Specialty: "08.00"})
	d.Patient.BirthDate, d.Coverage.Subscriber.BirthDate = "1899-01-01", "1899-01-01"
	d.Items[0].PatientShare, d.Episode, d.Encounter.Number, d.Coverage.Plan = nil, "", "", ""
	d.Payer.License, d.Provider.Type = "", ""
	d.Diagnoses[1].Code = d.Diagnoses[0].Code
	_, err := nphiesclient.BuildClaim(d, buildOptions())
	var found *nphiesclient.InvalidError
	require.ErrorAs(t, err, &found)
	got := map[string]string{}
	for _, f := range found.Findings {
		got[f.Path] = f.Expression
		require.NotEmpty(t, f.Fix, f)
	}
	const entry = "Bundle.entry[%].resource"
	at := func(n string) string { return strings.Replace(entry, "%", n, 1) }
	for place, want := range map[string]string{
		"episode":                        x(at("1"), "episode"),
		"items[0].patient_share":         x(at("1")+".item[0]", "patient-share"),
		"encounter.number":               at("2") + ".identifier",
		"coverage.plan":                  at("3") + ".class",
		"coverage.subscriber.birth_date": at("5") + ".birthDate",
		"care_team[1].license":           at("7") + ".identifier",
		"patient.birth_date":             at("8") + ".birthDate",
		"provider.type":                  x(at("9"), "provider-type"),
		"payer.license":                  at("10") + ".identifier",
		"diagnoses[1].code":              at("1") + ".diagnosis[1].diagnosisCodeableConcept",
	} {
		require.Equal(t, want, got[place], place)
	}
}

// TestLayoutIsTheMessage damages built messages at elements whose document fields are known, by way of the builder's own
// check: a rule made an error finds the place again.
func TestLayoutIsTheMessage(t *testing.T) {
	t.Parallel()
	settings, err := nphiesclient.ParseRules("length=warning GE-00021=warning IC-01574=warning BV-00848=warning")
	require.NoError(t, err)
	long := strings.Repeat("x", 40)
	d := example(t, "claims/20-newborn-approved.json").Claim
	d.Coverage.Network, d.Coverage.Subscriber.Family, d.Patient.Family = long, strings.Repeat("y", 101), strings.Repeat("z", 101)
	d.CareTeam = append(d.CareTeam, nphiesclient.CareMember{Name: "Dr. Two", Specialty: "08.00"})
	d.Location = &nphiesclient.Location{License: "L", Name: "N"}
	d.Provider.Type = ""
	o := buildOptions()
	o.Rules = settings
	r, err := nphiesclient.BuildClaim(d, o)
	require.NoError(t, err)
	seen := map[string]int{}
	for _, f := range r.Warnings {
		seen[f.Path]++
	}
	for _, place := range []string{"coverage.network", "coverage.subscriber.family", "patient.family", "care_team[1].license", "provider.type"} {
		require.Equal(t, 1, seen[place], "%s in %v: once, by document and message together", place, r.Warnings)
	}
	e := example(t, "eligibility/01-eligible.json").Eligibility
	e.Coverage.Network, e.Location = long, &nphiesclient.Location{License: "L", Name: "N"}
	r, err = nphiesclient.BuildEligibility(e, o)
	require.NoError(t, err)
	require.Len(t, r.Warnings, 1)
	require.Equal(t, "coverage.network Bundle.entry[5].resource.network", r.Warnings[0].Path+" "+r.Warnings[0].Expression)
}
