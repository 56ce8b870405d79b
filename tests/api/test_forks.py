"""Forks, snapshots and the critical path over HTTP."""

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.api.test_run_control import Gate, shown, started, statuses, until
from tests.fakes.planning_agents import a_plan
from tests.fakes.planning_app import PlanningApp, planning_app

from cognitionos.planning.application.runs import StartedFrom
from cognitionos.planning.domain.task import TaskSpec
from cognitionos.platform.config import Settings

DIAMOND = {
    "who": {"kind": "value", "input": {"$ref": "run.input.name"}},
    "left": {"kind": "agent", "input": {"instructions": "Go left."}},
    "right": {"kind": "agent", "depends_on": ["who"], "input": {"instructions": "Go right."}},
    "both": {
        "kind": "value",
        "depends_on": ["left", "right"],
        "input": {"text": {"$ref": "tasks.left.output.text"}, "name": {"$ref": "tasks.who.output"}},
    },
}


@pytest.fixture(scope="module")
def app(settings: Settings, run: Any) -> Iterator[PlanningApp]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(planning_app(settings)))
    run(stack.aclose())


async def ended(app: PlanningApp, gate: Gate) -> str:
    """A diamond that has run; gives its address."""
    app.script([], do=gate)
    gate.open.set()
    await app.client.post("/v1/workflows", json={"name": "diamond", "tasks": DIAMOND})
    response = await app.client.post("/v1/runs", json={"workflow": "diamond", "input": {"name": "Ada"}})
    href = str(response.headers["location"])
    await until(app, href, "succeeded")
    gate.entered.clear()
    return href


async def forked(app: PlanningApp, href: str, **body: Any) -> dict[str, Any]:
    response = await app.client.post(f"{href}/fork", json=body)
    assert response.status_code == 202, response.text
    assert response.headers["location"] == response.json()["href"]
    made: dict[str, Any] = response.json()
    return made


async def outputs(app: PlanningApp, href: str) -> dict[str, Any]:
    return {task["key"]: task["output"] for task in (await app.client.get(f"{href}/tasks")).json()["items"]}


async def test_a_fork_does_again_only_what_depends_on_its_starting_point(app: PlanningApp) -> None:
    gate = Gate()
    href = await ended(app, gate)

    fork = await forked(app, href, **{"from": "right"})
    done = await until(app, fork["href"], "succeeded")

    assert (fork["total_tasks"], fork["reused_tasks"], gate.entered) == (4, 2, ["right"])
    assert f"/v1/runs/{done['forked_from']}" == href
    assert (done["forked_at"], done["result_text"]) == ("right", "left done")
    tasks = {task["key"]: task for task in (await app.client.get(fork["tasks_href"])).json()["items"]}
    assert {key for key, task in tasks.items() if task["reused_from"]} == {"who", "left"}
    assert tasks["both"]["depends_on"] == ["left", "right"]


async def test_a_large_output_is_reused_with_its_own_copy(app: PlanningApp) -> None:
    graph = [
        TaskSpec(key="a", kind="value", spec={"input": "x" * 100_000}),
        TaskSpec(key="b", kind="value", depends_on=("a",), spec={"input": {"$ref": "tasks.a.output"}}),
    ]
    run_id = await app.services.runs.start(app.who, graph)
    await until(app, f"/v1/runs/{run_id}", "succeeded")

    fork = await forked(app, f"/v1/runs/{run_id}", **{"from": "b"})
    await until(app, fork["href"], "succeeded")

    query = "SELECT t.key, length(p.body::text), t.output_bytes FROM tasks t JOIN payloads p ON p.id = t.output_payload"
    async with app.base.database.transaction(app.who.tenant_id) as connection:
        cursor = await connection.execute(f"{query} WHERE t.run_id = %s AND p.run_id = t.run_id", (fork["id"],))
        assert sorted(await cursor.fetchall()) == [("a", 100_002, 100_002), ("b", 100_002, 100_002)]


async def test_a_fork_with_changed_input_begins_at_what_was_changed(app: PlanningApp) -> None:
    gate = Gate()
    href = await ended(app, gate)

    other_task = await forked(app, href, changes={"left": {"instructions": "Go far left."}})
    await until(app, other_task["href"], "succeeded")
    by_change = list(gate.entered)
    gate.entered.clear()
    other_input = await forked(app, href, input={"name": "Grace"})
    await until(app, other_input["href"], "succeeded")

    assert by_change == ["left"]
    assert app.agents.assignments[-1].task_key == "right"
    assert gate.entered == ["right"]
    assert (await outputs(app, other_input["href"]))["both"] == {"text": "left done", "name": "Grace"}
    assert (await outputs(app, href))["both"]["name"] == "Ada"


