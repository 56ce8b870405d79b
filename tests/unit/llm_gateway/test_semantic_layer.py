"""The semantic layer: proposes, objects, decides, learns from what comes anyway; and costs nothing while it is off."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4
from zlib import crc32

import pytest
from tests.builders_llm_gateway import a_kept, a_request
from tests.fakes.llm_gateway_semantic import MemorySemanticStore

from cognitionos.kernel.english import GRAMMAR
from cognitionos.kernel.errors import Unavailable
from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.application.cache_ports import CacheAsk
from cognitionos.llm_gateway.application.semantic import SemanticCache
from cognitionos.llm_gateway.application.semantic_rules import FRESH_S, SemanticRulebook
from cognitionos.llm_gateway.domain.cached import USUAL, CacheWish, Kept
from cognitionos.llm_gateway.domain.semantic import DIMENSIONS, ReuseNotFound, SemanticRules
from cognitionos.llm_gateway.domain.semantic_calibration import LEVELS
from cognitionos.llm_gateway.domain.semantic_words import FILLERS
from cognitionos.llm_gateway.infrastructure.openai_schema import canonical, decode_object
from cognitionos.llm_gateway.infrastructure.semantic_words import WordVectors

ASKED, PARAPHRASE = "How do I reset my password?", "What is the way to reset my password?"
FARTHER = "How do I reset my forgotten password?"
ON = SemanticRules(enabled=True, shadow_rate=0.0)


@dataclass
class Layer:
    """The layer on a twin of its store, with an embedder that hashes words."""

    store: MemorySemanticStore = field(default_factory=MemorySemanticStore)
    tenant: UUID = field(default_factory=uuid4)
    embedded: list[str] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    voided: list[tuple[str, ...]] = field(default_factory=list)
    void: bool = False
    now: float = 0.0
    chance: float = 0.99

    def __post_init__(self) -> None:
        self.woken = asyncio.Event()
        self.rulebook = SemanticRulebook(
            store=self.store,
            signal=self._signal,
            woken=self.woken,
            fresh_s=lambda usual: usual,
            void=self._void,
            monotonic=lambda: self.now,
        )
        self.cache = SemanticCache(
            store=self.store,
            rulebook=self.rulebook,
            embed=self._embed,
            likeness=WordVectors(self._embed).likeness,
            allows=lambda _tenant, _kept: not self.void,
            canonical=canonical,
            decode=decode_object,
            count=self.counted.append,
            clock=lambda: a_kept().stored_at,
            chance=lambda: self.chance,
        )

    async def turn_on(self, rules: SemanticRules = ON) -> None:
        await self.store.set_rules(self.tenant, rules)

    def ask(self, text: str, **changes: Any) -> CacheAsk:
        values: dict[str, Any] = {
            "tenant_id": self.tenant,
            "project_id": uuid4(),
            "key": text,
            "request": a_request(text),
            "model": "m",
            "source": "m",
            "scopes": (),
            "wish": USUAL,
            "flight": new_id().hex,
            "takes": frozenset("m"),
        }
        return CacheAsk(**values | changes)

    async def answered(self, text: str, answer: str) -> Kept | None:
        """Ask; where nothing will do, the provider answers with `answer`."""
        ask = self.ask(text)
        found = await self.cache.get(ask)
        if found is None:
            self.cache.put(ask, a_kept(answer))
            await self.cache.drain()
        return found

    async def _signal(self) -> None:
        self.woken.set()

    async def _void(self, _tenant_id: UUID, scopes: tuple[str, ...]) -> None:
        self.voided.append(scopes)

    async def _embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        self.embedded += texts
        return [_hashed(text) for text in texts]


@pytest.fixture
def layer() -> Layer:
    return Layer()


def _hashed(text: str) -> list[float]:
    vector = [0.0] * DIMENSIONS
    for word in text.replace("?", "").split():
        vector[crc32(word.encode()) % DIMENSIONS] += 0.8 if word in GRAMMAR | FILLERS else 1.0
    length = sum(value * value for value in vector) ** 0.5 or 1.0
    return [value / length for value in vector]


async def test_while_it_is_off_nothing_is_embedded_kept_or_read_twice(layer: Layer) -> None:
    for _ in range(3):
        await layer.answered(ASKED, "Press reset.")

    assert (layer.embedded, layer.store.answers, layer.store.reads) == ([], {}, 1)


async def test_a_paraphrase_gets_the_kept_answer_and_the_reuse_is_written_down(layer: Layer) -> None:
    await layer.turn_on()
    await layer.answered(ASKED, "Press reset.")

    found = await layer.answered(PARAPHRASE, "never asked")

    assert found is not None
    assert b"Press reset." in found.wire
    assert (found.layer, found.similarity) == ("semantic", pytest.approx(0.51, abs=0.01))
    (reuse,) = layer.store.reuses.values()
    assert (reuse.key, reuse.answer_key, reuse.served, reuse.correct) == (PARAPHRASE, ASKED, True, None)
    assert layer.counted[-1] == "hit"


async def test_a_reused_answer_is_not_kept_again_under_the_new_question(layer: Layer) -> None:
    await layer.turn_on()
    await layer.answered(ASKED, "Press reset.")
    await layer.answered(PARAPHRASE, "never asked")

    assert [key for _, key in layer.store.answers] == [ASKED]


async def test_what_was_not_sure_enough_is_judged_by_the_answer_that_came_anyway(layer: Layer) -> None:
    await layer.turn_on()
    await layer.answered(ASKED, "Press reset.")

    right = await layer.answered(FARTHER, "press  reset.")
    wrong = await layer.answered("How do I reset my stolen password?", "No, call the police at 110 instead.")

    assert (right, wrong) == (None, None)
    verdicts = [(each.correct, each.judged_by, each.served) for each in layer.store.reuses.values()]
    assert verdicts == [(True, "near", False), (False, "near", False)]
    assert sum(each.judged for each in (await layer.rulebook.state(layer.tenant)).tallies) == 2


async def test_a_drawn_hit_is_checked_and_a_wrong_one_raises_the_threshold(layer: Layer) -> None:
    await layer.turn_on(replace(ON, shadow_rate=0.5))
    await layer.answered(ASKED, "Press reset.")
    before = (await layer.rulebook.state(layer.tenant)).calibration
    layer.chance = 0.4

    checked = await layer.answered(PARAPHRASE, "No, you can not.")

    layer.chance = 0.9
    after = (await layer.rulebook.state(layer.tenant)).calibration
    assert checked is None
    assert [each.judged_by for each in layer.store.reuses.values()] == ["shadow"]
    assert before.threshold is not None
    assert after.threshold is None or after.threshold > before.threshold


async def test_where_the_bound_cannot_be_kept_nothing_is_reused_but_learning_goes_on(layer: Layer) -> None:
    await layer.turn_on(replace(ON, shadow_rate=1.0))
    await layer.answered(ASKED, "Press reset.")
    for number in range(40):
        layer.store.answers.pop((layer.tenant, PARAPHRASE), None)
        layer.store.reuses = {
            place: replace(each, answer_key=f"{number}", score=max(each.score, LEVELS[-1]))
            for place, each in layer.store.reuses.items()
        }
        await layer.answered(PARAPHRASE, "No, you can not.")
    layer.woken.set()

    state = (await layer.rulebook.state(layer.tenant)).calibration

    assert (state.state, state.threshold) == ("off", None)
    layer.chance = 2.0
    assert await layer.cache.get(layer.ask("What are the steps to reset my password?")) is None


async def test_an_answer_declared_void_is_passed_over(layer: Layer) -> None:
    await layer.turn_on()
    await layer.answered(ASKED, "Press reset.")
    layer.void = True

    assert await layer.answered(PARAPHRASE, "Press reset, again.") is None


async def test_an_answer_older_than_the_request_wants_is_passed_over(layer: Layer) -> None:
    await layer.turn_on()
    old = a_kept("Press reset.")
    layer.cache.put(layer.ask(ASKED), replace(old, stored_at=old.stored_at - 100))
    await layer.cache.drain()

    assert await layer.cache.get(layer.ask(PARAPHRASE, wish=CacheWish(max_age_s=50))) is None
    assert await layer.cache.get(layer.ask(PARAPHRASE, wish=CacheWish(max_age_s=500))) is not None


async def test_an_answer_is_kept_for_as_long_as_the_tenant_and_the_request_allow(layer: Layer) -> None:
    await layer.turn_on(replace(ON, ttl_s=60))
    short = a_kept()
    layer.cache.put(layer.ask("long"), short)
    layer.cache.put(layer.ask("short"), replace(short, expires_at=short.stored_at + 5))
    await layer.cache.drain()

    lives = {key: kept.expires_at - kept.stored_at for (_, key), (_, _, kept) in layer.store.answers.items()}
    assert lives == {"long": pytest.approx(60), "short": pytest.approx(5)}


async def test_a_change_of_rules_is_seen_after_a_signal_or_in_time(layer: Layer) -> None:
    await layer.answered(ASKED, "Press reset.")
    await layer.turn_on()
    before = (await layer.rulebook.state(layer.tenant)).rules.enabled

    layer.now += FRESH_S + 1

    assert (before, (await layer.rulebook.state(layer.tenant)).rules.enabled) == (False, True)
    await layer.rulebook.set_rules(layer.tenant, enabled=False)
    assert (await layer.rulebook.state(layer.tenant)).rules.enabled is False


async def test_a_reuse_judged_wrong_is_forgotten_in_every_layer_and_not_repeated(layer: Layer) -> None:
    await layer.turn_on()
    await layer.answered(ASKED, "Press reset.")
    await layer.answered(PARAPHRASE, "never asked")
    (reuse,) = layer.store.reuses.values()

    await layer.rulebook.judge(layer.tenant, reuse.call_id, correct=False)

    assert layer.voided == [(f"key:{PARAPHRASE}",)]
    assert await layer.cache.get(layer.ask(PARAPHRASE)) is None
    with pytest.raises(ReuseNotFound):
        await layer.rulebook.judge(layer.tenant, uuid4(), correct=False)


async def test_a_store_that_is_gone_costs_a_hit_and_never_an_answer(layer: Layer) -> None:
    async def gone(*_: Any, **__: Any) -> Any:
        raise Unavailable("the database does not answer")

    await layer.turn_on()
    await layer.answered(ASKED, "Press reset.")
    layer.store.nearest = gone  # type: ignore[method-assign]
    layer.store.keep = gone  # type: ignore[method-assign]

    assert await layer.answered(PARAPHRASE, "Press reset.") is None
    assert layer.counted[-1] == "failed"


async def test_what_is_no_plain_question_is_left_alone(layer: Layer) -> None:
    await layer.turn_on()
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    ask = layer.ask("k", request=a_request(messages=(image,)))

    assert await layer.cache.get(ask) is None
    layer.cache.put(ask, a_kept())
    await layer.cache.drain()
    assert (layer.embedded, layer.store.answers) == ([], {})
