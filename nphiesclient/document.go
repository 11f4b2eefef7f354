package nphiesclient

// Versions of our document formats, the value of "document".
const (
	DocumentClaim       = "nphiesq/claim/v1"
	DocumentEligibility = "nphiesq/eligibility/v1"
)

// Values of ClaimDocument.Use and Request.Use.
const (
	UseClaim            = "claim"
	UsePreauthorization = "preauthorization"
)

// ClaimDocument is one claim, or one request for a prior authorization, as a billing system hands it to us: what the clerk knows, without FHIR. docs/claim-document.md
// explains it, schema/claim-document.schema.json is its JSON Schema. What can be computed (net, total, accounting period,
// sequences, identifiers' namespaces) may be left out; what is stated is checked.
//
// Dates are "2026-02-10", times "2026-02-10T09:20:00+03:00". Code systems are short names of NPHIES' own lists
// ("services", "laboratory", "medication-codes") or full addresses. Money is SAR with at most two decimals.
type ClaimDocument struct {
	// Document is DocumentClaim.
	Document string `json:"document"`
	// Use is claim (default) or preauthorization: the question beforehand, whose answer gives a reference to quote in the
	// claim. A preauthorization has no episode, invoice and accounting period, and may leave out what the patient is charged.
	Use string `json:"use,omitempty"`
	// Type is professional, pharmacy, institutional, oral or vision.
	Type string `json:"type"`
	// SubType is op, emr or ip; by default the one its type allows.
	SubType string `json:"subtype,omitempty"`
	// ClaimNumber is the business key: never used twice for different claims (BV-00163). At most 50 characters.
	ClaimNumber string `json:"claim_number"`
	// ClaimSystem is the namespace of ClaimNumber; by default the provider's namespace + "/claim".
	ClaimSystem string `json:"claim_system,omitempty"`
	// Created is a time or date, by default now.
	Created string `json:"created,omitempty"`
	// Priority is normal (default), stat or deferred.
	Priority   string       `json:"priority,omitempty"`
	Provider   Provider     `json:"provider"`
	Payer      Payer        `json:"payer"`
	Patient    Patient      `json:"patient"`
	Coverage   *Coverage    `json:"coverage,omitempty"`
	CareTeam   []CareMember `json:"care_team,omitempty"`
	Encounter  *Encounter   `json:"encounter,omitempty"`
	Diagnoses  []Diagnosis  `json:"diagnoses"`
	Supporting []Info       `json:"supporting_information,omitempty"`
	Items      []Item       `json:"items"`
	// Total is the sum of the items' net; computed when left out (BV-00059).
	Total *Amount `json:"total,omitempty"`
	// Eligibility quotes the eligibility answer, or a check by telephone or portal.
	Eligibility *EligibilityRef `json:"eligibility,omitempty"`
	// Authorization quotes the prior authorization the claim relies on.
	Authorization *Authorization `json:"authorization,omitempty"`
	// Episode is the episode number of a claim; several claims of one episode share it (IC-01453).
	Episode string `json:"episode,omitempty"`
	// Invoice is the number of the patient's invoice for all items that do not name their own (IC-01454).
	Invoice string `json:"invoice,omitempty"`
	// AccountingPeriod is a first of a month, by default that of the earliest service (IC-01620, BV-01010).
	AccountingPeriod string `json:"accounting_period,omitempty"`
	// Related names earlier claims of the same provider and payer (BV-00725).
	Related []RelatedClaim `json:"related,omitempty"`
	// Accident is given for road traffic and work accidents (BV-00747, 748, 756, 757).
	Accident *Accident `json:"accident,omitempty"`
	// Newborn needs a birth-weight and a Z38 diagnosis (BV-00506, 507, 557).
	Newborn bool `json:"newborn,omitempty"`
	// Transfer marks a patient transferred from another provider; preauthorizations only (BV-00508).
	Transfer bool `json:"transfer,omitempty"`
	// Payee is who is to be paid: provider (default), or of those in the document patient, subscriber or policy_holder
	// (BV-00485, 492, 494).
	Payee string `json:"payee,omitempty"`
	// Location is the place of service where NPHIES licenses it apart from the provider.
	Location *Location `json:"location,omitempty"`
	// Prescription names the prescriber of a pharmacy claim in words.
	Prescription string `json:"prescription,omitempty"`
}

