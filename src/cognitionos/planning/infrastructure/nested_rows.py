"""Runs that a run has started: they end with it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.planning.domain.run import Run
from cognitionos.planning.infrastructure import open_tasks, parking_rows, run_rows
from cognitionos.planning.infrastructure.rows import RUN_COLUMNS, run_of, uuid_array

_BELOW = f"""
WITH RECURSIVE below AS (
  SELECT id FROM runs WHERE parent_run_id = %(run)s
    AND (%(tasks)s::uuid[] IS NULL OR parent_task_id = ANY(%(tasks)s::uuid[]))
  UNION ALL SELECT r.id FROM below b JOIN runs r ON r.parent_run_id = b.id
)
SELECT {RUN_COLUMNS} FROM runs
WHERE id IN (SELECT id FROM below) AND status NOT IN ('succeeded', 'failed', 'cancelled')
ORDER BY id FOR NO KEY UPDATE
"""  # noqa: S608 - a constant


async def cancel_below(connection: AsyncConnection[Any], run: Run, now: datetime) -> list[Run]:
    """Cancel every run below a locked one that ends, with their tasks, and close its questions; gives those runs.

    To be called before the tasks of `run` itself are locked.
    """
    nested = await _cancel(connection, run, None, now)
    await parking_rows.cancel_approvals(connection, [run.id])
    return nested


async def cancel_below_tasks(
    connection: AsyncConnection[Any], run: Run, task_ids: Sequence[UUID], now: datetime
) -> list[Run]:
    """Cancel the runs that these tasks of a locked run, which goes on, have started and no longer wait for."""
    return await _cancel(connection, run, uuid_array(task_ids), now)


async def _cancel(connection: AsyncConnection[Any], run: Run, tasks: str | None, now: datetime) -> list[Run]:
    cursor = await connection.execute(_BELOW, {"run": run.id, "tasks": tasks})
    nested = [run_of(row) for row in await cursor.fetchall()]
    for each in nested:
        events = each.cancel(now)
        await open_tasks.cancel(connection, each)
        await run_rows.append_events(connection, each, events, at=now)
        await run_rows.update_run(connection, each)
    await parking_rows.cancel_approvals(connection, [each.id for each in nested])
    return nested
