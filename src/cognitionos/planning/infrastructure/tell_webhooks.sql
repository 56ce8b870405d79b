-- A delivery and its outbox row for each webhook that asked for what is being written, in the same commit, whoever
-- writes it. Runs with the rights and the tenant of the writer; a tenant without webhooks pays one look at an index.
CREATE OR REPLACE FUNCTION tell_webhooks() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM webhooks w WHERE w.disabled_at IS NULL) THEN
    WITH told AS (
      INSERT INTO webhook_deliveries (id, tenant_id, webhook_id, event, run_id, body)
      SELECT gen_random_uuid(), a.tenant_id, w.id, a.kind, a.run_id, json_build_object(
        'type', a.kind, 'timestamp', a.at,
        'data', json_build_object(
          'run_id', a.run_id, 'run_href', '/v1/runs/' || a.run_id, 'seq', a.seq, 'task', a.task_key, 'details', a.data
        )
      )::text
      FROM added a JOIN webhooks w ON w.tenant_id = a.tenant_id AND a.kind = ANY (w.events) AND w.disabled_at IS NULL
      RETURNING id, tenant_id
    )
    INSERT INTO outbox (id, tenant_id, event_type, subscriber, payload, due_at)
    SELECT gen_random_uuid(), t.tenant_id, 'WebhookDue', 'planning.webhooks',
      jsonb_build_object('tenant_id', t.tenant_id, 'at', now(), 'event_id', gen_random_uuid(), 'delivery_id', t.id), now()
    FROM told t;
  END IF;
  RETURN NULL;
END
$$;
