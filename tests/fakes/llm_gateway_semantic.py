"""The in-memory twin of the semantic cache's store: the same promises, kept by one process' memory."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from cognitionos.llm_gateway.domain.cached import Kept
from cognitionos.llm_gateway.domain.semantic import Neighbour, Question, Reuse, SemanticRules, SemanticState
from cognitionos.llm_gateway.domain.semantic_calibration import LEVELS, Tally, level_of


@dataclass
class MemorySemanticStore:
    """`answers` by tenant and key, `reuses` by tenant and call; `reads` counts how often a state was asked for."""

    rules: dict[UUID, SemanticRules] = field(default_factory=dict)
    answers: dict[tuple[UUID, str], tuple[Question, str, Kept]] = field(default_factory=dict)
    reuses: dict[tuple[UUID, UUID], Reuse] = field(default_factory=dict)
    copies: dict[tuple[UUID, UUID], UUID] = field(default_factory=dict)
    forgotten: set[tuple[UUID, UUID]] = field(default_factory=set)
    reads: int = 0

    async def state(self, tenant_id: UUID) -> SemanticState:
        self.reads += 1
        tallies = [Tally() for _ in LEVELS]
        for place, reuse in self.reuses.items():
            level = level_of(reuse.score)
            if (
                place[0] == tenant_id
                and place not in self.forgotten
                and reuse.correct is not None
                and level is not None
            ):
                tallies[level] += Tally(1, 0 if reuse.correct else 1)
        return SemanticState(rules=self.rules.get(tenant_id, SemanticRules()), tallies=tuple(tallies))

    async def set_rules(self, tenant_id: UUID, rules: SemanticRules) -> None:
        before = self.rules.get(tenant_id)
        if before is not None and rules.enabled and not before.enabled:
            self.forgotten |= {place for place in self.reuses if place[0] == tenant_id}
        self.rules[tenant_id] = rules

    async def nearest(self, tenant_id: UUID, question: Question, *, wanted: int) -> Sequence[Neighbour]:
        found = [
            Neighbour(key=key, question=text, similarity=_cosine(question, kept_under), kept=kept)
            for (tenant, key), (kept_under, text, kept) in self.answers.items()
            if tenant == tenant_id
            and kept_under.scope == question.scope
            and kept.expires_at > time.time()
            and kept.stored_at >= question.stored_after
            and not self._was_wrong(tenant_id, question.key, key)
        ]
        return sorted(found, key=lambda each: -each.similarity)[:wanted]

    async def keep(self, tenant_id: UUID, question: Question, text: str, kept: Kept) -> None:
        before = self.answers.get((tenant_id, question.key))
        if before is None or before[2].stored_at <= kept.stored_at:
            self.answers[tenant_id, question.key] = (question, text, kept)

    async def record(self, tenant_id: UUID, reuse: Reuse) -> None:
        self.reuses.setdefault((tenant_id, reuse.call_id), reuse)

    async def copied(self, tenant_id: UUID, call_id: UUID, *, reuse: UUID) -> None:
        self.copies[tenant_id, call_id] = reuse

    async def judge(self, tenant_id: UUID, call_id: UUID, *, correct: bool) -> Reuse | None:
        call_id = self.copies.get((tenant_id, call_id), call_id)
        reuse = self.reuses.get((tenant_id, call_id))
        if reuse is None or not reuse.served:
            return None
        self.forgotten.discard((tenant_id, call_id))
        self.reuses[tenant_id, call_id] = judged = replace(reuse, correct=correct, judged_by="feedback")
        return judged

    def _was_wrong(self, tenant_id: UUID, key: str, answer_key: str) -> bool:
        return any(
            tenant == tenant_id and reuse.key == key and reuse.answer_key == answer_key and reuse.correct is False
            for (tenant, _), reuse in self.reuses.items()
        )


def _cosine(one: Question, other: Question) -> float:
    return sum(a * b for a, b in zip(one.vector, other.vector, strict=True))
