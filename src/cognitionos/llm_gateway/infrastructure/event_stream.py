"""A stream of server-sent events as plain ASGI: sent one by one, closed at once when the client goes away.

While the provider is silent, a sign of life goes out every `PING_S`, so that nobody on the way gives the stream up.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Protocol

from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.facade import ChatStream
from cognitionos.llm_gateway.infrastructure.openai_errors import render
from cognitionos.llm_gateway.infrastructure.openai_schema import encode
from cognitionos.platform.http_problems import problem_of

PING_S = 10.0


class Framing(Protocol):
    """How one vendor's stream looks on the wire. An object frames one stream."""

    @property
    def ping(self) -> bytes:
        """A sign of life."""
        ...

    def event(self, data: bytes) -> bytes:
        """The bytes for one chunk, whose JSON text is `data`; empty where it says nothing there."""
        ...

    def end(self) -> bytes:
        """The bytes after the last chunk, once the call is settled."""
        ...

    def error(self, error: DomainError) -> bytes:
        """The bytes of an error in the middle of the stream."""
        ...


class OpenAIFraming:
    """The chunks as they are; needs no memory, so one object serves all streams."""

    ping = b": ping\n\n"

    def event(self, data: bytes) -> bytes:
        """One chunk."""
        return b"data: " + data + b"\n\n"

    def end(self) -> bytes:
        """The word that ends a stream."""
        return b"data: [DONE]\n\n"

    def error(self, error: DomainError) -> bytes:
        """An error object in place of a chunk."""
        body, _ = render(problem_of(error), "")
        return b"data: " + encode(body) + b"\n\n"


OPENAI_FRAMING = OpenAIFraming()


class EventStream(Response[bytes]):
    """The answer of a handler that streams."""

    def __init__(
        self,
        stream: ChatStream,
        headers: Mapping[str, str],
        *,
        framing: Framing = OPENAI_FRAMING,
        ping_s: float = PING_S,
    ) -> None:
        super().__init__(b"", media_type="text/event-stream")
        self._events = Events(stream, headers, framing=framing, ping_s=ping_s)

    def to_asgi_response(self, app: Any, request: Any, **_: Any) -> ASGIApp:  # type: ignore[override]
        """The ASGI application that sends it."""
        return self._events


class Events:
    """The ASGI application that sends a stream."""

    def __init__(
        self,
        stream: ChatStream,
        headers: Mapping[str, str],
        *,
        framing: Framing = OPENAI_FRAMING,
        ping_s: float = PING_S,
    ) -> None:
        self._stream = stream
        self._headers = headers
        self._framing = framing
        self._ping_s = ping_s

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end or until the client is gone; either way the stream is closed and thereby billed."""
        watch = _Watch(receive, self._stream.released)
        try:
            await self._send_events(_Sender(send, self._framing.ping, self._ping_s))
        except asyncio.CancelledError:
            if not watch.cancelled_sending():
                raise
        finally:
            watch.end()

    async def _send_events(self, sender: "_Sender") -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        headers += [(name.encode(), value.encode()) for name, value in self._headers.items()]
        framing = self._framing
        async with aclosing(self._stream.events) as events:
            await sender.start(headers)
            try:
                async for event in events:
                    framed = framing.event(event)
                    if framed:
                        await sender.send(framed)
                last = framing.end()
            except DomainError as error:
                last = framing.error(error)
            finally:
                sender.stop()
            await sender.send(last, more=False)


class _Sender:
    """Sends bodies, and pings in between where nothing was sent for `ping_s`. A timer, not a task: it is rarely due."""

    def __init__(self, send: Send, ping: bytes, ping_s: float) -> None:
        self._send = send
        self._ping = ping
        self._ping_s = ping_s
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._pinging: asyncio.Future[None] | None = None

    async def start(self, headers: list[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        self._timer = self._loop.call_at(self._sent_at + self._ping_s, self._due)

    async def send(self, data: bytes, *, more: bool = True) -> None:
        if self._pinging is not None:
            await self._pinging
            self._pinging = None
        self._sent_at = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _due(self) -> None:
        now = self._loop.time()
        if now >= self._sent_at + self._ping_s:
            self._sent_at = now
            body: Any = {"type": "http.response.body", "body": self._ping, "more_body": True}
            self._pinging = asyncio.ensure_future(self._send(body))
        self._timer = self._loop.call_at(self._sent_at + self._ping_s, self._due)


class _Watch:
    """Cancels the task that made it when the client goes away, as a time-out does when its time has come.

    Not before it is `released`: others may depend on what it reads. Listens without a task of its own where the server
    answers `receive` with a future, as granian does.
    """

    def __init__(self, receive: Receive, released: Callable[[], Awaitable[None]] | None) -> None:
        self._sending = asyncio.current_task()
        self._receive = receive
        self._released = released
        self._gone = False
        self._listening: asyncio.Future[Any] | None = None
        self._listen()

    def cancelled_sending(self) -> bool:
        """Whether a cancellation came from here, and from nowhere else."""
        return self._gone and self._sending is not None and self._sending.uncancel() == 0

    def end(self) -> None:
        """Cancel nothing from now on."""
        self._sending = None
        listening = self._listening
        self._listening = None  # the collector cannot see a circle that leads through a future of the server's
        if listening is not None:
            listening.cancel()

    def _listen(self) -> None:
        self._wait(self._receive(), self._heard)

    def _wait(self, awaited: Awaitable[Any], then: "Callable[[asyncio.Future[Any]], None]") -> None:
        self._listening = asyncio.ensure_future(awaited)
        self._listening.add_done_callback(then)

    def _heard(self, said: "asyncio.Future[Any]") -> None:
        if self._sending is None or said.cancelled():
            return
        broken = said.exception() is not None  # a connection that cannot be read from is gone as well
        if not broken and said.result()["type"] != "http.disconnect":
            self._listen()
        elif broken or self._released is None:
            self._left(said)
        else:
            self._wait(self._released(), self._left)

    def _left(self, waited: "asyncio.Future[Any]") -> None:
        if not waited.cancelled():
            waited.exception()  # seen
        if self._sending is not None:
            self._gone = True
            self._sending.cancel()
