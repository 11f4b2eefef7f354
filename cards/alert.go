package cards

import (
	"strings"
	"time"
)

// Alert is the details of "prometheus.alert.firing": what Alertmanager reported.
type Alert struct {
	Name      string    `json:"name"`
	Severity  string    `json:"severity"`            // its label: "critical" and "page" are CRITICAL, "error" and "high" are HIGH
	Subject   string    `json:"subject,omitempty"`   // its instance, pod or queue
	Job       string    `json:"job,omitempty"`       // its job or service
	Namespace string    `json:"namespace,omitempty"` // of Kubernetes
	Since     time.Time `json:"since,omitzero"`
	Firing    int       `json:"firing,omitempty"` // alerts of its group
	Value     string    `json:"value,omitempty"`  // measured
	Receiver  string    `json:"receiver,omitempty"`
	Summary   string    `json:"summary,omitempty"` // safe text
	Detail    string    `json:"detail,omitempty"`  // its description, safe text
	Runbook   string    `json:"runbook,omitempty"` // address of what to do about it
}

func routeAlert(d Alert, p Priority, s []Stakeholder) (Priority, []Stakeholder) {
	switch strings.ToLower(d.Severity) {
	case "critical", "page":
		return Critical, s
	case "error", "high":
		return High, s
	}
	return p, s
}

func buildAlert(d Alert, e Event, l Links) content {
	object := mask(d.Name)
	if d.Subject != "" {
		object += " · " + mask(d.Subject)
	}
	actions := fleetActions(l, l.Monitor)
	if usable(d.Runbook) {
		actions[0] = action{"Runbook", d.Runbook}
	}
	return content{
		object:  object,
		counter: plain(mask(d.Value)),
		facts: []fact{
			must("Alert", mask(d.Name)),
			must("Severity", d.Severity),
			must("Subject", mask(d.Subject)),
			must("Since", since(d.Since, e, l.Language)),
			may("Value", mask(d.Value)),
			may("Job", d.Job),
			may("Namespace", d.Namespace),
			may("Firing", count(d.Firing)),
			may("Receiver", d.Receiver),
		},
		detail:  []block{free("Summary", d.Summary), free("Description", d.Detail)},
		actions: actions,
	}
}
