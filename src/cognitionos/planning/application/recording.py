"""Group commit: entries that come while one commit is under way share the next; an idle recorder commits at once."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cognitionos.kernel.errors import DomainError, Unavailable
from cognitionos.planning.application.ports import Recorded, TaskStore
from cognitionos.planning.domain.step import Ended, Entry
from cognitionos.planning.domain.task import Failed, LeaseLost, Problem
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
BEFORE_RECORD = declare("engine.before_record")
AFTER_RECORD = declare("engine.after_record")

MOST_ENTRIES = 2000
RETRY_S = 0.5
_UNRECORDABLE = Problem(
    type="/problems/unrecordable-output",
    title="Unrecordable output",
    detail="The task's output cannot be stored; the log has the reason.",
)


@dataclass(frozen=True, slots=True)
class _Waiter:
    entry: Entry
    written: "asyncio.Future[None]"


@dataclass(kw_only=True)
class Recorder:
    """Writes what tasks say, one commit per tenant and batch. `committed` is told what each commit brought."""

    store: TaskStore
    worker: str
    committed: Callable[[Recorded, Sequence[Entry]], None]
    _queue: list[_Waiter] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, entry: Entry) -> None:
        """Write `entry`; returns after its commit. Raises `LeaseLost` when this worker no longer holds the task."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiter(entry, written))
        self._idle.clear()
        self._more.set()
        await written

    async def put_all(self, entries: Sequence[Entry]) -> None:
        """Write `entries`, in as few commits as can be; what is refused is dropped."""
        await asyncio.gather(*(self.put(entry) for entry in entries), return_exceptions=True)

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._queue:
                await self._commit_some()
            self._idle.set()

    async def drained(self) -> None:
        """Wait until nothing is left to commit."""
        if self._queue:
            await self._idle.wait()

    async def _commit_some(self) -> None:
        """Commit the front of the queue, one tenant after the other. What a lost database refuses stays queued."""
        batch, self._queue = self._queue[:MOST_ENTRIES], self._queue[MOST_ENTRIES:]
        by_tenant: defaultdict[UUID, list[_Waiter]] = defaultdict(list)
        for waiter in batch:
            if not waiter.written.cancelled():
                by_tenant[waiter.entry.task.tenant_id].append(waiter)
        for tenant_id, waiters in by_tenant.items():
            try:
                await self._commit(tenant_id, waiters)
            except Unavailable as error:
                log.warning("record_postponed", reason=str(error), entries=len(waiters))
                self._queue = waiters + self._queue
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("record_failed", entries=len(waiters))
                await self._one_by_one(tenant_id, waiters)

    async def _commit(self, tenant_id: UUID, waiters: Sequence[_Waiter]) -> None:
        entries = [waiter.entry for waiter in waiters]
        crash_point(BEFORE_RECORD)
        recorded = await self.store.record(tenant_id, self.worker, entries)
        crash_point(AFTER_RECORD)
        for place, waiter in enumerate(waiters):
            _settle(waiter, recorded, recorded.broken.get(place))
        self.committed(recorded, entries)

    async def _one_by_one(self, tenant_id: UUID, waiters: Sequence[_Waiter]) -> None:
        """One bad entry must not take the others along; an outcome that cannot be stored is a failed task."""
        for waiter in waiters:
            error = await self._try(tenant_id, waiter)
            if error is not None and isinstance(waiter.entry, Ended):
                failure = Ended(task=waiter.entry.task, outcome=Failed(problem=_UNRECORDABLE))
                error = await self._try(tenant_id, _Waiter(failure, waiter.written))
            if error is not None and not waiter.written.done():
                waiter.written.set_exception(error)

    async def _try(self, tenant_id: UUID, waiter: _Waiter) -> Exception | None:
        try:
            await self._commit(tenant_id, [waiter])
        except Unavailable:
            self._queue.append(waiter)
        except Exception as error:
            log.exception("entry_not_recorded", task=waiter.entry.task.key)
            return error
        return None


def _settle(waiter: _Waiter, recorded: Recorded, broken: DomainError | None) -> None:
    if waiter.written.done():
        return
    if broken is not None:
        waiter.written.set_exception(broken)
        return
    if waiter.entry.task.id in recorded.refused:
        waiter.written.set_exception(LeaseLost(f"Task '{waiter.entry.task.key}' is no longer this worker's."))
    else:
        waiter.written.set_result(None)
