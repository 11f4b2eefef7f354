package cards

import "time"

// TaskFailure is the details of "task.retry", "task.timeout" and "task.failed".
type TaskFailure struct {
	Queue         string    `json:"queue"`
	TaskType      string    `json:"task_type"`
	TaskID        string    `json:"task_id"`
	Retried       int       `json:"retried"`
	MaxRetry      int       `json:"max_retry"`
	ErrorKind     string    `json:"error_kind,omitempty"` // a class: "network", "invalid", ...
	ErrorText     string    `json:"error_text,omitempty"` // safe text
	ClaimID       string    `json:"claim_id,omitempty"`
	ClaimRef      string    `json:"claim_ref,omitempty"`
	NextRunAt     time.Time `json:"next_run_at,omitzero"`
	FirstFailedAt time.Time `json:"first_failed_at,omitzero"`
	LastFailedAt  time.Time `json:"last_failed_at,omitzero"`
}

func routeTaskFailure(d TaskFailure, p Priority, s []Stakeholder) (Priority, []Stakeholder) {
	if nphiesTask(d.TaskType) {
		s = groups(s, NPHIESIntegration)
	}
	return p, s
}

func buildTaskFailure(d TaskFailure, e Event, l Links) content {
	c := taskContent(d, e, l)
	if d.ClaimID != "" {
		c.actions = append(c.actions, action{"Details", page(l.Monitor, "claims", d.ClaimID)})
	} else {
		c.actions = append(c.actions, action{"Details", l.Monitor})
	}
	return c
}

// taskContent is what the cards about a task have in common. Its actions lack "Details".
func taskContent(d TaskFailure, e Event, l Links) content {
	last := d.LastFailedAt
	if last.IsZero() {
		last = e.At
	}
	failing := ""
	if !d.FirstFailedAt.IsZero() {
		failing = span(last.Sub(d.FirstFailedAt))
	}
	return content{
		object:  d.TaskType,
		counter: of(d.Retried, d.MaxRetry),
		facts: []fact{
			must("Task type", d.TaskType),
			must("Task id", d.TaskID),
			must("Queue", d.Queue),
			must("Retries", of(d.Retried, d.MaxRetry)),
			may("Next run", moment(d.NextRunAt)),
			may("Claim ref", d.ClaimRef),
			may("Error class", d.ErrorKind),
			may("Last failed", moment(last)),
			may("First failed", moment(d.FirstFailedAt)),
			may("Failing for", failing),
		},
		detail: []block{{heading: "Last error", text: d.ErrorText}},
		actions: []action{
			{"Queue runbook", l.QueueRunbook},
			{"Grafana", l.Grafana},
			{"Kibana", l.Kibana},
		},
	}
}
