"""Whether names of agents and tools mean something to a tenant, before anybody works by them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangers:
    """Names that nobody has, each with what to do about it."""

    agents: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)


class KnownNames(Protocol):
    """What a tenant's agents and tools are called."""

    async def strangers(self, tenant_id: UUID, *, agents: Collection[str], tools: Collection[str]) -> Strangers:
        """Those of the names that cannot be right. What only a server that is down could tell counts as right."""
        ...
