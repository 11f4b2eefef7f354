package nphiesclient

import (
	"encoding/json"
	"strings"
	"time"
)

// Answer is any message NPHIES or a payer sends, taken apart. One of the typed parts is set for an event we know; none for
// others, which are to be kept and shown, never dropped.
type Answer struct {
	// Event is the message event ("claim-response"), lower case; "" for a bare OperationOutcome.
	Event string
	// BundleID and HeaderID are the message's own ids.
	BundleID, HeaderID string
	// RequestHeaderID is MessageHeader.response.identifier: the HeaderID of our request. Certain in real-time answers,
	// often absent in polled ones.
	RequestHeaderID string
	// ResponseCode is ok, transient-error or fatal-error; "" if the message has no response part. "ok" says nothing about
	// the business result.
	ResponseCode string
	// Sender and Receiver are licences with their systems.
	Sender, Receiver Identifier
	// NPHIESGenerated: NPHIES wrote this, not the payer.
	NPHIESGenerated bool
	// MoreQueued: more messages wait for this provider; poll at once.
	MoreQueued bool
	// LargeClaim: the claim was queued before it was validated.
	LargeClaim bool

	Claim         *ClaimAnswer
	Eligibility   *EligibilityAnswer
	Poll          *PollAnswer
	Task          *TaskAnswer
	Communication *CommunicationAnswer
	Payment       *PaymentAnswer
	// Batch are the messages inside a message that is no poll-response: a batch-request or batch-response.
	Batch []Nested

	// Errors are all errors of the message, each (code, expression) once.
	Errors []CodedError
	// OperationOutcome: the body was a bare OperationOutcome, no message.
	OperationOutcome bool
}

// CodedError is one error as received. The same code at the same place is counted, not repeated.
type CodedError struct {
	// Code is for example "BV-00251" or "1658"; of an OperationOutcome without a code of NPHIES' it is the FHIR issue type.
	Code string `json:"code,omitempty"`
	// Display is the sender's text.
	Display string `json:"display,omitempty"`
	// Expression is the FHIRPath of the culprit in our request.
	Expression string `json:"expression,omitempty"`
	// Item is the sequence of the item concerned, 0 if none is named.
	Item int `json:"item,omitempty"`
	// Count is how often the error was given.
	Count int `json:"count"`
}

// Note is a numbered remark of the payer.
type Note struct {
	Number int
	Text   string
}

// ClaimAnswer is a ClaimResponse, of a claim or of a prior authorization.
type ClaimAnswer struct {
	// Request is the claim's own identifier, the key to match by; Response the payer's.
	Request, Response Identifier
	// Use is claim or preauthorization.
	Use string
	// Outcome is queued, complete, error or partial (processing not finished).
	Outcome string
	// Adjudication is approved, rejected, partial, not-required or pended; "" if absent.
	Adjudication string
	// Disposition is the payer's free text. It may name a patient: do not put it into cards or logs.
	Disposition string
	// Reissue says why this replaces an earlier complete answer; "" for a first one.
	Reissue string
	// PreAuthRef is the reference an authorization gives, PreAuthPeriod when it may be used.
	PreAuthRef    string
	PreAuthPeriod Period
	// Created is when the payer made the answer.
	Created time.Time
	// Items are sorted by sequence; Added are the payer's own lines, as of an advanced authorization.
	Items, Added []ItemAnswer
	// Totals by category, as in ItemAnswer.Amounts. Empty if the answer has none: nothing is computed. Unreadable names the
	// categories whose total is there and is no number of riyals.
	Totals     map[string]Amount
	Unreadable []string
	// Reasons are all adjudication reasons, each once, in order of appearance.
	Reasons []Coded
	// Notes are the processNotes.
	Notes []Note
	// InformationWanted: the answer points at a CommunicationRequest.
	InformationWanted bool
	// BatchIdentifier and BatchNumber echo the batch of the claim.
	BatchIdentifier Identifier
	BatchNumber     int
	Errors          []CodedError
}

