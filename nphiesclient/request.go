package nphiesclient

import (
	"bytes"
	"strings"
	"time"
)

// MaxMessageBytes is the largest message NPHIES takes: 10 MB (BV-00076).
const MaxMessageBytes = 10 << 20

// Request is a message ready to be sent. Body is final: store it and send the same bytes at every try.
type Request struct {
	// Event is the message event: "claim-request", "eligibility-request", "poll-request" or another.
	Event string
	// BundleID and HeaderID are the ids of the Bundle and its MessageHeader; an answer quotes the latter.
	BundleID, HeaderID string
	// License is the sender's provider licence, Payer the receiver's licence.
	License, Payer string
	// PayerName is the insurer's name, "" if the message does not say.
	PayerName string
	// Identifier is the business identifier of the focal resource (Claim, CoverageEligibilityRequest, Task). For claims it
	// is the key by which answers are matched.
	Identifier Identifier
	// Use is claim or preauthorization, "" for messages that carry no Claim.
	Use string
	// Patient is the patient's first identifier in claims and eligibility requests, else zero. It is personal data: it
	// belongs into the record, never into logs, queues or cards.
	Patient Identifier
	// ClaimType and ClaimSubType are codes of Claim.type and Claim.subType, "" for other messages.
	ClaimType, ClaimSubType string
	// Replaces are the claims that a corrected one takes the place of: those it names as prior.
	Replaces []Identifier
	// Items and Total are those of a claim, zero for other messages.
	Items int
	Total Amount
	// Created is when the focal resource says it was made.
	Created time.Time
	// Warnings are what a person should look at and NPHIES may refuse; never errors.
	Warnings []Finding
	// Body is the message, at most MaxMessageBytes.
	Body []byte
}

// relationPrior says that a claim replaces the one it names.
const relationPrior = "prior"

// useOf is the Claim.use each event carries (BV-00165).
var useOf = map[string]string{
	EventClaimRequest: UseClaim, EventPriorAuthRequest: UsePreauthorization, "prescriber-request": "predetermination",
}

// ReadRequest takes a ready message Bundle as it is: Body holds the very bytes of raw. It checks only what must be known to
// carry the message (event, ids, sender, receiver, focal resource and its identifier); Check looks deeper.
//
// Any event a provider may start is read, save batch-request. Errors are *InvalidError.
func ReadRequest(raw []byte) (*Request, error) {
	var f findings
	body := bytes.TrimSpace(raw)
	if why := ambiguous(body); why != "" {
		f.add("GE-00013", "Bundle", "%s", why)
		return nil, f.err()
	}
	msg, err := readMessage(body)
	if err != nil {
		f.add("GE-00013", "Bundle", "%s", safeText(err))
		return nil, f.err()
	}
	if msg.header == nil {
		f.add("BV-00126", "Bundle.entry[0]", "a message Bundle starts with a MessageHeader")
		return nil, f.err()
	}
	h := msg.header
	r := &Request{
		Event: msg.event(), BundleID: msg.bundle.str("id"), HeaderID: h.str("id"),
		License: identifierOf(h.get("sender").get("identifier")).Value,
		Payer:   identifierOf(h.first("destination").get("receiver").get("identifier")).Value,
		Body:    bytes.Clone(body),
	}
	if len(body) > MaxMessageBytes {
		f.add("BV-00076", "Bundle", "message of %d bytes, at most %d are taken", len(body), MaxMessageBytes)
	}
	if !strings.EqualFold(msg.bundle.str("type"), "message") {
		f.add("BV-00130", "Bundle.type", "must be message")
	}
	for _, must := range []struct{ value, rule, path, what string }{
		{r.BundleID, "BV-00127", "Bundle.id", "GUID of the message"},
		{r.HeaderID, "BV-00168", "Bundle.entry[0].resource.id", "GUID of the header"},
		{r.Event, "IB-00250", "Bundle.entry[0].resource.eventCoding", "message event"},
		{r.License, "BV-00176", "Bundle.entry[0].resource.sender", "sender licence"},
		{r.Payer, "GE-00015", "Bundle.entry[0].resource.destination", "receiver licence"},
	} {
		if must.value == "" {
			f.add(must.rule, must.path, "%s is missing", must.what)
		}
	}
	if h.has("response") || strings.HasSuffix(r.Event, "-response") {
		f.add("BV-00248", "Bundle.entry[0].resource.response", "this is an answer, not a request")
	}
	if n := len(h.list("focus")); n > 1 {
		f.add("BV-00221", "Bundle.entry[0].resource.focus", "a request has one focus, not %d", n)
	}
	focal := msg.focal()
	if focal == nil {
		f.add("RE-00100", "Bundle.entry[0].resource.focus", "does not name a resource of this Bundle")
		return nil, f.err()
	}
	if want, got := focalOf[r.Event], focal.str("resourceType"); want != "" && got != want {
		f.add("BV-00167", "Bundle.entry[0].resource.focus", "%s must point at a %s", r.Event, want)
	}
	r.Identifier = firstIdentifier(focal)
	if r.Identifier.Value == "" {
		f.add("BV-00457", msg.path(focal)+".identifier", "business identifier is missing")
	}
	if focal.str("resourceType") == "Claim" {
		r.ClaimType, r.ClaimSubType = codeOf(focal.get("type")), codeOf(focal.get("subType"))
		r.Items = len(focal.list("item"))
		r.Total, _ = focal.get("total").amount()
		r.Use = focal.str("use")
		for _, rel := range focal.list("related") {
			if codeOf(rel.get("relationship")) == relationPrior {
				r.Replaces = append(r.Replaces, identifierOf(rel.get("claim").get("identifier")))
			}
		}
		if want := useOf[r.Event]; want != "" && r.Use != want {
			f.add("BV-00165", msg.path(focal)+".use", "must be %s in a %s", want, r.Event)
		}
	}
	if e := msg.find(focal.get("patient").str("reference")); e != nil {
		r.Patient = firstIdentifier(e.resource)
	}
	r.Created = parseTime(focal.str("created"))
	if r.Created.IsZero() {
		r.Created = parseTime(focal.str("authoredOn"))
	}
	r.PayerName = msg.payerName(focal, r.Payer)
	if err := f.err(); err != nil {
		return nil, err
	}
	return r, nil
}
