-- Up to `most` ready tasks of a tenant that need a slot, locked: of its runs the one with the fewest running tasks goes
-- first, of such the one whose next task is more urgent. NULL where only one run waits. Of more than 60, the 30 begun
-- first and the 30 begun last are looked at. Runs as the caller, under its policies and settings.
CREATE OR REPLACE FUNCTION in_turn(tenant uuid, most int) RETURNS uuid[]
LANGUAGE plpgsql SET enable_sort = off AS $$
DECLARE
  oldest uuid;
  newest uuid;
BEGIN
  SELECT t.run_id INTO oldest FROM tasks t
  WHERE t.tenant_id = tenant AND t.status = 'ready' AND NOT t.is_pure AND t.ready_at <= now()
  ORDER BY t.run_id LIMIT 1;
  SELECT t.run_id INTO newest FROM tasks t
  WHERE t.tenant_id = tenant AND t.status = 'ready' AND NOT t.is_pure AND t.ready_at <= now()
  ORDER BY t.run_id DESC LIMIT 1;
  IF oldest = newest THEN
    RETURN NULL;
  END IF;
  RETURN ARRAY(
    WITH RECURSIVE begun_first AS (
      SELECT oldest AS run, 1 AS place
      UNION ALL
      SELECT (
        SELECT t.run_id FROM tasks t WHERE t.tenant_id = tenant AND t.status = 'ready' AND NOT t.is_pure
          AND t.run_id > b.run AND t.ready_at <= now() ORDER BY t.run_id LIMIT 1
      ), b.place + 1 FROM begun_first b WHERE b.run IS NOT NULL AND b.run <> newest AND b.place < 30
    ), begun_last AS (
      SELECT newest AS run, 1 AS place WHERE (SELECT max(b.place) FROM begun_first b) = 30
      UNION ALL
      SELECT (
        SELECT t.run_id FROM tasks t WHERE t.tenant_id = tenant AND t.status = 'ready' AND NOT t.is_pure
          AND t.run_id < b.run AND t.ready_at <= now() ORDER BY t.run_id DESC LIMIT 1
      ), b.place + 1 FROM begun_last b WHERE b.run IS NOT NULL AND b.place < 30
    ), waiting AS (
      SELECT run FROM begun_first WHERE run IS NOT NULL UNION SELECT run FROM begun_last WHERE run IS NOT NULL
    ), at_work AS (
      SELECT t.run_id AS run, count(*) AS running FROM tasks t
      WHERE t.tenant_id = tenant AND t.status = 'running' AND NOT t.is_pure GROUP BY t.run_id
    ), turns AS (
      SELECT n.id, n.priority, n.ready_at, coalesce(a.running, 0) + n.place AS turn
      FROM waiting w LEFT JOIN at_work a ON a.run = w.run CROSS JOIN LATERAL (
        SELECT t.id, t.priority, t.ready_at, row_number() OVER (ORDER BY t.priority DESC, t.ready_at) AS place
        FROM tasks t WHERE t.tenant_id = tenant AND t.run_id = w.run AND t.status = 'ready' AND NOT t.is_pure
          AND t.ready_at <= now()
        ORDER BY t.priority DESC, t.ready_at LIMIT most
      ) n
    )
    SELECT t.id FROM turns u JOIN tasks t ON t.id = u.id WHERE t.status = 'ready'
    ORDER BY u.turn, u.priority DESC, u.ready_at LIMIT most FOR UPDATE OF t SKIP LOCKED
  );
END
$$;
