-- What `worker` knows that it holds, renewed: one statement per worker, not per task. What it holds without knowing, as the
-- answer to its claim was lost, runs out. Rows are locked in id order, as everywhere, so that a renewal and a commit of
-- outcomes cannot wait for each other.
CREATE OR REPLACE FUNCTION renew_held(worker text, lease_s double precision, held uuid[])
RETURNS TABLE (task uuid, task_fence bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
BEGIN
  PERFORM 1 FROM tasks t WHERE t.lease_owner = worker AND t.status = 'running' AND t.id = ANY(held)
  ORDER BY t.id FOR UPDATE;
  RETURN QUERY
    UPDATE tasks t SET lease_until = now() + make_interval(secs => lease_s)
    WHERE t.lease_owner = worker AND t.status = 'running' AND t.id = ANY(held)
    RETURNING t.id, t.fence;
END
$$;
