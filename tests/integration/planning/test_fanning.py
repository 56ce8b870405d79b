"""Maps on the real engine: ten thousand items, and how many work at once."""

import time
from typing import Any
from uuid import UUID

from tests.fakes.planning_engine import Bench, a_principal, running_loops
from tests.waiting import eventually

from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.ports import Report
from cognitionos.planning.domain.task import ClaimedTask, Succeeded, TaskSpec

FINAL = {"succeeded", "failed", "cancelled"}


def a_map(items: int, **more: Any) -> TaskSpec:
    spec = {"over": list(range(items)), "task": {"kind": "value", "input": {"$ref": "item"}}}
    return TaskSpec(key="m", kind="map", spec=spec | more)


async def its_end(bench: Bench, who: Principal, run_id: UUID, *, timeout_s: float = 30) -> str:
    async def final() -> str | None:
        status = await bench.status(who, run_id)
        return status if status in FINAL else None

    return await eventually(final, timeout_s=timeout_s) or ""


async def test_ten_thousand_values_end_in_time_and_in_order(bench: Bench) -> None:
    who = a_principal()
    run_id = await bench.runs.start(who, [a_map(10_000)])
    started = time.process_time()

    async with running_loops(bench.engine()):
        assert await its_end(bench, who, run_id, timeout_s=50) == "succeeded"

    query = (
        "SELECT coalesce(p.body, t.output) FROM tasks t LEFT JOIN payloads p ON p.id = t.output_payload"
        " WHERE t.run_id = %s AND t.key = 'm'"
    )
    assert await bench.rows(who.tenant_id, query, run_id) == [(list(range(10_000)),)]
    assert time.process_time() - started < 10


async def test_items_beyond_the_concurrency_start_one_by_one_as_others_end(bench: Bench) -> None:
    ready: list[int] = []

    async def look(task: ClaimedTask, report: Report) -> Succeeded:
        query = "SELECT count(*) FROM tasks WHERE run_id = %s AND status IN ('ready', 'running')"
        ready.append((await bench.rows(task.tenant_id, query, task.run_id))[0][0])
        return Succeeded(output=task.key)

    who = a_principal()
    async with running_loops(bench.engine({"http": look})):
        task = {"kind": "http", "input": {"url": "http://nowhere"}}
        run_id = await bench.runs.start(who, [a_map(40, concurrency=3, task=task)])
        assert await its_end(bench, who, run_id) == "succeeded"

    assert len(ready) == 40
    assert max(ready) <= 3
    assert sum(number == 3 for number in ready) > 20


async def test_an_item_that_fails_fails_the_run_and_the_rest_is_cancelled(bench: Bench) -> None:
    async def refuse(task: ClaimedTask, report: Report) -> Succeeded:
        raise Invalid("no")

    who = a_principal()
    async with running_loops(bench.engine({"http": refuse})):
        task = {"kind": "http", "input": {"url": "http://nowhere"}}
        run_id = await bench.runs.start(who, [a_map(5, concurrency=1, task=task)])
        assert await its_end(bench, who, run_id) == "failed"

    rows = await bench.rows(who.tenant_id, "SELECT status, count(*) FROM tasks WHERE run_id = %s GROUP BY 1", run_id)
    assert dict(rows) == {"failed": 1, "cancelled": 5}
