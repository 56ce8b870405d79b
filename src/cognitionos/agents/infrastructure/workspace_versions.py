"""What stood in a run's files before a later task replaced or removed it: forks and retries go back to it.

`workspace_files` holds the files as they are. Of each name `workspace_versions` holds the last state that each other
task left, in order, that it was removed included; so the newest state of any choice of tasks can be told.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.agents.domain.workspace import MAX_EARLIER_BYTES, EarlierFileGone

# parallel writers of one run take turns, so that they cannot exceed the run's size together
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
_NEWER = """
ON CONFLICT (run_id, name, task_id) DO UPDATE SET number = EXCLUDED.number, state = EXCLUDED.state,
  media_type = EXCLUDED.media_type, bytes = EXCLUDED.bytes, sha256 = EXCLUDED.sha256, content = EXCLUDED.content
"""
_KEEP = f"""
INSERT INTO workspace_versions (tenant_id, run_id, name, task_id, state, media_type, bytes, sha256, content)
SELECT tenant_id, run_id, name, task_id, 'kept', media_type, bytes, sha256, content
FROM workspace_files WHERE run_id = %s AND name = ANY(%s) ORDER BY name {_NEWER}
"""  # noqa: S608 - words of ours
_MAKE_ROOM = """
UPDATE workspace_versions v SET state = 'dropped', content = NULL
FROM (
  SELECT number, sum(bytes) OVER (ORDER BY number DESC) AS bytes FROM workspace_versions
  WHERE run_id = %(run)s AND state = 'kept'
) up_to
WHERE v.run_id = %(run)s AND v.number = up_to.number AND up_to.bytes > %(most)s
"""
# a name that nobody else wrote needs no mark: without one it is not there either
_MARK_REMOVED = f"""
INSERT INTO workspace_versions (tenant_id, run_id, name, task_id, state)
SELECT DISTINCT tenant_id, run_id, name, %s::uuid, 'removed'
FROM workspace_versions WHERE run_id = %s AND name = ANY(%s) {_NEWER}
"""  # noqa: S608 - words of ours
_UNDO = (
    "DELETE FROM workspace_versions WHERE run_id = %s AND task_id = ANY(%s)",
    "DELETE FROM workspace_files WHERE run_id = %s AND task_id = ANY(%s)",
)
_COPY = (
    """
    INSERT INTO workspace_files (tenant_id, run_id, name, origin, media_type, bytes, sha256, content, task_id)
    SELECT f.tenant_id, %(to_run)s, f.name, f.origin, f.media_type, f.bytes, f.sha256, f.content, t.new
    FROM workspace_files f LEFT JOIN unnest(%(old)s::uuid[], %(new)s::uuid[]) AS t(old, new) ON t.old = f.task_id
    WHERE f.run_id = %(run)s AND (f.task_id IS NULL OR t.new IS NOT NULL)
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO workspace_versions (tenant_id, run_id, number, name, task_id, state, media_type, bytes, sha256, content)
    SELECT v.tenant_id, %(to_run)s, v.number, v.name, t.new, v.state, v.media_type, v.bytes, v.sha256, v.content
    FROM workspace_versions v LEFT JOIN unnest(%(old)s::uuid[], %(new)s::uuid[]) AS t(old, new) ON t.old = v.task_id
    WHERE v.run_id = %(run)s AND (v.task_id IS NULL OR t.new IS NOT NULL)
    ON CONFLICT DO NOTHING
    """,
)
_NEWEST = """
WITH newest AS (
  SELECT DISTINCT ON (v.name) v.* FROM workspace_versions v
  WHERE v.run_id = %s AND NOT EXISTS (SELECT FROM workspace_files f WHERE f.run_id = v.run_id AND f.name = v.name)
  ORDER BY v.name, v.number DESC
)
"""
_BRING_BACK = f"""
{_NEWEST}, back AS (
  INSERT INTO workspace_files (tenant_id, run_id, name, origin, media_type, bytes, sha256, content, task_id)
  SELECT tenant_id, run_id, name, 'output', media_type, bytes, sha256, content, task_id FROM newest
  WHERE state = 'kept'
)
DELETE FROM workspace_versions v USING newest n WHERE n.state = 'kept' AND v.run_id = n.run_id AND v.number = n.number
"""  # noqa: S608 - words of ours
_GONE = f"{_NEWEST} SELECT name FROM newest WHERE state = 'dropped' ORDER BY name"  # noqa: S608 - words of ours


async def take_turns(connection: AsyncConnection[Any], run_id: UUID) -> None:
    """Wait for whoever changes the run's files now; who comes later waits for this transaction's end."""
    await connection.execute(_ONE_AT_A_TIME, (f"workspace:{run_id}",))


async def keep_earlier(connection: AsyncConnection[Any], run_id: UUID, names: Sequence[str]) -> None:
    """Keep these files as they are, for another task is about to replace or remove them; the oldest make room."""
    if names:
        await connection.execute(_KEEP, (run_id, list(names)))
        await connection.execute(_MAKE_ROOM, {"run": run_id, "most": MAX_EARLIER_BYTES})


async def mark_removed(connection: AsyncConnection[Any], run_id: UUID, task_id: UUID, names: Sequence[str]) -> None:
    """These were removed by the task: it is the state that it left of them."""
    await connection.execute(_MARK_REMOVED, (task_id, run_id, list(names)))


async def undo(connection: AsyncConnection[Any], run_id: UUID, tasks: Collection[UUID]) -> None:
    """Let the run's files be as if these tasks had done nothing. Raises `EarlierFileGone`."""
    if not tasks:
        return
    await take_turns(connection, run_id)
    for statement in _UNDO:
        await connection.execute(statement, (run_id, list(tasks)))
    await _bring_back(connection, run_id)


async def copy_files(
    connection: AsyncConnection[Any], run_id: UUID, *, to_run: UUID, tasks: Mapping[UUID, UUID]
) -> None:
    """Give another run the inputs, and what these tasks wrote as they left it; each is called there as it says.

    Raises `EarlierFileGone`.
    """
    values = {"run": run_id, "to_run": to_run, "old": list(tasks), "new": list(tasks.values())}
    for statement in _COPY:
        await connection.execute(statement, values)
    await _bring_back(connection, to_run)


async def _bring_back(connection: AsyncConnection[Any], run_id: UUID) -> None:
    """What was taken away from above the newest states makes these the run's files."""
    await connection.execute(_BRING_BACK, (run_id,))
    gone = [row[0] for row in await (await connection.execute(_GONE, (run_id,))).fetchall()]
    if gone:
        shown = ", ".join(f"'{name}'" for name in gone[:10])
        raise EarlierFileGone(
            f"{shown} cannot be had as it stood there: of what later tasks replaced, a run keeps the newest "
            f"{MAX_EARLIER_BYTES} bytes. Begin at an earlier task, one that writes it."
        )
