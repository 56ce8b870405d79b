"""What large runs and single steps cost: in CPU, memory, commits and statements, which do not hang on the company."""

import time
from pathlib import Path

import psycopg
from tests.counting import a_door
from tests.crash.kit import a_product
from tests.fakes.planning_agents import no_strangers
from tests.fakes.planning_engine import Bench, a_principal, bench_on, running_loops
from tests.servers import TestDatabase
from tests.waiting import eventually

from cognitionos.kernel.clock import utc_now
from cognitionos.kernel.ids import new_id
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.ports import Report
from cognitionos.planning.application.workflows import Workflows
from cognitionos.planning.domain.task import ClaimedTask, Succeeded, TaskSpec
from cognitionos.planning.domain.workflow import DeclaredTask
from cognitionos.platform.config import Settings

TASKS, WIDTH = 10_000, 100
ACCEPTED_CPU_S = 2.0
RUN_CPU_S = 10.0
BUSY = 1.5
"""So much dearer CPU gets where others use the machine too."""
MOST_MEMORY_KB = 500_000
COMMITS_A_VALUE = 0.1
STEPS = 40
COMMITS_A_STEP = 1
STATEMENTS_A_STEP = 12
"""A step's end and its dependent's claim: ten in the transaction, and one look for tasks."""


def layers() -> dict[str, DeclaredTask]:
    """Layers of a hundred values, two edges from each task to the layer before: nearly 20,000."""

    def parents(number: int) -> tuple[str, ...]:
        above = {number - WIDTH, (number - WIDTH) // WIDTH * WIDTH + (number + 1) % WIDTH}
        return tuple(f"t{each}" for each in sorted(above)) if number >= WIDTH else ()

    return {f"t{n}": DeclaredTask(kind="value", depends_on=parents(n), input=n) for n in range(TASKS)}


async def test_ten_thousand_tasks_are_accepted_in_two_seconds_and_done_in_few_commits_and_little_memory(
    bench: Bench, settings: Settings, database: TestDatabase
) -> None:
    who, tasks = a_principal(), layers()
    workflows = Workflows(begin=bench.runs.begin, runs=bench.runs, strangers=no_strangers, now=utc_now, new_id=new_id)
    began = time.process_time()
    await workflows.declare(who, "layers", tasks)
    run_id, _ = await workflows.start(who, "layers", version=None, run_input=None)
    accepted_s = time.process_time() - began

    async with a_product(settings) as product:
        before = commits_in(database)
        worker = await product.worker()
        await eventually(lambda: has_ended(bench, who, run_id), timeout_s=50)
        commits, memory_kb, cpu_s = commits_in(database) - before, *cost_of(worker.pid)

    assert sum(len(task.depends_on) for task in tasks.values()) == 2 * (TASKS - WIDTH)
    assert accepted_s < ACCEPTED_CPU_S * BUSY
    assert commits / TASKS <= COMMITS_A_VALUE
    assert memory_kb < MOST_MEMORY_KB
    assert cpu_s < RUN_CPU_S * BUSY


async def test_from_one_task_to_the_next_there_is_one_commit_of_few_statements(
    settings: Settings, database: TestDatabase
) -> None:
    async def succeed(task: ClaimedTask, _report: Report) -> Succeeded:
        return Succeeded(output=task.key)

    who = a_principal()
    chain = [TaskSpec(key=f"t{n}", kind="step", depends_on=(f"t{n - 1}",) if n else ()) for n in range(STEPS)]
    async with a_door(database.app_url) as door:
        behind = settings.model_copy(update={"database_url": type(settings.database_url)(door.url)})
        async with bench_on(settings) as watching, bench_on(behind) as bench:
            run_id = await watching.runs.start(who, chain)
            async with running_loops(bench.engine({"step": succeed})):
                await eventually(lambda: has_ended(watching, who, run_id), timeout_s=50)
                statements, commits = door.total, door.commits

    assert commits <= COMMITS_A_STEP * (STEPS + 1), door.statements
    assert statements <= STATEMENTS_A_STEP * STEPS, door.statements


async def has_ended(bench: Bench, who: Principal, run_id: object) -> bool:
    """Whether the run has succeeded."""
    return await bench.status(who, run_id) == "succeeded"  # type: ignore[arg-type]


def commits_in(database: TestDatabase) -> int:
    """Transactions of the database so far, those that only read too."""
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        row = connection.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
        return int((row.fetchone() or (0,))[0])


def cost_of(pid: int) -> tuple[int, float]:
    """The most memory that a process had (kB), and its CPU seconds."""
    status = Path(f"/proc/{pid}/status").read_text()
    [peak] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return peak, (int(fields[11]) + int(fields[12])) / 100
