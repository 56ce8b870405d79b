"""SIGKILL of API and worker while a goal is taken and carried out: it is done once, with every effect of its agents."""

import asyncio
import importlib
import json
import pkgutil
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from tests.crash import test_scheduler_killed, test_worker_killed
from tests.crash.kit import a_product, its_child_died
from tests.edge import a_caller
from tests.fakes.planning_model import DOOM, Actor
from tests.upstream import Upstream, running_upstream
from tests.waiting import eventually

import cognitionos
from cognitionos.cli.crash_test.points import asleep, died_at_its_point
from cognitionos.cli.crash_test.processes import Processes
from cognitionos.cli.crash_test.sink import Sink, running_sink
from cognitionos.platform import crash_points
from cognitionos.platform.config import Settings

WORKER_POINTS = (
    "planner.after_answer",
    "agents.after_model_answer",
    "agents.after_step",
    "agents.after_tool_effect",
    "llm_gateway.after_hold",
    "llm_gateway.before_settle",
    "llm_gateway.after_settle",
)
REPLAN_POINTS = ("engine.in_replan", "planner.before_replan", "engine.in_graft")
API_POINTS = (
    "goals.before_commit",
    "goals.after_commit",
    "runs.cancel_committed",
    "runs.journals_set_aside",
    "workflows.declared",
    "approvals.decided",
    "signals.sent",
)
GOAL = {"statement": "Do two things, one after the other", "budget_usd": "1"}


@dataclass(kw_only=True)
class Scene:
    """Processes to kill, a model and a canary that outlive them, and a client of the API."""

    product: Processes
    canary: Sink
    upstream: Upstream
    client: aiohttp.ClientSession
    port: int
    survivor: asyncio.subprocess.Process = field(init=False)

    async def call(self, method: str, path: str, *, port: int | None = None, **more: Any) -> tuple[int, Any]:
        """Status and body; status 0 when nobody answered to the end. Without a `port`, the API that lives is asked."""
        try:
            async with self.client.request(method, f"http://127.0.0.1:{port or self.port}{path}", **more) as response:
                return response.status, await response.json() if response.content_type.endswith("json") else None
        except aiohttp.ClientError:
            return 0, None

    async def api(self, port: int, *, crash_point: str | None = None) -> asyncio.subprocess.Process:
        """The API, ready."""
        process = await self.product.api(port, crash_point=crash_point)

        async def ready() -> bool:
            return (await self.call("GET", "/health/ready", port=port))[0] == 200

        await eventually(ready, timeout_s=30)
        return process

    async def dies_at(self, crash_point: str, method: str, path: str, **more: Any) -> bool:
        """Whether an API with this crash point dies of this request, without an answer."""
        port = _free_port()
        dying = await self.api(port, crash_point=crash_point)
        status, _ = await self.call(method, path, port=port, **more)
        return status == 0 and await its_child_died(dying)

    async def ends(self, goal: dict[str, Any], *, within_s: float = 25.0) -> dict[str, Any]:
        """The goal when it has ended."""

        async def final() -> dict[str, Any] | None:
            _, shown = await self.call("GET", goal["href"])
            return shown if shown and shown["status"] in {"succeeded", "failed", "cancelled"} else None

        return await eventually(final, timeout_s=within_s) or {}


@pytest.fixture(scope="module")
def scene(settings: Settings, run: Any) -> Iterator[Scene]:
    stack = AsyncExitStack()

    async def set_up() -> Scene:
        canary = await stack.enter_async_context(running_sink())
        upstream = await stack.enter_async_context(running_upstream())
        upstream.script = Actor(upstream, canary.url)
        product = await stack.enter_async_context(
            a_product(
                settings,
                COGNITIONOS_HTTP_ALLOW=canary.address,
                OPENAI_BASE_URL=upstream.base_url,
                OPENAI_API_KEY=upstream.api_key or "",
                COGNITIONOS_MODEL="gpt-4o-mini",
            )
        )
        caller = await a_caller(settings, "crash")
        client = await stack.enter_async_context(
            aiohttp.ClientSession(headers=caller.headers, timeout=aiohttp.ClientTimeout(total=10))
        )
        scene = Scene(product=product, canary=canary, upstream=upstream, client=client, port=_free_port())
        scene.survivor, _ = await asyncio.gather(product.worker(), scene.api(scene.port))
        return scene

    yield run(set_up())
    run(stack.aclose())


