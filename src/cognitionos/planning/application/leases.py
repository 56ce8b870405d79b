"""A worker's leases: renewed together, and what is lost stops at once."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

from cognitionos.kernel.errors import Unavailable
from cognitionos.planning.application.ports import TaskStore
from cognitionos.planning.domain.task import ClaimedTask
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
AFTER_RENEW = declare("engine.after_renew")


@dataclass(kw_only=True)
class Leases:
    """What this worker runs. A task whose lease cannot be shown to be ours is stopped: another may run it."""

    store: TaskStore
    worker: str
    lease_s: float
    monotonic: Callable[[], float] = time.monotonic
    _running: dict[UUID, tuple[int, "asyncio.Task[None]", float]] = field(default_factory=dict)
    _kept: set[UUID] = field(default_factory=set)

    @contextmanager
    def keeping(self, tasks: Collection[ClaimedTask]) -> Iterator[None]:
        """Tasks that are done and written within the block, under their leases."""
        ids = {task.id for task in tasks}
        self._kept |= ids
        try:
            yield
        finally:
            self._kept -= ids

    def hold(self, task: ClaimedTask, work: "asyncio.Task[None]") -> None:
        """`work` runs `task` under a lease just taken."""
        self._running[task.id] = (task.fence, work, self.monotonic())
        work.add_done_callback(lambda _: self._running.pop(task.id, None))

    @property
    def held(self) -> int:
        """How many tasks run."""
        return len(self._running)

    @property
    def works(self) -> list["asyncio.Task[None]"]:
        """The running ones."""
        return [work for _, work, _ in self._running.values()]

    async def run(self, revoked: asyncio.Event) -> None:
        """Renew every third of a lease, and at once when told that some may be revoked, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.lease_s / 3):  # not wait_for: 3.11's may swallow a cancellation
                    await revoked.wait()
            revoked.clear()
            if self._running or self._kept:
                await self._renew()

    async def _renew(self) -> None:
        asked = dict(self._running)
        try:
            still_ours = await self.store.renew([*asked, *self._kept], worker=self.worker, lease_s=self.lease_s)
        except Unavailable as error:
            log.warning("leases_not_renewed", reason=str(error))
            self._stop_expired()
            return
        crash_point(AFTER_RENEW)
        now = self.monotonic()
        for task_id, (fence, work, _) in asked.items():
            if still_ours.get(task_id) != fence:
                work.cancel()
            elif task_id in self._running:
                self._running[task_id] = (fence, work, now)

    def _stop_expired(self) -> None:
        now = self.monotonic()
        for _, work, proven_at in self._running.values():
            if now - proven_at > self.lease_s:
                work.cancel()
