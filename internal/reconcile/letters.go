// Package reconcile closes the gap between the record in PostgreSQL and the schedule in Redis, in both directions: rows that
// wish for a task and have none get one; tasks that asynq archived become dead letters in the record.
package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hibiken/asynq"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

// Notifier wishes for channels to be drained.
type Notifier interface {
	Notify(ctx context.Context, channels ...string) error
}

// Dead is an archived task.
type Dead struct {
	Queue, Type, ID   string
	Payload           []byte
	Retried, MaxRetry int
	ErrorText         string
	LastFailedAt      time.Time
}

// Letters writes archived tasks into the record.
type Letters struct {
	Store  *store.Store
	Notify Notifier
	Log    *slog.Logger
	// Endpoint is NPHIES' host, shown on cards.
	Endpoint string
	// Suppressed counts what is not told because a condition explains it. It may be nil.
	Suppressed func(reason string)
}

// Inhibited is the reason of what a firing condition keeps from being told.
const Inhibited = "inhibited"

// Write mirrors one archived task and tells people of it, once, however often it is called. Payloads hold ids only, so they
// are kept as they are.
func (l *Letters) Write(ctx context.Context, d Dead) error {
	kind, code := fault.ParseText(d.ErrorText)
	row := store.DeadLetter{
		Queue: d.Queue, TaskType: d.Type, TaskID: d.ID, Payload: json.RawMessage(d.Payload), Retried: d.Retried,
		ErrorKind: string(kind), ErrorCode: code, ErrorText: d.ErrorText, FirstFailedAt: d.LastFailedAt, LastFailedAt: d.LastFailedAt,
	}
	if !json.Valid(d.Payload) {
		row.Payload = nil
	}
	apiError := cards.APIError{
		ErrorType: errorType(kind), Code: code, Message: d.ErrorText, Endpoint: l.Endpoint, Attempt: d.Retried + 1, MaxRetries: d.MaxRetry, Final: true,
	}
	if err := l.subject(ctx, d, &row, &apiError); err != nil {
		return err
	}
	_, created, channels, err := l.Store.RecordDeadLetter(ctx, row, func(r store.DeadLetter) []store.Event {
		id := r.ID
		card := cards.DeadLetter{
			ID: id.String(), Queue: r.Queue, TaskType: r.TaskType, TaskID: r.TaskID, Retried: r.Retried, MaxRetry: d.MaxRetry,
			ErrorKind: r.ErrorKind, ErrorText: r.ErrorText, FirstFailedAt: r.FirstFailedAt, LastFailedAt: r.LastFailedAt,
		}
		correlation := id.String()
		if r.ClaimID != nil {
			card.ClaimID, card.ClaimRef, correlation = r.ClaimID.String(), r.Reference, r.ClaimID.String()
		}
		event := cards.Event{Type: cards.TaskDLQEvent, CorrelationID: correlation, Details: card}
		if comesRound(d.Type) {
			// Its next one comes anyway: the letter is a record of what happened, and nothing that a person has to decide about.
			event.Type, event.Details = cards.TaskFailedEvent, cards.TaskFailure{
				Queue: r.Queue, TaskType: r.TaskType, TaskID: r.TaskID, Retried: r.Retried, MaxRetry: d.MaxRetry, ErrorKind: r.ErrorKind, ErrorText: r.ErrorText,
				FirstFailedAt: r.FirstFailedAt, LastFailedAt: r.LastFailedAt, Worker: hostname(),
			}
		}
		alert := alertOf(r)
		events := []store.Event{{Event: event, Key: "dead/" + id.String(), Alert: alert, ClaimID: r.ClaimID, DeadLetterID: &id}}
		if apiError.Operation != "" {
			events = append(events, store.Event{
				Event: cards.Event{Type: cards.APIErrorEvent, CorrelationID: correlation, Details: apiError},
				Key:   "dead/" + id.String() + "/api", Alert: alert, ClaimID: r.ClaimID, DeadLetterID: &id,
			})
		}
		return events
	})
	if err != nil {
		return err
	}
	if created {
		l.Log.ErrorContext(ctx, "dead letter", slog.String("queue", d.Queue), slog.String("task_type", d.Type), slog.String("task_id", d.ID),
			slog.String("kind", string(kind)), slog.String("code", code), slog.String("reference", row.Reference))
		if err := l.Notify.Notify(ctx, channels...); err != nil {
			l.Log.WarnContext(ctx, "notifications wait for the next look", slog.String("error", err.Error()))
		}
	}
	return nil
}