async def test_a_goal_that_was_not_committed_was_never_there(scene: Scene) -> None:
    assert await scene.dies_at("goals.before_commit", "POST", "/v1/goals", json=GOAL)

    assert (await scene.call("GET", "/v1/goals"))[1]["items"] == []


async def test_a_goal_that_was_committed_is_carried_out_though_nobody_could_be_told(scene: Scene) -> None:
    scene.canary.reset()

    assert await scene.dies_at("goals.after_commit", "POST", "/v1/goals", json=GOAL)

    [goal] = (await scene.call("GET", "/v1/goals"))[1]["items"]
    assert (await scene.ends(goal))["status"] == "succeeded"
    assert scene.canary.applied == 2


@pytest.mark.parametrize("point", WORKER_POINTS)
async def test_a_goal_survives_the_death_of_its_worker(scene: Scene, point: str) -> None:
    scene.canary.reset()
    async with asleep(scene.survivor):
        dying = await scene.product.worker(crash_point=point)
        _, goal = await scene.call("POST", "/v1/goals", json=GOAL)
        assert await died_at_its_point(dying)

    ended = await scene.ends(goal)

    assert ended["status"] == "succeeded", ended
    assert (scene.canary.applied, scene.canary.keyless) == (2, 0)
    status, events = await scene.call("GET", f"{goal['events_href']}?limit=200")
    assert status == 200, events
    assert [event["seq"] for event in events["items"]] == list(range(1, len(events["items"]) + 1))


@pytest.mark.parametrize("point", ["agents.after_step", "agents.after_tool_effect"])
async def test_a_task_goes_on_elsewhere_by_the_definition_it_began_with_though_its_agent_is_gone(
    scene: Scene, point: str
) -> None:
    scene.canary.reset()
    name, before = f"payer-{point.rpartition('_')[2]}", len(scene.upstream.calls)
    given = {"description": "pays", "prompt": "payer", "tools": ["http_request"]}
    prompt = {"text": "You pay what you are told to pay, and say so."}
    assert (await scene.call("PUT", "/v1/prompts/payer", json=prompt))[0] in {200, 201}
    status, told = await scene.call("PUT", f"/v1/agents/{name}", json=given)
    assert status in {200, 201}, told
    tasks = {"pay": {"kind": "agent", "input": {"instructions": "Pay.", "agent": name}}}
    assert (await scene.call("POST", "/v1/workflows", json={"name": name, "tasks": tasks}))[0] == 201
    async with asleep(scene.survivor):
        dying = await scene.product.worker(crash_point=point)
        _, run = await scene.call("POST", "/v1/runs", json={"workflow": name})
        assert await died_at_its_point(dying)
        assert (await scene.call("DELETE", f"/v1/agents/{name}"))[0] == 204

    ended = await scene.ends(run)

    assert (ended["status"], ended["result_text"]) == ("succeeded", "The thing is done."), ended
    assert (scene.canary.applied, scene.canary.keyless) == (1, 0)
    assert all(prompt["text"] in json.dumps(call["messages"]) for call in scene.upstream.calls[before:])
    [task] = (await scene.call("GET", f"{run['href']}/tasks"))[1]["items"]
    assert task["attempt"] == 2
    status, refused = await scene.call("POST", "/v1/runs", json={"workflow": name})
    assert status == 202, refused
    assert (await scene.ends(refused))["error"]["type"] == "/problems/agent-not-found"


@pytest.mark.parametrize("point", REPLAN_POINTS)
async def test_a_goal_that_is_planned_anew_survives_the_death_of_its_worker(scene: Scene, point: str) -> None:
    scene.canary.reset()
    async with asleep(scene.survivor):
        dying = await scene.product.worker(crash_point=point)
        _, goal = await scene.call("POST", "/v1/goals", json={"statement": f"Do it {DOOM}", "budget_usd": "1"})
        assert await died_at_its_point(dying)

    ended = await scene.ends(goal)

    _, plan = await scene.call("GET", f"{goal['href']}/plan")
    assert ended["status"] == "succeeded", ended
    assert [(task["key"], task["status"]) for task in plan["tasks"]] == [("t1", "failed"), ("t1.n1", "succeeded")]
    assert (plan["replans"], scene.canary.applied, scene.canary.keyless) == (1, 2, 0)


async def test_a_cancellation_holds_though_the_api_dies_before_it_can_tell_anybody(scene: Scene) -> None:
    scene.canary.reset(delay_s=30)
    _, goal = await scene.call("POST", "/v1/goals", json=GOAL)
    await eventually(lambda: scene.canary.seen)

    assert await scene.dies_at("runs.cancel_committed", "POST", f"{goal['href']}/cancel")

    scene.canary.delay_s = 0
    assert (await scene.ends(goal))["status"] == "cancelled"
    _, next_goal = await scene.call("POST", "/v1/goals", json=GOAL)
    assert (await scene.ends(next_goal))["status"] == "succeeded"


