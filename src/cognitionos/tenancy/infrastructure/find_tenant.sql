-- The operator's command line names tenants by their name; it has no credential of theirs.
CREATE OR REPLACE FUNCTION find_tenant(wanted text)
RETURNS TABLE (tenant_id uuid, first_project_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
  SELECT t.tenant_id, (SELECT p.id FROM projects p WHERE p.tenant_id = t.tenant_id ORDER BY p.created_at, p.id LIMIT 1)
  FROM tenants t WHERE lower(t.name) = lower(wanted)
$$;
