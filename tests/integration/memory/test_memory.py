"""Memory as the product wires it: the gateway's local embedder, the outbox, erasure."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest
from prometheus_client import REGISTRY
from tests.conftest import Run
from tests.fakes.memory_embedder import FakeEmbedder
from tests.servers import TestDatabase

from cognitionos.composition import base as platform
from cognitionos.composition import llm_gateway, memory
from cognitionos.composition.base import Base
from cognitionos.composition.memory import MemoryServices
from cognitionos.events.planning import RunFinished
from cognitionos.kernel.ids import new_id
from cognitionos.memory.application.ports import Scope
from cognitionos.memory.application.remember import NewMemory
from cognitionos.memory.domain.item import MemoryKind, MemoryNotFound
from cognitionos.memory.infrastructure.repository import MemoryWork
from cognitionos.platform.bus import Bus, Delivery
from cognitionos.platform.config import Settings
from cognitionos.platform.outbox import AlreadyDelivered
from cognitionos.platform.unit_of_work import units_of_work


class Wired(NamedTuple):
    base: Base
    services: MemoryServices


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Wired]:
    base = platform.build(settings)
    gateway = llm_gateway.build(base)
    services = memory.build(base, gateway.gateway)
    for subscription in services.subscriptions:
        base.bus.subscribe(subscription.event_type, subscription.name, subscription.handle)
    resources = (*base.resources, *gateway.resources, *services.resources)
    for resource in resources:
        await resource.open()
    yield Wired(base, services)
    for resource in reversed(resources):
        await resource.close()
    await base.redis.aclose()


@pytest.fixture(scope="module")
def wired(settings: Settings, run: Run) -> Iterator[Wired]:
    context = opened(settings)
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


def a_scope() -> Scope:
    return Scope(tenant_id=uuid4(), project_id=uuid4())


async def contents(wired: Wired, scope: Scope, query: str) -> list[str]:
    return [each.item.content for each in (await wired.services.recall.recall(scope, query)).found]


async def test_the_local_model_finds_by_meaning_what_shares_no_word(wired: Wired) -> None:
    scope = a_scope()
    for content in ("The physician prescribed antibiotics", "The car needs new tyres", "Revenue grew by a tenth"):
        await wired.services.remember.remember(scope, NewMemory(content=content))

    answer = await wired.services.recall.recall(scope, "what medicine did the doctor give")

    assert not answer.degraded
    assert answer.found[0].item.content == "The physician prescribed antibiotics"
    assert answer.found[0].rank.text == 0


async def test_a_finished_run_is_consolidated_once_though_it_is_delivered_twice(
    wired: Wired, database: TestDatabase
) -> None:
    scope = a_scope()
    event = RunFinished(
        tenant_id=scope.tenant_id,
        at=datetime.now(UTC),
        project_id=scope.project_id,
        goal_id=uuid4(),
        run_id=uuid4(),
        status="succeeded",
        statement="Compare the suppliers",
        result_text="Nordwind is the cheapest at 12,400 EUR a year.",
    )
    begin = units_of_work(MemoryWork, database=wired.base.database, bus=wired.base.bus, relay=wired.base.outbox)
    async with begin(scope.tenant_id) as work:
        work.publish(event)
    [delivery_id] = outbox_rows(database, scope.tenant_id)

    await wired.base.outbox.deliver(delivery_id, scope.tenant_id)
    [summary] = [
        each
        for each in (await wired.services.recall.recall(scope, "which supplier")).found
        if each.item.kind is MemoryKind.SUMMARY
    ]
    await wired.services.remember.forget(scope, summary.item.id)
    await wired.base.outbox.deliver(delivery_id, scope.tenant_id)

    assert outbox_rows(database, scope.tenant_id) == []
    assert await contents(wired, scope, "which supplier") == ["Nordwind is the cheapest at 12,400 EUR a year."]
    assert summary.item.source.run_id == event.run_id


async def test_a_delivery_that_another_worker_settled_has_no_effect(wired: Wired) -> None:
    scope = a_scope()
    [subscription] = wired.services.subscriptions
    event = RunFinished(
        tenant_id=scope.tenant_id,
        at=datetime.now(UTC),
        project_id=scope.project_id,
        run_id=uuid4(),
        status="succeeded",
        statement="Twice",
        result_text="It was measured 3 times by two workers.",
    )
    settled_elsewhere = Delivery(id=new_id(), tenant_id=scope.tenant_id, attempt=1)

    with pytest.raises(AlreadyDelivered):
        await subscription.handle(event, settled_elsewhere)

    assert await contents(wired, scope, "measured") == []


async def test_a_forgotten_memory_is_in_no_table_of_the_database(wired: Wired, database: TestDatabase) -> None:
    scope = a_scope()
    secret = "Axolotl-4711 sleeps in the blue tank"
    kept = await wired.services.remember.remember(scope, NewMemory(content=secret))

    await wired.services.remember.forget(scope, kept.item.id)

    assert await contents(wired, scope, secret) == []
    with psycopg.connect(database.admin_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            found = connection.execute(
                f"SELECT count(*) FROM {table} t WHERE t::text ILIKE ANY (%s)".encode(),
                (["%axolotl%", f"%{kept.item.id}%"],),
            ).fetchone()
            assert found == (0,), table


async def test_the_backfill_serves_every_tenant_and_takes_each_memory_once(wired: Wired) -> None:
    embedder = FakeEmbedder()
    services = memory.build_with(replace(wired.base, bus=Bus()), embedder)
    [backfill] = services.background
    one, other = a_scope(), a_scope()
    embedder.down = True
    for scope in (one, other):
        await services.remember.remember(scope, NewMemory(content=f"The automobile of {scope.project_id}"))
    embedder.down = False

    filled, again = await backfill.fill(), await backfill.fill()  # type: ignore[attr-defined]

    assert (filled, again) == (2, 0)
    for scope in (one, other):
        answer = await services.recall.recall(scope, "vehicle")
        assert [each.rank.dense is not None for each in answer.found] == [True]


async def test_a_memory_belongs_to_its_project_and_to_nobody_else(wired: Wired) -> None:
    scope = a_scope()
    kept = await wired.services.remember.remember(scope, NewMemory(content="The recipe needs saffron"))
    strangers = [replace(scope, tenant_id=uuid4()), replace(scope, project_id=uuid4())]

    for stranger in strangers:
        assert await contents(wired, stranger, "saffron recipe") == []
        with pytest.raises(MemoryNotFound):
            await wired.services.remember.forget(stranger, kept.item.id)


def outbox_rows(database: TestDatabase, tenant_id: UUID) -> list[UUID]:
    with psycopg.connect(database.admin_url) as connection:
        rows = connection.execute("SELECT id FROM outbox WHERE tenant_id = %s", (tenant_id,)).fetchall()
    return [row[0] for row in rows]


async def test_the_metrics_count_what_was_written_and_how_was_searched(wired: Wired) -> None:
    def read(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    def figures() -> tuple[float, float, float]:
        return (
            read("cognitionos_memory_items_written_total", kind="fact"),
            read("cognitionos_memory_searches_total", path="exact"),
            read("cognitionos_memory_search_seconds_count"),
        )

    before = figures()
    scope = a_scope()

    await wired.services.remember.remember(scope, NewMemory(content="Counted", kind=MemoryKind.FACT))
    await wired.services.recall.recall(scope, "counted")

    assert [after - earlier for after, earlier in zip(figures(), before, strict=True)] == [1, 1, 1]
