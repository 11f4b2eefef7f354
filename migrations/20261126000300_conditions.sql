-- +goose Up
CREATE TABLE conditions (
    event_type     VARCHAR(100) NOT NULL,
    identity       TEXT         NOT NULL,
    firing         BOOLEAN      NOT NULL DEFAULT true,
    priority       VARCHAR(20)  NOT NULL CHECK (priority IN ('CRITICAL', 'HIGH', 'MEDIUM', 'LOW', 'INFO')),
    details        JSONB        NOT NULL,
    since          TIMESTAMPTZ  NOT NULL,
    last_seen      TIMESTAMPTZ  NOT NULL,
    seen           INTEGER      NOT NULL DEFAULT 1,
    told           INTEGER      NOT NULL DEFAULT 0,
    told_at        TIMESTAMPTZ,
    told_priority  VARCHAR(20),
    inhibited_by   TEXT         NOT NULL DEFAULT '',
    resolved_at    TIMESTAMPTZ,
    PRIMARY KEY (event_type, identity)
);
COMMENT ON TABLE conditions IS 'Troubles of the system that last: seen again and again, told now and then, resolved once. No personal data.';
COMMENT ON COLUMN conditions.told IS 'How many cards told of it since it began; 0: none yet, so its end is not told either.';
CREATE INDEX conditions_firing ON conditions (event_type) WHERE firing;

-- +goose Down
DROP TABLE conditions;
