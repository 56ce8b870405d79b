"""Open event streams of one process: Redis says 'look', PostgreSQL is read; no connection is held by a stream.

One subscription (`Signals`) and, while streams are open, one look a second for all of them together, so a lost signal
costs a second at most.
"""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from uuid import UUID

from cognitionos.kernel.errors import Unavailable
from cognitionos.planning.application.engine import run_channel
from cognitionos.planning.infrastructure import metrics
from cognitionos.platform.logging import get_logger
from cognitionos.platform.signals import Signals

log = get_logger(__name__)
LOOK_EVERY_S = 1.0

Heads = Callable[[Sequence[UUID]], Awaitable[dict[UUID, int]]]


@dataclass(kw_only=True)
class EventFeed:
    """Wakes the streams whose run moved on. A resource: `close` ends them all."""

    signals: Signals
    heads: Heads
    closing: bool = False
    _seen: dict[UUID, int] = field(default_factory=dict)
    _by_run: dict[UUID, set[asyncio.Event]] = field(default_factory=dict)
    _looking: "asyncio.Task[None] | None" = None

    async def open(self) -> None:
        """Nothing runs until somebody watches. A server that is told to stop waits for open answers: end them then."""
        told = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is threading.main_thread() and callable(told):
            loop = asyncio.get_running_loop()

            def end_streams_too(number: int, frame: FrameType | None) -> None:
                loop.call_soon_threadsafe(self.end_streams)
                told(number, frame)

            signal.signal(signal.SIGTERM, end_streams_too)
            signal.siginterrupt(signal.SIGTERM, False)  # noqa: FBT003 - the C library's signature

    def end_streams(self) -> None:
        """Wake every stream so that it ends; its reader comes back with `Last-Event-ID`."""
        self.closing = True
        for wakers in self._by_run.values():
            for woken in wakers:
                woken.set()

    async def close(self) -> None:
        """End the streams and the looking."""
        self.end_streams()
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    @asynccontextmanager
    async def watching(self, run_id: UUID) -> AsyncIterator[asyncio.Event]:
        """An event that is set when the run may have moved on; the watcher clears it before it reads."""
        with self.signals.listen(run_channel(run_id)) as woken:
            self._by_run.setdefault(run_id, set()).add(woken)
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look_again(), name="event_feed")
            metrics.STREAMS.inc()
            try:
                yield woken
            finally:
                metrics.STREAMS.dec()
                self._by_run[run_id].discard(woken)
                if not self._by_run[run_id]:
                    del self._by_run[run_id]
                    self._seen.pop(run_id, None)

    @property
    def streams(self) -> int:
        """How many are open."""
        return sum(map(len, self._by_run.values()))

    async def _look_again(self) -> None:
        while self._by_run:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                heads = await self.heads(list(self._by_run))
            except Unavailable as error:
                log.warning("event_feed_blind", reason=str(error))
                continue
            for run_id, head in heads.items():
                if self._seen.get(run_id) != head:
                    self._seen[run_id] = head
                    for woken in self._by_run.get(run_id, ()):
                        woken.set()
