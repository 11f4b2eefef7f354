-- +goose Up
CREATE TABLE dead_letters (
    id               UUID PRIMARY KEY,
    queue            TEXT NOT NULL,
    task_type        TEXT NOT NULL,
    task_id          TEXT NOT NULL,
    episode          INTEGER NOT NULL DEFAULT 1 CHECK (episode > 0),
    payload          JSONB NOT NULL DEFAULT '{}',
    claim_id         UUID REFERENCES claims (id),
    eligibility_id   UUID REFERENCES eligibility_checks (id),
    license          TEXT NOT NULL DEFAULT '',
    reference        TEXT NOT NULL DEFAULT '',
    retried          INTEGER NOT NULL DEFAULT 0,
    error_kind       TEXT NOT NULL,
    error_code       TEXT NOT NULL DEFAULT '',
    error_text       TEXT NOT NULL DEFAULT '',
    first_failed_at  TIMESTAMPTZ NOT NULL,
    last_failed_at   TIMESTAMPTZ NOT NULL,
    state            TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'retrying', 'discarded', 'resolved')),
    decided_by       TEXT NOT NULL DEFAULT '',
    decided_at       TIMESTAMPTZ,
    reason           TEXT NOT NULL DEFAULT '',
    created_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT dead_letters_task_key UNIQUE (queue, task_id, episode)
);
COMMENT ON COLUMN dead_letters.episode IS 'How often the same task id was archived.';
COMMENT ON COLUMN dead_letters.reference IS 'What people call it: the claim number, the eligibility number, the licence or the channel.';
CREATE INDEX dead_letters_state ON dead_letters (state, last_failed_at DESC);
CREATE INDEX dead_letters_claim ON dead_letters (claim_id) WHERE claim_id IS NOT NULL;
CREATE TRIGGER dead_letters_updated_at_trigger BEFORE UPDATE ON dead_letters FOR EACH ROW EXECUTE FUNCTION set_updated_at();
-- +goose StatementBegin
CREATE FUNCTION refuse_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % stay for ever', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER dead_letters_keep BEFORE DELETE ON dead_letters FOR EACH ROW EXECUTE FUNCTION refuse_delete();

CREATE TABLE operator_actions (
    seq          BIGINT PRIMARY KEY,
    at           TIMESTAMPTZ NOT NULL,
    command_id   UUID NOT NULL,
    actor        TEXT NOT NULL CHECK (actor <> ''),
    source       TEXT NOT NULL CHECK (source IN ('cli', 'monitor', 'link', 'api', 'bot', 'flow', 'outgoing', 'system')),
    verb         TEXT NOT NULL CHECK (verb <> ''),
    target_kind  TEXT NOT NULL,
    target       TEXT NOT NULL,
    reason       TEXT NOT NULL DEFAULT '',
    outcome      TEXT NOT NULL CHECK (outcome IN ('requested', 'applied', 'already', 'refused', 'failed')),
    detail       JSONB NOT NULL DEFAULT '{}',
    prev_hash    TEXT NOT NULL,
    hash         TEXT NOT NULL
);
COMMENT ON TABLE operator_actions IS 'Who did what and why. Append only; each row carries the hash of the one before it.';
CREATE INDEX operator_actions_target ON operator_actions (target_kind, target);
CREATE INDEX operator_actions_command ON operator_actions (command_id);
CREATE TRIGGER operator_actions_append_only BEFORE UPDATE OR DELETE ON operator_actions FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- +goose Down
DROP TABLE operator_actions;
DROP TABLE dead_letters;
DROP FUNCTION refuse_delete();
