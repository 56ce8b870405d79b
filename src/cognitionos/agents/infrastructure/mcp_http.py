"""The HTTP below the MCP SDK's client, guarded: each request goes to addresses that were tested for it.

The name is resolved once per request, every address tested, and the literal address connected to, under the name's own
certificate (`sni_hostname`). Imported with the SDK only.
"""

from collections.abc import AsyncIterator
from ipaddress import ip_address

import httpx2

from cognitionos.agents.infrastructure.mcp_pace import A_MESSAGE, Pace
from cognitionos.platform.http_address import AllowedHosts, Resolve, is_public

A_STREAM = 64 * 1024
LINES = 3
"""Of an event, at least: its data, its name or number, and an empty one."""


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Connects to public addresses, and to what the operator named."""

    def __init__(self, allowed: AllowedHosts, *, resolve: Resolve, most_bytes: int) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._most_bytes = most_bytes
        self._pace = Pace()
        self._inner = httpx2.AsyncHTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it to a tested address. Raises `httpx2.ConnectError` where there is none."""
        if request.method == "GET":  # a stream opened again and again, as often as the server has it so
            await self._pace.take(A_STREAM)
        host, port = request.url.host, request.url.port or (443 if request.url.scheme == "https" else 80)
        address = await self._tested(host, port)
        there = httpx2.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host},
        )
        response = await self._inner.handle_async_request(there)
        packed = response.headers.get("content-encoding", "identity").lower()
        if packed != "identity":
            await response.aclose()
            raise httpx2.DecodingError(f"the answer is packed as {packed!r}, which was not asked for", request=request)
        if response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = _Paced(response.stream, self._pace)
        else:
            response.stream = _Capped(response.stream, self._most_bytes)
        return response

    async def aclose(self) -> None:
        """Close its connections."""
        await self._inner.aclose()

    async def _tested(self, host: str, port: int) -> str:
        try:
            literal = ip_address(host)
        except ValueError:
            literal = None
        if literal is not None:
            if not self._allowed.opens(literal, port) and not is_public(host):
                raise httpx2.ConnectError(f"{host} is not public")
            return host
        try:
            found = await self._resolve(host, port)
        except OSError as error:
            raise httpx2.ConnectError(f"{host} does not resolve") from error
        if not found or (not self._allowed.has_name(host, port) and not all(map(is_public, found))):
            raise httpx2.ConnectError(f"{host} leads to no public address")
        return found[0]


class _Paced(httpx2.AsyncByteStream):
    """Events as they come, unless they come too fast; each is bounded by the SDK."""

    def __init__(self, stream: httpx2.SyncByteStream | httpx2.AsyncByteStream, pace: Pace) -> None:
        self._stream = stream
        self._pace = pace

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if not isinstance(self._stream, httpx2.AsyncByteStream):
            raise httpx2.StreamError("the answer is no stream")
        async for chunk in self._stream:
            await self._pace.take(len(chunk) + A_MESSAGE * (chunk.count(b"\n") + chunk.count(b"\r")) // LINES)
            yield chunk

    async def aclose(self) -> None:
        if isinstance(self._stream, httpx2.AsyncByteStream):
            await self._stream.aclose()


class _Capped(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream | httpx2.AsyncByteStream, most: int) -> None:
        self._stream = stream
        self._left = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if not isinstance(self._stream, httpx2.AsyncByteStream):
            raise httpx2.StreamError("the answer is no stream")
        async for chunk in self._stream:
            self._left -= len(chunk)
            if self._left < 0:
                raise httpx2.ReadError("the answer is too long")
            yield chunk

    async def aclose(self) -> None:
        if isinstance(self._stream, httpx2.AsyncByteStream):
            await self._stream.aclose()
