"""`Idempotency-Key` on POSTs: the first answer is kept for a day and given again to whoever repeats the request.

Kept per tenant, route and key, with a hash of the body. A request that is still under way is a conflict; its process
renews its claim, and one whose process died is taken over after `LEASE_S`. Not kept: refusals (nothing was done, so a
repeated request is judged anew), 5xx, streams, answers above `LARGEST_ANSWER`, and those that show a secret once
(routes with `opt=shows_secret()` refuse the header instead).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from litestar import Request
from litestar.enums import ScopeType
from litestar.exceptions import ValidationException
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from psycopg.types.json import Jsonb

from cognitionos.kernel.errors import Conflict, Invalid, Unavailable
from cognitionos.kernel.principal import Principal
from cognitionos.platform.crypto import fingerprint
from cognitionos.platform.database import Database
from cognitionos.platform.http_api import PUBLIC
from cognitionos.platform.http_body import again, read_body

LEASE_S = 30
RENEW_S = LEASE_S / 3
KEEP_HOURS = 24
RETRY_AFTER_S = 2.0
LARGEST_ANSWER = 16 * 1024 * 1024
_HEADER = b"idempotency-key"
_NEVER_KEPT = "answer_never_kept"
_KEPT_HEADERS = frozenset({b"content-type", b"location", b"request-id"})
_OUR_HEADERS = b"x-cognitionos-"
_LONGEST_KEY = 255

_FORGET = "DELETE FROM idempotency_keys WHERE created_at < now() - make_interval(hours => %s)"
_CLAIM = """
INSERT INTO idempotency_keys AS k (tenant_id, route, key, body_hash) VALUES (%s, %s, %s, %s)
ON CONFLICT (tenant_id, route, key) DO UPDATE SET created_at = now()
WHERE k.status IS NULL AND k.body_hash = EXCLUDED.body_hash AND k.created_at < now() - make_interval(secs => %s)
RETURNING true
"""
_LOOK = "SELECT body_hash, status, headers, body FROM idempotency_keys WHERE route = %s AND key = %s"
_KEEP = "UPDATE idempotency_keys SET status = %s, headers = %s, body = %s WHERE route = %s AND key = %s"
_RENEW = "UPDATE idempotency_keys SET created_at = now() WHERE route = %s AND key = %s AND status IS NULL"
_FORGET_BELOW = """
DELETE FROM idempotency_keys
WHERE starts_with(route, %s) OR (route = %s AND position(%s::bytea IN body) > 0)
"""
_RELEASE = "DELETE FROM idempotency_keys WHERE route = %s AND key = %s AND status IS NULL"


class IdempotencyKeyReused(Invalid):
    """The same `Idempotency-Key` came with another body before; use a new key for a new request."""


class RequestUnderWay(Conflict):
    """A request with this `Idempotency-Key` is still being worked on; repeat it later to get its answer."""


def shows_secret() -> dict[str, Any]:
    """The `opt` of a POST whose answer must not be kept: it refuses `Idempotency-Key` and says why."""
    return {_NEVER_KEPT: True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A finished answer, as it is kept."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class IdempotencyStore:
    """The table `idempotency_keys`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, tenant_id: UUID, route: str, key: str, body_hash: bytes) -> Answer | None:
        """None: go on, the key is yours. An `Answer`: give that. Raises for another body and for one under way."""
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_FORGET, (KEEP_HOURS,))
            claimed = await connection.execute(_CLAIM, (tenant_id, route, key, body_hash, LEASE_S))
            if await claimed.fetchone() is not None:
                return None
            row = await (await connection.execute(_LOOK, (route, key))).fetchone()
        if row is None or (row[0] == body_hash and row[1] is None):
            raise RequestUnderWay("A request with this Idempotency-Key is under way.", retry_after_s=RETRY_AFTER_S)
        if row[0] != body_hash:
            raise IdempotencyKeyReused(
                "This Idempotency-Key was used with another body; use a new key for a new request.",
                fields={"Idempotency-Key": "was used with another body in the last 24 hours"},
            )
        headers = [(name.encode(), value.encode()) for name, value in row[2]]
        return Answer(status=row[1], headers=headers, body=row[3])

    async def keep(self, tenant_id: UUID, route: str, key: str, answer: Answer) -> None:
        """Keep `answer` for those who repeat the request."""
        headers = Jsonb([[name.decode("latin-1"), value.decode("latin-1")] for name, value in answer.headers])
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_KEEP, (answer.status, headers, answer.body, route, key))

    async def renew(self, tenant_id: UUID, route: str, key: str) -> None:
        """Say that the request is still being worked on."""
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_RENEW, (route, key))

    async def release(self, tenant_id: UUID, route: str, key: str) -> None:
        """Let the next request with this key run."""
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_RELEASE, (route, key))

    async def forget(self, tenant_id: UUID, path: str) -> None:
        """Keep no answer of a POST below `path` any more, nor of the one that made what is there."""
        above, _, name = path.rpartition("/")
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_FORGET_BELOW, (f"POST {path}/", f"POST {above}", name.encode()))


