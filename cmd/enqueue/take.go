package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/term"

	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/config"
	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/sabotage"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/tracing"
	"github.com/claimlinc/nphiesq/nphiesclient"
	"github.com/claimlinc/nphiesq/tasks"
)

type submitCmd struct {
	QuoteEligibility bool `help:"Documents that quote no eligibility quote the latest check, of the last 30 days, that said yes to this person."`

	Wait    bool          `help:"Follow the claims until each has an outcome."`
	Timeout time.Duration `default:"10m" help:"Longest time to wait with --wait."`
	Files   []string      `arg:"" name:"file" help:"Files with claims, - for standard input."`
}

type priorauthCmd struct{ submitCmd }

type eligibilityCmd struct {
	Wait    bool          `help:"Follow the checks until each has its answer."`
	Timeout time.Duration `default:"10m" help:"Longest time to wait with --wait."`
	Files   []string      `arg:"" name:"file" help:"Files with eligibility checks, - for standard input."`
}

type pollCmd struct {
	License string `help:"Provider licence; by default those of NPHIES_PROVIDER_LICENSE."`
	Lost    bool   `help:"Messages of the mailbox are lost, as after a restore from a backup: every pending claim also asks for its answer itself, with its stored bytes."`
	Reason  string `help:"With --lost: why. It goes on record with your name."`
}

type validateCmd struct {
	Files []string `arg:"" name:"file" help:"Files with claims or eligibility checks, - for standard input."`
}

// building returns how requests are built and judged here: the licence and the rules of the settings.
func building() (nphiesclient.BuildOptions, error) {
	cfg, err := config.Load()
	if err != nil {
		return nphiesclient.BuildOptions{}, err
	}
	o := nphiesclient.BuildOptions{
		ProfileVersion: cfg.ProfileVersion, EncounterProfilePerClass: cfg.EncounterClass, PriorAuthExtension: cfg.PriorAuthExt,
	}
	// With several licences each document names its own.
	if l := cfg.Licenses(); len(l) == 1 {
		o.License = l[0]
	}
	if o.Rules, err = nphiesclient.ParseRules(cfg.Rules); err != nil {
		return o, &config.SettingError{Name: "NPHIES_RULES", Problem: err.Error()}
	}
	return o, nil
}

