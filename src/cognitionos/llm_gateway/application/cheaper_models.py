"""Whose budgets may have a cheaper model answer: known for some seconds without asking PostgreSQL."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cognitionos.llm_gateway.application.ports import Monotonic
from cognitionos.platform.once import Once

NamesCheaper = Callable[[UUID], Coroutine[Any, Any, bool]]
"""Whether a budget of a tenant, or what it says for all of them, names a cheaper model."""
FRESH_S = 5.0
MOST_TENANTS = 10_000


@dataclass(slots=True)
class CheaperModels:
    """Asks once for each tenant, and again after `FRESH_S`."""

    names: NamesCheaper
    monotonic: Monotonic
    _known: dict[UUID, tuple[float, bool]] = field(default_factory=dict)
    _asks: Once[UUID, bool] = field(default_factory=Once)

    async def may_answer(self, tenant_id: UUID) -> bool:
        """Whether a call of the tenant may go to another model than its route's, for the money's sake."""
        known = self._known.get(tenant_id)
        if known is not None and self.monotonic() - known[0] < FRESH_S:
            return known[1]
        return await self._asks(tenant_id, lambda: self._ask(tenant_id))

    async def _ask(self, tenant_id: UUID) -> bool:
        asked, answer = self.monotonic(), await self.names(tenant_id)
        if len(self._known) >= MOST_TENANTS:
            self._known.clear()
        self._known[tenant_id] = (asked, answer)
        return answer
