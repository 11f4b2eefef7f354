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
	Worker        string    `json:"worker,omitempty"` // which one ran it last
	// Took is how long the last attempt ran. In JSON it is nanoseconds.
	Took time.Duration `json:"took,omitempty"`
}

func routeTaskFailure(d TaskFailure, p Priority, s []Stakeholder) (Priority, []Stakeholder) {
	if nphiesTask(d.TaskType) {
		s = groups(s, NPHIESIntegration)
	}
	return p, s
}

func buildTaskFailure(d TaskFailure, e Event, l Links) content {
	c := taskContent(d, e, l)
	if e.Type == TaskRetryEvent {
		c.title = l.Language.say("Task failing, retry %s of %s", d.Retried, d.MaxRetry)
	}
	c.facts = append(c.facts, may("Worker", d.Worker))
	if d.ClaimID != "" {
		c.actions = append(c.actions, action{"Details", page(l.Monitor, "claims", d.ClaimID)})
	} else {
		c.actions = append(c.actions, action{"Details", l.Monitor})
	}
	return c
}

// taskContent is what the cards about a task have in common: nine facts, and the actions without "Details".
func taskContent(d TaskFailure, e Event, l Links) content {
	w := l.Language
	last := d.LastFailedAt
	if last.IsZero() {
		last = e.At
	}
	var failing said
	if !d.FirstFailedAt.IsZero() {
		failing = w.span(last.Sub(d.FirstFailedAt))
	}
	next := may("Next run", moment(d.NextRunAt))
	if d.NextRunAt.IsZero() {
		next = may("Ran for", w.span(d.Took))
	}
	return content{
		object:  d.TaskType,
		counter: plain(of(d.Retried, d.MaxRetry)),
		facts: []fact{
			must("Task type", d.TaskType),
			must("Task id", d.TaskID),
			must("Queue", d.Queue),
			must("Retries", of(d.Retried, d.MaxRetry)),
			may("Error class", d.ErrorKind),
			next,
			may("Claim ref", d.ClaimRef),
			may("Last failed", moment(last)),
			may("Failing for", failing),
		},
		detail: []block{free("Last error", d.ErrorText)},
		actions: []action{
			{"Queue runbook", l.QueueRunbook},
			{"Grafana", l.Grafana},
			{"Kibana", l.Kibana},
		},
	}
}