async def test_a_retry_that_died_half_way_is_asked_for_again_and_doubles_no_effect(scene: Scene) -> None:
    scene.canary.reset(delay_s=30)
    _, goal = await scene.call("POST", "/v1/goals", json=GOAL)
    await eventually(lambda: scene.canary.seen)
    await scene.call("POST", f"{goal['href']}/cancel")
    scene.canary.delay_s = 0

    assert await scene.dies_at("runs.journals_set_aside", "POST", f"{goal['run_href']}/retry")

    assert (await scene.ends(goal))["status"] == "cancelled"
    assert (await scene.call("POST", f"{goal['run_href']}/retry"))[0] == 200
    assert (await scene.ends(goal))["status"] == "succeeded"
    assert (scene.canary.applied, scene.canary.keyless) == (2, 0)


@pytest.mark.parametrize(
    ("point", "kind", "given", "answer"),
    [
        ("approvals.decided", "approval", {"prompt": "May we?"}, {"comment": "yes"}),
        ("signals.sent", "wait", {"signal": "go"}, {"payload": "yes"}),
    ],
)
async def test_what_was_answered_counts_once_though_nobody_could_be_told(
    scene: Scene, point: str, kind: str, given: dict[str, Any], answer: dict[str, Any]
) -> None:
    tasks = {"ask": {"kind": kind, "input": given}}
    await scene.call("POST", "/v1/workflows", json={"name": kind, "tasks": tasks})
    _, run = await scene.call("POST", "/v1/runs", json={"workflow": kind})

    async def waits() -> bool:
        return bool((await scene.call("GET", run["href"]))[1]["status"] == "waiting")

    await eventually(waits)
    [path] = [f"{run['href']}/signals/go"]
    if kind == "approval":
        [approval] = (await scene.call("GET", f"/v1/approvals?run_id={run['id']}"))[1]["items"]
        path = f"{approval['href']}/approve"

    assert await scene.dies_at(point, "POST", path, json=answer)

    shown = await scene.ends(run)
    status, again = await scene.call("POST", path, json=answer)
    assert shown["status"] == "succeeded"
    assert (status, again["status"]) == ((200, "approved") if kind == "approval" else (409, 409))


async def test_a_workflow_that_was_declared_is_the_same_version_when_it_is_declared_again(scene: Scene) -> None:
    workflow = {"name": "nightly", "tasks": {"one": {"kind": "value", "input": {"text": "x"}}}}

    assert await scene.dies_at("workflows.declared", "POST", "/v1/workflows", json=workflow)

    status, declared = await scene.call("POST", "/v1/workflows", json=workflow)
    assert (status, declared["version"]) == (201, 1)


async def test_an_api_that_is_asked_to_stop_ends_its_streams_and_they_go_on_elsewhere(scene: Scene) -> None:
    scene.canary.reset(delay_s=30)
    port = _free_port()
    leaving = await scene.api(port)
    _, goal = await scene.call("POST", "/v1/goals", json=GOAL)
    headers = {"accept": "text/event-stream"}
    async with scene.client.get(f"http://127.0.0.1:{port}{goal['events_href']}", headers=headers) as stream:
        seen = await stream.content.readuntil(b"\n\n")
        leaving.terminate()
        seen += await stream.content.read()
    async with asyncio.timeout(8):  # far below what the server waits for answers that are still open
        await leaving.wait()

    last = max(int(line[4:]) for line in seen.splitlines() if line.startswith(b"id: "))
    _, rest = await scene.call("GET", f"{goal['events_href']}?after={last}")
    assert [event["seq"] for event in rest["items"]] == list(range(last + 1, last + 1 + len(rest["items"])))
    assert (await scene.call("POST", f"{goal['href']}/cancel"))[0] == 200


def test_every_crash_point_of_the_product_is_killed_at_here() -> None:
    for module in pkgutil.walk_packages(cognitionos.__path__, "cognitionos."):
        if not module.name.endswith(("__main__", "sandbox_guest", "litellm_provider")):
            importlib.import_module(module.name)

    assert crash_points.known() == {
        *WORKER_POINTS,
        *REPLAN_POINTS,
        *API_POINTS,
        *test_worker_killed.POINTS,
        *test_scheduler_killed.POINTS,
    }


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
