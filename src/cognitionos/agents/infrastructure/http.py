"""Agents over HTTP: what they did in a run. Who there is: `http_agents.py`."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from litestar import Controller, Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cognitionos.agents.infrastructure.queries import After, AgentQueries, StepView
from cognitionos.kernel.principal import Permission
from cognitionos.platform.http_api import Who, instance, problems, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page

MustExist = Callable[[UUID, UUID], Awaitable[None]]
"""(tenant, run): raises the `NotFound` of a run that this tenant does not have."""


class AgentRoutes(Controller):
    """The journal of agents."""

    path = "/v1"
    tags = ("agents",)

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


def routes(*, queries: AgentQueries, must_exist: MustExist) -> Router:
    """The routes on these services. `must_exist` is asked by whoever owns runs."""
    return Router(
        path="/",
        route_handlers=[AgentRoutes],
        dependencies={"agent_queries": instance(queries), "must_exist": instance(must_exist)},
    )
