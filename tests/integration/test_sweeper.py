"""The worker's look for rows of the outbox that nobody relayed: at once when it is told, else by the clock."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from tests.fakes.planning_engine import running_loops
from tests.waiting import eventually

from cognitionos.composition.sweeper import OutboxSweeper
from cognitionos.kernel.ids import new_id
from cognitionos.planning.application.engine import run_channel
from cognitionos.platform.bus import Bus
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database
from cognitionos.platform.outbox import DELIVERIES, Outbox
from cognitionos.platform.redis import open_redis
from cognitionos.platform.signals import Signals

DUE = """
INSERT INTO outbox (id, tenant_id, event_type, subscriber, payload, due_at)
VALUES (%s, %s, 'KettleBoiled', 'tea', '{}', now())
"""
HOURS = 3600.0


@dataclass(kw_only=True)
class Scene:
    """Rows are written beside the outbox; `sent` are those that were found. `elsewhere`: another process."""

    database: Database
    signals: Signals
    elsewhere: Signals
    sent: list[UUID] = field(default_factory=list)

    async def write(self) -> UUID:
        row, tenant = new_id(), new_id()
        async with self.database.transaction(tenant) as connection:
            await connection.execute(DUE, (row, tenant))
        return row

    def sweeper(self, every_s: float) -> OutboxSweeper:
        outbox = Outbox(database=self.database, bus=Bus(), send=lambda row, _tenant: self.sent.append(row))
        return OutboxSweeper(outbox=outbox, signals=self.signals, every_s=every_s)


@asynccontextmanager
async def a_scene(settings: Settings) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        database = Database(settings.database_url.get_secret_value(), pool_size=2)
        stack.push_async_callback(database.close)
        await database.open()
        both = []
        for _ in range(2):
            redis = open_redis(settings.redis_url.get_secret_value())
            stack.push_async_callback(redis.aclose)
            signals = Signals(redis)
            stack.push_async_callback(signals.close)
            await signals.open()
            both.append(signals)
        yield Scene(database=database, signals=both[0], elsewhere=both[1])


@pytest.mark.parametrize("channel", [DELIVERIES, run_channel(7)])
async def test_a_row_that_nobody_relayed_is_found_as_soon_as_somebody_says_so(settings: Settings, channel: str) -> None:
    async with a_scene(settings) as scene:
        begun = await scene.write()
        async with running_loops(scene.sweeper(every_s=HOURS)):
            await eventually(lambda: begun in scene.sent)
            later = await scene.write()

            async def found() -> bool:
                await scene.elsewhere.send(channel)  # again: the first may come before the subscription stands
                return later in scene.sent

            await eventually(found)


async def test_after_it_found_some_it_looks_more_often(settings: Settings) -> None:
    async with a_scene(settings) as scene:
        begun = await scene.write()
        async with running_loops(scene.sweeper(every_s=1.0)):
            await eventually(lambda: begun in scene.sent)
            later = await scene.write()
            await eventually(lambda: later in scene.sent, timeout_s=8)  # the rare look would come after 10 s
