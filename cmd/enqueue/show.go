package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/claimlinc/nphiesq/internal/app"
	"github.com/claimlinc/nphiesq/internal/store"
	"github.com/claimlinc/nphiesq/internal/synth"
	"github.com/claimlinc/nphiesq/nphiesclient"
)

type statusCmd struct {
	Check   bool          `help:"Ask the payer how these claims stand (status-check) and print its answer."`
	Timeout time.Duration `default:"2m" help:"Longest time to wait for answers with --check."`
	IDs     []string      `arg:"" optional:"" name:"id" help:"Ids or numbers of claims or eligibility checks. Without any: how many claims stand where."`
}

type listCmd struct {
	State string `help:"Only claims in this state: received, submitting, pending, pended, approved, partial, rejected, error, cancelled."`
	Limit int    `default:"100" help:"Most claims to list, 0 for all."`
}

type inspectCmd struct {
	Files []string `arg:"" name:"file" help:"Files with NPHIES messages, - for standard input."`
}

type generateCmd struct {
	N       int      `short:"n" default:"10" help:"How many claims."`
	Seed    uint64   `default:"1" help:"The same seed gives the same claims."`
	Kind    string   `enum:"claim,priorauth,mixed" default:"claim" help:"What to make: claim, priorauth or mixed."`
	Type    []string `aliases:"kinds" help:"Claim types to choose from, by default all."`
	License string   `help:"Provider licence, by default DEMO-PR-0001."`
}

// view is a claim or eligibility check as JSON.
type view struct {
	ID         uuid.UUID         `json:"id"`
	Kind       string            `json:"kind"`
	Identifier store.Identifier  `json:"identifier"`
	License    string            `json:"license"`
	Payer      string            `json:"payer"`
	State      string            `json:"state"`
	Amounts    map[string]string `json:"amounts,omitempty"`
	// SiteEligibility is the answer's code, of eligibility checks.
	SiteEligibility string `json:"site_eligibility,omitempty"`
	// Benefits are what the coverages of an answered eligibility check offer; only status tells them.
	Benefits []nphiesclient.Benefit `json:"benefits,omitempty"`
	// PreAuthRef is what a prior authorization gave.
	PreAuthRef string     `json:"preauth_ref,omitempty"`
	LastError  *lastError `json:"last_error"`
	Attempts   int        `json:"attempts"`
	CreatedAt  time.Time  `json:"created_at"`
	UpdatedAt  time.Time  `json:"updated_at"`
}

type lastError struct {
	Kind string `json:"kind,omitempty"`
	Code string `json:"code,omitempty"`
	Text string `json:"text"`
}

func errorOf(kind, code, text string) *lastError {
	if kind == "" && code == "" && text == "" {
		return nil
	}
	return &lastError{Kind: kind, Code: code, Text: text}
}

