package cards

import "time"

// Condition is the details of the events about queues, workers, servers and alerts: something is not as it should be.
type Condition struct {
	Component string    `json:"component"`           // "vault", "redis", "queue", ...
	Subject   string    `json:"subject"`             // which one: a cluster, node, queue, worker, alert name
	State     string    `json:"state"`               // "sealed", "down", "12,000 pending"
	Value     string    `json:"value,omitempty"`     // measured
	Threshold string    `json:"threshold,omitempty"` // allowed
	Reason    string    `json:"reason,omitempty"`    // a short class
	Since     time.Time `json:"since,omitzero"`
	Detail    string    `json:"detail,omitempty"` // safe text
}

func buildCondition(d Condition, e Event, l Links) content {
	since := d.Since
	if since.IsZero() {
		since = e.At
	}
	runbook := action{"Queue runbook", l.QueueRunbook}
	if d.Component == "vault" {
		runbook = action{"Vault runbook", l.VaultRunbook}
	}
	return content{
		object:  d.Subject,
		counter: d.Value,
		facts: []fact{
			must("Component", d.Component),
			must("Subject", d.Subject),
			must("State", d.State),
			must("Since", moment(since)),
			may("Value", d.Value),
			may("Threshold", d.Threshold),
			may("Reason", d.Reason),
			may("Lasting", span(e.At.Sub(since))),
		},
		detail: []block{{heading: "Detail", text: d.Detail}},
		actions: []action{
			runbook,
			{"Grafana", l.Grafana},
			{"Kibana", l.Kibana},
			{"Details", l.Monitor},
		},
	}
}
