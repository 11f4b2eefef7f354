package store

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"
)

// Recall reads into v, a pointer, what Remember kept under a key, as JSON. Without anything kept v stays as it is.
func (s *Store) Recall(ctx context.Context, key string, v any) error {
	var raw []byte
	err := s.pool.QueryRow(ctx, `SELECT value FROM memories WHERE key = $1`, key).Scan(&raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	return wrap("recall "+key, err)
}

// Remember keeps v under a key, so that whoever has the duty next knows it.
func (s *Store) Remember(ctx context.Context, key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = s.pool.Exec(ctx, `INSERT INTO memories AS m (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2 WHERE m.value <> $2`, key, raw)
	return wrap("remember "+key, err)
}
