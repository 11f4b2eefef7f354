-- +goose Up
CREATE INDEX teams_notifications_escalated ON teams_notifications (event_type) WHERE state = 'escalated';

-- +goose Down
DROP INDEX teams_notifications_escalated;
