package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// SignIn is somebody who is signed in to the monitor.
type SignIn struct {
	// Key is the SHA-256 of the cookie and Site the listener that the cookie is for.
	Key  []byte
	Site string
	// PersonID, Name and Tenant say who it is, Roles what they may do, Method how they proved it: password or oidc.
	PersonID, Name, Tenant string
	Roles                  []string
	Method                 string
	// Origin is the SHA-256 of what the roles rest on.
	Origin                        []byte
	CreatedAt, LastSeenAt, EndsAt time.Time
}

// CreateSignIn writes a new sign-in and deletes the one that it replaces (its key, or nil) and those that ended before
// n.CreatedAt.
func (s *Store) CreateSignIn(ctx context.Context, n SignIn, replaces []byte) error {
	return s.tx(ctx, "sign in", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM sign_ins WHERE ends_at <= $1 OR key = $2`, n.CreatedAt, replaces); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO sign_ins (key, site, person_id, name, tenant, roles, method, origin, created_at, last_seen_at, ends_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10)`, n.Key, n.Site, n.PersonID, n.Name, n.Tenant, n.Roles, n.Method, n.Origin, n.CreatedAt, n.EndsAt)
		return err
	})
}

// SignIn returns the sign-in of a cookie. It notes, once a minute, that it was seen.
//
// Errors: ErrNotFound when there is none, or it had ended by now.
func (s *Store) SignIn(ctx context.Context, site string, key []byte, now time.Time) (SignIn, error) {
	f := SignIn{Key: key, Site: site}
	err := s.pool.QueryRow(ctx, `SELECT person_id, name, tenant, roles, method, origin, created_at, last_seen_at, ends_at
		FROM sign_ins WHERE key = $1 AND site = $2 AND ends_at > $3`, key, site, now).
		Scan(&f.PersonID, &f.Name, &f.Tenant, &f.Roles, &f.Method, &f.Origin, &f.CreatedAt, &f.LastSeenAt, &f.EndsAt)
	if err == nil && now.Sub(f.LastSeenAt) >= time.Minute {
		_, err = s.pool.Exec(ctx, `UPDATE sign_ins SET last_seen_at = $2 WHERE key = $1`, key, now)
	}
	return f, wrap("look for a sign-in", err)
}

// EndSignIn signs out. A sign-in that has ended already is no error.
func (s *Store) EndSignIn(ctx context.Context, key []byte) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM sign_ins WHERE key = $1`, key)
	return wrap("sign out", err)
}

// SignInStart is a sign-in at the provider of single sign-on that is under way.
type SignInStart struct {
	// State is the SHA-256 of what the provider sends back, Browser that of the cookie of the browser that began.
	State, Browser []byte
	Site           string
	// Next is the page to go to afterwards.
	Next   string
	EndsAt time.Time
}

// BeginSignIn writes a sign-in that is under way, and deletes those that ended before now.
func (s *Store) BeginSignIn(ctx context.Context, n SignInStart, now time.Time) error {
	return s.tx(ctx, "begin a sign-in", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM sign_in_starts WHERE ends_at <= $1`, now); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO sign_in_starts (state, site, browser, next, ends_at) VALUES ($1, $2, $3, $4, $5)`, n.State, n.Site, n.Browser, n.Next, n.EndsAt)
		return err
	})
}

// TakeSignIn returns a sign-in that is under way and deletes it: it is good once.
//
// Errors: ErrNotFound when there is none, or it had ended by now.
func (s *Store) TakeSignIn(ctx context.Context, site string, state []byte, now time.Time) (SignInStart, error) {
	f := SignInStart{State: state, Site: site}
	err := s.pool.QueryRow(ctx, `DELETE FROM sign_in_starts WHERE state = $1 AND site = $2 RETURNING browser, next, ends_at`, state, site).Scan(&f.Browser, &f.Next, &f.EndsAt)
	if err == nil && !f.EndsAt.After(now) {
		err = pgx.ErrNoRows
	}
	return f, wrap("take a sign-in under way", err)
}
