"""Answers reused for questions that mean the same: what a tenant sets, what is found, what becomes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from cognitionos.kernel.errors import NotFound
from cognitionos.llm_gateway.domain.cached import Kept
from cognitionos.llm_gateway.domain.semantic_calibration import LEVELS, Calibration, Tally, calibrate

CACHE_SEMANTIC = "semantic"
DIMENSIONS = 256
KEPT_S = 86_400
"""How long an answer may be reused unless the tenant says otherwise."""
SHADOW_RATE = 0.02
"""The share of hits that is asked anew to see whether the answer would have been the same."""
Judge = Literal["feedback", "shadow", "near"]
"""Who said whether a reuse was right: the tenant; a check of a hit; an answer that came anyway."""


class ReuseNotFound(NotFound):
    """No answer of this call was reused for its meaning, or too long ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticRules:
    """What a tenant sets. `error_bound` is the share of reused answers that may be wrong: 0.01, 0.02 or 0.05."""

    enabled: bool = False
    error_bound: float = 0.01
    ttl_s: int = KEPT_S
    shadow_rate: float = SHADOW_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticState:
    """The rules, and the judgements so far: one tally for each of `LEVELS`."""

    rules: SemanticRules = field(default_factory=SemanticRules)
    tallies: tuple[Tally, ...] = tuple(Tally() for _ in LEVELS)

    @property
    def calibration(self) -> Calibration:
        """The threshold that follows."""
        return calibrate(self.rules.error_bound, self.tallies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A kept answer whose question is near: the key of its own request, and the likeness of the two questions."""

    key: str
    question: str
    similarity: float
    kept: Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """One call's would-be or real reuse of a kept answer. `correct` None: nobody has judged it."""

    call_id: UUID
    key: str
    answer_key: str
    similarity: float
    score: float
    served: bool
    correct: bool | None = None
    judged_by: Judge | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is looked for: answers of the same scope, put after `stored_after` (seconds since the epoch)."""

    key: str
    scope: str
    vector: Sequence[float]
    stored_after: float
