package cards

import "time"

// Outcome says how far a claim was approved.
type Outcome string

// The two outcomes of an approval.
const (
	Approved Outcome = "approved"
	Partial  Outcome = "partial"
)

// ClaimApproved is the details of "nphies.claim.approved": approved in full or in part.
type ClaimApproved struct {
	ClaimID       string    `json:"claim_id"`
	ClaimRef      string    `json:"claim_ref"`
	ClaimType     string    `json:"claim_type,omitempty"`
	Payer         string    `json:"payer"`
	License       string    `json:"license,omitempty"`
	Outcome       Outcome   `json:"outcome"`
	Claimed       string    `json:"claimed"`  // SAR, "1234.50"
	Approved      string    `json:"approved"` // SAR, "" when the answer does not tell it
	ItemsApproved int       `json:"items_approved"`
	Items         int       `json:"items"`
	Cut           []CutItem `json:"cut,omitempty"` // what was not approved in full
	PreAuthRef    string    `json:"pre_auth_ref,omitempty"`
	// Authorization: this is a prior authorization, not a claim.
	Authorization bool `json:"authorization,omitempty"`
	// Turnaround is the time from submission to answer. In JSON it is nanoseconds.
	Turnaround time.Duration `json:"turnaround,omitempty"`
}

// CutItem is an item of which the payer does not pay everything.
type CutItem struct {
	Sequence    int      `json:"sequence"`
	Amount      string   `json:"amount"` // SAR that is not paid, "" when the answer does not tell it
	ReasonCodes []string `json:"reason_codes,omitempty"`
}

func buildClaimApproved(d ClaimApproved, e Event, l Links) content {
	w := l.Language
	c := content{
		object:  d.ClaimRef,
		counter: plain(of(d.ItemsApproved, d.Items)),
		facts: []fact{
			must("Claim ref", d.ClaimRef),
			must("Payer", d.Payer),
			must("Outcome", w.word(string(d.Outcome))),
			must("Approved / claimed", w.say("%s of %s", w.sarOrUnknown(d.Approved), w.sar(d.Claimed))),
		},
		actions: claimActions(d.ClaimID, l),
	}
	if d.Authorization {
		c.title = w.say("Authorization granted")
	}
	if d.Outcome == Partial {
		c.title = w.say("Claim partly approved")
		if d.Authorization {
			c.title = w.say("Authorization granted in part")
		}
		c.facts = append(c.facts, must("Cut", w.sarOrUnknown(difference(d.Claimed, d.Approved))))
	}
	c.facts = append(c.facts,
		may("Approved share", share(d.Approved, d.Claimed)),
		may("Items approved", of(d.ItemsApproved, d.Items)),
		may("Adjudicated at", moment(e.At)),
		may("Turnaround", w.span(d.Turnaround)),
		may("Pre-auth ref", d.PreAuthRef),
	)
	if len(d.Cut) > 0 {
		c.detail = append(c.detail, block{"What was cut", w.list(cutLines(d.Cut, w), 25, "\n")})
	}
	return c
}

func cutLines(cuts []CutItem, w Language) []said {
	lines := make([]said, 0, len(cuts))
	for _, i := range cuts {
		s := w.say("Item %s: %s", i.Sequence, w.sarOrUnknown(i.Amount))
		if len(i.ReasonCodes) > 0 {
			s += " (" + w.list(plains(i.ReasonCodes), 5, ", ") + ")"
		}
		lines = append(lines, s)
	}
	return lines
}
