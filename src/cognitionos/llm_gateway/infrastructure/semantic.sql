-- The nearest live answers of one scope of the tenant that `app.tenant_id` names, nearest first; but for those that were
-- judged wrong for `asked_key`. Runs as its caller, under the tenant's policy. Up to `exact_up_to` answers each is
-- compared (recall 1.0); above, the HNSW index is scanned until enough rows pass the filter.
CREATE OR REPLACE FUNCTION semantic_nearest(
  asked_key text, of_scope text, question_embedding halfvec, stored_since timestamptz, wanted int, exact_up_to int
)
RETURNS SETOF semantic_answers
LANGUAGE plpgsql SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  few boolean;
  wrong text[] := ARRAY(SELECT answer_key FROM semantic_reuses WHERE key = asked_key AND NOT correct);
  nearest text[];
BEGIN
  SELECT count(*) <= exact_up_to INTO few
  FROM (SELECT 1 FROM semantic_answers WHERE scope = of_scope LIMIT exact_up_to + 1) AS first_ones;
  IF few THEN
    nearest := ARRAY(  -- the sum keeps the planner away from the HNSW index
      SELECT key FROM semantic_answers
      WHERE scope = of_scope AND expires_at > now() AND stored_at >= stored_since AND key <> ALL (wrong)
      ORDER BY (embedding <=> question_embedding) + 0, key LIMIT wanted
    );
  ELSE
    PERFORM set_config('hnsw.iterative_scan', 'strict_order', true), set_config('hnsw.ef_search', '100', true),
            set_config('enable_sort', 'off', true);  -- the choice was made above: no plan but the index's
    nearest := ARRAY(
      SELECT key FROM semantic_answers
      WHERE scope = of_scope AND expires_at > now() AND stored_at >= stored_since AND key <> ALL (wrong)
      ORDER BY embedding <=> question_embedding LIMIT wanted
    );
    PERFORM set_config('enable_sort', 'on', true);
  END IF;
  RETURN QUERY
  SELECT a.* FROM unnest(nearest) WITH ORDINALITY AS found (key, place)
  JOIN semantic_answers a ON a.key = found.key ORDER BY found.place;
END
$$;

-- Forget expired answers, the oldest of a tenant that has more than `most`, and reuses nobody will judge any more.
-- Across tenants, so under the dispatch role's policy; a sweep that meets another leaves it the work.
CREATE OR REPLACE FUNCTION semantic_sweep(most bigint, reuses_kept interval)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  expired bigint;
  surplus bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtext('semantic_sweep')) THEN
    RETURN 0;
  END IF;
  DELETE FROM semantic_answers WHERE expires_at <= now();
  GET DIAGNOSTICS expired = ROW_COUNT;
  DELETE FROM semantic_answers AS old USING (
    SELECT tenant_id, key, row_number() OVER (PARTITION BY tenant_id ORDER BY stored_at DESC) AS place
    FROM semantic_answers
    WHERE tenant_id IN (SELECT tenant_id FROM semantic_answers GROUP BY tenant_id HAVING count(*) > most)
  ) AS ranked
  WHERE ranked.place > most AND ranked.tenant_id = old.tenant_id AND ranked.key = old.key;
  GET DIAGNOSTICS surplus = ROW_COUNT;
  DELETE FROM semantic_reuses WHERE at < now() - reuses_kept;
  RETURN expired + surplus;
END
$$;
