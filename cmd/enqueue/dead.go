package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/internal/actions"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/tasks"
)

type deadCmd struct {
	List    deadListCmd    `cmd:"" help:"List dead letters, the latest failure first."`
	Show    deadShowCmd    `cmd:"" help:"Show dead letters with what was decided about them."`
	Retry   deadRetryCmd   `cmd:"" help:"Try again, with a fresh budget of attempts and the same bytes."`
	Discard deadDiscardCmd `cmd:"" help:"Give up: a claim without an answer ends in error."`
}

// letterFilter chooses dead letters on the command line.
type letterFilter struct {
	Queue     string `help:"Only of this queue: nphies-eligibility, nphies-submit, nphies-priorauth, nphies-status, nphies-cancel, nphies-poll, teams or pagerduty."`
	ErrorKind string `help:"Only with this kind of error (network, api, certificate, …)."`
	Reference string `help:"Only of this claim number, eligibility number, licence or channel."`
}

func (f letterFilter) store(states ...store.LetterState) (store.LetterFilter, error) {
	if f.Queue != "" && !slices.Contains(tasks.Queues(), f.Queue) {
		return store.LetterFilter{}, wrongUsage("--queue: %q is not allowed; want one of %v", f.Queue, tasks.Queues())
	}
	if f.ErrorKind != "" && !slices.Contains(fault.Kinds(), fault.Kind(f.ErrorKind)) {
		return store.LetterFilter{}, wrongUsage("--error-kind: %q is not allowed; want one of %v", f.ErrorKind, fault.Kinds())
	}
	return store.LetterFilter{States: states, Queue: f.Queue, ErrorKind: f.ErrorKind, Reference: f.Reference}, nil
}

type deadListCmd struct {
	letterFilter
	State string `default:"open" enum:"open,retrying,discarded,resolved,all" help:"open, retrying, discarded, resolved or all."`
	Limit int    `default:"100" help:"Most letters to list, 0 for all."`
}

type deadShowCmd struct {
	IDs []uuid.UUID `arg:"" name:"id" help:"Ids of dead letters."`
}

type decideArgs struct {
	letterFilter
	Reason string      `required:"" help:"Why. It goes on record with your name."`
	DryRun bool        `help:"Only show which letters would be decided."`
	Limit  int         `default:"100" help:"Most letters a filter may choose, 0 for all."`
	Rate   float64     `default:"0" help:"Most letters decided in a second, 0 for as fast as it goes: so that a bulk retry does not flood NPHIES."`
	IDs    []uuid.UUID `arg:"" optional:"" name:"id" help:"Ids of dead letters; or choose them by a filter."`
}

type (
	deadRetryCmd   struct{ decideArgs }
	deadDiscardCmd struct{ decideArgs }
)

// letterView is a dead letter as JSON.
type letterView struct {
	ID            uuid.UUID         `json:"id"`
	State         store.LetterState `json:"state"`
	Queue         string            `json:"queue"`
	TaskType      string            `json:"task_type"`
	TaskID        string            `json:"task_id"`
	Episode       int               `json:"episode"`
	ClaimID       *uuid.UUID        `json:"claim_id,omitempty"`
	Reference     string            `json:"reference,omitempty"`
	License       string            `json:"license,omitempty"`
	Retried       int               `json:"retried"`
	Error         *lastError        `json:"error"`
	FirstFailedAt time.Time         `json:"first_failed_at"`
	LastFailedAt  time.Time         `json:"last_failed_at"`
	DecidedBy     string            `json:"decided_by,omitempty"`
	DecidedAt     *time.Time        `json:"decided_at,omitempty"`
	Reason        string            `json:"reason,omitempty"`
	Result        string            `json:"result,omitempty"`
}

func viewLetter(l store.DeadLetter) letterView {
	return letterView{
		ID: l.ID, State: l.State, Queue: l.Queue, TaskType: l.TaskType, TaskID: l.TaskID, Episode: l.Episode, ClaimID: l.ClaimID, Reference: l.Reference,
		License: l.License, Retried: l.Retried, Error: errorOf(l.ErrorKind, l.ErrorCode, l.ErrorText), FirstFailedAt: l.FirstFailedAt, LastFailedAt: l.LastFailedAt,
		DecidedBy: l.DecidedBy, DecidedAt: l.DecidedAt, Reason: l.Reason,
	}
}

func (e *env) printLetter(v letterView) error {
	fields := []string{v.ID.String(), string(v.State), v.TaskType, v.Reference, v.LastFailedAt.Format(time.RFC3339), v.Error.Text}
	if v.Result != "" {
		fields = append(fields, v.Result)
	}
	return e.print(v, fields...)
}

// Run lists letters.
func (c *deadListCmd) Run(e *env) error {
	f, err := c.store()
	if err != nil {
		return err
	}
	if c.State != "all" {
		f.States = []store.LetterState{store.LetterState(c.State)}
	}
	f.Limit = max(c.Limit, 0)
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	list, err := a.Store.DeadLetters(e.ctx, f)
	if err != nil {
		return err
	}
	for _, l := range list {
		if err := e.printLetter(viewLetter(l)); err != nil {
			return err
		}
	}
	return nil
}

