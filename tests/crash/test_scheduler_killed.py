"""Two processes that may fire schedules: each time once, and a new leader within 15 s of the death of the old one."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, cast

import pytest
from tests.crash.kit import a_product
from tests.fakes.planning_agents import no_strangers
from tests.fakes.planning_engine import Bench, a_principal, bench_on
from tests.waiting import eventually

from cognitionos.cli.crash_test.points import died_at_its_point
from cognitionos.cli.crash_test.processes import Processes
from cognitionos.composition import scheduling
from cognitionos.kernel.clock import utc_now
from cognitionos.kernel.ids import new_id
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.schedules import Plan, Schedules
from cognitionos.planning.application.workflows import Workflows
from cognitionos.planning.domain.schedule import Schedule, Target, Timing
from cognitionos.planning.domain.workflow import DeclaredTask
from cognitionos.platform.config import Settings

POINTS = ("schedules.fired",)
FAILOVER_S = 15.0


@dataclass(kw_only=True)
class Scene:
    """A schedule of each second, and processes to kill."""

    bench: Bench
    product: Processes
    schedules: Schedules
    who: Principal
    schedule: Schedule

    async def times(self) -> list[tuple[datetime, Any]]:
        """Every time that started a run, and the run."""
        rows = await self.bench.rows(
            self.who.tenant_id,
            "SELECT scheduled_at, run_id FROM schedule_fires WHERE outcome = 'started' ORDER BY scheduled_at",
        )
        return [(row[0], row[1]) for row in rows]

    async def fired_since(self, before: int, *, within_s: float = 60.0) -> float:
        """Seconds until more than `before` times have started a run."""
        began = time.monotonic()

        async def more() -> bool:
            return len(await self.times()) > before

        assert await eventually(more, timeout_s=within_s)
        return time.monotonic() - began

    async def each_started_one_run(self) -> bool:
        """Whether there are as many runs as times, each of its own second."""
        times = await self.times()
        runs = await self.bench.rows(self.who.tenant_id, "SELECT id FROM runs")
        seconds = [when for when, _ in times]
        apart = all(later - earlier >= timedelta(seconds=1) for earlier, later in pairwise(seconds))
        return apart and {run_id for _, run_id in times} == {row[0] for row in runs}


@asynccontextmanager
async def a_scene(settings: Settings) -> AsyncIterator[Scene]:
    async with a_product(settings) as product, bench_on(settings) as bench:
        who = a_principal()
        workflows = Workflows(
            begin=bench.runs.begin, runs=bench.runs, strangers=no_strangers, now=utc_now, new_id=new_id
        )
        await workflows.declare(who, "tick", {"a": DeclaredTask(kind="value", input=1)})
        schedules = scheduling.build(bench.base, runs=bench.runs, goals=cast("Any", None)).schedules
        timing, target = Timing(every_s=1), Target(workflow="tick")
        schedule = await schedules.create(who, Plan(name="tick", timing=timing, target=target))
        try:
            yield Scene(bench=bench, product=product, schedules=schedules, who=who, schedule=schedule)
        finally:
            await schedules.remove(who, schedule.id)


async def test_a_leader_that_dies_right_after_it_fired_is_replaced(settings: Settings) -> None:
    async with a_scene(settings) as scene:
        assert await died_at_its_point(await scene.product.worker(crash_point=POINTS[0]))
        ((when, run_id),) = await scene.times()

        await scene.product.worker()
        took_s = await scene.fired_since(1)

        async def ended() -> bool:
            return await scene.bench.status(scene.who, run_id) == "succeeded"

        assert took_s < FAILOVER_S
        assert await eventually(ended, timeout_s=10)
        assert (await scene.times())[0] == (when, run_id)
        assert await scene.each_started_one_run()


@pytest.mark.long
async def test_two_processes_fire_each_time_once_also_when_the_leader_sleeps(
    settings: Settings,
) -> None:
    async with a_scene(settings) as scene:
        leader = await scene.product.worker()
        other = asyncio.create_task(scene.product.worker())
        await scene.fired_since(len(await scene.times()) + 1)

        leader.send_signal(signal.SIGSTOP)
        await other
        await scene.fired_since(len(await scene.times()))
        leader.send_signal(signal.SIGCONT)
        await scene.fired_since(len(await scene.times()) + 2)

        assert await scene.each_started_one_run()