class Idempotency(ASGIMiddleware):
    """Answers a repeated POST from the store. Requests without the header pass untouched."""

    scopes = (ScopeType.HTTP,)
    exclude_opt_key = PUBLIC

    def __init__(self, store: IdempotencyStore) -> None:
        self._store = store

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Replay, refuse, or run the route once and keep its answer before its last byte leaves."""
        if scope["type"] != ScopeType.HTTP or scope["method"] != "POST" or (key := _key_of(scope)) is None:
            await next_app(scope, receive, send)
            return
        handler = scope["route_handler"]
        if handler.opt.get(_NEVER_KEPT):
            raise _refusal("this answer shows a secret and is never kept; send the request without the header")
        await handler.authorize_connection(Request(scope))
        who: Principal = scope["user"]
        route = f"POST {scope['path']}"
        body = await read_body(receive, most_bytes=_most_bytes(handler))
        found = await self._store.claim(who.tenant_id, route, key, fingerprint(body))
        if found is not None:
            await _replay(found, send)
            return
        recorder = _Recorder(send)
        try:
            async with self._renewed(who.tenant_id, route, key):
                await next_app(scope, again(body, receive), recorder)
            answer = recorder.answer()
            if answer is not None:
                await self._store.keep(who.tenant_id, route, key, answer)
                await recorder.flush()
        finally:
            if not recorder.kept:
                await self._store.release(who.tenant_id, route, key)

    @asynccontextmanager
    async def _renewed(self, tenant_id: UUID, route: str, key: str) -> AsyncIterator[None]:
        async def renew() -> None:
            while True:
                await asyncio.sleep(RENEW_S)
                with suppress(Unavailable):  # the next time will do
                    await self._store.renew(tenant_id, route, key)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()


@dataclass
class _Recorder:
    """An ASGI `send` that holds an answer back until it is kept; streams, errors and large ones pass at once."""

    send: Send
    kept: bool = False
    held: list[Any] = field(default_factory=list)
    size: int = 0
    is_passing: bool = False

    async def __call__(self, message: Any) -> None:
        if not self.is_passing:
            self.held.append(message)
            self.size += len(message.get("body", b""))
            if not _may_be_kept(self.held[0]) or self.size > LARGEST_ANSWER:
                await self._pass()
        else:
            await self.send(message)

    def answer(self) -> Answer | None:
        """The whole answer, if it is one to keep."""
        if self.is_passing or not self.held or self.held[-1].get("more_body", False):
            return None
        start: Any = self.held[0]
        headers = [(name, value) for name, value in start["headers"] if _is_kept(name.lower())]
        self.kept = True
        return Answer(status=start["status"], headers=headers, body=b"".join(_bodies(self.held)))

    async def flush(self) -> None:
        """Let out what was held."""
        await self._pass()

    async def _pass(self) -> None:
        self.is_passing = True
        for message in self.held:
            await self.send(message)
        self.held.clear()


def _may_be_kept(start: Message) -> bool:
    if start["type"] != "http.response.start" or start["status"] >= 400:
        return False
    types = [value for name, value in start["headers"] if name.lower() == b"content-type"]
    return not types or not types[0].startswith(b"text/event-stream")


def _is_kept(name: bytes) -> bool:
    return name in _KEPT_HEADERS or name.startswith(_OUR_HEADERS)


def _bodies(messages: list[Message]) -> list[bytes]:
    return [message.get("body", b"") for message in messages if message["type"] == "http.response.body"]


def _key_of(scope: HTTPScope) -> str | None:
    values = [value for name, value in scope["headers"] if name == _HEADER]
    if not values:
        return None
    key = values[0].decode("latin-1").strip()
    if not key or len(key) > _LONGEST_KEY or not key.isprintable():
        raise _refusal(f"must be 1 to {_LONGEST_KEY} printable characters; a random UUID is a good one")
    return key


def _refusal(message: str) -> ValidationException:
    return ValidationException(extra=[{"key": "Idempotency-Key", "message": message}])


def _most_bytes(handler: Any) -> int:
    return handler.resolve_request_max_body_size() or 64 * 1024 * 1024


async def _replay(answer: Answer, send: Send) -> None:
    headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode()), (b"idempotent-replayed", b"true")]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
