"""Two ways to PostgreSQL, one way to set the tenant.

Use cases go through SQLAlchemy's async session (`begin`); hot paths through psycopg (`transaction`, `connection`). Both
set `app.tenant_id` inside the transaction, where a transaction pooler cannot leak it; with no tenant set, policies show
no row. A session serves one tenant only: its identity map would serve another's rows without asking the database.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any
from uuid import UUID
from weakref import WeakSet

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as SessionsTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, SessionTransaction

from cognitionos.kernel.errors import Unavailable
from cognitionos.platform.migrations import sqlalchemy_url

POOL_WAIT_S = 5.0
CONNECT_WITHIN_S = 5
"""Of each address that the host has; `connect_timeout` in the URL decides otherwise."""
RECONNECT_S = 2.0
"""So long a lost connection is made anew in the background, ever more rarely; then by whoever needs it, at once."""
_SILENT = "the database does not answer; try again"
_GONE = (psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout)
_SET_TENANT = (
    "SELECT set_config('app.tenant_id', %s, true), set_config('idle_in_transaction_session_timeout', '10s', true)"
)
"""Both end with the transaction. A process that stalls inside one loses it, and its locks hold up nobody for long."""

Row = tuple[Any, ...]
Write = Callable[[AsyncConnection[Row]], Awaitable[None]]
"""Writes in a transaction that somebody else has opened and will commit."""


class DatabaseUnavailable(Unavailable):
    """PostgreSQL does not answer, or every connection is in use."""


class Database:
    """PostgreSQL as the app role. `open` on the loop that will use it. While `is_silent` nothing begins."""

    def __init__(self, url: str, *, pool_size: int) -> None:
        self.url = url
        self.is_silent = False
        self._connections: WeakSet[AsyncConnection[Row]] = WeakSet()
        self._sessions_size = max(1, pool_size // 2)
        self._pool: AsyncConnectionPool[AsyncConnection[Row]] = AsyncConnectionPool(
            url,
            open=False,
            min_size=1,
            max_size=max(1, pool_size - self._sessions_size),
            timeout=POOL_WAIT_S,
            kwargs={"autocommit": True, **_terms(url)},
            configure=self._made,
            reconnect_timeout=RECONNECT_S,
        )
        self._engine: AsyncEngine | None = None
        self._sessions: async_sessionmaker[AsyncSession] | None = None

    async def open(self) -> None:
        """Make both pools. Does not wait for the server: readiness is the health check's question."""
        self._engine = create_async_engine(
            sqlalchemy_url(self.url),
            pool_size=self._sessions_size,
            max_overflow=0,
            pool_timeout=POOL_WAIT_S,
            pool_pre_ping=True,
            connect_args=_terms(self.url),
        )
        event.listen(self._engine.sync_engine, "do_connect", self._connecting)
        event.listen(self._engine.sync_engine, "connect", self._connected)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False, sync_session_class=_TenantSession)
        await self._pool.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()
        if self._engine is not None:
            await self._engine.dispose()

    @asynccontextmanager
    async def begin(self, tenant_id: UUID) -> AsyncIterator[AsyncSession]:
        """A session in one transaction of `tenant_id`; committed by leaving, rolled back by an exception."""
        if self._sessions is None:
            raise DatabaseUnavailable("the database is not open yet")
        if self.is_silent:
            raise _silent()
        async with self._sessions(info={"tenant_id": tenant_id}) as session, _translated:
            try:
                yield session
                await session.commit()
            except BaseException:
                await session.rollback()
                raise

    @asynccontextmanager
    async def transaction(self, tenant_id: UUID) -> AsyncIterator[AsyncConnection[Row]]:
        """A psycopg connection in one transaction of `tenant_id`."""
        async with self.connection() as connection, connection.transaction():
            await connection.execute(_SET_TENANT, (str(tenant_id),))
            yield connection

    def connection(self) -> AbstractAsyncContextManager[AsyncConnection[Row]]:
        """A psycopg connection in autocommit and without a tenant: for functions that set or ignore it themselves."""
        return _Lent(self, self._pool)

    def waiting(self) -> list[AsyncConnection[Row]]:
        """The connections on which something was sent and not all was answered."""
        return [each for each in self._connections if each.pgconn.transaction_status == TransactionStatus.ACTIVE]

    async def _made(self, connection: AsyncConnection[Row]) -> None:
        self._connections.add(connection)

    def _connecting(self, *_: object) -> None:
        """Before a session's connection is made, which nobody would shut."""
        if self.is_silent:
            raise psycopg.OperationalError(_SILENT)

    def _connected(self, connection: Any, _record: object) -> None:
        self._connections.add(connection.driver_connection)


class _Translated:
    """Says 'unavailable' where a driver says that the server is gone. No generator: hot paths ask for connections."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and (unavailable := _unavailable(error)) is not None:
            raise unavailable from error


_translated = _Translated()


class _Lent:
    """A connection of the pool, lent for a block."""

    __slots__ = ("_connection", "_database", "_pool")

    def __init__(self, database: Database, pool: AsyncConnectionPool[AsyncConnection[Row]]) -> None:
        self._database = database
        self._pool = pool

    async def __aenter__(self) -> AsyncConnection[Row]:
        if self._database.is_silent:
            raise _silent()
        async with _translated:
            self._connection = await self._pool.getconn()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.putconn(self._connection)
        await _translated.__aexit__(kind, error, trace)


class _TenantSession(Session):
    """A session that names its tenant at the begin of every transaction."""


@event.listens_for(_TenantSession, "after_begin")
def _name_the_tenant(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    connection.exec_driver_sql(_SET_TENANT, (str(session.info["tenant_id"]),))


def _unavailable(error: BaseException) -> DatabaseUnavailable | None:
    """What to say where a driver says that the server is gone or a pool has nothing left; None for any other error."""
    if isinstance(error, DBAPIError):
        is_gone = error.connection_invalidated or isinstance(error.orig, _GONE)
    elif isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.DeadlockDetected):
        is_gone = False
    else:
        is_gone = isinstance(error, (TimeoutError, PoolTimeout, SessionsTimeout, *_GONE))
    return _silent() if is_gone else None


def _silent() -> DatabaseUnavailable:
    return DatabaseUnavailable(_SILENT, retry_after_s=2)


def _terms(url: str) -> dict[str, Any]:
    """What connections are made with beside `url`."""
    return {} if "connect_timeout" in conninfo_to_dict(url) else {"connect_timeout": CONNECT_WITHIN_S}
