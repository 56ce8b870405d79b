"""Recordings: everything of a finished run that a replay needs, as one JSON document."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from cognitionos import __version__
from cognitionos.planning.application.replay import FORMAT, RunNotOver
from cognitionos.planning.domain.run import RunNotFound, RunStatus
from cognitionos.platform.database import Database

Journals = Callable[[UUID, UUID], Awaitable[list[dict[str, Any]]]]

_RUN = """
SELECT r.id::text, r.status, r.input, r.workflow, r.workflow_version, g.statement FROM runs r
LEFT JOIN goals g ON g.id = r.goal_id WHERE r.id = %s
"""
_TASKS = """
SELECT t.id::text, t.key, t.kind, t.spec, t.status, t.timeout_s, t.reused_from::text, t.error,
  coalesce(p.body, t.output) AS output,
  ARRAY(SELECT d.key FROM tasks d WHERE d.id = ANY(t.dependencies) ORDER BY d.position) AS depends_on
FROM tasks t LEFT JOIN payloads p ON p.id = t.output_payload WHERE t.run_id = %s ORDER BY t.position
"""
_TOLD = """
SELECT DISTINCT ON (task_key, kind) task_key, kind, data FROM run_events
WHERE run_id = %s AND kind IN ('memory.recalled', 'plan.considered') ORDER BY task_key, kind, seq DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """Makes them, from what the run has stored."""

    database: Database
    journals: Journals

    async def of_run(self, tenant_id: UUID, run_id: UUID) -> dict[str, Any]:
        """The run's. Raises `RunNotFound`, `RunNotOver`."""
        async with self.database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            run = await (await cursor.execute(_RUN, (run_id,))).fetchone()
            if run is None:
                raise RunNotFound(f"There is no run {run_id}.")
            if not RunStatus(run["status"]).is_final:
                raise RunNotOver(f"The run {run_id} is {run['status']}; it can be replayed when it has ended.")
            tasks = await (await cursor.execute(_TASKS, (run_id,))).fetchall()
            told = await (await cursor.execute(_TOLD, (run_id,))).fetchall()
        return {
            "format": FORMAT,
            "product": __version__,
            "run": run,
            "tasks": tasks,
            "memories": {row["task_key"]: row["data"]["memories"] for row in told if row["kind"] == "memory.recalled"},
            "considered": {row["task_key"]: row["data"] for row in told if row["kind"] == "plan.considered"},
            "journals": await self.journals(tenant_id, run_id),
        }
