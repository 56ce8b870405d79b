-- The newest turns of the tenant that `app.tenant_id` names in which all words of `question` stand (as web searches are
-- written: "a phrase", -without, or). Full-text operators are not leakproof, so row-level security would turn their index
-- off: this function runs under a policy of its own and restricts every read to the tenant itself.
CREATE OR REPLACE FUNCTION search_turns(question text, of_user text, most int)
RETURNS TABLE (conversation uuid, turn int, title text, agent text, user_name text, excerpt text, at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
  of_tenant uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;
  asked tsquery := websearch_to_tsquery('simple', question);
BEGIN
  IF of_tenant IS NULL OR numnode(asked) = 0 THEN
    RETURN;
  END IF;
  RETURN QUERY
  WITH found AS (
    SELECT t.conversation_id, t.number, t.message || ' ' || coalesce(t.answer, '') AS said, t.started_at,
      c.title, c.agent, coalesce(c.user_name, t.user_name) AS user_name
    FROM conversation_turns t JOIN conversations c ON c.id = t.conversation_id
    WHERE t.tenant_id = of_tenant AND (of_user IS NULL OR of_user IN (c.user_name, t.user_name))
      AND to_tsvector('simple', t.message || ' ' || coalesce(t.answer, ''))
        || array_to_tsvector(ARRAY['tenant:' || t.tenant_id])
        @@ (asked && quote_literal('tenant:' || of_tenant)::tsquery)
    ORDER BY t.started_at DESC, t.id DESC LIMIT most
  )
  SELECT f.conversation_id, f.number, f.title, f.agent, f.user_name,
    ts_headline('simple', f.said, asked, 'MaxWords=30, MinWords=10, StartSel="", StopSel=""'), f.started_at
  FROM found f ORDER BY f.started_at DESC;
END
$$;
