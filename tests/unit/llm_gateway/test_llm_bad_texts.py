"""Texts that a server fails over (500) among those of others, in one call: they fail alone, and are soon found."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from tests.fakes.llm_gateway_provider import ScriptedProvider
from tests.unit.llm_gateway.test_llm_steps import CALLER, Bench
from tests.waiting import eventually

from cognitionos.llm_gateway.application.embedding_batches import MOST_AT_ONCE, MOST_PROBES
from cognitionos.llm_gateway.application.ports import Vectors
from cognitionos.llm_gateway.domain.chat import Embeddings, Text, Usage
from cognitionos.llm_gateway.domain.errors import ProviderFailure, ProviderUnavailable
from cognitionos.llm_gateway.domain.price import price_per_million

TRIES = 3


@dataclass
class Brittle(ScriptedProvider):
    """Fails over calls with a bad text. `seen` has the texts of each call once `gate` was set."""

    bad: frozenset[str] = frozenset()
    why: str = "status-500"
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    seen: list[Sequence[Text]] = field(default_factory=list)

    async def embed(self, texts: Sequence[Text], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        self.waiting += 1
        await self.gate.wait()
        self.seen.append(texts)
        if self.bad.intersection(map(str, texts)):
            raise ProviderFailure(f"{self.why} said", why=self.why)
        return Vectors(vectors=((0.5,),) * len(texts), usage=Usage(prompt=4 * len(texts)))


async def together(provider: Brittle, texts: Sequence[str]) -> tuple[Bench, list[Embeddings | BaseException]]:
    """`texts`, each of a caller of its own, in one call: while as many are under way as may be, they gather."""
    bench = Bench(fallback=False, first=provider)
    bench.prices["first/m"] = price_per_million(input_usd=Decimal(1), output_usd=Decimal(0))
    await bench.budget(10**9)
    asked = []
    for text in [*(f"first {number}" for number in range(MOST_AT_ONCE)), *texts]:
        asked.append(asyncio.create_task(bench.embedding.embed(CALLER, [text], model="first/m")))
        await eventually(lambda: provider.waiting == min(len(asked), MOST_AT_ONCE))
        await eventually(lambda: len(bench.store.holds) == len(asked))
    provider.gate.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    return bench, answers[MOST_AT_ONCE:]


@pytest.mark.parametrize("place", [0, 1, 7, 28, 29])
async def test_a_text_that_breaks_the_server_fails_its_caller_only(place: int) -> None:
    texts = [f"text {number}" for number in range(30)]
    provider = Brittle("first", bad=frozenset({texts[place]}))

    bench, answers = await together(provider, texts)

    failed = [at for at, answer in enumerate(answers) if isinstance(answer, BaseException)]
    assert failed == [place]
    assert isinstance(answers[place], ProviderUnavailable)
    assert len(provider.seen) <= MOST_AT_ONCE + TRIES + MOST_PROBES + 2 * 5
    assert bench.store.holds == {}
    rows = {row.call_id: row for row in bench.observed}
    costs = [rows[answer.call_id].cost_nanousd for answer in answers if isinstance(answer, Embeddings)]
    assert (len(costs), sum(costs)) == (29, 29 * 4000)
    assert sum(row.cost_nanousd for row in rows.values()) == 4000 * (MOST_AT_ONCE + 29)


async def test_two_bad_texts_are_found_as_well() -> None:
    texts = [f"text {number}" for number in range(30)]

    _, answers = await together(Brittle("first", bad=frozenset({texts[3], texts[21]})), texts)

    assert [at for at, answer in enumerate(answers) if isinstance(answer, BaseException)] == [3, 21]


async def test_a_search_among_very_many_bad_texts_ends() -> None:
    texts = [f"text {number}" for number in range(200)]
    provider = Brittle("first", bad=frozenset(texts[1:]))

    _, answers = await together(provider, texts)

    assert isinstance(answers[0], Embeddings)
    assert all(isinstance(answer, ProviderUnavailable) for answer in answers[1:])
    assert len(provider.seen) <= MOST_AT_ONCE + TRIES + 40


@pytest.mark.parametrize("why", ["status-500", "status-503", "status-429", "timeout"])
async def test_a_server_that_is_down_or_busy_is_asked_little_more(why: str) -> None:
    texts = [f"text {number}" for number in range(30)]
    provider = Brittle("first", bad=frozenset(texts), why=why)

    _, answers = await together(provider, texts)

    assert all(isinstance(answer, ProviderUnavailable) for answer in answers)
    more = MOST_PROBES if why == "status-500" else 0
    assert [len(each) for each in provider.seen[MOST_AT_ONCE:]] == [30] * TRIES + [1] * more


async def test_a_text_that_breaks_the_server_opens_no_circuit() -> None:
    texts = [f"text {number}" for number in range(30)]

    bench, _ = await together(Brittle("first", bad=frozenset({texts[17]})), texts)

    await bench.embedding.embed(CALLER, ["another"], model="first/m")
