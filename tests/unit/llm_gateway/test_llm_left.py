"""However a call ends, whoever leaves and whatever fails meanwhile: it is booked, and nothing of it stays held."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from tests.builders_llm_gateway import a_request
from tests.fakes.llm_gateway_provider import ScriptedProvider
from tests.fakes.llm_gateway_stores import MemoryBudgetStore, MemoryPrices
from tests.unit.llm_gateway.test_llm_steps import CALLER, COST, GOAL, Bench
from tests.waiting import eventually

from cognitionos.kernel.errors import Unavailable
from cognitionos.llm_gateway.application.ports import Answer, Vectors
from cognitionos.llm_gateway.domain.budget import Held, Hold
from cognitionos.llm_gateway.domain.chat import ChatRequest, Text
from cognitionos.llm_gateway.domain.errors import ProviderFailure, StreamBroken
from cognitionos.llm_gateway.domain.ledger import Call
from cognitionos.llm_gateway.domain.price import Price
from cognitionos.llm_gateway.domain.route import Candidate


@dataclass
class SlowStore(MemoryBudgetStore):
    """Settles once `gate` is set, whoever has stopped waiting; `settling` counts."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    settling: int = 0

    def settle(self, call: Call) -> Awaitable[None]:  # type: ignore[override]
        self.settling += 1
        return asyncio.shield(asyncio.ensure_future(self._settle(call)))

    async def _settle(self, call: Call) -> None:
        await self.gate.wait()
        await super().settle(call)


@dataclass
class ForgetfulPrices(MemoryPrices):
    """Tells each price once: after that the database is gone."""

    asked: int = 0

    async def price(self, tenant_id: UUID, candidate: Candidate) -> Price | None:
        self.asked += 1
        if self.asked > 1:
            raise Unavailable("the database does not answer")
        return await super().price(tenant_id, candidate)


