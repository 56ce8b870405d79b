"""What a run has come to when one of its tasks is planned anew."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from cognitionos.planning.domain.replan import REPLAN, FinishedTask, History, NothingToReplace
from cognitionos.planning.domain.step import text_of
from cognitionos.planning.domain.task import ClaimedTask
from cognitionos.planning.infrastructure.rows import dumps
from cognitionos.platform.database import Database

MOST_FINISHED = 12
"""So many of the newest; whatever the replaced task depended on comes first."""

_GOAL = "SELECT spec FROM tasks WHERE run_id = %s AND kind = 'plan' ORDER BY position LIMIT 1"
_FAILED = """
SELECT t.id, t.key, t.spec, t.dependents,
  ARRAY(SELECT d.key FROM tasks d WHERE d.id = ANY(t.dependencies) AND d.status = 'succeeded' ORDER BY d.position)
    AS depends_on
FROM tasks t WHERE t.run_id = %s AND t.id = %s
"""
_FINISHED = """
SELECT t.id, t.key, t.spec ->> 'title' AS title, coalesce(p.body, t.output) AS output
FROM tasks t LEFT JOIN payloads p ON p.id = t.output_payload
WHERE t.run_id = %s AND t.status = 'succeeded' AND t.kind <> 'plan'
ORDER BY t.key = ANY(%s) DESC, t.position DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanHistory:
    """Reads it; what has ended stays as it is while the new plan is made."""

    database: Database

    async def __call__(self, task: ClaimedTask) -> History:
        """Of the run of `task`, a `plan` task that replaces another. Raises `NothingToReplace`."""
        async with self.database.transaction(task.tenant_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            goal = await (await cursor.execute(_GOAL, (task.run_id,))).fetchone()
            failed = await (await cursor.execute(_FAILED, (task.run_id, task.spec[REPLAN]["task_id"]))).fetchone()
            if goal is None or failed is None:
                raise NothingToReplace(f"The task '{task.spec[REPLAN]['key']}' is no longer part of the run.")
            values = (task.run_id, failed["depends_on"], max(MOST_FINISHED, len(failed["depends_on"])))
            finished = await (await cursor.execute(_FINISHED, values)).fetchall()
        return History(
            goal=goal["spec"],
            task_id=failed["id"],
            key=failed["key"],
            title=str(failed["spec"].get("title") or failed["key"]),
            instructions=str(failed["spec"].get("instructions") or ""),
            depends_on=tuple(failed["depends_on"]),
            dependents=tuple(failed["dependents"]),
            finished=tuple(_finished(row) for row in reversed(finished)),
        )


def _finished(row: Mapping[str, Any]) -> FinishedTask:
    text = text_of(row["output"])
    shown = text if text is not None else dumps(row["output"]).decode()
    return FinishedTask(id=row["id"], key=row["key"], title=row["title"] or row["key"], text=shown)
