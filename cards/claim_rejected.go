package cards

import "strings"

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
	codes := make([]string, 0, len(d.Reasons)+len(d.Errors))
	reasons := make([]string, 0, len(d.Reasons))
	for _, r := range d.Reasons {
		codes = append(codes, r.Code)
		reasons = append(reasons, strings.TrimSuffix(line(r.Code)+": "+line(r.Display), ": "))
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
		counter: items(d.Items),
		facts: []fact{
			must("Claim ref", d.ClaimRef),
			must("Payer", d.Payer),
			must("Reason codes", list(distinct(codes), 5, ", ")),
			must("Claimed", sar(d.Claimed)),
			may("Items rejected", rejected),
			may("Claim type", d.ClaimType),
			may("Provider", d.License),
			may("Adjudicated at", moment(e.At)),
		},
		detail: []block{
			{heading: "Reasons", text: list(reasons, 25, "\n")},
			{heading: "Errors", text: list(errorLines(d.Errors), 25, "\n")},
			{heading: "Disposition", text: d.Disposition},
		},
		actions: claimActions(d.ClaimID, l, action{"NPHIES docs", l.NPHIESDocs}),
	}
	if d.Authorization {
		c.title = "Authorization rejected"
	}
	if d.Refused {
		c.title = "Claim refused as invalid"
		if d.Authorization {
			c.title = "Authorization request refused as invalid"
		}
		c.facts[len(c.facts)-1].title = "Refused at"
	}
	return c
}

// errorLines writes one line per error: code, place, text.
func errorLines(errs []ReportedError) []string {
	lines := make([]string, 0, len(errs))
	for _, x := range errs {
		s := line(x.Code)
		if x.Location != "" {
			s += " at " + line(x.Location)
		}
		if x.Text != "" {
			s += ": " + line(x.Text)
		}
		lines = append(lines, strings.TrimPrefix(s, " "))
	}
	return lines
}

// distinct drops repetitions and keeps the order.
func distinct(all []string) []string {
	seen := make(map[string]bool, len(all))
	var out []string
	for _, s := range all {
		if s != "" && !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
