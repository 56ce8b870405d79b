"""Everything that people may do to runs, at once and by lot, while workers die: nothing is lost, stuck or doubled."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from tests.conftest import Run
from tests.crash.acts import Acts
from tests.crash.acts_target import Target, running_target
from tests.crash.books import Books
from tests.crash.kit import a_product
from tests.edge import Caller, a_caller
from tests.fakes.planning_engine import Bench, bench_on

from cognitionos.cli.crash_test.kills import OwnWorkers, own_workers
from cognitionos.cli.crash_test.own_stack import api_on
from cognitionos.cli.listening import free_port
from cognitionos.platform.config import Settings

QUIET_WITHIN_S = 60.0


@dataclass(kw_only=True)
class Scene:
    """An API, two workers to kill, a target, and a look into the tables."""

    settings: Settings
    bench: Bench
    url: str
    workers: OwnWorkers
    target: Target

    @asynccontextmanager
    async def tenant(self, seed: int, *, overlap: str) -> AsyncIterator[tuple[Caller, Acts]]:
        """A tenant of its own with the workflows and a schedule of each second."""
        caller = await a_caller(self.settings, f"storm-{seed}")
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(headers=caller.headers, timeout=timeout) as client:
            acts = Acts(client=client, url=self.url, name=f"r{seed}", chance=random.Random(seed))
            for name, tasks in (
                ("inner", self.target.inner()),
                ("outer", self.target.outer()),
                ("tick", self.target.tick()),
            ):
                status, told = await acts.call("POST", "/v1/workflows", json={"name": name, "tasks": tasks})
                assert status == 201, told
            timed = {"workflow": "tick", "input": {"run": f"s{seed}", "place": "top"}}
            schedule = {
                "name": "tick",
                "every_s": 1,
                "workflow": {"name": "tick", "input": timed["input"]},
                "overlap": overlap,
            }
            status, told = await acts.call("POST", "/v1/schedules", json=schedule)
            assert status == 201, told
            yield caller, acts
            await acts.call("DELETE", f"/v1/schedules/{told['id']}")


@pytest.fixture(scope="module")
def scene(settings: Settings, run: Run) -> Iterator[Scene]:
    stack = AsyncExitStack()

    async def set_up() -> Scene:
        target = await stack.enter_async_context(running_target())
        product = await stack.enter_async_context(a_product(settings, COGNITIONOS_HTTP_ALLOW=target.address))
        bench = await stack.enter_async_context(bench_on(settings))
        api = asyncio.create_task(api_on(product, free_port("127.0.0.1", 0)))
        workers = await stack.enter_async_context(own_workers(product, count=2))
        return Scene(settings=settings, bench=bench, url=await api, workers=workers, target=target)

    yield run(set_up())
    run(stack.aclose())


async def quiet(acts: Acts, kept: frozenset[str]) -> bool:
    """Whether everything comes to an end that was not told to wait."""
    try:
        async with asyncio.timeout(QUIET_WITHIN_S):
            await acts.let_all_end(but=kept)
    except TimeoutError:
        return False
    return True


async def stormed(scene: Scene, seed: int, *, overlap: str, for_s: float, kills: int) -> list[str]:
    """One storm; gives what is wrong when it is quiet again."""
    chance = random.Random(seed)

    async def kill() -> None:
        for _ in range(kills):
            await scene.workers.ready()
            await asyncio.sleep(chance.uniform(0, 1.5))
            await scene.workers.kill(chance)

    async with scene.tenant(seed, overlap=overlap) as (caller, acts):
        async with asyncio.TaskGroup() as group:
            group.create_task(kill())
            for _ in range(4):
                group.create_task(acts.perform(for_s))
        _, schedules = await acts.call("GET", "/v1/schedules")
        await acts.call("PATCH", f"/v1/schedules/{schedules['items'][0]['id']}", json={"paused": True})
        kept = frozenset((await acts.paused_roots())[:2])
        is_quiet = await quiet(acts, kept)
        books = await Books.of(scene.bench, caller.tenant_id)
        faults = [*acts.broken, *books.faults(scene.target), *await books.told_otherwise(acts)]
    return faults if is_quiet else [f"not quiet within {QUIET_WITHIN_S:.0f} s", *faults]


async def test_a_storm_of_acts_leaves_nothing_lost_stuck_or_doubled(scene: Scene) -> None:
    assert await stormed(scene, 1, overlap="skip", for_s=4, kills=1) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 10))
async def test_storms_of_acts_leave_nothing_lost_stuck_or_doubled(scene: Scene, seed: int) -> None:
    overlap = ("skip", "queue", "cancel")[seed % 3]

    assert await stormed(scene, seed, overlap=overlap, for_s=30, kills=5) == []
