"""The runs of one tenant take turns where slots are scarce: a long one does not starve a short one."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from tests.fakes.planning_engine import Bench, a_principal, running_loops
from tests.waiting import eventually

from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.ports import Report
from cognitionos.planning.domain.task import ClaimedTask, Succeeded, TaskSpec
from cognitionos.planning.domain.urgency import BITE

TASK_S = 0.02


def steps(number: int) -> list[TaskSpec]:
    return [TaskSpec(key=f"t{each}", kind="step") for each in range(number)]


def chain(number: int) -> list[TaskSpec]:
    return [TaskSpec(key=f"c{n}", kind="step", depends_on=(f"c{n - 1}",) if n else ()) for n in range(number)]


class Work:
    """Notes which task of which run started, in order."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.tasks: list[tuple[UUID, str]] = []

    async def __call__(self, task: ClaimedTask, _report: Report) -> Succeeded:
        self.tasks.append((task.run_id, task.key))
        await asyncio.sleep(TASK_S)
        await self.may_end.wait()
        return Succeeded(output=None)

    def number(self, run_id: UUID) -> int:
        return sum(each == run_id for each, _ in self.tasks)


async def ended(bench: Bench, who: Principal, runs: Sequence[UUID]) -> None:
    """What is left of a test must not vie with the next one's."""
    for run_id in runs:
        await bench.runs.cancel(who, run_id)


async def claimed_one(bench: Bench) -> tuple[UUID, str]:
    [task] = (await bench.store.claim(worker="w", slots=1, lease_s=60)).tasks
    return task.run_id, task.key


async def test_one_task_of_a_run_waits_no_longer_than_a_moment_behind_ten_thousand_of_another(bench: Bench) -> None:
    work, who = Work(), a_principal()
    many = await bench.runs.start(who, steps(10_000))
    async with running_loops(bench.engine({"step": work}, slots=8)):
        await eventually(lambda: work.number(many) > 50, timeout_s=30)
        asked, before = time.perf_counter(), work.number(many)
        single = await bench.runs.start(who, steps(1))
        await eventually(lambda: work.number(single) == 1, timeout_s=60)
        waited, meanwhile = time.perf_counter() - asked, work.number(many) - before

    print(f"waited {waited * 1000:.0f} ms for {meanwhile} tasks, behind {10_000 - before}")
    assert meanwhile < 1_000
    await ended(bench, who, [many])


async def test_runs_share_the_slots_and_within_each_the_urgent_goes_first(bench: Bench) -> None:
    work, who = Work(), a_principal()
    runs = [await bench.runs.start(who, [*steps(40), *chain(3)]), await bench.runs.start(who, steps(40))]

    async with running_loops(bench.engine({"step": work}, slots=4)):
        await eventually(lambda: len(work.tasks) == 83, timeout_s=40)

    begun = [run for run, _ in work.tasks[:60]]
    assert abs(begun.count(runs[0]) - begun.count(runs[1])) <= 8
    of_first = [key for run, key in work.tasks if run == runs[0]]
    assert of_first[0] == "c0"
    assert of_first.index("c2") < 20


async def test_of_runs_with_as_many_tasks_running_the_one_with_the_more_urgent_goes_first(bench: Bench) -> None:
    who = a_principal()
    calm = await bench.runs.start(who, steps(5))
    await bench.rows(who.tenant_id, "UPDATE tasks SET priority = -60 WHERE run_id = %s RETURNING id", calm)
    urgent = await bench.runs.start(who, [*chain(2), *steps(2)])

    order = [await claimed_one(bench) for _ in range(4)]

    assert [run for run, _ in order] == [urgent, calm, urgent, calm]
    assert order[0][1] == "c0"
    await ended(bench, who, [calm, urgent])


async def test_many_runs_are_claimed_from_both_ends(bench: Bench) -> None:
    work, who = Work(), a_principal()
    work.may_end.clear()
    runs = [await bench.runs.start(who, steps(1)) for _ in range(150)]

    async with running_loops(bench.engine({"step": work}, slots=8)):
        await eventually(lambda: len(work.tasks) == 8, timeout_s=30)
        assert {run for run, _ in work.tasks} <= {*runs[:30], *runs[-30:]}
        work.may_end.set()
        await eventually(lambda: len(work.tasks) == 150, timeout_s=60)

    assert {run for run, _ in work.tasks} == set(runs)


async def test_two_workers_that_claim_at_once_get_different_tasks_and_leave_none(bench: Bench) -> None:
    who = a_principal()
    runs = [await bench.runs.start(who, steps(30)) for _ in range(3)]

    claims = await asyncio.gather(*(bench.store.claim(worker=f"w{n}", slots=15, lease_s=60) for n in range(6)))

    found = [task.id for claimed in claims for task in claimed.tasks]
    assert len(found) == len(set(found)) == 90
    await ended(bench, who, runs)


def values(number: int) -> list[TaskSpec]:
    return [TaskSpec(key=f"v{each}", kind="value", spec={"input": each}) for each in range(number)]


def a_map(items: int) -> TaskSpec:
    spec = {"over": list(range(items)), "task": {"kind": "value", "input": {"$ref": "item"}}}
    return TaskSpec(key="m", kind="map", spec=spec)


async def test_a_single_value_is_in_the_next_bite_behind_thousands_of_its_tenant(bench: Bench) -> None:
    who, worker = a_principal(), "w"
    many = await bench.runs.start(who, values(3_000))
    first = await bench.store.claim(worker=worker, slots=0, lease_s=60)
    single = await bench.runs.start(who, values(1))
    next_bite = await bench.store.claim(worker=worker, slots=0, lease_s=60)

    assert (len(first.tasks), len(next_bite.tasks)) == (BITE, BITE)
    assert single in {task.run_id for task in next_bite.tasks}
    await ended(bench, who, [many, single])


async def test_a_single_value_ends_before_the_most_of_a_map_of_its_tenant_or_of_another(bench: Bench) -> None:
    """However slow the machine: what counts is how many items ended in between."""
    who, other = a_principal(), a_principal()
    for asking in (who, other):
        many = await bench.runs.start(who, [a_map(8_000)])
        items = "SELECT count(*) FROM tasks WHERE run_id = %s AND key LIKE 'm[%%' AND status = 'succeeded'"
        async with running_loops(bench.engine()):
            await eventually(partial(some, bench, who, items, many))
            single = await bench.runs.start(asking, values(1))
            [(before,)] = await bench.rows(who.tenant_id, items, many)
            await eventually(partial(succeeded, bench, asking, single))
            when = "SELECT finished_at FROM tasks WHERE run_id = %s"
            [(single_at,)] = await bench.rows(asking.tenant_id, when, single)
            [(ahead,)] = await bench.rows(who.tenant_id, f"{items} AND finished_at <= %s", many, single_at)
            await ended(bench, who, [many])

        print(f"{ahead - before} items ended before it")
        assert ahead - before <= 20 * BITE  # whose turn it is among tenants is drawn by lot


async def some(bench: Bench, who: Principal, query: str, run_id: UUID) -> bool:
    return bool((await bench.rows(who.tenant_id, query, run_id))[0][0])


async def succeeded(bench: Bench, who: Principal, run_id: UUID) -> bool:
    return await bench.status(who, run_id) == "succeeded"
