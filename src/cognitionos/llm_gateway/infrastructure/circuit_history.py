"""What opened and closed, in PostgreSQL: written by every process, read by tenants (their own, the installation's)."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from cognitionos.kernel.errors import Unavailable
from cognitionos.llm_gateway.domain.circuit import Circuit
from cognitionos.platform.database import Database
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)

_WRITE = """
INSERT INTO circuit_changes (deployment, state_before, state_after, failures) VALUES (%s, %s, %s, %s)
"""
_READ = """
SELECT id, at, deployment, state_before, state_after, failures
FROM llm_circuit_changes(%(deployment)s, %(before)s, %(limit)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitChange:
    """One row."""

    id: int
    at: datetime
    deployment: str
    state_before: str
    state_after: str
    failures: int


class CircuitHistory:
    """Rows are written in the background; one that cannot be written is logged."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writing: set[asyncio.Task[None]] = set()

    def add(self, deployment: str, before: Circuit, after: Circuit) -> None:
        """Write one change."""
        row = (deployment, before.state.value, after.state.value, after.failures)
        task = asyncio.get_running_loop().create_task(self._write(row))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def written(self) -> None:
        """Wait for what is under way."""
        while self._writing:
            await asyncio.gather(*self._writing, return_exceptions=True)

    async def latest(
        self, tenant_id: UUID, *, deployment: str | None, before: int | None, limit: int
    ) -> list[CircuitChange]:
        """The tenant's own and the installation's, latest first, from before the row `before`.

        `deployment` is `provider/model`, the tenant's or the installation's of that name.
        """
        values = {"deployment": deployment, "before": before, "limit": limit}
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(CircuitChange))
            return await (await cursor.execute(_READ, values)).fetchall()

    async def _write(self, row: tuple[str, str, str, int]) -> None:
        try:
            async with self._database.connection() as connection:
                await connection.execute(_WRITE, row)
        except Unavailable as error:
            log.warning("circuit_history_lost", deployment=row[0], reason=str(error))
