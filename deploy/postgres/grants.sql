-- What the roles of roles.sql may do with the tables. Run as nphiesq_owner after each `worker migrate up`: a new table is closed
-- to everybody until then.
BEGIN;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, nphiesq_app, nphiesq_read, nphiesq_grafana;

-- worker, monitor, enqueue. Nobody may DELETE or TRUNCATE, but for what is listed.
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO nphiesq_app;
REVOKE UPDATE ON messages, claim_responses, operator_actions FROM nphiesq_app; -- append only
REVOKE INSERT, UPDATE ON goose_db_version FROM nphiesq_app;                    -- for migrations alone
GRANT DELETE ON pauses TO nphiesq_app;                                         -- a pause that has ended
GRANT DELETE ON teams_notifications TO nphiesq_app;                            -- TEAMS_AUDIT_RETENTION_DAYS
GRANT DELETE ON pagerduty_events TO nphiesq_app;                               -- of alerts that are over, after the same time
GRANT DELETE ON action_commands TO nphiesq_app;                                -- answers kept for repeated commands, after the same time
GRANT DELETE ON leases TO nphiesq_app;                                         -- work that is done
REVOKE UPDATE ON sign_ins, sign_in_starts FROM nphiesq_app;                    -- who is signed in does not get another role
GRANT UPDATE (last_seen_at) ON sign_ins TO nphiesq_app;
GRANT DELETE ON sign_ins, sign_in_starts TO nphiesq_app;                       -- signed out, or its time is over
GRANT DELETE ON bot_conversations TO nphiesq_app;                              -- the bot was removed from a team

-- Questions of people: everything but the messages, which hold personal health data, who is signed in, and eligibility_checks.patient_key: whoever
-- has it can try all national ids until one fits.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO nphiesq_read;
REVOKE ALL ON messages, sign_ins, sign_in_starts, eligibility_checks FROM nphiesq_read;
DO $$
BEGIN
    EXECUTE (SELECT format('GRANT SELECT (%s) ON eligibility_checks TO nphiesq_read', string_agg(quote_ident(attname), ', '))
             FROM pg_attribute WHERE attrelid = 'eligibility_checks'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'patient_key');
END
$$;

-- Grafana, in which whoever may edit a dashboard may ask anything: only the columns that ours in deploy/grafana show.
GRANT SELECT ON teams_notifications_unacknowledged_critical TO nphiesq_grafana;
GRANT SELECT (created_at, event_type, retry_count) ON teams_notifications TO nphiesq_grafana;
GRANT SELECT (created_at, state) ON claims TO nphiesq_grafana;
GRANT SELECT (queue, state, error_kind, error_code, last_failed_at) ON dead_letters TO nphiesq_grafana;
COMMIT;
