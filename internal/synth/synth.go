// Package synth makes claim documents that are valid and invented: for load tests, drills, demos and property tests.
package synth

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/claimlinc/nphiesq/nphiesclient"
)

// Options changes what is generated. The zero value is usable.
type Options struct {
	// Use is what is made: UseClaim (default), UsePreauthorization, or UseMixed for both.
	Use string
	// Kinds are the claim types to choose from, by default all five. Repeat one to make it more frequent.
	Kinds []string
	// Behaviours are words for the simulator ("PARTIAL", "PEND"); each claim number gets one of them as SIM-<word>, chosen
	// by weight. Empty: no claim number contains SIM-. The word "" stands for none.
	Behaviours map[string]int
	// License and Namespace of the provider, by default DEMO-PR-0001 and http://alwaha-demo.example.
	License, Namespace string
	// Payers are licences to choose from, by default DEMO-INS-0001 alone.
	Payers []string
	// Prefix of claim numbers, by default CLM. At most 6 characters.
	Prefix string
}

// Values of Options.Use.
const (
	UseClaim            = nphiesclient.UseClaim
	UsePreauthorization = nphiesclient.UsePreauthorization
	UseMixed            = "mixed"
)

// kinds is the usual mix.
var kinds = []string{
	"professional", "professional", "professional", "professional", "professional",
	"pharmacy", "pharmacy", "pharmacy", "oral", "vision", "institutional",
}

// Claim returns claim or preauthorization n of the sequence that seed names: visits, emergencies, stays, newborns, medicines,
// teeth and glasses, with details, packages, VAT and discounts. The same seed, n and options give the same document; different
// seeds or n give different claim numbers. Each document is one that nphiesclient.BuildClaim takes, at any time after
// October 2026. n counts from 0.
func Claim(seed uint64, n int, o Options) nphiesclient.ClaimDocument {
	g := &generator{r: rand.New(rand.NewPCG(seed, uint64(n))), o: o} //nolint:gosec // repeatable on purpose, no secret; n >= 0
	return g.claim(seed, n)
}

// Claims returns the first n claims of a sequence.
func Claims(seed uint64, n int, o Options) []nphiesclient.ClaimDocument {
	out := make([]nphiesclient.ClaimDocument, n)
	for i := range out {
		out[i] = Claim(seed, i, o)
	}
	return out
}

type generator struct {
	r   *rand.Rand
	o   Options
	doc nphiesclient.ClaimDocument
	day time.Time
}

func pick[T any](g *generator, of ...T) T { return of[g.r.IntN(len(of))] }

func (g *generator) chance(percent int) bool { return g.r.IntN(100) < percent }

// amount is a price between low and high riyals, with halalas now and then.
func (g *generator) amount(low, high int64) *nphiesclient.Amount {
	n := low*100 + g.r.Int64N((high-low)*100+1)
	switch {
	case g.chance(50):
		n -= n % 100
	case g.chance(50):
		n -= n % 5
	}
	a := nphiesclient.Halalas(max(n, 1))
	return &a
}

func (g *generator) claim(seed uint64, n int) nphiesclient.ClaimDocument {
	prefix := g.o.Prefix
	if prefix == "" {
		prefix = "CLM"
	}
	number := fmt.Sprintf("%s-%s-%06d", prefix, strconv.FormatUint(seed, 36), n)
	types := g.o.Kinds
	if len(types) == 0 {
		types = kinds
	}
	g.day = time.Date(2026, 1, 5, 0, 0, 0, 0, nphiesclient.Riyadh).AddDate(0, 0, g.r.IntN(290))
	g.doc = nphiesclient.ClaimDocument{
		Document:    nphiesclient.DocumentClaim,
		Type:        pick(g, types...),
		ClaimNumber: number + g.behaviour(),
		Provider: nphiesclient.Provider{
			License: or(g.o.License, "DEMO-PR-0001"), Name: "Al Waha Demo Medical Complex", Type: "2",
			Namespace: or(g.o.Namespace, "http://alwaha-demo.example"),
		},
		Payer:       g.payer(),
		Patient:     g.patient(),
		Episode:     "EPI-" + number,
		Invoice:     "INV-" + number,
		Eligibility: &nphiesclient.EligibilityRef{Response: "ELR-" + number},
	}
	if g.chance(10) {
		g.doc.Eligibility = &nphiesclient.EligibilityRef{OfflineReference: "Call centre " + number, OfflineDate: g.date()}
	}
	g.coverage(n)
	g.diagnoses()
	switch g.doc.Type {
	case "pharmacy":
		g.pharmacy()
	case "oral":
		g.care("22.00")
		g.visit("AMB", "dental-care")
		g.oral()
	case "vision":
		g.care("17.00")
		g.vision()
	case "institutional":
		g.care("08.00")
		g.stay()
		g.services(2 + g.r.IntN(5))
		if g.chance(15) {
			g.newborn()
		}
	default:
		g.care("08.00")
		if g.chance(15) {
			g.emergency()
		} else {
			g.visit(pick(g, "AMB", "AMB", "AMB", "VR", "HH"), "acute-care")
		}
		g.services(1 + g.r.IntN(4))
	}
	if g.chance(15) {
		g.doc.Authorization = &nphiesclient.Authorization{References: []string{"AUTH-" + number}, Response: "AUR-" + number}
	}
	if g.o.Use == UsePreauthorization || (g.o.Use == UseMixed && g.chance(40)) {
		g.before()
	}
	return g.doc
}

