"""The layers as one, over memory: promotion, invalidation, and one flight for identical calls."""

import asyncio
import time
from uuid import UUID, uuid4

import pytest
from tests.builders_llm_gateway import a_kept, a_request
from tests.fakes.llm_gateway_caches import MemoryDurableAnswers, MemoryLayer, MemorySharedAnswers, some_caches

from cognitionos.llm_gateway.application.cache import MOST_LEADERS, AnswerCaches, Ticket
from cognitionos.llm_gateway.application.cache_ports import CacheAsk
from cognitionos.llm_gateway.domain.cached import EVERYTHING, CacheWish, Kept
from cognitionos.llm_gateway.domain.errors import ProviderUnavailable

TENANT, KEY = uuid4(), "k"
WIRE = b'{"choices":[]}'


def an_ask(
    *,
    tenant: UUID = TENANT,
    key: str = KEY,
    wish: CacheWish | None = None,
    deadline_s: float = 5,
    flight: str = "",
    takes: frozenset[str] = frozenset(("openai/m", "second/m")),
) -> CacheAsk:
    wish = wish or CacheWish()
    return CacheAsk(
        tenant_id=tenant,
        project_id=uuid4(),
        key=key,
        request=a_request(deadline_s=deadline_s),
        model="openai/m",
        source="openai/m",
        scopes=(f"key:{key}", "model:openai/m", *(f"tag:{tag}" for tag in wish.tags)),
        wish=wish,
        flight=flight or uuid4().hex,
        takes=takes,
    )


async def lead(caches: AnswerCaches, ask: CacheAsk | None = None) -> Ticket:
    found = await caches.find(ask or an_ask())
    assert isinstance(found, Ticket)
    return found


async def hit(caches: AnswerCaches, ask: CacheAsk | None = None) -> Kept:
    found = await caches.find(ask or an_ask())
    assert isinstance(found, Kept)
    return found


