"""`timeout_s` of what waits without a worker, over HTTP: waits, approvals, nested runs, maps, and the items of maps."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.api.agent_stage import Stage, a_stage_beside, run_of
from tests.conftest import Run
from tests.outside import Outside, running_outside
from tests.waiting import eventually

from cognitionos.platform.config import Settings

TIMED_OUT = "/problems/task-timed-out"
NEVER = {"kind": "wait", "input": {"signal": "never"}}
SHORT = 0.2


@pytest.fixture(scope="module")
def both(settings: Settings, run: Run) -> Iterator[tuple[Stage, Outside]]:
    stack = AsyncExitStack()
    yield run(a_stage_beside(stack, settings, running_outside()))
    run(stack.aclose())


@pytest.fixture
def client(both: tuple[Stage, Outside]) -> httpx.AsyncClient:
    return both[0].client


def a_map(over: Any = (1, 2), *, task: Any = NEVER, on_error: str = "fail", **more: Any) -> dict[str, Any]:
    return {"kind": "map", "input": {"over": list(over), "task": task, "on_error": on_error}, **more}


async def declared(client: httpx.AsyncClient, name: str, **tasks: Any) -> None:
    made = await client.post("/v1/workflows", json={"name": name, "tasks": tasks})
    assert made.status_code == 201, made.text


async def nested_of(client: httpx.AsyncClient, run: dict[str, Any]) -> list[str]:
    """The statuses of the runs that this one has started."""
    events = (await client.get(f"/v1/runs/{run['id']}/events", params={"limit": 200})).json()["items"]
    started = [event["data"]["run_id"] for event in events if "run_id" in event["data"]]
    return [(await client.get(f"/v1/runs/{each}")).json()["status"] for each in dict.fromkeys(started)]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("signal", {**NEVER, "timeout_s": SHORT}),
        ("duration", {"kind": "wait", "input": {"duration_s": 60}, "timeout_s": SHORT}),
        ("approval", {"kind": "approval", "input": {"prompt": "May I?"}, "timeout_s": SHORT}),
        ("map", a_map(timeout_s=SHORT)),
        ("collecting-map", a_map(on_error="collect", timeout_s=SHORT)),
        ("item", a_map(task={**NEVER, "timeout_s": SHORT})),
    ],
)
async def test_what_waits_longer_than_it_may_fails_at_once(client: httpx.AsyncClient, name: str, task: Any) -> None:
    run, _ = await run_of(client, f"late-{name}", task)

    assert (run["status"], run["error"]["type"]) == ("failed", TIMED_OUT)
    assert f"within {SHORT} s" in run["error"]["detail"] or "in the time that it has" in run["error"]["detail"]


@pytest.mark.parametrize("on_error", ["fail", "collect"])
async def test_a_nested_run_that_takes_longer_than_it_may_is_cancelled(
    client: httpx.AsyncClient, on_error: str
) -> None:
    await declared(client, "endless", a=NEVER)
    starts = {"kind": "workflow", "input": {"workflow": "endless"}, "timeout_s": SHORT}

    alone, _ = await run_of(client, f"nested-{on_error}", starts)
    items, tasks = await run_of(client, f"nested-items-{on_error}", a_map([1], task=starts, on_error=on_error))

    assert (alone["status"], alone["error"]["type"]) == ("failed", TIMED_OUT)
    assert [task["error"]["type"] for task in tasks if task["key"] == "t[0]"] == [TIMED_OUT]
    assert items["status"] == ("failed" if on_error == "fail" else "succeeded")
    assert await nested_of(client, alone) == ["cancelled"]
    assert await nested_of(client, items) == ["cancelled"]


async def test_the_items_of_a_map_that_are_at_work_are_stopped_when_its_time_is_over(
    both: tuple[Stage, Outside],
) -> None:
    stage, outside = both
    outside.gates["/hangs"] = asyncio.Event()
    posts = {"kind": "http", "input": {"method": "POST", "url": outside.url("/hangs")}}

    run, _ = await run_of(stage.client, "hanging", a_map(task=posts, timeout_s=1))

    assert (run["status"], run["error"]["type"]) == ("failed", TIMED_OUT)
    assert "in the time that it has" in run["error"]["detail"]
    assert len(outside.keys["/hangs"]) == 2


async def test_what_ends_in_its_time_is_not_touched_by_it_and_is_shown_as_declared(client: httpx.AsyncClient) -> None:
    await declared(client, "soon", a={"kind": "wait", "input": {"duration_s": 0.05}})
    starts = {"kind": "workflow", "input": {"workflow": "soon"}, "timeout_s": 60}

    run, _ = await run_of(client, "in-time", a_map(task=starts, timeout_s=60))
    shown = (await client.get("/v1/workflows/in-time")).json()["tasks"]["t"]
    soon = (await client.get("/v1/workflows/soon")).json()["tasks"]["a"]

    assert run["status"] == "succeeded", run
    assert (shown["timeout_s"], soon["timeout_s"]) == (60, None)


async def test_a_question_is_open_no_longer_than_its_task(client: httpx.AsyncClient) -> None:
    asks = {"kind": "approval", "input": {"prompt": "Soon?", "deadline_s": 3600}, "timeout_s": 60}
    await declared(client, "asking-soon", t=asks)
    run_id = (await client.post("/v1/runs", json={"workflow": "asking-soon"})).json()["id"]

    async def asked() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await client.get("/v1/approvals", params={"run_id": run_id})).json()["items"]
        return found

    [question] = await eventually(asked, timeout_s=30)
    await client.post(f"/v1/runs/{run_id}/cancel")

    open_for = datetime.fromisoformat(question["deadline_at"]) - datetime.fromisoformat(question["created_at"])
    assert open_for < timedelta(seconds=61)


async def test_a_retry_has_all_the_time_again_and_no_more(client: httpx.AsyncClient) -> None:
    await declared(client, "slow", a=NEVER)
    run, _ = await run_of(client, "again", {"kind": "workflow", "input": {"workflow": "slow"}, "timeout_s": SHORT})

    assert (await client.post(f"/v1/runs/{run['id']}/retry")).status_code == 200

    async def failed() -> bool:
        return bool((await client.get(f"/v1/runs/{run['id']}")).json()["status"] == "failed")

    await eventually(failed, timeout_s=30)
    events = (await client.get(f"/v1/runs/{run['id']}/events", params={"limit": 200})).json()["items"]
    assert [event["data"]["error"]["type"] for event in events if event["kind"] == "task.failed"] == [TIMED_OUT] * 2
    assert await nested_of(client, run) == ["cancelled"]