// before makes a preauthorization of the claim.
func (g *generator) before() {
	g.doc.Use = UsePreauthorization
	g.doc.Episode, g.doc.Invoice, g.doc.Authorization = "", "", nil
	g.doc.Transfer = g.chance(10)
	if g.doc.Type == "institutional" {
		days := nphiesclient.MustNumber(strconv.Itoa(1 + g.r.IntN(9)))
		g.doc.Supporting = append(g.doc.Supporting, nphiesclient.Info{Category: "estimated-Length-of-Stay", Value: &days})
	}
	if g.chance(50) {
		for i := range g.doc.Items {
			g.doc.Items[i].PatientShare = nil
		}
	}
}

// emergency is a visit to the emergency department.
func (g *generator) emergency() {
	g.visit("EMER", "acute-care")
	g.doc.SubType, g.doc.Priority = "emr", "stat"
	e := g.doc.Encounter
	e.Emergency = &nphiesclient.Emergency{
		ArrivalCode: "AMB", TriageCategory: pick(g, "1", "2", "3", "4"), TriageTime: e.Start, ServiceStart: e.Start, Disposition: "home",
	}
}

// newborn makes the stay one of a child born on its first day, insured through a parent.
func (g *generator) newborn() {
	parent := g.doc.Patient
	g.doc.Newborn = true
	g.doc.Patient = nphiesclient.Patient{
		IDType: "mrn", IDNumber: "MRN-" + g.doc.Coverage.MemberID, Name: "Demo Newborn " + parent.Family, Family: parent.Family,
		Gender: pick(g, "male", "female"), BirthDate: g.date(), MaritalStatus: "U", Occupation: "unknown",
	}
	g.doc.Coverage.Relationship, g.doc.Coverage.Subscriber, g.doc.Coverage.SubscriberID = "child", &parent, g.doc.Coverage.MemberID
	g.doc.Diagnoses = []nphiesclient.Diagnosis{
		{Code: "P22.1", Display: "Transient tachypnoea of newborn", Type: "principal"},
		{Code: "Z38.0", Display: "Singleton, born in hospital", Type: "secondary"},
	}
	weight := nphiesclient.MustNumber(fmt.Sprintf("%d.%d", 2+g.r.IntN(2), 5+g.r.IntN(5)))
	for _, category := range []string{"birth-weight", "admission-weight"} {
		g.doc.Supporting = append(g.doc.Supporting, nphiesclient.Info{Category: category, Value: &weight})
	}
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (g *generator) date() string { return g.day.Format(time.DateOnly) }

// behaviour is the ending of a claim number that tells the simulator what to do.
func (g *generator) behaviour() string {
	total := 0
	words := make([]string, 0, len(g.o.Behaviours))
	for w, weight := range g.o.Behaviours {
		if weight > 0 {
			words = append(words, w)
			total += weight
		}
	}
	if total == 0 {
		return ""
	}
	slices.Sort(words)
	at := g.r.IntN(total)
	for _, w := range words {
		if at -= g.o.Behaviours[w]; at < 0 {
			if w == "" {
				return ""
			}
			return "-SIM-" + w
		}
	}
	return ""
}

func (g *generator) payer() nphiesclient.Payer {
	license := "DEMO-INS-0001"
	if len(g.o.Payers) > 0 {
		license = pick(g, g.o.Payers...)
	}
	return nphiesclient.Payer{License: license, Name: "Demo Insurance " + license, Namespace: "http://demo-payer.example"}
}

// patient is invented; the id fails the check digit of real ones.
func (g *generator) patient() nphiesclient.Patient {
	p := nphiesclient.Patient{
		Gender: pick(g, "male", "female"), MaritalStatus: pick(g, "S", "M", "M", "D", "W"),
		Occupation: pick(g, "business", "education", "housewife", "student", "others"),
		BirthDate:  time.Date(1940, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, g.r.IntN(80*365)).Format(time.DateOnly),
	}
	p.Family = pick(g, "Alpha", "Bravo", "Charlie", "Delta", "Echo", "Foxtrot", "Golf", "Hotel")
	p.Given = []string{pick(g, "Nasser", "Salma", "Huda", "Omar", "Lina", "Majed", "Reem", "Fahad")}
	p.Name = "Demo Patient " + p.Given[0] + " " + p.Family
	switch g.r.IntN(10) {
	case 0:
		p.IDType, p.IDCountry = "passport", pick(g, "JOR", "EGY", "IND", "PAK")
		p.IDNumber = fmt.Sprintf("X%07d", g.r.IntN(10_000_000))
	case 1, 2, 3:
		p.IDType, p.IDNumber = "iqama", g.personID('2')
	default:
		p.IDType, p.IDNumber = "national_id", g.personID('1')
	}
	return p
}

// personID returns ten digits whose check digit is wrong, so that it can be nobody's.
func (g *generator) personID(first byte) string {
	id := []byte(fmt.Sprintf("%c%09d", first, g.r.IntN(1_000_000_000)))
	if luhn(id) {
		id[9] = '0' + (id[9]-'0'+1)%10
	}
	return string(id)
}

func luhn(id []byte) bool {
	sum := 0
	for i, c := range id {
		d := int(c - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

func (g *generator) coverage(n int) {
	c := &nphiesclient.Coverage{
		MemberID: fmt.Sprintf("MEM-%07d", g.r.IntN(10_000_000)), Type: pick(g, "EHCPOL", "EHCPOL", "PUBLICPOL"),
		PolicyHolder: "Demo Trading Establishment", Relationship: pick(g, "self", "self", "self", "spouse", "child"),
		Plan: pick(g, "DEMO-PLAN-A", "DEMO-PLAN-B", "DEMO-PLAN-C"), Network: "Demo Network 1",
		Period: &nphiesclient.Period{Start: "2026-01-01", End: "2026-12-31"},
	}
	if c.Relationship != "self" && n%2 == 0 {
		s := g.patient()
		c.Subscriber, c.SubscriberID = &s, fmt.Sprintf("MEM-%07d", g.r.IntN(10_000_000))
	}
	g.doc.Coverage = c
}

func (g *generator) diagnoses() {
	principal := map[string][][2]string{
		"oral":   {{"K02.1", "Caries of dentine"}, {"K04.0", "Pulpitis"}},
		"vision": {{"H52.1", "Myopia"}, {"H52.2", "Astigmatism"}},
	}[g.doc.Type]
	if principal == nil {
		principal = [][2]string{
			{"R51", "Headache"},
			{"J06.9", "Acute upper respiratory infection"},
			{"M54.5", "Low back pain"},
			{"E11.9", "Type 2 diabetes mellitus without complication"},
			{"K21.9", "Gastro-oesophageal reflux disease"},
		}
	}
	d := pick(g, principal...)
	g.doc.Diagnoses = []nphiesclient.Diagnosis{{Code: d[0], Display: d[1], Type: "principal"}}
	if g.chance(30) {
		g.doc.Diagnoses = append(g.doc.Diagnoses, nphiesclient.Diagnosis{Code: "I10", Display: "Essential hypertension", Type: "secondary"})
	}
}

func (g *generator) care(specialty string) {
	g.doc.CareTeam = []nphiesclient.CareMember{{
		License: fmt.Sprintf("DEMO-MD-%04d", g.r.IntN(10_000)), Name: "Dr. Demo Clinician", Specialty: specialty,
	}}
	if g.chance(20) {
		g.doc.CareTeam = append(g.doc.CareTeam, nphiesclient.CareMember{
			License: fmt.Sprintf("DEMO-MA-%04d", g.r.IntN(10_000)), Name: "Dr. Demo Assistant", Role: "assist", Specialty: specialty,
		})
	}
}

func (g *generator) at(d time.Duration) string { return g.day.Add(d).Format(time.RFC3339) }

func (g *generator) visit(class, service string) {
	start := 8*time.Hour + time.Duration(g.r.IntN(600))*time.Minute
	g.doc.Encounter = &nphiesclient.Encounter{
		Number: "ENC-" + g.doc.Episode[len("EPI-"):], Class: class, Start: g.at(start), End: g.at(start + 40*time.Minute),
		ServiceType: service, ServiceEvent: pick(g, "ICSE", "ICSE", "SCSE"),
	}
	g.clinical(g.at(start + 5*time.Minute))
}

func (g *generator) stay() {
	g.doc.Encounter = &nphiesclient.Encounter{
		Number: "ENC-" + g.doc.Episode[len("EPI-"):], Class: pick(g, "IMP", "IMP", "SS"), Start: g.at(9 * time.Hour), End: g.at(57 * time.Hour),
		ServiceType: "acute-care",
		Admission: &nphiesclient.Admission{
			Source: "EER", Specialty: "08.00", IntendedStay: "IO", DischargeSpecialty: "08.00", DischargeDisposition: "home",
		},
	}
	g.clinical(g.at(10 * time.Hour))
}

// clinical is what every claim tells, and for those who must the vital signs and the chief complaint.
func (g *generator) clinical(when string) {
	info := func(x nphiesclient.Info) { g.doc.Supporting = append(g.doc.Supporting, x) }
	if t := g.doc.Type; t == "professional" || t == "institutional" || t == "oral" {
		info(nphiesclient.Info{Category: "chief-complaint", Code: "22253000", Display: "Pain", Text: "Pain"})
		if t != "oral" {
			for _, v := range []struct {
				category  string
				low, high int
			}{
				{"vital-sign-systolic", 100, 150},
				{"vital-sign-diastolic", 60, 95},
				{"pulse", 55, 110},
				{"respiratory-rate", 12, 22},
				{"vital-sign-height", 150, 195},
				{"vital-sign-weight", 45, 120},
				{"oxygen-saturation", 92, 100},
			} {
				n := nphiesclient.MustNumber(strconv.Itoa(v.low + g.r.IntN(v.high-v.low+1)))
				info(nphiesclient.Info{Category: v.category, Value: &n, Start: when})
			}
			temperature := nphiesclient.MustNumber(fmt.Sprintf("%d.%d", 36+g.r.IntN(3), g.r.IntN(10)))
			info(nphiesclient.Info{Category: "temperature", Value: &temperature, Start: when})
		}
	}
	info(nphiesclient.Info{Category: "treatment-plan", Text: "Rest, follow-up in one week"})
	info(nphiesclient.Info{Category: "patient-history", Text: "No relevant past history"})
	info(nphiesclient.Info{Category: "physical-examination", Text: "Alert, no acute distress"})
	info(nphiesclient.Info{Category: "history-of-present-illness", Text: "Symptoms for three days"})
	info(nphiesclient.Info{Category: "investigation-result", Code: pick(g, "INP", "NA", "IRP")})
}

// priced adds date, VAT, sometimes a discount, and the part the patient was charged: 0, 10 or 20 percent.
func (g *generator) priced(it nphiesclient.Item, vat bool) nphiesclient.Item {
	it.Date = g.date()
	if it.Quantity.IsZero() {
		it.Quantity = nphiesclient.MustNumber("1")
	}
	base := it.Quantity.Decimal().Mul(it.UnitPrice.Decimal())
	if g.chance(20) {
		f := nphiesclient.MustNumber(pick(g, "0.9", "0.85", "0.75"))
		it.Factor = &f
		base = base.Mul(f.Decimal())
	}
	if vat {
		it.Tax = amountOf(base.Mul(nphiesclient.MustNumber("0.15").Decimal()).StringFixed(2))
	}
	percent := nphiesclient.MustNumber(pick(g, "0", "0.1", "0.2")).Decimal()
	it.PatientShare = amountOf(base.Mul(percent).StringFixed(2))
	return it
}

func amountOf(s string) *nphiesclient.Amount {
	a := nphiesclient.MustAmount(s)
	return &a
}

func (g *generator) services(n int) {
	vat := g.doc.Patient.IDType != "national_id"
	for range n {
		it := pick(g,
			nphiesclient.Item{System: "services", Code: "83600-00-10", Display: "Consultation (demo display)"},
			nphiesclient.Item{System: "laboratory", Code: "73050-39-70", Display: "Laboratory test (demo display)"},
			nphiesclient.Item{System: "imaging", Code: "58500-00-00", Display: "Imaging service (demo display)"},
			nphiesclient.Item{System: "procedures", Code: "30026-00-00", Display: "Procedure (demo display)"})
		switch g.r.IntN(10) {
		case 0:
			g.doc.Items = append(g.doc.Items, g.withDetails(it, vat))
			continue
		case 3:
			g.doc.Items = append(g.doc.Items, g.bundle(it, vat))
			continue
		case 1, 2:
			it.Quantity = nphiesclient.MustNumber(strconv.Itoa(2 + g.r.IntN(4)))
		}
		it.UnitPrice = g.amount(40, 900)
		g.doc.Items = append(g.doc.Items, g.priced(it, vat))
	}
	if g.chance(50) { // half of the documents state what the others leave to be computed
		g.state()
	}
}

// withDetails makes an item of two or three parts.
func (g *generator) withDetails(it nphiesclient.Item, vat bool) nphiesclient.Item {
	it.Date, it.Quantity, it.PatientShare = g.date(), nphiesclient.MustNumber("1"), amountOf("0")
	for i := range 2 + g.r.IntN(2) {
		d := nphiesclient.Detail{
			System: it.System, Code: fmt.Sprintf("%s%d", it.Code[:len(it.Code)-1], i+1), Quantity: nphiesclient.MustNumber("1"),
			UnitPrice: g.amount(20, 200),
		}
		if vat {
			d.Tax = amountOf(d.UnitPrice.Decimal().Mul(nphiesclient.MustNumber("0.15").Decimal()).StringFixed(2))
		}
		if i == 0 && g.chance(30) { // the first part has parts of its own
			sub := nphiesclient.SubDetail{
				System: d.System, Code: d.Code, Quantity: d.Quantity, UnitPrice: d.UnitPrice, Tax: d.Tax,
			}
			d.SubDetails, d.UnitPrice, d.Tax = []nphiesclient.SubDetail{sub, sub}, amountOf(d.UnitPrice.Add(*d.UnitPrice).String()), nil
		}
		it.Details = append(it.Details, d)
	}
	return it
}

// bundle makes a package of an item: one price, and details that say what it holds.
func (g *generator) bundle(it nphiesclient.Item, vat bool) nphiesclient.Item {
	it.Package, it.UnitPrice = true, g.amount(500, 2500)
	it = g.priced(it, vat)
	for i := range 2 {
		it.Details = append(it.Details, nphiesclient.Detail{
			System: it.System, Code: fmt.Sprintf("%s%d", it.Code[:len(it.Code)-1], i+1), Quantity: nphiesclient.MustNumber("1"), UnitPrice: amountOf("0"),
		})
	}
	return it
}

// state writes the net of the items without details and the total into the document.
func (g *generator) state() {
	for i := range g.doc.Items {
		it := &g.doc.Items[i]
		if len(it.Details) > 0 {
			return // then the total is left out as well
		}
		net := it.Quantity.Decimal().Mul(it.UnitPrice.Decimal())
		if it.Factor != nil {
			net = net.Mul(it.Factor.Decimal())
		}
		if it.Tax != nil {
			net = net.Add(it.Tax.Decimal())
		}
		it.Net = amountOf(net.StringFixed(2))
	}
	var total nphiesclient.Amount
	for _, it := range g.doc.Items {
		total = total.Add(*it.Net)
	}
	g.doc.Total = amountOf(total.String())
}

func (g *generator) pharmacy() {
	g.clinical("")
	g.doc.Prescription = "Dr. Demo Clinician"
	for i := range 1 + g.r.IntN(4) {
		it := nphiesclient.Item{
			System: "medication-codes", Code: fmt.Sprintf("%014d", 101+100*g.r.IntN(9)+i), Display: "Demo medicine",
			Quantity: nphiesclient.MustNumber(strconv.Itoa(1 + g.r.IntN(3))), UnitPrice: g.amount(5, 250),
			DaysSupply: pick(g, 5, 7, 14, 30, 90),
			Medication: &nphiesclient.Medication{SelectionReason: pick(g, "Generic", "Innovator", "patient-request")},
		}
		g.doc.Items = append(g.doc.Items, g.priced(it, false))
	}
}

func (g *generator) oral() {
	for range 1 + g.r.IntN(2) {
		it := nphiesclient.Item{
			System: "oral-health-op", Code: "97511-01-00", Display: "Restoration (demo display)", UnitPrice: g.amount(150, 700),
			BodySite: &nphiesclient.Code{System: "fdi-oral-region", Code: strconv.Itoa(10*(1+g.r.IntN(4)) + 1 + g.r.IntN(8))},
		}
		g.doc.Items = append(g.doc.Items, g.priced(it, true))
	}
}

func (g *generator) vision() {
	g.clinical("")
	it := nphiesclient.Item{
		System: "medical-devices", Code: "35075", Display: "Spectacle frame and lenses (demo display)", UnitPrice: g.amount(150, 600),
	}
	g.doc.Items = append(g.doc.Items, g.priced(it, true))
}
