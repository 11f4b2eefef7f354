-- +goose Up
-- Rows of before are old news: they count as published.
ALTER TABLE teams_notifications ADD COLUMN published_at TIMESTAMPTZ DEFAULT now();
ALTER TABLE teams_notifications ALTER COLUMN published_at DROP DEFAULT;
COMMENT ON COLUMN teams_notifications.published_at IS 'When its event was published on Redis.';
CREATE INDEX teams_notifications_unpublished ON teams_notifications (created_at) WHERE published_at IS NULL;
CREATE INDEX teams_notifications_created_at ON teams_notifications (created_at);

-- A payer may reissue its answer: when messages of the mailbox are lost, claims that have theirs ask, too.
ALTER TABLE claims ADD COLUMN ask_again BOOLEAN NOT NULL DEFAULT false;
COMMENT ON COLUMN claims.ask_again IS 'Adjudicated, and a reissued answer may be lost: its bytes are sent again to ask for the latest one.';
CREATE INDEX claims_ask_again ON claims (adjudicated_at) WHERE ask_again;

-- +goose Down
ALTER TABLE claims DROP COLUMN ask_again;
DROP INDEX teams_notifications_created_at;
ALTER TABLE teams_notifications DROP COLUMN published_at;