// EligibilityDocument asks whether a patient is covered. With a coverage it asks for validation and benefits, without one
// for discovery.
type EligibilityDocument struct {
	// Document is DocumentEligibility.
	Document string `json:"document"`
	// RequestNumber is the business key, new for each request. At most 50 characters.
	RequestNumber string `json:"request_number"`
	// RequestSystem is its namespace; by default the provider's namespace + "/coverageeligibilityrequest".
	RequestSystem string `json:"request_system,omitempty"`
	// Created is a time, by default now.
	Created string `json:"created,omitempty"`
	// Priority is normal (default), stat or deferred.
	Priority string `json:"priority,omitempty"`
	// Purpose is any of validation, benefits, discovery, auth-requirements.
	Purpose []string `json:"purpose,omitempty"`
	// ServiceDate is the day of service, by default today in Riyadh; never in the past (BV-00058). Not with ServicePeriod.
	ServiceDate string `json:"service_date,omitempty"`
	// ServicePeriod is used instead of ServiceDate and needs both ends (BV-00437).
	ServicePeriod *Period   `json:"service_period,omitempty"`
	Provider      Provider  `json:"provider"`
	Payer         Payer     `json:"payer"`
	Patient       Patient   `json:"patient"`
	Coverage      *Coverage `json:"coverage,omitempty"`
	// Location is the place of service where NPHIES licenses it apart from the provider.
	Location *Location `json:"location,omitempty"`
	// Newborn and Transfer mark those cases.
	Newborn  bool `json:"newborn,omitempty"`
	Transfer bool `json:"transfer,omitempty"`
}

// Provider is the hospital, clinic or pharmacy that sends.
type Provider struct {
	// License is the NPHIES provider licence; by default the one of the settings, which it must equal if both are there.
	License string `json:"license,omitempty"`
	Name    string `json:"name"`
	// Type is the code of provider-type: 1 hospital, 2 general complex, 3 specialized complex, 4 diagnostic center,
	// 5 clinic, 6 pharmacy, 7 laboratory, 8 physiotherapy, 9 radiotherapy (IC-01574).
	Type string `json:"type"`
	// Namespace is the provider's web address; it is the root of all its identifiers ("http://hospital.example").
	Namespace string `json:"namespace"`
}

// Location is a place with a licence of its own.
type Location struct {
	License string `json:"license"`
	Name    string `json:"name"`
}

// Payer is the insurer.
type Payer struct {
	License string `json:"license"`
	// TPALicense is the licence of the administrator who acts for the insurer, if there is one: the message goes to it.
	TPALicense string `json:"tpa_license,omitempty"`
	Name       string `json:"name"`
	// Namespace is the root of the payer's identifiers ("http://payer.example"): member numbers, its answers.
	Namespace string `json:"namespace"`
}

// Patient is the person treated.
type Patient struct {
	// IDType is national_id, iqama, passport, border_number, displaced_person, visa or mrn.
	IDType   string `json:"id_type"`
	IDNumber string `json:"id_number"`
	// IDCountry is the three-letter country code of a passport (BV-00481).
	IDCountry string `json:"id_country,omitempty"`
	// Name is the full name as printed on the identity document.
	Name   string   `json:"name"`
	Family string   `json:"family,omitempty"`
	Given  []string `json:"given,omitempty"`
	// Gender is male, female, other or unknown.
	Gender string `json:"gender"`
	// AdministrativeGender is a code of ksa-administrative-gender where Gender does not say it.
	AdministrativeGender string `json:"administrative_gender,omitempty"`
	BirthDate            string `json:"birth_date"`
	// MaritalStatus is a code of v3-MaritalStatus: S single, M married, D divorced, W widowed, U unmarried.
	MaritalStatus string `json:"marital_status"`
	// Occupation is a code of the NPHIES occupation list.
	Occupation string `json:"occupation"`
	Phone      string `json:"phone,omitempty"`
}

