"""What the caches need of a process besides calls: signals of invalidations, the sweep, a clean end."""

import asyncio
from contextlib import ExitStack

from cognitionos.llm_gateway.infrastructure import metrics
from cognitionos.llm_gateway.infrastructure.durable_cache import DurableCache
from cognitionos.llm_gateway.infrastructure.exact_cache import ExactCache
from cognitionos.platform.logging import get_logger
from cognitionos.platform.signals import Signals

log = get_logger(__name__)

VOIDED = "llm_cache"
SWEEP_EVERY_S = 60.0


class CacheUpkeep:
    """`changed` is set when any process declared answers void. `most_bytes` bounds the durable layer."""

    def __init__(self, exact: ExactCache, durable: DurableCache, signals: Signals, *, most_bytes: int) -> None:
        self._exact = exact
        self._durable = durable
        self._signals = signals
        self._most_bytes = most_bytes
        self._listening = ExitStack()
        self.changed = self._listening.enter_context(signals.listen(VOIDED))
        self._loop: asyncio.Task[None] | None = None

    async def announce(self) -> None:
        """Tell every process that answers were declared void."""
        await self._signals.send(VOIDED)

    async def open(self) -> None:
        """Sweep every minute on the running loop."""
        self._loop = asyncio.create_task(self._run(), name="llm_gateway.cache_sweeper")

    async def close(self) -> None:
        """Store what is under way and stop."""
        self._listening.close()
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        await self._exact.close()
        await self._durable.stored()

    async def sweep(self) -> int:
        """One sweep; how many answers it deleted."""
        swept = await self._durable.sweep(self._most_bytes)
        if swept is None:
            return 0
        metrics.CACHE_ANSWERS.set(swept.answers)
        metrics.CACHE_BYTES.set(swept.bytes)
        return swept.deleted

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - the next sweep is the remedy, whatever it was
                log.warning("cache_sweep_failed", reason=str(error))