// alertOf is the key of the alert that a dead letter belongs to: when a retry fails, people hear of the same trouble again.
func alertOf(r store.DeadLetter) string {
	switch {
	case r.ClaimID != nil:
		return "dead/claim/" + r.ClaimID.String()
	case r.EligibilityID != nil:
		return "dead/check/" + r.EligibilityID.String()
	case r.FHIRTaskID != nil:
		return "dead/task/" + r.FHIRTaskID.String()
	}
	return "dead/" + r.TaskType + "/" + r.Reference
}

// subject fills in what the task is about.
func (l *Letters) subject(ctx context.Context, d Dead, row *store.DeadLetter, a *cards.APIError) error {
	t := asynq.NewTask(d.Type, d.Payload)
	switch d.Type {
	case tasks.TypeSubmit, tasks.TypePriorAuth:
		p, err := tasks.Decode[tasks.SubmitPayload](t)
		if err != nil {
			return nil //nolint:nilerr // an unreadable payload is kept as a letter without a claim
		}
		c, err := l.Store.Claim(ctx, p.ClaimID)
		if store.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		row.ClaimID, row.License, row.Reference = &c.ID, c.License, c.Identifier.Value
		row.Superseded = c.State.Outcome() || episodeOf(d.ID) < c.Episode
		if c.FirstFailedAt != nil {
			row.FirstFailedAt = *c.FirstFailedAt
		}
		a.Operation, a.ClaimID, a.ClaimRef, a.License = cards.OperationSubmission, c.ID.String(), c.Identifier.Value, c.License
	case tasks.TypeEligibility:
		p, err := tasks.Decode[tasks.EligibilityPayload](t)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		c, err := l.Store.Check(ctx, p.CheckID)
		if store.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		row.EligibilityID, row.License, row.Reference = &c.ID, c.License, c.Identifier.Value
		row.Superseded = c.State.Answered() || episodeOf(d.ID) < c.Episode
		if c.FirstFailedAt != nil {
			row.FirstFailedAt = *c.FirstFailedAt
		}
		a.Operation, a.License = cards.OperationEligibility, c.License
	case tasks.TypeStatus, tasks.TypeCancel:
		p, err := tasks.Decode[tasks.FHIRTaskPayload](t)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		x, err := l.Store.FHIRTask(ctx, p.TaskID)
		if store.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		row.FHIRTaskID, row.License, row.Reference = &x.ID, x.License, x.Identifier.Value
		row.Superseded = x.State.Answered() || episodeOf(d.ID) < x.Episode
		if x.FirstFailedAt != nil {
			row.FirstFailedAt = *x.FirstFailedAt
		}
		a.Operation, a.ClaimID, a.ClaimRef, a.License = cards.OperationStatus, x.ClaimID.String(), x.Identifier.Value, x.License
		if d.Type == tasks.TypeCancel {
			a.Operation = cards.OperationCancel
		}
	case tasks.TypePoll:
		if p, err := tasks.Decode[tasks.PollPayload](t); err == nil {
			row.License, row.Reference = p.License, p.License
			a.Operation, a.License = cards.OperationPoll, p.License
		}
	case tasks.TypeNotify:
		if p, err := tasks.Decode[tasks.NotifyPayload](t); err == nil {
			row.Reference = p.Channel
		}
	}
	return nil
}

// episodeOf reads the budget of attempts that a task belongs to from its id ("….submit.2"). An id of another make belongs to the latest.
func episodeOf(taskID string) int {
	n, err := strconv.Atoi(taskID[strings.LastIndexByte(taskID, '.')+1:])
	if err != nil {
		return math.MaxInt
	}
	return n
}

func errorType(k fault.Kind) string {
	switch k {
	case fault.Certificate, fault.JWT, fault.API:
		return string(k)
	case fault.Invalid:
		return cards.ErrorAPI
	default:
		return cards.ErrorNetwork
	}
}

