package nphiesclient_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/synth"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fixedNow is after every example's date of service.
var fixedNow = time.Date(2026, 11, 1, 9, 5, 12, 418e6, nphiesclient.Riyadh)

// countingIDs returns GUIDs that count.
func countingIDs() func() string {
	n := 0
	return func() string { n++; return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }
}

func buildOptions() nphiesclient.BuildOptions {
	return nphiesclient.BuildOptions{Now: fixedNow, NewID: countingIDs()}
}

// golden compares a message with testdata/golden/<name>.json, indented there for readers; digits are compared as text.
func golden(t *testing.T, name string, body []byte) {
	t.Helper()
	var got bytes.Buffer
	require.NoError(t, json.Indent(&got, body, "", " "))
	got.WriteByte('\n')
	file := filepath.Join("testdata", "golden", name+".json")
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, got.Bytes(), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run the test with -update")
	require.Equal(t, string(want), got.String())
}

func example(t *testing.T, name string) *nphiesclient.Input {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "examples", name))
	require.NoError(t, err)
	in, err := nphiesclient.ParseInput(b)
	require.NoError(t, err)
	return in
}

func TestGoldenMessages(t *testing.T) {
	t.Parallel()
	var names []string
	for _, pattern := range []string{"claims/*-approved.json", "claims/14-*", "claims/15-*", "priorauth/*", "eligibility/*"} {
		files, err := filepath.Glob("../examples/" + pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, f := range files {
			name, err := filepath.Rel("../examples", strings.TrimSuffix(f, ".json"))
			require.NoError(t, err)
			names = append(names, name)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := example(t, name+".json").Request(buildOptions())
			require.NoError(t, err)
			require.Empty(t, independentCheck(r.Body))
			golden(t, strings.ReplaceAll(name, "/", "-"), r.Body)
		})
	}
	claim := nphiesclient.ClaimRef{
		Identifier: nphiesclient.Identifier{System: "http://alwaha-demo.example/claim", Value: "CLM-DEMO-0001"}, Payer: "DEMO-INS-0001",
		PayerName: "Demo Cooperative Insurance",
	}
	task := func() nphiesclient.TaskOptions {
		return nphiesclient.TaskOptions{
			License: "DEMO-PR-0001", ProviderName: "Al Waha Demo Medical Complex", ProviderType: "2",
			IdentifierSystem: "http://alwaha-demo.example/task", Now: fixedNow, NewID: countingIDs(),
		}
	}
	for name, build := range map[string]func() (*nphiesclient.Request, error){
		"status": func() (*nphiesclient.Request, error) { return nphiesclient.BuildStatusCheck(claim, task()) },
		"cancel": func() (*nphiesclient.Request, error) { return nphiesclient.BuildCancel(claim, "WI", task()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := build()
			require.NoError(t, err)
			require.Empty(t, independentCheck(r.Body))
			golden(t, name, r.Body)
		})
	}
	t.Run("variants", func(t *testing.T) {
		t.Parallel()
		accident := example(t, "claims/01-professional-approved.json").Claim
		accident.Accident = &nphiesclient.Accident{Type: "MVA", Date: "2026-02-09"}
		accident.Authorization = &nphiesclient.Authorization{References: []string{"AUTH-BY-PHONE-7"}, OfflineDate: "2026-02-09"}
		r, err := nphiesclient.BuildClaim(accident, buildOptions())
		require.NoError(t, err)
		require.Empty(t, independentCheck(r.Body))
		golden(t, "variant-accident-offline-authorization", r.Body)
		discovery := example(t, "eligibility/01-eligible.json").Eligibility
		discovery.Coverage, discovery.Purpose = nil, nil
		r, err = nphiesclient.BuildEligibility(discovery, buildOptions())
		require.NoError(t, err)
		require.Contains(t, string(r.Body), `"discovery"`)
		require.Empty(t, independentCheck(r.Body))
		golden(t, "variant-eligibility-discovery", r.Body)
		stay := example(t, "claims/18-institutional-approved.json").Claim
		stay.Diagnoses[0].OnAdmission, stay.Diagnoses[0].ConditionOnset = "y", "POA"
		stay.Coverage.Dependent, stay.Payee = "01", "patient"
		share, err := nphiesclient.ParseAmount("10.00")
		require.NoError(t, err)
		stay.Items[0].PayerShare = &share
		i := slices.IndexFunc(stay.Supporting, func(x nphiesclient.Info) bool { return x.Category == "temperature" })
		stay.Supporting[i].Value = nil
		stay.Supporting[i].Absence = &nphiesclient.AbsenceReason{System: "http://nphies.sa/terminology/CodeSystem/temperature-absence-reason", Code: "refused"}
		stay.Supporting = append(stay.Supporting, nphiesclient.Info{Category: "attachment", Attachment: &nphiesclient.Attachment{
			ContentType: "application/pdf", Title: "Discharge letter", Created: "2026-02-10", Data: "JVBERi0=",
		}})
		r, err = nphiesclient.BuildClaim(stay, buildOptions())
		require.NoError(t, err)
		require.Empty(t, independentCheck(r.Body))
		golden(t, "variant-institutional-attachment", r.Body)
		drug := example(t, "claims/02-pharmacy-approved.json").Claim
		drug.Items[0].Medication.Substitute = "Irreplaceable"
		r, err = nphiesclient.BuildClaim(drug, buildOptions())
		require.NoError(t, err)
		require.Empty(t, independentCheck(r.Body))
		golden(t, "variant-pharmacy-substitute", r.Body)
		newborn := example(t, "eligibility/01-eligible.json").Eligibility
		newborn.Newborn, newborn.Transfer, newborn.Location = true, true, &nphiesclient.Location{License: "DEMO-LOC-1", Name: "Demo branch"}
		newborn.Coverage.Period = &nphiesclient.Period{Start: "2026-01-01", End: "2026-12-31"}
		newborn.ServiceDate, newborn.ServicePeriod = "", &nphiesclient.Period{Start: "2026-11-01", End: "2026-11-02"}
		r, err = nphiesclient.BuildEligibility(newborn, buildOptions())
		require.NoError(t, err)
		require.Empty(t, independentCheck(r.Body))
		golden(t, "variant-eligibility-newborn", r.Body)
	})
	t.Run("poll", func(t *testing.T) {
		t.Parallel()
		r, err := nphiesclient.BuildPoll(nphiesclient.PollOptions{
			License: "DEMO-PR-0001", ProviderName: "Al Waha Demo Medical Complex", ProviderType: "2", Count: 10,
			IdentifierSystem: "http://alwaha-demo.example/task", Include: []string{"claim-response", "priorauth-response"},
			Now: fixedNow, NewID: countingIDs(),
		})
		require.NoError(t, err)
		require.Empty(t, independentCheck(r.Body))
		golden(t, "poll", r.Body)
	})
}

