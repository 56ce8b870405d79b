-- The pure tasks that can be reached from `first` through pure tasks alone, nearest first: what the end of their
-- parents may set going within one commit. Runs as the caller, under its policies.
CREATE OR REPLACE FUNCTION pure_waiting(first uuid[], most int)
RETURNS TABLE (task uuid, run uuid, task_key text, task_kind text, task_spec jsonb, pending int, children uuid[])
LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
  WITH RECURSIVE reach AS (
    SELECT DISTINCT f.id FROM unnest(first) AS f(id)
    UNION
    SELECT child.id FROM reach r JOIN tasks t ON t.id = r.id CROSS JOIN LATERAL unnest(t.dependents) AS child(id)
    WHERE t.is_pure AND t.status = 'pending'
  ), nearest AS (SELECT r.id FROM reach r LIMIT most)
  SELECT t.id, t.run_id, t.key, t.kind, t.spec, t.pending_deps, t.dependents
  FROM nearest n JOIN tasks t ON t.id = n.id WHERE t.is_pure AND t.status = 'pending';
$$;
