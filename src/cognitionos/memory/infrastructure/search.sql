-- Candidates for one question in one project of the tenant that `app.tenant_id` names: the `wanted` nearest by meaning
-- and the `wanted` best by words. Full-text operators are not leakproof, so row-level security would turn their index
-- off: this function runs under a policy of its own and restricts every read to the tenant itself.
--
-- By meaning: up to `exact_up_to` items in the project, or where that costs less, each is compared (recall 1.0); else
-- the HNSW index is scanned until enough rows pass the filter. By words: each term's items come from the GIN index, where
-- the project is a term too, so that the intersection happens inside the index; the best are chosen by BM25 as if each
-- term occurred once (reading how often costs a hundred times more), and the caller ranks those by the real frequencies.
CREATE OR REPLACE FUNCTION memory_candidates(
  of_project uuid, question text, question_embedding halfvec, question_model text, of_kinds text[],
  least_confidence double precision, with_superseded boolean, at timestamptz, wanted int, exact_up_to int
)
RETURNS TABLE (
  candidate uuid, similarity double precision, frequencies int[], length int,
  matches int[], corpus_items bigint, corpus_words double precision, path text
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp 
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  of_tenant uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;
  lexemes text[] := tsvector_to_array(to_tsvector('english', question));
  project_term text := quote_literal('project:' || of_project);
  nearest uuid[] := '{}';
  items bigint;
  mean_words double precision;
  everyones double precision;
  how text := 'text';
BEGIN
  IF of_tenant IS NULL THEN
    RETURN;
  END IF;
  SELECT count(*), coalesce(avg(words), 0) INTO items, mean_words
  FROM memories WHERE tenant_id = of_tenant AND project_id = of_project;

  -- measured: 1.5 microseconds to compare an item, 10 to visit one in the index, where items of everyones are ours
  SELECT greatest(reltuples, items) INTO everyones FROM pg_class WHERE oid = 'memories'::regclass;
  IF question_embedding IS NOT NULL
     AND (items <= exact_up_to OR 1.5 * items * items < 10.0 * (400 * items + wanted * everyones)) THEN
    how := 'exact';
    nearest := ARRAY(  -- the sum keeps the planner away from the HNSW index
      SELECT id FROM memories
      WHERE tenant_id = of_tenant AND project_id = of_project AND embedding_model = question_model
        AND (of_kinds IS NULL OR kind = ANY (of_kinds)) AND confidence >= least_confidence AND valid_from <= at
        AND (with_superseded OR (superseded_by IS NULL AND (valid_until IS NULL OR valid_until > at)))
      ORDER BY (embedding <=> question_embedding) + 0, id LIMIT wanted
    );
  ELSIF question_embedding IS NOT NULL THEN
    how := 'index';
    PERFORM set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', '400', true),
            set_config('enable_sort', 'off', true);  -- the choice was made above: no plan but the index's
    nearest := ARRAY(
      SELECT id FROM memories
      WHERE tenant_id = of_tenant AND project_id = of_project AND embedding_model = question_model
        AND (of_kinds IS NULL OR kind = ANY (of_kinds)) AND confidence >= least_confidence AND valid_from <= at
        AND (with_superseded OR (superseded_by IS NULL AND (valid_until IS NULL OR valid_until > at)))
      ORDER BY embedding <=> question_embedding LIMIT wanted
    );
    PERFORM set_config('enable_sort', 'on', true);
  END IF;

  RETURN QUERY
  WITH asked AS (
    SELECT ordinality AS n, lexeme, (quote_literal(lexeme) || ' & ' || project_term)::tsquery AS here
    FROM unnest(lexemes) WITH ORDINALITY AS term (lexeme, ordinality)
  ),
  hits AS MATERIALIZED (
    SELECT asked.n, hit.id, hit.weight
    FROM asked CROSS JOIN LATERAL (
      SELECT id, 2.2 / (1.3 + 0.9 * words / greatest(mean_words, 1)) AS weight FROM memories
      WHERE terms @@ asked.here AND tenant_id = of_tenant AND project_id = of_project
        AND (of_kinds IS NULL OR kind = ANY (of_kinds)) AND confidence >= least_confidence AND valid_from <= at
        AND (with_superseded OR (superseded_by IS NULL AND (valid_until IS NULL OR valid_until > at)))
    ) AS hit
  ),
  counted AS (
    SELECT asked.n, count(hits.id)::int AS matching, ln((items + 1) / (count(hits.id) + 0.5::float8)) AS idf
    FROM asked LEFT JOIN hits USING (n) GROUP BY asked.n
  ),
  running AS (
    (SELECT hits.id FROM hits JOIN counted USING (n)
     GROUP BY hits.id ORDER BY sum(counted.idf * hits.weight) DESC, hits.id DESC LIMIT wanted)
    UNION
    SELECT unnest(nearest)
  )
  SELECT m.id,
         CASE WHEN m.embedding_model = question_model THEN 1 - (m.embedding <=> question_embedding) END,
         ARRAY(SELECT coalesce(cardinality(held.positions), 0)
               FROM asked LEFT JOIN unnest(m.terms) AS held USING (lexeme) ORDER BY asked.n),
         m.words,
         (SELECT coalesce(array_agg(counted.matching ORDER BY counted.n), '{}') FROM counted),
         items, mean_words, how
  FROM running JOIN memories m ON m.id = running.id AND m.tenant_id = of_tenant;
END
$$;

-- Memories of any tenant that still lack an embedding; each is put off for ten minutes, so that two workers share the
-- work and one text that cannot be embedded does not stand in the way of the others.
CREATE OR REPLACE FUNCTION memories_to_embed(batch int)
RETURNS TABLE (memory_id uuid, tenant uuid, project uuid, content text)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE memories SET embedding_due_at = now() + interval '10 minutes'
  WHERE id IN (
    SELECT id FROM memories WHERE embedding IS NULL AND embedding_due_at <= now()
    ORDER BY embedding_due_at LIMIT batch FOR UPDATE SKIP LOCKED
  )
  RETURNING id, tenant_id, project_id, content;
$$;