// each reads all inputs of the files and builds and checks their messages. f gets either a request or the reason why there is
// none; what f returns ends the run.
func (e *env) each(paths []string, o nphiesclient.BuildOptions, f func(raw nphiesclient.RawInput, req *nphiesclient.Request, err error) error) error {
	for _, path := range paths {
		r, name, err := e.file(path)
		if err != nil {
			e.failed = true
			e.warn("%v", err)
			continue
		}
		for raw, err := range nphiesclient.SplitInputs(r, name) {
			if e.ctx.Err() != nil {
				err = errors.Join(r.Close(), e.ctx.Err())
				return err
			}
			var req *nphiesclient.Request
			if err == nil {
				req, err = request(raw, o)
			}
			if err := f(raw, req, err); err != nil {
				return errors.Join(err, r.Close())
			}
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
	return nil
}

// request builds the message of one input and checks it.
func request(raw nphiesclient.RawInput, o nphiesclient.BuildOptions) (*nphiesclient.Request, error) {
	in, err := raw.Parse()
	if err != nil {
		return nil, err
	}
	return in.Request(o)
}

// sourceHash identifies what was handed in, whatever its spacing.
func sourceHash(data []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, data) == nil {
		data = b.Bytes()
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// taken is one line of the result of submit and eligibility.
type taken struct {
	ID         string                   `json:"id,omitempty"`
	Identifier *nphiesclient.Identifier `json:"identifier,omitempty"`
	Result     string                   `json:"result"`
	Reason     string                   `json:"reason,omitempty"`
	Place      string                   `json:"place,omitempty"`
	Findings   []nphiesclient.Finding   `json:"findings,omitempty"`
}

func (e *env) printTaken(t taken) error {
	id, result := t.ID, t.Result
	if id == "" {
		id = "-"
	}
	if t.Result == "invalid" {
		result += ": " + t.Reason
	}
	return e.print(t, id, result)
}

func (e *env) printInvalid(raw nphiesclient.RawInput, err error) error {
	e.failed = true
	t := taken{Result: "invalid", Reason: raw.Pos() + ": " + oneLine(err.Error()), Place: raw.Pos()}
	if inv, ok := errors.AsType[*nphiesclient.InvalidError](err); ok {
		t.Findings = inv.Findings
	}
	return e.printTaken(t)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// taker keeps one request in the record: a claim or an eligibility check.
type taker func(ctx context.Context, a *app.App, req *nphiesclient.Request, hash string) (id uuid.UUID, created, other bool, t tasks.Task, err error)

func takeClaim(ctx context.Context, a *app.App, req *nphiesclient.Request, hash string) (uuid.UUID, bool, bool, tasks.Task, error) {
	use, task := store.UseClaim, tasks.NewSubmit
	if req.Event == nphiesclient.EventPriorAuthRequest {
		use, task = store.UsePreauthorization, tasks.NewPriorAuth
	}
	var replaces []store.Identifier
	for _, id := range req.Replaces {
		replaces = append(replaces, store.Identifier(id))
	}
	c, created, err := a.Store.CreateClaim(ctx, store.NewClaim{
		Replaces: replaces, Use: use, License: req.License, Identifier: store.Identifier(req.Identifier), Payer: req.Payer, PayerName: req.PayerName, Type: req.ClaimType, SubType: req.ClaimSubType,
		Items: req.Items, Claimed: req.Total.Decimal(), HeaderID: req.HeaderID, BundleID: req.BundleID, SourceHash: hash, Event: req.Event, Body: req.Body,
	})
	if err != nil {
		return uuid.Nil, false, false, tasks.Task{}, err
	}
	return c.ID, created, c.SourceHash != hash, task(c.ID, c.Episode), nil
}

func takeCheck(ctx context.Context, a *app.App, req *nphiesclient.Request, hash string) (uuid.UUID, bool, bool, tasks.Task, error) {
	c, created, err := a.Store.CreateCheck(ctx, store.NewCheck{
		License: req.License, Identifier: store.Identifier(req.Identifier), Payer: req.Payer, PayerName: req.PayerName, HeaderID: req.HeaderID, BundleID: req.BundleID,
		SourceHash: hash, Patient: store.Identifier(req.Patient), Body: req.Body,
	})
	if err != nil {
		return uuid.Nil, false, false, tasks.Task{}, err
	}
	return c.ID, created, c.SourceHash != hash, tasks.NewEligibility(c.ID, c.Episode), nil
}

// hint names the command for a message that another one takes.
var hint = map[string]string{
	nphiesclient.EventClaimRequest:       "enqueue submit takes it",
	nphiesclient.EventPriorAuthRequest:   "enqueue priorauth takes it",
	nphiesclient.EventEligibilityRequest: "enqueue eligibility takes it",
	nphiesclient.EventPollRequest:        "enqueue poll makes its own",
	nphiesclient.EventStatusCheck:        "enqueue status --check makes its own",
	nphiesclient.EventCancelRequest:      "enqueue cancel makes its own",
}

// take keeps and enqueues everything in the files and returns the ids, in order. With quote, claims that quote no eligibility
// quote the latest check of the person.
func (e *env) take(a *app.App, paths []string, event string, quote bool, keep taker) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	bar := newBar(e.err)
	defer bar.done()
	o, err := building()
	if err != nil {
		return nil, err
	}
	o.QuoteEligibility = quote
	o.FindEligibility = func(q nphiesclient.EligibilityQuery) (nphiesclient.Identifier, error) {
		id, err := a.Store.Eligible(e.ctx, q.License, q.Payer, store.Identifier(q.Request), store.Identifier(q.Patient))
		return nphiesclient.Identifier(id), err
	}
	about := tracing.Claim
	if event == nphiesclient.EventEligibilityRequest {
		about = tracing.Check
	}
	err = e.each(paths, o, func(raw nphiesclient.RawInput, req *nphiesclient.Request, err error) (result error) {
		bar.step()
		if err == nil && req.Event != event {
			err = fmt.Errorf("%s: %s", req.Event, hint[req.Event])
		}
		if err != nil {
			return e.printInvalid(raw, err)
		}
		if sabotage.On(sabotage.EarlyID) {
			if err := e.printTaken(taken{ID: uuid.NewString(), Identifier: &req.Identifier, Result: "queued"}); err != nil {
				return err
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-e.ctx.Done():
			}
		}
		ctx, span := tracing.Begin(e.ctx, "take in "+event, trace.SpanKindInternal, attribute.String(tracing.License, req.License))
		var failed error
		defer func() { tracing.End(span, errors.Join(failed, result)) }() // in a function of its own: a span that is ended by defer itself takes a panic's text
		id, created, other, task, err := keep(ctx, a, req, sourceHash(raw.Data))
		failed = err
		if errors.Is(err, store.ErrNotOver) {
			return e.printInvalid(raw, errors.New(fault.Of(err).Safe))
		}
		if store.IsRefused(err) {
			return e.printInvalid(raw, errors.New("a value cannot be kept: control characters and amounts of a billion and more are not allowed"))
		}
		if err != nil {
			return err
		}
		ids = append(ids, id)
		t := taken{ID: id.String(), Identifier: &req.Identifier, Result: "exists"}
		if created {
			t.Result = "queued"
			span.SetAttributes(attribute.String(about, id.String()))
			e.schedule(ctx, a, task)
		} else if other {
			e.failed, t.Reason = true, "other content"
			e.warn("%s: %s was taken in before with other content; nothing is sent. A corrected claim needs a new number", raw.Pos(), req.Identifier.Value)
		}
		return e.printTaken(t)
	})
	return ids, err
}

// Run takes claims in.
func (c *submitCmd) Run(e *env) error { return c.take(e, nphiesclient.EventClaimRequest) }

// Run takes prior authorizations in.
func (c *priorauthCmd) Run(e *env) error { return c.take(e, nphiesclient.EventPriorAuthRequest) }

func (c *submitCmd) take(e *env, event string) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	ids, err := e.take(a, c.Files, event, c.QuoteEligibility, takeClaim)
	if err != nil || !c.Wait {
		return err
	}
	return e.wait(ids, c.Timeout, func(ctx context.Context, id uuid.UUID) (any, string, bool, error) {
		claim, err := a.Store.Claim(ctx, id)
		return claimView(claim), string(claim.State), claim.State.Outcome(), err
	})
}

// Run takes eligibility checks in.
func (c *eligibilityCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	ids, err := e.take(a, c.Files, nphiesclient.EventEligibilityRequest, false, takeCheck)
	if err != nil || !c.Wait {
		return err
	}
	return e.wait(ids, c.Timeout, func(ctx context.Context, id uuid.UUID) (any, string, bool, error) {
		check, err := a.Store.Check(ctx, id)
		return checkView(check), string(check.State), check.State.Answered(), err
	})
}

// wait prints each id with its outcome as it comes.
func (e *env) wait(ids []uuid.UUID, timeout time.Duration, look func(context.Context, uuid.UUID) (view any, state string, done bool, err error)) error {
	ctx, cancel := context.WithTimeout(e.ctx, timeout)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	bar := newBar(e.err)
	defer bar.done()
	bar.total = len(ids)
	for open := ids; ; {
		var left []uuid.UUID
		for _, id := range open {
			view, state, done, err := look(ctx, id)
			switch {
			case ctx.Err() != nil:
				left = append(left, id)
			case err != nil:
				return err
			case done:
				bar.step()
				if err := e.print(view, id.String(), state); err != nil {
					return err
				}
			default:
				left = append(left, id)
			}
		}
		if open = left; len(open) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			if e.ctx.Err() != nil {
				return e.ctx.Err()
			}
			e.warn("%d without an outcome after %s: enqueue status shows them", len(open), timeout)
			return errNotDone
		case <-tick.C:
		}
	}
}

// bar shows progress on a terminal and nothing elsewhere.
type bar struct {
	w        io.Writer
	n, total int
	shown    time.Time
}

func newBar(w io.Writer) *bar {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if out, err := os.Stdout.Stat(); err == nil && out.Mode()&os.ModeCharDevice == 0 {
			return &bar{w: w} // results go elsewhere: the terminal is free for progress
		}
	}
	return &bar{w: io.Discard}
}

