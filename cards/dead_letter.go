package cards

import "time"

// DeadLetter is the details of "task.dlq": a dead letter was written and waits for a person.
type DeadLetter struct {
	ID            string    `json:"id"` // the dead letter's, its page's address
	Queue         string    `json:"queue"`
	TaskType      string    `json:"task_type"`
	TaskID        string    `json:"task_id"`
	Retried       int       `json:"retried"`
	MaxRetry      int       `json:"max_retry"`
	ErrorKind     string    `json:"error_kind,omitempty"` // a class: "network", "invalid", ...
	ErrorText     string    `json:"error_text,omitempty"` // safe text
	ClaimID       string    `json:"claim_id,omitempty"`
	ClaimRef      string    `json:"claim_ref,omitempty"`
	FirstFailedAt time.Time `json:"first_failed_at,omitzero"`
	LastFailedAt  time.Time `json:"last_failed_at,omitzero"`
	// Waiting dead letters of this queue, this one among them.
	Waiting int `json:"waiting,omitempty"`
}

func routeDeadLetter(d DeadLetter, p Priority, s []Stakeholder) (Priority, []Stakeholder) {
	return routeTaskFailure(TaskFailure{TaskType: d.TaskType}, p, s)
}

func buildDeadLetter(d DeadLetter, e Event, l Links) content {
	c := taskContent(TaskFailure{
		Queue: d.Queue, TaskType: d.TaskType, TaskID: d.TaskID, Retried: d.Retried, MaxRetry: d.MaxRetry,
		ErrorKind: d.ErrorKind, ErrorText: d.ErrorText, ClaimID: d.ClaimID, ClaimRef: d.ClaimRef,
		FirstFailedAt: d.FirstFailedAt, LastFailedAt: d.LastFailedAt,
	}, e, l)
	c.facts = append(c.facts, may("Dead letters in queue", count(d.Waiting)))
	if d.ClaimID != "" {
		c.actions = append(c.actions, action{"Claim", page(l.Monitor, "claims", d.ClaimID)})
	}
	c.actions = append(c.actions, action{"Details", page(l.Monitor, "dead", d.ID)})
	return c
}
