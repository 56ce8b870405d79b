"""What happens to all open tasks of a run at once: cancelled, held, let go. One statement, with an event for each task.

The caller holds the run's row lock, and writes the run with its `last_seq` afterwards.
"""

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from cognitionos.planning.domain.run import Run

Connection = AsyncConnection[Any]

_LOCK = """
SELECT 1 FROM tasks WHERE run_id = %s AND status IN ('pending', 'ready', 'paused', 'running')
ORDER BY id FOR NO KEY UPDATE
"""
_CANCEL = """
UPDATE tasks SET status = 'cancelled', finished_at = %(at)s, lease_owner = NULL, lease_until = NULL
WHERE run_id = %(run)s AND status IN ('pending', 'ready', 'paused', 'running')
"""
_HOLD = "UPDATE tasks SET status = 'paused' WHERE run_id = %(run)s AND status = 'ready'"
_RELEASE = "UPDATE tasks SET status = 'ready' WHERE run_id = %(run)s AND status = 'paused'"
_TOLD = """
WITH changed AS ({change} RETURNING key, position), told AS (
  INSERT INTO run_events (run_id, seq, tenant_id, at, kind, task_key, data)
  SELECT %(run)s, %(seq)s + row_number() OVER (ORDER BY position), %(tenant)s, %(at)s, %(kind)s, key, '{{}}'
  FROM changed RETURNING 1
) SELECT count(*) FROM told
"""


async def lock(connection: Connection, run: Run) -> None:
    """Lock every task of `run` that has not ended, in id order as everywhere."""
    await connection.execute(_LOCK, (run.id,))


async def cancel(connection: Connection, run: Run) -> None:
    """End every task of `run` that has not ended. Whoever runs one finds its lease gone."""
    await lock(connection, run)
    await _change(connection, run, _CANCEL, kind="task.cancelled", at=run.finished_at)


async def hold(connection: Connection, run: Run, *, at: datetime) -> int:
    """Keep what is ready in a paused run from being claimed; gives its number."""
    return await _change(connection, run, _HOLD, kind="task.paused", at=at)


async def release(connection: Connection, run: Run, *, at: datetime) -> None:
    """What was held is ready, when its back-off is over."""
    await _change(connection, run, _RELEASE, kind="task.resumed", at=at)


async def _change(connection: Connection, run: Run, change: str, *, kind: str, at: datetime | None) -> int:
    values = {"run": run.id, "seq": run.last_seq, "tenant": run.tenant_id, "at": at, "kind": kind}
    row = await (await connection.execute(_TOLD.format(change=change), values)).fetchone()
    number = int(row[0]) if row else 0
    run.last_seq += number
    return number
