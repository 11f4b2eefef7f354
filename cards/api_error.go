package cards

import "time"

// Operations of the exchange with NPHIES, as APIError.Operation.
const (
	OperationEligibility = "eligibility"
	OperationSubmission  = "submission"
	OperationPoll        = "poll"
	OperationStatus      = "status check"
	OperationCancel      = "cancellation"
)

// Error types of the exchange with NPHIES, as APIError.ErrorType.
const (
	ErrorCertificate = "certificate"
	ErrorJWT         = "jwt"
	ErrorNetwork     = "network"
	ErrorAPI         = "api"
)

// APIError is the details of "nphies.api.error": an exchange with NPHIES failed.
type APIError struct {
	Operation string `json:"operation"`          // one of the Operation constants
	ErrorType string `json:"error_type"`         // one of the Error constants
	Code      string `json:"code,omitempty"`     // "HTTP 503", "GE-00012"
	Message   string `json:"message,omitempty"`  // safe text: no personal data, no secret
	Endpoint  string `json:"endpoint,omitempty"` // host only
	ClaimID   string `json:"claim_id,omitempty"`
	ClaimRef  string `json:"claim_ref,omitempty"`
	License   string `json:"license,omitempty"`
	// Attempt counts from 1; MaxRetries is the number of further ones.
	Attempt    int  `json:"attempt,omitempty"`
	MaxRetries int  `json:"max_retries,omitempty"`
	Final      bool `json:"final,omitempty"` // there will be no further attempt
	// Paused: nothing of License is sent for now, or nothing to Payer if that is set; Until says when it is tried again, zero: when
	// a person resumes it.
	Paused bool      `json:"paused,omitempty"`
	Payer  string    `json:"payer,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

func routeAPIError(d APIError, p Priority, s []Stakeholder) (Priority, []Stakeholder) {
	if d.ErrorType == ErrorCertificate {
		return High, groups(s, SecurityEng)
	}
	if d.Operation == OperationEligibility {
		return High, s
	}
	return p, s
}

func buildAPIError(d APIError, e Event, l Links) content {
	title := ""
	switch d.Operation {
	case OperationEligibility:
		title = "NPHIES eligibility failed"
	case OperationSubmission:
		title = "NPHIES submission failed"
	case OperationPoll:
		title = "NPHIES poll failed"
	case OperationStatus:
		title = "NPHIES status check failed"
	case OperationCancel:
		title = "NPHIES cancellation failed"
	}
	what := map[string]string{
		ErrorCertificate: "certificate problem",
		ErrorJWT:         "token rejected",
		ErrorNetwork:     "NPHIES unreachable",
		ErrorAPI:         "NPHIES answered with an error",
	}[d.ErrorType]
	next := "will be tried again"
	if d.Final {
		next = "given up, a person must act"
	}
	if d.Paused {
		title = "Sending to NPHIES is paused"
		next = "paused, nothing is lost; a person must resume it"
		if !d.Until.IsZero() {
			next = "paused, nothing is lost; tried again " + moment(d.Until)
		}
	}
	attempt := ""
	if d.Attempt > 0 {
		attempt = of(d.Attempt, d.MaxRetries+1)
	}
	provider := d.License
	if d.Payer != "" {
		provider += " to payer " + d.Payer
	}
	runbook := action{"NPHIES runbook", l.NPHIESRunbook}
	if d.ErrorType == ErrorCertificate {
		runbook = action{"Vault runbook", l.VaultRunbook}
	}
	object := d.ClaimRef
	if object == "" {
		object = d.License
	}
	return content{
		title:   title,
		object:  object,
		counter: attempt,
		facts: []fact{
			must("Operation", d.Operation),
			must("Error type", d.ErrorType),
			may("Failure", what),
			may("Code", d.Code),
			must("State", next),
			may("Endpoint", d.Endpoint),
			may("Claim ref", d.ClaimRef),
			may("Provider", provider),
			may("Attempt", attempt),
			may("Seen at", moment(e.At)),
		},
		detail: []block{{heading: "Message", text: d.Message}},
		actions: []action{
			{"NPHIES status", l.NPHIESStatus},
			runbook,
			{"Grafana", l.Grafana},
			{"Kibana", l.Kibana},
			{"Details", page(l.Monitor, "claims", d.ClaimID)},
		},
	}
}
