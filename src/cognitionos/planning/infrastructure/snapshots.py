"""Named snapshots: a run's state after one of its events. The journal holds the state; a snapshot is its place."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
from psycopg.errors import UniqueViolation
from psycopg.rows import dict_row

from cognitionos.kernel.clock import Clock
from cognitionos.planning.domain.fork import SnapshotExists
from cognitionos.planning.domain.run import RunNotFound, RunStatus
from cognitionos.platform.database import Database

_TAKE = """
INSERT INTO run_snapshots (id, tenant_id, run_id, name, seq, status, total_tasks, open_tasks, created_at)
SELECT %s, r.tenant_id, r.id, %s, r.last_seq, r.status, r.total_tasks, r.open_tasks, %s FROM runs r WHERE r.id = %s
RETURNING name, seq, status, total_tasks, open_tasks, created_at
"""
_OF = """
SELECT name, seq, status, total_tasks, open_tasks, created_at FROM run_snapshots WHERE run_id = %s ORDER BY seq, id
"""


class SnapshotView(msgspec.Struct, frozen=True, kw_only=True):
    """A named place in a run: after its event `seq`, when so many of its tasks had not ended."""

    name: str
    seq: int
    status: RunStatus
    total_tasks: int
    open_tasks: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshots:
    """Takes and lists them."""

    database: Database
    now: Clock
    new_id: Callable[[], UUID]

    async def take(self, tenant_id: UUID, run_id: UUID, name: str) -> SnapshotView:
        """Name the present state, in one statement. Raises `RunNotFound`, `SnapshotExists`."""
        try:
            async with self.database.transaction(tenant_id) as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(_TAKE, (self.new_id(), name, self.now(), run_id))
                row = await cursor.fetchone()
        except UniqueViolation as error:
            raise SnapshotExists(f"The run {run_id} has a snapshot '{name}' already.") from error
        if row is None:
            raise RunNotFound(f"There is no run {run_id}.")
        return msgspec.convert(row, SnapshotView)

    async def of(self, tenant_id: UUID, run_id: UUID) -> list[SnapshotView]:
        """Those of a run, in the order of what they hold."""
        async with self.database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_OF, (run_id,))
            return [msgspec.convert(row, SnapshotView) for row in await cursor.fetchall()]
