"""Who leads the schedules: one row in PostgreSQL under a lease, with a fencing number (`lead_schedules.sql`)."""

from dataclasses import dataclass

from cognitionos.planning.application.scheduler import Lead, Next
from cognitionos.platform.database import Database

_MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresLead:
    """One process's way to the lead."""

    database: Database
    me: str

    async def take(self, lease_s: float) -> Lead | None:
        """Take or keep the lead for `lease_s` seconds; None while somebody else has it."""
        async with self.database.connection() as connection:
            cursor = await connection.execute("SELECT * FROM lead_schedules(%s, %s, %s)", (self.me, lease_s, _MOST))
            rows = await cursor.fetchall()
        if not rows:
            return None
        coming = tuple(Next(tenant_id=row[1], schedule_id=row[2], in_s=row[3]) for row in rows if row[1] is not None)
        return Lead(fence=rows[0][0], coming=coming)

    async def resign(self) -> None:
        """Let the next one begin at once, if we lead."""
        async with self.database.connection() as connection:
            await connection.execute("SELECT resign_schedules(%s)", (self.me,))
