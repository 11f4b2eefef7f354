package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/nphiesclient"
	"github.com/claimlinc/nphiesq/tasks"
	"github.com/claimlinc/nphiesq/tasks/nphies"
)

type cancelCmd struct {
	Reason  string        `required:"" enum:"WI,NP,TAS" help:"Why, for the payer: WI (wrong information), NP (not performed) or TAS (already submitted)."`
	Note    string        `help:"Why, in your own words. It goes on record with your name."`
	Wait    bool          `help:"Wait for the payer's answer."`
	Timeout time.Duration `default:"2m" help:"Longest time to wait with --wait."`
	IDs     []string      `arg:"" name:"id" help:"Ids or numbers of claims."`
}

// fhirTaskView is a status check or cancellation as JSON.
type fhirTaskView struct {
	ID           uuid.UUID           `json:"id,omitzero"`
	ClaimID      uuid.UUID           `json:"claim_id"`
	Identifier   store.Identifier    `json:"identifier"`
	Code         string              `json:"code"`
	State        store.FHIRTaskState `json:"state"`
	Result       string              `json:"result,omitempty"`
	StatusReason string              `json:"status_reason,omitempty"`
	LastError    *lastError          `json:"last_error"`
}

func (e *env) printFHIRTask(t store.FHIRTask) error {
	v := fhirTaskView{
		ID: t.ID, ClaimID: t.ClaimID, Identifier: t.Identifier, Code: t.Code, State: t.State, Result: t.Result, StatusReason: t.StatusReason,
		LastError: errorOf(t.ErrorKind, t.ErrorCode, t.ErrorText),
	}
	answer := t.Result + t.StatusReason
	if v.LastError != nil && answer == "" {
		answer = v.LastError.Text
	}
	return e.print(v, t.ClaimID.String(), t.Identifier.Value, t.Code, string(t.State), answer)
}

// claims finds claims by id or number. What is not found is told, and counts as not done.
func (e *env) claims(a *app.App, names []string) ([]store.Claim, error) {
	var out []store.Claim
	for _, name := range names {
		var found []store.Claim
		if id, err := uuid.Parse(name); err == nil {
			c, err := a.Store.Claim(e.ctx, id)
			if err == nil {
				found = append(found, c)
			} else if !store.IsNotFound(err) {
				return nil, err
			}
		} else {
			var err error
			if found, err = a.Store.Claims(e.ctx, store.ClaimFilter{Values: []string{name}}); err != nil {
				return nil, err
			}
		}
		switch len(found) {
		case 0:
			e.failed = true
			e.warn("%s: no claim has this id or number", name)
		case 1:
			out = append(out, found[0])
		default:
			e.failed = true
			e.warn("%s: %d claims have this number; name one by its id", name, len(found))
		}
	}
	return out, nil
}

// start keeps a FHIR Task about a claim and enqueues it.
func (e *env) start(a *app.App, claim store.Claim, code, reason string, by store.Decision) (store.FHIRTask, error) {
	task := tasks.NewStatus
	if code == store.TaskCancel {
		task = tasks.NewCancel
	}
	n, err := nphies.NewFHIRTask(claim, code, reason, nphiesclient.TaskOptions{IdentifierSystem: a.Config.IdentifierURL + "/task", ProfileVersion: a.Config.ProfileVersion})
	if err != nil {
		return store.FHIRTask{}, err
	}
	n.By = by
	t, created, err := a.Store.CreateFHIRTask(e.ctx, n)
	if err != nil {
		return t, err
	}
	if !created {
		e.warn("%s: one is on its way already, asked %s", claim.Identifier.Value, t.CreatedAt.Format(time.RFC3339))
	}
	e.schedule(e.ctx, a, task(t.ID, t.Episode))
	return t, nil
}

// answers waits for the answers to FHIR Tasks and prints them.
func (e *env) answers(a *app.App, started []store.FHIRTask, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(e.ctx, timeout)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for len(started) > 0 {
		var left []store.FHIRTask
		for _, t := range started {
			now, err := a.Store.FHIRTask(e.ctx, t.ID)
			if err != nil {
				return err
			}
			if !now.State.Answered() {
				left = append(left, now)
				continue
			}
			e.failed = e.failed || now.State != store.FHIRTaskCompleted
			if err := e.printFHIRTask(now); err != nil {
				return err
			}
		}
		if started = left; len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			for _, t := range left {
				if err := e.printFHIRTask(t); err != nil {
					return err
				}
			}
			if e.ctx.Err() != nil {
				return e.ctx.Err()
			}
			e.warn("%d without an answer after %s: it goes on by itself, the claim page shows it", len(left), timeout)
			return errNotDone
		case <-tick.C:
		}
	}
	return nil
}

