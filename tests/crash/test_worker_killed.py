"""SIGKILL of the worker at each commit boundary: another takes over, the run ends, each keyed effect happens once."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import redis.asyncio
from tests.crash.kit import Canary, Product, a_canary, a_product, died_at_its_point
from tests.fakes.planning_engine import Bench, a_principal, bench_on
from tests.waiting import eventually

from cognitionos.kernel.clock import utc_now
from cognitionos.kernel.ids import new_id
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.workflows import Workflows
from cognitionos.planning.domain.task import TaskSpec
from cognitionos.planning.domain.workflow import DeclaredTask
from cognitionos.platform.config import Settings

LEASE_S = 1.0
POINTS = {
    "engine.after_claim": 0.0,
    "engine.before_record": 0.0,
    "engine.in_record": 0.0,
    "engine.before_relay": 0.0,
    "engine.after_record": 0.0,
    "engine.after_renew": 0.6,
    "http_task.after_send": 0.0,
}
"""Each point that a run of http tasks passes, and how long an effect takes so that it does."""


@dataclass(kw_only=True)
class Scene:
    """A platform to start runs on, processes to kill, a canary."""

    bench: Bench
    product: Product
    canary: Canary
    survivor: asyncio.subprocess.Process

    async def start(self, who: Principal, *, width: int = 3) -> UUID:
        """A run: one effect, then `width` effects side by side with values between them, then one."""
        request = {"method": "POST", "url": self.canary.url, "json": {"by": "test"}}

        def effect(key: str, *after: str) -> TaskSpec:
            return TaskSpec(key=key, kind="http", spec=request, depends_on=after)

        def value(key: str, *after: str) -> TaskSpec:
            return TaskSpec(key=key, kind="value", spec={"input": key}, depends_on=after)

        wide = [f"wide{n}" for n in range(width)]
        graph = [effect("first"), value("fork", "first"), *(effect(key, "fork") for key in wide)]
        return await self.bench.runs.start(who, [*graph, value("join", *wide), effect("last", "join")])

    async def start_branching(self, who: Principal) -> UUID:
        """A run: a branch, a map of four effects of which two at once, a nested run with one more effect."""
        effect = {"method": "POST", "url": self.canary.url, "json": {"by": "test"}}
        workflows = Workflows(begin=self.bench.runs.begin, runs=self.bench.runs, now=utc_now, new_id=new_id)
        await workflows.declare(who, "inner", {"one": DeclaredTask(kind="http", input=effect)})
        choice = {"left": 1, "op": "<", "right": 2, "then": ["each"], "else": ["not_chosen"]}
        each = {"over": [1, 2, 3, 4], "concurrency": 2, "task": {"kind": "http", "input": effect}}
        graph = {
            "choose": DeclaredTask(kind="condition", input=choice),
            "not_chosen": DeclaredTask(kind="http", input=effect, depends_on=("choose",)),
            "after_it": DeclaredTask(kind="http", input=effect, depends_on=("not_chosen",)),
            "each": DeclaredTask(kind="map", input=each, depends_on=("choose",)),
            "nested": DeclaredTask(kind="workflow", input={"workflow": "inner"}, depends_on=("each", "after_it")),
        }
        await workflows.declare(who, "outer", graph)
        run_id, _ = await workflows.start(who, "outer", version=None, run_input=None)
        return run_id

    async def ends_well(self, who: Principal, run_id: UUID, *, within_s: float = 15.0) -> bool:
        """Whether the run comes to its end."""

        async def succeeded() -> bool:
            return await self.bench.status(who, run_id) == "succeeded"

        return await eventually(succeeded, timeout_s=within_s)

    @asynccontextmanager
    async def survivor_waiting(self) -> AsyncIterator[None]:
        """While this lasts, only the process that will be killed works."""
        self.survivor.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.survivor.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def scene(settings: Settings, run: Any) -> Iterator[Scene]:
    stack = AsyncExitStack()

    async def set_up() -> Scene:
        canary = await stack.enter_async_context(a_canary())
        product = await stack.enter_async_context(a_product(settings, COGNITIONOS_HTTP_ALLOW=canary.address))
        bench = await stack.enter_async_context(bench_on(settings))
        return Scene(bench=bench, product=product, canary=canary, survivor=await product.worker())

    yield run(set_up())
    run(stack.aclose())


@pytest.mark.parametrize("point", POINTS)
async def test_a_run_survives_the_death_of_its_worker(scene: Scene, point: str) -> None:
    who = a_principal()
    scene.canary.reset(delay_s=POINTS[point])
    async with scene.survivor_waiting():
        run_id = await scene.start(who)
        assert await died_at_its_point(await scene.product.worker(crash_point=point))

    assert await scene.ends_well(who, run_id)
    assert scene.canary.applied == 5
    assert scene.canary.keyless == 0
    numbers = await scene.bench.rows(who.tenant_id, "SELECT seq FROM run_events WHERE run_id = %s ORDER BY seq", run_id)
    assert [number for (number,) in numbers] == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("point", ["engine.after_claim", "engine.in_record", "engine.after_record"])
async def test_branches_maps_and_nested_runs_survive_the_death_of_their_worker(scene: Scene, point: str) -> None:
    who = a_principal()
    scene.canary.reset()
    async with scene.survivor_waiting():
        run_id = await scene.start_branching(who)
        assert await died_at_its_point(await scene.product.worker(crash_point=point))

    assert await scene.ends_well(who, run_id)
    states = dict(await scene.bench.rows(who.tenant_id, "SELECT key, status FROM tasks WHERE run_id = %s", run_id))
    nested = await scene.bench.rows(who.tenant_id, "SELECT status FROM runs WHERE parent_run_id = %s", run_id)
    assert (states["not_chosen"], states["after_it"], states["each[3]"]) == ("skipped", "skipped", "succeeded")
    assert nested == [("succeeded",)]
    assert (scene.canary.applied, scene.canary.keyless) == (5, 0)


async def test_a_run_survives_the_loss_of_everything_in_redis(scene: Scene, settings: Settings) -> None:
    who = a_principal()
    scene.canary.reset(delay_s=0.2)
    run_id = await scene.start(who)
    await eventually(lambda: scene.canary.seen)

    async with redis.asyncio.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        await client.flushall()

    assert await scene.ends_well(who, run_id)
    assert scene.canary.applied == 5


async def test_a_worker_that_is_asked_to_stop_hands_back_and_exits_with_zero(scene: Scene) -> None:
    who = a_principal()
    scene.canary.reset(delay_s=5)
    async with scene.survivor_waiting():
        leaving = await scene.product.worker()
        run_id = await scene.start(who)
        await eventually(lambda: scene.canary.seen)
        leaving.terminate()
        async with asyncio.timeout(15):
            assert await leaving.wait() == 0

        held = await scene.bench.rows(who.tenant_id, "SELECT count(*) FROM tasks WHERE status = 'running'")
        scene.canary.delay_s = 0

    assert held == [(0,)]
    assert await scene.ends_well(who, run_id)
    assert scene.canary.applied == 5


@pytest.mark.long
async def test_many_runs_survive_workers_killed_at_random_moments(scene: Scene) -> None:
    chance = random.Random(20)
    who = a_principal()
    scene.canary.reset(delay_s=0.05)
    runs = [await scene.start(who, width=10) for _ in range(20)]
    victims = [await scene.product.worker() for _ in range(2)]

    for _ in range(60):
        await asyncio.sleep(chance.uniform(0.05, 1.0))
        victim = victims.pop(chance.randrange(2))
        victim.kill()
        await victim.wait()
        victims.append(await scene.product.worker())
        if chance.random() < 0.3:
            runs.append(await scene.start(who, width=10))

    for run_id in runs:
        assert await scene.ends_well(who, run_id, within_s=60)
    assert scene.canary.applied == 12 * len(runs)
