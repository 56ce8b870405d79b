"""Kills at named places in the code: those that a run passes, whatever its tasks are."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cognitionos.cli.crash_test.kills import covered
from cognitionos.cli.crash_test.load import Load, Result
from cognitionos.cli.crash_test.processes import Processes
from cognitionos.cli.crash_test.sink import Sink
from cognitionos.cli.crash_test.verdict import Verdict, judge

POINTS = {
    "engine.after_claim": 5,
    "engine.before_record": 8,
    "engine.in_record": 8,
    "engine.before_relay": 8,
    "engine.after_record": 8,
    "engine.after_renew": 3,
    "http_task.after_send": 6,
}
"""Each point, and the passing, in the midst of a run, at which a worker dies there."""
NUMBER = 4
_DIES_WITHIN_S = 60.0


def effect_s(point: str, lease_s: float) -> float:
    """How long an effect has to take so that the point is passed: a lease is renewed every third of it."""
    return 0.6 * lease_s if point == "engine.after_renew" else 0.0


@asynccontextmanager
async def asleep(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """While this lasts, only the process that will be killed works."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


async def died_at_its_point(process: asyncio.subprocess.Process, *, within_s: float = _DIES_WITHIN_S) -> bool:
    """Whether `process` killed itself in time."""
    try:
        async with asyncio.timeout(within_s):
            return await process.wait() == -signal.SIGKILL
    except TimeoutError:
        return False


@dataclass(kw_only=True)
class PointKills:
    """One run for each point; a worker that dies there carries it so far, another takes it over."""

    load: Load
    sink: Sink
    processes: Processes
    lease_s: float
    tell: Callable[[str, int], None]
    deaths: list[float] = field(default_factory=list)
    _awake: list[tuple[float, float]] = field(default_factory=list)

    async def run(self) -> Verdict:
        """Do it all; a point that no worker died at is a fault."""
        survivor = await self.processes.worker("survivor")
        calm = await self.load.one(f"{self.load.prefix}-calm", NUMBER)
        results: list[Result] = []
        unpassed: list[str] = []
        for point, passing in POINTS.items():
            self.tell(point, len(results))
            self.sink.delay_s = effect_s(point, self.lease_s)
            async with asleep(survivor):
                dying = await self.processes.worker("dying", crash_point=f"{point}:{passing}")
                running = asyncio.create_task(self.load.one(f"{self.load.prefix}-{point}", NUMBER))
                if not await died_at_its_point(dying):
                    unpassed.append(f"no worker died at {point}")
                    dying.kill()
                self.deaths.append(time.monotonic())
                await self.processes.bury(dying)
            awake_at = time.monotonic()
            results.append(await running)
            self._awake.append((awake_at, time.monotonic()))
        verdict = judge(results, {NUMBER: calm}, self.sink, deaths=self.deaths, up_s=self._up_s)
        return verdict.with_faults(unpassed)

    def _up_s(self, begin: float, end: float) -> float:
        return covered(self._awake, begin, end)
