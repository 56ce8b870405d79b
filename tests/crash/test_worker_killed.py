"""SIGKILL of the worker at each commit boundary: another takes over, the run ends, each keyed effect happens once."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import redis.asyncio
from tests.crash.kit import a_product
from tests.fakes.planning_agents import no_strangers
from tests.fakes.planning_engine import Bench, a_principal, bench_on
from tests.waiting import eventually

from cognitionos.cli.crash_test import workflow
from cognitionos.cli.crash_test.load import Result
from cognitionos.cli.crash_test.points import NUMBER, POINTS, asleep, died_at_its_point, effect_s
from cognitionos.cli.crash_test.processes import Processes
from cognitionos.cli.crash_test.sink import Sink, running_sink
from cognitionos.cli.crash_test.verdict import judge
from cognitionos.kernel.clock import utc_now
from cognitionos.kernel.ids import new_id
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.workflows import Workflows
from cognitionos.planning.domain.task import TaskSpec
from cognitionos.planning.domain.workflow import DeclaredTask
from cognitionos.platform.config import Settings

LEASE_S = 1.0
CODE = {"code": "print(data)\nwith open('found.txt', 'w') as file:\n    file.write('found')", "input": 7}


@dataclass(kw_only=True)
class Scene:
    """A platform to start runs on, processes to kill, a canary."""

    bench: Bench
    product: Processes
    canary: Sink
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

    async def start_every_kind(self, who: Principal, name: str) -> UUID:
        """A run of what `cognitionos crash-test` runs, and beside it code in the sandbox and a tool."""
        workflows = Workflows(
            begin=self.bench.runs.begin, runs=self.bench.runs, strangers=no_strangers, now=utc_now, new_id=new_id
        )
        inside = await workflows.declare(who, workflow.INNER, _declared(workflow.inner(self.canary.url)))
        graph = workflow.outer(self.canary.url, f"{workflow.INNER}@{inside.version}")
        graph["code"] = {"kind": "python", "depends_on": ["fork"], "input": CODE}
        read = {"tool": "read_file", "arguments": {"name": "found.txt"}}
        graph["tool"] = {"kind": "tool", "depends_on": ["code"], "input": read}
        await workflows.declare(who, workflow.NAME, _declared(graph))
        run_input = workflow.run_input(name, NUMBER)
        run_id, _ = await workflows.start(who, workflow.NAME, version=None, run_input=run_input)
        return run_id

    async def result(self, who: Principal, run_id: UUID, name: str) -> Result:
        """What came of such a run, when it has ended."""
        assert await self.ends_well(who, run_id)
        query = "SELECT key, kind, status, output FROM tasks WHERE run_id = %s"
        columns = ("key", "kind", "status", "output")
        rows = [dict(zip(columns, row, strict=True)) for row in await self.bench.rows(who.tenant_id, query, run_id)]
        return Result(name=name, number=NUMBER, id=str(run_id), status="succeeded", outputs=workflow.outputs(rows))

    async def ends_well(self, who: Principal, run_id: UUID, *, within_s: float = 15.0) -> bool:
        """Whether the run comes to its end."""

        async def succeeded() -> bool:
            return await self.bench.status(who, run_id) == "succeeded"

        return await eventually(succeeded, timeout_s=within_s)


@pytest.fixture(scope="module")
def scene(settings: Settings, run: Any) -> Iterator[Scene]:
    stack = AsyncExitStack()

    async def set_up() -> Scene:
        canary = await stack.enter_async_context(running_sink())
        product = await stack.enter_async_context(a_product(settings, COGNITIONOS_HTTP_ALLOW=canary.address))
        bench = await stack.enter_async_context(bench_on(settings))
        return Scene(bench=bench, product=product, canary=canary, survivor=await product.worker())

    yield run(set_up())
    run(stack.aclose())


@pytest.fixture(scope="module")
def calm(scene: Scene, run: Any) -> Result:
    """The result of a run without a kill."""

    async def undisturbed() -> Result:
        who = a_principal()
        return await scene.result(who, await scene.start_every_kind(who, "calm"), "calm")

    result: Result = run(undisturbed())
    return result


@pytest.mark.parametrize(
    ("point", "passing"),
    [
        *POINTS.items(),
        *(pytest.param(point, passing, marks=pytest.mark.long) for point in POINTS for passing in (1, 2)),
    ],
)
async def test_a_run_of_every_kind_survives_the_death_of_its_worker(
    scene: Scene, calm: Result, point: str, passing: int
) -> None:
    who, name = a_principal(), f"{point}:{passing}"
    scene.canary.delay_s = effect_s(point, LEASE_S)
    async with asleep(scene.survivor):
        run_id = await scene.start_every_kind(who, name)
        assert await died_at_its_point(await scene.product.worker(crash_point=name))

    result = await scene.result(who, run_id, name)

    verdict = judge([result], {NUMBER: calm}, scene.canary, deaths=(), up_s=lambda begin, end: end - begin)
    assert (verdict.faults, verdict.tasks, verdict.effects) == ([], 19, 10)
    numbers = await scene.bench.rows(who.tenant_id, "SELECT seq FROM run_events WHERE run_id = %s ORDER BY seq", run_id)
    assert [number for (number,) in numbers] == list(range(1, len(numbers) + 1))


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
    async with asleep(scene.survivor):
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


def _declared(tasks: workflow.Tasks) -> dict[str, DeclaredTask]:
    return {
        key: DeclaredTask(kind=task["kind"], depends_on=tuple(task["depends_on"]), input=task["input"])
        for key, task in tasks.items()
    }