func (b *bar) step() {
	b.n++
	if now := time.Now(); now.Sub(b.shown) > 100*time.Millisecond {
		b.shown = now
		b.draw()
	}
}

func (b *bar) draw() {
	if b.total == 0 {
		_, _ = fmt.Fprintf(b.w, "\r%d read", b.n)
		return
	}
	const width = 40
	full := width * b.n / b.total
	_, _ = fmt.Fprintf(b.w, "\r[%s%s] %d/%d", strings.Repeat("#", full), strings.Repeat(" ", width-full), b.n, b.total)
}

func (b *bar) done() {
	if b.n > 0 {
		b.draw()
		_, _ = fmt.Fprintln(b.w)
	}
}

// Run asks for polls.
func (c *pollCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	licenses := a.Config.Licenses()
	if c.License != "" {
		licenses = []string{c.License}
	}
	if len(licenses) == 0 {
		return errors.New("no licence: give --license or set NPHIES_PROVIDER_LICENSE")
	}
	if c.Lost && oneLine(c.Reason) == "" {
		return wrongUsage("--lost: needs --reason; it goes on record")
	}
	for _, l := range licenses {
		now := time.Now()
		result := "queued"
		if c.Lost {
			n, err := a.Store.Lost(e.ctx, l, store.Decision{Actor: actor(), Source: "cli", Reason: oneLine(c.Reason)})
			if err != nil {
				return err
			}
			result = fmt.Sprintf("queued; %d pending claims ask for their answers", n)
		}
		if err := a.Store.SchedulePoll(e.ctx, l, now); err != nil {
			return err
		}
		e.schedule(e.ctx, a, tasks.NewPoll(l, now))
		if err := e.print(map[string]string{"license": l, "result": result}, l, result); err != nil {
			return err
		}
	}
	return nil
}

