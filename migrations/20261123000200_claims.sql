-- +goose Up
-- Money is NUMERIC(14,2), SAR. Personal data is in messages.body only.

-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
-- +goose StatementEnd

CREATE TABLE claims (
    id                 UUID PRIMARY KEY,
    license            TEXT NOT NULL CHECK (license <> ''),
    identifier_system  TEXT NOT NULL CHECK (identifier_system <> ''),
    identifier_value   TEXT NOT NULL CHECK (identifier_value <> ''),
    payer              TEXT NOT NULL,
    payer_name         TEXT NOT NULL DEFAULT '',
    claim_type         TEXT NOT NULL DEFAULT '',
    claim_subtype      TEXT NOT NULL DEFAULT '',
    item_count         INTEGER NOT NULL DEFAULT 0 CHECK (item_count >= 0),
    state              TEXT NOT NULL DEFAULT 'received'
        CHECK (state IN ('received', 'submitting', 'pending', 'pended', 'approved', 'partial', 'rejected', 'error', 'cancelled')),
    amount_claimed     NUMERIC(14, 2) NOT NULL DEFAULT 0,
    amount_approved    NUMERIC(14, 2),
    amount_patient     NUMERIC(14, 2),
    items_approved     INTEGER,
    disposition        TEXT NOT NULL DEFAULT '',
    error_kind         TEXT NOT NULL DEFAULT '',
    error_code         TEXT NOT NULL DEFAULT '',
    error_text         TEXT NOT NULL DEFAULT '',
    header_id          TEXT NOT NULL,
    bundle_id          TEXT NOT NULL,
    source_hash        TEXT NOT NULL,
    episode            INTEGER NOT NULL DEFAULT 1 CHECK (episode > 0),
    attempts           INTEGER NOT NULL DEFAULT 0,
    first_failed_at    TIMESTAMPTZ,
    submitted_at       TIMESTAMPTZ,
    adjudicated_at     TIMESTAMPTZ,
    next_poll_at       TIMESTAMPTZ,
    created_at         TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at         TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT claims_identifier_key UNIQUE (license, identifier_system, identifier_value)
);
COMMENT ON COLUMN claims.episode IS 'Counts budgets of attempts: an operator''s retry starts a new one. Part of the task id.';
COMMENT ON COLUMN claims.source_hash IS 'SHA-256 of what was handed in, to tell a repeated claim from another one under its number.';
COMMENT ON COLUMN claims.next_poll_at IS 'While pending: when to send the stored bytes again, should the mailbox stay silent.';
CREATE INDEX claims_state_created_at ON claims (state, created_at);
CREATE INDEX claims_identifier_value ON claims (identifier_value);
CREATE INDEX claims_created_at ON claims (created_at DESC, id);
CREATE INDEX claims_open ON claims (updated_at) WHERE state IN ('received', 'submitting', 'pending', 'pended');
CREATE TRIGGER claims_updated_at_trigger BEFORE UPDATE ON claims FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TABLE eligibility_checks (
    id                 UUID PRIMARY KEY,
    license            TEXT NOT NULL CHECK (license <> ''),
    identifier_system  TEXT NOT NULL CHECK (identifier_system <> ''),
    identifier_value   TEXT NOT NULL CHECK (identifier_value <> ''),
    payer              TEXT NOT NULL,
    payer_name         TEXT NOT NULL DEFAULT '',
    state              TEXT NOT NULL DEFAULT 'received' CHECK (state IN ('received', 'submitting', 'eligible', 'not_eligible', 'error')),
    site_eligibility   TEXT NOT NULL DEFAULT '',
    disposition        TEXT NOT NULL DEFAULT '',
    response_system    TEXT NOT NULL DEFAULT '',
    response_value     TEXT NOT NULL DEFAULT '',
    error_kind         TEXT NOT NULL DEFAULT '',
    error_code         TEXT NOT NULL DEFAULT '',
    error_text         TEXT NOT NULL DEFAULT '',
    header_id          TEXT NOT NULL,
    bundle_id          TEXT NOT NULL,
    source_hash        TEXT NOT NULL,
    episode            INTEGER NOT NULL DEFAULT 1 CHECK (episode > 0),
    attempts           INTEGER NOT NULL DEFAULT 0,
    first_failed_at    TIMESTAMPTZ,
    answered_at        TIMESTAMPTZ,
    created_at         TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at         TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT eligibility_checks_identifier_key UNIQUE (license, identifier_system, identifier_value)
);
CREATE INDEX eligibility_checks_open ON eligibility_checks (updated_at) WHERE state IN ('received', 'submitting');
CREATE TRIGGER eligibility_checks_updated_at_trigger BEFORE UPDATE ON eligibility_checks FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TABLE messages (
    id              UUID PRIMARY KEY,
    direction       TEXT NOT NULL CHECK (direction IN ('in', 'out')),
    event           TEXT NOT NULL DEFAULT '',
    license         TEXT NOT NULL,
    claim_id        UUID REFERENCES claims (id),
    eligibility_id  UUID REFERENCES eligibility_checks (id),
    reply_to        UUID REFERENCES messages (id),
    parent_id       UUID REFERENCES messages (id),
    position        INTEGER,
    bundle_id       TEXT NOT NULL DEFAULT '',
    header_id       TEXT NOT NULL DEFAULT '',
    http_status     INTEGER,
    content_type    TEXT NOT NULL DEFAULT '',
    body            BYTEA NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT messages_parent_position_key UNIQUE (parent_id, position)
);
COMMENT ON TABLE messages IS 'Every message as it went over the wire, byte for byte. Append only. Holds personal health data.';
COMMENT ON COLUMN messages.parent_id IS 'The poll answer in which this message came; claim_id null then means that nothing of ours matched it.';
CREATE INDEX messages_claim ON messages (claim_id, created_at) WHERE claim_id IS NOT NULL;
CREATE INDEX messages_eligibility ON messages (eligibility_id, created_at) WHERE eligibility_id IS NOT NULL;
CREATE INDEX messages_unmatched ON messages (created_at) WHERE parent_id IS NOT NULL AND claim_id IS NULL;
CREATE UNIQUE INDEX messages_claim_request ON messages (claim_id) WHERE direction = 'out' AND event = 'claim-request';
CREATE UNIQUE INDEX messages_eligibility_request ON messages (eligibility_id) WHERE direction = 'out' AND event = 'eligibility-request';
CREATE TRIGGER messages_append_only BEFORE UPDATE OR DELETE ON messages FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE claim_responses (
    id               UUID PRIMARY KEY,
    claim_id         UUID NOT NULL REFERENCES claims (id),
    version          INTEGER NOT NULL CHECK (version > 0),
    message_id       UUID NOT NULL REFERENCES messages (id),
    fingerprint      TEXT NOT NULL,
    outcome          TEXT NOT NULL,
    adjudication     TEXT NOT NULL DEFAULT '',
    state            TEXT NOT NULL,
    reissue          TEXT NOT NULL DEFAULT '',
    response_system  TEXT NOT NULL DEFAULT '',
    response_value   TEXT NOT NULL DEFAULT '',
    amount_approved  NUMERIC(14, 2),
    amount_patient   NUMERIC(14, 2),
    detail           JSONB NOT NULL DEFAULT '{}',
    created_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT claim_responses_version_key UNIQUE (claim_id, version),
    CONSTRAINT claim_responses_fingerprint_key UNIQUE (claim_id, fingerprint)
);
COMMENT ON TABLE claim_responses IS 'Every version of a claim''s answer. The same answer delivered twice is one version.';
CREATE TRIGGER claim_responses_append_only BEFORE UPDATE OR DELETE ON claim_responses FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE poll_state (
    license           TEXT PRIMARY KEY,
    next_poll_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    in_flight         UUID REFERENCES messages (id),
    in_flight_sends   INTEGER NOT NULL DEFAULT 0,
    last_poll_at      TIMESTAMPTZ,
    last_success_at   TIMESTAMPTZ,
    more_waiting      BOOLEAN NOT NULL DEFAULT false,
    error_kind        TEXT NOT NULL DEFAULT '',
    error_code        TEXT NOT NULL DEFAULT '',
    error_text        TEXT NOT NULL DEFAULT '',
    first_failed_at   TIMESTAMPTZ,
    updated_at        TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON COLUMN poll_state.in_flight IS 'A poll request that was sent and has no answer on file.';
CREATE TRIGGER poll_state_updated_at_trigger BEFORE UPDATE ON poll_state FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TABLE poll_answers (
    message_id    UUID PRIMARY KEY REFERENCES messages (id),
    license       TEXT NOT NULL,
    processed_at  TIMESTAMPTZ,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE poll_answers IS 'Poll answers are stored here before they are parsed; processed_at null means that the fan-out has yet to be done.';
CREATE INDEX poll_answers_unprocessed ON poll_answers (license, created_at) WHERE processed_at IS NULL;

-- +goose Down
DROP TABLE poll_answers;
DROP TABLE poll_state;
DROP TABLE claim_responses;
DROP TABLE messages;
DROP TABLE eligibility_checks;
DROP TABLE claims;
DROP FUNCTION refuse_change();
