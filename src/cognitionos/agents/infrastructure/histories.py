"""Journals and files of whole runs in PostgreSQL."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cognitionos.platform.database import Database

_SET_ASIDE = """
UPDATE agent_runs a SET set_aside_from = a.task_id, task_id = gen_random_uuid()
FROM unnest(%s::uuid[], %s::bigint[]) AS d(task_id, fence)
WHERE a.run_id = %s AND a.task_id = d.task_id AND a.fence <= d.fence
"""
_RECORDED = """
SELECT jsonb_build_object('task_id', a.task_id, 'task_key', a.task_key, 'role', a.role, 'prompts', a.prompts,
  'definitions', a.definitions, 'opening', a.opening, 'status', a.status, 'steps', (
    SELECT coalesce(jsonb_agg(to_jsonb(s) - 'tenant_id' - 'run_id' - 'agent_run_id' ORDER BY s.seq), '[]')
    FROM agent_steps s WHERE s.agent_run_id = a.id
  ))
FROM agent_runs a WHERE a.run_id = %s AND a.set_aside_from IS NULL ORDER BY a.started_at, a.id
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

    async def recorded(self, tenant_id: UUID, run_id: UUID) -> list[dict[str, Any]]:
        """See `Histories.recorded`."""
        async with self.database.transaction(tenant_id) as connection:
            return [row[0] for row in await (await connection.execute(_RECORDED, (run_id,))).fetchall()]

    async def copy_files(self, tenant_id: UUID, run_id: UUID, *, to_run: UUID, tasks: Collection[UUID]) -> None:
        """See `Histories.copy_files`."""
        async with self.database.transaction(tenant_id) as connection:
            await connection.execute(_COPY_FILES, {"run": run_id, "to_run": to_run, "tasks": list(tasks)})
