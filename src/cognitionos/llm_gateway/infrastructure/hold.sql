-- When the period that p_at is in ends, by the calendar of p_zone; null for a budget that never starts anew. A week begins
-- on Monday. A midnight that the clocks skip is the moment of the skip, one that comes twice is the second.
CREATE OR REPLACE FUNCTION llm_next_reset(p_period text, p_zone text, p_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
  SELECT CASE WHEN p_period <> 'total' THEN
    (date_trunc(p_period, p_at AT TIME ZONE p_zone) + ('1 ' || p_period)::interval) AT TIME ZONE p_zone END
$$;

-- Budgets whose period is over start anew. Called with the rows locked. What is held now was held in the old period and
-- counts there: it leaves `held` here, and its settlement leaves these counters alone (it was held before window_start).
CREATE OR REPLACE FUNCTION llm_roll_budgets(p_ids uuid[], p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE budgets b SET
    spent_nanousd = 0,
    held_nanousd = 0,
    calls = 0,
    carried_nanousd = 0,
    carried_calls = 0,
    window_start = date_trunc(b.period, p_now AT TIME ZONE z.name) AT TIME ZONE z.name,
    resets_at = llm_next_reset(b.period, z.name, p_now)
  FROM budgets o
  LEFT JOIN budget_settings s ON s.tenant_id = o.tenant_id
  CROSS JOIN LATERAL (SELECT COALESCE(o.time_zone, s.time_zone, 'UTC') AS name) AS z
  WHERE o.id = b.id AND b.id = ANY (p_ids) AND b.resets_at <= p_now;
END
$$;

-- Hold each call's amount on every budget of its subjects, all or nothing, in the order given. Rows are locked in id
-- order, so that batches never deadlock. A call without a budget is granted (its hold names none, and lets a sweep book
-- it should the process die); `held` with a subject names the tightest budget that it counts against. Outcomes beside
-- `held`: `halted` (a run that is not critical, past a budget's halt share), `downgrade` (past a soft share that names a
-- cheaper model: the caller asks again with it), `price_unknown` (amount null under a budget), `refused`.
-- p_calls: [{"call_id", "tenant_id", "subjects": [..], "amount", "owner", "expires_s", "halts", "downgraded", "sent",
-- "facts": {..}}]
CREATE OR REPLACE FUNCTION llm_hold(p_calls jsonb)
RETURNS TABLE (call_id uuid, outcome text, subject text, left_nanousd bigint, room_nanousd bigint, resets_at timestamptz,
               period text, downgrade_to text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
  call record;
  tight record;
  v_ids uuid[];
  v_counted uuid[];
  v_now timestamptz;
  v_first_reset timestamptz;
  v_past_a_share boolean;
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
    INSERT INTO budget_holds (call_id, tenant_id, budget_ids, amount_nanousd, owner, expires_at, sent, facts)
    SELECT c.call_id, c.tenant_id, '{}', COALESCE(c.amount, 0), c.owner, now() + make_interval(secs => c.expires_s),
           c.sent, c.facts
    FROM jsonb_to_recordset(p_calls)
      AS c(call_id uuid, tenant_id uuid, amount bigint, owner uuid, expires_s float8, sent boolean, facts jsonb)
    ON CONFLICT DO NOTHING;
    RETURN QUERY SELECT c.call_id, 'held', NULL::text, 0::bigint, 0::bigint, NULL::timestamptz, NULL::text, NULL::text
      FROM jsonb_to_recordset(p_calls) AS c(call_id uuid);
    RETURN;
  END IF;

  -- the clock is read under the locks: a hold is never older than the period it counts in
  SELECT greatest(clock_timestamp(), max(b.window_start)), min(b.resets_at),
         bool_or(b.spent_nanousd >= least(b.soft_nanousd, b.halt_nanousd))
  INTO v_now, v_first_reset, v_past_a_share FROM budgets b WHERE b.id = ANY (v_ids);
  IF v_first_reset <= v_now THEN
    PERFORM llm_roll_budgets(v_ids, v_now);  -- what is past a share now was so before: the calls below look themselves
  END IF;
  FOR call IN
    SELECT * FROM jsonb_to_recordset(p_calls) AS c(
      call_id uuid, tenant_id uuid, subjects text[], amount bigint, owner uuid, expires_s float8, halts boolean,
      downgraded boolean, sent boolean, facts jsonb)
  LOOP
    call_id := call.call_id; outcome := 'held'; subject := NULL; left_nanousd := 0; room_nanousd := 0; resets_at := NULL;
    period := NULL; downgrade_to := NULL;
    SELECT h.budget_ids INTO v_counted FROM budget_holds h WHERE h.call_id = call.call_id;
    IF FOUND THEN
      SELECT b.subject INTO subject FROM budgets b WHERE b.id = ANY (v_counted)
      ORDER BY b.limit_nanousd - b.spent_nanousd - b.held_nanousd LIMIT 1;
      RETURN NEXT;
      CONTINUE;
    END IF;
    IF v_past_a_share AND call.halts THEN
      SELECT 'halted', b.subject, b.limit_nanousd - b.spent_nanousd - b.held_nanousd, b.resets_at, b.period
      INTO outcome, subject, left_nanousd, resets_at, period
      FROM budgets b
      WHERE b.id = ANY (v_ids) AND b.tenant_id = call.tenant_id AND b.subject = ANY (call.subjects)
        AND b.spent_nanousd >= b.halt_nanousd
      ORDER BY b.resets_at DESC NULLS FIRST LIMIT 1;
    END IF;
    IF v_past_a_share AND subject IS NULL AND NOT call.downgraded THEN
      SELECT 'downgrade', b.subject, b.resets_at, b.period, COALESCE(b.downgrade_to, s.downgrade_to)
      INTO outcome, subject, resets_at, period, downgrade_to
      FROM budgets b LEFT JOIN budget_settings s ON s.tenant_id = b.tenant_id
      WHERE b.id = ANY (v_ids) AND b.tenant_id = call.tenant_id AND b.subject = ANY (call.subjects)
        AND b.spent_nanousd >= b.soft_nanousd AND COALESCE(b.downgrade_to, s.downgrade_to) IS NOT NULL
      ORDER BY b.spent_nanousd::numeric / greatest(b.limit_nanousd, 1) DESC LIMIT 1;
    END IF;
    IF subject IS NOT NULL THEN
      RETURN NEXT;
      CONTINUE;
    END IF;
    outcome := 'held'; left_nanousd := 0;
    SELECT b.subject, b.resets_at, b.period, b.limit_nanousd - b.spent_nanousd - b.held_nanousd AS left_now
    INTO tight
    FROM budgets b
    WHERE b.id = ANY (v_ids) AND b.tenant_id = call.tenant_id AND b.subject = ANY (call.subjects)
    ORDER BY left_now LIMIT 1;
    IF FOUND AND (call.amount IS NULL OR tight.left_now < call.amount) THEN
      outcome := CASE WHEN call.amount IS NULL THEN 'price_unknown' ELSE 'refused' END;
      subject := tight.subject; left_nanousd := tight.left_now; resets_at := tight.resets_at; period := tight.period;
      SELECT min(b.limit_nanousd - b.spent_nanousd) INTO room_nanousd
      FROM budgets b WHERE b.id = ANY (v_ids) AND b.tenant_id = call.tenant_id AND b.subject = ANY (call.subjects);
    ELSE
      subject := tight.subject;
      WITH held AS (
        UPDATE budgets b SET held_nanousd = b.held_nanousd + call.amount
        WHERE b.id = ANY (v_ids) AND b.tenant_id = call.tenant_id AND b.subject = ANY (call.subjects)
        RETURNING b.id
      )
      INSERT INTO budget_holds (call_id, tenant_id, budget_ids, amount_nanousd, owner, created_at, expires_at, sent, facts)
      SELECT call.call_id, call.tenant_id, ARRAY(SELECT id FROM held), COALESCE(call.amount, 0), call.owner, v_now,
             v_now + make_interval(secs => call.expires_s), call.sent, call.facts;
    END IF;
    RETURN NEXT;
  END LOOP;
END
$$;
