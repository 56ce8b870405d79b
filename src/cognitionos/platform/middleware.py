"""What happens around every request, as plain ASGI: nothing here reads, wraps or delays a stream.

`observe` surrounds the whole application (unknown paths too): request id, trace, metrics, access log.
`guarded` surrounds each route: who is asking, how often, and whether this POST was already answered.
"""

import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import Counter, Histogram
from structlog.contextvars import bind_contextvars, clear_contextvars

from cognitionos.kernel.principal import Principal
from cognitionos.platform import telemetry
from cognitionos.platform.http_api import PUBLIC, NoCredential
from cognitionos.platform.logging import FrequentLine
from cognitionos.platform.rate_limit import REFUSED, WINDOW_S, RateLimited, RateLimiter

access = FrequentLine("cognitionos.access", "request")

Authenticate = Callable[[str], Awaitable[Principal]]

REQUESTS = Counter("cognitionos_http_requests_total", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "cognitionos_http_request_seconds",
    "From the first byte of the request to the last of the answer",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
ANSWER_HEADERS = "answer_headers"
ADMITTED = "admitted"
"""In a request's state: it was counted against its key's rate before the framework saw it."""
_TRACE_ID = "trace_id"
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,128}")
_NO_SNIFF = (b"x-content-type-options", b"nosniff")
_ABANDONED = 499  # the caller went away before an answer began


class Observed:
    """The application with a request id, a span, metrics and one log line around each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        request_id = _valid(header(scope, b"x-request-id")) or os.urandom(16).hex()
        state = scope["state"]
        state["request_id"] = request_id
        state[ANSWER_HEADERS] = extra = [(b"x-request-id", request_id.encode()), _NO_SNIFF]
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        status, started = _ABANDONED, time.perf_counter()

        def answer(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *extra]
            return send(message)

        try:
            if telemetry.is_on() or header(scope, b"traceparent"):
                await self._traced(scope, receive, answer)
            else:
                await self._app(scope, receive, answer)
        finally:
            _record(scope, status, time.perf_counter() - started)

    async def _traced(self, scope: Scope, receive: Receive, send: Send) -> None:
        carrier = {name: value for name in ("traceparent", "tracestate") if (value := header(scope, name.encode()))}
        with telemetry.span(f"{scope.get('method', '')} HTTP", kind="server", carrier=carrier) as span:
            scope["state"][_TRACE_ID] = trace_id = telemetry.trace_id()
            bind_contextvars(trace_id=trace_id)
            await self._app(scope, receive, send)
            span.update_name(f"{scope.get('method', '')} {_route(scope)}")
            span.set_attribute("http.route", _route(scope))


class Authentication(ASGIMiddleware):
    """Turns the bearer key (or `x-api-key`) into the request's `Principal`; routes marked `public()` need none."""

    scopes = (ScopeType.HTTP,)
    exclude_opt_key = PUBLIC

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Raise `Unauthenticated` for no key or a bad one, else go on as its owner."""
        key = credential(scope)
        if key is None:
            raise NoCredential("Send a key: 'Authorization: Bearer cog_...'. 'cognitionos keys create' makes one.")
        who = await self._authenticate(key)
        scope["user"] = who
        scope["auth"] = None
        bind_contextvars(tenant=str(who.tenant_id))
        await next_app(scope, receive, send)


class PlainBody(ASGIMiddleware):
    """Refuses a body in an encoding that nobody here undoes, in place of calling it unreadable."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Raise 415 naming the encoding."""
        encoding = header(scope, b"content-encoding")
        if encoding is not None and encoding.strip().lower() != "identity":
            raise HTTPException(
                status_code=415, detail=f"The body is encoded as '{encoding}'; send it without Content-Encoding."
            )
        await next_app(scope, receive, send)


