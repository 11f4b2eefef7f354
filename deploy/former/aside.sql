-- Moves the former system's table teams_notifications, with its indexes, trigger and view, as they are into the schema "former", so that
-- `worker migrate up` can make its own. Run once, as a superuser, in the database that DATABASE_URL will name, after roles.sql.
-- That is a database of its own with a copy of the table, or the former database when the former system is over for good: its programs
-- would write into our table from then on, and roles.sql has closed the database to their roles. Taking it back: ALTER TABLE former.teams_notifications SET SCHEMA public, and so on.
BEGIN;
DO $$
BEGIN
    IF to_regclass('public.teams_notifications') IS NULL THEN
        RAISE EXCEPTION 'there is no table public.teams_notifications: is this the former database?';
    END IF;
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'public.teams_notifications'::regclass AND attname = 'event_key') THEN
        RAISE EXCEPTION 'this teams_notifications is not the former one: nothing was moved';
    END IF;
    CREATE SCHEMA former;
    REVOKE ALL ON SCHEMA former FROM PUBLIC;
    ALTER TABLE public.teams_notifications SET SCHEMA former;
    IF to_regclass('public.teams_notifications_unacknowledged_critical') IS NOT NULL THEN
        ALTER VIEW public.teams_notifications_unacknowledged_critical SET SCHEMA former;
    END IF;
    IF to_regprocedure('public.set_updated_at()') IS NOT NULL THEN
        ALTER FUNCTION public.set_updated_at() SET SCHEMA former;
    END IF;
END
$$;
COMMIT;