// Coverage is the insurance of the patient.
type Coverage struct {
	MemberID string `json:"member_id"`
	// MemberSystem is its namespace; by default the payer's namespace + "/memberid".
	MemberSystem string `json:"member_system,omitempty"`
	// Type is EHCPOL or PUBLICPOL.
	Type string `json:"type"`
	// PolicyHolder is the name of the employer or person who holds the policy (IC-01564).
	PolicyHolder string `json:"policy_holder"`
	// Relationship of the patient to the subscriber: self, spouse, child, parent, common, other, injured.
	Relationship string `json:"relationship"`
	// Subscriber is the main member when the patient is not.
	Subscriber *Patient `json:"subscriber,omitempty"`
	// SubscriberID is the member number of the subscriber; for "self" the member_id.
	SubscriberID string `json:"subscriber_id,omitempty"`
	Dependent    string `json:"dependent,omitempty"`
	// Plan is the plan of the policy, exactly one (BV-00729, IC-01571). At most 30 characters.
	Plan     string  `json:"plan"`
	PlanName string  `json:"plan_name,omitempty"`
	Period   *Period `json:"period,omitempty"`
	// Network is at most 30 characters.
	Network string `json:"network,omitempty"`
}

// Period has a start and an end, dates or times.
type Period struct {
	Start string `json:"start,omitempty"`
	End   string `json:"end,omitempty"`
}

// CareMember is a practitioner of the care team. Its place in the list (from 1) is its sequence.
type CareMember struct {
	License string   `json:"license"`
	Name    string   `json:"name"`
	Family  string   `json:"family,omitempty"`
	Given   []string `json:"given,omitempty"`
	// Role is primary (default), assist, supervisor or other.
	Role string `json:"role,omitempty"`
	// Specialty is a code of practice-codes ("08.00").
	Specialty string `json:"specialty"`
}

// Encounter is the visit or stay.
type Encounter struct {
	Number string `json:"number"`
	// Class is AMB, EMER, HH, VR, IMP or SS; the claim type decides which are allowed.
	Class string `json:"class"`
	// Status is planned, arrived, triaged, in-progress, onleave, finished (default) or cancelled.
	Status string `json:"status,omitempty"`
	// Start and End are times to the second (BV-00811).
	Start string `json:"start"`
	End   string `json:"end,omitempty"`
	// ServiceType is a code of service-type.
	ServiceType string `json:"service_type,omitempty"`
	// ServiceEvent is ICSE (first visit) or SCSE (follow-up), required for professional and oral claims (BV-00736).
	ServiceEvent string     `json:"service_event,omitempty"`
	Emergency    *Emergency `json:"emergency,omitempty"`
	Admission    *Admission `json:"admission,omitempty"`
}

// Emergency is required when the class is EMER (BV-00728, 732 to 735).
type Emergency struct {
	ArrivalCode    string `json:"arrival_code"`
	TriageCategory string `json:"triage_category"`
	TriageTime     string `json:"triage_time"`
	ServiceStart   string `json:"service_start"`
	// Disposition is required once the encounter has ended.
	Disposition string `json:"disposition,omitempty"`
}

// Admission is required when the class is IMP or SS (BV-00727, 737, 744, 758, 759).
type Admission struct {
	// Source is a code of admit-source.
	Source string `json:"source"`
	// Specialty is a code of practice-codes.
	Specialty string `json:"specialty"`
	// IntendedStay is a code of intended-length-of-stay.
	IntendedStay string `json:"intended_stay"`
	// DischargeSpecialty and DischargeDisposition are required once the encounter has ended.
	DischargeSpecialty   string `json:"discharge_specialty,omitempty"`
	DischargeDisposition string `json:"discharge_disposition,omitempty"`
}

