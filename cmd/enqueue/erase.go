package main

import (
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/claimlinc/nphiesq/internal/fault"
	"github.com/claimlinc/nphiesq/internal/store"
)

type eraseCmd struct {
	Reason string   `required:"" help:"Why. It goes on record with your name."`
	IDs    []string `arg:"" name:"id" help:"Ids or numbers of claims and eligibility checks."`
}

// erasedView is one result as JSON.
type erasedView struct {
	ID         uuid.UUID        `json:"id"`
	Identifier store.Identifier `json:"identifier"`
	Result     string           `json:"result"`
	Messages   int64            `json:"messages"`
}

// Run erases what was sent and received about claims and checks that are over.
func (c *eraseCmd) Run(e *env) error {
	if oneLine(c.Reason) == "" {
		return wrongUsage("--reason: is empty; say why")
	}
	a, err := e.open()
	if err != nil {
		return err
	}
	defer a.Close()
	by := store.Decision{Actor: actor(), Source: "cli", Reason: oneLine(c.Reason), Command: uuid.New()}
	tell := func(v erasedView, out store.Erased, err error) error {
		v.Messages, v.Result = out.Messages, "erased"
		if fault.Is(err, fault.Conflict) {
			e.failed, v.Result = true, "refused: "+fault.Of(err).Safe
		} else if err != nil {
			return err
		}
		return e.print(v, v.ID.String(), v.Identifier.Value, v.Result, fmt.Sprint(v.Messages))
	}
	for _, name := range c.IDs {
		claims, checks, err := e.named(a.Store, name)
		if err != nil {
			return err
		}
		if len(claims)+len(checks) != 1 {
			e.failed = true
			e.warn("%s: %d claims and eligibility checks have this id or number; name one by its id", name, len(claims)+len(checks))
			continue
		}
		if len(claims) == 1 {
			out, err := a.Store.EraseClaim(e.ctx, claims[0].ID, by)
			err = tell(erasedView{ID: claims[0].ID, Identifier: claims[0].Identifier}, out, err)
			if err != nil {
				return err
			}
			continue
		}
		out, err := a.Store.EraseCheck(e.ctx, checks[0].ID, by)
		if err = tell(erasedView{ID: checks[0].ID, Identifier: checks[0].Identifier}, out, err); err != nil {
			return err
		}
	}
	return nil
}

// named finds claims and checks by id or number.
func (e *env) named(s *store.Store, name string) (claims []store.Claim, checks []store.Check, err error) {
	id, err := uuid.Parse(name)
	if err != nil {
		if claims, err = s.Claims(e.ctx, store.ClaimFilter{Values: []string{name}}); err == nil {
			checks, err = s.Checks(e.ctx, []string{name}, 0)
		}
		return claims, checks, err
	}
	claim, err1 := s.Claim(e.ctx, id)
	if err1 == nil {
		claims = append(claims, claim)
	}
	check, err2 := s.Check(e.ctx, id)
	if err2 == nil {
		checks = append(checks, check)
	}
	for _, err := range []error{err1, err2} {
		if err != nil && !store.IsNotFound(err) {
			return nil, nil, errors.Join(err1, err2)
		}
	}
	return claims, checks, nil
}
