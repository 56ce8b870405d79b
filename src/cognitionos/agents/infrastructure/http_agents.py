"""Agents and prompts over HTTP: those that ship with the product, and a tenant's own, in versions."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import msgspec
from litestar import Controller, Router, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cognitionos.agents.application.ports import Tool
from cognitionos.agents.application.toolbox import Toolbox
from cognitionos.agents.domain.grounding import Grounding
from cognitionos.agents.domain.prompt import Prompt, own_label
from cognitionos.agents.infrastructure.agent_admin import AgentAdmin, BadAgentDefinition
from cognitionos.agents.infrastructure.definition_store import ActivePrompt, AgentRow, Content, PromptRow
from cognitionos.kernel.money import nanousd, usd_text
from cognitionos.kernel.principal import Permission
from cognitionos.platform.http_api import Who, instance, problems, requires

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*\Z")]
Names = Annotated[list[Name], msgspec.Meta(max_length=50)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=20_000, pattern=r"^[^\x00]*\Z")]

Usd = Annotated[Decimal, msgspec.Meta(description="exact decimal dollars, as a string or a number", examples=["0.15"])]
MOST_USD = 1_000_000


class ToolView(msgspec.Struct, frozen=True, kw_only=True):
    """A tool an agent may use. `unavailable` says why it cannot be had on this server, null: it can.

    `effect`: none, idempotent or unsafe; an unsafe call that a crash interrupted is not repeated.
    """

    name: str
    description: str
    effect: str
    unavailable: str | None


class LimitsView(msgspec.Struct, frozen=True, kw_only=True):
    """What one task may use; `context_tokens` is what one call may show the model, by our estimate."""

    tokens: int
    cost_usd: str
    seconds: float
    tool_calls: int
    context_tokens: int
    completion_tokens: int


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """An agent. `prompt` is the version new runs work with; `model` null is the default one; `version` null: as it
    ships with the product. `tools` of MCP servers and databases are named only.
    """

    role: str
    built_in: bool
    version: int | None
    description: str
    prompt: str
    prompt_versions: list[str]
    model: str | None
    temperature: float | None
    tools: list[ToolView]
    capabilities: list[str]
    hand_off_to: list[str]
    grounding: Grounding
    limits: LimitsView


class AgentList(msgspec.Struct, frozen=True, kw_only=True):
    """Every agent."""

    items: list[AgentView]


class AgentVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a tenant's agent, and when it was made; `retired_at`: when it was deleted."""

    version: int
    created_at: datetime
    retired_at: datetime | None


class AgentDetail(msgspec.Struct, frozen=True, kw_only=True):
    """An agent, and its versions, newest first (none for one that is built in)."""

    agent: AgentView
    versions: list[AgentVersion]


class SetLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one task may use. Each is enforced, and named when it is reached."""

    tokens: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] = 32_000
    cost_usd: Usd = Decimal(1)
    seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 300.0
    tool_calls: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 10
    context_tokens: Annotated[int, msgspec.Meta(ge=500, le=2_000_000)] = 16_000
    completion_tokens: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 4_096


class SetAgent(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A definition. `prompt` null is the prompt of the agent's own name; `prompt_version` null is the one that counts
    when a run begins. `grounding` says what is done with claims of its answers that nothing it was given supports.
    """

    description: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000, pattern=r"^[^\x00]*\Z")]
    prompt: Name | None = None
    prompt_version: Name | None = None
    model: Name | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    tools: Names = []
    capabilities: Names = []
    hand_off_to: Names = []
    grounding: Grounding = Grounding.OFF
    limits: SetLimits = SetLimits()


