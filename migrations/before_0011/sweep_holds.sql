-- Say that a process lives, and close the holds of those that do not: no sign of life for p_dead_s seconds, or past
-- their own deadline. Whoever holds was about to call the provider, which will bill: so it is booked at its amount and
-- marked as an estimate. Returns how many were closed. Two sweeps at once, or a
-- late settlement, are harmless: the first to write the ledger row books it.
CREATE OR REPLACE FUNCTION llm_sweep_holds(p_owner uuid, p_dead_s float8)
RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_rows jsonb;
BEGIN
  INSERT INTO llm_processes (owner, seen_at) VALUES (p_owner, now())
  ON CONFLICT (owner) DO UPDATE SET seen_at = EXCLUDED.seen_at;
  DELETE FROM llm_processes p
    WHERE p.seen_at < now() - make_interval(secs => p_dead_s) - interval '1 day';
  SELECT jsonb_agg(h.facts || jsonb_build_object(
    'call_id', h.call_id, 'tenant_id', h.tenant_id, 'cost_nanousd', h.amount_nanousd, 'outcome', 'lost',
    'estimated', true))
  INTO v_rows
  FROM (
    SELECT * FROM budget_holds h
    WHERE h.expires_at < now()
       OR (h.created_at < now() - make_interval(secs => p_dead_s) AND NOT EXISTS (
            SELECT FROM llm_processes p
            WHERE p.owner = h.owner AND p.seen_at > now() - make_interval(secs => p_dead_s)))
    ORDER BY h.call_id LIMIT 500
  ) AS h;
  RETURN CASE WHEN v_rows IS NULL THEN 0 ELSE llm_settle(v_rows) END;
END
$$;
