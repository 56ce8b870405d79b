"""Agents over HTTP: who there is, and what they did in a run."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Litestar
from litestar.di import Provide
from tests.conftest import Run
from tests.fakes.agents_bench import Bench, an_assignment
from tests.fakes.agents_gateway import calls, says, verdict
from tests.fakes.planning_engine import a_principal

from cognitionos.agents.infrastructure import http, http_agents
from cognitionos.agents.infrastructure.journal import PostgresJournal
from cognitionos.agents.infrastructure.workspace_store import PostgresFiles
from cognitionos.composition import Services, build
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.platform import http_api, http_problems
from cognitionos.platform.config import Settings


@dataclass
class App:
    """The product's services behind agents' routes."""

    services: Services
    litestar: Litestar

    def client(self, who: Principal) -> httpx.AsyncClient:
        async def as_caller(scope: Any, receive: Any, send: Any) -> None:
            await self.litestar({**scope, "user": who}, receive, send)  # type: ignore[typeddict-item]

        return httpx.AsyncClient(transport=httpx.ASGITransport(as_caller), base_url="http://api")


async def any_run(_tenant_id: UUID, _run_id: UUID) -> None:
    """Runs are planning's: here each of them exists (that strangers' do not: tests/api/test_isolation.py)."""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[App]:
    services = build(settings)
    agents = services.agents
    litestar = Litestar(
        route_handlers=[
            http.routes(queries=agents.queries, must_exist=any_run),
            http_agents.routes(admin=agents.agent_admin, toolbox=agents.toolbox),
        ],
        dependencies={"who": Provide(http_api.principal_of)},
        exception_handlers=http_problems.HANDLERS,
    )
    await services.open()
    try:
        yield App(services, litestar)
    finally:
        await services.close()


@pytest.fixture(scope="module")
def app(settings: Settings, run: Run) -> Iterator[App]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(opened(settings)))
    run(stack.aclose())


async def a_reviewed_run(app: App, who: Principal) -> str:
    """A run whose agent called a tool and was judged; gives its id."""
    database = app.services.base.database
    bench = Bench.of(
        calls(("double", {"n": 21})),
        says("42"),
        verdict(),
        journal=PostgresJournal(database),
        files=PostgresFiles(database),
    )
    assignment = an_assignment(tenant_id=who.tenant_id, review=True)
    await bench.agents.perform(assignment)
    return str(assignment.run_id)


async def test_agents_are_listed_with_prompts_tools_and_limits(app: App) -> None:
    async with app.client(a_principal()) as client:
        answer = (await client.get("/v1/agents")).json()

    agents = {agent["role"]: agent for agent in answer["items"]}
    assert list(agents) == ["planner", "executor", "critic", "researcher", "summarizer"]
    executor = agents["executor"]
    assert (executor["prompt"], executor["prompt_versions"]) == ("executor@2", ["1", "2"])
    assert executor["limits"] == {
        "tokens": 32_000,
        "cost_usd": "1",
        "seconds": 300.0,
        "tool_calls": 10,
        "context_tokens": 16_000,
        "completion_tokens": 4_096,
    }
    tools = {tool["name"]: tool for tool in executor["tools"]}
    assert set(tools) == {
        "python", "list_files", "read_file", "write_file", "http_request", "recall", "remember",
    }  # fmt: skip
    assert "COGNITIONOS_HTTP_ALLOW" in tools["http_request"]["unavailable"]
    assert tools["write_file"]["unavailable"] is None


async def test_a_run_s_steps_are_paged_in_their_order(app: App) -> None:
    who = a_principal()
    run_id = await a_reviewed_run(app, who)
    async with app.client(who) as client:
        first = (await client.get(f"/v1/runs/{run_id}/steps?limit=2")).json()
        rest = (await client.get(f"/v1/runs/{run_id}/steps?cursor={first['next_cursor']}")).json()

    steps = [*first["items"], *rest["items"]]
    assert [(step["role"], step["kind"], step["step"]) for step in steps] == [
        ("executor", "model", "executor/0/0"),
        ("executor", "tool", "executor/0/0.0"),
        ("executor", "model", "executor/0/1"),
        ("critic", "verdict", "critic/0/0"),
    ]
    assert steps[0]["calls"] == ["double"]
    assert (steps[0]["cost_usd"], steps[0]["prompt"], steps[0]["model"]) == (
        "0.000000007",
        "executor@2",
        "scripted/model",
    )
    assert steps[1]["call"] == {
        "tool": "double",
        "arguments": '{"n": 21}',
        "outcome": "ok",
        "result": '{"doubled": 42}',
        "files": [],
    }
    assert rest["next_cursor"] is None


async def test_another_tenant_sees_no_step(app: App) -> None:
    run_id = await a_reviewed_run(app, a_principal())

    async with app.client(a_principal()) as client:
        assert (await client.get(f"/v1/runs/{run_id}/steps")).json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("path", "permission"),
    [("/v1/agents", Permission.AGENTS_READ), (f"/v1/runs/{'0' * 32}/steps", Permission.RUNS_READ)],
)
async def test_each_route_needs_its_permission(app: App, path: str, permission: Permission) -> None:
    without = a_principal(permissions=frozenset(Permission) - {permission})

    async with app.client(without) as client:
        answer = await client.get(path)

    assert answer.status_code == 403
    assert permission.value in answer.json()["detail"]
