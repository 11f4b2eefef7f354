-- The roles of nphiesq and what they may do with the database. Run once, as a superuser, in the database that DATABASE_URL names;
-- running it again changes nothing. Then give passwords (\password nphiesq_owner …), run `worker migrate up` as nphiesq_owner and
-- grants.sql after it.
DO $$
DECLARE
    r text;
BEGIN
    FOREACH r IN ARRAY ARRAY ['nphiesq_owner', 'nphiesq_app', 'nphiesq_read', 'nphiesq_grafana'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', r);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), r);
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO nphiesq_owner;
GRANT USAGE ON SCHEMA public TO nphiesq_app, nphiesq_read, nphiesq_grafana;
-- A dashboard writes nothing, even where a right was forgotten.
ALTER ROLE nphiesq_read SET default_transaction_read_only = on;
ALTER ROLE nphiesq_grafana SET default_transaction_read_only = on;
ALTER ROLE nphiesq_grafana SET statement_timeout = '30s';
