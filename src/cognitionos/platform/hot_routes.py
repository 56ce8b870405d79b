"""The few routes that carry most of the load, answered without the framework's work between request and handler.

A hot route is still declared to the framework, which documents it and answers whatever is not the plain case: no key,
an `Idempotency-Key`, a body that is not JSON. Key, rate, permission, error shapes, request id, metrics and access log
are the same objects and functions on both ways; `tests/api/test_hot_routes.py` asks both and compares.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from cognitionos.kernel.principal import Permission, Principal
from cognitionos.platform.http_api import MissingPermission
from cognitionos.platform.http_body import again, read_body
from cognitionos.platform.http_problems import VENDOR, VendorErrors, answer_to
from cognitionos.platform.middleware import ADMITTED, Authenticate, RateLimit, credential, header

JSON = b"application/json"
_UNPLAIN = frozenset({b"idempotency-key", b"content-encoding", b"expect", b"cache-control"})
_WISH = b"x-cognitionos-"
"""How the headers begin that ask for something more than the body says."""


class NotPlain(Exception):
    """A handler leaves this request to the framework, before it has done anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HotRoute:
    """POST of a small JSON body. `answer` gives what sends the response, or raises `NotPlain` before any effect."""

    permission: Permission
    errors: VendorErrors
    answer: Callable[[Principal, bytes], Awaitable[ASGIApp]]


@dataclass(frozen=True, slots=True)
class Whole:
    """A response whose body is there."""

    body: bytes
    headers: list[tuple[bytes, bytes]]
    status: int = 200

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        headers = [*self.headers, (b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class HotRoutes:
    """The ASGI application before the framework's. `routes` are by path."""

    def __init__(
        self,
        app: ASGIApp,
        routes: Mapping[str, HotRoute],
        *,
        authenticate: Authenticate,
        rate: RateLimit,
        most_bytes: int,
    ) -> None:
        self._app = app
        self._routes = routes
        self._authenticate = authenticate
        self._rate = rate
        self._most_bytes = most_bytes

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        route = self._routes.get(scope["path"])
        key = credential(scope) if route is not None and _is_plain(scope) else None
        if route is None or key is None:
            await self._app(scope, receive, send)
            return
        scope["path_template"] = scope["path"]
        scope["state"][VENDOR] = route.errors
        started = False

        def sending(message: Any) -> Awaitable[None]:
            nonlocal started
            started = True
            return send(message)

        body: bytes | None = None
        try:
            who = await self._admit(scope, key)
            if not who.may(route.permission):
                raise MissingPermission(f"This needs a key with the scope '{route.permission}'.")
            length = header(scope, b"content-length")
            body = await read_body(receive, most_bytes=self._most_bytes, length=length)
            response = await route.answer(who, body)
            await response(scope, receive, sending)
        except NotPlain:
            await self._app(scope, again(body or b"", receive), send)
        except Exception as error:
            if started:
                raise
            await _refusal(scope, error, route.errors)(scope, receive, send)

    async def _admit(self, scope: Any, key: str) -> Principal:
        """Who is asking, once counted against the key's rate."""
        who = await self._authenticate(key)
        scope["user"], scope["auth"] = who, None
        bind_contextvars(tenant=str(who.tenant_id))
        await self._rate.admit(scope)
        scope["state"][ADMITTED] = True
        return who


def _is_plain(scope: Any) -> bool:
    if scope["method"] != "POST" or scope["query_string"]:
        return False
    kind = b""
    for name, value in scope["headers"]:
        if name in _UNPLAIN or name.startswith(_WISH):
            return False
        if name == b"content-type":
            kind = value
    return kind.startswith(JSON)


def _refusal(scope: Any, error: Exception, vendor: VendorErrors) -> Whole:
    """The framework's own answer to `error`, sent without it."""
    answer = answer_to(scope, error, vendor=vendor)
    headers = [(b"content-type", JSON), *((name.encode(), value.encode()) for name, value in answer.headers.items())]
    return Whole(answer.content, headers, answer.status_code or 500)
