-- +goose Up
-- The former table stays as it was; these columns make it the outbox.
ALTER TABLE teams_notifications
    ADD COLUMN channel          TEXT NOT NULL DEFAULT '',
    ADD COLUMN event_key        TEXT,
    ADD COLUMN summary          TEXT NOT NULL DEFAULT '',
    ADD COLUMN claim_id         UUID REFERENCES claims (id),
    ADD COLUMN dead_letter_id   UUID REFERENCES dead_letters (id),
    ADD COLUMN next_attempt_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    ADD COLUMN dead_at          TIMESTAMPTZ,
    ADD COLUMN digest_id        TEXT;
COMMENT ON COLUMN teams_notifications.channel IS 'The webhook, named by the first of the stakeholders that share it.';
COMMENT ON COLUMN teams_notifications.event_key IS 'What happened, once: the same event is not written twice for a channel.';
COMMENT ON COLUMN teams_notifications.dead_at IS 'Set when the retries were used up or the answer was final; the row stays and is shown.';
COMMENT ON COLUMN teams_notifications.digest_id IS 'The webhook-id of the digest card that carried this row.';
ALTER TABLE teams_notifications ADD CONSTRAINT teams_notifications_event_key UNIQUE (event_key, channel);
CREATE INDEX teams_notifications_due ON teams_notifications (channel, next_attempt_at) WHERE sent_at IS NULL AND dead_at IS NULL;
CREATE INDEX teams_notifications_digest ON teams_notifications (digest_id) WHERE digest_id IS NOT NULL AND sent_at IS NULL;
CREATE INDEX teams_notifications_claim ON teams_notifications (claim_id) WHERE claim_id IS NOT NULL;

-- +goose Down
ALTER TABLE teams_notifications
    DROP COLUMN channel, DROP COLUMN event_key, DROP COLUMN summary, DROP COLUMN claim_id, DROP COLUMN dead_letter_id,
    DROP COLUMN next_attempt_at, DROP COLUMN dead_at, DROP COLUMN digest_id;
