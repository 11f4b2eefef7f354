package cards

// EligibilityDenied is the details of "nphies.eligibility.denied": the payer answered that the coverage does not apply.
type EligibilityDenied struct {
	CheckID  string `json:"check_id"`  // ours
	CheckRef string `json:"check_ref"` // value of the request's identifier
	Payer    string `json:"payer"`
	License  string `json:"license,omitempty"`
	// SiteEligibility is the code of the payer's answer ("not-eligible", "out-network", ...), Display its text.
	SiteEligibility string          `json:"site_eligibility"`
	Display         string          `json:"display,omitempty"`
	Disposition     string          `json:"disposition,omitempty"` // the payer's sentence
	Purposes        []string        `json:"purposes,omitempty"`
	ServicedDate    string          `json:"serviced_date,omitempty"` // "2026-01-31"
	Errors          []ReportedError `json:"errors,omitempty"`
}

func buildEligibilityDenied(d EligibilityDenied, e Event, l Links) content {
	w := l.Language
	return content{
		object:  d.CheckRef,
		counter: plain(d.SiteEligibility),
		facts: []fact{
			must("Request ref", d.CheckRef),
			must("Payer", d.Payer),
			must("Reason code", d.SiteEligibility),
			may("Reason", mask(d.Display)),
			must("Answered at", moment(e.At)),
			may("Provider", d.License),
			may("Purpose", w.list(plains(d.Purposes), 5, ", ")),
			may("Serviced date", d.ServicedDate),
		},
		detail: []block{
			free("Disposition", d.Disposition),
			{"Errors", w.list(errorLines(d.Errors, w), 25, "\n")},
		},
		actions: []action{
			{"NPHIES portal", l.NPHIESPortal},
			{"ClaimLinc", l.ClaimLinc},
			{"Details", page(l.Monitor, "eligibility", d.CheckID)},
		},
	}
}
