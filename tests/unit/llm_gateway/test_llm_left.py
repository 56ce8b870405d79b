"""Whoever asked leaves while the call is being booked: it is booked all the same, and nothing of it stays held."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from tests.builders_llm_gateway import a_request
from tests.fakes.llm_gateway_stores import MemoryPrices
from tests.unit.llm_gateway.test_llm_steps import CALLER, COST, GOAL, Bench
from tests.waiting import eventually

from cognitionos.llm_gateway.domain.errors import ProviderFailure, StreamBroken
from cognitionos.llm_gateway.domain.price import Price
from cognitionos.llm_gateway.domain.route import Candidate


@dataclass
class SlowPrices(MemoryPrices):
    """Tells the price at once while a call is held, and only when `gate` is set once it is to be booked."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def price(self, tenant_id: UUID, candidate: Candidate) -> Price | None:
        self.asked += 1
        if self.asked > 1:
            await self.gate.wait()
        return await super().price(tenant_id, candidate)


async def whole(bench: Bench) -> None:
    await bench.completion.complete(CALLER, a_request())


async def streamed(bench: Bench) -> None:
    stream = await bench.streaming.open(CALLER, a_request())
    async for _ in stream.events:
        pass


async def broken(bench: Bench) -> None:
    stream = await bench.streaming.open(CALLER, a_request())
    await anext(stream.events)
    with pytest.raises(StreamBroken):
        await stream.events.athrow(ProviderFailure("cut"))


@pytest.mark.parametrize("asking", [whole, streamed, broken])
async def test_a_call_that_is_left_while_it_is_booked_is_booked_all_the_same(
    asking: Callable[[Bench], Coroutine[Any, Any, None]],
) -> None:
    bench = Bench(fallback=False)
    prices = bench.budgets.prices = SlowPrices(bench.prices)  # type: ignore[arg-type]
    await bench.budget(1_000_000_000)
    task = asyncio.create_task(asking(bench))
    await eventually(lambda: prices.asked == 2)

    task.cancel()
    await asyncio.wait({task})
    prices.gate.set()
    await bench.budgets.settled()

    assert task.cancelled()
    assert bench.row.outcome == ("error" if asking is broken else "ok")
    assert bench.row.cost_nanousd == COST or asking is broken
    assert (await bench.store.spend(CALLER.tenant_id, GOAL)).held_nanousd == 0
    assert bench.observed == [bench.row]
    assert bench.completion.attempts.deployments.has_place("first/m")