// Diagnosis is an ICD-10-AM code. Its place in the list (from 1) is its sequence.
type Diagnosis struct {
	Code    string `json:"code"`
	Display string `json:"display,omitempty"`
	// Type is principal (exactly one, BV-00054), secondary, differential, or for institutional claims admitting, discharge.
	Type string `json:"type"`
	// OnAdmission and ConditionOnset are codes for institutional claims.
	OnAdmission    string `json:"on_admission,omitempty"`
	ConditionOnset string `json:"condition_onset,omitempty"`
}

// Info is one entry of the supporting information. Its place in the list (from 1) is its sequence.
type Info struct {
	// Category is a code of claim-information-category ("chief-complaint", "temperature", "treatment-plan").
	Category string `json:"category"`
	// Text is what the entry says in words.
	Text string `json:"text,omitempty"`
	// Code, Display and System are used by coded categories; System defaults by category (chief-complaint: SNOMED CT).
	Code    string `json:"code,omitempty"`
	Display string `json:"display,omitempty"`
	System  string `json:"system,omitempty"`
	// Value is the measurement; Unit is UCUM and defaults by category (temperature: Cel).
	Value *Number `json:"value,omitempty"`
	Unit  string  `json:"unit,omitempty"`
	// Start and End say when it was measured or held.
	Start string `json:"start,omitempty"`
	End   string `json:"end,omitempty"`
	// Absence says why a vital sign is missing, instead of Value (BV-00812 to 827).
	Absence    *AbsenceReason `json:"absence_reason,omitempty"`
	Attachment *Attachment    `json:"attachment,omitempty"`
}

// AbsenceReason is a code of one of the ...-absence-reason lists.
type AbsenceReason struct {
	System string `json:"system"`
	Code   string `json:"code"`
}

// Attachment is a file, at most 10 MB.
type Attachment struct {
	// ContentType is application/pdf or image/jpeg.
	ContentType string `json:"content_type"`
	Title       string `json:"title"`
	Created     string `json:"created"`
	// Data is the file in base64.
	Data string `json:"data"`
}

// Code is a code of a list: a short NPHIES name or a full address.
type Code struct {
	System  string `json:"system,omitempty"`
	Code    string `json:"code"`
	Display string `json:"display,omitempty"`
}

// Item is one billed line. Its place in the list (from 1) is its sequence.
type Item struct {
	// System is the list of Code: services, procedures, laboratory, imaging, medication-codes, medical-devices,
	// oral-health-op, oral-health-ip, transportation-srca.
	System  string `json:"system"`
	Code    string `json:"code"`
	Display string `json:"display,omitempty"`
	// Local is the provider's own code for the same service, of another system (BV-00526).
	Local *Code `json:"local,omitempty"`
	// Date or Period is when the service was given, exactly one of them (BV-00066).
	Date      string  `json:"date,omitempty"`
	Period    *Period `json:"period,omitempty"`
	Quantity  Number  `json:"quantity"`
	UnitPrice *Amount `json:"unit_price,omitempty"`
	// Factor multiplies, 1 when left out; 0.9 is a discount of ten percent.
	Factor *Number `json:"factor,omitempty"`
	// Tax is the VAT in riyals, 0 when left out.
	Tax *Amount `json:"tax,omitempty"`
	// Net is quantity x unit price x factor + tax; computed when left out (BV-00251).
	Net *Amount `json:"net,omitempty"`
	// PatientShare is what the patient was charged, 0 included; a preauthorization may leave it out.
	PatientShare *Amount `json:"patient_share,omitempty"`
	PayerShare   *Amount `json:"payer_share,omitempty"`
	// Package is true for a package price; then the details are what it holds (BV-00036).
	Package   bool `json:"package,omitempty"`
	Maternity bool `json:"maternity,omitempty"`
	// Invoice is given when it differs from the claim's.
	Invoice string `json:"invoice,omitempty"`
	// CareTeam, Diagnoses and Information point at places of those lists, from 1. Left out they mean: all of them, for
	// Information all but other lines' days supply.
	CareTeam    []int `json:"care_team,omitempty"`
	Diagnoses   []int `json:"diagnoses,omitempty"`
	Information []int `json:"information,omitempty"`
	// DaysSupply is required for each medication of a pharmacy claim (BV-00376).
	DaysSupply int `json:"days_supply,omitempty"`
	// Medication is given for medication codes.
	Medication *Medication `json:"medication,omitempty"`
	// BodySite is the tooth of an oral claim (fdi-oral-region) or another body site.
	BodySite *Code    `json:"body_site,omitempty"`
	Details  []Detail `json:"details,omitempty"`
}

