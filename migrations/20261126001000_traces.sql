-- +goose Up
-- The W3C trace context in which a row was written, so that what is done about it later can be linked to it. '' without tracing.
ALTER TABLE claims ADD COLUMN trace_context text NOT NULL DEFAULT '';
ALTER TABLE eligibility_checks ADD COLUMN trace_context text NOT NULL DEFAULT '';
ALTER TABLE teams_notifications ADD COLUMN trace_context text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE teams_notifications DROP COLUMN trace_context;
ALTER TABLE eligibility_checks DROP COLUMN trace_context;
ALTER TABLE claims DROP COLUMN trace_context;
