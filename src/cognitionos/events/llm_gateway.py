"""Facts that the gateway publishes."""

from dataclasses import dataclass
from uuid import UUID

from cognitionos.kernel.event import Event


@dataclass(frozen=True, kw_only=True)
class BudgetThresholdReached(Event):
    """A budget has spent a share of its limit: `threshold` is soft, halt or exhausted. Once per period, limit, share.

    `resets_at` (ISO 8601) is null for a budget that does not start anew.
    """

    alert_id: UUID
    budget_id: UUID
    subject: str
    period: str
    threshold: str
    limit_nanousd: int
    spent_nanousd: int
    resets_at: str | None