// ask asks the payers how claims stand.
func (c *statusCmd) ask(e *env, a *app.App) error {
	if len(c.IDs) == 0 {
		return wrongUsage("--check: name the claims, by id or number")
	}
	claims, err := e.claims(a, c.IDs)
	if err != nil {
		return err
	}
	var started []store.FHIRTask
	for _, claim := range claims {
		if claim.SubmittedAt == nil && claim.Attempts == 0 {
			e.failed = true
			e.warn("%s: it was not sent yet, so the payer cannot know it", claim.Identifier.Value)
			continue
		}
		t, err := e.start(a, claim, store.TaskStatus, "", store.Decision{})
		if err != nil {
			return err
		}
		started = append(started, t)
	}
	return e.answers(a, started, c.Timeout)
}

// Run asks for claims to be cancelled.
func (c *cancelCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	claims, err := e.claims(a, c.IDs)
	if err != nil {
		return err
	}
	by := store.Decision{Actor: actor(), Source: "cli", Reason: c.Note}
	if by.Reason == "" {
		by.Reason = c.Reason
	}
	var started []store.FHIRTask
	for _, claim := range claims {
		if claim.State == store.Cancelled {
			e.warn("%s: it is cancelled already", claim.Identifier.Value)
			continue
		}
		unsent, err := a.Store.CancelUnsent(e.ctx, claim.ID, by, c.Reason)
		if err != nil {
			return err
		}
		if unsent {
			if err := e.print(fhirTaskView{ClaimID: claim.ID, Identifier: claim.Identifier, Code: store.TaskCancel, State: store.FHIRTaskCompleted, Result: "never sent"},
				claim.ID.String(), claim.Identifier.Value, store.TaskCancel, string(store.FHIRTaskCompleted), "never sent"); err != nil {
				return err
			}
			continue
		}
		t, err := e.start(a, claim, store.TaskCancel, c.Reason, by)
		if err != nil {
			return err
		}
		if c.Wait {
			started = append(started, t)
		} else if err := e.printFHIRTask(t); err != nil {
			return err
		}
	}
	return e.answers(a, started, c.Timeout)
}

type inboxCmd struct {
	Event     string `help:"Only this event (claim-response, payment-reconciliation, …)."`
	License   string `help:"Only of this provider licence."`
	Unmatched bool   `help:"Only what matches nothing of ours."`
	Limit     int    `default:"100" help:"Most entries to list, 0 for all."`
}

type inboxView struct {
	MessageID uuid.UUID  `json:"message_id"`
	License   string     `json:"license"`
	Event     string     `json:"event"`
	ClaimID   *uuid.UUID `json:"claim_id,omitempty"`
	Reference string     `json:"reference,omitempty"`
	Matched   bool       `json:"matched"`
	CreatedAt time.Time  `json:"created_at"`
}

// Run lists what the mailboxes brought.
func (c *inboxCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	found, err := a.Store.Inbox(e.ctx, store.InboxFilter{Event: c.Event, License: c.License, Unmatched: c.Unmatched, Limit: max(c.Limit, 0)})
	if err != nil {
		return err
	}
	for _, m := range found {
		event, matched := m.Event, "matched"
		if event == "" {
			event = "unreadable"
		}
		if !m.Matched {
			matched = "unmatched"
		}
		if err := e.print(inboxView(m), m.MessageID.String(), m.CreatedAt.Format(time.RFC3339), event, m.Reference, matched); err != nil {
			return err
		}
	}
	return nil
}

type paymentsCmd struct {
	Limit int       `default:"100" help:"Most payments to list, 0 for all."`
	ID    uuid.UUID `arg:"" optional:"" name:"id" help:"Message id of a payment: shows its lines."`
}

type paymentView struct {
	MessageID  uuid.UUID        `json:"message_id"`
	Identifier store.Identifier `json:"identifier"`
	License    string           `json:"license"`
	Payer      string           `json:"payer"`
	Date       string           `json:"date,omitempty"`
	Amount     *string          `json:"amount"` // null when it cannot be read
	Sum        *string          `json:"sum"`
	Balanced   bool             `json:"balanced"`
	Lines      int              `json:"lines"`
	Claims     int              `json:"claims"`
}