class RateLimit(ASGIMiddleware):
    """Lets each key make `per_minute` requests, and tells it where it stands (IETF RateLimit header fields)."""

    scopes = (ScopeType.HTTP,)
    exclude_opt_key = PUBLIC

    def __init__(self, limiter: RateLimiter, *, per_minute: int) -> None:
        self._limiter = limiter
        self._per_minute = per_minute
        self._policy = (b"ratelimit-policy", f'"key";q={per_minute};w={WINDOW_S}'.encode())
        self._limit = (b"x-ratelimit-limit", str(per_minute).encode())

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Raise `RateLimited` when the key's minute is used up."""
        if ADMITTED not in scope["state"]:
            await self.admit(scope)
        await next_app(scope, receive, send)

    async def admit(self, scope: Scope) -> None:
        """Count the request and tell its caller; raise `RateLimited` when the key's minute is used up."""
        who: Principal = scope["user"]
        grant = await self._limiter.take(str(who.api_key_id or who.tenant_id), self._per_minute)
        remaining, reset_s = grant.remaining, max(1, round(grant.reset_s + 0.499))
        scope["state"][ANSWER_HEADERS] += (
            self._policy,
            (b"ratelimit", b'"key";r=%d;t=%d' % (remaining, reset_s)),
            self._limit,
            (b"x-ratelimit-remaining", b"%d" % remaining),
            (b"x-ratelimit-reset", b"%d" % reset_s),
        )
        if not grant.allowed:
            REFUSED.inc()
            raise RateLimited(
                f"This key may make {self._per_minute} requests a minute; there is room again in {reset_s} s.",
                retry_after_s=grant.reset_s,
            )


def observe(app: Litestar, *, first: Callable[[ASGIApp], ASGIApp] | None = None) -> Litestar:
    """Surround all of `app`, also what no route answers; `first` puts something between."""
    app.asgi_handler = Observed(first(app.asgi_handler) if first else app.asgi_handler)
    return app


def guarded(
    authenticate: Authenticate, rate: RateLimit, *, then: Sequence[ASGIMiddleware] = ()
) -> list[ASGIMiddleware]:
    """What surrounds each route, outermost first."""
    return [Authentication(authenticate), rate, PlainBody(), *then]


def header(scope: Scope, name: bytes) -> str | None:
    """The first header called `name` (lower case)."""
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


def credential(scope: Scope) -> str | None:
    """The key a request carries: `Authorization: Bearer KEY`, else `x-api-key: KEY`."""
    value = header(scope, b"authorization")
    if value is not None:
        scheme, _, key = value.partition(" ")
        return key.strip() or None if scheme.lower() == "bearer" else None
    return header(scope, b"x-api-key") or None


def _valid(request_id: str | None) -> str | None:
    return request_id if request_id is not None and _REQUEST_ID.fullmatch(request_id) else None


def _route(scope: Any) -> str:
    template: str = scope.get("path_template") or "(none)"
    return template


@lru_cache(maxsize=4096)
def _metrics(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The labelled metrics, looked up once: that costs ten times what counting does."""
    return REQUESTS.labels(method, route, str(status)), SECONDS.labels(method, route)


def _record(scope: Scope, status: int, seconds: float) -> None:
    raw = scope.get("method", "")
    method = raw if raw in _METHODS else "OTHER"
    route = _route(scope)
    counter, histogram = _metrics(method, route, status)
    counter.inc()
    histogram.observe(seconds)
    access.write(
        {
            "method": method,
            "route": route,
            "path": scope["path"],
            "status": status,
            "ms": round(seconds * 1000, 2),
            **_whose(scope),
        }
    )


def _whose(scope: Scope) -> dict[str, object]:
    state, who = scope["state"], scope.get("user")
    whose: dict[str, object] = {"request_id": state["request_id"]}
    if isinstance(who, Principal):
        whose["tenant"] = who.tenant_id
    if _TRACE_ID in state:
        whose[_TRACE_ID] = state[_TRACE_ID]
    return whose
