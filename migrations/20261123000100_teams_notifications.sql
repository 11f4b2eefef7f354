-- +goose Up
CREATE TABLE teams_notifications (
    id              UUID PRIMARY KEY,
    correlation_id  VARCHAR(255) NOT NULL,
    event_type      VARCHAR(100) NOT NULL,
    stakeholders    TEXT[]       NOT NULL,
    priority        VARCHAR(20)  NOT NULL,
    webhook_url     TEXT         NOT NULL,
    card_payload    JSONB        NOT NULL,
    sent_at         TIMESTAMPTZ,
    status_code     INTEGER,
    retry_count     INTEGER      NOT NULL DEFAULT 0,
    error_message   TEXT,
    acknowledged_by VARCHAR(255),
    acknowledged_at TIMESTAMPTZ,
    action_taken    VARCHAR(50),
    action_data     JSONB,
    created_at      TIMESTAMPTZ  NOT NULL DEFAULT now(),
    updated_at      TIMESTAMPTZ  NOT NULL DEFAULT now(),
    CONSTRAINT teams_notifications_priority_check    CHECK (priority IN ('CRITICAL', 'HIGH', 'MEDIUM', 'LOW', 'INFO')),
    CONSTRAINT teams_notifications_retry_count_check CHECK (retry_count BETWEEN 0 AND 3),
    CONSTRAINT teams_notifications_status_code_check CHECK (status_code IS NULL OR status_code BETWEEN 100 AND 599)
);

CREATE INDEX ix_teams_notifications_event_type_sent_at ON teams_notifications (event_type, sent_at);
CREATE INDEX ix_teams_notifications_priority_sent_at   ON teams_notifications (priority, sent_at);
CREATE INDEX ix_teams_notifications_acknowledged_at    ON teams_notifications (acknowledged_at);
CREATE INDEX ix_teams_notifications_unacknowledged     ON teams_notifications (priority, created_at)
    WHERE acknowledged_at IS NULL AND priority IN ('CRITICAL', 'HIGH');
CREATE INDEX ix_teams_notifications_card_payload_gin   ON teams_notifications USING gin (card_payload);
CREATE INDEX ix_teams_notifications_action_data_gin    ON teams_notifications USING gin (action_data);

CREATE VIEW teams_notifications_unacknowledged_critical AS
SELECT id, correlation_id, event_type, stakeholders, priority, sent_at, status_code, retry_count, error_message, created_at,
       now() - created_at AS age
FROM teams_notifications
WHERE acknowledged_at IS NULL AND priority = 'CRITICAL';

-- +goose StatementBegin
CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER teams_notifications_updated_at_trigger
    BEFORE UPDATE ON teams_notifications
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- +goose Down
DROP VIEW teams_notifications_unacknowledged_critical;
DROP TABLE teams_notifications;
DROP FUNCTION set_updated_at();
