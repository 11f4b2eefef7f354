package nphiesclient

import (
	"strings"
	"time"
)

// Addresses of NPHIES profiles, extensions and code systems.
//
// Source: Implementation Guide, sections on messaging and terminology.
const (
	profileBase = "http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/"
	codeBase    = "http://nphies.sa/terminology/CodeSystem/"
	hl7Base     = "http://terminology.hl7.org/CodeSystem/"

	systemProviderLicense     = "http://nphies.sa/license/provider-license"
	systemPayerLicense        = "http://nphies.sa/license/payer-license"
	systemLocationLicense     = "http://nphies.sa/license/location-license"
	systemPractitionerLicense = "http://nphies.sa/license/practitioner-license"
	systemNPHIES              = "http://nphies.sa/license/nphies"
	systemUCUM                = "http://unitsofmeasure.org"
	systemICD10AM             = "http://hl7.org/fhir/sid/icd-10-am"
	systemSNOMED              = "http://snomed.info/sct"
	systemLOINC               = "http://loinc.org"
	systemErrors              = codeBase + "adjudication-error"

	nphiesLicense  = "NPHIES"
	nphiesEndpoint = "http://nphies.sa"
	currency       = "SAR"
)

// Event codes this package starts or answers with own types. Other codes are kept as they come.
//
// Source: Implementation Guide, message events.
const (
	EventClaimRequest      = "claim-request"
	EventClaimResponse     = "claim-response"
	EventPriorAuthRequest  = "priorauth-request"
	EventPriorAuthResponse = "priorauth-response"
	// EventAdvancedAuthorization is an authorization the payer gives without being asked.
	EventAdvancedAuthorization = "advanced-authorization"
	EventBatchRequest          = "batch-request"
	EventBatchResponse         = "batch-response"
	EventEligibilityRequest    = "eligibility-request"
	EventEligibilityResponse   = "eligibility-response"
	EventPollRequest           = "poll-request"
	EventPollResponse          = "poll-response"
	EventStatusCheck           = "status-check"
	EventStatusResponse        = "status-response"
	EventCancelRequest         = "cancel-request"
	EventCancelResponse        = "cancel-response"
	EventCommunicationRequest  = "communication-request"
	EventCommunication         = "communication"
	EventAcknowledgement       = "acknowledgement"
	EventPaymentReconcile      = "payment-reconciliation"
	EventPaymentNotice         = "payment-notice"
)

// Riyadh is the zone of every date and time in NPHIES: +03:00, no daylight saving. It is fixed, so that no time zone
// database is needed.
var Riyadh = time.FixedZone("+03", 3*60*60)

// instant is a FHIR instant or dateTime in Riyadh time. Milliseconds are written only when asked for: Bundle.timestamp
// carries them, created does not.
func instant(t time.Time) string   { return t.In(Riyadh).Format("2006-01-02T15:04:05-07:00") }
func timestamp(t time.Time) string { return t.In(Riyadh).Format("2006-01-02T15:04:05.000-07:00") }
func day(t time.Time) string       { return t.In(Riyadh).Format(time.DateOnly) }

func extension(name string) string { return profileBase + "extension-" + name }

// codeSystem returns the address of a code system: a name without a colon is one of NPHIES' own.
func codeSystem(name string) string {
	if strings.Contains(name, ":") {
		return name
	}
	return codeBase + name
}

// claimKind is what section 6.2 of the guide fixes per claim type. New types are one more row.
type claimKind struct {
	subTypes  []string // the first is the default
	careTeam  bool     // careTeam 1..*
	encounter bool     // encounter required
	classes   []string // Encounter.class allowed, in the order of the guide; nil allows any
	maternity bool     // extension-maternity is 1..1 on items
	event     bool     // Encounter extension-serviceEventType is required (BV-00736)
	vitals    bool     // vital signs are mandatory supportingInfo (BV-00763..780)
	complaint string   // rule that makes chief-complaint mandatory, "" if none does
}

var claimKinds = map[string]claimKind{
	"professional": {
		subTypes: []string{"op", "emr"}, careTeam: true, encounter: true,
		classes: []string{"AMB", "EMER", "HH", "VR"}, maternity: true, event: true, vitals: true, complaint: "BV-00779",
	},
	"pharmacy": {subTypes: []string{"op"}, maternity: true},
	"institutional": {
		subTypes: []string{"ip"}, careTeam: true, encounter: true,
		classes: []string{"IMP", "SS"}, maternity: true, vitals: true, complaint: "BV-00770",
	},
	"oral": {
		subTypes: []string{"op"}, careTeam: true, encounter: true,
		classes: []string{"AMB"}, event: true, complaint: "BV-00751",
	},
	"vision": {subTypes: []string{"op"}, careTeam: true},
}

// subTypeRules names the rule that fixes the subtype of a claim type.
var subTypeRules = map[string]string{
	"institutional": "BV-00364", "professional": "BV-00365", "oral": "BV-00366", "vision": "BV-00367", "pharmacy": "BV-00368",
}

