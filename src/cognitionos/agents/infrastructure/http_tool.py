"""The HTTP tool: agents reach the hosts that the operator allows, and nothing inside our own network.

Each hop is approved by `platform/http_address.py` and connected to the very addresses that were tested; redirects are
followed here, if at all, and approved again; bytes, time, methods and hops are capped. No proxy, cookie or header comes
from us. Tasks of the kind `http` go through it too, by limits of their own (`planning/application/http_tasks.py`).
"""

import asyncio
import json as json_format
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from cognitionos.kernel.errors import Forbidden, Invalid, Unavailable
from cognitionos.platform.http_address import (
    AllowedHosts,
    BadUrl,
    Destination,
    DestinationRefused,
    Resolve,
    approve,
    resolve_by_system,
)
from cognitionos.platform.http_guard import resolved

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_HOPS = 5
_CONNECT_TIMEOUT_S = 10.0
# What the connection decides, and what would make a proxy or a server read the request differently from us.
_OURS = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
        "accept-encoding", "forwarded", "proxy-authorization", "proxy-connection",
    }
)  # fmt: skip
_KEPT_ACROSS_ORIGINS = frozenset({"accept", "accept-language", "content-type", "user-agent"})


class HttpRequestRefused(Invalid):
    """The method, a header or the body is not one that the tool sends."""


class RedirectNotApproved(Forbidden):
    """The redirect leads to what a person has to approve."""


class HttpHostUnavailable(Unavailable):
    """The host did not answer in time, or not in HTTP."""


MayFollow = Callable[[str, str], bool]
"""Whether a redirect may be followed: the method and the URL of the next request."""


def _anywhere(_method: str, _url: str) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpToolResponse:
    """An answer: header names in lower case; `truncated` if the body was longer than what is kept."""

    status: int
    headers: Mapping[str, str]
    body_text: str
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    method: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTool:
    """Requests to `allowed_hosts` (see `AllowedHosts`); an empty list allows none. No connection outlives a call.

    Without `follows_redirects` a redirect is an answer like any other. `max_request_bytes` None: as many as come.
    """

    allowed_hosts: Sequence[str]
    resolve: Resolve = resolve_by_system
    methods: frozenset[str] = METHODS
    follows_redirects: bool = True
    max_request_bytes: int | None = 1 * 2**20
    max_response_bytes: int = 1 * 2**20
    _allowed: AllowedHosts = field(init=False)

    def __post_init__(self) -> None:
        """Read the list now: a wrong entry raises `ValueError` at start, not at the first call."""
        object.__setattr__(self, "_allowed", AllowedHosts.parse(self.allowed_hosts))

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        json: Any = ...,
        idempotency_key: str | None = None,
        timeout_s: float = 30,
        may_follow: MayFollow = _anywhere,
    ) -> HttpToolResponse:
        """Send one request and follow its redirects, each where `may_follow`; every status is an answer.

        `json` is sent as it is, None as `null`; `...` is none.
        Raises `BadUrl`, `DestinationRefused`, `HttpRequestRefused`, `HostNotFound`, `HttpHostUnavailable`.
        """
        request = self._prepare(method.upper(), headers or {}, body, json, idempotency_key)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._follow(request, url, may_follow)
        except aiohttp.ConnectionTimeoutError as error:
            raise HttpHostUnavailable(f"no connection within {_CONNECT_TIMEOUT_S:g} s") from error
        except TimeoutError as error:
            raise HttpHostUnavailable(f"no answer within {timeout_s:g} s") from error
        except (aiohttp.ClientError, zlib.error, OSError) as error:
            raise HttpHostUnavailable(f"the request failed: {type(error).__name__}") from error

    def _prepare(
        self, method: str, headers: Mapping[str, str], body: bytes | None, json: Any, idempotency_key: str | None
    ) -> _Request:
        if method not in self.methods:
            raise HttpRequestRefused(f"{method} is not an allowed method", fields={"method": "not allowed"})
        chosen = {name.lower(): value for name, value in headers.items()}
        if json is not ...:
            body = json_format.dumps(json).encode()
            chosen.setdefault("content-type", "application/json")
        if idempotency_key is not None:
            chosen["idempotency-key"] = idempotency_key
        for name, value in chosen.items():
            if (
                name in _OURS
                or not _is_token(name)
                or any(not (" " <= letter <= "~" or letter == "\t") for letter in value)
            ):
                raise HttpRequestRefused(f"the header {name!r} is not sent", fields={f"headers.{name}": "not allowed"})
        if body is not None and self.max_request_bytes is not None and len(body) > self.max_request_bytes:
            raise HttpRequestRefused(
                f"the body has more than {self.max_request_bytes} bytes", fields={"body": "too large"}
            )
        return _Request(method=method, headers={"user-agent": "CognitionOS", **chosen}, body=body)

    async def _follow(self, request: _Request, url: str | URL, may_follow: MayFollow) -> HttpToolResponse:
        for _ in range(_MAX_HOPS + 1):
            there = await approve(url, allowed=self._allowed, resolve=self.resolve)
            async with _answer(there, request) as response:
                location = response.headers.get("Location")
                if not self.follows_redirects or response.status not in _REDIRECTS or location is None:
                    return await self._read(response)
                url = _next_url(there.url, location)
                request = _redirected(request, response.status, same_origin=there.url.origin() == url.origin())
                if not may_follow(request.method, str(url)):
                    raise RedirectNotApproved(
                        f"It answered {response.status} and leads to {url}. A rule wants a person to approve a call of "
                        "that address: call it yourself."
                    )
        raise HttpHostUnavailable(f"more than {_MAX_HOPS} redirects")

    async def _read(self, response: aiohttp.ClientResponse) -> HttpToolResponse:
        content, truncated = await _body(response, self.max_response_bytes)
        return HttpToolResponse(
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            body_text=content.decode(_charset(response), "replace"),
            truncated=truncated,
        )


