"""A wall between deployments: each has places and a short queue of its own, so that one that hangs fills only those."""

import asyncio
from collections import deque
from dataclasses import dataclass, field


class BulkheadFull(Exception):
    """Neither a place nor room in the queue. Internal to attempts: the route goes on."""


@dataclass(slots=True, kw_only=True)
class Bulkhead:
    """Places of one deployment in this process. Who leaves hands the place to who waits longest."""

    places: int
    queue: int
    taken: int = 0
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)

    @property
    def is_idle(self) -> bool:
        """Whether nobody is in it or wants to be."""
        return self.taken == 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether there is neither a place nor room in the queue."""
        return self.taken >= self.places and self.waiting >= self.queue

    def enter_now(self) -> bool:
        """Take a place if one is free. Nothing to wait for, nothing to await."""
        if self.taken >= self.places:
            return False
        self.taken += 1
        return True

    async def wait(self, longest_s: float) -> None:
        """Take a place within `longest_s`; raises `BulkheadFull`, at once where the queue is full."""
        if self.waiting >= self.queue:
            raise BulkheadFull
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(longest_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.leave()  # the place came while we were leaving
            else:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise BulkheadFull from None
            raise

    def leave(self) -> None:
        """Give the place back."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.taken -= 1
