"""The test itself: runs without kills to compare with, then runs in flight while workers die at random moments."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cognitionos.cli.crash_test.client import Client
from cognitionos.cli.crash_test.kills import Target
from cognitionos.cli.crash_test.load import Load, Result
from cognitionos.cli.crash_test.sink import Sink
from cognitionos.cli.crash_test.verdict import Verdict, judge
from cognitionos.kernel.errors import Unavailable

_EFFECT_S = 0.25
_CALM_WITHIN_S = 300.0
_PACE = 0.25
"""Of the time that runs take without kills. A task that loses its worker thirty times in a row fails: kills that
come faster than any task can end would show that, and nothing else."""
_LEAST_EVERY_S = 0.5


class NotFitToTest(Unavailable):
    """Runs do not even succeed without kills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is done: `moments` kills, in the mean `every_s` after a worker was there; the last runs end within
    `end_within_s`. `every_s` None: as fast as work goes forward here, see `_PACE`.
    """

    runs: int
    moments: int
    every_s: float | None
    end_within_s: float
    seed: int


@dataclass(kw_only=True)
class Storm:
    """One test. `tell` is called after each thing that happened, for whoever watches."""

    client: Client
    sink: Sink
    target: Target
    plan: Plan
    tell: Callable[["Storm"], None]
    phase: str = "runs without kills, to compare with"
    deaths: list[float] = field(default_factory=list)
    ended: int = 0
    took_s: float = 0.0
    every_s: float = 0.0

    async def run(self) -> Verdict:
        """Do it all. Raises `NotFitToTest`, `NothingToKill`, `RequestRefused`, `ServerUnreachable`."""
        begun = time.monotonic()
        self.sink.reset(delay_s=_EFFECT_S)
        load = await Load.declare(self.client, effect_url=self.sink.url, prefix=f"{self.plan.seed}-{time.time():.0f}")
        calm = await self._calm(load)
        usual_s = max(_LEAST_EVERY_S, _PACE * (time.monotonic() - begun))
        self.every_s = usual_s if self.plan.every_s is None else self.plan.every_s
        self.phase = "kills"
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self._run_until(over, load))
            await self._kill_all()
            self.phase = "the last runs end"
            self.tell(self)
            over.set()
            await running
        self.took_s = time.monotonic() - begun
        return judge(load.results, calm, self.sink, deaths=self.deaths, up_s=self.target.up_s)

    async def _calm(self, load: Load) -> dict[int, Result]:
        self.tell(self)
        try:
            async with asyncio.timeout(_CALM_WITHIN_S):
                results = await load.calm(range(self.plan.runs))
        except TimeoutError:
            raise NotFitToTest(f"without a single kill runs do not end within {_CALM_WITHIN_S:.0f} s") from None
        for each in results:
            if each.status != "succeeded":
                raise NotFitToTest(
                    f"without a single kill run {each.id} is {each.status}: {each.error}\nIts http tasks send to "
                    f"{self.sink.url}: every worker needs COGNITIONOS_HTTP_ALLOW={self.sink.url.split('/')[2]} "
                    "and must reach that address (--sink-url)."
                )
        return {each.number: each for each in results}

    async def _run_until(self, over: asyncio.Event, load: Load) -> None:
        """Keep runs in flight until it is over; what has not ended long after that will not."""
        keeping = asyncio.create_task(load.keep(self.plan.runs, until=over, ended=self._run_ended))
        try:
            waiting = asyncio.create_task(over.wait())
            await asyncio.wait({keeping, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            async with asyncio.timeout(self.plan.end_within_s):
                await keeping
        except TimeoutError:
            load.give_up()
        finally:
            keeping.cancel()

    async def _kill_all(self) -> None:
        chance = random.Random(self.plan.seed)
        for _ in range(self.plan.moments):
            await self.target.ready()
            await asyncio.sleep(chance.uniform(0, 2 * self.every_s))
            await self.target.kill(chance)
            self.deaths.append(time.monotonic())
            self.tell(self)

    def _run_ended(self) -> None:
        self.ended += 1
        self.tell(self)
