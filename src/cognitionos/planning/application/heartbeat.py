"""Signs of life of a task that may take long: a step of its agent, whatever it tells."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cognitionos.kernel.errors import Unavailable


class TaskStalled(Unavailable):
    """The task gave no sign of life for its `heartbeat_s`; it is tried again, from what its journal holds."""


@asynccontextmanager
async def heartbeat(within_s: float | None) -> AsyncIterator[Callable[[], None]]:
    """Gives what to call at each sign of life; raises `TaskStalled` after `within_s` seconds without one."""
    clock = asyncio.timeout(within_s)

    def beat() -> None:
        if within_s is not None and not clock.expired():
            clock.reschedule(asyncio.get_running_loop().time() + within_s)

    try:
        async with clock:
            yield beat
    except TimeoutError as error:
        if clock.expired():
            raise TaskStalled(f"The task gave no sign of life for {within_s:g} s.") from error
        raise
