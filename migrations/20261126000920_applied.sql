-- +goose Up
ALTER TABLE claim_responses ADD COLUMN applied BOOLEAN NOT NULL DEFAULT true;
COMMENT ON COLUMN claim_responses.applied IS 'False for an answer that came after a later one: it is kept, and changed nothing.';

-- +goose Down
ALTER TABLE claim_responses DROP COLUMN applied;
