"""How sure it is that two questions mean the same, where no guard objects: a number between 0 and 1."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp

from cognitionos.kernel.english import root
from cognitionos.llm_gateway.domain.semantic_text import Reading
from cognitionos.llm_gateway.domain.semantic_words import LIGHT

Likeness = Callable[[str, str], float]
"""How near two words are in meaning: cosine of their vectors."""

_LIGHT = 0.55
"""The likeness that a word which adds little always finds."""
_INFLECTED = 0.95
"""The likeness of two forms of one word."""
_TAKEN = 0.75
"""What is left of a likeness to a word that both questions have."""
_CONSTANT, _BY_SIMILARITY, _BY_LEAST, _BY_MEAN = -7.28, 5.92, 5.74, 1.97
"""A logistic regression on the labelled pairs to which no guard objects: `python -m tests.bench.semantic_fit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """`least` is the likeness of the content word that finds the poorest counterpart, `mean` the mean of all."""

    similarity: float
    least: float
    mean: float


def match(one: Reading, other: Reading, *, similarity: float, likeness: Likeness) -> Match:
    """Give every content word of either its nearest counterpart in the other."""
    found = [*_counterparts(one, other, likeness), *_counterparts(other, one, likeness)]
    if not found:
        return Match(similarity=similarity, least=0.0, mean=0.0)
    return Match(similarity=similarity, least=min(found), mean=sum(found) / len(found))


def score(found: Match) -> float:
    """How sure, between 0 and 1. It orders; what share is right at a value is for the calibration to find out."""
    weighed = _BY_SIMILARITY * found.similarity + _BY_LEAST * found.least + _BY_MEAN * found.mean
    return 1.0 / (1.0 + exp(-_CONSTANT - weighed))


def words_to_compare(one: Reading, other: Reading) -> tuple[str, ...]:
    """The words whose vectors `match` will ask for; none where every word is in both."""
    lone = [*_lone(one, other), *_lone(other, one)]
    return tuple(dict.fromkeys((*one.content, *other.content))) if lone else ()


def _counterparts(one: Reading, other: Reading, likeness: Likeness) -> Sequence[float]:
    lone = {*_lone(one, other)}
    if not lone:
        return [1.0] * len(one.content)
    theirs = [(word, root(word), word in one.stems) for word in other.content]
    return [_nearest(word, theirs, likeness) if word in lone else 1.0 for word in one.content]


def _nearest(word: str, theirs: Sequence[tuple[str, str, bool]], likeness: Likeness) -> float:
    """`theirs`: the other's words, their roots, whether both have them.

    A word that both have stands for itself: what is like it besides says more than the other question does.
    """
    base = root(word)
    found = [
        (likeness(word, each) if its_root != base else _INFLECTED) * (_TAKEN if taken else 1.0)
        for each, its_root, taken in theirs
    ]
    return max(*found, _LIGHT if word in LIGHT else 0.0, 0.0)


def _lone(one: Reading, other: Reading) -> list[str]:
    return [word for word in one.content if word not in other.stems]
