"""Runs of days: time is moved by as much in everything that is stored, and workers are killed on the way."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from tests.conftest import Run
from tests.crash.kit import a_product
from tests.fakes.planning_engine import Bench, a_principal, bench_on
from tests.servers import TestDatabase
from tests.waiting import eventually

from cognitionos.cli.crash_test.processes import Processes
from cognitionos.cli.crash_test.sink import Sink, running_sink
from cognitionos.kernel.principal import Principal
from cognitionos.planning.domain.task import TaskSpec
from cognitionos.platform.config import Settings

HALF_A_DAY_H = 12
_COLUMNS = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public' AND data_type = 'timestamp with time zone'
  AND table_name IN ('runs', 'tasks', 'run_events')
"""
_UNTIL = """
UPDATE tasks SET spec = jsonb_set(
  spec, '{$state,until}', to_jsonb((spec #>> '{$state,until}')::timestamptz - make_interval(hours => %s))
) WHERE spec #>> '{$state,until}' IS NOT NULL
"""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Somebody's long run, and what kills its workers."""

    bench: Bench
    product: Processes
    canary: Sink

    async def start(self, who: Principal, *, nights: int) -> UUID:
        """An effect, half a day of waiting, an effect, ..."""
        request = {"method": "POST", "url": self.canary.url}
        graph = [TaskSpec(key="effect0", kind="http", spec=request)]
        for night in range(1, nights + 1):
            wait = {"duration_s": HALF_A_DAY_H * 3600}
            graph.append(TaskSpec(key=f"wait{night}", kind="wait", spec=wait, depends_on=(f"effect{night - 1}",)))
            graph.append(TaskSpec(key=f"effect{night}", kind="http", spec=request, depends_on=(f"wait{night}",)))
        return await self.bench.runs.start(who, graph)

    async def waits(self, who: Principal, run_id: UUID, night: int) -> None:
        """Until the run is in that night."""
        query = "SELECT 1 FROM tasks WHERE run_id = %s AND key = %s AND spec #>> '{$state,until}' IS NOT NULL"
        await eventually(lambda: self.bench.rows(who.tenant_id, query, run_id, f"wait{night}"), timeout_s=60)


@pytest.fixture(scope="module")
def scene(settings: Settings, run: Run) -> Iterator[Scene]:
    stack = AsyncExitStack()

    async def set_up() -> Scene:
        canary = await stack.enter_async_context(running_sink())
        product = await stack.enter_async_context(a_product(settings, COGNITIONOS_HTTP_ALLOW=canary.address))
        return Scene(bench=await stack.enter_async_context(bench_on(settings)), product=product, canary=canary)

    yield run(set_up())
    run(stack.aclose())


def half_a_day_passes(database: TestDatabase) -> None:
    """As if it were later: everything that was stored is so much longer ago."""
    with psycopg.connect(database.admin_url) as connection:
        for table, column in connection.execute(_COLUMNS).fetchall():
            shift = sql.SQL("UPDATE {table} SET {column} = {column} - make_interval(hours => %s)")
            connection.execute(
                shift.format(table=sql.Identifier(table), column=sql.Identifier(column)), (HALF_A_DAY_H,)
            )
        connection.execute(_UNTIL, (HALF_A_DAY_H,))


@pytest.mark.parametrize(
    ("nights", "kills"), [pytest.param(2, 1, id="24 h"), pytest.param(6, 5, id="72 h", marks=pytest.mark.long)]
)
async def test_a_run_of_days_survives_the_deaths_of_its_workers(
    scene: Scene, database: TestDatabase, nights: int, kills: int
) -> None:
    who = a_principal()
    scene.canary.reset(delay_s=0.5)
    run_id = await scene.start(who, nights=nights)
    worker = await scene.product.worker()
    for night in range(nights):
        await eventually(lambda effects=night + 1: scene.canary.applied == effects, timeout_s=60)
        if night < kills:
            worker.kill()  # the effect is under way
            await worker.wait()
            worker = await scene.product.worker()
        await scene.waits(who, run_id, night + 1)
        half_a_day_passes(database)

    async def ended() -> bool:
        return await scene.bench.status(who, run_id) == "succeeded"

    await eventually(ended, timeout_s=60)
    query = "SELECT extract(epoch FROM finished_at - started_at)::float8 / 3600 FROM runs WHERE id = %s"
    [(took_h,)] = await scene.bench.rows(who.tenant_id, query, run_id)
    assert took_h >= nights * HALF_A_DAY_H
    assert (scene.canary.applied, scene.canary.keyless) == (nights + 1, 0)
    assert sum(count > 1 for count in scene.canary.seen.values()) == kills
    worker.kill()
