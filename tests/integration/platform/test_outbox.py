"""The outbox against a real database: written with the change, delivered at least once, effect once."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from tests.conftest import Run

from cognitionos.kernel.clock import utc_now
from cognitionos.kernel.event import Event
from cognitionos.kernel.ids import new_id
from cognitionos.platform.bus import Bus, Delivery
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database
from cognitionos.platform.dead_letters import DeadLetter, dead_letters, revive
from cognitionos.platform.outbox import Outbox
from cognitionos.platform.unit_of_work import Begin, UnitOfWork, units_of_work


@dataclass(frozen=True, kw_only=True)
class KettleBoiled(Event):
    degrees: int


class Kitchen:
    """A bus, an outbox and what its subscriber saw."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.bus = Bus()
        self.sent: list[tuple[UUID, UUID]] = []
        self.queue_is_down = False
        self.heard: list[tuple[KettleBoiled, Delivery]] = []
        self.failures_left = 0
        self.bus.subscribe(KettleBoiled, "tea", self._on_boiled)
        self.outbox = Outbox(database=database, bus=self.bus, send=self._send)
        self.begin: Begin[UnitOfWork] = units_of_work(UnitOfWork, database=database, bus=self.bus, relay=self.outbox)

    def _send(self, delivery_id: UUID, tenant_id: UUID) -> None:
        if self.queue_is_down:
            raise ConnectionError("no Redis")
        self.sent.append((delivery_id, tenant_id))

    async def _on_boiled(self, event: KettleBoiled, delivery: Delivery) -> None:
        if self.failures_left:
            self.failures_left -= 1
            raise RuntimeError("no cup")
        async with self.begin(delivery.tenant_id) as work:
            await work.settle(delivery)
            self.heard.append((event, delivery))

    async def boil(self, tenant_id: UUID, degrees: int = 100) -> None:
        async with self.begin(tenant_id) as work:
            work.publish(KettleBoiled(tenant_id=tenant_id, at=utc_now(), degrees=degrees))

    async def deliver_all(self) -> None:
        for delivery_id, tenant_id in self.sent:
            await self.outbox.deliver(delivery_id, tenant_id)

    async def left(self, tenant_id: UUID) -> list[tuple[int, bool]]:
        async with self.database.transaction(tenant_id) as connection:
            cursor = await connection.execute("SELECT attempts, dead_at IS NOT NULL FROM outbox")
            return [(row[0], row[1]) for row in await cursor.fetchall()]


@pytest.fixture(scope="module")
def opened(settings: Settings, run: Run) -> Iterator[Database]:
    database = Database(settings.database_url.get_secret_value(), pool_size=6)
    run(database.open())
    yield database
    run(database.close())


@pytest.fixture
def kitchen(opened: Database) -> Kitchen:
    return Kitchen(opened)


async def make_due(kitchen: Kitchen, tenant_id: UUID) -> None:
    async with kitchen.database.transaction(tenant_id) as connection:
        await connection.execute("UPDATE outbox SET due_at = now()")


async def test_an_event_is_delivered_with_its_fields_and_leaves_no_row(kitchen: Kitchen) -> None:
    tenant = new_id()

    await kitchen.boil(tenant, degrees=97)
    await kitchen.deliver_all()

    assert [event.degrees for event, _ in kitchen.heard] == [97]
    assert kitchen.heard[0][0].tenant_id == tenant
    assert await kitchen.left(tenant) == []


async def test_nothing_is_sent_when_the_use_case_fails(kitchen: Kitchen) -> None:
    tenant = new_id()

    with pytest.raises(ZeroDivisionError):
        async with kitchen.begin(tenant) as work:
            work.publish(KettleBoiled(tenant_id=tenant, at=utc_now(), degrees=1))
            raise ZeroDivisionError

    assert kitchen.sent == []
    assert await kitchen.left(tenant) == []


