package cards

import "time"

// ClaimRejected is the details of "nphies.claim.rejected": rejected by the payer, or refused by NPHIES as invalid.
type ClaimRejected struct {
	ClaimID   string `json:"claim_id"`
	ClaimRef  string `json:"claim_ref"`
	ClaimType string `json:"claim_type,omitempty"`
	Payer     string `json:"payer"`
	License   string `json:"license,omitempty"`
	// Refused: the claim was not adjudicated but refused as invalid; Errors says why.
	Refused       bool            `json:"refused,omitempty"`
	Claimed       string          `json:"claimed"` // SAR, "1234.50"
	ItemsRejected int             `json:"items_rejected,omitempty"`
	Items         int             `json:"items"`
	Reasons       []Reason        `json:"reasons,omitempty"`
	Errors        []ReportedError `json:"errors,omitempty"`
	Disposition   string          `json:"disposition,omitempty"` // the payer's sentence
	// ResubmitBy is the payer's last day for a corrected claim.
	ResubmitBy time.Time `json:"resubmit_by,omitzero"`
	// EarlierRejections of the claims that this one replaces.
	EarlierRejections int `json:"earlier_rejections,omitempty"`
	// Authorization: this is a prior authorization, not a claim.
	Authorization bool `json:"authorization,omitempty"`
}

// Reason is a coded reason of the payer.
type Reason struct {
	Code    string `json:"code"`
	Display string `json:"display,omitempty"`
}

// ReportedError is an error NPHIES or the payer reported about a message.
type ReportedError struct {
	Code string `json:"code"`
	Text string `json:"text,omitempty"`
	// Location is a FHIR path without values ("Claim.item[2].net").
	Location string `json:"location,omitempty"`
}

func buildClaimRejected(d ClaimRejected, e Event, l Links) content {
	w := l.Language
	codes := make([]string, 0, len(d.Reasons)+len(d.Errors))
	reasons := make([]said, 0, len(d.Reasons))
	for _, r := range d.Reasons {
		codes = append(codes, r.Code)
		reasons = append(reasons, w.codeAndText(plain(r.Code), r.Display))
	}
	for _, x := range d.Errors {
		codes = append(codes, x.Code)
	}
	rejected := ""
	if d.ItemsRejected > 0 {
		rejected = of(d.ItemsRejected, d.Items)
	}
	c := content{
		object:  d.ClaimRef,
		counter: w.items(d.Items),
		facts: []fact{
			must("Claim ref", d.ClaimRef),
			must("Payer", d.Payer),
			must("Reason codes", w.list(plains(codes), 5, ", ")),
			must("Claimed", w.sar(d.Claimed)),
			may("Adjudicated at", moment(e.At)),
			may("Items rejected", rejected),
			may("Resubmit by", moment(d.ResubmitBy)),
			may("Earlier rejections", count(d.EarlierRejections)),
			may("Claim type", d.ClaimType),
			may("Provider", d.License),
		},
		detail: []block{
			{"Reasons", w.list(reasons, 25, "\n")},
			{"Errors", w.list(errorLines(d.Errors, w), 25, "\n")},
			free("Disposition", d.Disposition),
		},
		actions: claimActions(d.ClaimID, l, action{"NPHIES docs", l.NPHIESDocs}),
	}
	if d.Authorization {
		c.title = w.say("Authorization rejected")
	}
	if d.Refused {
		c.title = w.say("Claim refused as invalid")
		if d.Authorization {
			c.title = w.say("Authorization request refused as invalid")
		}
		c.facts[4].title = "Refused at"
	}
	return c
}

// codeAndText writes "code: text"; either may be missing.
func (l Language) codeAndText(code said, text string) said {
	t := said(mask(line(text)))
	switch {
	case t == "":
		return code
	case code == "":
		return t
	}
	return l.isolate(code) + ": " + l.isolate(t)
}

// errorLines writes one line per error: code, place, text.
func errorLines(errs []ReportedError, w Language) []said {
	lines := make([]said, 0, len(errs))
	for _, x := range errs {
		code := plain(x.Code)
		if x.Location != "" {
			code = w.say("%s at %s", code, x.Location)
		}
		lines = append(lines, w.codeAndText(code, x.Text))
	}
	return lines
}
