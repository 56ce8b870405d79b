"""Is the process alive, is it ready, what does it count: three routes that need no key and show no tenant's data."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from litestar import Response, Router, get
from litestar.di import NamedDependency
from psycopg.errors import UndefinedTable
from redis.asyncio import Redis

from cognitionos.kernel.errors import Unavailable
from cognitionos.platform import migrations, telemetry
from cognitionos.platform.database import Database
from cognitionos.platform.http_api import instance, problems, public
from cognitionos.platform.redis import REDIS_ERRORS

CHECK_WITHIN_S = 3.0
_GONE: tuple[type[Exception], ...] = (*REDIS_ERRORS, Unavailable)


class NotReady(Unavailable):
    """The process cannot do its work yet, or any more; `errors` names what is missing."""


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str = "ok"


class Readiness(msgspec.Struct, frozen=True):
    """`status` is `ready`, or `degraded` when the work goes on with less speed (Redis is gone)."""

    status: str
    database: str
    redis: str


class Readinesses:
    """Asks what the process depends on."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis
        self._wanted = migrations.head()

    async def check(self) -> Readiness:
        """Whether work can be done. Raises `NotReady` naming the piece without which it cannot."""
        database, redis = await asyncio.gather(_word(self._ask_database), _word(self._ask_redis))
        if database != "ok":
            raise NotReady(f"database: {database}", fields={"database": database}, retry_after_s=2)
        return Readiness(status="ready" if redis == "ok" else "degraded", database=database, redis=redis)

    async def _ask_database(self) -> str:
        async with self._database.connection() as connection:
            row = await (await connection.execute("SELECT version_num FROM alembic_version")).fetchone()
        found = row[0] if row else None
        if migrations.is_enough(found):
            return "ok"
        return f"at revision {found}, wants {self._wanted}: run 'cognitionos migrate'"

    async def _ask_redis(self) -> str:
        await self._redis.ping()
        return "ok"


@get("/health/live", opt=public(), summary="Is the process alive", tags=["health"])
async def live() -> Alive:
    """Answers as long as the event loop turns; depends on nothing."""
    return Alive()


@get("/health/ready", opt=public(), summary="Can the process work", tags=["health"], responses=problems(503))
async def ready(readinesses: NamedDependency[Readinesses]) -> Readiness:
    """Whether the database answers and is migrated; Redis gone is 'degraded' and still ready."""
    return await readinesses.check()


@get("/metrics", opt=public(), summary="Prometheus metrics", tags=["health"], media_type="text/plain")
async def metrics() -> Response[bytes]:
    """Every metric of this process; no label names a tenant."""
    body, content_type = telemetry.exposition()
    return Response(body, headers={"content-type": content_type})  # as it is: a media type would get a second charset


def routes(database: Database, redis: Redis) -> Router:
    """The three routes."""
    readinesses = instance(Readinesses(database, redis))
    return Router("/", route_handlers=[live, ready, metrics], dependencies={"readinesses": readinesses})


async def _word(ask: Callable[[], Coroutine[Any, Any, str]]) -> str:
    asking = asyncio.create_task(ask(), name="health.ask")
    if not (await asyncio.wait({asking}, timeout=CHECK_WITHIN_S))[0]:
        asking.cancel()  # and not waited for: a driver may say goodbye to a server that hangs for long
        return "does not answer"
    try:
        return asking.result()
    except UndefinedTable:
        return "was never migrated: run 'cognitionos migrate'"
    except _GONE:
        return "does not answer"
