-- A worker that stops gives back what it holds, of every tenant; the interrupted start does not count as an attempt.
CREATE OR REPLACE FUNCTION hand_back_tasks(worker text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
  given_back int;
BEGIN
  PERFORM 1 FROM tasks t WHERE t.lease_owner = worker AND t.status = 'running' ORDER BY t.id FOR UPDATE;
  UPDATE tasks t SET ready_at = now(), lease_owner = NULL, lease_until = NULL, attempt = t.attempt - 1,
    status = CASE WHEN (SELECT r.status FROM runs r WHERE r.id = t.run_id) = 'paused' THEN 'paused' ELSE 'ready' END
  WHERE t.lease_owner = worker AND t.status = 'running';
  GET DIAGNOSTICS given_back = ROW_COUNT;
  RETURN given_back;
END
$$;
