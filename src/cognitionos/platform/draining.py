"""Leaving in order: what is under way when the process is told to stop goes on for a while, then is told to end."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cognitionos.kernel.errors import Unavailable

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

DRAIN_S = 10.0
"""So long requests go on, unless the setting says otherwise."""
ENDING_S = 10.0
"""So long a process may take beyond that: it writes the bills of what it ended, also where PostgreSQL is slow."""
_DRAINING = "draining"


class ServiceRestarting(Unavailable):
    """This process was told to stop, and the time that it gives requests for their end is over; send it again."""

    def __init__(self) -> None:
        super().__init__("The service is restarting: this was ended before its end. Send it again.", retry_after_s=1.0)


class Draining:
    """The requests under way in this process. `refuse` makes the answer of one that had none when it was ended."""

    def __init__(self, *, after_s: float, refuse: "Callable[[Scope, Exception], ASGIApp]") -> None:
        self.is_over = False
        self._after_s = after_s
        self._refuse = refuse
        self._under_way: set[asyncio.Task[Any]] = set()

    def begin(self) -> None:
        """End what is still under way after the time it has. Call it on the loop that answers."""
        asyncio.get_running_loop().call_later(self._after_s, self._end)

    def around(self, app: "ASGIApp") -> "ASGIApp":
        """`app`, whose requests are ended: an event stream in order, any other answer torn where it had begun."""

        async def answer(scope: Any, receive: "Receive", send: "Send") -> None:
            if scope["type"] == "http":
                await self._answer(app, scope, receive, send)
            else:
                await app(scope, receive, send)

        return answer

    async def _answer(self, app: "ASGIApp", scope: Any, receive: "Receive", send: "Send") -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is answered by a task")
        scope["state"][_DRAINING] = self
        start: Any = None

        async def noted(message: Any) -> None:
            nonlocal start
            if start is None:
                start = message
            await send(message)

        self._under_way.add(task)
        try:
            if self.is_over:
                await self._refuse(scope, ServiceRestarting())(scope, receive, send)
            else:
                await app(scope, receive, noted)
        except asyncio.CancelledError:
            if not self.is_over:
                raise
            task.uncancel()
            if start is None:
                await self._refuse(scope, ServiceRestarting())(scope, receive, send)
            elif _is_event_stream(start):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                raise
        finally:
            self._under_way.discard(task)

    def _end(self) -> None:
        self.is_over = True
        for task in self._under_way:
            task.cancel()


def is_ended(scope: Any) -> bool:
    """Whether a request that was cancelled was so because its process leaves."""
    draining = scope["state"].get(_DRAINING)
    return draining is not None and draining.is_over


def _is_event_stream(start: Any) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in start["headers"]
    )
