"""Whether names of agents and tools mean something to a tenant, before anybody works by them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable
from uuid import UUID

from cognitionos.kernel.errors import Invalid


class NoSuchToolName(Invalid):
    """A rule is for a tool, `server.tool` or `server.*`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangers:
    """Names that nobody has, each with what to do about it."""

    agents: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class KnownNames(Protocol):
    """What a tenant's agents and tools are called."""

    async def strangers(self, tenant_id: UUID, *, agents: Collection[str], tools: Collection[str]) -> Strangers:
        """Those of the names that cannot be right. What only a server that is down could tell counts as right."""
        ...

    async def rule_name(self, tenant_id: UUID, tool: str) -> str:
        """What the rule goes by that is meant by a tool's name, its name for models, or `server.*`.

        Raises `NoSuchToolName` with the names there are; what only a server that is down could tell counts as right.
        """
        ...
