-- +goose Up
-- Where the bot is installed, as its events said.
CREATE TABLE bot_conversations (
    conversation_id TEXT PRIMARY KEY,
    team_id         TEXT NOT NULL,
    tenant_id       TEXT NOT NULL,
    service_url     TEXT NOT NULL,
    channel         TEXT NOT NULL DEFAULT '',
    updated_at      TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE bot_conversations IS 'The channels of Teams in which the bot is, and where they are reached.';
COMMENT ON COLUMN bot_conversations.channel IS 'The stakeholder whose cards go there, as the settings said when the bot was last heard of; empty for none.';
CREATE INDEX bot_conversations_team ON bot_conversations (team_id);

ALTER TABLE teams_notifications
    ADD COLUMN activity_id           TEXT,
    ADD COLUMN activity_conversation TEXT,
    ADD COLUMN activity_version      INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN activity_attempts     INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN activity_next_at      TIMESTAMPTZ;
COMMENT ON COLUMN teams_notifications.activity_id IS 'The message in Teams, if the bot posted it: it can be changed. NULL for cards that went through a webhook.';
COMMENT ON COLUMN teams_notifications.activity_version IS 'The version of the alert that the message shows. Below version: it is to be changed.';
CREATE INDEX teams_notifications_activity ON teams_notifications (channel, activity_next_at) WHERE activity_id IS NOT NULL AND activity_version < version;

-- +goose Down
ALTER TABLE teams_notifications DROP COLUMN activity_id, DROP COLUMN activity_conversation, DROP COLUMN activity_version, DROP COLUMN activity_attempts, DROP COLUMN activity_next_at;
DROP TABLE bot_conversations;