async def settled() -> None:
    """Let everything that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_provider_s_answer_is_kept_in_every_layer() -> None:
    shared, durable, further = MemorySharedAnswers(), MemoryDurableAnswers(), MemoryLayer()
    caches = some_caches(shared, durable, further=(further,))

    ticket = await lead(caches)
    ticket.keep(WIRE, model="openai/m", cost_nanousd=7)
    ticket.close()

    found = await hit(caches)
    assert (found.wire, found.layer, found.cost_nanousd) == (WIRE, "exact", 7)
    assert durable.answers.keys() == {(TENANT, KEY)}
    assert further.put_keys == [KEY]
    assert shared.flights == {}


async def test_the_tags_of_whoever_got_an_answer_declare_it_void_too() -> None:
    shared, durable = MemorySharedAnswers(), MemoryDurableAnswers()
    caches, other_process = some_caches(shared, durable), some_caches(shared, durable)
    (await lead(caches, an_ask(wish=CacheWish(tags=("a",))))).keep(WIRE, model="openai/m", cost_nanousd=7)

    for _ in range(3):
        await hit(other_process, an_ask(wish=CacheWish(tags=("b",))))
    named = set(durable.names)
    await caches.voids.void(TENANT, ["tag:b"])

    assert named == {(TENANT, KEY, "tag:b")}
    for each in (caches, other_process):
        (await lead(each)).close()


async def test_the_tags_of_whoever_waited_for_an_answer_are_kept_with_it() -> None:
    durable = MemoryDurableAnswers()
    caches = some_caches(MemorySharedAnswers(), durable)
    ticket = await lead(caches, an_ask(wish=CacheWish(tags=("a",))))
    waiting = asyncio.create_task(hit(caches, an_ask(wish=CacheWish(tags=("b",)))))
    await settled()

    ticket.keep(WIRE, model="openai/m", cost_nanousd=7)
    await waiting

    assert {"tag:a", "tag:b"} <= set(durable.answers[TENANT, KEY].scopes)
    assert durable.names == set()


async def test_a_durable_answer_is_promoted_and_keeps_its_age_and_its_end() -> None:
    shared, durable = MemorySharedAnswers(), MemoryDurableAnswers()
    caches, born = some_caches(shared, durable), time.time() - 100
    durable.put(TENANT, KEY, a_kept(stored_at=born, expires_at=time.time() + 60))

    first, again = await hit(caches), await hit(caches)

    assert (first.layer, again.layer) == ("durable", "exact")
    assert (again.stored_at, again.expires_at) == (born, first.expires_at)


async def test_a_further_answer_is_promoted_under_the_new_key_and_can_be_voided_by_its_old_one() -> None:
    shared, durable = MemorySharedAnswers(), MemoryDurableAnswers()
    similar = MemoryLayer(a_kept(scopes=("key:old", "tag:t")))
    caches = some_caches(shared, durable, further=(similar,))

    first = await hit(caches)
    similar.answer = None
    again = await hit(caches)
    await caches.voids.void(TENANT, ["key:old"])

    assert (first.layer, first.similarity) == ("similar", 0.97)
    assert (again.layer, again.similarity) == ("exact", None)
    assert set(again.scopes) == {"key:old", "tag:t", f"key:{KEY}", "model:openai/m", "layer:similar"}
    assert similar.put_keys == []
    await lead(caches)


@pytest.mark.parametrize("scope", [f"key:{KEY}", "model:openai/m", "tag:t", EVERYTHING])
async def test_what_is_void_is_void_in_every_layer_and_process(scope: str) -> None:
    shared, durable, further = MemorySharedAnswers(), MemoryDurableAnswers(), MemoryLayer()
    here, there = (some_caches(shared, durable, further=(further,)) for _ in range(2))
    ticket = await lead(here, an_ask(wish=CacheWish(tags=("t",))))
    ticket.keep(WIRE, model="openai/m", cost_nanousd=7)
    further.answer = durable.answers[TENANT, KEY]
    await hit(there)

    await here.voids.void(TENANT, [scope])

    for caches in (here, there):
        (await lead(caches)).close()


async def test_other_scopes_and_other_tenants_stay() -> None:
    shared, durable, other = MemorySharedAnswers(), MemoryDurableAnswers(), uuid4()
    caches = some_caches(shared, durable)
    for tenant in (TENANT, other):
        (await lead(caches, an_ask(tenant=tenant))).keep(WIRE, model="openai/m", cost_nanousd=7)

    await caches.voids.void(TENANT, ["key:another", "tag:t", "model:n"])
    await caches.voids.void(uuid4(), [EVERYTHING])

    assert (await hit(caches)).layer == "exact"
    assert (await hit(caches, an_ask(tenant=other))).layer == "exact"


async def test_an_answer_asked_for_before_an_invalidation_is_given_to_nobody_who_came_after_it() -> None:
    shared, durable = MemorySharedAnswers(), MemoryDurableAnswers()
    caches = some_caches(shared, durable)
    early = await lead(caches)
    joined = asyncio.create_task(caches.find(an_ask()))
    await settled()

    await caches.voids.void(TENANT, ["model:openai/m"])
    late = await lead(caches)
    early.keep(b"stale", model="openai/m", cost_nanousd=7)
    late.keep(WIRE, model="openai/m", cost_nanousd=7)

    found = await joined
    assert isinstance(found, Kept)
    assert found.wire == WIRE
    assert (await hit(caches)).wire == WIRE


async def test_identical_calls_of_two_processes_wait_for_one_of_them() -> None:
    shared, durable = MemorySharedAnswers(), MemoryDurableAnswers()
    here, there = some_caches(shared, durable), some_caches(shared, durable)
    ticket = await lead(here)

    waiting = [asyncio.create_task(caches.find(an_ask())) for caches in (here, there) for _ in range(10)]
    await settled()
    assert not any(each.done() for each in waiting)
    ticket.keep(WIRE, model="openai/m", cost_nanousd=7)

    found = await asyncio.gather(*waiting)
    assert {each.layer for each in found if isinstance(each, Kept)} == {"coalesced"}
    assert len([each for each in found if isinstance(each, Kept)]) == 20
    assert shared.looks < 10


async def test_after_a_failure_one_other_leads_and_after_some_nobody_waits_any_more() -> None:
    caches = some_caches()
    first = await lead(caches)
    waiting = {asyncio.create_task(caches.find(an_ask())) for _ in range(10)}
    await settled()

    first.close()
    for failures in range(1, MOST_LEADERS):
        await settled()
        led = [each for each in waiting if each.done()]
        assert len(led) == 1, failures
        waiting -= set(led)
        ticket = led[0].result()
        assert isinstance(ticket, Ticket)
        ticket.close()

    left = await asyncio.gather(*waiting)
    assert all(isinstance(each, Ticket) for each in left)
    assert len(left) == 10 - MOST_LEADERS + 1


async def test_what_may_not_be_shared_is_waited_for_by_nobody() -> None:
    shared = MemorySharedAnswers()
    here, there = some_caches(shared), some_caches(shared)
    ticket = await lead(here)
    waiting = [asyncio.create_task(caches.find(an_ask())) for caches in (here, there) for _ in range(3)]
    await settled()

    ticket.everybodys()

    found = await asyncio.gather(*waiting)
    assert all(isinstance(each, Ticket) for each in found)


async def test_what_may_not_be_kept_is_for_those_who_wait_in_any_process_and_leaves_no_trace() -> None:
    shared, durable = MemorySharedAnswers(), MemoryDurableAnswers()
    here, there = some_caches(shared, durable), some_caches(shared, durable)
    ticket = await lead(here)
    waiting = [asyncio.create_task(caches.find(an_ask())) for caches in (here, there) for _ in range(3)]
    await settled()

    ticket.give(WIRE, model="second/m", cost_nanousd=7)
    ticket.close()

    found = await asyncio.gather(*waiting)
    assert {(each.layer, each.model) for each in found if isinstance(each, Kept)} == {("coalesced", "second/m")}
    assert len([each for each in found if isinstance(each, Kept)]) == 6
    assert (shared.answers, shared.flights, durable.answers) == ({}, {}, {})
    (await lead(there)).close()


async def test_an_answer_of_a_model_that_is_not_of_ones_own_route_is_not_taken() -> None:
    shared = MemorySharedAnswers()
    here, there = some_caches(shared), some_caches(shared)
    ticket = await lead(here)
    only_first = frozenset({"openai/m"})
    waiting = [asyncio.create_task(caches.find(an_ask(takes=only_first))) for caches in (here, there)]
    await settled()

    ticket.give(WIRE, model="second/m", cost_nanousd=7)

    assert all(isinstance(each, Ticket) for each in await asyncio.gather(*waiting))


async def test_who_waits_waits_no_longer_than_its_deadline() -> None:
    shared = MemorySharedAnswers()
    here, there = some_caches(shared), some_caches(shared)
    ticket = await lead(here)

    for caches in (here, there):
        with pytest.raises(ProviderUnavailable, match="deadline"):
            await caches.find(an_ask(deadline_s=0.05))
    ticket.keep(WIRE, model="openai/m", cost_nanousd=7)

    assert (await hit(there)).wire == WIRE


async def test_a_call_that_has_said_nothing_for_long_is_not_joined_and_one_asks_for_all() -> None:
    caches = some_caches()
    silent = await lead(caches)
    assert silent.flight is not None
    silent.flight.since -= caches.patience_s

    first, *others = [asyncio.create_task(caches.find(an_ask())) for _ in range(4)]
    ticket = await first
    assert isinstance(ticket, Ticket)
    ticket.give(WIRE, model="openai/m", cost_nanousd=7)
    ticket.close()

    assert [isinstance(found, Kept) for found in await asyncio.gather(*others)] == [True] * 3
    silent.keep(WIRE, model="openai/m", cost_nanousd=7)
    assert (await hit(caches)).wire == WIRE


async def test_a_cancelled_look_leaves_the_turn_to_others() -> None:
    shared = MemorySharedAnswers()
    here, there = some_caches(shared), some_caches(shared)
    ticket = await lead(here)
    waiting = asyncio.create_task(there.find(an_ask()))
    await settled()

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    ticket.close()

    (await lead(there)).close()
    assert shared.flights == {}


async def test_wishes_are_kept_to() -> None:
    shared, durable = MemorySharedAnswers(), MemoryDurableAnswers()
    caches, now = some_caches(shared, durable), time.time()
    shared.keep(TENANT, KEY, a_kept(stored_at=now - 50), flight=None)

    (await lead(caches, an_ask(wish=CacheWish(look=False)))).close()
    (await lead(caches, an_ask(wish=CacheWish(max_age_s=49)))).close()
    assert (await hit(caches, an_ask(wish=CacheWish(max_age_s=60)))).layer == "exact"
    unkept = await lead(caches, an_ask(key="unkept", wish=CacheWish(keep=False)))
    unkept.keep(WIRE, model="openai/m", cost_nanousd=7)
    short = await lead(caches, an_ask(key="short", wish=CacheWish(ttl_s=10)))
    short.keep(WIRE, model="openai/m", cost_nanousd=7)

    assert (TENANT, "unkept") not in shared.answers
    assert shared.answers[TENANT, "short"].expires_at - time.time() <= 10
    assert durable.answers[TENANT, "short"].expires_at - time.time() <= 10


async def test_what_a_further_layer_lends_is_kept_as_the_request_wishes() -> None:
    shared, durable = MemorySharedAnswers(), MemoryDurableAnswers()
    caches = some_caches(shared, durable, further=(MemoryLayer(a_kept(scopes=("key:old",))),))

    await hit(caches, an_ask(key="unkept", wish=CacheWish(keep=False)))
    await hit(caches, an_ask(key="short", wish=CacheWish(ttl_s=10)))

    assert [*shared.answers] == [*durable.answers] == [(TENANT, "short")]
    assert durable.answers[TENANT, "short"].expires_at - time.time() <= 10


async def test_without_the_shared_layer_the_durable_one_answers_and_this_process_waits_for_itself() -> None:
    durable = MemoryDurableAnswers()
    caches = some_caches(MemorySharedAnswers(reached=False), durable)
    ticket = await lead(caches)
    waiting = [asyncio.create_task(caches.find(an_ask())) for _ in range(3)]
    await settled()

    ticket.keep(WIRE, model="openai/m", cost_nanousd=7)

    assert {each.layer for each in await asyncio.gather(*waiting) if isinstance(each, Kept)} == {"coalesced"}
    assert (await hit(caches)).layer == "durable"


async def test_a_plain_call_asks_the_durable_layer_only_where_it_may_have_something() -> None:
    durable = MemoryDurableAnswers()
    caches = some_caches(MemorySharedAnswers(), durable)

    for number in range(5):
        (await lead(caches, an_ask(key=f"new {number}"))).close()

    assert durable.asked <= 1  # the first: nobody had said yet that there is nothing
