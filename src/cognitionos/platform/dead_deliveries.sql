-- What subscribers failed at until the attempts were used up, of every tenant, latest first.
CREATE OR REPLACE FUNCTION dead_deliveries(most int)
RETURNS TABLE (
  delivery_id uuid, tenant uuid, event text, told text, tries int, why text, published_at timestamptz, died_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT id, tenant_id, event_type, subscriber, attempts, error, created_at, dead_at FROM outbox
  WHERE dead_at IS NOT NULL ORDER BY dead_at DESC LIMIT most
$$;

-- Try again what died: these, or all. Gives how many; the sweep delivers them.
CREATE OR REPLACE FUNCTION revive_deliveries(ids uuid[])
RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  WITH revived AS (
    UPDATE outbox SET dead_at = NULL, attempts = 0, due_at = now()
    WHERE dead_at IS NOT NULL AND (ids IS NULL OR id = ANY(ids)) RETURNING 1
  )
  SELECT count(*) FROM revived
$$;
