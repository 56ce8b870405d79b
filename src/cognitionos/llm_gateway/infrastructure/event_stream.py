"""A stream of server-sent events as plain ASGI: sent one by one, closed at once when the client goes away."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.facade import ChatStream
from cognitionos.llm_gateway.infrastructure.openai_errors import render
from cognitionos.llm_gateway.infrastructure.openai_schema import encode
from cognitionos.platform.http_problems import problem_of

DONE = b"data: [DONE]\n\n"


class EventStream(Response[bytes]):
    """The answer of a handler that streams."""

    def __init__(self, stream: ChatStream, headers: Mapping[str, str]) -> None:
        super().__init__(b"", media_type="text/event-stream", headers=dict(headers))
        self._stream = stream

    def to_asgi_response(self, app: Any, request: Any, **_: Any) -> ASGIApp:  # type: ignore[override]
        """The ASGI application that sends it."""
        return self._send_all

    async def _send_all(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end or until the client is gone; either way the stream is closed and thereby billed."""
        sending = asyncio.ensure_future(self._send_events(send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
        if not sending.cancelled() and (error := sending.exception()) is not None:
            raise error

    async def _send_events(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        headers += [(name.encode(), value.encode()) for name, value in self.headers.items()]
        async with aclosing(self._stream.events) as events:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            try:
                async for event in events:
                    await send(_body(b"data: " + event + b"\n\n"))
                await send(_body(DONE, more=False))
            except DomainError as error:
                body, _ = render(problem_of(error), "")
                await send(_body(b"data: " + encode(body) + b"\n\n", more=False))


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(data: bytes, *, more: bool = True) -> Any:
    return {"type": "http.response.body", "body": data, "more_body": more}
