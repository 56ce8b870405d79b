-- Budgets whose period is over start anew. Called with the rows locked.
CREATE OR REPLACE FUNCTION llm_roll_budgets(p_ids uuid[])
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE budgets SET
    spent_nanousd = 0,
    calls = 0,
    window_start = now(),
    resets_at = (date_trunc(period, now() AT TIME ZONE time_zone) + ('1 ' || period)::interval) AT TIME ZONE time_zone
  WHERE id = ANY (p_ids) AND resets_at <= now();
$$;

-- Hold each call's amount on every budget of its subjects, all or nothing, in the order given. Rows are locked in id
-- order, so that batches never deadlock. A call without a budget is granted (its hold names none, and lets a sweep book
-- it should the process die). Amount null: the price is unknown, which is refused under any budget.
-- p_calls: [{"call_id", "tenant_id", "subjects": [..], "amount", "owner", "expires_s", "facts": {..}}]
CREATE OR REPLACE FUNCTION llm_hold(p_calls jsonb)
RETURNS TABLE (call_id uuid, outcome text, subject text, left_nanousd bigint, room_nanousd bigint, resets_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
  call record;
  tight record;
  v_ids uuid[];
BEGIN
  v_ids := ARRAY(
    SELECT b.id FROM budgets b
    WHERE (b.tenant_id, b.subject) IN (
      SELECT c.tenant_id, s.subject
      FROM jsonb_to_recordset(p_calls) AS c(tenant_id uuid, subjects text[]), unnest(c.subjects) AS s(subject)
    )
    ORDER BY b.id FOR UPDATE
  );
  IF cardinality(v_ids) = 0 THEN
    INSERT INTO budget_holds (call_id, tenant_id, budget_ids, amount_nanousd, owner, expires_at, facts)
    SELECT c.call_id, c.tenant_id, '{}', COALESCE(c.amount, 0), c.owner, now() + make_interval(secs => c.expires_s), c.facts
    FROM jsonb_to_recordset(p_calls)
      AS c(call_id uuid, tenant_id uuid, amount bigint, owner uuid, expires_s float8, facts jsonb)
    ON CONFLICT DO NOTHING;
    RETURN QUERY SELECT c.call_id, 'held', NULL::text, 0::bigint, 0::bigint, NULL::timestamptz
      FROM jsonb_to_recordset(p_calls) AS c(call_id uuid);
    RETURN;
  END IF;

  PERFORM llm_roll_budgets(v_ids);
  FOR call IN
    SELECT * FROM jsonb_to_recordset(p_calls) AS c(
      call_id uuid, tenant_id uuid, subjects text[], amount bigint, owner uuid, expires_s float8, facts jsonb)
  LOOP
    call_id := call.call_id; outcome := 'held'; subject := NULL; left_nanousd := 0; room_nanousd := 0; resets_at := NULL;
    IF NOT EXISTS (SELECT FROM budget_holds h WHERE h.call_id = call.call_id) THEN
      SELECT b.subject, b.resets_at,
             b.limit_nanousd - b.spent_nanousd - b.held_nanousd AS left_now, b.limit_nanousd - b.spent_nanousd AS room
      INTO tight
      FROM budgets b
      WHERE b.id = ANY (v_ids) AND b.tenant_id = call.tenant_id AND b.subject = ANY (call.subjects)
      ORDER BY left_now LIMIT 1;
      IF FOUND AND (call.amount IS NULL OR tight.left_now < call.amount) THEN
        outcome := CASE WHEN call.amount IS NULL THEN 'price_unknown' ELSE 'refused' END;
        subject := tight.subject; left_nanousd := tight.left_now; resets_at := tight.resets_at;
        SELECT min(b.limit_nanousd - b.spent_nanousd) INTO room_nanousd
        FROM budgets b WHERE b.id = ANY (v_ids) AND b.tenant_id = call.tenant_id AND b.subject = ANY (call.subjects);
      ELSE
        WITH held AS (
          UPDATE budgets b SET held_nanousd = b.held_nanousd + call.amount
          WHERE b.id = ANY (v_ids) AND b.tenant_id = call.tenant_id AND b.subject = ANY (call.subjects)
          RETURNING b.id
        )
        INSERT INTO budget_holds (call_id, tenant_id, budget_ids, amount_nanousd, owner, expires_at, facts)
        SELECT call.call_id, call.tenant_id, ARRAY(SELECT id FROM held), COALESCE(call.amount, 0), call.owner,
               now() + make_interval(secs => call.expires_s), call.facts;
      END IF;
    END IF;
    RETURN NEXT;
  END LOOP;
END
$$;
