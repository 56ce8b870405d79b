-- Say that a process lives, and close the holds of those that do not: no sign of life for p_dead_s seconds, or past
-- their own deadline. A call that was sent to its provider will be billed by it: it is booked at its amount and marked as
-- an estimate. One that still queued is released. Two sweeps at once, or a late settlement, are harmless: the first to
-- write the ledger row books it.
CREATE OR REPLACE FUNCTION llm_sweep_holds(p_owner uuid, p_dead_s float8, OUT booked int, OUT released int, OUT raised int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_rows jsonb;
  v_unsent uuid[];
BEGIN
  INSERT INTO llm_processes (owner, seen_at) VALUES (p_owner, now())
  ON CONFLICT (owner) DO UPDATE SET seen_at = EXCLUDED.seen_at;
  DELETE FROM llm_processes p
    WHERE p.seen_at < now() - make_interval(secs => p_dead_s) - interval '1 day';
  SELECT
    jsonb_agg(h.facts || jsonb_build_object(
      'call_id', h.call_id, 'tenant_id', h.tenant_id, 'cost_nanousd', h.amount_nanousd, 'outcome', 'lost',
      'estimated', true)) FILTER (WHERE h.sent),
    array_agg(h.call_id) FILTER (WHERE NOT h.sent)
  INTO v_rows, v_unsent
  FROM (
    SELECT * FROM budget_holds h
    WHERE h.expires_at < now()
       OR (h.created_at < now() - make_interval(secs => p_dead_s) AND NOT EXISTS (
            SELECT FROM llm_processes p
            WHERE p.owner = h.owner AND p.seen_at > now() - make_interval(secs => p_dead_s)))
    ORDER BY h.call_id LIMIT 500
  ) AS h;
  booked := 0; raised := 0; released := COALESCE(cardinality(v_unsent), 0);
  IF v_rows IS NOT NULL THEN
    SELECT s.written, s.raised INTO booked, raised FROM llm_settle(v_rows) AS s;
  END IF;
  PERFORM llm_release(u.call_id) FROM unnest(v_unsent) AS u(call_id);
END
$$;
