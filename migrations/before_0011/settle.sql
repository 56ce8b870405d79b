-- Write the ledger rows of ended calls, book their cost on the budgets that held them and release the holds: one commit,
-- once per call id however often it is repeated. A call that held nothing (a cache hit) only gets its row.
-- p_calls: an array of objects with the ledger's column names.
CREATE OR REPLACE FUNCTION llm_settle(p_calls jsonb)
RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_ids uuid[];
  v_written int;
BEGIN
  v_ids := ARRAY(
    SELECT b.id FROM budgets b
    WHERE b.id IN (
      SELECT unnest(h.budget_ids) FROM budget_holds h
      WHERE h.call_id IN (SELECT c.call_id FROM jsonb_to_recordset(p_calls) AS c(call_id uuid))
    )
    ORDER BY b.id FOR UPDATE
  );
  IF cardinality(v_ids) > 0 THEN
    PERFORM llm_roll_budgets(v_ids);
  END IF;
  WITH written AS (
    INSERT INTO calls
    SELECT (jsonb_populate_record(NULL::calls, c || jsonb_build_object('settled_at', now()))).*
    FROM jsonb_array_elements(p_calls) AS c
    ON CONFLICT (call_id) DO NOTHING
    RETURNING calls.call_id, calls.cost_nanousd
  ), released AS (
    DELETE FROM budget_holds h USING written w WHERE h.call_id = w.call_id
    RETURNING h.budget_ids, h.amount_nanousd, w.cost_nanousd
  ), changes AS (
    SELECT b.id, sum(r.amount_nanousd) AS held, sum(r.cost_nanousd) AS cost, count(*) AS n
    FROM released r, unnest(r.budget_ids) AS b(id) GROUP BY b.id
  ), booked AS (
    UPDATE budgets SET
      held_nanousd = held_nanousd - changes.held,
      spent_nanousd = spent_nanousd + changes.cost,
      calls = calls + changes.n
    FROM changes WHERE budgets.id = changes.id
  )
  SELECT count(*) INTO v_written FROM written;
  RETURN v_written;
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
    UPDATE budgets SET held_nanousd = held_nanousd - v_hold.amount_nanousd WHERE id = ANY (v_hold.budget_ids);
  END IF;
END
$$;
