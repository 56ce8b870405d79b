"""Runs that are marked critical, and whose workflow their agents' calls name."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.fakes.planning_agents import a_plan
from tests.fakes.planning_app import PlanningApp, planning_app
from tests.waiting import eventually

from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def app(settings: Settings, run: Any) -> Iterator[PlanningApp]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(planning_app(settings)))
    run(stack.aclose())


async def ended(app: PlanningApp, path: str, body: dict[str, Any]) -> str:
    """Start it and wait for its end; gives where it is."""
    response = await app.client.post(path, json=body)
    assert response.status_code == 202, response.text

    async def final() -> bool:
        shown = (await app.client.get(response.headers["location"])).json()
        return shown["status"] in {"succeeded", "failed"}

    await eventually(final)
    return response.headers["location"]


@pytest.mark.parametrize("critical", [True, False])
async def test_a_goal_s_planner_and_its_agents_know_whether_it_is_critical(app: PlanningApp, *, critical: bool) -> None:
    app.script([{**a_plan(t1=[]), "t2": None}])
    app.agents.assignments.clear()

    await ended(app, "/v1/goals", {"statement": "Mind the money"} | ({"critical": True} if critical else {}))

    asked = [*app.agents.questions, *app.agents.assignments]
    assert [(each.critical, each.workflow) for each in asked] == [(critical, None)] * 2


async def test_a_workflow_s_agents_know_its_name_and_whether_the_run_is_critical(app: PlanningApp) -> None:
    app.script([])
    app.agents.assignments.clear()
    tasks = {"write": {"kind": "agent", "input": {"instructions": "Write."}}}
    await app.client.post("/v1/workflows", json={"name": "nightly", "tasks": tasks})

    await ended(app, "/v1/runs", {"workflow": "nightly", "critical": True})
    await ended(app, "/v1/runs", {"workflow": "nightly"})

    assert [(each.workflow, each.critical) for each in app.agents.assignments] == [
        ("nightly", True),
        ("nightly", False),
    ]


async def test_what_a_critical_run_nests_and_what_is_forked_from_it_is_critical_too(app: PlanningApp) -> None:
    app.script([])
    inner = {"write": {"kind": "agent", "input": {"instructions": "Write."}}}
    outer = {"inside": {"kind": "workflow", "input": {"workflow": "inner"}}}
    for name, tasks in (("inner", inner), ("outer", outer)):
        response = await app.client.post("/v1/workflows", json={"name": name, "tasks": tasks})
        assert response.status_code == 201, response.text
    app.agents.assignments.clear()

    await ended(app, "/v1/runs", {"workflow": "outer", "critical": True})
    run = await ended(app, "/v1/runs", {"workflow": "inner", "critical": True})
    await ended(app, f"{run}/fork", {"from": "write"})

    assert [(each.workflow, each.critical) for each in app.agents.assignments] == [("inner", True)] * 3
