"""The layer of answers to questions that mean the same: similarity proposes, guards object, the calibration decides."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.application.cache_ports import CacheAsk
from cognitionos.llm_gateway.application.ports import Chance
from cognitionos.llm_gateway.application.semantic_ports import Count, EmbedTexts, SemanticStore, WordLikeness
from cognitionos.llm_gateway.application.semantic_rules import SemanticRulebook
from cognitionos.llm_gateway.domain.answer import text_of
from cognitionos.llm_gateway.domain.cached import Kept
from cognitionos.llm_gateway.domain.errors import ProviderFailure
from cognitionos.llm_gateway.domain.fingerprint import Canonical
from cognitionos.llm_gateway.domain.semantic import CACHE_SEMANTIC, Judge, Neighbour, Question, Reuse, SemanticState
from cognitionos.llm_gateway.domain.semantic_calibration import LEVELS
from cognitionos.llm_gateway.domain.semantic_guards import objection
from cognitionos.llm_gateway.domain.semantic_score import match, score, words_to_compare
from cognitionos.llm_gateway.domain.semantic_text import Reading, read
from cognitionos.llm_gateway.domain.semantic_turn import answers_agree, turn_of
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)

WANTED = 8
"""How many neighbours are weighed: the nearest is not always the one that means the same."""
LOOK_UP_S = 2.0
"""A look-up that takes longer is given up: the provider is asked."""
MOST_SOUGHT = 10_000
_FAILURES = (DomainError, ProviderFailure, TimeoutError)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rival:
    """A neighbour that no guard objects to."""

    neighbour: Neighbour
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sought:
    """A look-up that ended without an answer; a provider's answer to it is compared with the rival's."""

    question: Question
    text: str
    rival: _Rival | None = None
    judge: Judge = "near"


@dataclass(slots=True, kw_only=True)
class SemanticCache:
    """`cache_ports.CacheLayer`. Costs a look into a dict for tenants that have not turned it on.

    `allows` says whether an answer has not been declared void since. `clock` is the wall's, in seconds.
    """

    store: SemanticStore
    rulebook: SemanticRulebook
    embed: EmbedTexts
    likeness: WordLikeness
    allows: Callable[[UUID, Kept], bool]
    canonical: Canonical
    decode: Callable[[bytes], dict[str, Any]]
    count: Count
    clock: Callable[[], float]
    chance: Chance
    _sought: "OrderedDict[str, _Sought]" = field(default_factory=OrderedDict)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The word in the ledger and in the header."""
        return CACHE_SEMANTIC

    async def get(self, ask: CacheAsk) -> Kept | None:
        """The answer to a question that means the same, and is sure enough to."""
        try:
            async with asyncio.timeout(LOOK_UP_S):
                state = await self.rulebook.state(ask.tenant_id)
                return await self._get(ask, state) if state.rules.enabled else None
        except _FAILURES as error:
            self.count("failed")
            log.warning("semantic_look_up_failed", reason=str(error))
            return None

    async def lent(self, tenant_id: UUID, call_id: UUID, kept: Kept) -> None:
        """Have this call's judgement be one of the reuse that it has a copy of."""
        if kept.reuse is None:
            return
        try:
            async with asyncio.timeout(LOOK_UP_S):
                await self.store.copied(tenant_id, call_id, reuse=kept.reuse)
        except _FAILURES as error:
            self.count("failed")
            log.warning("semantic_copy_not_noted", reason=str(error))

    def put(self, ask: CacheAsk, kept: Kept) -> None:
        """Keep a fresh answer in the background; where a neighbour's might have done, compare the two."""
        sought = self._sought.pop(ask.flight, None)
        if sought is None and self.rulebook.is_off(ask.tenant_id):
            return
        task = asyncio.get_running_loop().create_task(self._put(ask, kept, sought))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait until everything put so far is kept or given up."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _get(self, ask: CacheAsk, state: SemanticState) -> Kept | None:
        found = await self._question(ask)
        if found is None:
            self.count("not_a_question")
            return None
        question, text = found
        rival = await self._best(ask.tenant_id, question, text)
        sought = _Sought(question=question, text=text, rival=rival)
        threshold = state.calibration.threshold
        if rival is None or threshold is None or rival.score < threshold:
            self.count("miss" if rival is None else "near")
        elif self.chance() < state.rules.shadow_rate:
            sought = replace(sought, judge="shadow")
            self.count("checked")
        else:
            await self.store.record(ask.tenant_id, _reuse(ask, rival, served=True))
            self.count("hit")
            return replace(
                rival.neighbour.kept,
                layer=CACHE_SEMANTIC,
                similarity=rival.neighbour.similarity,
                reuse=UUID(hex=ask.flight),
            )
        self._sought[ask.flight] = sought
        while len(self._sought) > MOST_SOUGHT:
            self._sought.popitem(last=False)
        return None

    async def _question(self, ask: CacheAsk) -> tuple[Question, str] | None:
        turn = turn_of(ask.request, tenant_id=ask.tenant_id, model=ask.source, canonical=self.canonical)
        if turn is None:
            return None
        (vector,) = await self.embed([turn.question.lower()])
        oldest = 0.0 if ask.wish.max_age_s is None else self.clock() - ask.wish.max_age_s
        return Question(key=ask.key, scope=turn.scope, vector=vector, stored_after=oldest), turn.question

    async def _best(self, tenant_id: UUID, question: Question, text: str) -> _Rival | None:
        """The surest of the neighbours that are not void and that no guard objects to."""
        asked, best = read(text), None
        neighbours = await self.store.nearest(tenant_id, question, wanted=WANTED)
        left = [(each, theirs) for each in neighbours if (theirs := self._allowed(tenant_id, asked, each)) is not None]
        words = dict.fromkeys(word for _, theirs in left for word in words_to_compare(asked, theirs))
        likeness = await self.likeness([*words])
        for each, theirs in left:
            sure = score(match(asked, theirs, similarity=each.similarity, likeness=likeness))
            if sure >= LEVELS[0] and (best is None or sure > best.score):
                best = _Rival(neighbour=each, score=sure)
        return best

    def _allowed(self, tenant_id: UUID, asked: Reading, neighbour: Neighbour) -> Reading | None:
        """The neighbour's question, unless its answer is void or a guard objects."""
        if not self.allows(tenant_id, neighbour.kept):
            return None
        theirs = read(neighbour.question)
        refusal = objection(asked, theirs)
        if refusal is not None:
            self.count(f"refused_{refusal}")
        return theirs if refusal is None else None

    async def _put(self, ask: CacheAsk, kept: Kept, sought: _Sought | None) -> None:
        try:
            state = await self.rulebook.state(ask.tenant_id)
            if not state.rules.enabled:
                return
            if sought is None:
                found = await self._question(ask)
                if found is None:
                    return
                sought = _Sought(question=found[0], text=found[1])
            until = min(kept.expires_at, kept.stored_at + state.rules.ttl_s)
            await self.store.keep(ask.tenant_id, sought.question, sought.text, replace(kept, expires_at=until))
            if sought.rival is not None:
                await self._compare(ask, kept, sought, sought.rival)
        except _FAILURES as error:
            self.count("failed")
            log.warning("semantic_answer_not_kept", reason=str(error))

    async def _compare(self, ask: CacheAsk, kept: Kept, sought: _Sought, rival: _Rival) -> None:
        """Judge the neighbour's answer by the provider's own, and calibrate anew."""
        fresh, theirs = (text_of(self.decode(each.wire)) for each in (kept, rival.neighbour.kept))
        one, other = await self.embed([fresh, theirs])
        similarity = sum(a * b for a, b in zip(one, other, strict=True))
        agree = answers_agree(fresh, theirs, similarity)
        reuse = _reuse(ask, rival, served=False)
        await self.store.record(ask.tenant_id, replace(reuse, correct=agree, judged_by=sought.judge))
        self.count("agreed" if agree else "disagreed")
        await self.rulebook.changed()


def _reuse(ask: CacheAsk, rival: _Rival, *, served: bool) -> Reuse:
    return Reuse(
        call_id=UUID(hex=ask.flight),
        key=ask.key,
        answer_key=rival.neighbour.key,
        similarity=rival.neighbour.similarity,
        score=rival.score,
        served=served,
    )