async def test_a_fork_does_again_what_its_input_says_otherwise_and_nothing_else(app: PlanningApp) -> None:
    declared = {
        "x": {"kind": "value", "input": {"$ref": "run.input.x"}},
        "y": {"kind": "value", "input": {"of": [{"$ref": 'run.input.deep.y "quoted"'}]}},
        "all": {"kind": "value", "input": {"$ref": "run.input"}},
        "each": {
            "kind": "map",
            "input": {
                "over": {"$ref": "run.input.list"},
                "task": {"kind": "value", "input": [{"$ref": "item"}, {"$ref": "run.input.deep"}]},
            },
        },
        "others": {
            "kind": "map",
            "input": {"over": {"$ref": "run.input.list"}, "task": {"kind": "value", "input": {"$ref": "item"}}},
        },
    }
    assert (await app.client.post("/v1/workflows", json={"name": "reads", "tasks": declared})).status_code == 201
    given: dict[str, Any] = {"x": 1, "deep": {'y "quoted"': 2}, "list": ["a", "b"]}
    href = (await app.client.post("/v1/runs", json={"workflow": "reads", "input": given})).json()["href"]
    await until(app, href, "succeeded")

    other = await forked(app, href, input=given | {"deep": {'y "quoted"': 3}})
    await until(app, other["href"], "succeeded")
    tasks = (await app.client.get(other["tasks_href"])).json()["items"]
    reused = {task["key"] for task in tasks if task["reused_from"]}
    same = await app.client.post(f"{href}/fork", json={"input": given})

    assert reused == {"x", "others", "others[0]", "others[1]"}
    assert (await outputs(app, other["href"]))["y"] == {"of": [3]}
    assert (same.status_code, same.json()["type"]) == (422, "/problems/invalid-fork")


async def test_what_cannot_be_forked_is_refused_by_name(app: PlanningApp) -> None:
    href = await ended(app, Gate())
    bad: list[tuple[dict[str, Any], int, str]] = [
        ({"from": "nobody"}, 422, "from"),
        ({}, 422, ""),
        ({"changes": {"left": {"instructions": ""}}}, 422, "changes.left.instructions"),
        ({"changes": {"left": {"instructions": {"$ref": "tasks.both.output"}}}}, 422, "changes.left"),
        ({"changes": {"nobody": 1}}, 422, "changes.nobody"),
        ({"changes": {"left": {"instructions": {"$ref": "run.input.age"}}}}, 422, "changes.left"),
        ({"changes": {"left": {"instructions": {"$ref": "run.input.name"}}}, "input": {}}, 422, "changes.left"),
        ({"snapshot": "none"}, 404, ""),
    ]

    for body, status, field in bad:
        response = await app.client.post(f"{href}/fork", json=body)

        assert response.status_code == status, (body, response.text)
        assert field in str(response.json().get("errors", "")), response.text


async def test_a_failed_run_is_forked_where_it_failed_and_stays_as_it_is(app: PlanningApp) -> None:
    gate = Gate(failing={"second"})
    href = await started(app, gate)
    gate.open.set()
    await until(app, href, "failed")
    gate.failing.clear()
    gate.entered.clear()

    fork = await forked(app, href)

    assert (await until(app, fork["href"], "succeeded", "failed"))["status"] == "succeeded"
    assert gate.entered == ["second"]
    assert (await shown(app, href))["status"] == "failed"


async def test_the_fork_of_a_goal_s_run_is_a_goal_of_its_own(app: PlanningApp) -> None:
    app.script([a_plan(t1=[], t2=["t1"])])
    goal = (await app.client.post("/v1/goals", json={"statement": "Do it"})).json()
    await until(app, goal["href"], "succeeded")
    app.script([a_plan(t1=[])])

    middle = await forked(app, goal["run_href"], **{"from": "t2"})
    replanned = await forked(app, goal["run_href"], **{"from": "plan"})
    goals = [await until(app, f"/v1/goals/{fork['goal_id']}", "succeeded") for fork in (middle, replanned)]

    assert (middle["reused_tasks"], replanned["total_tasks"], replanned["reused_tasks"]) == (2, 1, 0)
    assert goals[0]["result"]["text"] == "summarizer did summary with ['t2']"
    assert goals[1]["result"]["text"].startswith("executor did t1")
    assert len({goal["id"], *(each["id"] for each in goals)}) == 3


