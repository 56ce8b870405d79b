"""`retry` of tasks of the kind `workflow`, over HTTP: the nested run goes on from what failed in it; none of a map."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
from tests.api.test_retried_effects import World, a_world, declared, posts, starts
from tests.conftest import Run, TestDatabase

from cognitionos.platform.config import Settings

REFUSED = "http-task-refused"
ONCE = {"max_attempts": 1}


@pytest.fixture(scope="module")
def world(settings: Settings, run: Run) -> Iterator[World]:
    stack = AsyncExitStack()
    yield run(a_world(stack, settings))
    run(stack.aclose())


def again(attempts: int, *types: str) -> dict[str, Any]:
    return {"max_attempts": attempts, "backoff_s": 0.05, "only": list(types)}


async def told(world: World, href: str) -> list[str]:
    page = (await world.client.get(f"{href}/events", params={"limit": 200})).json()
    return [event["kind"] for event in page["items"] if event["kind"].startswith(("task.re", "run.", "task.failed"))]


async def a_failing(world: World, name: str, *statuses: int) -> None:
    """A workflow whose second task is answered with these before it is answered well."""
    world.outside.answers[f"/{name}-bad"].extend(statuses)
    bad = posts(world, f"/{name}-bad", depends_on=["good"], retry=ONCE)
    await declared(world, name, good=posts(world, f"/{name}-good"), bad=bad)


async def test_a_nested_run_goes_on_from_what_failed_as_often_as_the_policy_of_its_task_says(world: World) -> None:
    await a_failing(world, "twice", 400, 400)

    href = await world.started("patient", w={**starts("twice"), "retry": again(3, REFUSED)})
    run = await world.until(href, "succeeded", "failed")

    counts = {path: len(keys) for path, keys in world.outside.keys.items()}
    assert (run["status"], counts["/twice-good"], counts["/twice-bad"]) == ("succeeded", 1, 3), run["error"]
    assert len(set(world.outside.keys["/twice-bad"])) == 1
    assert (await told(world, href)).count("task.retrying") == 2
    [task] = (await world.client.get(f"{href}/tasks")).json()["items"]
    assert (await told(world, f"/v1/runs/{task['details']['run_id']}")).count("run.retried") == 2


async def test_a_nested_run_that_fails_too_often_or_otherwise_fails_its_task(world: World) -> None:
    await a_failing(world, "often", 400, 400, 400)
    await a_failing(world, "otherwise", 400)

    often = await world.started("impatient", w={**starts("often"), "retry": again(2, REFUSED)})
    otherwise = await world.started("elsewhere", w={**starts("otherwise"), "retry": again(5, "task-timed-out")})

    for href, name, asked in ((often, "often", 2), (otherwise, "otherwise", 1)):
        run = await world.until(href, "succeeded", "failed")
        assert (run["status"], run["error"]["type"]) == ("failed", f"/problems/{REFUSED}")
        assert (len(world.outside.keys[f"/{name}-good"]), len(world.outside.keys[f"/{name}-bad"])) == (1, asked)


async def test_the_nested_runs_of_a_map_and_those_below_them_go_on_too(world: World) -> None:
    await a_failing(world, "deep", 400)
    await declared(world, "between", w=starts("deep"))
    item = {**starts("between"), "retry": again(3, REFUSED)}

    href = await world.started("each", each={"kind": "map", "input": {"over": [1], "task": item}})
    run = await world.until(href, "succeeded", "failed")

    assert (run["status"], len(world.outside.keys["/deep-good"]), len(world.outside.keys["/deep-bad"])) == (
        "succeeded",
        1,
        2,
    ), run["error"]


async def test_a_policy_that_would_never_count_is_refused_with_the_remedy(world: World) -> None:
    silent = {**starts("none"), "retry": {"max_attempts": 3}}
    a_map = {"kind": "map", "input": {"over": [1], "task": posts(world, "/never")}, "retry": {"max_attempts": 3}}
    nested = {"kind": "map", "input": {"over": [1], "task": silent}}

    answer = await world.client.post(
        "/v1/workflows", json={"name": "none", "tasks": {"w": silent, "m": a_map, "n": nested}}
    )

    faults = {each["field"]: str(each) for each in answer.json()["errors"]}
    assert (answer.status_code, faults.keys()) == (422, {"tasks.w.retry", "tasks.m.retry", "tasks.n.input.task.retry"})
    assert "'only'" in faults["tasks.w.retry"]
    assert "give 'retry' to tasks.m.input.task" in faults["tasks.m.retry"]


async def test_what_waits_is_not_tried_again_and_says_what_to_do_instead(world: World) -> None:
    policy = {"max_attempts": 3, "only": ["signal-timed-out", "approval-expired"]}
    tasks: dict[str, Any] = {
        "w": {"kind": "wait", "input": {"signal": "go", "timeout_s": 60}, "retry": policy},
        "a": {"kind": "approval", "input": {"prompt": "Go on?"}, "retry": {"max_attempts": 3}},
    }
    tasks["m"] = {"kind": "map", "input": {"over": [1], "task": tasks["w"]}}

    answer = await world.client.post("/v1/workflows", json={"name": "waiting", "tasks": tasks})

    faults = {each["field"]: each["message"] for each in answer.json()["errors"]}
    assert (answer.status_code, faults.keys()) == (422, {"tasks.w.retry", "tasks.a.retry", "tasks.m.input.task.retry"})
    assert "'timeout_s' of a 'signal'" in faults["tasks.w.retry"]
    assert "'deadline_s'" in faults["tasks.a.retry"]


async def test_a_workflow_that_was_declared_with_such_a_policy_still_runs(world: World, database: TestDatabase) -> None:
    await declared(world, "old", m={"kind": "map", "input": {"over": [1, 2], "task": {"kind": "value", "input": 1}}})
    policy = '{"max_attempts": 3, "backoff_s": 1.0}'
    async with await psycopg.AsyncConnection.connect(database.admin_url) as connection:
        await connection.execute(
            "UPDATE workflows SET tasks = jsonb_set(tasks, '{0,1,retry}', %s::jsonb) WHERE name = 'old'", (policy,)
        )

    shown = (await world.client.get("/v1/workflows/old")).json()["tasks"]["m"]["retry"]
    started = await world.client.post("/v1/runs", json={"workflow": "old"})
    run = await world.until(started.headers["location"], "succeeded", "failed")

    assert (shown["max_attempts"], run["status"]) == (3, "succeeded")