// TestSameAsTheSampleMessages rebuilds the two sample claims from our documents and compares the Claim resources,
// which were written by hand from the guide.
func TestSameAsTheSampleMessages(t *testing.T) {
	t.Parallel()
	for doc, sample := range map[string]string{
		"claims/01-professional-approved.json": "claim-request-professional.json",
		"claims/02-pharmacy-approved.json":     "claim-request-pharmacy.json",
	} {
		r, err := example(t, doc).Request(buildOptions())
		require.NoError(t, err)
		got, want := claimResource(t, r.Body), claimResource(t, message(t, sample))
		for _, k := range []string{"type", "use", "status", "priority", "payee", "diagnosis", "total"} {
			require.Equal(t, want[k], got[k], "%s: %s", doc, k)
		}
		gotItems, wantItems := arr(got, "item"), arr(want, "item")
		require.Len(t, gotItems, len(wantItems))
		for i := range wantItems {
			for _, k := range []string{"sequence", "productOrService", "servicedDate", "quantity", "unitPrice", "factor", "net"} {
				require.Equal(t, at(wantItems[i], k), at(gotItems[i], k), "%s: item %d: %s", doc, i, k)
			}
			for _, e := range arr(wantItems[i], "extension") {
				require.Contains(t, urls(gotItems[i]), text(e, "url"), "%s: item %d", doc, i)
			}
		}
		for _, e := range arr(want, "extension") {
			require.Contains(t, urls(got), text(e, "url"), doc)
		}
		for k := range want {
			require.Contains(t, got, k, doc)
		}
	}
}

func urls(v any) []string {
	var out []string
	for _, e := range arr(v, "extension") {
		out = append(out, text(e, "url"))
	}
	return out
}

// claimResource is the Claim of a message, its numbers as float64: 230 and 230.00 compare equal here, the independent check
// is the exact one.
func claimResource(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var b map[string]any
	require.NoError(t, json.Unmarshal(body, &b))
	m, ok := at(b, "entry", 1, "resource").(map[string]any)
	require.True(t, ok)
	require.Equal(t, "Claim", m["resourceType"])
	return m
}

func TestEveryBuilderOutputPassesTheIndependentCheck(t *testing.T) {
	t.Parallel()
	for pos, data := range exampleValues(t) {
		in, err := nphiesclient.ParseInput(data)
		require.NoError(t, err, pos)
		r, err := in.Request(nphiesclient.BuildOptions{Now: fixedNow})
		require.NoError(t, err, pos)
		require.Empty(t, independentCheck(r.Body), pos)
		require.Empty(t, check(r), pos)
		sameWhenRead(t, r)
	}
	for n, d := range synth.Claims(20260701, 300, synth.Options{Use: synth.UseMixed}) {
		r, err := nphiesclient.BuildClaim(&d, nphiesclient.BuildOptions{Now: fixedNow})
		require.NoError(t, err, "claim %d", n)
		require.Empty(t, independentCheck(r.Body), "claim %d", n)
		sameWhenRead(t, r)
	}
	claim := nphiesclient.ClaimRef{Identifier: nphiesclient.Identifier{System: "http://x.example/claim", Value: "C"}, Payer: "P-1"}
	opts := nphiesclient.TaskOptions{License: "L-1", Now: fixedNow}
	status, err := nphiesclient.BuildStatusCheck(claim, opts)
	require.NoError(t, err)
	cancelled, err := nphiesclient.BuildCancel(claim, "WI", opts)
	require.NoError(t, err)
	poll, err := nphiesclient.BuildPoll(nphiesclient.PollOptions{License: "L-1", Now: fixedNow, Exclude: []string{"priorauth-response"}})
	require.NoError(t, err)
	for _, r := range []*nphiesclient.Request{status, cancelled, poll} {
		require.Empty(t, independentCheck(r.Body), r.Event)
		require.Empty(t, check(r), r.Event)
		sameWhenRead(t, r)
	}
}

// sameWhenRead: what the builder says of a request is what the message says.
func sameWhenRead(t *testing.T, r *nphiesclient.Request) {
	t.Helper()
	got, err := nphiesclient.ReadRequest(r.Body)
	require.NoError(t, err)
	require.True(t, r.Total.Equal(got.Total))
	require.True(t, r.Created.Equal(got.Created))
	a, b := *r, *got
	a.Total, b.Total, a.Created, b.Created = nphiesclient.Amount{}, nphiesclient.Amount{}, time.Time{}, time.Time{}
	require.Equal(t, a, b)
}

