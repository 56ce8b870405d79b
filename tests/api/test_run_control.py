"""Pausing, resuming, cancelling and retrying runs over HTTP."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.fakes.planning_app import PlanningApp, planning_app
from tests.waiting import eventually

from cognitionos.agents.facade import AgentFailed, Assignment
from cognitionos.platform.config import Settings

THREE = {
    "first": {"kind": "agent", "input": {"instructions": "Do the first thing."}},
    "second": {"kind": "agent", "depends_on": ["first"], "input": {"instructions": "Do the second thing."}},
    "third": {"kind": "value", "depends_on": ["second"], "input": {"$ref": "tasks.second.output.text"}},
    "aside": {"kind": "value", "depends_on": ["first"], "input": 1},
}


@dataclass
class Gate:
    """Agents that wait until they are let through, and fail as long as they are told to."""

    entered: list[str] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    failing: set[str] = field(default_factory=set)
    stopped: list[str] = field(default_factory=list)

    async def __call__(self, assignment: Assignment) -> str:
        self.entered.append(assignment.task_key)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.stopped.append(assignment.task_key)
            raise
        if assignment.task_key in self.failing:
            raise AgentFailed("It went wrong.")
        return f"{assignment.task_key} done"


@pytest.fixture(scope="module")
def app(settings: Settings, run: Any) -> Iterator[PlanningApp]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(planning_app(settings)))
    run(stack.aclose())


async def started(app: PlanningApp, gate: Gate, tasks: dict[str, Any] | None = None, *, name: str = "three") -> str:
    """A run of `tasks` whose first agent is at work; gives its address."""
    app.script([], do=gate)
    declared = await app.client.post("/v1/workflows", json={"name": name, "tasks": tasks or THREE})
    assert declared.status_code == 201, declared.text
    response = await app.client.post("/v1/runs", json={"workflow": name})
    assert response.status_code == 202, response.text
    await eventually(lambda: gate.entered)
    return str(response.headers["location"])


async def asked(app: PlanningApp, path: str, **params: Any) -> dict[str, Any]:
    response = await app.client.post(path, params=params)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def shown(app: PlanningApp, href: str) -> dict[str, Any]:
    body: dict[str, Any] = (await app.client.get(href)).json()
    return body


async def until(app: PlanningApp, href: str, *statuses: str) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        body = await shown(app, href)
        return body if body["status"] in statuses else None

    return await eventually(there) or {}


async def kinds(app: PlanningApp, href: str) -> list[str]:
    page = (await app.client.get(f"{href}/events", params={"limit": 200})).json()
    return [event["kind"] for event in page["items"]]


async def statuses(app: PlanningApp, href: str) -> dict[str, str]:
    return {task["key"]: task["status"] for task in (await app.client.get(f"{href}/tasks")).json()["items"]}


async def test_a_paused_run_lets_running_tasks_end_and_starts_no_other_until_it_is_resumed(app: PlanningApp) -> None:
    gate = Gate()
    href = await started(app, gate)

    paused = await asked(app, f"{href}/pause")
    gate.open.set()
    await eventually(lambda: _is(app, href, "first", "succeeded"))

    assert paused["status"] == "paused"
    assert await statuses(app, href) == {
        "first": "succeeded",
        "second": "paused",
        "third": "pending",
        "aside": "paused",
    }
    assert gate.entered == ["first"]
    assert (await asked(app, f"{href}/resume"))["status"] == "running"
    assert (await until(app, href, "succeeded"))["result_text"] is None
    said = await kinds(app, href)
    assert said.index("run.paused") < said.index("run.resumed") < said.index("run.succeeded")


async def test_pausing_twice_says_it_once_and_resuming_what_runs_is_a_conflict(app: PlanningApp) -> None:
    gate = Gate()
    href = await started(app, gate)

    await asked(app, f"{href}/pause")
    await asked(app, f"{href}/pause")
    await asked(app, f"{href}/resume")
    again = await app.client.post(f"{href}/resume")

    assert (again.status_code, again.json()["type"]) == (409, "/problems/run-not-paused")
    assert (await kinds(app, href)).count("run.paused") == 1
    gate.open.set()
    await until(app, href, "succeeded")
    assert (await app.client.post(f"{href}/pause")).json()["type"] == "/problems/run-already-finished"


async def test_a_run_paused_now_stops_its_agents_after_their_next_step_and_takes_them_up_again(
    app: PlanningApp,
) -> None:
    gate = Gate()
    say = asyncio.Event()

    async def in_steps(assignment: Assignment) -> str:
        gate.entered.append(assignment.task_key)
        await say.wait()
        await assignment.report("agent.step", {"number": 2})
        gate.stopped.append("not at all")
        return "done"

    app.script([], do=in_steps)
    await app.client.post("/v1/workflows", json={"name": "one", "tasks": {"a": THREE["first"]}})
    href = str((await app.client.post("/v1/runs", json={"workflow": "one"})).headers["location"])
    await eventually(lambda: gate.entered)

    await asked(app, f"{href}/pause", now=True)
    say.set()
    await eventually(lambda: _is(app, href, "a", "paused"))
    stopped = list(gate.stopped)
    await asked(app, f"{href}/resume")

    assert (stopped, (await until(app, href, "succeeded"))["result_text"]) == ([], "done")
    assert gate.entered == ["a", "a"]


async def test_pause_and_cancel_reach_the_runs_that_a_run_has_started(app: PlanningApp) -> None:
    gate = Gate()
    app.script([], do=gate)
    await app.client.post("/v1/workflows", json={"name": "below", "tasks": THREE})
    above = {"child": {"kind": "workflow", "input": {"workflow": "below"}}}
    await app.client.post("/v1/workflows", json={"name": "above", "tasks": above})
    href = str((await app.client.post("/v1/runs", json={"workflow": "above"})).headers["location"])
    await eventually(lambda: gate.entered)
    newest = (await app.client.get("/v1/runs", params={"limit": 1})).json()["items"][0]["href"]

    await asked(app, f"{href}/pause")
    paused = (await shown(app, newest))["status"]
    await asked(app, f"{href}/resume")
    resumed = (await shown(app, newest))["status"]
    await asked(app, f"{href}/cancel")

    assert (paused, resumed, (await shown(app, newest))["status"]) == ("paused", "running", "cancelled")
    await eventually(lambda: gate.stopped == ["first"], timeout_s=1)


async def test_a_paused_run_can_be_cancelled(app: PlanningApp) -> None:
    gate = Gate()
    href = await started(app, gate)
    await asked(app, f"{href}/pause")

    cancelled = await asked(app, f"{href}/cancel")

    assert (cancelled["status"], cancelled["tasks"]["paused"]) == ("cancelled", 0)
    await eventually(lambda: gate.stopped == ["first"], timeout_s=1)


async def test_what_failed_is_retried_and_what_had_succeeded_is_kept(app: PlanningApp) -> None:
    gate = Gate(failing={"second"})
    href = await started(app, gate)
    gate.open.set()
    await until(app, href, "failed")
    gate.failing.clear()

    again = await asked(app, f"{href}/retry")
    done = await until(app, href, "succeeded", "failed")

    assert (again["status"], again["error"], again["finished_at"]) == ("running", None, None)
    assert done["status"] == "succeeded"
    assert gate.entered == ["first", "second", "second"]
    assert len(app.agents.anew) >= 1
    assert "run.retried" in await kinds(app, href)


async def test_a_cancelled_run_can_be_taken_up_again_and_one_that_succeeded_cannot(app: PlanningApp) -> None:
    gate = Gate()
    href = await started(app, gate)
    await asked(app, f"{href}/cancel")
    gate.open.set()

    await asked(app, f"{href}/retry")
    await until(app, href, "succeeded")
    refused = await app.client.post(f"{href}/retry")

    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/run-not-failed")
    assert "fork" in refused.json()["detail"]


async def test_a_goal_follows_its_run_through_pause_and_retry(app: PlanningApp) -> None:
    gate = Gate(failing={"t1"})
    app.script([{"t1": {"title": "Do it", "instructions": "Do it."}}], do=gate)
    goal = (await app.client.post("/v1/goals", json={"statement": "Do it", "replans": 0})).json()
    await eventually(lambda: gate.entered)

    await asked(app, f"{goal['run_href']}/pause")
    while_paused = (await shown(app, goal["href"]))["status"]
    await asked(app, f"{goal['run_href']}/resume")
    gate.open.set()
    failed = await until(app, goal["href"], "failed")
    gate.failing.clear()
    await asked(app, f"{goal['run_href']}/retry")
    done = await until(app, goal["href"], "succeeded", "failed")

    assert (while_paused, failed["error"]["detail"]) == ("paused", "It went wrong.")
    assert (done["status"], done["result"]["text"], done["error"]) == ("succeeded", "t1 done", None)


async def test_a_run_of_somebody_else_is_not_there(app: PlanningApp) -> None:
    gate = Gate()
    href = await started(app, gate)

    async with app.other_tenant() as other:
        answers = [(await other.post(f"{href}/{verb}")).status_code for verb in ("pause", "resume", "retry")]

    assert answers == [404, 404, 404]
    await asked(app, f"{href}/cancel")


async def _is(app: PlanningApp, href: str, key: str, status: str) -> bool:
    return (await statuses(app, href))[key] == status
