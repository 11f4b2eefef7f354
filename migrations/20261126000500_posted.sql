-- +goose Up
ALTER TABLE teams_notifications ADD COLUMN posted_at TIMESTAMPTZ;
COMMENT ON COLUMN teams_notifications.posted_at IS 'Before it is first posted alone: Teams may have it from then on, so it is not folded into a digest.';
ALTER TABLE conditions ADD COLUMN suppressed BIGINT NOT NULL DEFAULT 0;
COMMENT ON COLUMN conditions.suppressed IS 'How many events were not told because this condition explains them, since it began.';
CREATE TABLE memories (
    key    TEXT PRIMARY KEY,
    value  JSONB NOT NULL
);
COMMENT ON TABLE memories IS 'What a duty of the workers needs to know of its last run, whichever of them had it. No personal data.';

-- +goose Down
DROP TABLE memories;
ALTER TABLE conditions DROP COLUMN suppressed;
ALTER TABLE teams_notifications DROP COLUMN posted_at;
