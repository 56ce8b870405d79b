"""Plans over HTTP: shown, approved or not before they run, and made anew when a task fails for good."""

import json
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.fakes.planning_agents import a_plan, said
from tests.fakes.planning_app import PlanningApp, planning_app
from tests.waiting import eventually

from cognitionos.agents.facade import AgentFailed, Assignment, Question
from cognitionos.kernel.errors import Invalid, NotFound
from cognitionos.llm_gateway.facade import BudgetExhausted
from cognitionos.platform.config import Settings

FINAL = ("succeeded", "failed", "cancelled")
TWO = a_plan(t1=[], t2=["t1"])
SMALLER = a_plan(n1=[], n2=["n1"])


@pytest.fixture(scope="module")
def app(settings: Settings, run: Any) -> Iterator[PlanningApp]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(planning_app(settings)))
    run(stack.aclose())


async def submitted(app: PlanningApp, **goal: Any) -> dict[str, Any]:
    response = await app.client.post("/v1/goals", json={"statement": "Do the thing", "budget_usd": "1.00", **goal})
    assert response.status_code == 202, response.text
    taken: dict[str, Any] = response.json()
    return taken


async def shown(app: PlanningApp, href: str) -> Any:
    response = await app.client.get(href)
    assert response.status_code == 200, response.text
    return response.json()


async def reaches(app: PlanningApp, goal: dict[str, Any], *statuses: str) -> dict[str, Any]:
    async def there() -> dict[str, Any] | None:
        now = await shown(app, goal["href"])
        return now if now["status"] in statuses else None

    return await eventually(there, timeout_s=30) or {}


async def ended(app: PlanningApp, **goal: Any) -> dict[str, Any]:
    return await reaches(app, await submitted(app, **goal), *FINAL)


async def plan_of(app: PlanningApp, goal: dict[str, Any]) -> dict[str, Any]:
    plan: dict[str, Any] = await shown(app, f"{goal['href']}/plan")
    return plan


async def tasks_of(app: PlanningApp, goal: dict[str, Any]) -> dict[str, Any]:
    page = await shown(app, f"{goal['run_href']}/tasks?limit=200")
    return {task["key"]: task for task in page["items"]}