func TestBytesDependOnTheDocumentOnly(t *testing.T) {
	t.Parallel()
	in := example(t, "claims/07-professional-pended-partial.json")
	one, err := in.Request(buildOptions())
	require.NoError(t, err)
	two, err := in.Request(buildOptions())
	require.NoError(t, err)
	require.Equal(t, one.Body, two.Body)
	random, err := in.Request(nphiesclient.BuildOptions{Now: fixedNow})
	require.NoError(t, err)
	require.NotEqual(t, one.Body, random.Body)
	require.Empty(t, independentCheck(random.Body))
}

// TestFindings breaks a good document in one place each and asks for the rule and the path.
func TestFindings(t *testing.T) {
	t.Parallel()
	type doc = nphiesclient.ClaimDocument
	amount := func(s string) *nphiesclient.Amount { a := nphiesclient.MustAmount(s); return &a }
	number := func(s string) *nphiesclient.Number { n := nphiesclient.MustNumber(s); return &n }
	for _, c := range []struct {
		rule, path string
		breakIt    func(d *doc)
	}{
		{"BV-00457", "claim_number", func(d *doc) { d.ClaimNumber = " " }},
		{"BV-00275", "claim_number", func(d *doc) { d.ClaimNumber = strings.Repeat("x", 51) }},
		{"BV-00365", "subtype", func(d *doc) { d.SubType = "ip" }},
		{"BV-00064", "created", func(d *doc) { d.Created = "2027-01-01" }},
		{"GE-00020", "provider.license", func(d *doc) { d.Provider.License = "OTHER" }},
		{"IC-01574", "provider.type", func(d *doc) { d.Provider.Type = "" }},
		{"GE-00015", "payer.license", func(d *doc) { d.Payer.License = "" }},
		{"BV-00798", "patient.id_number", func(d *doc) { d.Patient.IDNumber = "1000000000" }},
		{"BV-00797", "patient.id_number", func(d *doc) { d.Patient.IDType = "national_id" }},
		{"BV-00481", "patient.id_country", func(d *doc) { d.Patient.IDType = "passport" }},
		{"BV-00848", "patient.birth_date", func(d *doc) { d.Patient.BirthDate = "1899-12-31" }},
		{"IC-01428", "patient.occupation", func(d *doc) { d.Patient.Occupation = "" }},
		{"IC-01428", "coverage", func(d *doc) { d.Coverage = nil }},
		{"IC-01564", "coverage.policy_holder", func(d *doc) { d.Coverage.PolicyHolder = "" }},
		{"IC-01571", "coverage.plan", func(d *doc) { d.Coverage.Plan = "" }},
		{"IB-00109", "coverage.type", func(d *doc) { d.Coverage.Type = "PRIVATE" }},
		{"IC-01428", "care_team", func(d *doc) { d.CareTeam = nil }},
		{"GE-00021", "care_team[0].license", func(d *doc) { d.CareTeam[0].License = "" }},
		{"RE-00189", "encounter", func(d *doc) { d.Encounter = nil }},
		{"IC-00183", "encounter.number", func(d *doc) { d.Encounter.Number = "" }},
		{"BV-00755", "encounter.class", func(d *doc) { d.SubType = "emr" }},
		{"BV-00811", "encounter.start", func(d *doc) { d.Encounter.Start = "2026-02-10" }},
		{"BV-00736", "encounter.service_event", func(d *doc) { d.Encounter.ServiceEvent = "" }},
		{"BV-00054", "diagnoses", func(d *doc) { d.Diagnoses[0].Type = "secondary" }},
		{"BV-00057", "diagnoses[1].code", func(d *doc) {
			d.Diagnoses = append(d.Diagnoses, nphiesclient.Diagnosis{Code: "r51", Type: "secondary"})
		}},
		{"BV-00477", "diagnoses[0].type", func(d *doc) { d.Diagnoses[0].Type = "admitting" }},
		{"BV-00779", "supporting_information", func(d *doc) { d.Supporting = d.Supporting[1:] }},
		{"BV-00752", "supporting_information", func(d *doc) { d.Supporting = d.Supporting[:13] }},
		{"BV-00846", "supporting_information[13]", func(d *doc) { d.Supporting[13].Code = "IRA" }},
		{"IC-01428", "items", func(d *doc) { d.Items = nil }},
		{"BV-00066", "items[0].date", func(d *doc) { d.Items[0].Date = "" }},
		{"BV-00439", "items[0]", func(d *doc) { d.Items[0].Period = &nphiesclient.Period{Start: "2026-02-10", End: "2026-02-10"} }},
		{"BV-00041", "items[0]", func(d *doc) { d.Items[0].Date = "2026-02-11" }},
		{"BV-00061", "items[0]", func(d *doc) { d.Created = "2026-02-09" }},
		{"BV-00482", "items[1].factor", func(d *doc) { d.Items[1].Factor = number("0") }},
		{"BV-00251", "items[0].net", func(d *doc) { d.Items[0].Net = amount("230.01") }},
		{"BV-00059", "total", func(d *doc) { d.Total = amount("333.49") }},
		{"GE-00028", "items[0].unit_price", func(d *doc) { d.Items[0].UnitPrice = amount("200.001") }},
		{"BV-00442", "items[0].care_team", func(d *doc) { d.Items[0].CareTeam = []int{2} }},
		{"BV-00443", "items[0].diagnoses", func(d *doc) { d.Items[0].Diagnoses = []int{0} }},
		{"BV-00444", "items[0].information", func(d *doc) { d.Items[0].Information = []int{15} }},
		{"BV-00502", "items[0].information", func(d *doc) { d.Items[0].Information = []int{1, 1} }},
		{"IC-01454", "items[0].invoice", func(d *doc) { d.Invoice = "" }},
		{"IC-01453", "episode", func(d *doc) { d.Episode = "" }},
		{"BV-00036", "items[0].details", func(d *doc) { d.Items[0].Package = true }},
		{"BV-00526", "items[0].local.system", func(d *doc) { d.Items[0].Local = &nphiesclient.Code{System: "services", Code: "1"} }},
		{"BV-01010", "accounting_period", func(d *doc) { d.AccountingPeriod = "2026-02-02" }},
		{"BV-00379", "eligibility", func(d *doc) { d.Eligibility = nil }},
		{"BV-00381", "eligibility", func(d *doc) { d.Eligibility.OfflineReference = "x" }},
		{"BV-00420", "authorization", func(d *doc) { d.Authorization = &nphiesclient.Authorization{References: []string{"A"}} }},
		{"BV-00506", "supporting_information", func(d *doc) { d.Newborn = true }},
		{"IB-00242", "accident.type", func(d *doc) { d.Accident = &nphiesclient.Accident{Type: "X", Date: "2026-02-01"} }},
		{"IB-00242", "priority", func(d *doc) { d.Priority = "urgent" }},
		{"IB-00242", "patient.gender", func(d *doc) { d.Patient.Gender = "m" }},
		{"IB-00242", "patient.administrative_gender", func(d *doc) { d.Patient.AdministrativeGender = "X" }},
		{"IB-00242", "coverage.relationship", func(d *doc) { d.Coverage.Relationship = "wife" }},
		{"IB-00242", "care_team[0].role", func(d *doc) { d.CareTeam[0].Role = "doctor" }},
		{"IB-00242", "encounter.class", func(d *doc) { d.Encounter.Class = "IMP" }},
		{"IB-00242", "encounter.status", func(d *doc) { d.Encounter.Status = "done" }},
		{"IB-00242", "diagnoses[0].type", func(d *doc) { d.Diagnoses[0].Type = "main" }},
		{"BV-00725", "related[0].relationship", func(d *doc) { d.Related = []nphiesclient.RelatedClaim{{ClaimNumber: "C", Relationship: "before"}} }},
		{"amount", "items[0].tax", func(d *doc) { d.Items[0].Tax = amount("-1") }},
		{"amount", "items[0].patient_share", func(d *doc) { d.Items[0].PatientShare = amount("-0.01") }},
	} {
		t.Run(c.rule+" "+c.path, func(t *testing.T) {
			t.Parallel()
			d := example(t, "claims/01-professional-approved.json").Claim
			c.breakIt(d)
			_, err := nphiesclient.BuildClaim(d, nphiesclient.BuildOptions{Now: fixedNow, License: "DEMO-PR-0001"})
			requireFinding(t, err, c.rule, c.path)
			var invalid *nphiesclient.InvalidError
			require.ErrorAs(t, err, &invalid)
			o := nphiesclient.BuildOptions{Now: fixedNow, License: "DEMO-PR-0001"}
			for _, f := range invalid.Findings {
				require.NotEmpty(t, f.Fix, f)
			}
			off := ""
			for _, r := range rulesOf(invalid.Findings) {
				off += r + "=off "
			}
			o.Rules, err = nphiesclient.ParseRules(off)
			require.NoError(t, err, "each can be switched")
			if r, err := nphiesclient.BuildClaim(d, o); err == nil {
				require.Empty(t, r.Warnings)
			}
		})
	}
	for _, relationship := range []string{"self", "spouse", "child", "parent", "common", "other", "injured"} {
		d := example(t, "claims/01-professional-approved.json").Claim
		d.Coverage.Relationship = relationship
		_, err := nphiesclient.BuildClaim(d, buildOptions())
		require.NoError(t, err, relationship)
	}
}

