package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
)

// auditCmd is about the record of what people decided.
type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" default:"1" help:"Check that no row of the trail was changed, removed or put in between."`
	List   auditListCmd   `cmd:"" help:"List what people did, newest first."`
}

type auditVerifyCmd struct {
	Expect string `placeholder:"ROW:HASH" help:"The end of the trail as it was printed before: fails too if rows up to there are gone."`
}

type auditListCmd struct {
	Target string `help:"Only what was done to this alert, dead letter, claim, …"`
	Limit  int    `default:"50" help:"How many rows at most."`
}

type auditEnd struct {
	Rows int64  `json:"rows"`
	Hash string `json:"hash"`
}

// Run checks the trail and prints its end, which --expect takes later: kept elsewhere, it shows that the newest rows are still there.
func (c *auditVerifyCmd) Run(e *env) error {
	row, hash := int64(0), ""
	if c.Expect != "" {
		n, rest, ok := strings.Cut(c.Expect, ":")
		var err error
		if row, err = strconv.ParseInt(n, 10, 64); err != nil || !ok || row < 1 || len(rest) != 64 {
			return &fault.Error{Op: "verify the audit trail", Kind: fault.Invalid, Safe: "--expect: want ROW:HASH as it was printed, the hash of 64 characters", Permanent: true}
		}
		hash = rest
	}
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	end, err := a.Store.VerifySince(e.ctx, store.TrailEnd{Row: row, Hash: hash})
	if err != nil {
		return err
	}
	return e.print(auditEnd{end.Row, end.Hash}, "whole", strconv.FormatInt(end.Row, 10)+" rows", fmt.Sprintf("%d:%s", end.Row, end.Hash))
}

// Run lists actions.
func (c *auditListCmd) Run(e *env) error {
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	found, err := a.Store.Actions(e.ctx, c.Target, max(1, c.Limit))
	if err != nil {
		return err
	}
	for _, x := range found {
		if err := e.print(x, strconv.FormatInt(x.Seq, 10), x.At.Format(time.RFC3339), x.Actor, x.Source, x.Verb, x.TargetKind+" "+x.Target, x.Outcome, x.Reason); err != nil {
			return err
		}
	}
	return nil
}
