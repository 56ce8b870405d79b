"""Embeddings of one moment, held at two prices: each is billed at its own, and never above its hold."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.fakes.llm_gateway_provider import ScriptedProvider
from tests.unit.llm_gateway.test_llm_steps import CALLER, Bench
from tests.waiting import eventually

from cognitionos.llm_gateway.application.embedding_batches import MOST_AT_ONCE
from cognitionos.llm_gateway.application.ports import Vectors
from cognitionos.llm_gateway.domain.chat import Text, Usage
from cognitionos.llm_gateway.domain.price import price_per_million

TOKENS = 4


@dataclass
class GatedEmbedder(ScriptedProvider):
    """Answers once `gate` is set; `asked` has the texts of each call."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Sequence[Text]] = field(default_factory=list)

    async def embed(self, texts: Sequence[Text], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        self.asked.append(texts)
        await self.gate.wait()
        return Vectors(vectors=((0.5,),) * len(texts), usage=Usage(prompt=TOKENS * len(texts)))


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
