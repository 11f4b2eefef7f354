-- +goose Up
ALTER TABLE conditions ADD COLUMN lapses_at TIMESTAMPTZ NOT NULL DEFAULT now() + interval '15 minutes';
COMMENT ON COLUMN conditions.lapses_at IS 'When it is over unless it is seen again: whoever saw it may be gone.';

-- +goose Down
ALTER TABLE conditions DROP COLUMN lapses_at;
