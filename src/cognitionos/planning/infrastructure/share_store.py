"""How much of the workers a tenant may have: set by the operator, read by the claim (`claim_fairly.sql`)."""

from dataclasses import dataclass
from uuid import UUID

from cognitionos.kernel.errors import Invalid
from cognitionos.platform.database import Database

WEIGHTS = (0.01, 100.0)
_READ = "SELECT most_running, weight FROM task_shares"
_SET = """
INSERT INTO task_shares (tenant_id, most_running, weight) VALUES (%s, %s, %s)
ON CONFLICT (tenant_id) DO UPDATE SET most_running = excluded.most_running, weight = excluded.weight
"""


class BadShare(Invalid):
    """A tenant may run at least one task, and weighs 0.01 to 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """`most_running` tasks at once over all workers (None: no limit); `weight` against other tenants that wait."""

    most_running: int | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Raise `BadShare` for what no tenant can have."""
        if (self.most_running is not None and self.most_running < 1) or not WEIGHTS[0] <= self.weight <= WEIGHTS[1]:
            raise BadShare("A tenant may run at least one task at once, and weighs 0.01 to 100.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Shares of tenants."""

    database: Database

    async def of(self, tenant_id: UUID) -> Share:
        """What the operator set, or the default."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_READ)).fetchone()
        return Share() if row is None else Share(most_running=row[0], weight=row[1])

    async def set(self, tenant_id: UUID, share: Share) -> None:
        """Effective with the next claim."""
        async with self.database.transaction(tenant_id) as connection:
            await connection.execute(_SET, (tenant_id, share.most_running, share.weight))
