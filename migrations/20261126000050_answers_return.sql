-- +goose Up
-- A payer may go back to what it said before: the same content may be two versions.
ALTER TABLE claim_responses DROP CONSTRAINT claim_responses_fingerprint_key, ADD COLUMN answered_at TIMESTAMPTZ;
COMMENT ON TABLE claim_responses IS 'Every version of a claim''s answer. The same answer delivered twice is one version; an older one whose content the payer comes back to is a new version.';
COMMENT ON COLUMN claim_responses.answered_at IS 'When the payer made the answer, as it says; NULL if it does not.';

-- +goose Down
-- The older form has each content once: what came back is told apart by its version.
ALTER TABLE claim_responses DISABLE TRIGGER claim_responses_append_only;
UPDATE claim_responses r SET fingerprint = fingerprint || '/' || version
    WHERE EXISTS (SELECT 1 FROM claim_responses o WHERE o.claim_id = r.claim_id AND o.fingerprint = r.fingerprint AND o.version < r.version);
ALTER TABLE claim_responses ENABLE TRIGGER claim_responses_append_only;
ALTER TABLE claim_responses DROP COLUMN answered_at, ADD CONSTRAINT claim_responses_fingerprint_key UNIQUE (claim_id, fingerprint);
COMMENT ON TABLE claim_responses IS 'Every version of a claim''s answer. The same answer delivered twice is one version.';
