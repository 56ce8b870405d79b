"""Kept answers: what is known of one, what a caller wishes, and which of them a tenant has declared void."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from cognitionos.kernel.value import value

LONGEST_KEPT_S = 7 * 86_400.0
"""No layer keeps an answer longer; older invalidations may be forgotten."""
KEY, MODEL, TAG = "key:", "model:", "tag:"
"""What the scopes begin with that name an answer by its fingerprint, a model's name and a word of its callers."""
BORROWED = "layer:"
"""What the scope begins with, before the layer's name, of an answer that a further layer lent to a request."""
EVERYTHING = "all"
"""The scope of every answer of a tenant."""


def run_scope(run_id: UUID) -> str:
    """The scope of the answers that a run, or a conversation, was first to ask for."""
    return f"run:{run_id}"


@value
class CacheWish:
    """What one request wishes of the caches. `look` False: ask the provider; `keep` False: forget the answer.

    `max_age_s` is how old an answer may be at most, `ttl_s` how long this one may be kept at most.
    """

    look: bool = True
    keep: bool = True
    max_age_s: float | None = None
    ttl_s: float | None = None
    tags: tuple[str, ...] = ()


def most_kept_s(wish: CacheWish) -> float:
    """How long an answer to a request of this wish may be kept."""
    return min(wish.ttl_s or LONGEST_KEPT_S, LONGEST_KEPT_S)


USUAL = CacheWish()
ANEW = CacheWish(look=False)
"""Ask the provider whatever is kept or under way, and keep its answer for others."""


@value
class Kept:
    """A kept answer. `wire` is its JSON text in OpenAI's shape; times are seconds since the epoch.

    `epoch` is how many invalidations its tenant had made before the provider was asked; `scopes` are the words by which
    it can be declared void (`model:NAME`, `tag:NAME`, `key:FINGERPRINT`, `run:ID`). `layer` is where it was found.
    `reuse`: the call that it was first lent to, being the answer to another question.
    """

    wire: bytes
    model: str
    cost_nanousd: int
    stored_at: float
    expires_at: float
    epoch: int
    scopes: tuple[str, ...]
    layer: str = ""
    similarity: float | None = None
    reuse: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Voided:
    """The invalidations of a tenant: `epoch` counts them, `by_scope` has the number of the last one of each scope."""

    epoch: int = 0
    by_scope: Mapping[str, int] = field(default_factory=dict)

    def allows(self, kept: Kept) -> bool:
        """Whether nothing that concerns the answer was declared void since its provider was asked."""
        if self.epoch <= kept.epoch:
            return True
        last = max(self.by_scope.get(scope, 0) for scope in (EVERYTHING, *kept.scopes))
        return last <= kept.epoch
