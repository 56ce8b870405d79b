"""Each of many labelled pairs of questions as the semantic cache sees it, and what a rule lets through of them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench.semantic_pairs import Pair

from cognitionos.llm_gateway.application.semantic_ports import EmbedTexts
from cognitionos.llm_gateway.domain import semantic_text
from cognitionos.llm_gateway.domain.semantic_calibration import LEVELS, Tally, calibrate, level_of
from cognitionos.llm_gateway.domain.semantic_guards import objection
from cognitionos.llm_gateway.domain.semantic_score import match, score, words_to_compare
from cognitionos.llm_gateway.infrastructure.semantic_embedder import embedder
from cognitionos.llm_gateway.infrastructure.semantic_words import WordVectors
from cognitionos.llm_gateway.infrastructure.wordllama_provider import WordLlamaProvider

FOLDS = 5
_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Weighed:
    """A pair as the cache sees it. `sure` 0: a guard objects, named by `refusal`."""

    pair: Pair
    similarity: float
    sure: float
    refusal: str | None
    fold: int


Accepts = Callable[[Weighed], bool]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was accepted of all pairs."""

    pairs: int
    positives: int
    hits: int
    false_hits: int


async def weigh(pairs: Sequence[Pair]) -> list[Weighed]:
    """Every pair through embedder, guards and score."""
    embed, found = embedder(WordLlamaProvider()), []
    vectors: dict[str, Sequence[float]] = {}

    async def known(texts: Sequence[str]) -> Sequence[Sequence[float]]:
        return [vectors[text] for text in texts]

    words, folds = WordVectors(known), folds_of(pairs)
    for start in range(0, len(pairs), _AT_ONCE):
        some = pairs[start : start + _AT_ONCE]
        readings = [(semantic_text.read(pair.text_a), semantic_text.read(pair.text_b)) for pair in some]
        refusals = [objection(one, other) for one, other in readings]
        asked = [() if refusal else words_to_compare(*both) for both, refusal in zip(readings, refusals, strict=True)]
        texts = [text.lower() for pair in some for text in (pair.text_a, pair.text_b)]
        await _learn(vectors, [*texts, *(word for each in asked for word in each)], embed)
        for place, (pair, (one, other), refusal) in enumerate(zip(some, readings, refusals, strict=True)):
            similarity = _cosine(vectors[pair.text_a.lower()], vectors[pair.text_b.lower()])
            sure = 0.0
            if refusal is None:
                sure = score(match(one, other, similarity=similarity, likeness=await words.likeness(asked[place])))
            found.append(Weighed(pair, similarity, sure, refusal, folds[start + place]))
    return found


async def _learn(vectors: dict[str, Sequence[float]], texts: Sequence[str], embed: EmbedTexts) -> None:
    new = [text for text in dict.fromkeys(texts) if text not in vectors]
    if new:
        vectors.update(zip(new, await embed(new), strict=True))


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def folds_of(pairs: Sequence[Pair]) -> list[int]:
    """A fold for each pair; those that share a text, over however many steps, share the fold."""
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        while parent.setdefault(text, text) != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for pair in pairs:
        parent[root(pair.text_a)] = root(pair.text_b)
    roots = list(dict.fromkeys(root(pair.text_a) for pair in pairs))
    random.Random(17).shuffle(roots)
    fold = {text: place % FOLDS for place, text in enumerate(roots)}
    return [fold[root(pair.text_a)] for pair in pairs]


def outcome(weighed: Sequence[Weighed], accepts: Accepts) -> Outcome:
    """What `accepts` lets through."""
    hits = [each for each in weighed if accepts(each)]
    return Outcome(
        pairs=len(weighed),
        positives=sum(each.pair.label for each in weighed),
        hits=len(hits),
        false_hits=sum(not each.pair.label for each in hits),
    )


def thresholds(weighed: Sequence[Weighed], bound: float) -> list[float | None]:
    """For each fold the threshold that the other folds lead to; None: off."""
    found = []
    for fold in range(FOLDS):
        tallies = [Tally() for _ in LEVELS]
        for each in weighed:
            level = level_of(each.sure)
            if each.fold != fold and level is not None:
                tallies[level] += Tally(1, int(not each.pair.label))
        found.append(calibrate(bound, tallies).threshold)
    return found


def tuned_similarity(weighed: Sequence[Weighed], bound: float) -> list[float | None]:
    """For each fold the lowest similarity above which the other folds have no more than `bound` wrong; None: none."""
    found = []
    for fold in range(FOLDS):
        others = sorted((each for each in weighed if each.fold != fold), key=lambda each: -each.similarity)
        lowest, wrong = None, 0
        for count, each in enumerate(others, start=1):
            wrong += not each.pair.label
            if wrong <= bound * count:
                lowest = each.similarity
        found.append(lowest)
    return found