class SetGrounding(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is done with claims of its answers that nothing it was given supports."""

    grounding: Grounding


class PromptVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version: `1` ships with the product, `own.1` is the tenant's."""

    version: str
    text: str
    created_at: datetime | None


class PromptDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt. `active` is the version that new runs work with, `pinned` the one it was pinned to."""

    name: str
    active: str
    pinned: str | None
    versions: list[PromptVersion]


class PromptSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt without its texts."""

    name: str
    active: str
    pinned: str | None


class PromptList(msgspec.Struct, frozen=True, kw_only=True):
    """Every prompt."""

    items: list[PromptSummary]


class SetPrompt(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the agent is told before anything else."""

    text: Text


class PinPrompt(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`1` or `own.1`."""

    version: Name


class AgentAdminRoutes(Controller):
    """Who does tasks."""

    path = "/v1/agents"
    tags = ("agents",)

    @get("", guards=[requires(Permission.AGENTS_READ)], summary="List the agents")
    async def list_agents(
        self, agent_admin: NamedDependency[AgentAdmin], toolbox: NamedDependency[Toolbox], who: Who
    ) -> AgentList:
        """Those that ship with the product, then your own."""
        roster, tenant_id = agent_admin.roster, who.tenant_id
        names = [*roster.shipped.agents, *(row.name for row in await roster.agents(tenant_id))]
        return AgentList(items=[await _view(agent_admin, toolbox, who, name) for name in names])

    @get("/{name:str}", guards=[requires(Permission.AGENTS_READ)], summary="Read an agent", responses=problems(404))
    async def read_agent(
        self, name: FromPath[str], agent_admin: NamedDependency[AgentAdmin], toolbox: NamedDependency[Toolbox], who: Who
    ) -> AgentDetail:
        """As it is now, and which versions there are."""
        return await _detail(agent_admin, toolbox, who, name)

    @put(
        "/{name:str}", guards=[requires(Permission.AGENTS_ADMIN)], summary="Set an agent", responses=problems(409, 422)
    )
    async def set_agent(
        self,
        name: FromPath[str],
        data: JSONBody[SetAgent],
        agent_admin: NamedDependency[AgentAdmin],
        toolbox: NamedDependency[Toolbox],
        who: Who,
    ) -> AgentDetail:
        """A new version, for runs that begin from now on; those under way go on with theirs."""
        await agent_admin.put_agent(who.tenant_id, name, _content(name, data))
        return await _detail(agent_admin, toolbox, who, name)

    @put(
        "/{name:str}/grounding",
        guards=[requires(Permission.AGENTS_ADMIN)],
        summary="Set a built-in agent's grounding",
        responses=problems(404, 409, 422),
    )
    async def set_grounding(
        self,
        name: FromPath[str],
        data: JSONBody[SetGrounding],
        agent_admin: NamedDependency[AgentAdmin],
        toolbox: NamedDependency[Toolbox],
        who: Who,
    ) -> AgentDetail:
        """A new version of what you say of it, for runs that begin from now on; all else stays as it ships."""
        await agent_admin.set_grounding(who.tenant_id, name, data.grounding)
        return await _detail(agent_admin, toolbox, who, name)

    @delete(
        "/{name:str}",
        guards=[requires(Permission.AGENTS_ADMIN)],
        summary="Delete an agent",
        responses=problems(404, 409),
    )
    async def delete_agent(self, name: FromPath[str], agent_admin: NamedDependency[AgentAdmin], who: Who) -> None:
        """No run begins with it any more; its versions are kept for those that did."""
        await agent_admin.delete_agent(who.tenant_id, name)


class PromptRoutes(Controller):
    """What agents are told before anything else."""

    path = "/v1/prompts"
    tags = ("agents",)

    @get("", guards=[requires(Permission.AGENTS_READ)], summary="List prompts")
    async def list_prompts(self, agent_admin: NamedDependency[AgentAdmin], who: Who) -> PromptList:
        """By name, with the version that counts."""
        active = await agent_admin.roster.active_prompts(who.tenant_id)
        names = sorted({prompt.role for prompt in agent_admin.roster.shipped.prompts.values()} | set(active))
        return PromptList(items=[_summary(agent_admin, name, active.get(name)) for name in names])

    @get("/{name:str}", guards=[requires(Permission.AGENTS_READ)], summary="Read a prompt", responses=problems(404))
    async def read_prompt(
        self, name: FromPath[str], agent_admin: NamedDependency[AgentAdmin], who: Who
    ) -> PromptDetail:
        """Every version with its text: your own, newest first, then those that ship with the product."""
        return await _prompt(agent_admin, who, name)

    @put("/{name:str}", guards=[requires(Permission.AGENTS_ADMIN)], summary="Set a prompt", responses=problems(422))
    async def set_prompt(
        self, name: FromPath[str], data: JSONBody[SetPrompt], agent_admin: NamedDependency[AgentAdmin], who: Who
    ) -> PromptDetail:
        """A new version of your own. It counts for runs that begin from now on, unless another version is pinned."""
        await agent_admin.put_prompt(who.tenant_id, name, data.text)
        return await _prompt(agent_admin, who, name)

    @put("/{name:str}/pin", guards=[requires(Permission.AGENTS_ADMIN)], summary="Pin a prompt", responses=problems(404))
    async def pin_prompt(
        self, name: FromPath[str], data: JSONBody[PinPrompt], agent_admin: NamedDependency[AgentAdmin], who: Who
    ) -> PromptDetail:
        """Let this version count, whatever is written after it."""
        await agent_admin.pin_prompt(who.tenant_id, name, data.version)
        return await _prompt(agent_admin, who, name)

    @delete(
        "/{name:str}/pin", guards=[requires(Permission.AGENTS_ADMIN)], summary="Unpin a prompt", responses=problems(404)
    )
    async def unpin_prompt(self, name: FromPath[str], agent_admin: NamedDependency[AgentAdmin], who: Who) -> None:
        """Your newest version counts again, or the product's where you have none."""
        await agent_admin.pin_prompt(who.tenant_id, name, None)


def routes(*, admin: AgentAdmin, toolbox: Toolbox) -> Router:
    """The router."""
    return Router(
        "/",
        route_handlers=[AgentAdminRoutes, PromptRoutes],
        dependencies={"agent_admin": instance(admin), "toolbox": instance(toolbox)},
    )


async def _detail(admin: AgentAdmin, toolbox: Toolbox, who: Who, name: str) -> AgentDetail:
    view = await _view(admin, toolbox, who, name)
    rows = await admin.roster.agent_versions(who.tenant_id, name)
    return AgentDetail(agent=view, versions=[_version(row) for row in rows])


async def _view(admin: AgentAdmin, toolbox: Toolbox, who: Who, name: str) -> AgentView:
    agent = await admin.roster.agent(who.tenant_id, name)
    shipped, own = await admin.prompt_versions(who.tenant_id, agent.prompt_name or name)
    added = (await admin.kit_of(who.tenant_id)).tools
    tools = [added.get(each) or toolbox.tools.get(each) for each in agent.tools]
    limits = agent.limits
    return AgentView(
        role=agent.role,
        built_in=agent.role in admin.roster.shipped.agents,
        version=None if agent.is_built_in else agent.version,
        description=agent.description,
        prompt=agent.prompt,
        prompt_versions=[each.label for each in shipped] + [own_label(row.version) for row in reversed(own)],
        model=agent.model,
        temperature=agent.temperature,
        tools=[_tool(each) for each in tools if each is not None],
        capabilities=list(agent.capabilities),
        hand_off_to=list(agent.hand_off_to),
        grounding=agent.grounding,
        limits=LimitsView(
            tokens=limits.tokens,
            cost_usd=usd_text(limits.cost_nanousd),
            seconds=limits.seconds,
            tool_calls=limits.tool_calls,
            context_tokens=limits.context_tokens,
            completion_tokens=limits.completion_tokens,
        ),
    )


def _tool(tool: Tool) -> ToolView:
    return ToolView(
        name=tool.spec.name,
        description=tool.spec.description,
        effect=tool.spec.effect.value,
        unavailable=tool.why_not(),
    )


def _version(row: AgentRow) -> AgentVersion:
    return AgentVersion(version=row.version, created_at=row.created_at, retired_at=row.retired_at)


def _content(name: str, data: SetAgent) -> Content:
    limits = data.limits
    return Content(
        description=data.description,
        prompt=data.prompt or name,
        prompt_version=data.prompt_version,
        model=data.model,
        temperature=data.temperature,
        tools=tuple(data.tools),
        capabilities=tuple(data.capabilities),
        hand_off_to=tuple(data.hand_off_to),
        grounding=data.grounding,
        tokens=limits.tokens,
        cost_nanousd=_cost(limits.cost_usd),
        seconds=limits.seconds,
        tool_calls=limits.tool_calls,
        context_tokens=limits.context_tokens,
        completion_tokens=limits.completion_tokens,
    )


def _cost(dollars: Decimal) -> int:
    if not (dollars.is_finite() and 0 <= dollars <= MOST_USD):
        words = f"an amount of dollars from 0 to {MOST_USD}"
        raise BadAgentDefinition(f"'limits.cost_usd' must be {words}.", fields={"limits.cost_usd": words})
    return nanousd(dollars)


async def _prompt(admin: AgentAdmin, who: Who, name: str) -> PromptDetail:
    shipped, own = await admin.prompt_versions(who.tenant_id, name)
    summary = _summary(admin, name, (await admin.roster.active_prompts(who.tenant_id)).get(name))
    versions = [_own(row) for row in own] + [_shipped(each) for each in shipped]
    return PromptDetail(name=name, active=summary.active, pinned=summary.pinned, versions=versions)


def _summary(admin: AgentAdmin, name: str, active: ActivePrompt | None) -> PromptSummary:
    found = active or ActivePrompt()
    return PromptSummary(name=name, active=found.label or admin.roster.shipped.newest(name), pinned=found.pinned)


def _own(row: PromptRow) -> PromptVersion:
    return PromptVersion(version=own_label(row.version), text=row.text, created_at=row.created_at)


def _shipped(prompt: Prompt) -> PromptVersion:
    return PromptVersion(version=prompt.label, text=prompt.text, created_at=None)
