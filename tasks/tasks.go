// Package tasks is the contract between those who wish for work and those who do it: task types, queues, payloads, options,
// retry delays, and routing by exact type. Payloads hold ids only; everything else is read from the record in PostgreSQL.
package tasks

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"github.com/claimlinc/nphiesq/internal/fault"
)

// Task types. One row in Table belongs to each.
const (
	TypeEligibility = "nphies:eligibility"
	TypeSubmit      = "nphies:submit"
	TypePriorAuth   = "nphies:priorauth"
	TypeStatus      = "nphies:status"
	TypeCancel      = "nphies:cancel"
	TypePoll        = "nphies:poll"
	TypeNotify      = "teams:notify"
	TypePage        = "pagerduty:send"
)

// Queues, one per type, so that each has its own concurrency.
const (
	QueueEligibility = "nphies-eligibility"
	QueueSubmit      = "nphies-submit"
	QueuePriorAuth   = "nphies-priorauth"
	QueueStatus      = "nphies-status"
	QueueCancel      = "nphies-cancel"
	QueuePoll        = "nphies-poll"
	QueueTeams       = "teams"
	QueuePager       = "pagerduty"
)

// MaxPayloadBytes is the most a payload may have: the heartbeat rewrites every active payload each five seconds.
const MaxPayloadBytes = 1024

// Spec is what holds for all tasks of one type.
type Spec struct {
	// Type is the task type; Queue its only queue.
	Type, Queue string
	// Concurrency is the number of tasks one worker process runs at a time, unless a setting says otherwise.
	Concurrency int
	// MaxRetry counts attempts after the first.
	MaxRetry int
	// Timeout is the longest one attempt may take, in whole seconds.
	Timeout time.Duration
	// Retention is how long the id of a completed task stays taken; 0 frees it at once.
	Retention time.Duration
	// RetryBase is the first delay; it doubles up to RetryCap.
	RetryBase, RetryCap time.Duration
	// Payload is the zero payload, for tests of completeness.
	Payload any
}

// Table lists every task type. A new type is one row here, a handler file, and one line in that package's Register.
func Table() []Spec {
	return []Spec{
		{
			Type: TypeEligibility, Queue: QueueEligibility, Concurrency: 8, MaxRetry: 5, Timeout: 90 * time.Second, Retention: 24 * time.Hour,
			RetryBase: 2 * time.Second, RetryCap: 5 * time.Minute, Payload: EligibilityPayload{},
		},
		{
			Type: TypeSubmit, Queue: QueueSubmit, Concurrency: 4, MaxRetry: 8, Timeout: 90 * time.Second, Retention: 72 * time.Hour,
			RetryBase: 5 * time.Second, RetryCap: 30 * time.Minute, Payload: SubmitPayload{},
		},
		{ // a patient waits for the answer: not behind ten thousand claims
			Type: TypePriorAuth, Queue: QueuePriorAuth, Concurrency: 4, MaxRetry: 8, Timeout: 90 * time.Second, Retention: 72 * time.Hour,
			RetryBase: 5 * time.Second, RetryCap: 30 * time.Minute, Payload: SubmitPayload{},
		},
		{
			Type: TypeStatus, Queue: QueueStatus, Concurrency: 2, MaxRetry: 5, Timeout: 90 * time.Second, Retention: 24 * time.Hour,
			RetryBase: 5 * time.Second, RetryCap: 5 * time.Minute, Payload: FHIRTaskPayload{},
		},
		{
			Type: TypeCancel, Queue: QueueCancel, Concurrency: 2, MaxRetry: 8, Timeout: 90 * time.Second, Retention: 72 * time.Hour,
			RetryBase: 5 * time.Second, RetryCap: 30 * time.Minute, Payload: FHIRTaskPayload{},
		},
		{
			Type: TypePoll, Queue: QueuePoll, Concurrency: 2, MaxRetry: 3, Timeout: 120 * time.Second, Retention: 10 * time.Minute,
			RetryBase: 5 * time.Second, RetryCap: 5 * time.Minute, Payload: PollPayload{},
		},
		{
			Type: TypeNotify, Queue: QueueTeams, Concurrency: 8, MaxRetry: 12, Timeout: 120 * time.Second,
			RetryBase: 2 * time.Second, RetryCap: time.Minute, Payload: NotifyPayload{},
		},
		{
			Type: TypePage, Queue: QueuePager, Concurrency: 1, MaxRetry: 12, Timeout: 120 * time.Second,
			RetryBase: 2 * time.Second, RetryCap: time.Minute, Payload: PagePayload{},
		},
	}
}

// SpecOf returns the row of a task type; ok is false for an unknown one.
func SpecOf(taskType string) (s Spec, ok bool) {
	for _, s := range Table() {
		if s.Type == taskType {
			return s, true
		}
	}
	return Spec{}, false
}

// Queues lists all queues in the order of Table.
func Queues() []string {
	var out []string
	for _, s := range Table() {
		out = append(out, s.Queue)
	}
	return out
}

// EligibilityPayload names one row of eligibility_checks.
type EligibilityPayload struct {
	CheckID uuid.UUID `json:"check_id"`
}

// SubmitPayload names one row of claims.
type SubmitPayload struct {
	ClaimID uuid.UUID `json:"claim_id"`
}