// TestAdviceFits: what to do depends on what is wrong, also where one rule asks for many things.
func TestAdviceFits(t *testing.T) {
	t.Parallel()
	type doc = nphiesclient.ClaimDocument
	for _, c := range []struct {
		file, path, fix string
		breakIt         func(d *doc)
	}{
		{"01-professional-approved", "care_team", "Enter what is missing.", func(d *doc) { d.CareTeam = nil }},
		{"02-pharmacy-approved", "care_team", "Take the care team out.", func(d *doc) {
			d.CareTeam = []nphiesclient.CareMember{{License: "L", Name: "N", Specialty: "08.00"}}
		}},
		{"01-professional-approved", "items[0].quantity", "Enter a quantity above zero.", func(d *doc) { d.Items[0].Quantity = nphiesclient.MustNumber("-1") }},
	} {
		d := example(t, "claims/"+c.file+".json").Claim
		c.breakIt(d)
		_, err := nphiesclient.BuildClaim(d, buildOptions())
		requireFinding(t, err, "IC-01428", c.path)
		var invalid *nphiesclient.InvalidError
		require.ErrorAs(t, err, &invalid)
		i := slices.IndexFunc(invalid.Findings, func(f nphiesclient.Finding) bool { return f.Path == c.path })
		require.Equal(t, c.fix, invalid.Findings[i].Fix)
	}
	good := goodMessages(t)
	for _, c := range []struct{ message, place, value, fix string }{
		{"professional", "Patient/name", ``, "Correct this element."},
		{"professional", "Patient/gender", ``, "Enter what is missing."},
		{"professional", "Claim/careTeam/0/sequence", ``, "Number the entries 1, 2, 3."},
		{"professional", "Claim/careTeam/0/provider", ``, "Correct this element."},
		{"professional", "Claim/insurance/0/focal", `"true"`, "Write it without quotes."},
		{"professional", "Coverage/network", `"a\u0007"`, "Take the control characters out."},
		{"professional", "Coverage/network", `""`, "Leave the empty element out, or send the message again from the system that made it."},
	} {
		broken := *good[c.message]
		broken.Body = damage(t, broken.Body, c.place, c.value)
		var fixes []string
		for _, f := range check(&broken) {
			fixes = append(fixes, f.Fix)
		}
		require.Contains(t, fixes, c.fix, "%s: %v", c.place, check(&broken))
	}
}

