-- +goose Up
-- The monitor's lists are paged by key: what a list is filtered by comes first, then its order.
DROP INDEX claims_created_at;
DROP INDEX claims_state_created_at;
CREATE INDEX claims_page ON claims (created_at, id);
CREATE INDEX claims_page_state ON claims (state, created_at, id);
CREATE INDEX claims_page_payer ON claims (payer, created_at, id);
CREATE INDEX claims_page_license ON claims (license, created_at, id);
CREATE INDEX claims_page_error ON claims (error_code, created_at, id) WHERE error_code <> '';
-- Numbers are found by how they begin: bytes in order, whatever the database's collation is.
CREATE INDEX claims_page_number ON claims (identifier_value COLLATE "C", id);

DROP INDEX teams_notifications_created_at;
CREATE INDEX teams_notifications_page ON teams_notifications (created_at, id);
CREATE INDEX teams_notifications_page_channel ON teams_notifications (channel, created_at, id);
CREATE INDEX teams_notifications_page_event ON teams_notifications (event_type, created_at, id);
CREATE INDEX teams_notifications_page_waiting ON teams_notifications (created_at, id) WHERE sent_at IS NULL AND dead_at IS NULL;
CREATE INDEX teams_notifications_page_dead ON teams_notifications (created_at, id) WHERE sent_at IS NULL AND dead_at IS NOT NULL;
CREATE INDEX teams_notifications_page_unacknowledged ON teams_notifications (created_at, id) WHERE acknowledged_at IS NULL AND priority IN ('CRITICAL', 'HIGH');
CREATE INDEX teams_notifications_digest_members ON teams_notifications (digest_id) WHERE digest_id IS NOT NULL;

CREATE INDEX operator_actions_page_actor ON operator_actions (actor, seq);
CREATE INDEX operator_actions_page_verb ON operator_actions (verb, seq);
CREATE INDEX operator_actions_page_target ON operator_actions (target, seq);

CREATE INDEX messages_reply_to ON messages (reply_to) WHERE reply_to IS NOT NULL;
CREATE INDEX dead_letters_eligibility ON dead_letters (eligibility_id) WHERE eligibility_id IS NOT NULL;
CREATE INDEX dead_letters_updated_at ON dead_letters (updated_at);
CREATE INDEX dead_letters_open ON dead_letters (id) WHERE state = 'open';

CREATE TABLE bulk_runs (
    id          UUID PRIMARY KEY,
    verb        TEXT NOT NULL CHECK (verb IN ('retry', 'discard')),
    queue       TEXT NOT NULL DEFAULT '',
    error_kind  TEXT NOT NULL DEFAULT '',
    error_code  TEXT,
    reference   TEXT NOT NULL DEFAULT '',
    until       TIMESTAMPTZ NOT NULL,
    per_minute  INTEGER NOT NULL CHECK (per_minute BETWEEN 1 AND 6000),
    actor       TEXT NOT NULL CHECK (actor <> ''),
    source      TEXT NOT NULL,
    reason      TEXT NOT NULL CHECK (reason <> ''),
    state       TEXT NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'stopped')),
    total       INTEGER NOT NULL,
    done        INTEGER NOT NULL DEFAULT 0,
    skipped     INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    last_letter UUID,
    last_error  TEXT NOT NULL DEFAULT '',
    stopped_by  TEXT NOT NULL DEFAULT '',
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    ended_at    TIMESTAMPTZ
);
COMMENT ON TABLE bulk_runs IS 'Decisions about many dead letters, carried out one after the other at a rate. Each letter gets its own row in operator_actions.';
COMMENT ON COLUMN bulk_runs.error_code IS 'NULL: any; empty: those without a code.';
COMMENT ON COLUMN bulk_runs.until IS 'Letters written later are not touched: nobody saw them when it was decided.';
COMMENT ON COLUMN bulk_runs.last_letter IS 'The last letter that was looked at; they come in the order of their ids.';
CREATE INDEX bulk_runs_running ON bulk_runs (created_at) WHERE state = 'running';
CREATE INDEX bulk_runs_created_at ON bulk_runs (created_at);
CREATE TRIGGER bulk_runs_updated_at_trigger BEFORE UPDATE ON bulk_runs FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- +goose Down
DROP TABLE bulk_runs;
DROP INDEX messages_reply_to, dead_letters_eligibility, dead_letters_updated_at, dead_letters_open;
DROP INDEX operator_actions_page_actor, operator_actions_page_verb, operator_actions_page_target;
DROP INDEX teams_notifications_page, teams_notifications_page_channel, teams_notifications_page_event, teams_notifications_page_waiting,
    teams_notifications_page_dead, teams_notifications_page_unacknowledged, teams_notifications_digest_members;
CREATE INDEX teams_notifications_created_at ON teams_notifications (created_at);
DROP INDEX claims_page, claims_page_state, claims_page_payer, claims_page_license, claims_page_error, claims_page_number;
CREATE INDEX claims_created_at ON claims (created_at DESC, id);
CREATE INDEX claims_state_created_at ON claims (state, created_at);
