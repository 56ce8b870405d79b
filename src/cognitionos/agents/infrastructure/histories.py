"""Journals and files of whole runs in PostgreSQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cognitionos.agents.infrastructure.workspace_versions import copy_files, undo
from cognitionos.platform.database import Database

# whoever still writes to one of them is refused from now on
_SET_ASIDE = """
UPDATE agent_runs a SET set_aside_from = a.task_id, task_id = gen_random_uuid(), fence = a.fence + 1
FROM unnest(%s::uuid[], %s::bigint[]) AS d(task_id, fence)
WHERE a.run_id = %s AND a.task_id = d.task_id AND a.fence <= d.fence RETURNING a.set_aside_from
"""
_RECORDED = """
SELECT jsonb_build_object('task_id', a.task_id, 'task_key', a.task_key, 'role', a.role, 'prompts', a.prompts,
  'definitions', a.definitions, 'opening', a.opening, 'status', a.status, 'steps', (
    SELECT coalesce(jsonb_agg(to_jsonb(s) - 'tenant_id' - 'run_id' - 'agent_run_id' ORDER BY s.seq), '[]')
    FROM agent_steps s WHERE s.agent_run_id = a.id
  ))
FROM agent_runs a WHERE a.run_id = %s AND a.set_aside_from IS NULL ORDER BY a.started_at, a.id
"""


@dataclass(frozen=True, slots=True)
class PostgresHistories:
    """`Histories`."""

    database: Database

    async def set_aside(self, tenant_id: UUID, run_id: UUID, tasks: Sequence[tuple[UUID, int]]) -> None:
        """See `Histories.set_aside`."""
        ids, fences = [task_id for task_id, _ in tasks], [fence for _, fence in tasks]
        async with self.database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_SET_ASIDE, (ids, fences, run_id))).fetchall()
            await undo(connection, run_id, [row[0] for row in rows])

    async def recorded(self, tenant_id: UUID, run_id: UUID) -> list[dict[str, Any]]:
        """See `Histories.recorded`."""
        async with self.database.transaction(tenant_id) as connection:
            return [row[0] for row in await (await connection.execute(_RECORDED, (run_id,))).fetchall()]

    async def copy_files(self, tenant_id: UUID, run_id: UUID, *, to_run: UUID, tasks: Mapping[UUID, UUID]) -> None:
        """See `Histories.copy_files`."""
        async with self.database.transaction(tenant_id) as connection:
            await copy_files(connection, run_id, to_run=to_run, tasks=tasks)
