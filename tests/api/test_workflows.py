"""Workflows over HTTP: declare, read, run, follow."""

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.fakes.planning_app import PlanningApp, planning_app
from tests.waiting import eventually

from cognitionos.platform.config import Settings

GREET = {
    "who": {"kind": "value", "input": {"$ref": "run.input.name"}},
    "greeting": {"kind": "value", "depends_on": ["who"], "input": {"text": {"$ref": "tasks.who.output"}}},
}


@pytest.fixture(scope="module")
def app(settings: Settings, run: Any) -> Iterator[PlanningApp]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(planning_app(settings)))
    run(stack.aclose())


async def declared(app: PlanningApp, name: str, tasks: dict[str, Any]) -> dict[str, Any]:
    response = await app.client.post("/v1/workflows", json={"name": name, "tasks": tasks})
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


async def ran(app: PlanningApp, **body: Any) -> dict[str, Any]:
    response = await app.client.post("/v1/runs", json=body)
    assert response.status_code == 202, response.text

    async def final() -> dict[str, Any] | None:
        shown: dict[str, Any] = (await app.client.get(response.headers["location"])).json()
        return shown if shown["finished_at"] else None

    return await eventually(final) or {}


async def tasks_of(app: PlanningApp, run: dict[str, Any]) -> dict[str, Any]:
    return {task["key"]: task for task in (await app.client.get(run["tasks_href"])).json()["items"]}


async def test_a_workflow_is_declared_run_and_its_result_read(app: PlanningApp) -> None:
    await declared(app, "greet", GREET)

    run = await ran(app, workflow="greet", input={"name": "Ada"})

    assert (run["status"], run["result_text"]) == ("succeeded", "Ada")
    assert run["workflow"] == {"name": "greet", "version": 1, "href": "/v1/workflows/greet?version=1"}
    assert (await tasks_of(app, run))["greeting"]["output"] == {"text": "Ada"}


async def test_a_large_output_is_left_out_of_the_list_and_read_with_its_task(app: PlanningApp) -> None:
    large = {"text": "x" * 100_000}
    items = {"over": {"$ref": "run.input"}, "task": {"kind": "value", "input": {"$ref": "item"}}}
    await declared(app, "large", {"each": {"kind": "map", "input": items}})

    run = await ran(app, workflow="large", input=[large, 1])
    listed = (await tasks_of(app, run))["each[0]"]
    whole = (await app.client.get(f"{run['tasks_href']}/each[0]")).json()
    nobody = await app.client.get(f"{run['tasks_href']}/each[2]")

    assert (listed["output"], listed["output_omitted"]) == (None, True)
    assert whole == listed | {"output": large, "output_omitted": False}
    assert (nobody.status_code, nobody.json()["type"]) == (404, "/problems/task-not-found")


async def test_the_same_content_is_the_same_version_and_other_content_the_next(app: PlanningApp) -> None:
    first = await declared(app, "versions", {"a": {"kind": "value", "input": 1}})
    again = await declared(app, "versions", {"a": {"kind": "value", "input": 1, "depends_on": []}})
    other = await declared(app, "versions", {"a": {"kind": "value", "input": {"text": "2"}, "timeout_s": 5}})

    shown = (await app.client.get("/v1/workflows/versions", params={"version": 1})).json()
    latest = (await app.client.get("/v1/workflows/versions")).json()

    assert first == again
    assert (first["version"], other["version"], shown["version"], latest["version"]) == (1, 2, 1, 2)
    assert (shown["tasks"]["a"]["input"], latest["tasks"]["a"]["timeout_s"]) == (1, 5)
    assert (await ran(app, workflow="versions"))["result_text"] == "2"
    assert (await ran(app, workflow="versions", version=1))["result_text"] is None


async def test_an_agent_s_answer_is_passed_on_by_reference(app: PlanningApp) -> None:
    app.script([])
    tasks = {
        "write": {"kind": "agent", "input": {"instructions": {"$ref": "run.input"}}},
        "end": {"kind": "value", "depends_on": ["write"], "input": {"$ref": "tasks.write.output.text"}},
    }
    await declared(app, "agents", tasks)

    run = await ran(app, workflow="agents", input="Write a haiku")

    done = await tasks_of(app, run)
    assert run["status"] == "succeeded", run
    assert done["end"]["output"] == done["write"]["output"]["text"] == run["result_text"]