// Run shows letters and their trail.
func (c *deadShowCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	for _, id := range c.IDs {
		l, err := a.Store.DeadLetter(e.ctx, id)
		if store.IsNotFound(err) {
			e.failed = true
			e.warn("%s: no such dead letter", id)
			continue
		}
		if err != nil {
			return err
		}
		trail, err := a.Store.Actions(e.ctx, id.String(), 0)
		if err != nil {
			return err
		}
		if e.json {
			type step struct {
				At      time.Time `json:"at"`
				Actor   string    `json:"actor"`
				Verb    string    `json:"verb"`
				Outcome string    `json:"outcome"`
				Reason  string    `json:"reason"`
			}
			steps := []step{}
			for _, s := range slices.Backward(trail) {
				steps = append(steps, step{s.At, s.Actor, s.Verb, s.Outcome, s.Reason})
			}
			if err := e.print(struct {
				letterView
				Actions []step `json:"actions"`
			}{viewLetter(l), steps}); err != nil {
				return err
			}
			continue
		}
		v := viewLetter(l)
		for _, row := range [][2]string{
			{"id", id.String()},
			{"state", string(v.State)},
			{"task", v.TaskType + " " + v.TaskID},
			{"queue", v.Queue},
			{"reference", v.Reference},
			{"licence", v.License},
			{"retries", fmt.Sprint(v.Retried)},
			{"error", v.Error.Text},
			{"first failed", v.FirstFailedAt.Format(time.RFC3339)},
			{"last failed", v.LastFailedAt.Format(time.RFC3339)},
		} {
			if err := e.print(nil, row[0], row[1]); err != nil {
				return err
			}
		}
		for _, s := range slices.Backward(trail) {
			if err := e.print(nil, s.At.Format(time.RFC3339), s.Actor+": "+s.Verb+" ("+s.Outcome+"): "+s.Reason); err != nil {
				return err
			}
		}
	}
	return nil
}

// Run tries letters again.
func (c *deadRetryCmd) Run(e *env) error {
	return e.decide(c.decideArgs, store.BulkRetry)
}

// Run gives letters up.
func (c *deadDiscardCmd) Run(e *env) error {
	return e.decide(c.decideArgs, store.BulkDiscard)
}

// decide applies one verb to the chosen letters. A letter that somebody else decided about is reported and counts as not done.
func (e *env) decide(c decideArgs, verb store.BulkVerb) error {
	f, err := c.store(store.LetterOpen)
	if err != nil {
		return err
	}
	if (len(c.IDs) == 0) == (c.letterFilter == letterFilter{}) {
		return wrongUsage("name dead letters by id, or choose them by --queue, --error-kind or --reference")
	}
	if c.Rate < 0 {
		return wrongUsage("--rate: %v is not allowed; want 0 or more letters a second", c.Rate)
	}
	if oneLine(c.Reason) == "" {
		return wrongUsage("--reason: is empty; say why")
	}
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	if len(c.IDs) > 0 {
		f.States, f.IDs, c.Limit = nil, c.IDs, 0
	}
	chosen, err := a.Store.DeadLetters(e.ctx, f)
	if err != nil {
		return err
	}
	more := 0
	if c.Limit > 0 && len(chosen) > c.Limit {
		more = len(chosen) - c.Limit
		chosen = chosen[:c.Limit]
	}
	for _, id := range c.IDs {
		if !slices.ContainsFunc(chosen, func(l store.DeadLetter) bool { return l.ID == id }) {
			e.failed = true
			e.warn("%s: no such dead letter", id)
		}
	}
	if c.DryRun {
		for _, l := range chosen {
			v := viewLetter(l)
			v.Result = "would be decided"
			if l.State != store.LetterOpen {
				v.Result = "already " + string(l.State)
			}
			if err := e.printLetter(v); err != nil {
				return err
			}
		}
		if more > 0 {
			e.warn("%d shown, %d more match: --limit 0 chooses all", len(chosen), more)
		}
		return nil
	}
	core := &actions.Core{Store: a.Store, Queue: a.Queue}
	err = core.Bulk(e.ctx, verb, chosen, c.Rate, store.Decision{Actor: actor(), Source: "cli", Reason: oneLine(c.Reason)}, func(l store.DeadLetter, d store.Decided, err error) error {
		if err != nil && !d.Applied {
			return err
		}
		if err != nil {
			e.warn("%s is decided; the queue follows when Redis answers: %v", l.ID, err)
		}
		v := viewLetter(d.Letter)
		v.Result = "applied"
		if !d.Applied {
			e.failed = true
			v.Result = "already " + string(d.Letter.State) + " by " + d.Letter.DecidedBy
		}
		return e.printLetter(v)
	})
	if err == nil && more > 0 {
		e.warn("%d decided, %d more match: --limit 0 decides all", len(chosen), more)
	}
	return err
}