async def test_a_doubled_message_has_its_effect_once(kitchen: Kitchen) -> None:
    tenant = new_id()
    await kitchen.boil(tenant)

    ((delivery_id, _),) = kitchen.sent
    await asyncio.gather(*(kitchen.outbox.deliver(delivery_id, tenant) for _ in range(5)), return_exceptions=True)

    effects = [delivery for _, delivery in kitchen.heard]
    assert len(effects) == 1


async def test_a_lost_message_is_sent_again_by_the_sweep(kitchen: Kitchen) -> None:
    tenant = new_id()
    kitchen.queue_is_down = True
    await kitchen.boil(tenant)
    assert kitchen.sent == []

    kitchen.queue_is_down = False
    await make_due(kitchen, tenant)
    await kitchen.outbox.sweep()
    await kitchen.deliver_all()

    assert len(kitchen.heard) == 1


async def test_a_failing_subscriber_is_tried_again_later(kitchen: Kitchen) -> None:
    tenant = new_id()
    kitchen.failures_left = 1
    await kitchen.boil(tenant)
    await kitchen.deliver_all()
    assert await kitchen.left(tenant) == [(1, False)]

    kitchen.sent.clear()
    await make_due(kitchen, tenant)
    await kitchen.outbox.sweep()
    await kitchen.deliver_all()

    assert len(kitchen.heard) == 1
    assert await kitchen.left(tenant) == []


async def test_a_delivery_that_keeps_failing_ends_as_a_visible_dead_letter(kitchen: Kitchen) -> None:
    tenant = new_id()
    kitchen.failures_left = 100
    await kitchen.boil(tenant)

    for _ in range(12):
        await kitchen.deliver_all()

    assert await kitchen.left(tenant) == [(12, True)]
    [letter] = await of(kitchen, tenant)
    assert (letter.event, letter.subscriber, letter.attempts) == ("KettleBoiled", "tea", 12)
    assert "no cup" in (letter.error or "")


async def of(kitchen: Kitchen, tenant: UUID) -> list[DeadLetter]:
    return [each for each in await dead_letters(kitchen.database, limit=100) if each.tenant_id == tenant]


async def test_a_dead_letter_that_is_tried_again_is_delivered_once(kitchen: Kitchen) -> None:
    tenant = new_id()
    kitchen.failures_left = 12
    await kitchen.boil(tenant)
    for _ in range(12):
        await kitchen.deliver_all()
    [letter] = await of(kitchen, tenant)
    kitchen.sent.clear()

    revived = await revive(kitchen.database, [letter.id])
    await kitchen.outbox.sweep()
    await kitchen.deliver_all()
    await kitchen.deliver_all()

    assert (revived, await of(kitchen, tenant), await kitchen.left(tenant)) == (1, [], [])
    assert len(kitchen.heard) == 1


async def test_another_tenant_cannot_take_a_delivery(kitchen: Kitchen) -> None:
    tenant = new_id()
    await kitchen.boil(tenant)

    ((delivery_id, _),) = kitchen.sent
    await kitchen.outbox.deliver(delivery_id, new_id())

    assert kitchen.heard == []
    assert await kitchen.left(tenant) == [(0, False)]


async def test_who_needs_what_was_said_before_waits_until_it_is_heard(kitchen: Kitchen) -> None:
    tenant_id = new_id()
    await kitchen.boil(tenant_id)
    waiting = asyncio.create_task(kitchen.outbox.caught_up(tenant_id, "tea", within_s=30))
    assert not await kitchen.outbox.caught_up(tenant_id, "tea", within_s=0.2)
    assert not waiting.done()
    assert await kitchen.outbox.caught_up(new_id(), "tea", within_s=30)
    await kitchen.deliver_all()
    assert await waiting


async def test_nobody_waits_for_what_failed(kitchen: Kitchen) -> None:
    tenant_id = new_id()
    await kitchen.boil(tenant_id)
    kitchen.failures_left = 1
    await kitchen.deliver_all()
    assert await kitchen.outbox.caught_up(tenant_id, "tea", within_s=30)