// ItemAnswer is the decision about one item.
type ItemAnswer struct {
	// Sequence is the item's in the claim, 0 for a line of the payer's own that stands for none.
	Sequence int
	// Product is the service, Quantity how much of it; only lines of the payer's own tell them.
	Product  Coded
	Quantity Number
	// Outcome is approved, rejected, partial, pended; "" if absent.
	Outcome string
	// Amounts by category: submitted, eligible, copay, deductible, benefit, tax, patientShare, rejected and others, in
	// their official spelling, save "copay" for coPay. Unreadable names the categories whose amount is there and is no number of riyals.
	Amounts    map[string]Amount
	Unreadable []string
	// Values by category are numbers without currency: approved-quantity, eligpercent.
	Values map[string]Number
	// Reasons are why it was cut or rejected.
	Reasons []Coded
	// Notes are numbers of ClaimAnswer.Notes.
	Notes []int
}

// EligibilityAnswer is a CoverageEligibilityResponse.
type EligibilityAnswer struct {
	// Request is our identifier, Response the one a claim quotes later.
	Request, Response Identifier
	// Outcome is complete or error.
	Outcome string
	// Eligible: outcome complete, this facility may treat on direct billing, and no less than one coverage that the answer
	// names is neither out of force nor barred by its own site eligibility.
	Eligible bool
	// SiteEligibility is eligible or the reason why not (not-active, not-covered, "not-direct billing", out-network,
	// limit-exhausted, coverage-suspended, provider-contract-suspended); "" in answers of 2021, which have Inforce only.
	SiteEligibility string
	// Inforce is the flag of each coverage, in order; a coverage without the flag is left out.
	Inforce []bool
	// Benefits are what the coverages offer, in order.
	Benefits []Benefit
	// Disposition is free text; see ClaimAnswer.
	Disposition string
	Created     time.Time
	Errors      []CodedError
}

// notInForce is the reason where the site is eligible and no coverage is.
const notInForce = "no coverage in force"

// Reason says in a code of siteEligibility, or in words, why the answer is no; "" if it is yes or no decision.
func (e *EligibilityAnswer) Reason() string {
	switch {
	case e.Eligible || e.Outcome != "complete":
		return ""
	case e.SiteEligibility == "" || strings.EqualFold(e.SiteEligibility, "eligible"):
		return notInForce
	default:
		return e.SiteEligibility
	}
}

// Benefit is one CoverageEligibilityResponse.insurance.item: what a coverage offers for a kind of care.
type Benefit struct {
	// Coverage counts the insurance it stands in, from 1.
	Coverage int `json:"coverage"`
	// Category is a code of benefit-category, Name the payer's word for it.
	Category string `json:"category,omitempty"`
	Name     string `json:"name,omitempty"`
	// Excluded: the coverage does not pay for it.
	Excluded bool `json:"excluded,omitempty"`
	// Network is in or out, Unit individual or family, Term annual, day, lifetime and others.
	Network string         `json:"network,omitempty"`
	Unit    string         `json:"unit,omitempty"`
	Term    string         `json:"term,omitempty"`
	Limits  []BenefitLimit `json:"limits,omitempty"`
}

// BenefitLimit is how much of a benefit there is.
type BenefitLimit struct {
	// Type is a code of benefit-type: benefit, deductible, visit, room, copay, copay-percent, copay-maximum, approval-limit and
	// others.
	Type string `json:"type,omitempty"`
	// Allowed and Used are as sent: an amount with its currency ("100 SAR"), a whole number or a text; "" if absent, "unreadable"
	// if an amount or number is there and is none.
	Allowed string `json:"allowed,omitempty"`
	Used    string `json:"used,omitempty"`
}

