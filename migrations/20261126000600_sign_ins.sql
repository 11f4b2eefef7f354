-- +goose Up
CREATE TABLE sign_ins (
    key           BYTEA PRIMARY KEY CHECK (octet_length(key) = 32),
    site          TEXT NOT NULL,
    person_id     TEXT NOT NULL,
    name          TEXT NOT NULL,
    tenant        TEXT NOT NULL,
    roles         TEXT[] NOT NULL,
    method        TEXT NOT NULL CHECK (method IN ('password', 'oidc')),
    origin        BYTEA NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL,
    last_seen_at  TIMESTAMPTZ NOT NULL,
    ends_at       TIMESTAMPTZ NOT NULL CHECK (ends_at > created_at)
);
CREATE INDEX ix_sign_ins_ends_at ON sign_ins (ends_at);
COMMENT ON TABLE sign_ins IS 'Who is signed in to the monitor. Rows that have ended are deleted at the next sign-in. Nothing here opens a session.';
COMMENT ON COLUMN sign_ins.key IS 'SHA-256 of the cookie.';
COMMENT ON COLUMN sign_ins.site IS 'Which of the monitor''s listeners the cookie is for.';
COMMENT ON COLUMN sign_ins.origin IS 'SHA-256 of what the roles rest on (the entry of a local user, the settings of single sign-on): another one ends the session.';
CREATE TABLE sign_in_starts (
    state    BYTEA PRIMARY KEY CHECK (octet_length(state) = 32),
    site     TEXT NOT NULL,
    browser  BYTEA NOT NULL CHECK (octet_length(browser) = 32),
    next     TEXT NOT NULL,
    ends_at  TIMESTAMPTZ NOT NULL
);
CREATE INDEX ix_sign_in_starts_ends_at ON sign_in_starts (ends_at);
COMMENT ON TABLE sign_in_starts IS 'Sign-ins at the provider of single sign-on that are under way, each good once.';
COMMENT ON COLUMN sign_in_starts.state IS 'SHA-256 of the state that the provider sends back.';
COMMENT ON COLUMN sign_in_starts.browser IS 'SHA-256 of the cookie of the browser that began. Nonce and PKCE verifier come from that cookie and are stored nowhere.';
COMMENT ON COLUMN sign_in_starts.next IS 'Our page to go to afterwards.';

-- +goose Down
DROP TABLE sign_in_starts;
DROP TABLE sign_ins;
