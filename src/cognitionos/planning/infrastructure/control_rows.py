"""Pausing, resuming and retrying runs: what it does to the rows of their tasks, under the run's row lock."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.planning.domain.run import Run
from cognitionos.planning.infrastructure import run_rows

Connection = AsyncConnection[Any]

_RELEASE = "UPDATE tasks SET status = 'ready' WHERE run_id = %s AND status = 'paused'"
_ENDED_BADLY = "SELECT id, fence FROM tasks WHERE run_id = %s AND status IN ('failed', 'cancelled') ORDER BY id"
_OPEN_AGAIN = """
UPDATE tasks t SET pending_deps = n.pending, status = CASE WHEN n.pending = 0 THEN 'ready' ELSE 'pending' END,
  ready_at = CASE WHEN n.pending = 0 THEN now() END, attempt = 0, failures = 0, error = NULL, output = NULL,
  output_payload = NULL, details = NULL, started_at = NULL, finished_at = NULL
FROM (
  SELECT a.id, a.position, (
    SELECT count(*) FROM tasks d WHERE d.id = ANY(a.dependencies) AND d.status NOT IN ('succeeded', 'skipped')
  ) AS pending
  FROM tasks a WHERE a.run_id = %s AND a.status IN ('failed', 'cancelled')
) AS n WHERE t.id = n.id RETURNING t.key, t.position
"""


async def pause_tasks(connection: Connection, run: Run) -> None:
    """Hold what is ready. Waits for whoever takes or gives back a task of the run at this moment."""
    await run_rows.lock_open_tasks(connection, run)
    await run_rows.hold_ready_tasks(connection, run)


async def release_tasks(connection: Connection, run: Run) -> None:
    """What was held is ready, when its back-off is over."""
    await connection.execute(_RELEASE, (run.id,))


async def ended_badly(connection: Connection, run_id: UUID) -> list[tuple[UUID, int]]:
    """The tasks that failed or were cancelled, each with its fencing number."""
    return list(await (await connection.execute(_ENDED_BADLY, (run_id,))).fetchall())


async def open_again(connection: Connection, run: Run) -> Sequence[str]:
    """Let the tasks that failed or were cancelled start anew; gives their keys, in order."""
    rows = await (await connection.execute(_OPEN_AGAIN, (run.id,))).fetchall()
    return [key for key, _ in sorted(rows, key=lambda row: int(row[1]))]
