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

	// Failure is the class of the error: "expired", "unknown authority", "read timeout", "audience".
	Failure string `json:"failure,omitempty"`
	// Since is when it began; Affected counts the requests that met it, Waiting those that wait.
	Since    time.Time `json:"since,omitzero"`
	Affected int       `json:"affected,omitempty"`
	Waiting  int       `json:"waiting,omitempty"`
	// Of the certificate, for ErrorCertificate. Only the last eight characters of the serial number are shown.
	CommonName string    `json:"common_name,omitempty"`
	Serial     string    `json:"serial,omitempty"`
	NotAfter   time.Time `json:"not_after,omitzero"`
	// Of the token, for ErrorJWT; never the token itself. In JSON ClockSkew is nanoseconds.
	KeyID     string        `json:"key_id,omitempty"`
	ClockSkew time.Duration `json:"clock_skew,omitempty"`
	// LastSuccess of the way to NPHIES, for ErrorNetwork.
	LastSuccess time.Time `json:"last_success,omitzero"`
	// Of the answer, for ErrorAPI: the message's id, a FHIR path without values, the delay the server asked for.
	MessageID  string        `json:"message_id,omitempty"`
	Location   string        `json:"location,omitempty"`
	RetryAfter time.Duration `json:"retry_after,omitempty"`
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
	w := l.Language
	title := map[string]said{
		OperationEligibility: w.say("NPHIES eligibility failed"),
		OperationSubmission:  w.say("NPHIES submission failed"),
		OperationPoll:        w.say("NPHIES poll failed"),
		OperationStatus:      w.say("NPHIES status check failed"),
		OperationCancel:      w.say("NPHIES cancellation failed"),
	}[d.Operation]
	what := map[string]said{
		ErrorCertificate: w.say("certificate problem"),
		ErrorJWT:         w.say("token rejected"),
		ErrorNetwork:     w.say("NPHIES unreachable"),
		ErrorAPI:         w.say("NPHIES answered with an error"),
	}[d.ErrorType]
	if d.Failure != "" {
		what = w.codeAndText(what, d.Failure)
	}
	next := w.say("will be tried again")
	if d.Final {
		next = w.say("given up, a person must act")
	}
	if d.Paused {
		title = w.say("Sending to NPHIES is paused")
		next = w.say("paused, nothing is lost; a person must resume it")
		if !d.Until.IsZero() {
			next = w.say("paused, nothing is lost; tried again %s", moment(d.Until))
		}
	}
	var attempt said
	if d.Attempt > 0 {
		if attempt = plain(of(d.Attempt, d.MaxRetries+1)); attempt != "" {
			attempt = w.say("try %s", attempt)
		}
	}
	provider := plain(d.License)
	if d.Payer != "" {
		provider = w.say("%s to payer %s", d.License, d.Payer)
	}
	runbook := action{"NPHIES runbook", l.NPHIESRunbook}
	if d.ErrorType == ErrorCertificate {
		runbook = action{"Vault runbook", l.VaultRunbook}
	}
	object := d.ClaimRef
	if object == "" {
		object = d.License
	}
	seen := e.At
	if !d.Since.IsZero() {
		seen = d.Since
	}
	return content{
		title:   title,
		object:  object,
		counter: attempt,
		facts: append([]fact{
			must("Operation", w.word(d.Operation)),
			must("Error type", w.word(d.ErrorType)),
			must("State", next),
			may("Failure", what),
			may("Code", d.Code),
			may("Endpoint", d.Endpoint),
			may("Provider", provider),
			may("Since", moment(seen)),
		}, d.particular(w)...),
		detail: []block{free("Message", d.Message)},
		actions: []action{
			{"NPHIES status", l.NPHIESStatus},
			runbook,
			{"Grafana", l.Grafana},
			{"Kibana", l.Kibana},
			{"Details", page(l.Monitor, "claims", d.ClaimID)},
		},
	}
}

// particular is the two facts that only this type of error has.
func (d APIError) particular(w Language) []fact {
	affected := may("Requests affected", count(d.Affected))
	switch d.ErrorType {
	case ErrorCertificate:
		name := plain(d.CommonName)
		if d.Serial != "" {
			name += " …" + plain(serialEnd(d.Serial))
		}
		if d.NotAfter.IsZero() {
			return []fact{may("Certificate", name), affected}
		}
		return []fact{may("Certificate", name), may("Not after", moment(d.NotAfter))}
	case ErrorJWT:
		key := plain(d.KeyID)
		if skew := w.span(d.ClockSkew); skew != "" {
			key = w.say("%s, clock skew %s", key, skew)
		}
		return []fact{may("Key id", key), affected}
	case ErrorNetwork:
		waiting := affected
		if d.Waiting > 0 {
			waiting = may("Requests waiting", count(d.Waiting))
		}
		return []fact{may("Last success", moment(d.LastSuccess)), waiting}
	case ErrorAPI:
		last := may("Message id", d.MessageID)
		if d.RetryAfter > 0 {
			last = may("Retry after", w.span(d.RetryAfter))
		}
		return []fact{may("Location", d.Location), last}
	}
	return nil
}