// infoShape says where the words of a supporting_information entry go.
type infoShape int

const (
	infoText     infoShape = iota // valueString
	infoCode                      // code, code.text
	infoQuantity                  // valueQuantity in a UCUM unit
	infoFile                      // valueAttachment
)

// infoKind is one row of section 6.5 of the guide.
type infoKind struct {
	shape  infoShape
	unit   string // UCUM
	system string // of code
}

var infoKinds = map[string]infoKind{
	"treatment-plan":             {shape: infoText},
	"patient-history":            {shape: infoText},
	"physical-examination":       {shape: infoText},
	"history-of-present-illness": {shape: infoText},
	"info":                       {shape: infoText},
	"investigation-result":       {shape: infoCode, system: codeBase + "investigation-result"},
	"chief-complaint":            {shape: infoCode, system: systemSNOMED},
	"lab-test":                   {shape: infoQuantity, system: systemLOINC},
	"vital-sign-systolic":        {shape: infoQuantity, unit: "mm[Hg]"},
	"vital-sign-diastolic":       {shape: infoQuantity, unit: "mm[Hg]"},
	"pulse":                      {shape: infoQuantity, unit: "/min"},
	"respiratory-rate":           {shape: infoQuantity, unit: "/min"},
	"temperature":                {shape: infoQuantity, unit: "Cel"},
	"vital-sign-height":          {shape: infoQuantity, unit: "cm"},
	"vital-sign-weight":          {shape: infoQuantity, unit: "kg"},
	"oxygen-saturation":          {shape: infoQuantity, unit: "%"},
	"days-supply":                {shape: infoQuantity, unit: "d"},
	"estimated-Length-of-Stay":   {shape: infoQuantity, unit: "d"},
	"admission-weight":           {shape: infoQuantity, unit: "kg"},
	"birth-weight":               {shape: infoQuantity, unit: "kg"},
	"ventilation-hours":          {shape: infoQuantity, unit: "h"},
	"icu-hours":                  {shape: infoQuantity, unit: "h"},
	"attachment":                 {shape: infoFile},
	"reason-for-visit":           {shape: infoCode},
	"onset":                      {shape: infoCode},
	"missingtooth":               {shape: infoCode},
	"morphology":                 {shape: infoCode},
	"last-menstrual-period":      {shape: infoCode},
	"employmentImpacted":         {shape: infoCode},
}

// requiredInfo is what every claim must tell, with the rule that asks for it.
var requiredInfo = [][2]string{
	{"treatment-plan", "BV-00803"},
	{"patient-history", "BV-00804"},
	{"physical-examination", "BV-00805"},
	{"history-of-present-illness", "BV-00806"},
	{"investigation-result", "BV-00752"},
}

// vitalSign is a category of supporting information with the rules that ask for it.
type vitalSign struct{ category, institutional, professional string }

func (v vitalSign) rule(claimType string) string {
	if claimType == "institutional" {
		return v.institutional
	}
	return v.professional
}

// vitalSigns is asked for in institutional and professional claims. The guide pairs numbers with systolic and diastolic
// pressure; the order of the others within its two ranges is our reading.
var vitalSigns = []vitalSign{
	{"vital-sign-systolic", "BV-00763", "BV-00772"},
	{"vital-sign-diastolic", "BV-00764", "BV-00773"},
	{"vital-sign-height", "BV-00765", "BV-00774"},
	{"vital-sign-weight", "BV-00766", "BV-00775"},
	{"pulse", "BV-00767", "BV-00776"},
	{"temperature", "BV-00768", "BV-00777"},
	{"oxygen-saturation", "BV-00769", "BV-00778"},
	{"respiratory-rate", "BV-00771", "BV-00780"},
}

// patientID is one kind of person identifier.
type patientID struct {
	system   string
	code     string
	codeFrom string // system of code
	first    byte   // first of ten digits, 0 for no rule
	rule     string
}

const v2Identifiers = hl7Base + "v2-0203"

var patientIDs = map[string]patientID{
	"national_id":      {system: "http://nphies.sa/identifier/nationalid", code: "NI", codeFrom: v2Identifiers, first: '1', rule: "BV-00797"},
	"iqama":            {system: "http://nphies.sa/identifier/iqama", code: "PRC", codeFrom: v2Identifiers, first: '2', rule: "BV-00798"},
	"passport":         {system: "http://nphies.sa/identifier/passportnumber", code: "PPN", codeFrom: v2Identifiers, rule: "BV-00481"},
	"border_number":    {system: "http://nphies.sa/identifier/bordernumber", code: "BN", codeFrom: codeBase + "patient-identifier-type"},
	"displaced_person": {system: "http://nphies.sa/identifier/displacedperson", code: "DP", codeFrom: codeBase + "patient-identifier-type"},
	"visa":             {system: "http://nphies.sa/identifier/visa", code: "VP", codeFrom: codeBase + "patient-identifier-type"},
	"mrn":              {code: "MR", codeFrom: v2Identifiers}, // the provider's own namespace
}