func requireFinding(t *testing.T, err error, rule, path string) {
	t.Helper()
	var invalid *nphiesclient.InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	require.True(t, fault.Of(err).Permanent)
	for _, f := range invalid.Findings {
		if f.Rule == rule && f.Path == path {
			return
		}
	}
	require.Failf(t, "finding missing", "want %s at %s, have %v", rule, path, invalid.Findings)
}

func TestFindingsOfPharmacyAndDetails(t *testing.T) {
	t.Parallel()
	build := func(name string, breakIt func(d *nphiesclient.ClaimDocument)) error {
		d := example(t, name).Claim
		breakIt(d)
		_, err := nphiesclient.BuildClaim(d, buildOptions())
		return err
	}
	pharmacy, details := "claims/02-pharmacy-approved.json", "claims/14-professional-details.json"
	requireFinding(t, build(pharmacy, func(d *nphiesclient.ClaimDocument) { d.Items[0].DaysSupply = 0 }), "BV-00376", "items[0].days_supply")
	requireFinding(t, build(pharmacy, func(d *nphiesclient.ClaimDocument) { d.Items[1].Medication = nil }),
		"BV-00708", "items[1].medication.selection_reason")
	requireFinding(t, build(details, func(d *nphiesclient.ClaimDocument) {
		a := nphiesclient.MustAmount("1")
		d.Items[1].Net = &a
	}), "BV-00224", "items[1].net")
	requireFinding(t, build(details, func(d *nphiesclient.ClaimDocument) {
		a := nphiesclient.MustAmount("1")
		d.Items[1].UnitPrice = &a
	}), "BV-00372", "items[1].unit_price")
	requireFinding(t, build(details, func(d *nphiesclient.ClaimDocument) {
		d.Items[1].Details[0].Quantity = nphiesclient.MustNumber("2")
	}), "BV-00251", "items[1]")
}

// TestErrorsNameNoPatient builds documents whose patient fields are all wrong and looks for their values in the error.
func TestErrorsNameNoPatient(t *testing.T) {
	t.Parallel()
	d := example(t, "claims/01-professional-approved.json").Claim
	secret := "SECRETVALUE"
	d.Patient = nphiesclient.Patient{
		IDType: secret, IDNumber: secret + strings.Repeat("9", 60), Name: strings.Repeat(secret, 40), Gender: secret, BirthDate: secret,
		AdministrativeGender: secret, MaritalStatus: "", Family: strings.Repeat(secret, 40),
	}
	d.Coverage.MemberID = strings.Repeat(secret, 10)
	d.Coverage.PolicyHolder = strings.Repeat(secret, 40)
	_, err := nphiesclient.BuildClaim(d, buildOptions())
	var invalid *nphiesclient.InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Greater(t, len(invalid.Findings), 6)
	require.NotContains(t, fmt.Sprint(invalid.Findings), secret)
	require.NotContains(t, err.Error(), secret)

	for _, bad := range []string{
		`{"document":"nphiesq/claim/v1","patient":{"name":{"x":"SECRETVALUE"},"given":"SECRETVALUE","birth_date":12345678,"phone":true}}`,
		`{"document":"nphiesq/claim/v1","patient":{"name":"SECRETVALUE`,
		`{"document":"nphiesq/claim/v1","patient":{"name":"a"} "SECRETVALUE"}`,
		`{"document":"nphiesq/claim/v1","total":"SECRETVALUE"}`,
	} {
		_, err := nphiesclient.ParseInput([]byte(bad))
		require.Error(t, err)
		require.NotContains(t, fmt.Sprint(err), secret)
		require.NotContains(t, fmt.Sprint(err), "12345678")
		require.ErrorAs(t, err, &invalid)
		require.NotContains(t, fmt.Sprint(invalid.Findings), secret)
	}
}

func TestEligibilityDates(t *testing.T) {
	t.Parallel()
	build := func(now time.Time, change func(d *nphiesclient.EligibilityDocument)) (*nphiesclient.Request, error) {
		d := example(t, "eligibility/01-eligible.json").Eligibility
		change(d)
		return nphiesclient.BuildEligibility(d, nphiesclient.BuildOptions{Now: now})
	}
	// 22:30 in UTC is the next day in Riyadh.
	late := time.Date(2026, 5, 31, 22, 30, 0, 0, time.UTC)
	r, err := build(late, func(*nphiesclient.EligibilityDocument) {})
	require.NoError(t, err)
	require.Contains(t, string(r.Body), `"servicedDate":"2026-06-01"`)
	require.Contains(t, string(r.Body), `"created":"2026-06-01T01:30:00+03:00"`)
	_, err = build(late, func(d *nphiesclient.EligibilityDocument) { d.ServiceDate = "2026-05-31" })
	requireFinding(t, err, "BV-00058", "service_date")
	_, err = build(late, func(d *nphiesclient.EligibilityDocument) { d.ServicePeriod = &nphiesclient.Period{Start: "2026-06-02"} })
	requireFinding(t, err, "BV-00437", "service_period")
	_, err = build(late, func(d *nphiesclient.EligibilityDocument) { d.Coverage, d.Purpose = nil, []string{"benefits"} })
	requireFinding(t, err, "IC-01428", "purpose")
}

