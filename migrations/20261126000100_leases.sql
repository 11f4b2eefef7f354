-- +goose Up
CREATE TABLE leases (
    kind    TEXT NOT NULL,
    key     TEXT NOT NULL,
    token   UUID NOT NULL,
    holder  TEXT NOT NULL,
    since   TIMESTAMPTZ NOT NULL,
    until   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (kind, key)
);
COMMENT ON TABLE leases IS 'Who works on what now. A row that is past its time belongs to a process that died; times are the database''s.';
CREATE INDEX leases_until ON leases (until);

ALTER TABLE claims
    ADD COLUMN overdue_step  SMALLINT NOT NULL DEFAULT 0 CHECK (overdue_step BETWEEN 0 AND 2),
    ADD COLUMN asked_at      TIMESTAMPTZ,
    ADD COLUMN corrects      UUID REFERENCES claims (id);
COMMENT ON COLUMN claims.overdue_step IS 'What comes next when next_poll_at has passed: 0 a poll, 1 a status-check, 2 the original bytes.';
COMMENT ON COLUMN claims.asked_at IS 'When its bytes were last sent again only to ask for its answer.';
COMMENT ON COLUMN claims.corrects IS 'The claim that this one replaces (related, prior). It was over when this one was taken in.';
CREATE INDEX claims_corrects ON claims (corrects) WHERE corrects IS NOT NULL;
ALTER TABLE fhir_tasks ADD COLUMN automatic BOOLEAN NOT NULL DEFAULT false;
COMMENT ON COLUMN fhir_tasks.automatic IS 'Asked by nphiesq itself of an overdue claim: its failure is nobody''s work.';
ALTER TABLE pauses
    ADD COLUMN breaker      BOOLEAN NOT NULL DEFAULT false,
    ADD COLUMN half_open_at TIMESTAMPTZ;
COMMENT ON COLUMN pauses.breaker IS 'Counts failures in a row of the way to NPHIES or a payer; until equals since while they are too few to pause anything.';
COMMENT ON COLUMN pauses.half_open_at IS 'When a poll got through again: claims may try.';
CREATE INDEX claims_overdue ON claims (next_poll_at) WHERE state IN ('pending', 'pended');

-- +goose Down
DROP INDEX claims_overdue;
ALTER TABLE pauses DROP COLUMN breaker, DROP COLUMN half_open_at;
ALTER TABLE fhir_tasks DROP COLUMN automatic;
ALTER TABLE claims DROP COLUMN overdue_step, DROP COLUMN asked_at, DROP COLUMN corrects;
DROP TABLE leases;
