"""What a tenant may say of agents and prompts: checked, then stored as a new version."""

import re
from dataclasses import dataclass
from uuid import UUID

from cognitionos.agents.application.ports import KitOf, Tool
from cognitionos.agents.domain.grounding import Grounding
from cognitionos.agents.domain.hand_off import HAND_OFF
from cognitionos.agents.domain.prompt import Prompt, PromptNotFound
from cognitionos.agents.domain.role import AgentNotFound
from cognitionos.agents.infrastructure.definition_store import AgentRow, Content, Override, PostgresRoster, PromptRow
from cognitionos.kernel.errors import Conflict, Invalid

MOST_OWN = 100
_ANSWERS_IN_A_FORM = frozenset({"planner", "critic"})
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}\Z")


class AgentIsBuiltIn(Conflict):
    """Agents that ship with the product are not changed, but for their prompts and their grounding."""


class AgentIsOwn(Conflict):
    """What is set of agents that ship with the product is part of the definition of a tenant's own."""


class TooManyAgents(Conflict):
    """A tenant has as many agents as it may have."""


class BadAgentDefinition(Invalid):
    """A definition names a tool, a prompt or an agent that is not there, or its own name is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAdmin:
    """Changes of a tenant's agents and prompts."""

    roster: PostgresRoster
    tools: dict[str, Tool]
    kit_of: KitOf

    async def put_agent(self, tenant_id: UUID, name: str, content: Content) -> AgentRow:
        """A new version. Raises `AgentIsBuiltIn`, `BadAgentDefinition`, `TooManyAgents`."""
        if name in self.roster.shipped.agents:
            remedy = "give your agent another name, or set its prompt or its grounding alone"
            raise AgentIsBuiltIn(f"'{name}' ships with the product; {remedy}.")
        _checked(name, "name")
        own = {row.name for row in await self.roster.agents(tenant_id)}
        if name not in own and len(own) >= MOST_OWN:
            raise TooManyAgents(f"There are {MOST_OWN} agents of yours already; delete one first.")
        await self._check_tools(tenant_id, content)
        strangers = [each for each in content.hand_off_to if each not in {*own, *self.roster.shipped.agents, name}]
        if strangers:
            raise _bad("hand_off_to", f"there is no agent '{strangers[0][:100]}'")
        await self._check_prompt(tenant_id, content)
        return await self.roster.put_agent(tenant_id, name, content)

    async def set_grounding(self, tenant_id: UUID, name: str, grounding: Grounding) -> None:
        """What is done with claims of its answers that nothing supports, of an agent that ships with the product.

        Raises `AgentNotFound`, `BadAgentDefinition` for one whose answers are looked up in no case, `Conflict` for an
        agent of the tenant's own.
        """
        if name in _ANSWERS_IN_A_FORM:
            raise _bad(
                "grounding", f"the {name} answers in a form that is checked as such; it has no claims to look up"
            )
        if name not in self.roster.shipped.agents:
            await self.roster.agent(tenant_id, name)
            raise AgentIsOwn(f"'{name}' is yours: its grounding is part of its definition (PUT /v1/agents/{name}).")
        if grounding is self.roster.shipped.agents[name].grounding:
            await self.roster.retire_agent(tenant_id, name)
        else:
            await self.roster.put_agent(tenant_id, name, Override(grounding=grounding))

    async def delete_agent(self, tenant_id: UUID, name: str) -> None:
        """No run begins with it any more. Raises `AgentIsBuiltIn`, `AgentNotFound`."""
        if name in self.roster.shipped.agents:
            raise AgentIsBuiltIn(f"'{name}' ships with the product and stays.")
        if "\x00" in name or not await self.roster.retire_agent(tenant_id, name):
            raise AgentNotFound(f"There is no agent '{name[:100]}' of yours.")

    async def prompt_versions(self, tenant_id: UUID, name: str) -> tuple[list[Prompt], list[PromptRow]]:
        """What ships with the product, oldest first, and the tenant's own, newest first. Raises `PromptNotFound`."""
        own = [] if "\x00" in name else await self.roster.prompts(tenant_id, name)
        shipped = self.roster.shipped.versions(name)
        if not own and not shipped:
            raise PromptNotFound(f"There is no prompt '{name[:100]}'.")
        return shipped, own

    async def put_prompt(self, tenant_id: UUID, name: str, text: str) -> PromptRow:
        """A new version. Raises `BadAgentDefinition`."""
        return await self.roster.put_prompt(tenant_id, _checked(name, "name"), text)

    async def pin_prompt(self, tenant_id: UUID, name: str, label: str | None) -> None:
        """Let this version count. Raises `PromptNotFound`."""
        shipped, own = await self.prompt_versions(tenant_id, name)
        known = {each.label for each in shipped} | {f"own.{row.version}" for row in own}
        if label is not None and label not in known:
            raise PromptNotFound(f"There is no version '{label[:40]}' of the prompt '{name}'.")
        await self.roster.pin_prompt(tenant_id, name, label)

    async def _check_tools(self, tenant_id: UUID, content: Content) -> None:
        known = {*self.tools, *(await self.kit_of(tenant_id)).tools}
        if HAND_OFF in content.tools:
            raise _bad("tools", f"'{HAND_OFF}' is there by itself for those with 'hand_off_to'")
        strangers = [each for each in content.tools if each not in known]
        if strangers:
            raise _bad("tools", f"there is no tool '{strangers[0][:100]}'")

    async def _check_prompt(self, tenant_id: UUID, content: Content) -> None:
        try:
            shipped, own = await self.prompt_versions(tenant_id, content.prompt)
        except PromptNotFound:
            remedy = f"there is no prompt '{content.prompt[:100]}'; write it by PUT /v1/prompts/{{name}} first"
            raise _bad("prompt", remedy) from None
        label = content.prompt_version
        if label is not None and label not in {each.label for each in shipped} | {f"own.{row.version}" for row in own}:
            raise _bad("prompt_version", f"there is no version '{label[:40]}' of it")


def _checked(name: str, field: str) -> str:
    if not _NAME.match(name):
        raise _bad(field, "it has up to 40 of a-z, 0-9, '_' and '-', and begins with a letter")
    return name


def _bad(field: str, reason: str) -> BadAgentDefinition:
    return BadAgentDefinition(f"'{field}' is refused: {reason}.", fields={field: reason})
