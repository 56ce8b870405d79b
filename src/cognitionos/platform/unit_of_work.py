"""One use case, one transaction: state, events and jobs in the same commit, relayed right after it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, cast
from uuid import UUID

from psycopg import AsyncConnection
from sqlalchemy.ext.asyncio import AsyncSession

from cognitionos.kernel.event import Event
from cognitionos.platform import outbox
from cognitionos.platform.bus import Bus, Delivery
from cognitionos.platform.database import Database
from cognitionos.platform.outbox import Outbox


class UnitOfWork:
    """What a use case sees of the database. A context subclasses it and adds its repositories."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.events: list[Event] = []

    def publish(self, *events: Event) -> None:
        """Tell the other contexts, if and when this unit of work commits."""
        self.events.extend(events)

    async def settle(self, delivery: Delivery) -> None:
        """Mark the delivery being handled as done in this commit: effect once, whatever is repeated."""
        await outbox.settle(await self.connection(), delivery)

    async def connection(self) -> AsyncConnection[Any]:
        """The psycopg connection below the session, in the same transaction."""
        raw = await (await self.session.connection()).get_raw_connection()
        return cast("AsyncConnection[Any]", raw.driver_connection)


W = TypeVar("W", bound=UnitOfWork)
Begin = Callable[[UUID], AbstractAsyncContextManager[W]]


def units_of_work(work_type: type[W], *, database: Database, bus: Bus, relay: Outbox) -> Begin[W]:
    """A `begin(tenant_id)` for `work_type`: commits on leaving, then relays the outbox and tells local listeners."""

    @asynccontextmanager
    async def begin(tenant_id: UUID) -> AsyncIterator[W]:
        async with database.begin(tenant_id) as session:
            work = work_type(session)
            yield work
            await session.flush()
            rows = await outbox.write(await work.connection(), bus, work.events) if work.events else []
        await relay.relay(tenant_id, rows)
        await bus.committed(work.events)

    return begin
