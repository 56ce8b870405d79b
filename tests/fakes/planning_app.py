"""Planning's routes and engine on real servers, with scripted agents, behind a caller who is given."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
from litestar import Litestar
from litestar.di import Provide
from tests.fakes.planning_agents import CountingGateway, Do, KnownTexts, ScriptedAgents, said
from tests.fakes.planning_engine import a_principal, running_loops

from cognitionos.composition import base as platform
from cognitionos.composition import planning
from cognitionos.composition.planning import PlanningServices
from cognitionos.kernel.principal import Principal
from cognitionos.planning.infrastructure import http, http_approvals, http_run_control, http_schedules, http_webhooks
from cognitionos.platform import http_api, http_problems
from cognitionos.platform.config import Settings


@dataclass(kw_only=True)
class PlanningApp:
    """The application, a client of it, and the parts that a test scripts."""

    litestar: Litestar
    base: platform.Base
    services: PlanningServices
    agents: ScriptedAgents
    memory: KnownTexts
    gateway: CountingGateway
    who: Principal
    client: httpx.AsyncClient

    def script(self, plans: list[Any], *, do: Do = said, texts: list[str] | None = None) -> ScriptedAgents:
        """Say what the agents say from now on."""
        self.agents.plans, self.agents.do, self.agents.questions = plans, do, []
        self.memory.texts = texts or []
        return self.agents

    @asynccontextmanager
    async def other_tenant(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client of somebody else."""
        async with self.as_somebody(a_principal()) as client:
            yield client

    @asynccontextmanager
    async def as_somebody(self, who: Principal) -> AsyncIterator[httpx.AsyncClient]:
        """A client of `who`."""
        async with _client(self.litestar, who) as client:
            yield client


@asynccontextmanager
async def planning_app(settings: Settings) -> AsyncIterator[PlanningApp]:
    """Open everything, with one engine running."""
    base = platform.build(settings)
    agents, memory, gateway = ScriptedAgents(plans=[{}]), KnownTexts(), CountingGateway()

    async def no_http(*_: Any, **__: Any) -> Any:
        raise AssertionError("no task of kind http in these tests")

    services = planning.build(
        base, gateway=cast("Any", gateway), memory=cast("Any", memory), agents=cast("Any", agents), send_http=no_http
    )
    litestar = Litestar(
        route_handlers=[
            http.routes(
                goals=services.goals,
                runs=services.runs,
                workflows=services.workflows,
                workflow_queries=services.workflow_queries,
                queries=services.queries,
                event_streams=services.event_streams,
                run_files=services.run_files,
            ),
            http_approvals.routes(
                approvals=services.approvals, queries=services.approval_queries, signals=services.run_signals
            ),
            http_run_control.routes(services.control, services.queries),
            http_schedules.routes(services.scheduling.schedules, services.scheduling.queries),
            http_webhooks.routes(services.telling.webhooks, services.telling.queries),
        ],
        dependencies={"who": Provide(http_api.principal_of)},
        exception_handlers=http_problems.HANDLERS,
    )
    resources = (*base.resources, *services.resources)
    for resource in resources:
        await resource.open()
    who = a_principal()
    async with running_loops(*services.background), _client(litestar, who) as client:
        yield PlanningApp(
            litestar=litestar,
            base=base,
            services=services,
            agents=agents,
            memory=memory,
            gateway=gateway,
            who=who,
            client=client,
        )
    for resource in reversed(resources):
        await resource.close()
    await base.redis.aclose()


def _client(app: Litestar, who: Principal) -> httpx.AsyncClient:
    async def as_caller(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "user": who}, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(as_caller), base_url="http://api")
