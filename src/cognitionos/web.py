"""The API process: one Litestar application over the services."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.di import Provide
from litestar.types import ASGIApp, ControllerRouterHandler

from cognitionos import __version__
from cognitionos.agents.infrastructure import http as agents_http
from cognitionos.agents.infrastructure import http_agents, http_conversations, http_mcp, http_tool_packages, http_tools
from cognitionos.composition import Services, build, explaining
from cognitionos.composition.planning import PlanningServices
from cognitionos.llm_gateway.infrastructure import (
    http_anthropic,
    http_budgets,
    http_cache,
    http_circuits,
    http_default_model,
    http_models,
    http_openai,
    http_prices,
    http_responses,
    http_semantic,
    http_usage,
)
from cognitionos.memory.infrastructure import http as memory_http
from cognitionos.planning.infrastructure import http as planning_http
from cognitionos.planning.infrastructure import (
    http_approvals,
    http_explain,
    http_run_control,
    http_schedules,
    http_webhooks,
)
from cognitionos.platform import (
    health,
    http_api,
    http_catalogue,
    http_document,
    http_problems,
    idempotency,
    logging,
    middleware,
    rate_limit,
    telemetry,
)
from cognitionos.platform.config import Settings
from cognitionos.platform.database_silence import SilenceWatch
from cognitionos.platform.draining import Draining
from cognitionos.platform.hot_routes import HotRoutes
from cognitionos.tenancy.infrastructure import http as tenancy_http

MAX_BODY_BYTES = 48 * 2**20  # inputs of a goal: 32 MiB, as base64


def create_app(settings: Settings | None = None) -> Litestar:
    """The application, built but not open: its services open on the server's own loop."""
    settings = settings or Settings()
    logging.configure(settings)
    flush_traces = telemetry.configure(settings, service="api")
    services = build(settings)
    silence = SilenceWatch(services.base.database, within_s=settings.database_silence_s)

    @asynccontextmanager
    async def life(_app: Litestar) -> AsyncIterator[None]:
        await services.open()
        await silence.open()
        try:
            yield
        finally:
            await services.close()
            await silence.close()
            flush_traces()

    authenticate = services.tenancy.authenticate
    rate = middleware.RateLimit(rate_limit.over(services.base.scripts), per_minute=settings.rate_limit_per_minute)
    hot = {"/v1/chat/completions": http_openai.hot_chat(services.llm_gateway.gateway)}
    app = Litestar(
        route_handlers=_routes(services),
        lifespan=[life],
        dependencies={"who": Provide(http_api.principal_of)},
        exception_handlers=http_problems.HANDLERS,
        openapi_config=http_document.openapi_config(__version__),
        middleware=middleware.guarded(
            authenticate,
            rate,
            then=[idempotency.Idempotency(idempotency.IdempotencyStore(services.base.database))],
        ),
        plugins=[http_document.CommonErrors()],
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
    )

    app.state.draining = draining = Draining(after_s=settings.drain_s, refuse=http_problems.refusal)

    def inside(framework: ASGIApp) -> ASGIApp:
        hot_first = HotRoutes(framework, hot, authenticate=authenticate, rate=rate, most_bytes=MAX_BODY_BYTES)
        return draining.around(hot_first)

    return middleware.observe(app, first=inside)


def _agent_routes(services: Services) -> list[ControllerRouterHandler]:
    agents = services.agents
    return [
        agents_http.routes(
            queries=agents.queries,
            must_exist=services.planning.queries.must_exist,
        ),
        http_agents.routes(admin=agents.agent_admin, toolbox=agents.toolbox),
        http_conversations.routes(
            conversations=agents.conversing.conversations,
            talks=agents.conversing.talks,
            streams=agents.conversing.streams,
            queries=agents.queries,
        ),
        http_mcp.routes(agents.mcp_door),
        http_tools.routes(
            toolbox=agents.toolbox, store=agents.tool_store, admin=agents.tool_admin, names=agents.agents.names
        ),
        http_tool_packages.routes(agents.packages),
    ]


def _gateway_routes(services: Services) -> list[ControllerRouterHandler]:
    gateway = services.llm_gateway
    return [
        http_default_model.routes(gateway.gateway, gateway.catalogue, gateway.prices),
        http_openai.routes(gateway.gateway, gateway.catalogue),
        http_prices.routes(gateway.prices, gateway.catalogue),
        http_usage.routes(gateway.usage, services.base.now),
        http_budgets.routes(
            budgets=gateway.budgets,
            book=gateway.budget_book,
            queries=gateway.budget_queries,
            alerts=gateway.alerts,
        ),
        http_semantic.routes(rulebook=gateway.semantic.rulebook, store=gateway.semantic.store),
        http_anthropic.routes(gateway.gateway, gateway.catalogue),
        http_circuits.routes(
            gateway.circuits, gateway.gateway.completion.attempts.deployments.rules, gateway.circuit_history
        ),
        http_responses.routes(gateway.gateway, now=services.base.now),
        http_cache.routes(gateway.caches.voids, gateway.cache_door),
        http_models.routes(
            own_models=gateway.own_models,
            catalogue=gateway.catalogue,
            keys=gateway.provider_keys,
        ),
    ]


def _routes(services: Services) -> list[ControllerRouterHandler]:
    """Every route of the product."""
    return [
        health.routes(services.base.database, services.base.redis),
        http_document.document,
        http_catalogue.problem_page,
        tenancy_http.routes(
            tenants=services.tenancy.tenants,
            api_keys=services.tenancy.api_keys,
            queries=services.tenancy.queries,
        ),
        *_gateway_routes(services),
        memory_http.routes(
            remember=services.memory.remember, recall=services.memory.recall, queries=services.memory.queries
        ),
        *_agent_routes(services),
        *_planning_routes(services.planning),
        http_explain.routes(explaining.build(services.base.database)),
    ]


def _planning_routes(planning: PlanningServices) -> list[ControllerRouterHandler]:
    """Goals, workflows, runs, and what people decide about them."""
    return [
        http_approvals.routes(
            approvals=planning.approvals,
            queries=planning.approval_queries,
            signals=planning.run_signals,
        ),
        planning_http.routes(
            goals=planning.goals,
            runs=planning.runs,
            workflows=planning.workflows,
            workflow_queries=planning.workflow_queries,
            queries=planning.queries,
            event_streams=planning.event_streams,
            run_files=planning.run_files,
        ),
        http_run_control.routes(planning.control, planning.queries),
        http_schedules.routes(planning.scheduling.schedules, planning.scheduling.queries),
        http_webhooks.routes(planning.telling.webhooks, planning.telling.queries),
    ]
