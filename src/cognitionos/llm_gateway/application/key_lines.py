"""Keys that replaced others: whoever calls with one spends from the budgets of the whole line."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from uuid import UUID

from cognitionos.llm_gateway.domain.chat import Caller

EarlierKeys = Callable[[UUID, UUID], Awaitable[tuple[UUID, ...]]]
"""The keys of a tenant that a key of it replaced, one after the other. What they are never changes."""
MOST_KNOWN = 10_000


async def none_earlier(_tenant_id: UUID, _key_id: UUID) -> tuple[UUID, ...]:
    """Of keys that replaced none."""
    return ()


@dataclass(slots=True)
class KeyLines:
    """Asks once for each key."""

    find: EarlierKeys
    _known: dict[UUID, tuple[UUID, ...]] = field(default_factory=dict)

    async def of(self, caller: Caller) -> Caller:
        """The caller with the keys that its own replaced."""
        key = caller.api_key_id
        if key is None:
            return caller
        earlier = self._known.get(key)
        if earlier is None:
            earlier = await self.find(caller.tenant_id, key)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[key] = earlier
        return replace(caller, earlier_keys=earlier) if earlier else caller