// FHIRTaskPayload names one row of fhir_tasks.
type FHIRTaskPayload struct {
	TaskID uuid.UUID `json:"task_id"`
}

// PollPayload names the provider licence whose mailbox is to be emptied.
type PollPayload struct {
	License string `json:"license"`
}

// NotifyPayload names the channel whose waiting notifications are to be posted.
type NotifyPayload struct {
	Channel string `json:"channel"`
}

// PagePayload is empty: one task sends all that waits for PagerDuty.
type PagePayload struct{}

// Task is a wish for work: the asynq task together with the options that are its identity.
type Task struct {
	*asynq.Task
	Queue string
	ID    string
}

// NewEligibility asks for the eligibility check with this id. episode counts the budgets of attempts it has been given.
func NewEligibility(id uuid.UUID, episode int) Task {
	return build(TypeEligibility, EligibilityPayload{CheckID: id}, fmt.Sprintf("%s.elig.%d", compact(id), episode))
}

// NewSubmit asks for the claim's stored bytes to be sent. episode counts the budgets of attempts it has been given.
func NewSubmit(id uuid.UUID, episode int) Task {
	return build(TypeSubmit, SubmitPayload{ClaimID: id}, fmt.Sprintf("%s.submit.%d", compact(id), episode))
}

// NewPriorAuth is NewSubmit for a prior authorization.
func NewPriorAuth(id uuid.UUID, episode int) Task {
	return build(TypePriorAuth, SubmitPayload{ClaimID: id}, fmt.Sprintf("%s.priorauth.%d", compact(id), episode))
}

// NewStatus asks for the status-check with this id to be sent. episode as in NewSubmit.
func NewStatus(id uuid.UUID, episode int) Task {
	return build(TypeStatus, FHIRTaskPayload{TaskID: id}, fmt.Sprintf("%s.status.%d", compact(id), episode))
}

// NewCancel asks for the cancel-request with this id to be sent. episode as in NewSubmit.
func NewCancel(id uuid.UUID, episode int) Task {
	return build(TypeCancel, FHIRTaskPayload{TaskID: id}, fmt.Sprintf("%s.cancel.%d", compact(id), episode))
}

// NewPoll asks for the mailbox of a licence to be emptied. All wishes for the same moment are one task.
func NewPoll(license string, slot time.Time) Task {
	return build(TypePoll, PollPayload{License: license}, fmt.Sprintf("%d.poll.%s", slot.UnixMilli(), idPart(license)))
}

// NewNotify asks for a channel to be drained at a time, to the second. All wishes for the same second are one task.
func NewNotify(channel string, at time.Time) Task {
	return build(TypeNotify, NotifyPayload{Channel: channel}, fmt.Sprintf("%s.notify.%d", idPart(channel), at.Unix()))
}

// NewPage asks for what waits for PagerDuty to be sent at a time, to the second. All wishes for the same second are one task.
func NewPage(at time.Time) Task {
	return build(TypePage, PagePayload{}, fmt.Sprintf("%d.page", at.Unix()))
}

// Reserved is what a task id may not hold: asynqmon cuts ids at "-" and its routes at "/".
const reserved = "-/"

func compact(id uuid.UUID) string { return strings.ReplaceAll(id.String(), "-", "") }

func idPart(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(reserved, r) || r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
}

// build makes the task of a type in Table. Its id and payload are functions of the arguments only, so that the same wish made
// twice is the same task.
func build(taskType string, payload any, id string) Task {
	s, ok := SpecOf(taskType)
	if !ok {
		panic("tasks: no row in Table for " + taskType) // a programming error, caught by the completeness test
	}
	body, err := json.Marshal(payload)
	if err != nil {
		panic("tasks: payload of " + taskType + ": " + err.Error()) // payloads are plain structs of ids
	}
	return Task{Task: asynq.NewTask(s.Type, body, s.options(id)...), Queue: s.Queue, ID: id}
}

func (s Spec) options(id string) []asynq.Option {
	return []asynq.Option{asynq.Queue(s.Queue), asynq.TaskID(id), asynq.MaxRetry(s.MaxRetry), asynq.Timeout(s.Timeout), asynq.Retention(s.Retention)}
}

// About is the id that a task is about: that of a claim, a check or a FHIR task, a provider licence, or the name of a channel. "" if its
// payload names none.
func About(t *asynq.Task) string {
	var payload map[string]string
	if err := json.Unmarshal(t.Payload(), &payload); err != nil {
		return ""
	}
	for _, id := range payload { // there is at most one
		return id
	}
	return ""
}

// WithHeaders returns the same wish with headers, which carry the trace it belongs to.
func (t Task) WithHeaders(headers map[string]string) Task {
	s, ok := SpecOf(t.Type())
	if !ok {
		panic("tasks: no row in Table for " + t.Type())
	}
	t.Task = asynq.NewTaskWithHeaders(s.Type, t.Payload(), headers, s.options(t.ID)...)
	return t
}

// Decode reads the payload of a task into T. The error is permanent: a payload does not mend itself.
func Decode[T any](t *asynq.Task) (T, error) {
	var v T
	if err := json.Unmarshal(t.Payload(), &v); err != nil {
		return v, &fault.Error{Op: "read payload of " + t.Type(), Kind: fault.Invalid, Safe: "the payload is not what this version expects", Permanent: true, Err: err}
	}
	return v, nil
}
