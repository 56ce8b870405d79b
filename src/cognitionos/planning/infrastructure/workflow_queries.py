"""Reads of workflows."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from cognitionos.planning.domain.workflow import Workflow
from cognitionos.planning.infrastructure.workflow_rows import workflow_in
from cognitionos.platform.database import Database

_LATEST = """
SELECT DISTINCT ON (name) id, name, version, total_tasks, '/v1/workflows/' || name AS href, created_at FROM workflows
WHERE %(after)s::text IS NULL OR name > %(after)s ORDER BY name, version DESC LIMIT %(limit)s
"""


class WorkflowSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow's latest version."""

    id: UUID
    name: str
    version: int
    total_tasks: int
    href: str
    created_at: datetime


class ByName(NamedTuple):
    """Where a page ended."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowQueries:
    """A tenant's own view of its workflows."""

    database: Database

    async def latest(self, tenant_id: UUID, *, limit: int, after: ByName | None) -> list[WorkflowSummary]:
        """The latest version of each of `limit + 1` workflows, by name, after the cursor."""
        values = {"after": after and after.name, "limit": limit + 1}
        async with (
            self.database.transaction(tenant_id) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(_LATEST, values)
            return [msgspec.convert(row, WorkflowSummary) for row in await cursor.fetchall()]

    async def workflow(self, tenant_id: UUID, name: str, version: int | None) -> Workflow:
        """The version, else the latest, or `WorkflowNotFound`."""
        async with self.database.transaction(tenant_id) as connection:
            return await workflow_in(connection, name, version)
