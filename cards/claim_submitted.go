package cards

import "time"

// ClaimSubmitted is the details of "nphies.claim.submitted": NPHIES or the payer took the claim in.
type ClaimSubmitted struct {
	ClaimID   string `json:"claim_id"`            // ours: the claim page's address
	ClaimRef  string `json:"claim_ref"`           // value of the claim's identifier
	ClaimType string `json:"claim_type"`          // "institutional", "oral", ...
	Payer     string `json:"payer"`               // licence or name of the payer
	License   string `json:"license"`             // licence of the provider
	BundleID  string `json:"bundle_id,omitempty"` // of the message that was sent
	Items     int    `json:"items"`
	Amount    string `json:"amount"` // SAR, "1234.50"
	// Queued: NPHIES keeps the claim for the payer and a poll will bring the answer.
	Queued bool `json:"queued"`
	// Authorization: this is a prior authorization, not a claim.
	Authorization bool `json:"authorization,omitempty"`
	// ResponseTime of NPHIES. In JSON it is nanoseconds.
	ResponseTime time.Duration `json:"response_time,omitempty"`
}

func buildClaimSubmitted(d ClaimSubmitted, e Event, l Links) content {
	w := l.Language
	waiting := w.say("answered at once")
	if d.Queued {
		waiting = w.say("queued for the payer, answer by poll")
	}
	var title said
	if d.Authorization {
		title = w.say("Authorization requested")
	}
	return content{
		title:   title,
		object:  d.ClaimRef,
		counter: w.items(d.Items),
		facts: []fact{
			must("Claim ref", d.ClaimRef),
			must("Claim type", d.ClaimType),
			must("Payer", d.Payer),
			must("Submitted at", moment(e.At)),
			may("Provider", d.License),
			may("Amount", w.sar(d.Amount)),
			may("Items", w.items(d.Items)),
			may("State", waiting),
			may("Response time", w.span(d.ResponseTime)),
			may("Bundle id", d.BundleID),
		},
		actions: claimActions(d.ClaimID, l),
	}
}

// claimActions are the buttons of a card about a claim.
func claimActions(claimID string, l Links, more ...action) []action {
	return append(append([]action{
		{"NPHIES portal", l.NPHIESPortal},
		{"ClaimLinc", l.ClaimLinc},
	}, more...), action{"Details", page(l.Monitor, "claims", claimID)})
}