class _TestedAddresses(AbstractResolver):
    """Answers for one host, with the addresses that were tested."""

    def __init__(self, there: Destination) -> None:
        self._there = there

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host.removesuffix(".") != self._there.host:
            raise DestinationRefused(f"{host} was not tested")
        return resolved(host, port, self._there.addresses)

    async def close(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def _answer(there: Destination, request: _Request) -> AsyncIterator[aiohttp.ClientResponse]:
    connector = aiohttp.TCPConnector(resolver=_TestedAddresses(there), use_dns_cache=False, force_close=True)
    async with (
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S),
            trust_env=False,
            auto_decompress=False,
        ) as session,
        session.request(
            request.method,
            there.url,
            headers={**request.headers, "accept-encoding": "identity"},
            data=None if request.body is None else BytesIO(request.body),  # large bytes would hold up the loop
            allow_redirects=False,
        ) as response,
    ):
        yield response


def _next_url(here: URL, location: str) -> URL:
    try:
        there = here.join(URL(location))
        there.origin()
    except ValueError as error:
        raise BadUrl(f"the redirect leads to no URL: {error}", fields={"url": "bad redirect"}) from error
    if here.scheme == "https" and there.scheme == "http":
        raise DestinationRefused("a redirect from https to http is not followed")
    return there


def _redirected(request: _Request, status: int, *, same_origin: bool) -> _Request:
    """The request for the next hop (RFC 9110, section 15.4); another origin gets no credentials."""
    headers = dict(request.headers)
    if not same_origin:
        headers = {name: value for name, value in headers.items() if name in _KEPT_ACROSS_ORIGINS}
    if status == 303 or (status in {301, 302} and request.method == "POST"):
        headers.pop("content-type", None)
        return _Request(method="HEAD" if request.method == "HEAD" else "GET", headers=headers, body=None)
    return _Request(method=request.method, headers=headers, body=request.body)


async def _body(response: aiohttp.ClientResponse, keep: int) -> tuple[bytes, bool]:
    """At most `keep` bytes, unpacked step by step so that a small answer cannot grow large in memory."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"identity", "gzip", "deflate"}:
        raise HttpHostUnavailable(f"the answer is packed as {encoding!r}, which was not asked for")
    unpack = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)
    content = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        content += chunk if unpack is None else unpack.decompress(chunk, keep + 1 - len(content))
        if len(content) > keep:
            return bytes(content[:keep]), True
    return bytes(content), False


def _charset(response: aiohttp.ClientResponse) -> str:
    name = response.charset or "utf-8"
    try:
        "".encode(name)
    except (LookupError, ValueError):
        return "utf-8"
    return name


def _is_token(name: str) -> bool:
    return bool(name) and name.isascii() and all(letter.isalnum() or letter in "!#$%&'*+-.^_`|~" for letter in name)