func TestEmergencyAndAdmission(t *testing.T) {
	t.Parallel()
	d := example(t, "claims/01-professional-approved.json").Claim
	d.SubType, d.Encounter.Class = "emr", "EMER"
	_, err := nphiesclient.BuildClaim(d, buildOptions())
	requireFinding(t, err, "BV-00728", "encounter.emergency")
	d.Encounter.Emergency = &nphiesclient.Emergency{
		ArrivalCode: "AMB", TriageCategory: "3", TriageTime: "2026-02-10T09:22:00+03:00", ServiceStart: "2026-02-10T09:25:00+03:00",
	}
	_, err = nphiesclient.BuildClaim(d, buildOptions())
	requireFinding(t, err, "BV-00735", "encounter.emergency.disposition")
	d.Encounter.Emergency.Disposition = "home"
	r, err := nphiesclient.BuildClaim(d, buildOptions())
	require.NoError(t, err)
	require.Equal(t, "emr", r.ClaimSubType)
	require.Empty(t, independentCheck(r.Body))
}

func TestBuildOptionsSwitches(t *testing.T) {
	t.Parallel()
	o := buildOptions()
	o.PriorAuthExtension = "priorauthresponse"
	r, err := example(t, "claims/02-pharmacy-approved.json").Request(o)
	require.NoError(t, err)
	require.Contains(t, string(r.Body), "extension-priorauthresponse")
	o = buildOptions()
	o.EncounterProfilePerClass = true
	r, err = example(t, "claims/01-professional-approved.json").Request(o)
	require.NoError(t, err)
	require.Contains(t, string(r.Body), "encounter-claim-AMB|1.0.0")

	d := example(t, "claims/01-professional-approved.json").Claim
	d.Provider.License = ""
	o = buildOptions()
	_, err = nphiesclient.BuildClaim(d, o)
	requireFinding(t, err, "BV-00176", "provider.license")
	o.License = "FROM-SETTINGS"
	r, err = nphiesclient.BuildClaim(d, o)
	require.NoError(t, err)
	require.Equal(t, "FROM-SETTINGS", r.License)
	require.Empty(t, d.Provider.License, "the document is not changed")
}

// TestDaysSupplyAsInformation: a days supply given as supporting information belongs to the items that point at it, and to no
// other.
func TestDaysSupplyAsInformation(t *testing.T) {
	t.Parallel()
	d := example(t, "claims/02-pharmacy-approved.json").Claim
	days := nphiesclient.MustNumber("7")
	d.Supporting = append(d.Supporting, nphiesclient.Info{Category: "days-supply", Value: &days})
	d.Items[0].DaysSupply, d.Items[0].Information = 0, []int{1, 2, 3, 4, 5, 6}
	r, err := nphiesclient.BuildClaim(d, buildOptions())
	require.NoError(t, err)
	require.Empty(t, independentCheck(r.Body))
	require.Contains(t, string(r.Body), `"informationSequence":[1,2,3,4,5,6]`)
	require.Contains(t, string(r.Body), `"informationSequence":[1,2,3,4,5,7]`)
}

func TestPollOptions(t *testing.T) {
	t.Parallel()
	_, err := nphiesclient.BuildPoll(nphiesclient.PollOptions{})
	requireFinding(t, err, "BV-00176", "license")
	_, err = nphiesclient.BuildPoll(nphiesclient.PollOptions{License: "L", Count: 101})
	requireFinding(t, err, "document", "count")
	_, err = nphiesclient.BuildPoll(nphiesclient.PollOptions{License: "L", Include: []string{"a"}, Exclude: []string{"b"}})
	requireFinding(t, err, "IB-00294", "exclude")
	_, err = nphiesclient.BuildCancel(nphiesclient.ClaimRef{}, "??", nphiesclient.TaskOptions{License: "L"})
	requireFinding(t, err, "BV-00071", "reason")
}

func TestPreauthorizationFindings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule, path, name string
		breakIt          func(d *nphiesclient.ClaimDocument)
	}{
		{"BV-00802", "supporting_information", "01-institutional", func(d *nphiesclient.ClaimDocument) { d.Supporting = d.Supporting[:14] }},
		{"document", "episode", "02-professional", func(d *nphiesclient.ClaimDocument) { d.Episode = "E" }},
		{"document", "invoice", "02-professional", func(d *nphiesclient.ClaimDocument) { d.Invoice = "I" }},
		{"document", "items[0].invoice", "02-professional", func(d *nphiesclient.ClaimDocument) { d.Items[0].Invoice = "I" }},
		{"document", "accounting_period", "02-professional", func(d *nphiesclient.ClaimDocument) { d.AccountingPeriod = "2026-02-01" }},
		{"BV-00165", "use", "02-professional", func(d *nphiesclient.ClaimDocument) { d.Use = "predetermination" }},
		{"BV-00508", "transfer", "01-institutional", func(d *nphiesclient.ClaimDocument) { d.Use = "" }},
		{"IC-01453", "episode", "03-oral", func(d *nphiesclient.ClaimDocument) { d.Use = "claim" }},
		{"IC-01428", "items[0].patient_share", "03-oral", func(d *nphiesclient.ClaimDocument) { d.Use = "claim" }},
		{"BV-00492", "payee", "03-oral", func(d *nphiesclient.ClaimDocument) { d.Payee = "me" }},
		{"BV-00494", "payee", "05-vision", func(d *nphiesclient.ClaimDocument) { d.Payee = "subscriber" }},
		{"IC-01428", "location.license", "05-vision", func(d *nphiesclient.ClaimDocument) { d.Location = &nphiesclient.Location{Name: "x"} }},
	} {
		d := example(t, "priorauth/"+c.name+".json").Claim
		c.breakIt(d)
		_, err := nphiesclient.BuildClaim(d, buildOptions())
		requireFinding(t, err, c.rule, c.path)
	}
	d := example(t, "priorauth/02-professional.json").Claim
	d.Items[0].Date, d.Items[1].Date, d.Encounter.Start, d.Encounter.End = "2027-01-04", "2027-01-04", "2027-01-04T09:00:00+03:00", ""
	r, err := nphiesclient.BuildClaim(d, buildOptions())
	require.NoError(t, err, "what is asked for may lie ahead")
	require.Equal(t, "priorauth-request preauthorization", r.Event+" "+r.Use)
}

