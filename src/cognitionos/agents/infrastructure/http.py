"""Agents over HTTP: who there is, and what they did in a run."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec
from litestar import Controller, Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cognitionos.agents.application.definitions import Definitions
from cognitionos.agents.application.ports import Tool
from cognitionos.agents.application.toolbox import Toolbox
from cognitionos.agents.domain.role import AgentDefinition
from cognitionos.agents.infrastructure.queries import After, AgentQueries, StepView
from cognitionos.kernel.money import usd_text
from cognitionos.kernel.principal import Permission
from cognitionos.platform.http_api import Who, instance, problems, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page

MustExist = Callable[[UUID, UUID], Awaitable[None]]
"""(tenant, run): raises the `NotFound` of a run that this tenant does not have."""


class ToolView(msgspec.Struct, frozen=True, kw_only=True):
    """A tool an agent may use. `unavailable` says why it cannot be had on this server, null: it can.

    `effect`: none, idempotent or unsafe; an unsafe call that a crash interrupted is not repeated.
    """

    name: str
    description: str
    effect: str
    unavailable: str | None


class LimitsView(msgspec.Struct, frozen=True, kw_only=True):
    """What one task may use."""

    tokens: int
    cost_usd: str
    seconds: float
    tool_calls: int


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """An agent. `prompt` is the version new runs work with; `model` null is the default model."""

    role: str
    description: str
    prompt: str
    prompt_versions: list[str]
    model: str | None
    tools: list[ToolView]
    limits: LimitsView


class AgentList(msgspec.Struct, frozen=True, kw_only=True):
    """Every agent."""

    items: list[AgentView]


class AgentRoutes(Controller):
    """Agents and their journal."""

    path = "/v1"
    tags = ("agents",)

    @get("/agents", guards=[requires(Permission.AGENTS_READ)], summary="List the agents")
    async def list_agents(
        self, definitions: NamedDependency[Definitions], toolbox: NamedDependency[Toolbox]
    ) -> AgentList:
        """Roles with prompt versions, tools and limits."""
        return AgentList(items=[_agent(each, definitions, toolbox) for each in definitions.agents.values()])

    @get(
        "/runs/{run_id:uuid}/steps",
        guards=[requires(Permission.RUNS_READ)],
        summary="List what a run's agents did",
        responses=problems(404),
    )
    async def list_steps(
        self,
        run_id: FromPath[UUID],
        agent_queries: NamedDependency[AgentQueries],
        must_exist: NamedDependency[MustExist],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[StepView]:
        """The journal of the run's agents, oldest first; empty while none has begun."""
        await must_exist(who.tenant_id, run_id)
        after = decode_cursor(cursor, After)
        rows = await agent_queries.steps(who.tenant_id, run_id, limit=limit, after=after)
        return page(rows, limit, lambda row: (row.number,))


def routes(*, definitions: Definitions, toolbox: Toolbox, queries: AgentQueries, must_exist: MustExist) -> Router:
    """The routes on these services. `must_exist` is asked by whoever owns runs."""
    return Router(
        path="/",
        route_handlers=[AgentRoutes],
        dependencies={
            "definitions": instance(definitions),
            "toolbox": instance(toolbox),
            "agent_queries": instance(queries),
            "must_exist": instance(must_exist),
        },
    )


def _agent(agent: AgentDefinition, definitions: Definitions, toolbox: Toolbox) -> AgentView:
    limits = agent.limits
    return AgentView(
        role=agent.role,
        description=agent.description,
        prompt=agent.prompt,
        prompt_versions=[prompt.label for prompt in definitions.versions(agent.role)],
        model=agent.model,
        tools=[_tool(toolbox.tools[name]) for name in agent.tools if name in toolbox.tools],
        limits=LimitsView(
            tokens=limits.tokens,
            cost_usd=usd_text(limits.cost_nanousd),
            seconds=limits.seconds,
            tool_calls=limits.tool_calls,
        ),
    )


def _tool(tool: Tool) -> ToolView:
    return ToolView(
        name=tool.spec.name,
        description=tool.spec.description,
        effect=tool.spec.effect.value,
        unavailable=tool.why_not(),
    )
