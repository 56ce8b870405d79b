-- What opened and closed of the tenant's own deployments and of the installation's, latest first: the tenant's by the
-- setting, nobody else's. `p_before` is the id of the last one shown. Without a tenant, nothing.
CREATE OR REPLACE FUNCTION llm_circuit_changes(p_deployment text, p_before bigint, p_most int)
RETURNS SETOF circuit_changes
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_own text := 'tenant:' || nullif(current_setting('app.tenant_id', true), '');
BEGIN
  IF v_own IS NULL THEN
    RETURN;
  END IF;
  RETURN QUERY
    SELECT latest.* FROM unnest(ARRAY[v_own, '']) AS o (owner), LATERAL (
      SELECT c.* FROM circuit_changes c
      WHERE c.owner = o.owner AND (p_before IS NULL OR c.id < p_before)
        AND (p_deployment IS NULL OR c.deployment = concat_ws('/', nullif(o.owner, ''), p_deployment))
      ORDER BY c.id DESC LIMIT p_most
    ) latest
    ORDER BY latest.id DESC LIMIT p_most;
END
$$;
