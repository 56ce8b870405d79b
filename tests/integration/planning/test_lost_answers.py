"""PostgreSQL carries out what a worker asks, and the connection ends before it can say so."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from tests.counting import Door, a_door
from tests.fakes.planning_engine import Bench, a_principal, bench_on, running_loops
from tests.servers import TestDatabase
from tests.waiting import eventually

from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.ports import Report
from cognitionos.planning.domain.task import ClaimedTask, Succeeded, TaskSpec
from cognitionos.platform.config import Settings

NO_SWEEP_S = 60.0
"""Nothing that happens within a test is found by the sweep."""


@asynccontextmanager
async def behind_a_door(settings: Settings, database: TestDatabase) -> AsyncIterator[tuple[Door, Bench]]:
    async with a_door(database.app_url) as door:
        behind = settings.model_copy(update={"database_url": type(settings.database_url)(door.url)})
        async with bench_on(behind) as bench:
            yield door, bench


def once(text: str) -> Callable[[str], bool]:
    """Whether this is the first statement from now on with `text`."""
    left = [True]

    def is_first(statement: str) -> bool:
        return text in statement and bool(left) and left.pop()

    return is_first


def a_step(key: str, *after: str) -> TaskSpec:
    return TaskSpec(key=key, kind="step", depends_on=after)


async def test_a_commit_whose_answer_is_lost_is_written_once_and_followed_at_once(
    settings: Settings, database: TestDatabase, bench: Bench
) -> None:
    who = a_principal()
    async with behind_a_door(settings, database) as (door, worker):

        async def step(task: ClaimedTask, report: Report) -> Succeeded:
            await report("step.began", {})
            door.loses = once("COMMIT")
            await report("step.done", {})
            door.loses = once("COMMIT")
            return Succeeded(output=task.key)

        run_id = await bench.runs.start(who, [a_step("a"), a_step("b", "a")])
        async with running_loops(worker.engine({"step": step}, sweep_s=NO_SWEEP_S, lease_s=NO_SWEEP_S)):
            await eventually(lambda: ended(bench, who, run_id))

    rows = await bench.rows(
        who.tenant_id, "SELECT task_key, kind FROM run_events WHERE run_id = %s ORDER BY seq", run_id
    )
    of_a_task = ["task.started", "step.began", "step.done", "task.succeeded"]
    assert [kind for key, kind in rows if key == "a"] == of_a_task
    assert [kind for key, kind in rows if key == "b"] == of_a_task
    assert [kind for key, kind in rows if key is None] == ["run.queued", "run.started", "run.succeeded"]


async def test_tasks_whose_claim_was_never_answered_are_taken_again_though_the_worker_lives_and_is_busy(
    settings: Settings, database: TestDatabase, bench: Bench
) -> None:
    who, gate, busy = a_principal(), asyncio.Event(), asyncio.Event()

    async def step(task: ClaimedTask, report: Report) -> Succeeded:
        if task.key == "busy":
            busy.set()
            await gate.wait()
        return Succeeded(output=task.key)

    async with behind_a_door(settings, database) as (door, worker):
        other = await bench.runs.start(who, [a_step("busy")])
        async with running_loops(worker.engine({"step": step}, sweep_s=0.2, lease_s=1.0)):
            await busy.wait()
            door.loses = lambda statement: "claim_and_look" in statement
            run_id = await bench.runs.start(who, [a_step("a")])

            async def taken() -> bool:
                query = "SELECT fence FROM tasks WHERE run_id = %s AND status = 'running'"
                return bool(await bench.rows(who.tenant_id, query, run_id))

            await eventually(taken)
            door.loses = lambda _: False
            await eventually(lambda: ended(bench, who, run_id))
            still = await bench.status(who, other)
            gate.set()
            await eventually(lambda: ended(bench, who, other))

    assert still == "running"


async def ended(bench: Bench, who: Principal, run_id: UUID) -> bool:
    return await bench.status(who, run_id) == "succeeded"
