"""Embeddings of one moment, held at several prices or rates: each is billed at its own, and never above its hold."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.llm_gateway_provider import ScriptedProvider
from tests.unit.llm_gateway.test_llm_steps import CALLER, Bench
from tests.waiting import eventually

from cognitionos.llm_gateway.application.embedding_batches import MOST_AT_ONCE
from cognitionos.llm_gateway.application.ports import Vectors
from cognitionos.llm_gateway.domain.chat import Text, Usage
from cognitionos.llm_gateway.domain.errors import BudgetExhausted
from cognitionos.llm_gateway.domain.price import FREE, Price, Rates, price_per_million, priced

TOKENS = 4


@dataclass
class GatedEmbedder(ScriptedProvider):
    """Answers once `gate` is set; `asked` has the texts of each call."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Sequence[Text]] = field(default_factory=list)
    tokens_a_text: int = TOKENS
    """Where 0: each text's bytes."""
    tier: str | None = None

    async def embed(self, texts: Sequence[Text], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        self.asked.append(texts)
        await self.gate.wait()
        return Vectors(vectors=((0.5,),) * len(texts), usage=self.told(texts))

    def told(self, texts: Sequence[Text]) -> Usage:
        tokens = self.tokens_a_text * len(texts) or sum(map(len, texts))
        return Usage(prompt=tokens, service_tier=self.tier)


async def test_a_price_that_changes_while_texts_gather_changes_no_bill_of_those_that_were_held_before() -> None:
    provider = GatedEmbedder("first")
    bench = Bench(fallback=False, first=provider)
    await bench.budget(10**9)
    asked, prices = [], (*[1] * MOST_AT_ONCE, 3, 2)
    for usd in prices:
        bench.prices["first/m"] = price_per_million(input_usd=Decimal(usd), output_usd=Decimal(0))
        asked.append(asyncio.create_task(bench.embedding.embed(CALLER, [f"text at {usd}"], model="first/m")))
        await eventually(lambda: len(bench.store.holds) == len(asked))
        await eventually(lambda: len(provider.asked) == min(len(asked), MOST_AT_ONCE))
    provider.gate.set()

    answers = await asyncio.gather(*asked)

    assert [answer.cost_nanousd for answer in answers] == [TOKENS * 1000 * usd for usd in prices]
    assert provider.asked[-1] == ["text at 3", "text at 2"]
    assert bench.store.holds == {}


def a_price(usd: int, *steps: tuple[int, int], tiers: Mapping[str, Price] | None = None) -> Price:
    """So many dollars a million tokens, and so many for prompts above each step."""
    above = [(step, Rates(input=Decimal(dearer) / 10**6, output=Decimal(0))) for step, dearer in steps]
    return priced(Rates(input=Decimal(usd) / 10**6, output=Decimal(0)), above=above, tiers=tiers or {})


async def embedded_at_once(bench: Bench, provider: GatedEmbedder, texts: Sequence[str], **extra: Any) -> list[int]:
    """What each text cost, held and sent while others wait."""
    calls = (bench.embedding.embed(CALLER, [text], model="first/m", extra=extra) for text in texts)
    asked = [asyncio.create_task(call) for call in calls]
    await eventually(lambda: len(bench.store.holds) == len(texts))
    provider.gate.set()
    return [answer.cost_nanousd for answer in await asyncio.gather(*asked)]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=24),
    steps=st.lists(st.tuples(st.integers(5, 200), st.integers(0, 20)), max_size=3, unique_by=lambda step: step[0]),
)
def test_no_text_costs_more_than_was_held_for_it_and_all_of_them_what_their_provider_bills(
    lengths: list[int], steps: list[tuple[int, int]]
) -> None:
    async def run() -> None:
        provider = GatedEmbedder("first", tokens_a_text=0)
        price = a_price(1, *steps)
        bench = Bench(fallback=False, first=provider, prices={"first/m": price})

        costs = await embedded_at_once(bench, provider, ["x" * length for length in lengths])

        for length, cost in zip(lengths, costs, strict=True):
            assert cost <= price.upper_bound(length + 8, 0)
        assert sum(costs) == sum(price.cost(provider.told(texts)) for texts in provider.asked)

    asyncio.run(run())


async def test_short_texts_share_a_call_though_dear_ones_wait_between_them() -> None:
    provider = GatedEmbedder("first", tokens_a_text=0)
    bench = Bench(fallback=False, first=provider, prices={"first/m": a_price(1, (50, 10))})
    before = ["x"] * MOST_AT_ONCE

    await embedded_at_once(bench, provider, [*before, "a" * 10, "long " * 20, "b" * 10, "more " * 20])

    assert sorted(map(len, provider.asked[-2:])) == [2, 2]


async def test_texts_are_held_at_the_service_tier_that_they_ask_for() -> None:
    provider = GatedEmbedder("first", tier="priority")
    price = a_price(1, tiers={"priority": a_price(5)})
    bench = Bench(fallback=False, first=provider, prices={"first/m": price})
    await bench.budget(20_000)  # the bound of "text" is 12 tokens: 12,000 nano-dollars, or 60,000
    asked = bench.embedding.embed(CALLER, ["text"], model="first/m", extra={"service_tier": "priority"})

    with pytest.raises(BudgetExhausted):
        await asked

    assert provider.asked == []


def test_how_long_a_prompt_may_get_at_one_rate() -> None:
    price = a_price(2, (10, 1), (20, 3), (30, 3), (40, 4))

    assert [price.same_until(tokens) for tokens in (1, 20, 21, 40, 41)] == [20, 20, 40, 40, None]
    assert FREE.same_until(1) is None