@dataclass
class ThinkingProvider(ScriptedProvider):
    """Takes some turns of the loop to answer."""

    calls: int = 0

    async def chat(self, request: ChatRequest, *, model: str) -> Answer:
        await self._think()
        return await super().chat(request, model=model)

    async def embed(self, texts: Sequence[Text], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        await self._think()
        return await super().embed(texts, model=model, extra=extra)

    async def _think(self) -> None:
        self.calls += 1
        for _ in range(3):
            await asyncio.sleep(0)


@dataclass
class GatedProvider(ScriptedProvider):
    """Answers once `gate` is set."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0

    async def chat(self, request: ChatRequest, *, model: str) -> Answer:
        self.calls += 1
        await self.gate.wait()
        return await super().chat(request, model=model)


@dataclass
class CutStore(MemoryBudgetStore):
    """Holds, but the answer that it did is lost on the way."""

    async def hold(self, hold: Hold) -> Held:
        await super().hold(hold)
        raise Unavailable("the database does not answer")


async def whole(bench: Bench) -> None:
    await bench.completion.complete(CALLER, a_request())


async def streamed(bench: Bench) -> None:
    stream = await bench.streaming.open(CALLER, a_request())
    try:
        async for _ in stream.events:
            pass
    finally:
        await stream.events.aclose()


async def embedded(bench: Bench) -> None:
    await bench.embedding.embed(CALLER, ["a text", "another"], model="first/m")


async def broken(bench: Bench) -> None:
    stream = await bench.streaming.open(CALLER, a_request())
    await anext(stream.events)
    with pytest.raises(StreamBroken):
        await stream.events.athrow(ProviderFailure("cut"))


Asking = Callable[[Bench], Coroutine[Any, Any, None]]


async def left_once_sent(provider: GatedProvider) -> Bench:
    """Whose only call is with the provider when its asker is cancelled."""
    bench = Bench(fallback=False, first=provider)
    await bench.budget(1_000_000_000)
    asking = asyncio.create_task(bench.completion.to_the_end(CALLER, a_request()))
    await eventually(lambda: provider.calls)
    asking.cancel()
    await asyncio.wait({asking})
    assert asking.cancelled()
    return bench


async def test_a_call_whose_asker_is_cancelled_goes_on_once_it_was_sent_and_is_booked_at_what_it_came_to() -> None:
    provider = GatedProvider("first")
    bench = await left_once_sent(provider)

    provider.gate.set()
    await eventually(lambda: bool(bench.store.ledger))

    assert (bench.row.outcome, bench.row.usage.estimated, bench.row.cost_nanousd) == ("ok", False, COST)
    assert bench.store.holds == {}


async def test_a_call_whose_asker_is_cancelled_before_it_was_sent_is_not_made() -> None:
    provider = GatedProvider("first")
    bench = Bench(fallback=False, first=provider)
    await bench.budget(1)
    asking = asyncio.create_task(bench.completion.to_the_end(CALLER, a_request()))
    await asyncio.sleep(0)

    asking.cancel()
    await asyncio.wait({asking})
    await bench.completion.close()
    await bench.budgets.settled()

    assert provider.calls == 0
    assert bench.store.holds == {}


async def test_calls_that_go_on_for_nobody_are_stopped_with_their_process_and_booked() -> None:
    bench = await left_once_sent(GatedProvider("first"))

    await bench.completion.close()
    await bench.budgets.settled()

    assert (bench.row.outcome, bench.row.usage.estimated) == ("aborted", True)
    assert bench.store.holds == {}


@pytest.mark.parametrize("asking", [whole, streamed, embedded, broken])
async def test_a_call_that_is_left_while_it_is_booked_is_booked_all_the_same(asking: Asking) -> None:
    store = SlowStore()
    bench = Bench(fallback=False, store=store)
    await bench.budget(1_000_000_000)
    task = asyncio.create_task(asking(bench))
    await eventually(lambda: store.settling == 1)

    task.cancel()
    await asyncio.wait({task})
    store.gate.set()
    await bench.budgets.settled()
    await eventually(lambda: store.holds == {})

    assert task.cancelled()
    assert bench.row.outcome == ("error" if asking is broken else "ok")
    assert bench.row.cost_nanousd > 0 or asking is broken
    assert (await bench.store.spend(CALLER.tenant_id, GOAL)).held_nanousd == 0
    assert bench.completion.attempts.deployments.has_place("first/m")


@pytest.mark.parametrize("asking", [whole, streamed, embedded])
async def test_a_call_that_is_left_at_any_of_its_steps_leaves_nothing_held(asking: Asking) -> None:
    """Cancelled after so many turns of the loop, from before its first step to after its last."""
    left = 0
    for turns in range(200):
        provider = ThinkingProvider("first")
        bench = Bench(fallback=False, first=provider)
        await bench.budget(1_000_000_000)
        task = asyncio.create_task(asking(bench))
        for _ in range(turns):
            await asyncio.sleep(0)
        is_over = task.done()

        task.cancel()
        await asyncio.wait({task})
        await bench.budgets.settled()
        await eventually(lambda bench=bench: bench.store.holds == {})

        sent = [row for row in bench.store.ledger.values() if row.attempts]
        assert len(sent) == provider.calls, f"left after {turns} turns"
        assert all(row.cost_nanousd for row in sent)
        assert bench.completion.attempts.deployments.has_place("first/m")
        if is_over:
            break
        left += 1

    assert is_over
    assert left >= 5


@pytest.mark.parametrize("asking", [whole, streamed, embedded])
async def test_an_answer_is_booked_by_the_price_it_was_held_at_though_nobody_tells_prices_any_more(
    asking: Asking,
) -> None:
    bench = Bench(fallback=False)
    bench.budgets.prices = ForgetfulPrices(bench.prices)  # type: ignore[arg-type]
    await bench.budget(1_000_000_000)

    await asking(bench)

    assert (bench.row.outcome, bench.row.priced) == ("ok", True)
    assert bench.row.cost_nanousd == COST or asking is embedded
    assert bench.store.holds == {}


async def test_a_hold_that_nobody_heard_of_is_given_back() -> None:
    store = CutStore()
    bench = Bench(fallback=False, store=store)
    await bench.budget(1_000_000_000)

    with pytest.raises(Unavailable):
        await whole(bench)
    await bench.budgets.settled()

    assert (store.holds, store.ledger, bench.first.asked) == ({}, {}, [])
