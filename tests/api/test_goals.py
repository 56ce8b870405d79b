"""Goals over HTTP: submitted, planned, done, read, cancelled. Agents are scripted, database and engine real."""

import asyncio
import base64
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest
from tests.fakes.planning_agents import a_plan
from tests.fakes.planning_app import PlanningApp, planning_app
from tests.waiting import eventually

from cognitionos.agents.facade import Assignment
from cognitionos.kernel.errors import LimitExceeded
from cognitionos.platform.config import Settings


class BudgetExhausted(LimitExceeded):
    """Named as the gateway names it."""


@pytest.fixture(scope="module")
def app(settings: Settings, run: Any) -> Iterator[PlanningApp]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(planning_app(settings)))
    run(stack.aclose())


async def ended(app: PlanningApp, href: str) -> dict[str, Any]:
    async def final() -> dict[str, Any] | None:
        goal: dict[str, Any] = (await app.client.get(href)).json()
        return goal if goal["status"] in {"succeeded", "failed", "cancelled"} else None

    return await eventually(final) or {}


async def submitted(app: PlanningApp, **changes: Any) -> dict[str, Any]:
    response = await app.client.post("/v1/goals", json={"statement": "Compare the suppliers", **changes})
    assert response.status_code == 202, response.text
    body: dict[str, Any] = response.json()
    assert response.headers["location"] == body["href"] == f"/v1/goals/{body['id']}"
    return body


async def test_a_goal_is_planned_carried_out_and_summarised(app: PlanningApp) -> None:
    app.script([a_plan(t1=[], t2=[], t3=["t1", "t2"])])

    goal = await ended(app, (await submitted(app, budget_usd="0.25"))["href"])

    assert goal["status"] == "succeeded"
    assert [task["key"] for task in goal["plan"]] == ["t1", "t2", "t3"]
    assert goal["plan"][2]["depends_on"] == ["t1", "t2"]
    assert goal["result"] == {"text": "summarizer did summary with ['t3']", "artifacts": []}
    assert goal["budget_usd"] == "0.25"
    run = (await app.client.get(goal["run_href"])).json()
    assert (run["status"], run["total_tasks"], run["tasks"]["succeeded"]) == ("succeeded", 5, 5)
    assert set(run["prompts"]) == {"planner", "executor", "summarizer"}


async def test_a_plan_of_one_task_has_no_summary(app: PlanningApp) -> None:
    app.script([{**a_plan(t1=[]), "t2": None}])

    goal = await ended(app, (await submitted(app))["href"])

    assert goal["result"]["text"] == "executor did t1 with []"
    tasks = (await app.client.get(f"{goal['run_href']}/tasks")).json()
    assert [task["key"] for task in tasks["items"]] == ["plan", "t1"]
    assert tasks["items"][1]["depends_on"] == []


async def test_independent_tasks_overlap(app: PlanningApp) -> None:
    both = asyncio.Barrier(2)

    async def meet(assignment: Assignment) -> str:
        if assignment.task_key in {"t1", "t2"}:
            await both.wait()
        return "met"

    app.script([a_plan(t1=[], t2=[])], do=meet)

    assert (await ended(app, (await submitted(app))["href"]))["status"] == "succeeded"


async def test_a_bad_plan_gets_one_repair_round_with_the_errors_named(app: PlanningApp) -> None:
    agents = app.script([{"t1": {"title": "no instructions"}}, a_plan(t1=[])])

    goal = await ended(app, (await submitted(app))["href"])

    assert goal["status"] == "succeeded"
    [(_, objection)] = agents.questions[1].previous
    assert "t1.instructions" in objection
    events = (await app.client.get(f"{goal['events_href']}?limit=200")).json()["items"]
    assert "plan.rejected" in [event["kind"] for event in events]


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (a_plan(t1=["t2"], t2=["t1"]), "the dependencies go round: t1 -> t2 -> t1"),
        (a_plan(t1=["zz"]), "t1.depends_on: names 'zz', which is no task of the plan"),
        (a_plan(**{f"t{n}": [] for n in range(1, 15)}), "'t13', 't14' cannot be taken: a plan has at most 12 tasks"),
        ({"t1": {**a_plan(t1=[])["t1"], "review": "yes", "budget_share": -5}}, "t1.review: must be true or false"),
    ],
    ids=["a cycle", "a task that is not there", "too many", "wrong types"],
)
async def test_what_a_plan_cannot_mean_is_named_and_repaired(app: PlanningApp, plan: dict[str, Any], told: str) -> None:
    agents = app.script([plan, a_plan(t1=["t2"], t2=[])])

    goal = await ended(app, (await submitted(app))["href"])

    [(_, objection)] = agents.questions[1].previous
    assert told in objection
    assert goal["status"] == "succeeded"
    assert [task["key"] for task in goal["plan"]] == ["t2", "t1"]


async def test_a_plan_that_stays_bad_fails_the_goal_with_a_problem(app: PlanningApp) -> None:
    agents = app.script([{"t1": None}])

    goal = await ended(app, (await submitted(app))["href"])

    assert len(agents.questions) == 2
    events = (await app.client.get(f"{goal['events_href']}?limit=200")).json()["items"]
    assert "run.replanned" not in [event["kind"] for event in events]

    assert (goal["status"], goal["result"]) == ("failed", None)
    assert goal["error"]["type"] == "/problems/invalid-plan"
    assert "at least one task" in goal["error"]["detail"]
    assert "scripted/model" in goal["error"]["detail"]
    assert "COGNITIONOS_MODEL" in goal["error"]["detail"]


