"""Workflows, whole, in one unit of work."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.planning.domain.retry import RetryPolicy
from cognitionos.planning.domain.workflow import NAME, DeclaredTask, Workflow, WorkflowNotFound
from cognitionos.planning.infrastructure.rows import jsonb
from cognitionos.platform.unit_of_work import UnitOfWork

_COLUMNS = "id, tenant_id, name, version, digest, tasks, created_at, input_schema"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(current_setting('app.tenant_id') || '/workflow/' || %s, 0))"
_LATEST = "SELECT version, digest FROM workflows WHERE name = %s ORDER BY version DESC LIMIT 1"
_LATEST_OF = "SELECT name, max(version) FROM workflows WHERE name = ANY(%s) GROUP BY name"
_GET = f"""
SELECT {_COLUMNS} FROM workflows
WHERE name = %(name)s AND (%(version)s::int IS NULL OR version = %(version)s) ORDER BY version DESC LIMIT 1
"""  # noqa: S608 - a constant
_ADD = f"INSERT INTO workflows ({_COLUMNS}, total_tasks) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"  # noqa: S608 - a constant


class WorkflowRows:
    """Workflows of the tenant of the session."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work

    async def latest_locked(self, name: str) -> tuple[int, str] | None:
        """Version and digest of the latest; nobody else declares this name until the commit."""
        connection = await self._work.connection()
        await connection.execute(_LOCK, (name,))
        row = await (await connection.execute(_LATEST, (name,))).fetchone()
        return (row[0], row[1]) if row else None

    async def get(self, name: str, version: int | None) -> Workflow:
        """The version, else the latest, or `WorkflowNotFound`."""
        return await workflow_in(await self._work.connection(), name, version)

    async def latest_of(self, names: Sequence[str]) -> dict[str, int]:
        """The latest version of each that is there."""
        connection = await self._work.connection()
        return dict(await (await connection.execute(_LATEST_OF, (list(names),))).fetchall())

    async def add(self, workflow: Workflow) -> None:
        """Keep a new version."""
        tasks = [[key, task.as_json()] for key, task in workflow.tasks.items()]
        columns = (workflow.id, workflow.tenant_id, workflow.name, workflow.version, workflow.digest, jsonb(tasks))
        connection = await self._work.connection()
        schema = None if workflow.input_schema is None else jsonb(workflow.input_schema)
        await connection.execute(_ADD, (*columns, workflow.created_at, schema, len(tasks)))


async def workflow_in(connection: AsyncConnection[Any], name: str, version: int | None) -> Workflow:
    """The version, else the latest, or `WorkflowNotFound`."""
    if not NAME.fullmatch(name):
        raise WorkflowNotFound("There is no workflow of that name.")
    row = await (await connection.execute(_GET, {"name": name, "version": version})).fetchone()
    if row is None:
        raise WorkflowNotFound(f"There is no workflow '{name}'" + (f" with a version {version}." if version else "."))
    tasks = {key: _task_of(task) for key, task in row[5]}
    tenant_id: UUID = row[1]
    return Workflow(
        id=row[0],
        tenant_id=tenant_id,
        name=row[2],
        version=row[3],
        digest=row[4],
        tasks=tasks,
        created_at=row[6],
        input_schema=row[7],
    )


def _task_of(task: dict[str, Any]) -> DeclaredTask:
    retry = RetryPolicy.of(task["retry"]) if task["retry"] else None
    return DeclaredTask(**{**task, "depends_on": tuple(task["depends_on"]), "retry": retry})
