"""One suite for each store of the caches: its twin in memory, and Redis or PostgreSQL."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from tests.builders_llm_gateway import a_kept
from tests.conftest import Run
from tests.fakes.llm_gateway_caches import MemoryDurableAnswers, MemorySharedAnswers
from tests.waiting import eventually

from cognitionos.llm_gateway.application.cache_ports import Look, Turn
from cognitionos.llm_gateway.application.single_flight import NotShared
from cognitionos.llm_gateway.domain.cached import EVERYTHING, Kept, Voided
from cognitionos.llm_gateway.infrastructure.durable_cache import MOST_SCOPES, DurableCache
from cognitionos.llm_gateway.infrastructure.exact_cache import LARGEST_BYTES, ExactCache
from cognitionos.platform.database import Database
from cognitionos.platform.redis import open_redis
from cognitionos.platform.redis_scripts import RedisScripts

KEY = "k" * 32


@dataclass
class Shared:
    """A shared store as two processes see it."""

    here: MemorySharedAnswers | ExactCache
    there: MemorySharedAnswers | ExactCache

    async def look(self, tenant: UUID, *, flight: str | None = None, void: int | None = None) -> Look:
        await self.here.stored()
        return await self.here.look(tenant, KEY, flight=flight, void=void)


@asynccontextmanager
async def a_process(url: str) -> AsyncIterator[ExactCache]:
    client = open_redis(url)
    scripts = RedisScripts(client)
    cache = ExactCache(scripts, durable_s=3600)
    yield cache
    await cache.close()
    await scripts.close()
    await client.aclose()


@pytest.fixture(params=["memory", "redis"])
def shared(request: pytest.FixtureRequest, redis_url: str, run: Run) -> Iterator[Shared]:
    if request.param == "memory":
        one = MemorySharedAnswers()
        yield Shared(one, one)
        return
    here, there = a_process(redis_url), a_process(redis_url)
    yield Shared(run(here.__aenter__()), run(there.__aenter__()))
    run(here.__aexit__(None, None, None))
    run(there.__aexit__(None, None, None))


@pytest.fixture(params=["memory", "postgres"])
def durable(request: pytest.FixtureRequest, open_database: Database) -> MemoryDurableAnswers | DurableCache:
    return MemoryDurableAnswers() if request.param == "memory" else DurableCache(open_database)


def same(kept: Kept | None, other: Kept) -> bool:
    """Whether it is that answer, wherever it was found and however long it lives there."""
    return kept is not None and replace(kept, layer="", expires_at=other.expires_at) == other


async def test_an_answer_is_found_again_by_its_own_tenant_only(shared: Shared) -> None:
    tenant, other, kept = uuid4(), uuid4(), a_kept()

    shared.here.keep(tenant, KEY, kept, flight=None)

    found = (await shared.look(tenant)).kept
    assert same(found, kept)
    assert found is not None
    assert found.layer == "exact"
    assert 0 < found.expires_at - time.time() <= 300
    assert (await shared.look(other)).kept is None


async def test_an_answer_does_not_outlive_its_wish(shared: Shared) -> None:
    tenant = uuid4()

    shared.here.keep(tenant, KEY, a_kept(expires_at=time.time() + 0.05), flight=None)
    await shared.here.stored()

    await eventually(lambda: _is_gone(shared, tenant))


async def _is_gone(shared: Shared, tenant: UUID) -> bool:
    return (await shared.look(tenant)).kept is None


async def test_one_of_many_has_the_turn_and_the_others_know_whose_it_is(shared: Shared) -> None:
    tenant, kept = uuid4(), a_kept()

    first = await shared.look(tenant, flight="one")
    second = await shared.there.look(tenant, KEY, flight="two")
    third = await shared.look(tenant)
    again = await shared.there.look(tenant, KEY, flight="two")
    shared.here.keep(tenant, KEY, kept, flight="one")
    await shared.here.stored()

    assert [each.turn for each in (first, second, third, again)] == [
        Turn.MINE,
        Turn.ANOTHERS,
        Turn.NOBODY,
        Turn.ANOTHERS,
    ]
    assert [each.leader for each in (first, second, third, again)] == ["", "one", "", "one"]
    assert same((await shared.there.look(tenant, KEY, flight="two")).kept, kept)


async def test_what_is_given_ends_the_flight_and_is_kept_nowhere(shared: Shared) -> None:
    tenant = uuid4()

    first = await shared.look(tenant, flight="one")
    second = await shared.there.look(tenant, KEY, flight="two")
    shared.here.give(tenant, KEY, a_kept(), flight="one")
    third = await shared.look(tenant, flight="three")

    assert [each.turn for each in (first, second, third)] == [Turn.MINE, Turn.ANOTHERS, Turn.MINE]
    assert third.kept is None


async def test_a_flight_that_brings_nothing_gives_the_turn_to_another(shared: Shared) -> None:
    tenant = uuid4()
    await shared.look(tenant, flight="one")

    shared.here.end(tenant, KEY, "someone else's", NotShared.FAILED)
    held = await shared.look(tenant, flight="two")
    shared.here.end(tenant, KEY, "one", NotShared.FAILED)
    free = await shared.look(tenant, flight="two")

    assert (held.turn, free.turn) == (Turn.ANOTHERS, Turn.MINE)


async def test_after_an_answer_that_is_not_shared_nobody_waits(shared: Shared) -> None:
    tenant = uuid4()
    await shared.look(tenant, flight="one")

    shared.here.end(tenant, KEY, "one", NotShared.ALONE)

    assert (await shared.look(tenant, flight="two")).turn is Turn.EVERYBODYS


async def test_after_an_invalidation_an_older_flight_is_not_waited_for_and_brings_nothing(shared: Shared) -> None:
    tenant = uuid4()
    await shared.here.tell(tenant, 1, nothing_deeper=True)
    await shared.look(tenant, flight="old")
    await shared.here.tell(tenant, 2, nothing_deeper=False)

    newer = await shared.there.look(tenant, KEY, flight="new")
    shared.here.keep(tenant, KEY, a_kept(epoch=1), flight="old")
    after = await shared.look(tenant, flight="third")
    shared.there.keep(tenant, KEY, a_kept("fresh", epoch=2), flight="new")
    await shared.there.stored()

    assert (newer.turn, newer.epoch) == (Turn.MINE, 2)
    assert (after.kept, after.turn) == (None, Turn.ANOTHERS)
    found = (await shared.look(tenant)).kept
    assert found is not None
    assert (found.epoch, b"fresh" in found.wire) == (2, True)


async def test_an_answer_of_a_void_epoch_is_passed_over(shared: Shared) -> None:
    tenant = uuid4()
    shared.here.keep(tenant, KEY, a_kept(epoch=3), flight=None)

    look = await shared.look(tenant, flight="one", void=3)

    assert (look.kept, look.turn) == (None, Turn.MINE)
    assert (await shared.look(tenant, flight="two", void=2)).kept is not None


async def test_the_number_of_invalidations_only_grows(shared: Shared) -> None:
    tenant = uuid4()
    unknown = await shared.look(tenant)

    await shared.here.tell(tenant, 5, nothing_deeper=False)
    await shared.there.tell(tenant, 4, nothing_deeper=False)

    assert unknown.epoch is None
    assert (await shared.look(tenant)).epoch == 5


async def test_the_durable_layer_is_asked_only_where_it_may_have_something(shared: Shared) -> None:
    new, old = uuid4(), uuid4()
    unsaid = await shared.look(new)
    await shared.here.tell(new, 0, nothing_deeper=True)
    await shared.here.tell(old, 0, nothing_deeper=False)

    nothing = await shared.look(new)
    shared.here.keep(new, KEY, a_kept(expires_at=time.time() + 60), flight=None)
    marked = await shared.look(new, void=0)

    assert (unsaid.deeper, nothing.deeper, marked.deeper) == (True, False, True)
    assert (await shared.look(old)).deeper is True


async def test_a_flight_lives_on_while_its_process_does_and_ends_with_it(redis_url: str) -> None:
    tenant = uuid4()
    async with a_process(redis_url) as other, Redis.from_url(redis_url) as client:
        async with a_process(redis_url) as mine:
            await mine.look(tenant, KEY, flight="one")
            name = f"cognitionos:flight:{tenant}:{KEY}"
            await client.pexpire(name, 1500)

            await eventually(lambda: _lives(client, name, beyond_ms=1600))
            assert (await other.look(tenant, KEY, flight="two")).turn is Turn.ANOTHERS

        await client.pexpire(name, 1)  # its process is gone, nobody renews it
        await eventually(lambda: _is_ours(other, tenant))


async def _lives(client: Redis, name: str, *, beyond_ms: int) -> bool:
    return bool(await client.pttl(name) > beyond_ms)


async def _is_ours(cache: ExactCache, tenant: UUID) -> bool:
    return (await cache.look(tenant, KEY, flight="two")).turn is Turn.MINE


async def test_without_redis_there_is_no_cache_and_no_error() -> None:
    async with a_process("redis://127.0.0.1:1/0") as cache:
        cache.keep(uuid4(), KEY, a_kept(), flight="one")
        cache.end(uuid4(), KEY, "one", NotShared.FAILED)
        await cache.tell(uuid4(), 1, nothing_deeper=True)
        await cache.stored()

        look = await cache.look(uuid4(), KEY, flight="one")

    assert (look.kept, look.reached, look.turn, look.deeper) == (None, False, Turn.NOBODY, True)


async def test_answers_without_a_mark_are_looked_for_once_redis_is_back(redis_url: str) -> None:
    tenant = uuid4()
    async with a_process(redis_url) as cache:
        await cache.tell(tenant, 0, nothing_deeper=True)
        assert (await cache.look(tenant, KEY, flight=None)).deeper is False
        cache._rest()
        cache.keep(tenant, KEY, a_kept(), flight=None)
        cache._rest_until = 0.0

        look = await cache.look(tenant, KEY, flight=None)

    assert (look.epoch, look.deeper) == (None, True)


async def test_a_very_large_answer_is_not_kept_and_its_flight_ends(redis_url: str) -> None:
    tenant = uuid4()
    async with a_process(redis_url) as cache:
        await cache.look(tenant, KEY, flight="one")

        cache.keep(tenant, KEY, a_kept("x" * LARGEST_BYTES), flight="one")
        await cache.stored()

        look = await cache.look(tenant, KEY, flight="two")
    assert (look.kept, look.turn) == (None, Turn.MINE)


async def test_a_durable_answer_is_found_by_its_own_tenant_only(durable: MemoryDurableAnswers | DurableCache) -> None:
    tenant, other, older = uuid4(), uuid4(), a_kept("older")
    kept = a_kept(scopes=("key:K", "tag:über\0", "model:m"))

    durable.put(tenant, KEY, older)
    durable.put(tenant, KEY, kept)
    await durable.stored()

    found, epoch = await durable.get(tenant, KEY)
    assert same(found, kept)
    assert (found.layer if found else "", epoch) == ("durable", 0)
    assert await durable.get(other, KEY) == (None, 0)
    assert await durable.get(tenant, "other") == (None, 0)
    assert await durable.voided(tenant) == (Voided(), True)
    assert await durable.voided(other) == (Voided(), False)


async def test_what_is_declared_void_is_counted_and_deleted(durable: MemoryDurableAnswers | DurableCache) -> None:
    tenant, other = uuid4(), uuid4()
    for name in ("a", "b", "c"):
        durable.put(tenant, name, a_kept(scopes=(f"key:{name}", f"tag:{name}", "model:m")))
    durable.put(other, "a", a_kept(scopes=("tag:a",)))
    await durable.stored()

    first = await durable.void(tenant, ["tag:a", "tag:z", "tag:a"])
    second = await durable.void(tenant, [EVERYTHING])

    assert first == (Voided(epoch=1, by_scope={"tag:a": 1, "tag:z": 1}), 1)
    assert second == (Voided(epoch=2, by_scope={"tag:a": 1, "tag:z": 1, EVERYTHING: 2}), 2)
    assert (await durable.get(other, "a"))[0] is not None


async def test_an_answer_never_goes_back_to_an_older_epoch(durable: MemoryDurableAnswers | DurableCache) -> None:
    tenant, newer = uuid4(), a_kept("newer", epoch=2)

    durable.put(tenant, KEY, newer)
    await durable.stored()
    durable.put(tenant, KEY, a_kept("older", epoch=1))
    await durable.stored()

    assert same((await durable.get(tenant, KEY))[0], newer)


async def test_the_sweep_deletes_what_expired_and_the_oldest_beyond_the_bound(open_database: Database) -> None:
    tenant, cache, now = uuid4(), DurableCache(open_database), time.time()
    for age in range(4):
        cache.put(tenant, f"age-{age}", a_kept("x" * 1000, stored_at=now - age))
    cache.put(tenant, "expired", a_kept(expires_at=now - 1))
    await cache.void(uuid4(), ["tag:a"])
    await cache.stored()
    everything = await cache.sweep(2**40)
    assert everything is not None

    bounded = await cache.sweep(2500)

    assert bounded is not None
    assert bounded.bytes <= 2500
    assert (await cache.get(tenant, "age-0"))[0] is not None
    assert [(await cache.get(tenant, name))[0] for name in ("age-3", "expired")] == [None, None]


async def test_words_that_an_answer_was_given_later_declare_it_void_for_its_own_tenant(
    durable: MemoryDurableAnswers | DurableCache,
) -> None:
    tenant, other, kept = uuid4(), uuid4(), a_kept(scopes=(f"key:{KEY}",))
    for each in (tenant, other):
        durable.put(each, KEY, kept)
        await durable.name(each, KEY, {"tag:later", "model:route"})
    await durable.stored()

    voided, deleted = await durable.void(tenant, ["tag:later"])
    unmoved, _ = await durable.void(other, ["tag:another"])

    assert (voided.allows(kept), deleted) == (False, 1)
    assert unmoved.allows(kept)
    assert (await durable.get(tenant, KEY))[0] is None
    assert (await durable.get(other, KEY))[0] is not None


async def test_too_many_voided_words_void_everything(open_database: Database) -> None:
    tenant, cache = uuid4(), DurableCache(open_database)
    await cache.void(tenant, [f"tag:{number}" for number in range(MOST_SCOPES + 1)])

    voided, _ = await cache.void(tenant, ["tag:one more"])

    assert voided == Voided(epoch=2, by_scope={EVERYTHING: 2, "tag:one more": 2})


async def test_without_a_database_nothing_is_found_and_nothing_raised() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none?connect_timeout=1", pool_size=2)
    cache = DurableCache(database)

    cache.put(uuid4(), KEY, a_kept())
    await cache.stored()

    assert await cache.get(uuid4(), KEY) == (None, None)
    assert await cache.voided(uuid4()) is None
