"""Journals and files of whole runs in PostgreSQL."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from cognitionos.platform.database import Database

_SET_ASIDE = """
UPDATE agent_runs a SET set_aside_from = a.task_id, task_id = gen_random_uuid()
FROM unnest(%s::uuid[], %s::bigint[]) AS d(task_id, fence)
WHERE a.run_id = %s AND a.task_id = d.task_id AND a.fence <= d.fence
"""
_COPY_FILES = """
INSERT INTO workspace_files (tenant_id, run_id, name, origin, media_type, bytes, sha256, content)
SELECT f.tenant_id, %(to_run)s, f.name, f.origin, f.media_type, f.bytes, f.sha256, f.content
FROM workspace_files f LEFT JOIN agent_runs a ON a.id = f.agent_run_id
WHERE f.run_id = %(run)s AND (f.origin = 'input' OR f.agent_run_id IS NULL OR a.task_id = ANY(%(tasks)s))
ON CONFLICT (run_id, name) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class PostgresHistories:
    """`Histories`."""

    database: Database

    async def set_aside(self, tenant_id: UUID, run_id: UUID, tasks: Sequence[tuple[UUID, int]]) -> None:
        """See `Histories.set_aside`."""
        ids, fences = [task_id for task_id, _ in tasks], [fence for _, fence in tasks]
        async with self.database.transaction(tenant_id) as connection:
            await connection.execute(_SET_ASIDE, (ids, fences, run_id))

    async def copy_files(self, tenant_id: UUID, run_id: UUID, *, to_run: UUID, tasks: Collection[UUID]) -> None:
        """See `Histories.copy_files`."""
        async with self.database.transaction(tenant_id) as connection:
            await connection.execute(_COPY_FILES, {"run": run_id, "to_run": to_run, "tasks": list(tasks)})
