"""The real application in this process, and tenants to call it as."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from litestar import Litestar

from cognitionos.composition import base as platform
from cognitionos.composition import tenancy
from cognitionos.composition.tenancy import TenancyServices
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.platform.config import Settings
from cognitionos.web import create_app


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A tenant with a key that may do everything, unless told otherwise."""

    tenant_id: UUID
    project_id: UUID
    api_key_id: UUID
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


@asynccontextmanager
async def running_app(settings: Settings) -> AsyncIterator[Litestar]:
    """The application with its services open."""
    quiet = settings.model_copy(update={"log_level": "error"})
    app, ready, stop = create_app(quiet), asyncio.Event(), asyncio.Event()

    async def live() -> None:  # opened and closed by one task, as the framework wants it
        async with app.lifespan():
            ready.set()
            await stop.wait()

    life = asyncio.create_task(live())
    await asyncio.wait({life, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if ready.is_set():
            yield app
    finally:
        stop.set()
        await life


def client_of(app: Litestar, caller: Caller | None = None) -> httpx.AsyncClient:
    """An HTTP client of `app` (whole answers only; streams need a server)."""
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://api", headers=caller.headers if caller else {})


@asynccontextmanager
async def tenancy_services(settings: Settings) -> AsyncIterator[TenancyServices]:
    """Tenancy alone, on an open database."""
    base = platform.build(settings)
    await base.database.open()
    try:
        yield tenancy.build(base)
    finally:
        await base.database.close()
        await base.redis.aclose()


async def a_caller(settings: Settings, name: str, *, scopes: frozenset[Permission] | None = None) -> Caller:
    """A new tenant and a key of it."""
    async with tenancy_services(settings) as services:
        tenant, project = await services.tenants.create(name)
        operator = Principal(
            tenant_id=tenant.id, project_id=project.id, api_key_id=None, permissions=frozenset(Permission)
        )
        issued = await services.api_keys.create(operator, "test", scopes=scopes or frozenset(Permission))
    return Caller(tenant_id=tenant.id, project_id=project.id, api_key_id=issued.key.id, key=issued.text.whole)


async def raw_request(
    app: Any, path: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
) -> list[dict[str, Any]]:
    """One request as plain ASGI; gives every message in the order it was sent."""
    sent: list[dict[str, Any]] = []
    given, ended = False, asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal given
        if given:
            await ended.wait()  # a client that stays to the end
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            ended.set()

    named = [(name.lower().encode(), value.encode()) for name, value in {"host": "api", **(headers or {})}.items()]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path}
    scope |= {"raw_path": path.encode(), "query_string": b"", "headers": named, "scheme": "http", "root_path": ""}
    await app({**scope, "server": ("api", 80), "client": ("127.0.0.1", 1)}, receive, send)
    return sent