// Medication is what a pharmacy line tells beside the product given out.
type Medication struct {
	// Prescribed is the code prescribed, by default the one given out.
	Prescribed string `json:"prescribed,omitempty"`
	// SelectionReason is a code of pharmacist-selection-reason (BV-00708).
	SelectionReason string `json:"selection_reason"`
	// Substitute is a code of pharmacist-substitute.
	Substitute string `json:"substitute,omitempty"`
}

// Detail is a part of an item, with the same arithmetic. The item's net and unit price are the sums of its details'
// (BV-00224, BV-00372), unless it is a package.
type Detail struct {
	System       string  `json:"system"`
	Code         string  `json:"code"`
	Display      string  `json:"display,omitempty"`
	Local        *Code   `json:"local,omitempty"`
	Quantity     Number  `json:"quantity"`
	UnitPrice    *Amount `json:"unit_price"`
	Factor       *Number `json:"factor,omitempty"`
	Tax          *Amount `json:"tax,omitempty"`
	Net          *Amount `json:"net,omitempty"`
	PatientShare *Amount `json:"patient_share,omitempty"`
	// SubDetails are the parts of the part; they sum up as details do.
	SubDetails []SubDetail `json:"sub_details,omitempty"`
}

// SubDetail is a part of a detail, with the same arithmetic.
type SubDetail struct {
	System       string  `json:"system"`
	Code         string  `json:"code"`
	Display      string  `json:"display,omitempty"`
	Local        *Code   `json:"local,omitempty"`
	Quantity     Number  `json:"quantity"`
	UnitPrice    *Amount `json:"unit_price"`
	Factor       *Number `json:"factor,omitempty"`
	Tax          *Amount `json:"tax,omitempty"`
	Net          *Amount `json:"net,omitempty"`
	PatientShare *Amount `json:"patient_share,omitempty"`
}

// EligibilityRef quotes our own eligibility check (Request), an eligibility answer (Response) or an offline check
// (OfflineReference and OfflineDate), one of them (BV-00379, BV-00381).
type EligibilityRef struct {
	// Request is the request_number of an eligibility check of ours; the identifier of its answer is looked up.
	Request string `json:"request,omitempty"`
	// RequestSystem is its namespace; by default the provider's namespace + "/coverageeligibilityrequest".
	RequestSystem string `json:"request_system,omitempty"`
	// Response is the identifier value of the eligibility answer.
	Response string `json:"response,omitempty"`
	// ResponseSystem is its namespace; by default the payer's namespace + "/coverageeligibilityresponse".
	ResponseSystem   string `json:"response_system,omitempty"`
	OfflineReference string `json:"offline_reference,omitempty"`
	OfflineDate      string `json:"offline_date,omitempty"`
}

// Authorization quotes a prior authorization: the references for the coverage, and either the identifier of the answer
// that gave them or the date of an offline authorization (BV-00420, 449, 462).
type Authorization struct {
	References []string `json:"references"`
	Response   string   `json:"response,omitempty"`
	// ResponseSystem is its namespace; by default the payer's namespace + "/authorizationresponse".
	ResponseSystem string `json:"response_system,omitempty"`
	OfflineDate    string `json:"offline_date,omitempty"`
}

// RelatedClaim names an earlier claim.
type RelatedClaim struct {
	ClaimNumber string `json:"claim_number"`
	ClaimSystem string `json:"claim_system,omitempty"`
	// Relationship is prior, associated, extend or appealing.
	Relationship string `json:"relationship"`
}

// Accident is a road traffic (MVA) or work (WPA) accident.
type Accident struct {
	Type string `json:"type"`
	Date string `json:"date"`
}
