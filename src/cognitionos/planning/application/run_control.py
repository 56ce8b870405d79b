"""Holding a run, letting it go on, and taking it up again after it failed."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.engine import TASKS, run_channel
from cognitionos.planning.application.runs import Begin, Work
from cognitionos.planning.domain.run import Run, RunStatus
from cognitionos.planning.domain.task import ClaimedTask, LeaseLost
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.logging import get_logger
from cognitionos.platform.signals import Signals

log = get_logger(__name__)
JOURNALS_SET_ASIDE = declare("runs.journals_set_aside")

SetAside = Callable[[UUID, UUID, Sequence[tuple[UUID, int]]], Awaitable[None]]
"""Agents begin these tasks anew: (tenant, run, each task with the last fencing number that counts)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunControl:
    """Use cases on runs that go on, or should."""

    begin: Begin
    signals: Signals
    set_aside: SetAside
    now: Clock

    async def pause(self, who: Principal, run_id: UUID, *, stops_now: bool) -> None:
        """Start no more tasks, here and in nested runs; what runs ends, with `stops_now` after its next step.

        Raises `RunAlreadyFinished`.
        """
        async with self.begin(who.tenant_id) as work:
            run = await work.runs.locked(run_id)
            await work.runs.pause(run, stops_now=stops_now, now=self.now())
            await _goal_follows(work, run)
            for nested in await work.runs.nested(run_id):
                below = await work.runs.locked(nested)
                if not below.status.is_final:
                    await work.runs.pause(below, stops_now=stops_now, now=self.now())
        log.info("run_paused", run_id=str(run_id), stops_now=stops_now)
        await self.signals.send(run_channel(run_id))

    async def resume(self, who: Principal, run_id: UUID) -> None:
        """Go on. Raises `RunNotPaused`."""
        async with self.begin(who.tenant_id) as work:
            run = await work.runs.locked(run_id)
            await work.runs.resume(run, self.now())
            await _goal_follows(work, run)
            for nested in await work.runs.nested(run_id):
                below = await work.runs.locked(nested)
                if below.status is RunStatus.PAUSED:
                    await work.runs.resume(below, self.now())
        log.info("run_resumed", run_id=str(run_id))
        await self._go_on(run_id)

    async def retry(self, who: Principal, run_id: UUID) -> None:
        """Do again what failed, and what was cancelled because of it; finished work stays. Raises `RunNotFailed`.

        Runs that failed or were cancelled below are taken up in the same way, in place.

        The journals go aside first: agents must not go on from answers that led to the failure. What a journal is set
        aside for is named by fencing numbers, so that a second retry cannot reach what the first one started.
        """
        await self._retry(who.tenant_id, run_id, above=None)

    async def retry_below(self, task: ClaimedTask, run_id: UUID) -> None:
        """The same for a run that a task has started and waits for again. Held with the run that the task is of.

        Raises `RunNotFailed`, and `LeaseLost` when the run that the task is of has ended.
        """
        await self._retry(task.tenant_id, run_id, above=task.run_id)

    async def _retry(self, tenant_id: UUID, run_id: UUID, *, above: UUID | None) -> None:
        async with self.begin(tenant_id) as work:
            (await work.runs.locked(run_id)).must_have_failed()
            runs = [run_id, *await work.runs.failed_below(run_id)]
            tasks = {each: await work.runs.ended_badly(each) for each in runs}
        for each, ended in tasks.items():
            await self.set_aside(tenant_id, each, ended)
        crash_point(JOURNALS_SET_ASIDE)
        async with self.begin(tenant_id) as work:
            parent = None if above is None else await work.runs.locked(above)
            if parent is not None and parent.status.is_final:
                raise LeaseLost(f"The run {parent.id} is {parent.status}: what it started ends with it.")
            run, *nested = [await work.runs.locked(each) for each in runs]
            below = [each for each in nested if each.status.has_failed]  # nobody has retried it by itself meanwhile
            for going_on in (run, *below):
                await work.runs.retry(going_on, self.now(), below=[each.id for each in below])
                if parent is not None and parent.status is RunStatus.PAUSED:
                    await work.runs.pause(going_on, stops_now=parent.stops_now, now=self.now())
            await _goal_follows(work, run)
        log.info("run_retried", run_id=str(run_id), tasks=sum(map(len, tasks.values())), runs=len(runs))
        await self._go_on(*runs)

    async def _go_on(self, *runs: UUID) -> None:
        await self.signals.send(TASKS)
        for run_id in runs:
            await self.signals.send(run_channel(run_id))


async def _goal_follows(work: Work, run: Run) -> None:
    if run.goal_id is not None:
        (await work.goals.locked(run.goal_id)).follow(run.status)
