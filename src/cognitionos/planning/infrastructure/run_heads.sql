-- How far each of these runs' events go, of every tenant: one look a second for all the streams of a process. What a
-- stream then shows it reads under its own tenant.
CREATE OR REPLACE FUNCTION run_heads(ids uuid[]) RETURNS TABLE (run uuid, head bigint, run_status text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT r.id, r.last_seq, r.status FROM runs r WHERE r.id = ANY(ids);
$$;
