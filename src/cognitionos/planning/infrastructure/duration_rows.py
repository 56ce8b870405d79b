"""What the tasks of a workflow took when it last went well: what the next run's order of work goes by."""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection

from cognitionos.planning.domain.task import PURE_KINDS, TaskSpec

RUNS_LOOKED_AT = 200
_LAST = """
SELECT id FROM (SELECT id, workflow, status, created_at FROM runs ORDER BY created_at DESC, id DESC LIMIT %s) AS recent
WHERE workflow = %s AND status = 'succeeded' ORDER BY created_at DESC LIMIT 1
"""
_SECONDS = """
SELECT key, extract(epoch FROM finished_at - started_at)::float8 FROM tasks
WHERE run_id = %s AND kind NOT IN ('value', 'condition') AND status = 'succeeded' AND finished_at > started_at
"""


async def seconds_of(
    connection: AsyncConnection[Any], workflow: str | None, tasks: Sequence[TaskSpec]
) -> dict[str, float]:
    """Seconds by key from the workflow's last run that succeeded; nothing where no two tasks could vie for a slot."""
    if workflow is None or sum(task.kind not in PURE_KINDS for task in tasks) < 2:
        return {}
    last = await (await connection.execute(_LAST, (RUNS_LOOKED_AT, workflow))).fetchone()
    if last is None:
        return {}
    return dict(await (await connection.execute(_SECONDS, (last[0],))).fetchall())
