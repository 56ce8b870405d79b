"""The engine: one long-lived loop per worker process that claims, runs and records tasks.

Woken by signals, and by its own clock in case one was lost. PostgreSQL is the truth; a signal only says 'look'.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from cognitionos.kernel.clock import Clock, utc_now
from cognitionos.kernel.errors import Unavailable
from cognitionos.planning.application.leases import Leases
from cognitionos.planning.application.ports import Claimed, Compute, Handler, Recorded, TaskStore
from cognitionos.planning.application.recording import Recorder
from cognitionos.planning.application.running import Runner
from cognitionos.planning.domain.step import Ended, Entry
from cognitionos.planning.domain.task import ClaimedTask, Postponed, Retrying
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.logging import get_logger
from cognitionos.platform.signals import Signals

log = get_logger(__name__)
TASKS = "tasks"
LEASES = "leases"
RUN = "run"
"""What the names of runs' channels begin with."""
AFTER_CLAIM = declare("engine.after_claim")

FINISH_WITHIN_S = 2.0
DRAIN_WITHIN_S = 5.0
LONGEST_TIMER_S = 60.0


def run_channel(run_id: object) -> str:
    """Where a run's readers wait for more."""
    return f"{RUN}:{run_id}"


@dataclass(kw_only=True)
class Engine:
    """Runs tasks until it is cancelled; then it claims no more, lets what ends soon end, and hands back the rest."""

    store: TaskStore
    signals: Signals
    handlers: Mapping[str, Handler]
    pure: Mapping[str, Compute]
    worker: str
    slots: int
    lease_s: float
    sweep_s: float
    now: Clock = utc_now
    _announcing: set["asyncio.Task[None]"] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Make the parts, each in its own file."""
        self._woken = asyncio.Event()
        self._is_full = False
        self.recorder = Recorder(store=self.store, worker=self.worker, committed=self._committed)
        self.leases = Leases(store=self.store, worker=self.worker, lease_s=self.lease_s)
        self.runner = Runner(
            handlers=self.handlers, pure=self.pure, recorder=self.recorder, known=self.store.known, now=self.now
        )

    async def run(self) -> None:
        """Work until cancelled; within 10 s of that, everything is finished or handed back."""
        recording = asyncio.create_task(self.recorder.run(), name="recorder")
        try:
            with self.signals.listen(TASKS) as woken, self.signals.listen(LEASES) as revoked:
                self._woken = woken
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._claim_forever(woken), name="claims")
                    group.create_task(self.leases.run(revoked), name="leases")
        finally:
            await self._stop()
            recording.cancel()
            with suppress(asyncio.CancelledError):
                await recording

    async def _claim_forever(self, woken: asyncio.Event) -> None:
        while True:
            woken.clear()
            free = max(0, self.slots - self.leases.held)
            self._is_full = free == 0
            try:
                claimed = await self.store.claim(worker=self.worker, slots=free, lease_s=self.lease_s)
            except Unavailable as error:
                log.warning("claim_failed", reason=str(error))
                claimed = Claimed([])
                await asyncio.sleep(min(1.0, self.sweep_s))
            if claimed.tasks:
                crash_point(AFTER_CLAIM)
                await self._start(claimed.tasks)
            if claimed.more:
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self.sweep_s):  # not wait_for: 3.11's may swallow a cancellation
                    await woken.wait()

    async def _start(self, claimed: Sequence[ClaimedTask]) -> None:
        """Start what takes a slot; compute and write what does not, before the next claim."""
        for task in claimed:
            if not self.runner.is_pure(task):
                work = asyncio.create_task(self.runner.perform(task), name=f"task:{task.key}")
                self.leases.hold(task, work)
                work.add_done_callback(self._slot_freed)
        at_once = [task for task in claimed if self.runner.is_pure(task)]
        with self.leases.keeping(at_once):
            pure = await self.runner.compute(at_once)
            if pure.ended:
                await self.recorder.put_all(pure.ended)
            if pure.left:
                await self._put_back(pure.left)

    async def _put_back(self, tasks: Sequence[ClaimedTask]) -> None:
        """What was too much for one commit is for the next claim, in which other tenants have their turn."""
        try:
            await self.store.put_back(tasks, worker=self.worker)
        except Unavailable as error:
            log.warning("tasks_not_put_back", reason=str(error), remedy="their leases run out by themselves")
        self._woken.set()

    def _slot_freed(self, _: "asyncio.Task[None]") -> None:
        """Claim again if the last claim had no slot to fill."""
        if self._is_full:
            self._woken.set()

    def _committed(self, recorded: Recorded, entries: Sequence[Entry]) -> None:
        """After a commit: look for what it made ready, tell readers, stop what it revoked."""
        outcomes = (entry.outcome for entry in entries if isinstance(entry, Ended))
        waits_s = [each.after_s for each in outcomes if isinstance(each, Retrying | Postponed)]
        for wait_s in waits_s:
            if wait_s <= LONGEST_TIMER_S:  # what waits longer is found by the sweep
                asyncio.get_running_loop().call_later(wait_s, self._woken.set)
        if recorded.ready:
            self._woken.set()
        channels = [run_channel(run_id) for run_id in recorded.runs]
        channels += [TASKS] if recorded.ready else []
        channels += [LEASES] if recorded.revoked else []
        announcing = asyncio.create_task(self._announce(channels), name="announce")
        self._announcing.add(announcing)
        announcing.add_done_callback(self._announcing.discard)

    async def _announce(self, channels: Sequence[str]) -> None:
        for channel in channels:
            await self.signals.send(channel)

    async def _stop(self) -> None:
        """Let tasks that end soon end, stop the others, write what is there, hand back the rest."""
        works = self.leases.works
        if works:
            await asyncio.wait(works, timeout=min(FINISH_WITHIN_S, self.lease_s / 2))
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        try:
            async with asyncio.timeout(DRAIN_WITHIN_S):
                await self.recorder.drained()
                handed_back = await self.store.hand_back(worker=self.worker)
                if handed_back:
                    log.info("tasks_handed_back", tasks=handed_back)
                    await self.signals.send(TASKS)
        except (Unavailable, TimeoutError) as error:
            log.warning("tasks_not_handed_back", reason=str(error), remedy="their leases run out by themselves")
