-- Keep answers of several tenants; a row never goes back to one that was asked for before an invalidation.
-- All arrays are of one length; p_scopes has JSON arrays of text, times are seconds since the epoch.
CREATE OR REPLACE FUNCTION llm_keep_answers(
  p_tenants uuid[], p_keys text[], p_epochs bigint[], p_scopes text[], p_stored float8[], p_expires float8[],
  p_answers bytea[]
)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  INSERT INTO cached_answers (tenant_id, key, epoch, scopes, stored_at, expires_at, bytes, answer)
  SELECT DISTINCT ON (tenant_id, key)
    tenant_id, key, epoch, ARRAY(SELECT jsonb_array_elements_text(scopes::jsonb)), to_timestamp(stored),
    to_timestamp(expires), length(answer), answer
  FROM unnest(p_tenants, p_keys, p_epochs, p_scopes, p_stored, p_expires, p_answers)
    AS a(tenant_id, key, epoch, scopes, stored, expires, answer)
  ORDER BY tenant_id, key, epoch DESC, stored DESC
  ON CONFLICT (tenant_id, key) DO UPDATE SET epoch = excluded.epoch, scopes = excluded.scopes,
    stored_at = excluded.stored_at, expires_at = excluded.expires_at, bytes = excluded.bytes, answer = excluded.answer
  WHERE excluded.epoch >= cached_answers.epoch;
$$;

-- The kept answers of several tenants in the order asked, null where there is none, and how many invalidations each
-- tenant has made.
CREATE OR REPLACE FUNCTION llm_kept_answers(p_tenants uuid[], p_keys text[])
RETURNS TABLE (answer bytea, epoch bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT c.answer, COALESCE(v.epoch, 0)
  FROM unnest(p_tenants, p_keys) WITH ORDINALITY AS a(tenant_id, key, place)
  LEFT JOIN cached_answers c ON c.tenant_id = a.tenant_id AND c.key = a.key AND c.expires_at > now()
  LEFT JOIN cache_voids v ON v.tenant_id = a.tenant_id AND v.scope = ''
  ORDER BY a.place;
$$;

-- Delete what has expired, then the oldest beyond p_most_bytes; forget invalidations that no answer is old enough for.
-- Null where another process is at it.
CREATE OR REPLACE FUNCTION llm_sweep_answers(p_most_bytes bigint, p_voids_s float8)
RETURNS TABLE (deleted bigint, answers bigint, bytes bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_expired bigint;
  v_surplus bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtext('llm_sweep_answers')) THEN
    RETURN;
  END IF;
  DELETE FROM cached_answers WHERE expires_at <= now();
  GET DIAGNOSTICS v_expired = ROW_COUNT;
  DELETE FROM cached_answers c USING (
    SELECT tenant_id, key, sum(bytes) OVER (ORDER BY stored_at DESC, tenant_id, key) AS upto FROM cached_answers
  ) AS kept
  WHERE kept.upto > p_most_bytes AND c.tenant_id = kept.tenant_id AND c.key = kept.key;
  GET DIAGNOSTICS v_surplus = ROW_COUNT;
  DELETE FROM cache_voids WHERE scope <> '' AND at < now() - make_interval(secs => p_voids_s);
  RETURN QUERY SELECT v_expired + v_surplus, count(*), COALESCE(sum(c.bytes), 0)::bigint FROM cached_answers c;
END
$$;