async def test_a_workflow_that_grows_without_end_fails_by_its_input_and_says_where(app: PlanningApp) -> None:
    tasks: dict[str, Any] = {"t0": {"kind": "value", "input": "0123456789"}}
    for n in range(1, 25):
        before = {"$ref": f"tasks.t{n - 1}.output"}
        tasks[f"t{n}"] = {"kind": "value", "depends_on": [f"t{n - 1}"], "input": {"a": before, "b": before}}
    await declared(app, "growing", tasks)

    run = await ran(app, workflow="growing", input={})

    assert (run["status"], run["error"]["type"]) == ("failed", "/problems/input-too-large")
    assert "(field 'input')" in run["error"]["detail"]


async def test_faults_are_named_by_field_and_nothing_is_kept(app: PlanningApp) -> None:
    body = {"name": "faulty", "tasks": {"a": {"kind": "value", "depends_on": ["b"]}, "b": {"kind": "dance"}}}
    refused = await app.client.post("/v1/workflows", json=body)
    cycle = await app.client.post(
        "/v1/workflows", json={"name": "faulty", "tasks": {"a": {"kind": "value", "depends_on": ["a"]}}}
    )
    missing = await app.client.get("/v1/workflows/faulty")

    assert (refused.status_code, cycle.status_code, missing.status_code) == (422, 422, 404)
    assert [error["field"] for error in refused.json()["errors"]] == ["tasks.b.kind"]
    assert "a -> a" in cycle.json()["detail"]


async def test_a_run_without_its_workflow_or_its_input_is_refused(app: PlanningApp) -> None:
    await declared(app, "needs-input", GREET)

    unknown = await app.client.post("/v1/runs", json={"workflow": "nothing"})
    future = await app.client.post("/v1/runs", json={"workflow": "needs-input", "version": 9})
    lacking = await app.client.post("/v1/runs", json={"workflow": "needs-input", "input": {}})
    with_nul = await app.client.post("/v1/runs", json={"workflow": "needs-input", "input": {"name": "a\x00"}})

    assert [each.status_code for each in (unknown, future, lacking, with_nul)] == [404, 404, 422, 422]
    assert lacking.json()["errors"] == [{"field": "input.name", "message": "is needed by task 'who'"}]


async def test_workflows_are_listed_by_name_page_by_page_and_only_one_s_own(app: PlanningApp) -> None:
    for name in ("list-b", "list-a", "list-c"):
        await declared(app, name, {"a": {"kind": "value"}})
    names: list[str] = []
    cursor = None
    while True:
        page = (
            await app.client.get("/v1/workflows", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        names += [each["name"] for each in page["items"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    async with app.other_tenant() as stranger:
        theirs = (await stranger.get("/v1/workflows")).json()["items"]
        hidden = await stranger.get("/v1/workflows/list-a")
        unrunnable = await stranger.post("/v1/runs", json={"workflow": "list-a"})

    assert names == sorted(names)
    assert {"list-a", "list-b", "list-c"} <= set(names)
    assert (theirs, hidden.status_code, unrunnable.status_code) == ([], 404, 404)


async def test_ten_thousand_tasks_and_twenty_thousand_edges_are_accepted_in_time(app: PlanningApp) -> None:
    tasks: dict[str, Any] = {}
    for n in range(10_000):
        parents = sorted({f"t{n - 100}", f"t{(n - 100) // 100 * 100}"}) if n >= 100 else []
        tasks[f"t{n}"] = {
            "kind": "value",
            "depends_on": parents,
            "input": {"$ref": f"tasks.{parents[0]}.output"} if parents else n,
        }
    started = time.process_time()

    await declared(app, "large", tasks)

    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"colour": 1}, "tasks.b.colour"),
        ({"timeout_s": "soon"}, "tasks.b.timeout_s"),
        ({"retry": {"max_attempts": 0}}, "tasks.b.retry.max_attempts"),
        ({"retry": {"colour": 1}}, "tasks.b.retry.colour"),
        ({"depends_on": ["a", 1]}, "tasks.b.depends_on.1"),
    ],
)
async def test_a_task_that_cannot_be_read_is_named_by_its_key(
    app: PlanningApp, fault: dict[str, object], field: str
) -> None:
    tasks = {"a": {"kind": "value"}, "b": {"kind": "value"} | fault}

    refused = await app.client.post("/v1/workflows", json={"name": "faulty", "tasks": tasks})

    assert refused.status_code == 400
    assert [error["field"] for error in refused.json()["errors"]] == [field]
    assert refused.json()["detail"].startswith(f"{field}: ")
