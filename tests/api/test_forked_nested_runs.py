"""Forks over nested runs, over HTTP: what these had done is not done again."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.api.test_retried_effects import World, a_world, declared, posts, starts
from tests.conftest import Run
from tests.waiting import eventually

from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def world(settings: Settings, run: Run) -> Iterator[World]:
    stack = AsyncExitStack()
    yield run(a_world(stack, settings))
    run(stack.aclose())


async def forked(world: World, href: str, **body: Any) -> dict[str, Any]:
    """The fork of a run, when it has ended."""
    answer = await world.client.post(f"{href}/fork", json=body)
    assert answer.status_code == 202, answer.text
    return await world.until(answer.json()["href"], "succeeded", "failed")


async def tasks_of(world: World, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    items = (await world.client.get(f"/v1/runs/{run['id']}/tasks")).json()["items"]
    return {task["key"]: task for task in items}


async def test_a_fork_does_only_that_again_of_nested_runs_which_had_failed_however_deep(world: World) -> None:
    world.outside.answers["/f-bad"].extend([400, 200, 200])
    bad = posts(world, "/f-bad", depends_on=["good"], retry={"max_attempts": 1})
    await declared(world, "f-deepest", good=posts(world, "/f-good"), bad=bad)
    await declared(
        world, "f-deeper", before=posts(world, "/f-between"), w={**starts("f-deepest"), "depends_on": ["before"]}
    )
    href = await world.started("f-top", w=starts("f-deeper"), v=posts(world, "/f-after", depends_on=["w"]))
    failed = await world.until(href, "failed")

    run = await forked(world, href)
    anew = await forked(world, href, **{"from": "w"})

    counts = {path: len(keys) for path, keys in world.outside.keys.items()}
    old, new = [(await tasks_of(world, each))["w"]["details"]["run_id"] for each in (failed, run)]
    nested = (await world.client.get(f"/v1/runs/{new}")).json()
    assert (run["status"], anew["status"]) == ("succeeded", "succeeded")
    assert (counts["/f-between"], counts["/f-good"], counts["/f-bad"], counts["/f-after"]) == (2, 2, 3, 2)
    assert (nested["forked_from"], nested["parent_run_id"]) == (old, run["id"])
    assert (nested["workflow"]["name"], nested["status"], nested["tasks"]["succeeded"]) == ("f-deeper", "succeeded", 2)
    assert [key for key, task in (await tasks_of(world, nested)).items() if task["reused_from"]] == ["before"]


async def test_a_fork_does_only_that_again_of_a_maps_nested_runs_which_had_not_ended(world: World) -> None:
    world.outside.answers["/m-bad"].extend([200, 400])
    bad = posts(world, "/m-bad", depends_on=["good"], retry={"max_attempts": 1})
    await declared(world, "m-inner", good=posts(world, "/m-good"), bad=bad)
    each = {"kind": "map", "input": {"over": [1, 2, 3], "concurrency": 1, "task": starts("m-inner")}}
    href = await world.started("m-outer", each=each)
    await world.until(href, "failed")

    run = await forked(world, href)

    assert run["status"] == "succeeded", run
    assert [len(world.outside.keys[path]) for path in ("/m-good", "/m-bad")] == [3, 4]


async def test_a_nested_run_whose_input_changes_is_begun_anew_by_a_fork(world: World) -> None:
    world.outside.answers["/c-bad"].extend([400, 200, 200])
    bad = posts(world, "/c-bad", depends_on=["good"], retry={"max_attempts": 1})
    await declared(world, "c-inner", good=posts(world, "/c-good"), bad=bad)
    first = {"kind": "value", "input": 1}
    w = {**starts("c-inner"), "depends_on": ["first"]}
    w["input"]["input"] = {"given": {"$ref": "tasks.first.output"}}
    href = await world.started("c-outer", first=first, w=w)
    await world.until(href, "failed")

    changed = await forked(world, href, changes={"first": 2})
    kept = await forked(world, href)

    assert (changed["status"], kept["status"]) == ("succeeded", "succeeded")
    assert [len(world.outside.keys[path]) for path in ("/c-good", "/c-bad")] == [2, 3]


async def test_the_fork_of_a_cancelled_run_reuses_nested_work_and_may_be_cancelled_and_retried_itself(
    world: World,
) -> None:
    world.outside.gates["/x-held"] = gate = asyncio.Event()
    held = posts(world, "/x-held", depends_on=["good"])
    await declared(world, "x-inner", good=posts(world, "/x-good"), held=held)
    href = await world.started("x-outer", w=starts("x-inner"))
    await eventually(lambda: world.outside.keys["/x-held"], timeout_s=30)
    await world.asked(f"{href}/cancel")

    answer = (await world.client.post(f"{href}/fork", json={})).json()
    await eventually(lambda: len(world.outside.keys["/x-held"]) == 2, timeout_s=30)
    await world.asked(f"{answer['href']}/cancel")
    gate.set()
    await world.asked(f"{answer['href']}/retry")
    run = await world.until(answer["href"], "succeeded", "failed")

    assert run["status"] == "succeeded", run
    assert len(world.outside.keys["/x-good"]) == 1
    assert (len(world.outside.keys["/x-held"]), len(set(world.outside.keys["/x-held"]))) == (3, 2)
