"""Where slots are scarce, what lies on the longest path goes first: shorter runs, shown on measured times."""

import asyncio
from uuid import UUID

from tests.fakes.planning_engine import Bench, a_principal, running_loops
from tests.waiting import eventually

from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.ports import Report
from cognitionos.planning.application.runs import StartedFrom
from cognitionos.planning.domain.task import ClaimedTask, Succeeded, TaskSpec

SLOTS = 4
TRIES = 3
"""The fastest of so many runs counts: other work on the machine makes some slower, none faster."""


def a_step(key: str, *after: str, takes_s: float) -> TaskSpec:
    return TaskSpec(key=key, kind="step", depends_on=after, spec={"takes_s": takes_s})


CHORES = [a_step(f"chore{n}", takes_s=0.15) for n in range(24)]
CHAIN = [a_step(f"link{n}", *([f"link{n - 1}"] if n else []), takes_s=0.3) for n in range(4)]
GRAPH = [*CHORES, *CHAIN]
ROWS = [
    a_step(f"row{row}_{n}", *([f"row{row}_{n - 1}"] if n else []), takes_s=0.1) for row in range(12) for n in range(3)
]


async def work(task: ClaimedTask, report: Report) -> Succeeded:
    await asyncio.sleep(task.spec["takes_s"])
    return Succeeded(output=None)


async def seconds_of(bench: Bench, who: Principal, run_id: UUID) -> float:
    """Run it on few slots; from the first start to the last end."""
    async with running_loops(bench.engine({"step": work}, slots=SLOTS)):

        async def ended() -> bool:
            return await bench.status(who, run_id) == "succeeded"

        await eventually(ended, timeout_s=30)
    query = "SELECT extract(epoch FROM max(finished_at) - min(started_at))::float8 FROM tasks WHERE run_id = %s"
    return float((await bench.rows(who.tenant_id, query, run_id))[0][0])


async def test_the_longest_path_first_makes_a_run_a_fifth_shorter_or_better(bench: Bench) -> None:
    who = a_principal()
    shorter_s = min([await seconds_of(bench, who, await bench.runs.start(who, GRAPH)) for _ in range(TRIES)])
    as_declared = await bench.runs.start(who, GRAPH)
    await _forget_priorities(bench, who, as_declared)

    assert shorter_s <= 0.8 * await seconds_of(bench, who, as_declared)


async def test_the_next_run_of_a_workflow_goes_by_what_the_last_one_took(bench: Bench) -> None:
    who, graph = a_principal(), [*ROWS, a_step("long", takes_s=1.2)]
    origin = StartedFrom(workflow="nightly", version=1, input=None, result_key=None)
    first_s = await seconds_of(bench, who, await bench.runs.start(who, graph, origin=origin))
    later_s = [await seconds_of(bench, who, await bench.runs.start(who, graph, origin=origin)) for _ in range(TRIES)]

    assert min(later_s) <= 0.8 * first_s


async def _forget_priorities(bench: Bench, who: Principal, run_id: UUID) -> None:
    """The order in which the tasks were declared, as it would be without the longest path."""
    async with bench.base.database.transaction(who.tenant_id) as connection:
        await connection.execute("UPDATE tasks SET priority = 0 WHERE run_id = %s", (run_id,))
