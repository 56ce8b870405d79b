-- Finding a key comes before anyone knows the tenant, so it looks across tenants. It gives the one row with that
-- prefix; the caller proves the secret by its hash.
CREATE OR REPLACE FUNCTION find_api_key(wanted text)
RETURNS TABLE (id uuid, tenant_id uuid, project_id uuid, secret_hash bytea, scopes text[],
               expires_at timestamptz, revoked_at timestamptz, last_used_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
  SELECT k.id, k.tenant_id, k.project_id, k.secret_hash, k.scopes, k.expires_at, k.revoked_at, k.last_used_at
  FROM api_keys k WHERE k.prefix = wanted
$$;
