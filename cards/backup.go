package cards

import "time"

// Backup is the details of "backup.failed".
type Backup struct {
	System      string        `json:"system"` // "PostgreSQL", "Vault"
	Job         string        `json:"job"`
	Target      string        `json:"target,omitempty"`  // where it would have gone: no credentials
	Failure     string        `json:"failure,omitempty"` // a class: "disk full", "unreachable"
	LastSuccess time.Time     `json:"last_success,omitzero"`
	Took        time.Duration `json:"took,omitempty"` // in JSON nanoseconds
	Written     int64         `json:"written,omitempty"`
	Attempts    int           `json:"attempts,omitempty"`
	Next        time.Time     `json:"next,omitzero"` // attempt
	Detail      string        `json:"detail,omitempty"`
}

func buildBackup(d Backup, e Event, l Links) content {
	w := l.Language
	var age said
	if !d.LastSuccess.IsZero() {
		age = w.span(e.At.Sub(d.LastSuccess))
	}
	return content{
		object:  d.Job,
		counter: age,
		facts: []fact{
			must("System", d.System),
			must("Job", d.Job),
			must("Last success", moment(d.LastSuccess)),
			may("Age of the last one", age),
			may("Failure", d.Failure),
			may("Target", d.Target),
			may("Ran for", w.span(d.Took)),
			may("Written", size(d.Written)),
			may("Attempts", count(d.Attempts)),
			may("Next attempt", moment(d.Next)),
		},
		detail:  []block{free("Detail", d.Detail)},
		actions: fleetActions(l, l.Monitor),
	}
}
