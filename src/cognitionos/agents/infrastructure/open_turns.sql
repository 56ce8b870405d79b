-- Turns of any tenant that nobody works on although they have not ended: their process is gone, or what they waited for
-- has been decided or has run out. Longest first.
CREATE OR REPLACE FUNCTION open_turns(grace_s double precision, most int)
RETURNS TABLE (tenant uuid, conversation uuid)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT t.tenant_id, t.conversation_id FROM conversation_turns t
  WHERE t.status IN ('running', 'waiting') AND t.lease_until < now() - make_interval(secs => grace_s)
  ORDER BY t.lease_until LIMIT most;
$$;
