-- What `claim_fairly` gives, and where it gave something and more is due, of any tenant, a last row of nulls: without it
-- the worker need not look again before it is told of something new.
CREATE OR REPLACE FUNCTION claim_and_look(worker text, slots int, pure_slots int, lease_s double precision)
RETURNS TABLE (
  tenant uuid, project uuid, run uuid, goal uuid, api_key uuid, user_text text, task uuid, task_key text, task_kind text,
  task_spec jsonb, task_attempt int, task_failures int, task_fence bigint, task_retry jsonb, task_timeout_s double precision
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY SELECT * FROM claim_fairly(worker, slots, pure_slots, lease_s);
  IF FOUND AND EXISTS (
    SELECT FROM tasks t WHERE t.status = 'ready' AND t.ready_at <= now() AND (t.is_pure OR slots > 0)
  ) THEN
    RETURN NEXT;
  END IF;
END
$$;
