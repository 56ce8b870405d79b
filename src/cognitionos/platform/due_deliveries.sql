-- Outbox rows that are due and alive, of every tenant; each is put off for a minute, so two sweepers share the work.
CREATE OR REPLACE FUNCTION due_deliveries(batch int)
RETURNS TABLE (delivery_id uuid, tenant uuid)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE outbox SET due_at = now() + interval '60 seconds'
  WHERE id IN (
    SELECT id FROM outbox WHERE due_at <= now() AND dead_at IS NULL
    ORDER BY due_at LIMIT batch FOR UPDATE SKIP LOCKED
  )
  RETURNING id, tenant_id;
$$;
