"""Two runs of one tenant over HTTP: a large one does not keep a small one waiting."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.fakes.planning_app import PlanningApp, planning_app
from tests.waiting import eventually

from cognitionos.agents.facade import Assignment
from cognitionos.platform.config import Settings

AGENT = {"kind": "agent", "input": {"instructions": "Do it."}}


@pytest.fixture(scope="module")
def app(settings: Settings, run: Any) -> Iterator[PlanningApp]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(planning_app(settings.model_copy(update={"task_slots": 4}))))
    run(stack.aclose())


async def started(app: PlanningApp, name: str, tasks: dict[str, Any]) -> str:
    declared = await app.client.post("/v1/workflows", json={"name": name, "tasks": tasks})
    assert declared.status_code == 201, declared.text
    response = await app.client.post("/v1/runs", json={"workflow": name})
    assert response.status_code == 202, response.text
    return str(response.headers["location"])


async def test_one_task_does_not_wait_behind_ten_thousand_of_another_run_and_the_urgent_goes_first(
    app: PlanningApp,
) -> None:
    begun: list[tuple[str, str]] = []
    may_end = asyncio.Semaphore(0)

    async def work(assignment: Assignment) -> str:
        begun.append((str(assignment.run_id), assignment.task_key))
        await may_end.acquire()
        return "Done."

    app.script([], do=work)
    large = await started(app, "large", {f"a{n}": AGENT for n in range(10_000)})
    await eventually(lambda: len(begun) == 4, timeout_s=30)
    small = await started(app, "small", {"one": AGENT, "then": {**AGENT, "depends_on": ["one"]}, "aside": AGENT})

    for number in range(3):
        may_end.release()
        await eventually(lambda wanted=5 + number: len(begun) == wanted, timeout_s=30)
    of_small = [key for run_id, key in begun[4:] if small.endswith(run_id)]
    cancelled = await app.client.post(f"{large}/cancel")
    for _ in range(10):
        may_end.release()

    assert of_small == ["one", "aside"]
    assert cancelled.status_code == 200
    await eventually(
        lambda: {"then", "aside"} <= {key for run_id, key in begun if small.endswith(run_id)}, timeout_s=30
    )
