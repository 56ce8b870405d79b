"""The rows of forks: an earlier run's tasks are read, and written anew with what is kept of them, in bulk."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.planning.domain.fork import SnapshotNotFound
from cognitionos.planning.domain.forked import ForkedTask, OldTask
from cognitionos.planning.domain.run import Run
from cognitionos.planning.infrastructure.rows import dumps, uuid_array

Connection = AsyncConnection[Any]

_SNAPSHOT = "SELECT seq FROM run_snapshots WHERE run_id = %s AND name = %s"
_OLD = """
SELECT t.id, t.position, t.key, t.kind,
  (t.status = 'succeeded' OR t.status = 'failed' AND t.spec -> '$state' ?| ARRAY['collect', 'replaced'])
    AND (%(seq)s::bigint IS NULL OR t.reused_from IS NOT NULL OR e.task_key IS NOT NULL) AS is_done,
  CASE WHEN t.spec::text LIKE '%%"$ref": "run.input%%' THEN ARRAY(
    SELECT found[1]::jsonb #>> '{}'
    FROM regexp_matches(t.spec::text, '"\\$ref": ("run\\.input(?:[^"\\\\]|\\\\.)*")', 'g') AS found
  ) ELSE '{}' END AS reads, t.dependents,
  t.status = 'skipped' AND %(seq)s::bigint IS NULL AS is_skipped,
  CASE WHEN t.spec -> '$state' ? 'item' THEN regexp_replace(t.key, '\\[[0-9]+\\]$', '') END AS items_of,
  t.status = 'failed' AND coalesce(t.spec -> '$state', '{}') ? 'replaced' AS is_replaced,
  CASE WHEN jsonb_typeof(t.spec -> 'concurrency') = 'number' THEN (t.spec ->> 'concurrency')::int ELSE 10 END,
  CASE WHEN t.kind = 'workflow' THEN coalesce(t.spec -> '$state' ->> 'run_id', t.spec -> '$state' ->> 'continues') END
FROM tasks t LEFT JOIN (
  SELECT DISTINCT r.task_key FROM run_events r
  WHERE r.run_id = %(run)s AND r.seq <= %(seq)s AND r.kind IN ('task.succeeded', 'task.failed')
) AS e ON e.task_key = t.key
WHERE t.run_id = %(run)s ORDER BY t.position
"""
_SPECS = "SELECT key, spec FROM tasks WHERE run_id = %s AND key = ANY(%s)"
_MAPPED = """
FROM unnest(%(ids)s::uuid[], %(old)s::uuid[], %(positions)s::int[], %(reused)s::bool[], %(dependencies)s::text[],
  %(dependents)s::text[], %(pending)s::int[], %(skipped)s::int[], %(specs)s::text[], %(items)s::int[], %(held)s::bool[],
  %(continues)s::text[])
  AS d(id, old, position, is_reused, dependencies, dependents, pending, skipped, spec, items, is_held, continues)
JOIN tasks o ON o.id = d.old
"""
_PAYLOADS = """
INSERT INTO payloads (id, tenant_id, run_id, body)
SELECT d.id, o.tenant_id, %s, p.body FROM unnest(%s::uuid[], %s::uuid[]) AS d(id, old)
JOIN tasks o ON o.id = d.old JOIN payloads p ON p.id = o.output_payload
"""
# what a task is of a map stays, what a map has of items, and of which run its own is a fork; it has all its time
# (`within_s`) before it
_STATE = """coalesce((
    SELECT jsonb_build_object('$state', jsonb_object_agg(s.key, s.value)) FROM (
      SELECT e.key, e.value FROM jsonb_each(o.spec -> '$state') e
      WHERE o.spec -> '$state' ? 'item' AND e.key IN ('item', 'index', 'collect')
      UNION ALL SELECT 'items', to_jsonb(d.items) WHERE d.items IS NOT NULL
      UNION ALL SELECT 'continues', to_jsonb(d.continues) WHERE d.continues IS NOT NULL
      UNION ALL SELECT 'deadline', to_jsonb(now() + make_interval(secs => (m.spec ->> 'within_s')::float8)) FROM tasks m
      WHERE m.id = CASE WHEN d.items IS NOT NULL THEN o.id WHEN o.spec -> '$state' ? 'item' THEN o.dependents[1] END
        AND m.spec ? 'within_s'
    ) s HAVING count(*) > 0), '{}')"""
_TASKS = f"""
INSERT INTO tasks (id, tenant_id, run_id, position, key, kind, is_pure, priority, status, spec, retry, timeout_s,
  dependencies, dependents, pending_deps, skipped_deps, is_held, ready_at, output, output_payload, output_bytes,
  details, error, started_at, finished_at, reused_from)
