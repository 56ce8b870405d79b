"""The names of a tenant's agents and tools, from what ships with the product and what its rows say."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from cognitionos.agents.application.known_names import NoSuchToolName, Strangers
from cognitionos.agents.application.ports import KitOf, Roster, Tool
from cognitionos.agents.domain.hand_off import HAND_OFF
from cognitionos.agents.infrastructure.tool_store import ServerRow, ToolStore

_MOST_TOLD = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresNames:
    """`KnownNames` over PostgreSQL; it reads only what it must, and asks no server."""

    roster: Roster
    shipped: Collection[str]
    tools: Mapping[str, Tool]
    kit_of: KitOf
    store: ToolStore

    async def strangers(self, tenant_id: UUID, *, agents: Collection[str], tools: Collection[str]) -> Strangers:
        """See `KnownNames.strangers`."""
        return Strangers(agents=await self._agents(tenant_id, agents), tools=await self._tools(tenant_id, tools))

    async def rule_name(self, tenant_id: UUID, tool: str) -> str:
        """See `KnownNames.rule_name`."""
        specs = [each.spec for each in (*self.tools.values(), *(await self.kit_of(tenant_id)).tools.values())]
        ruled = {spec.wire_name: spec.rule_name for spec in specs} | {spec.name: spec.rule_name for spec in specs}
        ruled |= {f"{name.partition('.')[0]}.*": f"{name.partition('.')[0]}.*" for name in ruled if "." in name}
        ruled[HAND_OFF] = HAND_OFF
        if tool in ruled:
            return ruled[tool]
        servers = await self.store.servers(tenant_id)
        server = next((each for each in servers if tool.startswith((f"{each.name}.", f"{each.name}__"))), None)
        fault = None if server and tool == f"{server.name}.*" else _tool_fault(tool, servers, ruled.values())
        if fault is not None or server is None:
            raise NoSuchToolName(f"{fault}.", fields={"tool": "no such name"})
        return f"{server.name}.{tool.removeprefix(server.name).removeprefix('__').removeprefix('.')}"

    async def _agents(self, tenant_id: UUID, names: Collection[str]) -> dict[str, str]:
        unknown = [name for name in names if name not in self.shipped]
        if not unknown:
            return {}
        there = [*self.shipped, *(each.name for each in await self.roster.own(tenant_id))]
        told = f"make it by PUT /v1/agents/{{name}}, or name one of: {_listed(there)}"
        return {name: f"there is no agent '{name[:100]}'; {told}" for name in unknown if name not in there}

    async def _tools(self, tenant_id: UUID, names: Collection[str]) -> dict[str, str]:
        unknown = [name for name in names if name not in self.tools]
        if not unknown:
            return {}
        kit = await self.kit_of(tenant_id)
        specs = [each.spec for each in (*self.tools.values(), *kit.tools.values())]
        there = {name for spec in specs for name in (spec.name, spec.wire_name)}
        left = [name for name in unknown if name not in there]
        servers = await self.store.servers(tenant_id) if left else []
        faults = {name: _tool_fault(name, servers, [spec.name for spec in specs]) for name in left}
        return {name: fault for name, fault in faults.items() if fault is not None}


def _tool_fault(name: str, servers: Iterable[ServerRow], there: Iterable[str]) -> str | None:
    """Why it is none; None: its server has not said (or could not say anew) what it offers."""
    server = next((each for each in servers if name.startswith((f"{each.name}.", f"{each.name}__"))), None)
    no_tool = f"there is no tool '{name[:200]}'"
    if server is None:
        return f"{no_tool}; set its server by POST /v1/tools/servers, or name one of: {_listed(there)}"
    if server.error is not None or server.asked_at is None:
        return None
    refused = server.refused.get(name.partition(".")[2])
    if refused is not None:
        return f"{no_tool}: what the server '{server.name}' offers by this name is refused: {refused}"
    offers = _listed(f"{server.name}.{each['name']}" for each in server.tools)
    return (
        f"{no_tool}; the server '{server.name}' offers {offers}; POST /v1/tools/servers/{server.name}/refresh asks anew"
    )


def _listed(names: Iterable[str]) -> str:
    told = list(names)
    more = f" and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
    return (", ".join(told[:_MOST_TOLD]) or "nothing") + more