// comesRound reports whether tasks of a type are made again and again by themselves.
func comesRound(taskType string) bool {
	return taskType == tasks.TypePoll || taskType == tasks.TypeNotify
}

func hostname() string {
	h, err := os.Hostname()
	if err != nil {
		return ""
	}
	return h
}

// tell tells of an attempt that failed and was not the last: that it ran into its timeout, once for a task; that half of its retries are
// used, unless its handler tells that itself as trouble with NPHIES. What a firing condition explains is not told.
func (l *Letters) tell(ctx context.Context, t *asynq.Task, err error, timedOut bool) {
	f := fault.Of(err)
	var what cards.EventType
	switch {
	case timedOut:
		what = cards.TaskTimeoutEvent
	case tasks.HalfUsed(ctx) && f.Kind != fault.Network && f.Kind != fault.API && f.Kind != fault.Certificate && f.Kind != fault.JWT:
		what = cards.TaskRetryEvent
	default:
		return
	}
	id, _ := asynq.GetTaskID(ctx)
	queue, _ := asynq.GetQueueName(ctx)
	retried, maxRetry := tasks.Attempt(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	by, err2 := l.Store.Suppress(ctx, what)
	if err2 != nil {
		l.Log.WarnContext(ctx, "not known whether something worse explains it; it is told", slog.String("task_id", id), slog.String("error", err2.Error()))
	}
	if by != "" { // something worse is told already
		if l.Suppressed != nil {
			l.Suppressed(Inhibited)
		}
		return
	}
	d := Dead{Queue: queue, Type: t.Type(), ID: id, Payload: t.Payload()}
	row := store.DeadLetter{}
	if err := l.subject(ctx, d, &row, &cards.APIError{}); err != nil {
		return
	}
	failure := cards.TaskFailure{
		Queue: queue, TaskType: t.Type(), TaskID: id, Retried: retried + 1, MaxRetry: maxRetry, ErrorKind: string(f.Kind), ErrorText: f.Error(),
		FirstFailedAt: row.FirstFailedAt, LastFailedAt: time.Now(), Worker: hostname(),
	}
	correlation := id
	if row.ClaimID != nil {
		failure.ClaimID, failure.ClaimRef, correlation = row.ClaimID.String(), row.Reference, row.ClaimID.String()
	}
	channels, err := l.Store.Tell(ctx, store.Event{
		Event: cards.Event{Type: what, CorrelationID: correlation, Details: failure}, Key: "task/" + queue + "/" + id + "/" + string(what), ClaimID: row.ClaimID,
	})
	if err == nil {
		err = l.Notify.Notify(ctx, channels...)
	}
	if err != nil {
		l.Log.WarnContext(ctx, "failed attempt not told", slog.String("queue", queue), slog.String("task_id", id), slog.String("error", err.Error()))
	}
}

// OnError is asynq's ErrorHandler: it writes the dead letter as soon as a task has failed for good. What it misses (a worker
// that died on the last attempt, a database that is away) the reconciler finds in the archive. It also tells of attempts that ran into
// their timeout, and of tasks that have used half of their retries.
func (l *Letters) OnError(ctx context.Context, t *asynq.Task, err error) {
	if !tasks.Final(ctx, err) {
		if !errors.Is(err, asynq.ErrLeaseExpired) && !errors.Is(err, asynq.RevokeTask) {
			l.tell(ctx, t, err, errors.Is(ctx.Err(), context.DeadlineExceeded))
		}
		return
	}
	id, _ := asynq.GetTaskID(ctx)
	queue, _ := asynq.GetQueueName(ctx)
	retried, maxRetry := tasks.Attempt(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := l.Write(ctx, Dead{
		Queue: queue, Type: t.Type(), ID: id, Payload: t.Payload(), Retried: retried, MaxRetry: maxRetry, ErrorText: fault.Of(err).Error(), LastFailedAt: time.Now(),
	}); err != nil {
		l.Log.WarnContext(ctx, "dead letter not written yet", slog.String("queue", queue), slog.String("task_id", id), slog.String("error", err.Error()))
	}
}
