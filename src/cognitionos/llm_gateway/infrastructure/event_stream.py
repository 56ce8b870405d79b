"""A stream of server-sent events as plain ASGI: sent one by one, closed at once when the client goes away.

While the provider is silent, before its first word too, a sign of life goes out every `PING_S`, so that nobody on the
way gives the stream up.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, Protocol
from uuid import UUID

from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.application.call import Started
from cognitionos.llm_gateway.facade import Begun, ChatStream
from cognitionos.llm_gateway.infrastructure.answers import begun_headers, stream_headers
from cognitionos.llm_gateway.infrastructure.openai_errors import render
from cognitionos.llm_gateway.infrastructure.openai_schema import encode
from cognitionos.platform.draining import ServiceRestarting, is_ended
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
NO_HEADERS: Mapping[str, str] = {}
Open = Callable[[Begun], Awaitable[ChatStream]]
"""Opens a stream; tells what is known of the call as soon as it is."""


def openai_framing(_call_id: UUID) -> Framing:
    """The same for every stream."""
    return OPENAI_FRAMING


class EventStream(Response[bytes]):
    """The answer of a handler that streams."""

    def __init__(self, events: "Events") -> None:
        super().__init__(b"", media_type="text/event-stream")
        self._events = events

    def to_asgi_response(self, app: Any, request: Any, **_: Any) -> ASGIApp:  # type: ignore[override]
        """The ASGI application that sends it."""
        return self._events


class Events:
    """The ASGI application that opens a stream with `open_` and sends it; `headers` are said beside its own.

    Where the first piece is not there after `ping_s`, what is known of the call is said then, and what opening the
    stream raises is said inside of it. Before that it is raised.
    """

    def __init__(
        self,
        open_: Open,
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        framing: Callable[[UUID], Framing] = openai_framing,
        ping_s: float = PING_S,
    ) -> None:
        self._open = open_
        self._headers = headers
        self._framing = framing
        self._ping_s = ping_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, the client is gone or the process leaves: that closes the stream, which bills it."""
        sender = _Sender(send, self._headers, self._framing, self._ping_s)
        watch = Watch(receive)
        try:
            stream = await self._opened(sender)
            if stream is not None:
                watch.released = stream.released
                await self._send_events(stream, sender)
        except asyncio.CancelledError:
            if not watch.cancelled_sending():
                if not (sender.started and is_ended(scope)):
                    raise
                await sender.send(sender.framing.error(ServiceRestarting()), more=False)
        finally:
            sender.stop()
            watch.end()

    async def _opened(self, sender: "_Sender") -> ChatStream | None:
        """None: it could not be opened, and that was said inside of a stream that had begun."""
        try:
            return await self._open(sender.begins)
        except DomainError as error:
            sender.stop()
            if not sender.started:
                raise
            await sender.send(sender.framing.error(error), more=False)
            return None

    async def _send_events(self, stream: ChatStream, sender: "_Sender") -> None:
        async with aclosing(stream.events) as events:
            await sender.start(stream)
            framing, last = sender.framing, b""
            try:
                async for event in events:
                    framed = framing.event(event)
                    if stream.ended.known:
                        last += framed  # nothing is waited for any more: it goes out with the end
                    elif framed:
                        await sender.send(framed)
                last += framing.end()
            except DomainError as error:
                await _break_off(events, error)
                last += framing.error(error)
            finally:
                sender.stop()
            await sender.send(last, more=False)


async def _break_off(events: AsyncGenerator[bytes, None], error: DomainError) -> None:
    """Let a stream end with what went wrong, where that was in telling it: the one that raised it has ended."""
    with suppress(DomainError, StopAsyncIteration):
        await events.athrow(error)


class _Sender:
    """Sends headers once, then bodies, and pings in between where nothing was sent for `ping_s`, headers included.

    A timer, not a task: it is rarely due.
    """

    def __init__(
        self, send: Send, headers: Mapping[str, str], framing: Callable[[UUID], Framing], ping_s: float
    ) -> None:
        self.started = False
        self.framing: Framing = OPENAI_FRAMING
        self._send = send
        self._headers = headers
        self._frames = framing
        self._ping_s = ping_s
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = self._loop.call_at(self._sent_at + ping_s, self._due)
        self._call: Started | None = None
        self._pinging: asyncio.Future[None] | None = None

    def begins(self, call: Started) -> None:
        """So much is known of it before its first piece."""
        self._call = call
        self.framing = self._frames(call.call_id)

    async def start(self, stream: ChatStream) -> None:
        if not self.started:
            self.started = True
            self._sent_at = self._loop.time()
            self.framing = self._frames(stream.call_id) if self._call is None else self.framing
            await self._begin(stream_headers(stream))

    async def send(self, data: bytes, *, more: bool = True) -> None:
        if self._pinging is not None:
            await self._pinging
            self._pinging = None
        self._sent_at = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        now = self._loop.time()
        if now >= self._sent_at + self._ping_s:
            self._sent_at = now
            if self.started:
                self._pinging = asyncio.ensure_future(self._ping())
            elif self._call is not None:
                self.started = True
                self._pinging = asyncio.ensure_future(self._ping(begun_headers(self._call)))
        self._timer = self._loop.call_at(self._sent_at + self._ping_s, self._due)

    async def _ping(self, headers: Mapping[str, str] | None = None) -> None:
        if headers is not None:
            await self._begin(headers)
        await self._send({"type": "http.response.body", "body": self.framing.ping, "more_body": True})

    async def _begin(self, own: Mapping[str, str]) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        headers += [(name.encode(), value.encode()) for said in (own, self._headers) for name, value in said.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})


class Watch:
    """Cancels the task that made it when the client goes away, as a time-out does when its time has come.

    Not before it is `released`, where that is told: others may depend on what it reads. Listens without a task of its
    own where the server answers `receive` with a future, as granian does.
    """

    def __init__(self, receive: Receive) -> None:
        self.released: Callable[[], Awaitable[None]] | None = None
        self._sending = asyncio.current_task()
        self._receive = receive
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
        elif broken or self.released is None:
            self._left(said)
        else:
            self._wait(self.released(), self._left)

    def _left(self, waited: "asyncio.Future[Any]") -> None:
        if not waited.cancelled():
            waited.exception()  # seen
        if self._sending is not None:
            self._gone = True
            self._sending.cancel()
