"""Dead letters: what a subscriber failed at until its attempts were used up. For the operator, across tenants."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cognitionos.platform.database import Database

_LIST = "SELECT * FROM dead_deliveries(%s)"
_REVIVE = "SELECT revive_deliveries(%s)"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One delivery that was given up. What it says is the tenant's, and not shown."""

    id: UUID
    tenant_id: UUID
    event: str
    subscriber: str
    attempts: int
    error: str | None
    published_at: datetime
    dead_at: datetime


async def dead_letters(database: Database, *, limit: int) -> list[DeadLetter]:
    """The latest `limit`."""
    async with database.connection() as connection:
        rows = await (await connection.execute(_LIST, (limit,))).fetchall()
    return [DeadLetter(*row) for row in rows]


async def revive(database: Database, ids: Sequence[UUID] | None) -> int:
    """Let these (None: all) be tried again with attempts to the full; gives how many there were."""
    async with database.connection() as connection:
        row = await (await connection.execute(_REVIVE, (None if ids is None else list(ids),))).fetchone()
    return int(row[0]) if row else 0
