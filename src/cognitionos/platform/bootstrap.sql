-- Run once by a superuser in the (empty) database, before the first migration. Safe to repeat.
-- owner migrates and is no superuser; app runs everything under forced row-level security; dispatch owns the few
-- functions that look across tenants. On a shared server set passwords: ALTER ROLE cognitionos_app PASSWORD '...'.
CREATE EXTENSION IF NOT EXISTS vector;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cognitionos_owner') THEN CREATE ROLE cognitionos_owner LOGIN; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cognitionos_app') THEN CREATE ROLE cognitionos_app LOGIN; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cognitionos_dispatch') THEN CREATE ROLE cognitionos_dispatch NOLOGIN; END IF;
  EXECUTE format('GRANT CREATE ON DATABASE %I TO cognitionos_owner', current_database());
END
$$;

-- To hand a function to dispatch, the owner must be a member of it, and dispatch must be able to own things here.
GRANT cognitionos_dispatch TO cognitionos_owner;
GRANT CREATE, USAGE ON SCHEMA public TO cognitionos_owner;
GRANT CREATE, USAGE ON SCHEMA public TO cognitionos_dispatch;
GRANT USAGE ON SCHEMA public TO cognitionos_app;