func TestSubDetailsSumUp(t *testing.T) {
	t.Parallel()
	for path, change := range map[string]func(x *nphiesclient.Detail, a *nphiesclient.Amount){
		"BV-00224 items[1].details[0].net":                 func(x *nphiesclient.Detail, a *nphiesclient.Amount) { x.Net = a },
		"BV-00372 items[1].details[0].unit_price":          func(x *nphiesclient.Detail, a *nphiesclient.Amount) { x.UnitPrice = a },
		"BV-00251 items[1].details[0].sub_details[1].net":  func(x *nphiesclient.Detail, a *nphiesclient.Amount) { x.SubDetails[1].Net = a },
		"IC-01428 items[1].details[0].sub_details[0].code": func(x *nphiesclient.Detail, _ *nphiesclient.Amount) { x.SubDetails[0].Code = "" },
		"BV-00251 items[1].details[0]": func(x *nphiesclient.Detail, _ *nphiesclient.Amount) {
			x.SubDetails[1].Quantity = nphiesclient.MustNumber("2")
		},
	} {
		d := example(t, "claims/18-institutional-approved.json").Claim
		a := nphiesclient.MustAmount("299.99")
		change(&d.Items[1].Details[0], &a)
		_, err := nphiesclient.BuildClaim(d, buildOptions())
		rule, place, _ := strings.Cut(path, " ")
		requireFinding(t, err, rule, place)
	}
}

func TestPayees(t *testing.T) {
	t.Parallel()
	for payee, want := range map[string]string{"patient": "Patient", "subscriber": "Patient", "policy_holder": "Organization"} {
		d := example(t, "claims/20-newborn-approved.json").Claim
		d.Payee = payee
		r, err := nphiesclient.BuildClaim(d, buildOptions())
		require.NoError(t, err)
		require.Empty(t, independentCheck(r.Body), payee)
		party := text(claimResource(t, r.Body), "payee", "party", "reference")
		require.Contains(t, party, "/"+want+"/", payee)
		require.Equal(t, payee == "patient", party == text(claimResource(t, r.Body), "patient", "reference"), payee)
	}
}

func TestAdministratorReceives(t *testing.T) {
	t.Parallel()
	d := example(t, "claims/01-professional-approved.json").Claim
	d.Payer.TPALicense = "DEMO-TPA-1"
	r, err := nphiesclient.BuildClaim(d, buildOptions())
	require.NoError(t, err)
	require.Equal(t, "DEMO-TPA-1", r.Payer)
	require.Equal(t, []string{"insurer is not the receiver"}, independentCheck(r.Body))
	sameWhenRead(t, r)
	e := example(t, "eligibility/01-eligible.json").Eligibility
	e.Payer.TPALicense, e.Location = "DEMO-TPA-1", &nphiesclient.Location{License: "DEMO-LOC-0001", Name: "Ward"}
	r, err = nphiesclient.BuildEligibility(e, buildOptions())
	require.NoError(t, err)
	require.Equal(t, "DEMO-TPA-1", r.Payer)
	require.Contains(t, string(r.Body), `"facility":{"reference":"http://alwaha-demo.example/Location/`)
	r, err = nphiesclient.BuildStatusCheck(nphiesclient.ClaimRef{
		Identifier: nphiesclient.Identifier{System: "http://x.example/claim", Value: "C"}, Payer: "DEMO-TPA-1", Insurer: "DEMO-INS-0001",
	}, nphiesclient.TaskOptions{License: "L-1", Now: fixedNow})
	require.NoError(t, err)
	require.Equal(t, "DEMO-TPA-1", r.Payer)
	require.Equal(t, []string{"insurer is not the receiver"}, independentCheck(r.Body))
}

func TestProfileVersion(t *testing.T) {
	t.Parallel()
	o := buildOptions()
	o.ProfileVersion = "2.0.0"
	claim, err := example(t, "claims/01-professional-approved.json").Request(o)
	require.NoError(t, err)
	poll, err := nphiesclient.BuildPoll(nphiesclient.PollOptions{License: "L-1", Now: fixedNow, ProfileVersion: "2.0.0"})
	require.NoError(t, err)
	for _, r := range []*nphiesclient.Request{claim, poll} {
		require.NotContains(t, string(r.Body), "|1.0.0")
		require.Contains(t, string(r.Body), "bundle|2.0.0")
	}
	o = buildOptions()
	o.EncounterProfilePerClass = true
	before, err := example(t, "priorauth/02-professional.json").Request(o)
	require.NoError(t, err)
	require.Contains(t, string(before.Body), "encounter-auth-AMB|1.0.0")
}

