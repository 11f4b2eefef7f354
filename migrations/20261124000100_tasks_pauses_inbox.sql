-- +goose Up
-- Prior authorizations live like claims: the same message, states and answers.
ALTER TABLE claims
    ADD COLUMN use           TEXT NOT NULL DEFAULT 'claim' CHECK (use IN ('claim', 'preauthorization')),
    ADD COLUMN preauth_ref   TEXT NOT NULL DEFAULT '',
    ADD COLUMN preauth_start TEXT NOT NULL DEFAULT '',
    ADD COLUMN preauth_end   TEXT NOT NULL DEFAULT '';
COMMENT ON COLUMN claims.preauth_ref IS 'The reference that an authorization gives; preauth_start and preauth_end are its period, dates as sent.';
DROP INDEX messages_claim_request;
CREATE UNIQUE INDEX messages_claim_request ON messages (claim_id) WHERE direction = 'out' AND event IN ('claim-request', 'priorauth-request');
CREATE INDEX claim_responses_response ON claim_responses (response_value);

ALTER TABLE eligibility_checks ADD COLUMN patient_key TEXT NOT NULL DEFAULT '';
COMMENT ON COLUMN eligibility_checks.patient_key IS 'SHA-256 of licence, payer and the person''s identifier: finds the check that a later claim quotes.';
CREATE INDEX eligibility_checks_patient ON eligibility_checks (patient_key, answered_at DESC) WHERE state = 'eligible';

