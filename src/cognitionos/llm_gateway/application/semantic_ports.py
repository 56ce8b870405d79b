"""Where the semantic cache meets its store and its embedder."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol
from uuid import UUID

from cognitionos.llm_gateway.domain.cached import Kept
from cognitionos.llm_gateway.domain.semantic import Neighbour, Question, Reuse, SemanticRules, SemanticState
from cognitionos.llm_gateway.domain.semantic_score import Likeness

EmbedTexts = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]
"""One vector of length one per text. Always the same model: vectors of two do not mix."""
WordLikeness = Callable[[Sequence[str]], Awaitable[Likeness]]
"""How near each of some words is to each other, by their vectors."""
Count = Callable[[str], None]
"""Counts what became of a look-up."""


class SemanticStore(Protocol):
    """Questions with their answers, reuses with their judgements, by tenant. Each method may raise `Unavailable`."""

    async def state(self, tenant_id: UUID) -> SemanticState:
        """The tenant's rules (off where it has set none) and its judgements."""
        ...

    async def set_rules(self, tenant_id: UUID, rules: SemanticRules) -> None:
        """Set the rules. Being turned on after off, earlier judgements no longer count."""
        ...

    async def nearest(self, tenant_id: UUID, question: Question, *, wanted: int) -> Sequence[Neighbour]:
        """The nearest live answers by their questions, nearest first; none that was judged wrong for this key."""
        ...

    async def keep(self, tenant_id: UUID, question: Question, text: str, kept: Kept) -> None:
        """Keep an answer under its question; the key's earlier one is replaced."""
        ...

    async def record(self, tenant_id: UUID, reuse: Reuse) -> None:
        """Write a reuse down, once per call."""
        ...

    async def copied(self, tenant_id: UUID, call_id: UUID, *, reuse: UUID) -> None:
        """This call got the answer that was reused for the call `reuse`: who judges the one judges the other."""
        ...

    async def judge(self, tenant_id: UUID, call_id: UUID, *, correct: bool) -> Reuse | None:
        """The tenant's own judgement of a served reuse, or of a copy of it within a week; it may change its mind. None:
        there is no such reuse."""
        ...