// TestOwnEligibilityCheck: a document names our own check, or none at all, and the builder asks for the answer to quote.
func TestOwnEligibilityCheck(t *testing.T) {
	t.Parallel()
	answer := nphiesclient.Identifier{System: "http://demo-payer.example/answers", Value: "ELR-9"}
	var asked []nphiesclient.EligibilityQuery
	find := func(id nphiesclient.Identifier, err error) func(nphiesclient.EligibilityQuery) (nphiesclient.Identifier, error) {
		return func(q nphiesclient.EligibilityQuery) (nphiesclient.Identifier, error) {
			asked = append(asked, q)
			return id, err
		}
	}
	build := func(ref *nphiesclient.EligibilityRef, quote bool, f func(nphiesclient.EligibilityQuery) (nphiesclient.Identifier, error)) (string, error) {
		d := example(t, "claims/01-professional-approved.json").Claim
		d.Eligibility = ref
		o := buildOptions()
		o.FindEligibility, o.QuoteEligibility = f, quote
		r, err := nphiesclient.BuildClaim(d, o)
		if err != nil {
			return "", err
		}
		require.Empty(t, independentCheck(r.Body))
		require.Equal(t, ref, d.Eligibility, "the document is not changed")
		quoted := at(extOf(claimResource(t, r.Body), "eligibility-response"), "valueReference", "identifier")
		return text(quoted, "system") + "|" + text(quoted, "value"), nil
	}
	patient := nphiesclient.Identifier{System: "http://nphies.sa/identifier/iqama", Value: "2000000000"}
	own := &nphiesclient.EligibilityRef{Request: "ELG-1"}

	got, err := build(own, false, find(answer, nil))
	require.NoError(t, err)
	require.Equal(t, answer.String(), got)
	got, err = build(nil, true, find(answer, nil))
	require.NoError(t, err)
	require.Equal(t, answer.String(), got)
	require.Equal(t, []nphiesclient.EligibilityQuery{
		{
			License: "DEMO-PR-0001", Payer: "DEMO-INS-0001", Patient: patient,
			Request: nphiesclient.Identifier{System: "http://alwaha-demo.example/coverageeligibilityrequest", Value: "ELG-1"},
		},
		{License: "DEMO-PR-0001", Payer: "DEMO-INS-0001", Patient: patient},
	}, asked)

	_, err = build(own, true, find(nphiesclient.Identifier{}, nil))
	requireFinding(t, err, "BV-00379", "eligibility.request")
	require.ErrorContains(t, err, "no positive answer yet")
	_, err = build(nil, true, find(nphiesclient.Identifier{}, nil))
	requireFinding(t, err, "BV-00379", "eligibility")
	_, err = build(nil, false, find(answer, nil))
	requireFinding(t, err, "BV-00379", "eligibility")
	_, err = build(own, false, nil)
	requireFinding(t, err, "document", "eligibility.request")
	_, err = build(&nphiesclient.EligibilityRef{Request: "A", Response: "B"}, false, find(answer, nil))
	requireFinding(t, err, "BV-00381", "eligibility.request")
	away := errors.New("the record is away")
	_, err = build(own, false, find(answer, away))
	require.ErrorIs(t, err, away)
}

// TestTextLengths: half as many characters are for Arabic letters only, where the guide says so; too much is told once.
func TestTextLengths(t *testing.T) {
	t.Parallel()
	type doc = nphiesclient.ClaimDocument
	info := func(category string) func(d *doc, s string) {
		return func(d *doc, s string) {
			for i := range d.Supporting {
				if d.Supporting[i].Category == category {
					d.Supporting[i].Text = s
				}
			}
		}
	}
	name := func(d *doc, s string) { d.Patient.Name = s }
	for _, c := range []struct {
		what   string
		set    func(d *doc, s string)
		text   string
		length int
		ok     bool
	}{
		{"plan", info("treatment-plan"), "–", 250, true},
		{"plan", info("treatment-plan"), "≥", 251, false},
		{"plan", info("treatment-plan"), "’", 250, true},
		{"plan", info("treatment-plan"), "ع", 125, true},
		{"plan", info("treatment-plan"), "ع", 126, false},
		{"plan", info("treatment-plan"), "x", 251, false},
		{"concept", info("chief-complaint"), "ع", 250, true},
		{"concept", info("chief-complaint"), "ع", 251, false},
		{"name", name, "é", 250, true},
		{"name", name, "Ž", 250, true},
		{"name", name, "ع", 125, true},
		{"name", name, "ع", 126, false},
	} {
		d := example(t, "claims/01-professional-approved.json").Claim
		c.set(d, strings.Repeat(c.text, c.length))
		r, err := nphiesclient.BuildClaim(d, buildOptions())
		if c.ok {
			require.NoError(t, err, "%s %s %d", c.what, c.text, c.length)
			require.Empty(t, r.Warnings, "%s %s %d", c.what, c.text, c.length)
			continue
		}
		var invalid *nphiesclient.InvalidError
		require.ErrorAs(t, err, &invalid, "%s %s %d", c.what, c.text, c.length)
		require.Equal(t, []string{"length"}, rulesOf(invalid.Findings), "%s %s %d", c.what, c.text, c.length)
		// The finished message, whoever made it, is judged alike.
		o := buildOptions()
		var errRules error
		o.Rules, errRules = nphiesclient.ParseRules("length=off")
		require.NoError(t, errRules)
		r, err = nphiesclient.BuildClaim(d, o)
		require.NoError(t, err)
		require.Equal(t, []string{"length"}, rulesOf(check(r)), "%s %s %d", c.what, c.text, c.length)
	}
}

// TestCreatedAheadOfOurClock: another system's clock may be ahead by as much in a document as in a ready message.
func TestCreatedAheadOfOurClock(t *testing.T) {
	t.Parallel()
	for ahead, ok := range map[time.Duration]bool{90 * time.Second: true, 15 * time.Minute: true, 16 * time.Minute: false} {
		created := fixedNow.Add(ahead).Format(time.RFC3339)
		claim := example(t, "claims/01-professional-approved.json").Claim
		claim.Created = created
		check := example(t, "eligibility/01-eligible.json").Eligibility
		check.Created = created
		_, claimErr := nphiesclient.BuildClaim(claim, buildOptions())
		_, checkErr := nphiesclient.BuildEligibility(check, buildOptions())
		if ok {
			require.NoError(t, claimErr, ahead)
			require.NoError(t, checkErr, ahead)
			continue
		}
		requireFinding(t, claimErr, "BV-00064", "created")
		requireFinding(t, checkErr, "BV-00062", "created")
	}
}
