-- +goose Up
-- An alert is what several notifications are about: the same event in several channels, its repetitions, its escalation.
ALTER TABLE teams_notifications
    ADD COLUMN alert_key TEXT,
    ADD COLUMN state     TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'acknowledged', 'escalated', 'retrying', 'discarded', 'resolved', 'notice')),
    ADD COLUMN version   INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN event     JSONB;
UPDATE teams_notifications SET alert_key = split_part(coalesce(event_key, id::text), '/again/', 1);
UPDATE teams_notifications SET state = 'notice' WHERE event_key LIKE 'condition/%/resolved';
ALTER TABLE teams_notifications ALTER COLUMN alert_key SET NOT NULL, ALTER COLUMN alert_key SET DEFAULT gen_random_uuid()::text;
COMMENT ON COLUMN teams_notifications.alert_key IS 'What it is about. All notifications of one alert change their state together.';
COMMENT ON COLUMN teams_notifications.state IS 'Of the alert. notice: the card only tells of a decision or an end, and asks for nothing.';
COMMENT ON COLUMN teams_notifications.version IS 'How often the alert changed its state.';
COMMENT ON COLUMN teams_notifications.event IS 'What the card was made from. It has no field for personal data.';
CREATE INDEX teams_notifications_alert ON teams_notifications (alert_key);
CREATE INDEX teams_notifications_letter ON teams_notifications (dead_letter_id) WHERE dead_letter_id IS NOT NULL;
CREATE INDEX teams_notifications_open ON teams_notifications (sent_at) WHERE state = 'open' AND priority IN ('CRITICAL', 'HIGH');

-- The answers to commands that may come twice.
CREATE TABLE action_commands (
    key         TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    result      JSONB NOT NULL,
    at          TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE action_commands IS 'What was answered to a command, so that its repetition gets the same answer and changes nothing.';
CREATE INDEX action_commands_at ON action_commands (at);

CREATE TABLE pagerduty_events (
    seq             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_key       TEXT NOT NULL,
    dedup_key       TEXT NOT NULL,
    action          TEXT NOT NULL CHECK (action IN ('trigger', 'acknowledge', 'resolve')),
    routing         TEXT NOT NULL,
    payload         JSONB NOT NULL DEFAULT '{}',
    created_at      TIMESTAMPTZ NOT NULL,
    next_attempt_at TIMESTAMPTZ NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    sent_at         TIMESTAMPTZ,
    dead_at         TIMESTAMPTZ,
    status_code     INTEGER,
    error_message   TEXT
);
COMMENT ON TABLE pagerduty_events IS 'The outbox of what PagerDuty is told, in the order of seq for each dedup_key. No personal data.';
COMMENT ON COLUMN pagerduty_events.routing IS 'The name of the integration key, never the key: whatever follows a trigger goes to the same one.';
CREATE INDEX pagerduty_events_due ON pagerduty_events (next_attempt_at) WHERE sent_at IS NULL AND dead_at IS NULL;
CREATE INDEX pagerduty_events_alert ON pagerduty_events (alert_key, seq);

-- +goose Down
DROP TABLE pagerduty_events;
DROP TABLE action_commands;
ALTER TABLE teams_notifications DROP COLUMN alert_key, DROP COLUMN state, DROP COLUMN version, DROP COLUMN event;
