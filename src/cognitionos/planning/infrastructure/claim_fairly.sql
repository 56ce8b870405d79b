-- Up to `slots` ready tasks (and up to `pure_slots` pure ones) of ONE tenant, now leased to `worker` under a new
-- fencing number. First, tasks whose lease ran out are ready again (held, if their run is paused): recovery is part of
-- every look. Of the tenants that wait, the one with the fewest running tasks for its weight goes first and gets its
-- weight's share of the slots; a tenant never has more running than its `most_running` (tasks that need no slot are not
-- counted against it). Where more wait than it gets, its runs take turns (`in_turn`).
CREATE OR REPLACE FUNCTION claim_fairly(worker text, slots int, pure_slots int, lease_s double precision)
RETURNS TABLE (
  tenant uuid, project uuid, run uuid, goal uuid, api_key uuid, user_text text, task uuid, task_key text, task_kind text,
  task_spec jsonb, task_attempt int, task_failures int, task_fence bigint, task_retry jsonb, task_timeout_s double precision
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  candidate record;
  lost uuid[];
  turns uuid[];
  share int;
BEGIN
  lost := ARRAY(
    SELECT t.id FROM tasks t WHERE t.status = 'running' AND t.lease_until < now()
    ORDER BY t.lease_until LIMIT 500 FOR UPDATE SKIP LOCKED
  );
  IF cardinality(lost) > 0 THEN
    -- a statement of its own, so that it sees a pause that was committed while the rows were being locked
    UPDATE tasks t SET ready_at = now(), lease_owner = NULL, lease_until = NULL,
      status = CASE WHEN (SELECT r.status FROM runs r WHERE r.id = t.run_id) = 'paused' THEN 'paused' ELSE 'ready' END
    WHERE t.id = ANY(lost);
  END IF;
  FOR candidate IN
    WITH RECURSIVE waiting AS (
      (SELECT t.tenant_id FROM tasks t WHERE t.status = 'ready' ORDER BY t.tenant_id LIMIT 1)
      UNION ALL
      SELECT (
        SELECT t.tenant_id FROM tasks t WHERE t.status = 'ready' AND t.tenant_id > w.tenant_id ORDER BY t.tenant_id LIMIT 1
      ) FROM waiting w WHERE w.tenant_id IS NOT NULL
    ), due AS (
      SELECT w.tenant_id FROM waiting w WHERE w.tenant_id IS NOT NULL AND EXISTS (
        SELECT FROM tasks t WHERE t.tenant_id = w.tenant_id AND t.status = 'ready' AND t.ready_at <= now()
          AND (t.is_pure OR slots > 0)
      )
    )
    SELECT d.tenant_id, s.most_running, coalesce(s.weight, 1) AS weight, sum(coalesce(s.weight, 1)) OVER () AS weights,
      r.running
    FROM due d LEFT JOIN task_shares s ON s.tenant_id = d.tenant_id
    CROSS JOIN LATERAL (
      SELECT count(*) AS running FROM tasks t WHERE t.tenant_id = d.tenant_id AND t.status = 'running' AND NOT t.is_pure
    ) r
    ORDER BY r.running / coalesce(s.weight, 1), random()
  LOOP
    share := CASE WHEN slots > 0 THEN greatest(1, floor(slots * candidate.weight / candidate.weights))::int ELSE 0 END;
    IF candidate.most_running IS NOT NULL AND share > 0 THEN
      -- two workers that claim at once must not both fill the last places; the count is made anew under the lock
      PERFORM pg_advisory_xact_lock(hashtextextended('claim:' || candidate.tenant_id, 0));
      share := least(share, greatest(0, candidate.most_running - (
        SELECT count(*) FROM tasks t
        WHERE t.tenant_id = candidate.tenant_id AND t.status = 'running' AND NOT t.is_pure
      )))::int;
    END IF;
    turns := '{}';
    IF share > 0 AND EXISTS (
      SELECT FROM tasks t
      WHERE t.tenant_id = candidate.tenant_id AND t.status = 'ready' AND NOT t.is_pure AND t.ready_at <= now()
      OFFSET share
    ) THEN
      turns := coalesce(in_turn(candidate.tenant_id, share), '{}');
    END IF;
    RETURN QUERY
      WITH slotted AS (
        SELECT t.id FROM tasks t
        WHERE t.tenant_id = candidate.tenant_id AND t.status = 'ready' AND NOT t.is_pure AND t.ready_at <= now()
          AND t.id <> ALL (turns)
        ORDER BY t.priority DESC, t.ready_at
        LIMIT share - cardinality(turns) FOR UPDATE SKIP LOCKED
      ), unslotted AS (
        SELECT t.id FROM tasks t
        WHERE t.tenant_id = candidate.tenant_id AND t.status = 'ready' AND t.is_pure AND t.ready_at <= now()
        ORDER BY t.priority DESC, t.ready_at LIMIT pure_slots FOR UPDATE SKIP LOCKED
      ), chosen AS (
        SELECT unnest(turns) AS id UNION ALL SELECT id FROM slotted UNION ALL SELECT id FROM unslotted
      ), claimed AS (
        UPDATE tasks t SET status = 'running', lease_owner = worker,
          lease_until = now() + make_interval(secs => lease_s), fence = t.fence + 1, attempt = t.attempt + 1,
          started_at = coalesce(t.started_at, now())
        FROM chosen c WHERE t.id = c.id
        RETURNING t.*
      )
      SELECT c.tenant_id, r.project_id, c.run_id, r.goal_id, r.api_key_id, r.user_name, c.id, c.key, c.kind,
        c.spec, c.attempt, c.failures, c.fence, c.retry, c.timeout_s
      FROM claimed c JOIN runs r ON r.id = c.run_id;
    IF FOUND THEN
      RETURN;
    END IF;
  END LOOP;
END
$$;