CREATE TABLE pauses (
    license     TEXT NOT NULL,
    payer       TEXT NOT NULL DEFAULT '',
    error_kind  TEXT NOT NULL,
    error_code  TEXT NOT NULL DEFAULT '',
    error_text  TEXT NOT NULL DEFAULT '',
    failures    INTEGER NOT NULL DEFAULT 1,
    since       TIMESTAMPTZ NOT NULL,
    until       TIMESTAMPTZ,
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (license, payer)
);
COMMENT ON TABLE pauses IS 'What is not sent for now. payer empty: nothing of the licence; until null: until a person resumes it.';
CREATE TRIGGER pauses_updated_at_trigger BEFORE UPDATE ON pauses FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TABLE fhir_tasks (
    id                 UUID PRIMARY KEY,
    claim_id           UUID NOT NULL REFERENCES claims (id),
    code               TEXT NOT NULL CHECK (code IN ('status', 'cancel')),
    reason             TEXT NOT NULL DEFAULT '',
    license            TEXT NOT NULL,
    payer              TEXT NOT NULL,
    identifier_system  TEXT NOT NULL,
    identifier_value   TEXT NOT NULL,
    message_id         UUID NOT NULL REFERENCES messages (id),
    state              TEXT NOT NULL DEFAULT 'received' CHECK (state IN ('received', 'submitting', 'completed', 'failed', 'error')),
    result             TEXT NOT NULL DEFAULT '',
    status_reason      TEXT NOT NULL DEFAULT '',
    error_kind         TEXT NOT NULL DEFAULT '',
    error_code         TEXT NOT NULL DEFAULT '',
    error_text         TEXT NOT NULL DEFAULT '',
    episode            INTEGER NOT NULL DEFAULT 1 CHECK (episode > 0),
    attempts           INTEGER NOT NULL DEFAULT 0,
    first_failed_at    TIMESTAMPTZ,
    answered_at        TIMESTAMPTZ,
    created_at         TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at         TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE fhir_tasks IS 'Questions and wishes about a claim that was sent: status-check and cancel-request.';
COMMENT ON COLUMN fhir_tasks.state IS 'completed and failed are the answer; error: refused, or given up.';
CREATE UNIQUE INDEX fhir_tasks_open ON fhir_tasks (claim_id, code) WHERE state IN ('received', 'submitting');
CREATE INDEX fhir_tasks_claim ON fhir_tasks (claim_id, created_at);
CREATE INDEX fhir_tasks_waiting ON fhir_tasks (id) WHERE state IN ('received', 'submitting');
CREATE TRIGGER fhir_tasks_updated_at_trigger BEFORE UPDATE ON fhir_tasks FOR EACH ROW EXECUTE FUNCTION set_updated_at();
ALTER TABLE dead_letters ADD COLUMN fhir_task_id UUID REFERENCES fhir_tasks (id);

CREATE TABLE communications (
    message_id         UUID PRIMARY KEY REFERENCES messages (id),
    license            TEXT NOT NULL,
    claim_id           UUID REFERENCES claims (id),
    identifier_system  TEXT NOT NULL DEFAULT '',
    identifier_value   TEXT NOT NULL DEFAULT '',
    reasons            TEXT[] NOT NULL DEFAULT '{}',
    created_at         TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE communications IS 'Requests of payers for information. Their words may name a patient: they stay in messages.';
CREATE INDEX communications_claim ON communications (claim_id, created_at) WHERE claim_id IS NOT NULL;

CREATE TABLE payments (
    message_id         UUID PRIMARY KEY REFERENCES messages (id),
    license            TEXT NOT NULL,
    payer              TEXT NOT NULL DEFAULT '',
    identifier_system  TEXT NOT NULL DEFAULT '',
    identifier_value   TEXT NOT NULL DEFAULT '',
    payment_value      TEXT NOT NULL DEFAULT '',
    payment_date       TEXT NOT NULL DEFAULT '',
    amount             NUMERIC NOT NULL,
    detail_sum         NUMERIC NOT NULL,
    created_at         TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE payments IS 'Payment reconciliations, amounts to the digit as sent. They balance when amount equals detail_sum.';
CREATE INDEX payments_created_at ON payments (created_at DESC, message_id);
CREATE TABLE payment_details (
    message_id       UUID NOT NULL REFERENCES payments (message_id),
    position         INTEGER NOT NULL,
    claim_id         UUID REFERENCES claims (id),
    type             TEXT NOT NULL DEFAULT '',
    request_system   TEXT NOT NULL DEFAULT '',
    request_value    TEXT NOT NULL DEFAULT '',
    response_system  TEXT NOT NULL DEFAULT '',
    response_value   TEXT NOT NULL DEFAULT '',
    amount           NUMERIC NOT NULL,
    payment          NUMERIC NOT NULL,
    early_fee        NUMERIC NOT NULL,
    nphies_fee       NUMERIC NOT NULL,
    PRIMARY KEY (message_id, position)
);
CREATE INDEX payment_details_claim ON payment_details (claim_id) WHERE claim_id IS NOT NULL;

CREATE TABLE advanced_authorizations (
    message_id       UUID PRIMARY KEY REFERENCES messages (id),
    license          TEXT NOT NULL,
    payer            TEXT NOT NULL DEFAULT '',
    response_system  TEXT NOT NULL DEFAULT '',
    response_value   TEXT NOT NULL DEFAULT '',
    preauth_ref      TEXT NOT NULL DEFAULT '',
    preauth_start    TEXT NOT NULL DEFAULT '',
    preauth_end      TEXT NOT NULL DEFAULT '',
    adjudication     TEXT NOT NULL DEFAULT '',
    items            INTEGER NOT NULL DEFAULT 0,
    created_at       TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE advanced_authorizations IS 'Authorizations that a payer gives unasked.';
CREATE INDEX advanced_authorizations_created_at ON advanced_authorizations (created_at DESC, message_id);
CREATE INDEX messages_inbox ON messages (created_at DESC, id) WHERE parent_id IS NOT NULL;

-- +goose Down
DROP INDEX messages_inbox;
DROP TABLE advanced_authorizations;
DROP TABLE payment_details;
DROP TABLE payments;
DROP TABLE communications;
ALTER TABLE dead_letters DROP COLUMN fhir_task_id;
DROP TABLE fhir_tasks;
DROP TABLE pauses;
ALTER TABLE eligibility_checks DROP COLUMN patient_key;
DROP INDEX claim_responses_response;
DROP INDEX messages_claim_request;
CREATE UNIQUE INDEX messages_claim_request ON messages (claim_id) WHERE direction = 'out' AND event = 'claim-request';
ALTER TABLE claims DROP COLUMN use, DROP COLUMN preauth_ref, DROP COLUMN preauth_start, DROP COLUMN preauth_end;