async def test_a_plan_that_stays_too_long_fails_the_goal_with_the_limit_and_how_to_lift_it(app: PlanningApp) -> None:
    agents = app.script([a_plan(**{f"t{n}": [] for n in range(1, 15)})] * 2)

    goal = await ended(app, (await submitted(app))["href"])

    assert (len(agents.questions), goal["status"], goal["error"]["type"]) == (2, "failed", "/problems/invalid-plan")
    assert "a plan has at most 12 tasks, t1 to t12" in goal["error"]["detail"]
    assert "'plan_tasks' lets its plans have up to 100 tasks. Another model" in goal["error"]["detail"]
    assert "plan_tasks" not in agents.questions[1].previous[0][1]


async def test_an_exhausted_budget_ends_the_goal_and_is_named(app: PlanningApp) -> None:
    async def too_dear(assignment: Assignment) -> str:
        raise BudgetExhausted("The budget of the goal is used up.")

    app.script([a_plan(t1=[], t2=["t1"])], do=too_dear)

    goal = await ended(app, (await submitted(app))["href"])

    assert goal["status"] == "failed"
    assert goal["error"]["type"] == "/problems/budget-exhausted"


async def test_the_planner_sees_what_memory_knows_and_which_files_there_are(app: PlanningApp) -> None:
    agents = app.script([a_plan(t1=[])], texts=["Suppliers are rated yearly"])
    content = base64.b64encode(b"a,b\n1,2\n").decode()

    goal = await ended(
        app,
        (
            await submitted(
                app,
                inputs=[
                    {"name": "süppliers.csv", "media_type": "text/csv; charset=latin-1", "content_base64": content}
                ],
            )
        )["href"],
    )

    assert "Suppliers are rated yearly" in agents.questions[0].variables["known from memory"]
    assert "süppliers.csv (text/csv; charset=latin-1, 8 bytes)" in agents.questions[0].variables["attached files"]
    file = await app.client.get(goal["inputs"][0]["href"])
    assert (file.status_code, file.content) == (200, b"a,b\n1,2\n")
    assert file.headers["content-type"] == "text/csv; charset=latin-1"
    assert file.headers["content-disposition"] == "attachment; filename*=UTF-8''s%C3%BCppliers.csv"


async def test_cancelling_a_goal_ends_its_run_and_a_second_time_is_a_conflict(app: PlanningApp) -> None:
    working = asyncio.Event()

    async def forever(assignment: Assignment) -> str:
        working.set()
        await asyncio.Event().wait()
        raise AssertionError

    app.script([a_plan(t1=[])], do=forever)
    goal = await submitted(app)
    await working.wait()

    cancelled = await app.client.post(f"{goal['href']}/cancel")
    again = await app.client.post(f"{goal['href']}/cancel")

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert again.status_code == 409
    assert again.json()["type"] == "/problems/goal-already-finished"
    assert (await app.client.get(goal["run_href"])).json()["status"] == "cancelled"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"statement": "  "}, "statement"),
        ({"statement": "x", "budget_usd": "0"}, "budget_usd"),
        ({"statement": "x", "budget_usd": "plenty"}, "budget_usd"),
        ({"statement": "x", "budget_usd": -1}, "budget_usd"),
        ({"statement": "x", "inputs": [{"name": "../x", "content_base64": ""}]}, "inputs.0.name"),
        ({"statement": "x", "inputs": [{"name": "x", "content_base64": "%"}]}, "inputs.0.content_base64"),
        (
            {"statement": "x", "inputs": [{"name": "x", "content_base64": "", "media_type": "csv"}]},
            "inputs.0.media_type",
        ),
        ({"statement": "x", "inputs": [{"name": "x", "content_base64": ""}] * 2}, "inputs.1.name"),
        ({"statement": "x", "wish": 1}, "wish"),
        ({}, "statement"),
    ],
)
async def test_bad_input_names_the_field(app: PlanningApp, body: dict[str, Any], field: str) -> None:
    response = await app.client.post("/v1/goals", json=body)

    assert response.status_code in {400, 422}
    assert [error["field"] for error in response.json()["errors"]] == [field]


async def test_lists_are_paged_and_filtered(app: PlanningApp) -> None:
    app.script([a_plan(t1=[])])
    for _ in range(3):
        await ended(app, (await submitted(app))["href"])

    first = (await app.client.get("/v1/goals", params={"limit": 2, "status": "succeeded"})).json()
    second = (await app.client.get("/v1/goals", params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert len(first["items"]) == 2
    assert {goal["status"] for goal in first["items"]} == {"succeeded"}
    assert not {goal["id"] for goal in first["items"]} & {goal["id"] for goal in second["items"]}
    assert (await app.client.get("/v1/goals", params={"status": "done"})).status_code == 400
    assert len((await app.client.get("/v1/runs", params={"limit": 2})).json()["items"]) == 2


async def test_another_tenant_sees_nothing_of_a_goal(app: PlanningApp) -> None:
    app.script([a_plan(t1=[])])
    goal = await ended(app, (await submitted(app))["href"])

    async with app.other_tenant() as stranger:
        paths = [goal["href"], goal["run_href"], goal["events_href"], f"{goal['run_href']}/tasks"]
        assert [(await stranger.get(path)).status_code for path in paths] == [404] * 4
        assert (await stranger.post(f"{goal['href']}/cancel")).status_code == 404
        assert (await stranger.get("/v1/goals")).json()["items"] == []
    assert (await app.client.get(f"/v1/goals/{uuid4()}")).status_code == 404
