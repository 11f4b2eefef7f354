package nphiessim

// Prefixes and systems of the protocol.
const (
	profilePrefix = "http://nphies.sa/fhir/ksa/nphies-fs/StructureDefinition/"
	profileSuffix = "|1.0.0"
	systemPrefix  = "http://nphies.sa/terminology/CodeSystem/"
	hl7Prefix     = "http://terminology.hl7.org/CodeSystem/"

	providerLicense     = "http://nphies.sa/license/provider-license"
	payerLicense        = "http://nphies.sa/license/payer-license"
	practitionerLicense = "http://nphies.sa/license/practitioner-license"
	nphiesLicense       = "http://nphies.sa/license/nphies"
	nphiesValue         = "NPHIES"
	nphiesBase          = "http://nphies.sa/"

	systemEvents       = systemPrefix + "ksa-message-events"
	systemTags         = systemPrefix + "meta-tags"
	systemErrors       = systemPrefix + "adjudication-error"
	systemOutcome      = systemPrefix + "adjudication-outcome"
	systemReason       = systemPrefix + "adjudication-reason"
	systemKSA          = systemPrefix + "ksa-adjudication"
	systemAdjudication = hl7Prefix + "adjudication"
	systemClaimType    = hl7Prefix + "claim-type"
	systemSubtype      = systemPrefix + "claim-subtype"
	systemInfo         = systemPrefix + "claim-information-category"
	systemMedication   = systemPrefix + "medication-codes"
	systemTaskCode     = systemPrefix + "task-code"
	systemTaskInput    = systemPrefix + "task-input-type"
	systemUCUM         = "http://unitsofmeasure.org"
	systemICD          = "http://hl7.org/fhir/sid/icd-10-am"

	// outputSystem is what captured poll answers carry, although officially it is …/CodeSystem/task-output-type.
	outputSystem = "http://nphies.sa/terminology/ValueSet/task-output-type"
)

// Message events.
const (
	eventEligibility         = "eligibility-request"
	eventEligibilityResponse = "eligibility-response"
	eventClaim               = "claim-request"
	eventClaimResponse       = "claim-response"
	eventPoll                = "poll-request"
	eventPollResponse        = "poll-response"
	eventStatus              = "status-check"
	eventStatusResponse      = "status-response"
	eventCancel              = "cancel-request"
	eventCancelResponse      = "cancel-response"
	eventAuth                = "priorauth-request"
	eventAuthResponse        = "priorauth-response"
	eventBatch               = "batch-request"
	eventBatchResponse       = "batch-response"
	eventCommunication       = "communication"
	eventCommunicationAsked  = "communication-request"
	eventPaymentNotice       = "payment-notice"
	eventPayment             = "payment-reconciliation"
	eventAdvanced            = "advanced-authorization"
	eventAcknowledgement     = "acknowledgement"
)

// focusTypes are the types of the main resource by event.
var focusTypes = map[string]string{
	eventEligibility: "CoverageEligibilityRequest", eventClaim: "Claim", eventAuth: "Claim", eventBatch: "Bundle", eventPoll: "Task",
	eventStatus: "Task", eventCancel: "Task", eventCommunication: "Communication", eventPaymentNotice: "PaymentNotice",
}

// events are all known event codes; true means that the simulator plays it.
var events = map[string]bool{
	eventEligibility: true, eventClaim: true, eventPoll: true, eventStatus: true, eventCancel: true,
	eventEligibilityResponse: false, eventClaimResponse: false, eventPollResponse: false, eventStatusResponse: false,
	eventAuth: true, eventBatch: true, eventCommunication: true, eventPaymentNotice: true, eventAuthResponse: false,
	eventBatchResponse: false, eventAcknowledgement: false, eventCommunicationAsked: false, eventPayment: false, eventAdvanced: false,
	eventCancelResponse:  false,
	"prescriber-request": false, "prescriber-response": false, "referral-request": false, "referral-response": false,
	"error-notice": false, "fraud-notification": false,
}

func profileURL(name string) string   { return profilePrefix + name + profileSuffix }
func extensionURL(name string) string { return profilePrefix + "extension-" + name }

// Identifier is a business identifier: the system (namespace) and the value in it.
type Identifier struct {
	System string `json:"system"`
	Value  string `json:"value"`
}

func (i Identifier) key() string { return i.System + "|" + i.Value }

func (i Identifier) shown() Identifier { return Identifier{shownText(i.System), shownText(i.Value)} }