async def test_a_fork_from_a_snapshot_knows_only_what_had_ended_then(app: PlanningApp) -> None:
    gate = Gate()
    href = await started(app, gate)
    taken = await app.client.post(f"{href}/snapshots", json={"name": "before"})
    gate.open.set()
    await until(app, href, "succeeded")
    gate.entered.clear()

    again = await app.client.post(f"{href}/snapshots", json={"name": "before"})
    listed = (await app.client.get(f"{href}/snapshots")).json()["items"]
    fork = await forked(app, href, snapshot="before")
    await until(app, fork["href"], "succeeded")

    assert (taken.status_code, taken.json()["open_tasks"], taken.json()["status"]) == (201, 4, "running")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/snapshot-exists")
    assert [each["name"] for each in listed] == ["before"]
    assert gate.entered == ["first", "second"]


async def test_a_map_and_a_skipped_branch_are_reused_or_done_again_whole(app: PlanningApp) -> None:
    tasks = {
        "list": {"kind": "value", "input": [1, 2, 3]},
        "each": {
            "kind": "map",
            "depends_on": ["list"],
            "input": {"over": {"$ref": "tasks.list.output"}, "task": {"kind": "value", "input": {"$ref": "item"}}},
        },
        "many": {
            "kind": "condition",
            "depends_on": ["each"],
            "input": {"left": {"$ref": "tasks.each.output"}, "op": "truthy", "then": ["yes"], "else": ["no"]},
        },
        "yes": {"kind": "value", "depends_on": ["many"], "input": "yes"},
        "no": {"kind": "value", "depends_on": ["many"], "input": "no"},
    }
    await app.client.post("/v1/workflows", json={"name": "branches", "tasks": tasks})
    href = str((await app.client.post("/v1/runs", json={"workflow": "branches"})).headers["location"])
    await until(app, href, "succeeded")

    reused = await forked(app, href, **{"from": "yes"})
    redone = await forked(app, href, changes={"list": []})
    for fork in (reused, redone):
        await until(app, fork["href"], "succeeded")

    assert (reused["total_tasks"], reused["reused_tasks"], redone["total_tasks"]) == (8, 7, 5)
    assert (await statuses(app, reused["href"]))["no"] == "skipped"
    after = await statuses(app, redone["href"])
    assert (after["yes"], after["no"]) == ("skipped", "succeeded")


async def test_the_critical_path_is_the_chain_that_took_longest(app: PlanningApp) -> None:
    href = await ended(app, Gate())

    path = (await app.client.get(f"{href}/critical-path")).json()

    assert path["tasks"][-1]["key"] == "both"
    assert path["tasks"][-2]["key"] in {"left", "right"}
    assert path["length_s"] == pytest.approx(sum(task["seconds"] for task in path["tasks"]), abs=1e-3)
    assert 0 < path["length_s"] <= path["work_s"]
    assert path["most_speed_up"] >= path["speed_up"] > 0


async def test_the_critical_path_of_a_fork_is_of_what_it_did_itself(app: PlanningApp) -> None:
    href = await ended(app, Gate())
    fork = await forked(app, href, **{"from": "right"})
    await until(app, fork["href"], "succeeded")

    path = (await app.client.get(f"{fork['href']}/critical-path")).json()

    assert [(task["key"], task["reused"]) for task in path["tasks"]] == [
        ("who", True),
        ("right", False),
        ("both", False),
    ]
    assert path["tasks"][0]["seconds"] == 0
    assert path["length_s"] == path["work_s"] > 0
    assert path["wall_s"] >= path["length_s"]
    assert path["speed_up"] <= path["most_speed_up"] == 1


async def test_a_snapshot_of_ten_thousand_tasks_takes_less_than_a_tenth_of_a_second(app: PlanningApp) -> None:
    tasks = [TaskSpec(key=f"t{n}", kind="value", spec={"input": n}) for n in range(10_000)]
    origin = StartedFrom(workflow="big", version=1, input=None, result_key=None)
    run_id = await app.services.runs.start(app.who, tasks, origin=origin)
    href = f"/v1/runs/{run_id}"
    assert (await app.client.post(f"{href}/pause")).status_code == 200
    took = []

    for number in range(20):
        before = time.perf_counter()
        assert (await app.client.post(f"{href}/snapshots", json={"name": f"s{number}"})).status_code == 201
        took.append(time.perf_counter() - before)

    assert sorted(took)[18] < 0.1
    assert (await app.client.post(f"{href}/cancel")).status_code == 200


async def test_forks_of_somebody_else_s_runs_are_not_there(app: PlanningApp) -> None:
    href = await ended(app, Gate())

    async with app.other_tenant() as other:
        answers = [
            (await other.post(f"{href}/fork", json={"from": "left"})).status_code,
            (await other.post(f"{href}/snapshots", json={"name": "mine"})).status_code,
            (await other.get(f"{href}/snapshots")).status_code,
            (await other.get(f"{href}/critical-path")).status_code,
        ]

    assert answers == [404, 404, 404, 404]