SELECT d.id, o.tenant_id, %(run)s, d.position, o.key, o.kind, o.is_pure, o.priority,
  CASE WHEN d.is_reused THEN o.status WHEN d.pending = 0 THEN 'ready' ELSE 'pending' END,
  CASE WHEN d.is_reused THEN o.spec ELSE coalesce(d.spec::jsonb, o.spec) - '$state' || {_STATE} END,
  o.retry, o.timeout_s, d.dependencies::uuid[], d.dependents::uuid[], d.pending, d.skipped, d.is_held,
  CASE WHEN NOT d.is_reused AND d.pending = 0 THEN now() END,
  CASE WHEN d.is_reused THEN o.output END, CASE WHEN d.is_reused AND o.output_payload IS NOT NULL THEN d.id END,
  CASE WHEN d.is_reused THEN o.output_bytes END,
  CASE WHEN d.is_reused THEN o.details END, CASE WHEN d.is_reused THEN o.error END,
  CASE WHEN d.is_reused THEN o.started_at END, CASE WHEN d.is_reused THEN o.finished_at END,
  CASE WHEN d.is_reused THEN coalesce(o.reused_from, o.id) END {_MAPPED}
"""


async def snapshot_seq(connection: Connection, run_id: UUID, name: str) -> int:
    """Up to which event the snapshot goes, or `SnapshotNotFound`."""
    row = await (await connection.execute(_SNAPSHOT, (run_id, name))).fetchone()
    if row is None:
        raise SnapshotNotFound(f"The run {run_id} has no snapshot '{name[:100]}'.")
    return int(row[0])


async def old_tasks(connection: Connection, run_id: UUID, *, seq: int | None) -> list[OldTask]:
    """The run's tasks in order, as they were after event `seq`, else as they are."""
    cursor = await connection.execute(_OLD, {"run": run_id, "seq": seq})
    return [
        OldTask(
            id=row[0],
            position=row[1],
            key=row[2],
            kind=row[3],
            is_done=row[4],
            reads=frozenset(row[5]),
            dependents=tuple(row[6]),
            is_skipped=row[7],
            items_of=row[8],
            is_replaced=row[9],
            at_once=row[10],
            nested=None if row[11] is None else UUID(row[11]),
        )
        for row in await cursor.fetchall()
    ]


async def specs_of(connection: Connection, run_id: UUID, keys: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """What these tasks were asked for as."""
    return dict(await (await connection.execute(_SPECS, (run_id, list(keys)))).fetchall())


async def insert_forked(connection: Connection, run: Run, tasks: Sequence[ForkedTask]) -> None:
    """Write the tasks of a fork; what is reused comes with its output."""
    values = {
        "run": run.id,
        "ids": uuid_array([task.id for task in tasks]),
        "old": uuid_array([task.old.id for task in tasks]),
        "positions": [task.position for task in tasks],
        "reused": [task.is_reused for task in tasks],
        "dependencies": [uuid_array(task.dependencies) for task in tasks],
        "dependents": [uuid_array(task.dependents) for task in tasks],
        "pending": [task.pending for task in tasks],
        "skipped": [task.skipped for task in tasks],
        "items": [task.items for task in tasks],
        "held": [task.is_held for task in tasks],
        "continues": [None if task.continues is None else str(task.continues) for task in tasks],
        "specs": [None if task.spec is None else dumps(task.spec).decode() for task in tasks],
    }
    reused = [task for task in tasks if task.is_reused]
    ids, old = uuid_array([task.id for task in reused]), uuid_array([task.old.id for task in reused])
    await connection.execute(_PAYLOADS, (run.id, ids, old))
    await connection.execute(_TASKS, values)
