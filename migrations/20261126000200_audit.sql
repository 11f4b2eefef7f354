-- +goose Up
-- Rows of before are old news: they count as published.
ALTER TABLE teams_notifications ADD COLUMN published_at TIMESTAMPTZ DEFAULT now();
ALTER TABLE teams_notifications ALTER COLUMN published_at DROP DEFAULT;
COMMENT ON COLUMN teams_notifications.published_at IS 'When its event was published on Redis.';
CREATE INDEX teams_notifications_unpublished ON teams_notifications (created_at) WHERE published_at IS NULL;
CREATE INDEX teams_notifications_created_at ON teams_notifications (created_at);

-- +goose Down
DROP INDEX teams_notifications_created_at;
ALTER TABLE teams_notifications DROP COLUMN published_at;