async def events_of(app: PlanningApp, goal: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    text = (await app.client.get(goal["events_href"], headers={"accept": "text/event-stream"})).text
    frames = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    return [frame for frame in frames if frame.get("kind") == kind]


def failing(*keys: str, with_: Exception | None = None) -> Any:
    """Agents that fail at these tasks."""

    async def do(assignment: Assignment) -> str:
        if assignment.task_key in keys:
            raise with_ or AgentFailed(f"{assignment.task_key} cannot be done this way")
        return await said(assignment)

    return do


async def test_a_plan_is_shown_with_capabilities_and_each_tasks_share_of_the_money(app: PlanningApp) -> None:
    shares = {"t1": {"capability": "research", "budget_share": 30}, "t2": {"capability": "general", "budget_share": 10}}
    app.script([{key: {**TWO[key], **more} for key, more in shares.items()}])

    goal = await ended(app)

    plan = await plan_of(app, goal)
    assert (goal["status"], plan["state"], plan["replans"], plan["most_replans"]) == ("succeeded", "accepted", 0, 1)
    told = [(task["key"], task["capability"], task["budget_share"], task["budget_usd"]) for task in plan["tasks"]]
    assert told == [("t1", "research", 75, "0.75"), ("t2", "general", 25, "0.25")]
    assert [task["depends_on"] for task in plan["tasks"]] == [[], ["t1"]]
    assert {task["status"] for task in plan["tasks"]} == {"succeeded"}
    assert next(each.role for each in app.agents.assignments if each.task_key == "t1") == "researcher"


async def test_a_tasks_share_is_the_most_that_its_calls_may_cost(app: PlanningApp) -> None:
    app.script([{"t1": {**TWO["t1"], "budget_share": 60}, "t2": {**TWO["t2"], "budget_share": 40}}])

    goal = await ended(app)

    tasks = await tasks_of(app, goal)
    limits = {key: app.gateway.budgets.get((app.who.tenant_id, f"task:{task['id']}")) for key, task in tasks.items()}
    assert limits == {"plan": None, "t1": 600_000_000, "t2": 400_000_000, "summary": None}


async def test_a_plan_waits_for_a_person_and_runs_when_approved(app: PlanningApp) -> None:
    app.script([TWO])
    goal = await reaches(app, await submitted(app, approve_plan=True), "waiting")

    before = await plan_of(app, goal)
    asked = before["plans"][0]["approval"]
    said_yes = await app.client.post(f"/v1/approvals/{asked['id']}/approve", json={"comment": "go"})
    after = await reaches(app, goal, *FINAL)

    assert (before["state"], asked["status"], before["approve_plan"]) == ("proposed", "pending", True)
    assert [(task["key"], task["status"]) for task in before["tasks"]] == [("t1", None), ("t2", None)]
    assert said_yes.status_code == 200
    assert (after["status"], len(app.agents.questions)) == ("succeeded", 1)
    assert (await plan_of(app, goal))["state"] == "accepted"
    [proposed] = await events_of(app, goal, "plan.proposed")
    assert [task["key"] for task in proposed["data"]["tasks"]] == ["t1", "t2"]


async def test_a_rejected_plan_fails_the_goal_with_the_persons_words(app: PlanningApp) -> None:
    app.script([TWO])
    goal = await reaches(app, await submitted(app, approve_plan=True), "waiting")

    asked = (await plan_of(app, goal))["plans"][0]["approval"]
    await app.client.post(f"/v1/approvals/{asked['id']}/reject", json={"comment": "too dear"})
    after = await reaches(app, goal, *FINAL)

    assert (after["status"], after["error"]["type"]) == ("failed", "/problems/approval-rejected")
    assert "too dear" in after["error"]["detail"]
    assert (await plan_of(app, goal))["state"] == "rejected"
    assert list(await tasks_of(app, goal)) == ["plan"]


async def test_a_plan_that_nobody_approves_in_time_fails_the_goal(app: PlanningApp) -> None:
    app.script([TWO])

    goal = await ended(app, approve_plan=True, plan_deadline_s=1)

    assert (goal["status"], goal["error"]["type"]) == ("failed", "/problems/approval-expired")
    plan = await plan_of(app, goal)
    assert (plan["state"], plan["plans"][0]["approval"]["status"]) == ("rejected", "expired")


async def test_a_task_that_failed_for_good_is_planned_anew_and_what_is_done_stays_done(app: PlanningApp) -> None:
    app.script([a_plan(t1=[], t2=["t1"], t3=["t2"]), SMALLER], do=failing("t2"))
    app.agents.assignments.clear()

    goal = await ended(app)

    tasks = await tasks_of(app, goal)
    assert goal["status"] == "succeeded", goal
    assert {key: task["status"] for key, task in tasks.items()} == {
        "plan": "succeeded",
        "t1": "succeeded",
        "t2": "failed",
        "t3": "succeeded",
        "summary": "succeeded",
        "t2.plan": "succeeded",
        "t2.n1": "succeeded",
        "t2.n2": "succeeded",
        "t2.summary": "succeeded",
    }
    assert [each.task_key for each in app.agents.assignments].count("t1") == 1
    assert (tasks["t2.n1"]["depends_on"], tasks["t3"]["depends_on"]) == (["t1"], ["t2.summary"])
    [event] = await events_of(app, goal, "run.replanned")
    assert (event["task"], event["data"]["by"], event["data"]["number"]) == ("t2", "t2.plan", 1)


async def test_the_planner_is_told_what_failed_and_what_is_done(app: PlanningApp) -> None:
    app.script([TWO, a_plan(n1=[])], do=failing("t2"))

    goal = await ended(app)

    told = app.agents.questions[1].variables
    plan = await plan_of(app, goal)
    assert goal["status"] == "succeeded"
    assert "t1 (Do t1): executor did t1" in told["done so far"]
    assert "instructions of t2" in told["the task that failed"]
    assert told["why it failed"] == "t2 cannot be done this way"
    again = plan["plans"][1]
    assert (again["replaces"], again["because"]["detail"]) == ("t2", "t2 cannot be done this way")
    assert [task["key"] for task in again["tasks"]] == ["t2.n1"]
    assert goal["result"]["text"] == "summarizer did summary with ['t2.n1']"


async def test_after_as_many_new_plans_as_are_allowed_the_goal_fails(app: PlanningApp) -> None:
    app.script([a_plan(t1=[]), a_plan(n1=[])], do=failing("t1", "t1.n1", "t1.n1.n1"))

    goal = await ended(app, replans=2)

    assert (goal["status"], goal["error"]["detail"]) == ("failed", "t1.n1.n1 cannot be done this way")
    assert [event["data"]["number"] for event in await events_of(app, goal, "run.replanned")] == [1, 2]


async def test_of_injected_failures_more_than_four_in_five_are_completed_by_a_new_plan(app: PlanningApp) -> None:
    """Twenty goals, one task of each fails in one of five ways; some of what is planned instead fails as well."""
    chance = random.Random(28)
    ways: list[Exception] = [
        AgentFailed("The critic rejected the result 3 times."),
        AgentFailed("The executor used 32000 tokens.", fields={"limit": "tokens"}),
        TimeoutError(),
        Invalid("The tool does not take that."),
        NotFound("There is no such file."),
    ]
    failing_at = {f"goal {number}": (f"t{chance.randint(1, 3)}", ways[number % 5]) for number in range(20)}
    stubborn = {"goal 7", "goal 13"}

    async def do(assignment: Assignment) -> str:
        key, error = failing_at[assignment.goal]
        if assignment.task_key == key or (assignment.goal in stubborn and assignment.task_key == f"{key}.n1"):
            raise error
        return await said(assignment)

    def planned(question: Question) -> Any:
        return (
            a_plan(n1=[], n2=["n1"])
            if "the task that failed" in question.variables
            else a_plan(t1=[], t2=["t1"], t3=["t2"])
        )

    app.script([planned], do=do)

    taken = [await submitted(app, statement=statement) for statement in failing_at]
    goals = [await reaches(app, goal, *FINAL) for goal in taken]

    plans = [await plan_of(app, goal) for goal in goals]
    completed = sum(goal["status"] == "succeeded" for goal in goals)
    assert [plan["replans"] for plan in plans] == [1] * 20
    assert 16 < completed == 20 - len(stubborn)


async def test_without_new_plans_a_failed_task_fails_the_goal(app: PlanningApp) -> None:
    app.script([a_plan(t1=[])], do=failing("t1"))

    goal = await ended(app, replans=0)

    assert (goal["status"], len(app.agents.questions)) == ("failed", 1)


async def test_a_task_too_large_for_its_share_is_planned_in_smaller_ones(app: PlanningApp) -> None:
    def exhausted(assignment: Assignment) -> BudgetExhausted:
        return BudgetExhausted("The call could cost too much.", subject=f"task:{assignment.task_id}")

    async def do(assignment: Assignment) -> str:
        if assignment.task_key == "t1":
            raise exhausted(assignment)
        return await said(assignment)

    app.script([{"t1": {**TWO["t1"], "budget_share": 5}, "t2": {**TWO["t2"], "budget_share": 95}}, SMALLER], do=do)

    goal = await ended(app)

    because = (await plan_of(app, goal))["plans"][1]["because"]
    assert (goal["status"], because["type"]) == ("succeeded", "/problems/task-too-large")
    assert "$0.05" in because["detail"]


async def test_no_other_plan_is_made_where_the_goals_money_is_gone(app: PlanningApp) -> None:
    gone = BudgetExhausted("Nothing is left.", subject="goal:x")
    app.script([a_plan(t1=[])], do=failing("t1", with_=gone))

    goal = await ended(app)

    assert (goal["status"], goal["error"]["type"]) == ("failed", "/problems/budget-exhausted")
    assert await events_of(app, goal, "run.replanned") == []


async def test_a_new_plan_that_stays_bad_fails_the_goal(app: PlanningApp) -> None:
    app.script([a_plan(t1=[]), {"n1": None}], do=failing("t1"))

    goal = await ended(app)

    assert (goal["status"], goal["error"]["type"]) == ("failed", "/problems/invalid-plan")


async def test_a_retry_of_a_run_that_was_planned_again_does_not_do_what_was_replaced(app: PlanningApp) -> None:
    app.script([a_plan(t1=[]), a_plan(n1=[])], do=failing("t1", "t1.n1"))
    goal = await ended(app)
    app.agents.do, app.agents.assignments[:] = said, []

    await app.client.post(f"{goal['run_href']}/retry", json={})
    after = await reaches(app, goal, "succeeded", "cancelled")

    assert after["result"]["text"] == "executor did t1.n1 with []"
    assert [each.task_key for each in app.agents.assignments] == ["t1.n1"]


@pytest.mark.parametrize("start", ["t1", "t2", "t2.plan"])
async def test_a_fork_from_what_was_replaced_or_before_gives_it_its_place_back(app: PlanningApp, start: str) -> None:
    app.script([a_plan(t1=[], t2=["t1"], t3=["t2"]), SMALLER], do=failing("t2"))
    goal = await ended(app)
    app.agents.do = said

    response = await app.client.post(f"{goal['run_href']}/fork", json={"from": start})
    fork = await reaches(app, {"href": response.headers["location"]}, *FINAL)

    tasks = {task["key"]: task["status"] for task in (await shown(app, f"{fork['tasks_href']}?limit=200"))["items"]}
    assert (fork["status"], fork["result_text"]) == ("succeeded", goal["result"]["text"])
    assert tasks == dict.fromkeys(["plan", "t1", "t2", "t3", "summary"], "succeeded")


async def test_a_fork_after_what_was_replaced_keeps_what_stands_there(app: PlanningApp) -> None:
    app.script([a_plan(t1=[], t2=["t1"], t3=["t2"]), SMALLER], do=failing("t2"))
    goal = await ended(app)
    app.agents.do, app.agents.assignments[:] = said, []

    response = await app.client.post(f"{goal['run_href']}/fork", json={"from": "t2.n2"})
    fork = await reaches(app, {"href": response.headers["location"]}, *FINAL)

    assert fork["status"] == "succeeded"
    assert [each.task_key for each in app.agents.assignments] == ["t2.n2", "t2.summary", "t3", "summary"]
    assert app.agents.assignments[2].inputs == {"t2.summary": "summarizer did t2.summary with ['t2.n2']"}


async def test_the_critical_path_goes_through_the_new_plan(app: PlanningApp) -> None:
    app.script([a_plan(t1=[], t2=["t1"]), a_plan(n1=[])], do=failing("t2"))
    goal = await ended(app)

    path = await shown(app, f"{goal['run_href']}/critical-path")

    assert [each["key"] for each in path["tasks"]] == ["plan", "t1", "t2", "t2.plan", "t2.n1", "summary"]


async def test_the_wishes_for_a_plan_are_checked_and_others_do_not_see_it(app: PlanningApp) -> None:
    app.script([a_plan(t1=[])])

    refused = [
        await app.client.post("/v1/goals", json={"statement": "x", **bad})
        for bad in ({"replans": 151}, {"plan_deadline_s": 0})
    ]
    goal = await ended(app)
    async with app.other_tenant() as client:
        theirs = await client.get(f"{goal['href']}/plan")

    assert {each.status_code for each in refused} <= {400, 422}
    assert theirs.status_code == 404


async def test_a_plan_is_read_page_by_page_across_what_was_planned_anew(app: PlanningApp) -> None:
    app.script([a_plan(t1=[], t2=["t1"], t3=["t2"]), SMALLER], do=failing("t3"))
    goal = await ended(app)
    whole = await plan_of(app, goal)

    pages, cursor = [], ""
    while cursor is not None:
        pages.append(await shown(app, f"{goal['href']}/plan?limit=2{cursor and f'&cursor={cursor}'}"))
        cursor = pages[-1]["next_cursor"]
    wrong = await app.client.get(f"{goal['href']}/plan?cursor=nonsense")

    assert (whole["next_cursor"], whole["replans"], whole["state"]) == (None, 1, "accepted")
    assert [[task["key"] for task in page["tasks"]] for page in pages] == [["t1", "t2"], ["t3", "t3.n1"], ["t3.n2"]]
    assert [[plan["key"] for plan in page["plans"]] for page in pages] == [["plan"], ["plan", "t3.plan"], ["t3.plan"]]
    assert [task for page in pages for task in page["tasks"]] == whole["tasks"]
    assert all(
        {name: page[name] for name in ("state", "replans")} == {"state": "accepted", "replans": 1} for page in pages
    )
    assert wrong.status_code == 400


async def test_a_plan_too_large_for_its_task_s_row_is_shown_whole(app: PlanningApp) -> None:
    many = {f"t{n}": {"title": f"T{n}", "instructions": "x" * 2_000, "depends_on": []} for n in range(1, 61)}
    app.script([many])

    goal = await ended(app, plan_tasks=100)

    assert (goal["status"], len(goal["plan"]), len((await plan_of(app, goal))["tasks"])) == ("succeeded", 60, 60)
