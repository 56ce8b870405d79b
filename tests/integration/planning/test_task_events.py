"""Every change of a task is an event: those of many tasks at once too, in one statement, in their order."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tests.fakes.planning_engine import Bench, a_principal, running_loops
from tests.waiting import eventually

from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.ports import Report
from cognitionos.planning.domain.replan import NothingToReplace
from cognitionos.planning.domain.task import ClaimedTask, Succeeded, TaskSpec


def step(key: str, *depends_on: str) -> TaskSpec:
    return TaskSpec(key=key, kind="step", depends_on=depends_on)


async def events(bench: Bench, who: Principal, run_id: UUID) -> list[tuple[Any, ...]]:
    """Kind and task in order; their numbers have no gap, and the run knows the last one."""
    rows = await bench.rows(
        who.tenant_id,
        "SELECT e.seq, e.kind, e.task_key, r.last_seq FROM runs r JOIN run_events e ON e.run_id = r.id WHERE r.id = %s"
        " ORDER BY e.seq",
        run_id,
    )
    assert [row[0] for row in rows] == list(range(1, rows[0][3] + 1))
    return [row[1:3] for row in rows]


async def test_a_run_of_ten_thousand_is_cancelled_with_an_event_for_each_task(bench: Bench) -> None:
    who = a_principal()
    run_id = await bench.runs.start(who, [step(f"t{n}") for n in range(10_000)])

    started = time.perf_counter()
    await bench.runs.cancel(who, run_id)
    took = time.perf_counter() - started

    told = await events(bench, who, run_id)
    print(f"cancelled in {took * 1000:.0f} ms")
    assert told[0] == ("run.queued", None)
    assert told[1:-1] == [("task.cancelled", f"t{n}") for n in range(10_000)]
    assert told[-1] == ("run.cancelled", None)


async def test_what_a_failure_cancels_is_told_before_the_run_s_end(bench: Bench) -> None:
    async def fails(task: ClaimedTask, _: Report) -> Succeeded:
        raise NothingToReplace("It went wrong.")

    who = a_principal()
    async with running_loops(bench.engine({"step": fails}, slots=1)):
        run_id = await bench.runs.start(who, [step("a"), step("b", "a"), step("c", "b")])
        await eventually(lambda: _is(bench, who, run_id, "failed"))

    told = await events(bench, who, run_id)
    assert told[-4:] == [("task.failed", "a"), ("task.cancelled", "b"), ("task.cancelled", "c"), ("run.failed", None)]


async def test_tasks_that_are_held_and_let_go_are_told_also_those_that_become_ready_meanwhile(bench: Bench) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def work(task: ClaimedTask, _: Report) -> Succeeded:
        begun.set()
        await may_end.wait()
        return Succeeded(output=None)

    who = a_principal()
    run_id = await bench.runs.start(
        who, [step("a"), step("b", "a"), TaskSpec(key="w", kind="wait", spec={"signal": "s"})]
    )
    async with running_loops(bench.engine({"step": work})):
        await begun.wait()
        await eventually(lambda: _has(bench, who, run_id, "task.waiting"))
        await _in_run(bench, who, run_id, "pause", stops_now=False)
        may_end.set()
        await eventually(lambda: _has(bench, who, run_id, "task.succeeded"))
        await eventually(lambda: _paused(bench, who, run_id, 2))
        await _in_run(bench, who, run_id, "resume")
        await bench.base.signals.send("tasks")
        await eventually(lambda: _number(bench, who, run_id, "task.succeeded", 2))

    told = await events(bench, who, run_id)
    held = told.index(("run.paused", None))
    let_go = told.index(("run.resumed", None))
    assert told[held + 1 : let_go] == [("task.paused", "w"), ("task.succeeded", "a"), ("task.paused", "b")]
    assert sorted(told[let_go + 1 : let_go + 3]) == [("task.resumed", "b"), ("task.resumed", "w")]
    await bench.runs.cancel(who, run_id)


async def _in_run(bench: Bench, who: Principal, run_id: UUID, what: str, **how: Any) -> None:
    async with bench.runs.begin(who.tenant_id) as work:
        run = await work.runs.locked(run_id)
        if what == "pause":
            await work.runs.pause(run, now=datetime.now(UTC), **how)
        else:
            await work.runs.resume(run, datetime.now(UTC))


async def _is(bench: Bench, who: Principal, run_id: UUID, status: str) -> bool:
    return await bench.status(who, run_id) == status


async def _has(bench: Bench, who: Principal, run_id: UUID, kind: str) -> bool:
    return kind in [each for each, _ in await events(bench, who, run_id)]


async def _number(bench: Bench, who: Principal, run_id: UUID, kind: str, number: int) -> bool:
    return [each for each, _ in await events(bench, who, run_id)].count(kind) == number


async def _paused(bench: Bench, who: Principal, run_id: UUID, number: int) -> bool:
    return await _number(bench, who, run_id, "task.paused", number)