func claimView(c store.Claim) view {
	kind := "claim"
	if c.Use == store.UsePreauthorization {
		kind = "priorauth"
	}
	v := view{
		ID: c.ID, Kind: kind, PreAuthRef: c.PreAuthRef, Identifier: c.Identifier, License: c.License, Payer: c.Payer, State: string(c.State),
		Amounts:   map[string]string{"claimed": c.Claimed.StringFixed(2)},
		LastError: errorOf(c.ErrorKind, c.ErrorCode, c.ErrorText), Attempts: c.Attempts, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
	for name, a := range map[string]decimal.NullDecimal{"approved": c.Approved, "patient_share": c.PatientShare} {
		if a.Valid {
			v.Amounts[name] = a.Decimal.StringFixed(2)
		}
	}
	return v
}

func checkView(c store.Check) view {
	return view{
		ID: c.ID, Kind: "eligibility", Identifier: c.Identifier, License: c.License, Payer: c.Payer, State: string(c.State), SiteEligibility: c.SiteEligibility,
		LastError: errorOf(c.ErrorKind, c.ErrorCode, c.ErrorText), Attempts: c.Attempts, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
}

// answeredView adds the benefits, which stand in the answer as it came.
func (e *env) answeredView(a *app.App, c store.Check) (view, error) {
	v := checkView(c)
	if !c.Answered() {
		return v, nil
	}
	body, err := a.Store.CheckReply(e.ctx, c.ID)
	if err != nil {
		return v, err
	}
	if answer, err := nphiesclient.Parse(body); err == nil && answer.Eligibility != nil {
		v.Benefits = answer.Eligibility.Benefits
	}
	return v, nil
}

func (e *env) printView(v view) error {
	var result string
	switch {
	case v.Kind == "eligibility":
		result = v.SiteEligibility
	case v.Amounts["approved"] != "":
		result = v.Amounts["approved"] + " of " + v.Amounts["claimed"] + " SAR"
	default:
		result = v.Amounts["claimed"] + " SAR"
	}
	trouble := ""
	if v.LastError != nil {
		trouble = v.LastError.Text
	}
	if err := e.print(v, v.ID.String(), v.Identifier.Value, v.State, result, trouble); err != nil || e.json {
		return err
	}
	for _, b := range v.Benefits {
		if err := e.print(nil, "", "benefit", b.String()); err != nil {
			return err
		}
	}
	return nil
}

// Run shows rows by id or number.
func (c *statusCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	if c.Check {
		return c.ask(e, a)
	}
	if len(c.IDs) == 0 {
		counts, err := a.Store.ClaimCounts(e.ctx)
		if err != nil {
			return err
		}
		for _, n := range counts {
			row := map[string]any{"state": n.State, "claims": n.Count, "claimed": n.Claimed.StringFixed(2), "approved": n.Approved.StringFixed(2)}
			if err := e.print(row, string(n.State), fmt.Sprint(n.Count), n.Claimed.StringFixed(2)+" SAR"); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range c.IDs {
		var found []view
		if id, err := uuid.Parse(name); err == nil {
			claim, err := a.Store.Claim(e.ctx, id)
			if err == nil {
				found = append(found, claimView(claim))
			} else if !store.IsNotFound(err) {
				return err
			}
			check, err := a.Store.Check(e.ctx, id)
			if err == nil {
				v, err := e.answeredView(a, check)
				if err != nil {
					return err
				}
				found = append(found, v)
			} else if !store.IsNotFound(err) {
				return err
			}
		}
		if len(found) == 0 {
			claims, err := a.Store.Claims(e.ctx, store.ClaimFilter{Values: []string{name}})
			if err != nil {
				return err
			}
			for _, claim := range claims {
				found = append(found, claimView(claim))
			}
			checks, err := a.Store.Checks(e.ctx, []string{name}, 0)
			if err != nil {
				return err
			}
			for _, check := range checks {
				v, err := e.answeredView(a, check)
				if err != nil {
					return err
				}
				found = append(found, v)
			}
		}
		if len(found) == 0 {
			e.failed = true
			e.warn("%s: no claim or eligibility check has this id or number", name)
		}
		for _, v := range found {
			if err := e.printView(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// Run lists claims.
func (c *listCmd) Run(e *env) error {
	f := store.ClaimFilter{Limit: max(c.Limit, 0)}
	if c.State != "" {
		var names []string
		for _, s := range store.States() {
			names = append(names, string(s))
			if string(s) == c.State {
				f.States = []store.State{s}
			}
		}
		if f.States == nil {
			return wrongUsage("--state: %q is not allowed; want %s", c.State, strings.Join(names, ", "))
		}
	}
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	claims, err := a.Store.Claims(e.ctx, f)
	if err != nil {
		return err
	}
	for _, claim := range claims {
		if err := e.printView(claimView(claim)); err != nil {
			return err
		}
	}
	return nil
}

// Run explains messages.
func (c *inspectCmd) Run(e *env) error {
	for _, path := range c.Files {
		r, name, err := e.file(path)
		if err != nil {
			e.failed = true
			e.warn("%v", err)
			continue
		}
		for raw, err := range nphiesclient.SplitInputs(r, name) {
			var in *nphiesclient.Inspection
			if err == nil {
				in, err = nphiesclient.Inspect(raw.Data)
			}
			if err != nil {
				e.failed = true
				e.warn("%s: %s", raw.Pos(), oneLine(err.Error()))
				continue
			}
			if e.json {
				err = e.print(in)
			} else {
				_, _ = fmt.Fprintf(e.out, "%s\n", raw.Pos())
				err = errors.Join(in.WriteText(e.out), e.out.Flush())
			}
			if err != nil {
				return errors.Join(err, r.Close())
			}
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Run prints synthetic claims.
func (c *generateCmd) Run(e *env) error {
	if c.N < 0 {
		return wrongUsage("-n: %d is not allowed; want 0 or more", c.N)
	}
	known := map[string]bool{"professional": true, "pharmacy": true, "institutional": true, "oral": true, "vision": true}
	for _, k := range c.Type {
		if !known[k] {
			return wrongUsage("--type: %q is not allowed; want professional, pharmacy, institutional, oral or vision", k)
		}
	}
	use := map[string]string{"claim": synth.UseClaim, "priorauth": synth.UsePreauthorization, "mixed": synth.UseMixed}[c.Kind]
	w := bufio.NewWriter(e.out)
	enc := json.NewEncoder(w)
	for n := range c.N {
		if err := enc.Encode(synth.Claim(c.Seed, n, synth.Options{Use: use, Kinds: c.Type, License: c.License})); err != nil {
			return err
		}
	}
	return w.Flush()
}
