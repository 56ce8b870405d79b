"""The engine on real servers, without the rest of the product: what tests and the bench start and stop."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cognitionos.composition.base import Background, Base, build
from cognitionos.kernel.ids import new_id
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.planning.application.engine import Engine
from cognitionos.planning.application.ports import Handler
from cognitionos.planning.application.runs import Runs
from cognitionos.planning.application.values import PURE
from cognitionos.planning.infrastructure.repository import PlanningWork
from cognitionos.planning.infrastructure.task_store import PostgresTaskStore
from cognitionos.platform.config import Settings
from cognitionos.platform.unit_of_work import units_of_work


def a_principal(**changes: Any) -> Principal:
    """Somebody who may do everything, of a tenant of their own."""
    given = {"tenant_id": new_id(), "project_id": new_id(), "api_key_id": None, "permissions": frozenset(Permission)}
    return Principal(**{**given, **changes})


@asynccontextmanager
async def running_loops(*loops: Background) -> AsyncIterator[None]:
    """Run `loops`, and stop them in the way a worker does."""
    tasks = [asyncio.create_task(loop.run()) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


@dataclass(kw_only=True)
class Bench:
    """A platform with planning's stores on it; engines are started on it by name."""

    base: Base
    store: PostgresTaskStore
    runs: Runs

    def engine(self, handlers: Mapping[str, Handler] | None = None, **changes: Any) -> Engine:
        """An engine, not running."""
        given: dict[str, Any] = {"worker": str(new_id()), "slots": 32, "lease_s": 10.0, "sweep_s": 2.0}
        given |= changes
        return Engine(store=self.store, signals=self.base.signals, handlers=handlers or {}, pure=PURE, **given)

    async def rows(self, tenant_id: UUID, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the tenant sees."""
        async with self.base.database.transaction(tenant_id) as connection:
            cursor = await connection.execute(query.encode(), values)
            return await cursor.fetchall()

    async def status(self, who: Principal, run_id: UUID) -> str:
        """A run's status."""
        rows = await self.rows(who.tenant_id, "SELECT status FROM runs WHERE id = %s", run_id)
        return str(rows[0][0])


@asynccontextmanager
async def bench_on(settings: Settings) -> AsyncIterator[Bench]:
    """An open platform on the servers of `settings`."""
    base = build(settings)
    store = PostgresTaskStore(
        database=base.database, bus=base.bus, relay=base.outbox, pure=PURE, now=base.now, new_id=new_id
    )
    begin = units_of_work(PlanningWork, database=base.database, bus=base.bus, relay=base.outbox)
    for resource in base.resources:
        await resource.open()
    try:
        yield Bench(
            base=base,
            store=store,
            runs=Runs(begin=begin, signals=base.signals, now=base.now, new_id=new_id),
        )
    finally:
        for resource in reversed(base.resources):
            await resource.close()
        await base.redis.aclose()
