-- The former system's table, as it stood, with rows as it wrote them: a card that names a patient, an address with its signature.
CREATE TABLE teams_notifications (
    id UUID PRIMARY KEY, correlation_id VARCHAR(255) NOT NULL, event_type VARCHAR(100) NOT NULL, stakeholders TEXT[] NOT NULL,
    priority VARCHAR(20) NOT NULL, webhook_url TEXT NOT NULL, card_payload JSONB NOT NULL, sent_at TIMESTAMPTZ, status_code INTEGER,
    retry_count INTEGER NOT NULL DEFAULT 0, error_message TEXT, acknowledged_by VARCHAR(255), acknowledged_at TIMESTAMPTZ,
    action_taken VARCHAR(50), action_data JSONB, created_at TIMESTAMPTZ NOT NULL DEFAULT now(), updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT teams_notifications_priority_check CHECK (priority IN ('CRITICAL', 'HIGH', 'MEDIUM', 'LOW', 'INFO')),
    CONSTRAINT teams_notifications_retry_count_check CHECK (retry_count BETWEEN 0 AND 3),
    CONSTRAINT teams_notifications_status_code_check CHECK (status_code IS NULL OR status_code BETWEEN 100 AND 599)
);
CREATE INDEX ix_teams_notifications_event_type_sent_at ON teams_notifications (event_type, sent_at);
CREATE INDEX ix_teams_notifications_priority_sent_at ON teams_notifications (priority, sent_at);
CREATE INDEX ix_teams_notifications_acknowledged_at ON teams_notifications (acknowledged_at);
CREATE INDEX ix_teams_notifications_unacknowledged ON teams_notifications (priority, created_at)
    WHERE acknowledged_at IS NULL AND priority IN ('CRITICAL', 'HIGH');
CREATE INDEX ix_teams_notifications_card_payload_gin ON teams_notifications USING gin (card_payload);
CREATE INDEX ix_teams_notifications_action_data_gin ON teams_notifications USING gin (action_data);
CREATE VIEW teams_notifications_unacknowledged_critical AS
    SELECT id, correlation_id, event_type, created_at, now() - created_at AS age FROM teams_notifications
    WHERE acknowledged_at IS NULL AND priority = 'CRITICAL';
CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at := now(); RETURN NEW; END';
CREATE TRIGGER teams_notifications_updated_at_trigger BEFORE UPDATE ON teams_notifications FOR EACH ROW EXECUTE FUNCTION set_updated_at();

INSERT INTO teams_notifications (id, correlation_id, event_type, stakeholders, priority, webhook_url, card_payload, sent_at, status_code, retry_count,
    error_message, acknowledged_by, acknowledged_at, action_taken, action_data, created_at) VALUES
('00000000-0000-4000-8000-000000000001', 'poll-1', 'nphies.claim.rejected', '{NPHIES_INTEGRATION,PMO}', 'HIGH',
    'https://prod-1.westeurope.logic.azure.com:443/workflows/w/triggers/manual/paths/invoke?sig=FORMERSECRET',
    '{"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": "Patient: Formerly Known"}]}', now() - interval '20 days', 202, 0,
    NULL, 'sara@example.com', now() - interval '19 days', 'acknowledge', '{"comment": "called Formerly Known"}', now() - interval '20 days'),
('00000000-0000-4000-8000-000000000002', 'task-2', 'celery.task.failed', '{RUNTIME_ENG,SRE}', 'CRITICAL',
    'https://prod-1.westeurope.logic.azure.com/workflows/w/triggers/manual/paths/invoke?sig=FORMERSECRET',
    '{"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": "Patient: Formerly Known"}]}', now() - interval '1 day', 202, 1,
    NULL, NULL, NULL, NULL, NULL, now() - interval '1 day'),
('00000000-0000-4000-8000-000000000003', 'poll-3', 'nphies.api.error', '{SRE}', 'MEDIUM',
    'https://prod-1.westeurope.logic.azure.com/workflows/w/triggers/manual/paths/invoke?sig=FORMERSECRET',
    '{"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": "Patient: Formerly Known"}]}', NULL, NULL, 3,
    'cannot connect to https://prod-1.westeurope.logic.azure.com/workflows/w?sig=FORMERSECRET', NULL, NULL, NULL, NULL, now() - interval '10 days'),
('00000000-0000-4000-8000-000000000004', 'poll-4', 'nphies.api.error', '{SRE}', 'MEDIUM',
    'https://prod-1.westeurope.logic.azure.com/workflows/w/triggers/manual/paths/invoke?sig=FORMERSECRET',
    '{"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": "Patient: Formerly Known"}]}', NULL, NULL, 0,
    NULL, NULL, NULL, NULL, NULL, now() - interval '1 hour');
