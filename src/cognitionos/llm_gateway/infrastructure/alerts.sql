-- Alerts that nobody was told of yet, of every tenant, oldest first.
CREATE OR REPLACE FUNCTION llm_untold_alerts(p_most int)
RETURNS TABLE (alert_id uuid, tenant uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  RETURN QUERY SELECT a.id, a.tenant_id FROM budget_alerts a WHERE a.told_at IS NULL ORDER BY a.at LIMIT p_most;
END
$$;