// Run checks inputs and says what is wrong with each, and what may be.
func (c *validateCmd) Run(e *env) error {
	o, err := building()
	if err != nil {
		return err
	}
	// Nothing is looked up here: a check that a document names is taken to have been answered.
	o.FindEligibility = func(q nphiesclient.EligibilityQuery) (nphiesclient.Identifier, error) { return q.Request, nil }
	return e.each(c.Files, o, func(raw nphiesclient.RawInput, req *nphiesclient.Request, err error) error {
		inv, hasFindings := errors.AsType[*nphiesclient.InvalidError](err)
		switch {
		case err != nil && (e.json || !hasFindings):
			return e.printInvalid(raw, err)
		case err != nil:
			e.failed = true
			return e.printFindings(raw, inv.Findings)
		case !e.json:
			if err := e.printFindings(raw, req.Warnings); err != nil {
				return err
			}
		}
		t := taken{Identifier: &req.Identifier, Result: "valid", Place: raw.Pos(), Findings: req.Warnings}
		return e.print(t, raw.Pos(), "valid", req.Identifier.Value)
	})
}

// printFindings writes one line for each: file and line, severity, rule, place in the document (of a ready message the
// element), FHIRPath, and what to do.
func (e *env) printFindings(raw nphiesclient.RawInput, found []nphiesclient.Finding) error {
	for _, f := range found {
		pos := raw
		if f.Line > 0 {
			pos.Line = f.Line
		}
		if err := e.print(nil, pos.Pos(), string(f.Severity), f.Rule, dash(f.Path), dash(f.Expression), strings.TrimSpace(f.Text+". "+f.Fix)); err != nil {
			return err
		}
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
