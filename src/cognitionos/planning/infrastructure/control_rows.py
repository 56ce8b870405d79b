"""Pausing, resuming and retrying runs: what it does to the rows of their tasks, under the run's row lock."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.planning.domain.run import Run
from cognitionos.planning.infrastructure.rows import uuid_array

Connection = AsyncConnection[Any]

_NESTED = """
WITH RECURSIVE below AS (
  SELECT id FROM runs WHERE parent_run_id = %s UNION ALL SELECT r.id FROM below b JOIN runs r ON r.parent_run_id = b.id
) SELECT id FROM below ORDER BY id
"""
# not what was collected, nor what another plan has replaced
_BADLY = """a.status IN ('failed', 'cancelled') AND NOT (
  a.spec -> '$state' ? 'collect'
  AND EXISTS (SELECT FROM tasks m WHERE m.id = ANY(a.dependents) AND m.status = 'succeeded')
) AND NOT coalesce(a.spec -> '$state', '{}') ? 'replaced'"""
_ENDED_BADLY = f"SELECT a.id, a.fence FROM tasks a WHERE a.run_id = %s AND {_BADLY} ORDER BY a.id"  # noqa: S608 - a constant
_FAILED_BELOW = f"""
WITH RECURSIVE again AS (
  SELECT %s::uuid AS id
  UNION ALL
  SELECT r.id FROM again g JOIN tasks a ON a.run_id = g.id JOIN runs r ON r.parent_task_id = a.id
  WHERE {_BADLY} AND a.kind = 'workflow' AND a.spec -> '$state' ->> 'run_id' = r.id::text
    AND r.parent_run_id = g.id AND r.status IN ('failed', 'cancelled')
) SELECT id FROM again WHERE id <> %s ORDER BY id
"""  # noqa: S608 - a constant
# what a task waited for is forgotten, but for the run it had started, whose end wakes it; what it is of a map stays;
# a map waits for its items again. What is under way so has all its time (`within_s`, its own or its map's) before it.
_OPEN_AGAIN = f"""
UPDATE tasks t SET pending_deps = n.pending, status = CASE WHEN n.pending = 0 THEN 'ready' ELSE 'pending' END,
  ready_at = CASE WHEN n.pending = 0 THEN
    now() + CASE WHEN n.is_below THEN make_interval(secs => coalesce(n.within_s, 1e9)) ELSE '0' END END,
  attempt = 0, failures = 0, error = NULL, output = NULL, output_payload = NULL, output_bytes = NULL, details = NULL,
  started_at = NULL, finished_at = NULL,
  spec = t.spec - '$state' || coalesce((
    SELECT jsonb_build_object('$state', jsonb_object_agg(s.key, s.value) || coalesce(
      CASE WHEN n.within_s IS NOT NULL
        THEN jsonb_build_object('deadline', now() + make_interval(secs => n.within_s)) END, '{{}}'))
    FROM jsonb_each(t.spec -> '$state') s
    WHERE s.key IN ('item', 'index', 'collect', 'items', 'run_id', 'continues', 'workflow', 'version')
    HAVING count(*) > 0), '{{}}')
FROM (
  SELECT a.id, a.position, a.is_held::int + (
    SELECT count(*) FROM tasks d WHERE d.id = ANY(a.dependencies) AND d.status NOT IN ('succeeded', 'skipped')
  ) + CASE WHEN a.spec -> '$state' ? 'items' THEN (
    SELECT count(*) FROM tasks i WHERE i.run_id = a.run_id AND i.dependents = ARRAY[a.id]
      AND i.spec -> '$state' ? 'item' AND i.status <> 'succeeded'
  ) ELSE 0 END AS pending, coalesce(a.spec -> '$state' ->> 'run_id' = ANY(%s), false) AS is_below,
  least(
    CASE WHEN a.spec -> '$state' ?| ARRAY['items', 'run_id'] THEN (a.spec ->> 'within_s')::float8 END,
    CASE WHEN a.spec -> '$state' ? 'item' THEN (
      SELECT (m.spec ->> 'within_s')::float8 FROM tasks m WHERE m.id = a.dependents[1]) END
  ) AS within_s
  FROM tasks a WHERE a.run_id = %s AND {_BADLY}
) AS n WHERE t.id = n.id RETURNING t.key, t.position, t.id
"""  # noqa: S608 - a constant
_SET_ASIDE = """
UPDATE approvals SET key = key || '/' || id WHERE task_id = ANY(%s::uuid[]) AND status <> 'pending'
"""


async def nested(connection: Connection, run_id: UUID) -> list[UUID]:
    """The runs below this one, in id order: each comes after the one that started it."""
    return [row[0] for row in await (await connection.execute(_NESTED, (run_id,))).fetchall()]


async def ended_badly(connection: Connection, run_id: UUID) -> list[tuple[UUID, int]]:
    """The tasks that failed or were cancelled, each with its fencing number."""
    return list(await (await connection.execute(_ENDED_BADLY, (run_id,))).fetchall())


async def failed_below(connection: Connection, run_id: UUID) -> list[UUID]:
    """The runs that failed or were cancelled below tasks that did, each after the one that started it."""
    return [row[0] for row in await (await connection.execute(_FAILED_BELOW, (run_id, run_id))).fetchall()]


async def open_again(connection: Connection, run: Run, *, below: Collection[UUID]) -> Sequence[str]:
    """Let the tasks that failed or were cancelled start anew; gives their keys, in order.

    Those that had started one of the runs `below`, which go on, wait for it.
    """
    rows = await (await connection.execute(_OPEN_AGAIN, ([str(each) for each in below], run.id))).fetchall()
    await connection.execute(_SET_ASIDE, (uuid_array([row[2] for row in rows]),))
    return [row[0] for row in sorted(rows, key=lambda row: int(row[1]))]