// PollAnswer is a poll-response.
type PollAnswer struct {
	// Task is the identifier of our poll, as echoed.
	Task Identifier
	// Status is completed or failed. Completed without Nested is an empty queue.
	Status string
	// Nested are the messages fetched, in the order of the answer. They have left NPHIES' queue: store them.
	Nested []Nested
	Errors []CodedError
}

// Nested is one message inside another.
type Nested struct {
	// Position counts from 0.
	Position int
	// ID is the id of the nested Bundle, "" if unknown.
	ID string
	// Raw are its exact bytes; nil if a poll-response names a message it does not contain.
	Raw json.RawMessage
	// Answer is the message, nil if Err says why it could not be read.
	Answer *Answer
	Err    error
	// ReceivedAt is when NPHIES received it, zero if it does not say.
	ReceivedAt time.Time
}

// TaskAnswer is the answer to a status-check or cancel-request.
type TaskAnswer struct {
	// Code is status, cancel or another.
	Code string
	// Status is completed or failed.
	Status string
	// StatusReason says why a cancel failed: rejected, in-process, claimed.
	StatusReason string
	// Identifier is the Task's own, Focus the claim it is about.
	Identifier, Focus Identifier
	// Result of a status-check: queued, complete, error, partial, cancelled.
	Result string
}

// CommunicationAnswer is a CommunicationRequest (the payer wants something) or a Communication.
type CommunicationAnswer struct {
	Identifier Identifier
	// About are the identifiers of claims or claim responses.
	About []Identifier
	// Reasons are codes: missing-info, missing-attach, info-correct.
	Reasons []string
	// BasedOn are the requests a Communication answers.
	BasedOn []Identifier
	// Texts may name a patient: do not put them into cards or logs. So may Attachments, the titles of the files sent along.
	Texts, Attachments []string
}

// PaymentAnswer is a PaymentReconciliation.
type PaymentAnswer struct {
	Identifier Identifier
	// Payment identifies the transfer, Method says how it was made ("eft").
	Payment Identifier
	Method  string
	// Amount is the money transferred, the sum of the details; nil when the message tells none, or with Unreadable set one that
	// is no number of riyals.
	Amount     *Amount
	Unreadable bool
	// Date is the day of the transfer, Period what it settles.
	Date   string
	Period Period
	// Disposition is free text; see ClaimAnswer.
	Disposition string
	Details     []PaymentDetail
}

// PaymentDetail is the money for one claim.
type PaymentDetail struct {
	// Type is payment, adjustment or advance.
	Type string
	// Request is the claim, Response the claim response paid.
	Request, Response Identifier
	// Date is when the claim was promised to be paid.
	Date string
	// Amount = Payment + EarlyFee + NPHIESFee; fees are negative. Each is nil when the message does not tell it, or not so that
	// it can be read.
	Amount, Payment, EarlyFee, NPHIESFee *Amount
	// Unreadable names the elements whose amount is there and is no number of riyals.
	Unreadable []string
}

// Balanced reports whether the sums are exact: the amount is the sum of the details, and each detail that tells its
// components is the sum of those. A reconciliation that is not balanced, or that has an amount nobody can read, is for a person
// to look at; nothing is corrected.
func (p *PaymentAnswer) Balanced() bool {
	sum, known := p.DetailSum()
	if !known || p.Amount == nil || !sum.Equal(*p.Amount) {
		return false
	}
	for _, d := range p.Details {
		var parts Amount
		told := false
		for _, c := range []*Amount{d.Payment, d.EarlyFee, d.NPHIESFee} {
			if c != nil {
				parts, told = parts.Add(*c), true
			}
		}
		if len(d.Unreadable) > 0 || (told && !d.Amount.Equal(parts)) {
			return false
		}
	}
	return true
}

// DetailSum is the sum of the details; known is false when the amount of one cannot be read.
func (p *PaymentAnswer) DetailSum() (sum Amount, known bool) {
	for _, d := range p.Details {
		if d.Amount == nil {
			return Amount{}, false
		}
		sum = sum.Add(*d.Amount)
	}
	return sum, true
}
