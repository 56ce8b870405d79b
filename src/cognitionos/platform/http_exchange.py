"""A POST to an address that is asked again and again: aiohttp's connections and parser, without its session's work.

For each request a session checks and writes down address and headers anew, starts a task that sends it and calls its
hooks: a tenth of the CPU of a call to a model (`docs/performance.md`). Here aiohttp does it once for each address.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.http import HttpProcessingError, RawResponseMessage
from yarl import URL

_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = "content-length"
END_S = 0.25
"""So long the end of a body is waited for once nobody reads on: then its connection is closed, not kept."""


class Place:
    """An address with the headers that every request to it carries. Raises `ValueError` where one is not fit for it."""

    __slots__ = ("head", "request")

    def __init__(self, session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> None:
        loop = asyncio.get_running_loop()
        self.request = aiohttp.ClientRequest("POST", URL(url), headers=headers, loop=loop, session=session)
        line = f"POST {self.request.url.raw_path_qs} HTTP/1.1\r\n".encode()
        self.head = line + _written((n, v) for n, v in self.request.headers.items() if n.lower() != _LENGTH)


class Exchange:
    """An answer whose head is there. Leave it by `async with`: what does not come to its end soon is cut off."""

    __slots__ = ("_connection", "content", "headers", "status")

    def __init__(
        self, connection: aiohttp.connector.Connection, message: RawResponseMessage, content: aiohttp.StreamReader
    ) -> None:
        self._connection = connection
        self.status = message.code
        self.headers = message.headers
        self.content = content

    async def read(self) -> bytes:
        """The whole body."""
        return await self.content.read()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self.content.is_eof():
            # what says that the body is over comes after the last that was wanted, often in a packet of its own
            late = asyncio.get_running_loop().call_later(END_S, self._connection.release)
            self.content.on_eof(late.cancel)
            self.content.on_eof(self._connection.release)
        else:
            self._connection.release()  # closes it where its body was not read to the end


async def post(session: aiohttp.ClientSession, place: Place, body: bytes, more: Mapping[str, str]) -> Exchange:
    """Send `body` to `place`, with `more` headers; raises `aiohttp.ClientError`. No redirect is followed."""
    connector = session.connector
    if connector is None:
        raise aiohttp.ClientConnectionError("the session is closed")
    try:
        connection = await connector.connect(place.request, [], session.timeout)
    except TimeoutError as error:
        raise aiohttp.ConnectionTimeoutError(f"no connection in time to {place.request.url}") from error
    try:
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(read_until_eof=True, auto_decompress=session.auto_decompress)
        head = place.head + _written(more.items()) if more else place.head
        transport.write(b"%b%b: %d\r\n\r\n%b" % (head, _LENGTH.encode(), len(body), body))
        message, content = await protocol.read()
        while 100 <= message.code < 200:
            message, content = await protocol.read()
    except HttpProcessingError as error:
        connection.close()
        raise aiohttp.ClientPayloadError(f"not HTTP: {error.message}") from error
    except BaseException:
        connection.close()
        raise
    return Exchange(connection, message, content)


async def readany(content: aiohttp.StreamReader) -> bytes:
    """What has come of a body; nothing at its end. Raises `aiohttp.ClientError`.

    As the reader's own `readany`, which takes what came in many chunks, as a model's words do, out of its buffer one by
    one: ten times as dear for 25 of them.
    """
    if content.at_eof():
        return b""
    buffer = content._buffer  # noqa: SLF001 - nothing public leads to all of it at once
    while not buffer and not content.is_eof() and content.exception() is None:
        await content._wait("readany")  # noqa: SLF001
    if len(buffer) > 1:
        whole = b"".join(buffer)
        buffer.clear()
        buffer.append(whole)
    return content.read_nowait()


def _written(headers: Iterable[tuple[str, str]]) -> bytes:
    lines = []
    for name, value in headers:
        if _FORBIDDEN.search(name) or _FORBIDDEN.search(value):
            raise ValueError("a header carries a control character")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode()
