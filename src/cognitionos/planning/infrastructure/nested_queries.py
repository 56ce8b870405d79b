"""What tasks of kind `workflow` read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cognitionos.planning.application.nested_tasks import NestedEnd
from cognitionos.planning.domain.fork import from_failed
from cognitionos.planning.domain.intake import MOST_IN, too_large
from cognitionos.planning.domain.run import RunNotFound, RunStatus
from cognitionos.planning.domain.task import NestedRun
from cognitionos.planning.domain.workflow import Workflow
from cognitionos.planning.infrastructure.fork_rows import old_tasks
from cognitionos.planning.infrastructure.run_rows import output_of
from cognitionos.planning.infrastructure.workflow_rows import workflow_in
from cognitionos.platform.database import Database

_END = "SELECT status, error, result_task_id FROM runs WHERE id = %s"
_ORIGIN = "SELECT workflow, workflow_version, input, result_task_id FROM runs WHERE id = %s"
_DEPTH = "SELECT depth FROM runs WHERE id = %s"
_IS_LAST = "t.run_id = %s AND t.dependents = '{}' AND t.status = 'succeeded'"
_SIZE_OF_LAST = f"SELECT coalesce(sum(t.output_bytes), 0) FROM tasks t WHERE {_IS_LAST}"  # noqa: S608 - a constant
_LAST = f"""
SELECT t.key, coalesce(p.body, t.output) FROM tasks t LEFT JOIN payloads p ON p.id = t.output_payload
WHERE {_IS_LAST} ORDER BY t.position
"""  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedQueries:
    """`NestedRuns` over PostgreSQL."""

    database: Database
    new_id: Callable[[], UUID]

    async def workflow(self, tenant_id: UUID, name: str, version: int | None) -> Workflow:
        """See `NestedRuns.workflow`."""
        async with self.database.transaction(tenant_id) as connection:
            return await workflow_in(connection, name, version)

    async def depth(self, tenant_id: UUID, run_id: UUID) -> int:
        """See `NestedRuns.depth`."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_DEPTH, (run_id,))).fetchone()
        return int(row[0]) if row else 0

    async def end(self, tenant_id: UUID, run_id: UUID) -> NestedEnd:
        """See `NestedRuns.end`."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_END, (run_id,))).fetchone()
            if row is None:
                raise RunNotFound(f"There is no run {run_id}.")
            output: Any = None
            if row[0] == RunStatus.SUCCEEDED and row[2] is not None:
                output = await output_of(connection, row[2])
            elif row[0] == RunStatus.SUCCEEDED:
                size = await (await connection.execute(_SIZE_OF_LAST, (run_id,))).fetchone()
                if size is not None and size[0] > MOST_IN:
                    raise too_large(f"What the last tasks of the run {run_id} gave")
                output = dict(await (await connection.execute(_LAST, (run_id,))).fetchall())
        return NestedEnd(status=RunStatus(row[0]), output=output, error=row[1])

    async def again(self, tenant_id: UUID, run_id: UUID) -> NestedRun | None:
        """See `NestedRuns.again`."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_ORIGIN, (run_id,))).fetchone()
            tasks = await old_tasks(connection, run_id, seq=None)
        fork = from_failed(tasks, source=run_id, old_result=row[3] if row else None, new_id=self.new_id)
        if row is None or fork is None:
            return None
        return NestedRun(workflow=row[0], version=row[1], input=row[2], fork=fork)
