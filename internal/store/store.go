// Package store is the record in PostgreSQL: claims, messages, answers, eligibility checks, poll state, notifications (the
// outbox), dead letters and operator actions. What belongs together is one transaction here: an outcome and the notifications
// of it, a decision and its entry in the audit trail.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/claimlinc/nphiesq/cards"
	"github.com/claimlinc/nphiesq/internal/fault"
)

// Channel is a webhook as the outbox sees it: who of an event's stakeholders shares it, and its address without its secret.
type Channel struct {
	Name         string
	Stakeholders []cards.Stakeholder
	// Redacted is "" while no webhook is configured: the row is written all the same and visibly waits.
	Redacted string
}

// Router maps stakeholders to channels.
type Router interface {
	Channels(stakeholders []cards.Stakeholder) []Channel
}

// Options is what a Store needs beside the database.
type Options struct {
	// Router decides where events go; nil writes no notifications at all.
	Router Router
	// Links are the addresses on cards.
	Links cards.Links
	// Environment is shown on cards.
	Environment string
	// LeaseTime is how long a lease lasts without being renewed; 0 means LeaseTime.
	LeaseTime time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Store is the record. It is safe for concurrent use.
type Store struct {
	pool *pgxpool.Pool
	opt  Options
}

// New returns a Store on a pool, which the caller closes.
func New(pool *pgxpool.Pool, o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LeaseTime <= 0 {
		o.LeaseTime = LeaseTime
	}
	return &Store{pool: pool, opt: o}
}

// Ping asks the database for an answer.
func (s *Store) Ping(ctx context.Context) error { return wrap("ping PostgreSQL", s.pool.Ping(ctx)) }

// IsRefused reports whether PostgreSQL refused values as such (out of range, not text): the same values will never do.
func IsRefused(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code[:2] == "22" || pg.Code[:2] == "23" || pg.Code[:2] == "54")
}

// ErrNotFound says that there is no such row.
var ErrNotFound = &fault.Error{Kind: fault.NotFound, Safe: "no such row", Permanent: true}

// wrap classifies an error of the database. Its text may hold values, so it stays hidden.
func wrap(op string, err error) error {
	var f *fault.Error
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return err
	case errors.Is(err, pgx.ErrNoRows):
		return &fault.Error{Op: op, Kind: fault.NotFound, Safe: "no such row", Permanent: true, Err: ErrNotFound}
	case errors.As(err, &pg):
		switch pg.Code {
		case readOnly:
			return &fault.Error{Op: op, Kind: fault.Unavailable, Code: "SQLSTATE " + pg.Code, Safe: "this PostgreSQL takes no writes: it is a standby", Err: err}
		case "42501":
			return &fault.Error{Op: op, Kind: fault.Config, Code: "SQLSTATE " + pg.Code, Safe: "the role of DATABASE_URL lacks a right: docs/high-availability.md lists them", Err: err}
		}
		switch pg.Code[:2] {
		case "08", "53", "57", "40", "55": // connection, resources, operator intervention, rollback, not in state
			return &fault.Error{Op: op, Kind: fault.Unavailable, Code: "SQLSTATE " + pg.Code, Safe: "PostgreSQL cannot do it now", Err: err}
		case "28", "3D": // login, database
			return &fault.Error{Op: op, Kind: fault.Config, Code: "SQLSTATE " + pg.Code, Safe: "PostgreSQL refuses the user, password or database of DATABASE_URL", Err: err}
		case "42":
			return &fault.Error{Op: op, Kind: fault.Config, Code: "SQLSTATE " + pg.Code, Safe: "the schema is not what this version expects: run `worker migrate up`", Err: err}
		}
		return &fault.Error{Op: op, Kind: fault.Internal, Code: "SQLSTATE " + pg.Code, Safe: "PostgreSQL refused", Err: err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &fault.Error{Op: op, Kind: fault.Unavailable, Safe: "PostgreSQL did not answer in time", Err: err}
	}
	if f := connectFault(op, err); f != nil {
		return f
	}
	return &fault.Error{Op: op, Kind: fault.Unavailable, Safe: "PostgreSQL is away", Err: err}
}

// tx runs f in a transaction.
func (s *Store) tx(ctx context.Context, op string, f func(pgx.Tx) error) error {
	return wrap(op, pgx.BeginFunc(ctx, s.pool, f))
}

// newID returns a new time-ordered UUID.
func newID() uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.New()
	}
	return id
}
