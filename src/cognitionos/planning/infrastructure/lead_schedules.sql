-- Take or keep the lead over the schedules, and see what is due or comes next. No row: somebody else leads. A change of
-- holder raises the fence, so that what an earlier leader still wants to write is refused (`leads_schedules`).
CREATE OR REPLACE FUNCTION lead_schedules(me text, lease_s double precision, most int)
RETURNS TABLE (my_fence bigint, tenant uuid, schedule uuid, due_in_s double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  fence_now bigint;
BEGIN
  INSERT INTO leaders AS l (duty, holder, fence, lease_until)
  VALUES ('schedules', me, 1, now() + make_interval(secs => lease_s))
  ON CONFLICT (duty) DO UPDATE SET holder = me, lease_until = excluded.lease_until,
    fence = l.fence + CASE WHEN l.holder = me THEN 0 ELSE 1 END
  WHERE l.holder = me OR l.lease_until < now()
  RETURNING l.fence INTO fence_now;
  IF fence_now IS NULL THEN
    RETURN;
  END IF;
  RETURN QUERY
    (SELECT fence_now, s.tenant_id, s.id, 0::double precision
      FROM schedules s LEFT JOIN runs r ON r.id = s.last_run_id
      WHERE s.queued_for IS NOT NULL AND (r.id IS NULL OR r.finished_at IS NOT NULL) LIMIT most)
    UNION ALL
    (SELECT fence_now, s.tenant_id, s.id, extract(epoch FROM s.next_at - now())::double precision
      FROM schedules s WHERE s.next_at IS NOT NULL ORDER BY s.next_at LIMIT most);
  IF NOT FOUND THEN
    RETURN QUERY SELECT fence_now, NULL::uuid, NULL::uuid, NULL::double precision;
  END IF;
END
$$;
-- Whether `fence` is still the leader's; keeps it so until the caller's transaction ends.
CREATE OR REPLACE FUNCTION leads_schedules(my_fence bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM 1 FROM leaders l WHERE l.duty = 'schedules' AND l.fence = my_fence FOR SHARE;
  RETURN FOUND;
END
$$;
-- A leader that stops lets the next one begin at once.
CREATE OR REPLACE FUNCTION resign_schedules(me text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE leaders SET lease_until = '-infinity' WHERE duty = 'schedules' AND holder = me;
$$;
