"""Group commit: items that arrive together share one flush; an item that arrives alone goes at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

LONGEST_WAIT_S = 0.005
LARGEST_BATCH = 200
MOST_AT_ONCE = 3


class GroupCommit(Generic[Item, Result]):
    """Collects items and flushes them in batches, results in the items' order.

    While a flush is under way the next batch gathers; it goes when that flush ends or its oldest item has waited 5 ms,
    whichever is first. A flush that fails fails every item of its batch.

    With `gather_s` every batch gathers for so long: for items that nobody waits for. `alone_on` is the fault of one
    item: all are flushed again, each by itself.
    """

    def __init__(
        self,
        flush: Callable[[list[Item]], Awaitable[list[Result]]],
        *,
        gather_s: float = 0.0,
        alone_on: type[Exception] | tuple[()] = (),
    ) -> None:
        self._flush = flush
        self._gather_s = gather_s
        self._alone_on = alone_on
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None

    def submit(self, item: Item) -> "asyncio.Future[Result]":
        """The future of the item's own result. Cancelling it does not take the item back."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        if self._timer is None:
            wait_s = self._gather_s or (LONGEST_WAIT_S if self._running else 0.0)
            self._timer = loop.call_later(wait_s, self._go) if wait_s else loop.call_soon(self._go)
        return future

    async def drain(self) -> None:
        """Wait until everything submitted so far is flushed."""
        while self._running or self._waiting:
            self._go()
            await asyncio.gather(*self._running, return_exceptions=True)

    def _go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting or len(self._running) >= MOST_AT_ONCE:
            return
        batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
        task = asyncio.get_running_loop().create_task(self._run(batch))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if self._timer is None or not self._gather_s:
            self._go()

    async def _run(self, batch: "list[tuple[Item, asyncio.Future[Result]]]") -> None:
        try:
            results = await self._flush([item for item, _ in batch])
        except BaseException as error:
            if len(batch) > 1 and isinstance(error, self._alone_on):
                for each in batch:
                    await self._run([each])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
