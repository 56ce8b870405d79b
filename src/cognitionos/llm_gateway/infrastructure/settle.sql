-- Write down, once per period, limit and share, which shares of their limits the budgets have spent. Called with the rows
-- locked. Whoever committed it looks for what is to be told (`llm_untold_alerts`).
CREATE OR REPLACE FUNCTION llm_raise_alerts(p_ids uuid[])
RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_raised int;
BEGIN
  INSERT INTO budget_alerts
    (tenant_id, budget_id, subject, period, threshold, share, window_start, resets_at, limit_nanousd, spent_nanousd)
  SELECT b.tenant_id, b.id, b.subject, b.period, t.threshold, t.share, b.window_start, b.resets_at, b.limit_nanousd,
         b.spent_nanousd
  FROM budgets b,
    LATERAL (VALUES ('soft', b.soft, b.soft_nanousd), ('halt', b.halt, b.halt_nanousd), ('exhausted', 1, b.limit_nanousd))
      AS t(threshold, share, reached_nanousd)
  WHERE b.id = ANY (p_ids) AND b.limit_nanousd > 0 AND b.spent_nanousd >= t.reached_nanousd
  ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS v_raised = ROW_COUNT;
  RETURN v_raised;
END
$$;

-- Write the ledger rows of ended calls, book their cost on the budgets that held them and release the holds: one commit,
-- once per call id however often it is repeated. A call that held nothing (a cache hit) only gets its row. A cost counts in
-- the period in which it was held. `raised` is the number of alerts that this made.
-- p_calls: an array of objects with the ledger's column names.
CREATE OR REPLACE FUNCTION llm_settle(p_calls jsonb, OUT written int, OUT raised int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_ids uuid[];
  v_past_a_share boolean;
BEGIN
  v_ids := ARRAY(
    SELECT b.id FROM budgets b
    WHERE b.id IN (
      SELECT unnest(h.budget_ids) FROM budget_holds h
      WHERE h.call_id IN (SELECT c.call_id FROM jsonb_to_recordset(p_calls) AS c(call_id uuid))
    )
    ORDER BY b.id FOR UPDATE
  );
  IF EXISTS (SELECT FROM budgets b WHERE b.id = ANY (v_ids) AND b.resets_at <= clock_timestamp()) THEN
    PERFORM llm_roll_budgets(v_ids, clock_timestamp());
  END IF;
  WITH ended AS (
    SELECT c || jsonb_build_object('settled_at', now(), 'held_at', h.created_at, 'budget_ids', h.budget_ids) AS facts
    FROM jsonb_array_elements(p_calls) AS c LEFT JOIN budget_holds h ON h.call_id = (c ->> 'call_id')::uuid
  ), inserted AS (
    INSERT INTO calls
    SELECT row.* FROM ended, jsonb_populate_record(NULL::calls, ended.facts) AS row
    ON CONFLICT (call_id) DO NOTHING
    RETURNING calls.call_id, calls.cost_nanousd
  ), released AS (
    DELETE FROM budget_holds h USING inserted i WHERE h.call_id = i.call_id
    RETURNING h.budget_ids, h.amount_nanousd, h.created_at, i.cost_nanousd
  ), changes AS (
    SELECT b.id, sum(r.amount_nanousd) AS held, sum(r.cost_nanousd) AS cost, count(*) AS n
    FROM released r, unnest(r.budget_ids) AS u(id) JOIN budgets b ON b.id = u.id
    WHERE r.created_at >= b.window_start GROUP BY b.id
  ), booked AS (
    UPDATE budgets SET
      held_nanousd = held_nanousd - changes.held,
      spent_nanousd = spent_nanousd + changes.cost,
      calls = calls + changes.n
    FROM changes WHERE budgets.id = changes.id
    RETURNING spent_nanousd >= least(soft_nanousd, halt_nanousd, limit_nanousd) AS past_a_share
  )
  SELECT (SELECT count(*) FROM inserted), (SELECT bool_or(past_a_share) FROM booked) INTO written, v_past_a_share;
  raised := CASE WHEN v_past_a_share THEN llm_raise_alerts(v_ids) ELSE 0 END;
END
$$;

-- Give back a hold whose call never started.
CREATE OR REPLACE FUNCTION llm_release(p_call_id uuid)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_hold budget_holds;
BEGIN
  PERFORM FROM budgets b
    WHERE b.id IN (SELECT unnest(h.budget_ids) FROM budget_holds h WHERE h.call_id = p_call_id)
    ORDER BY b.id FOR UPDATE;
  DELETE FROM budget_holds h WHERE h.call_id = p_call_id RETURNING h.* INTO v_hold;
  IF FOUND THEN
    UPDATE budgets SET held_nanousd = held_nanousd - v_hold.amount_nanousd
    WHERE id = ANY (v_hold.budget_ids) AND window_start <= v_hold.created_at;
  END IF;
END
$$;

-- Note that the call, which had to queue, goes to its provider now. False: its hold is gone, and so it must not.
CREATE OR REPLACE FUNCTION llm_send(p_call_id uuid)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE budget_holds h SET sent = true WHERE h.call_id = p_call_id;
  RETURN FOUND;
END
$$;