type paymentLineView struct {
	ClaimID   *uuid.UUID       `json:"claim_id,omitempty"`
	Request   store.Identifier `json:"request"`
	Response  store.Identifier `json:"response"`
	Type      string           `json:"type"`
	Amount    *string          `json:"amount"` // null, as are the others, when it is not told or cannot be read
	Payment   *string          `json:"payment"`
	EarlyFee  *string          `json:"early_fee"`
	NPHIESFee *string          `json:"nphies_fee"`
}

// digits is an amount as sent, nil for one nobody knows.
func digits(d decimal.NullDecimal) *string {
	if !d.Valid {
		return nil
	}
	s := d.Decimal.String()
	return &s
}

func inSAR(d decimal.NullDecimal) string {
	if !d.Valid {
		return "unknown"
	}
	return d.Decimal.String() + " SAR"
}

// Run lists payments, or the lines of one.
func (c *paymentsCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	if c.ID != uuid.Nil {
		p, err := a.Store.Payment(e.ctx, c.ID)
		if store.IsNotFound(err) {
			return fmt.Errorf("%s: no payment came in this message", c.ID)
		}
		if err != nil {
			return err
		}
		for _, d := range p.Details {
			claim := "-"
			if d.ClaimID != nil {
				claim = d.ClaimID.String()
			}
			if err := e.print(paymentLineView{
				ClaimID: d.ClaimID, Request: d.Request, Response: d.Response, Type: d.Type, Amount: digits(d.Amount), Payment: digits(d.Payment),
				EarlyFee: digits(d.EarlyFee), NPHIESFee: digits(d.NPHIESFee),
			}, claim, d.Request.Value, d.Type, inSAR(d.Amount)); err != nil {
				return err
			}
		}
		return nil
	}
	found, err := a.Store.Payments(e.ctx, max(c.Limit, 0))
	if err != nil {
		return err
	}
	for _, p := range found {
		balance := "balanced"
		if !p.Balanced {
			balance = "not balanced, the lines sum to " + inSAR(p.DetailSum)
		}
		if err := e.print(paymentView{
			MessageID: p.MessageID, Identifier: p.Identifier, License: p.License, Payer: p.Payer, Date: p.Date, Amount: digits(p.Amount), Sum: digits(p.DetailSum),
			Balanced: p.Balanced, Lines: p.Lines, Claims: p.Claims,
		}, p.MessageID.String(), p.Identifier.Value, p.Payer, inSAR(p.Amount), fmt.Sprintf("%d lines, %d of our claims", p.Lines, p.Claims), balance); err != nil {
			return err
		}
	}
	return nil
}

type pausesCmd struct {
	List   pausesListCmd   `cmd:"" default:"1" help:"List pauses, the oldest first."`
	Resume pausesResumeCmd `cmd:"" help:"End a pause: what waited is sent."`
}

type pausesListCmd struct{}

type pausesResumeCmd struct {
	Payer   string `help:"The payer's licence, when the pause is about one payer."`
	Reason  string `required:"" help:"Why. It goes on record with your name."`
	License string `arg:"" name:"license" help:"Provider licence."`
}

type pauseView struct {
	License  string     `json:"license"`
	Payer    string     `json:"payer,omitempty"`
	Error    *lastError `json:"error"`
	Failures int        `json:"failures"`
	Since    time.Time  `json:"since"`
	Until    *time.Time `json:"until"`
}

// Run lists pauses.
func (c *pausesListCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	found, err := a.Store.Pauses(e.ctx)
	if err != nil {
		return err
	}
	for _, p := range found {
		payer, until := p.Payer, "until resumed"
		if payer == "" {
			payer = "all payers"
		}
		if p.Until != nil {
			until = "until " + p.Until.Format(time.RFC3339)
		}
		if err := e.print(pauseView{
			License: p.License, Payer: p.Payer, Error: errorOf(p.ErrorKind, p.ErrorCode, p.ErrorText), Failures: p.Failures, Since: p.Since, Until: p.Until,
		}, p.License, payer, until, p.ErrorText); err != nil {
			return err
		}
	}
	return nil
}

// Run ends a pause.
func (c *pausesResumeCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	applied, err := a.Store.Resume(e.ctx, c.License, c.Payer, store.Decision{Actor: actor(), Source: "cli", Reason: c.Reason})
	if err != nil {
		return err
	}
	if !applied {
		return errors.New("there is no such pause: enqueue pauses list shows them")
	}
	return e.print(map[string]string{"license": c.License, "payer": c.Payer, "result": "resumed"}, c.License, c.Payer, "resumed")
}
