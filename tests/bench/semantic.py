"""How often the semantic cache would reuse an answer, and how often wrongly, on labelled pairs of questions.

`python -m tests.bench.semantic [FILE ...]`: files of `{"text_a", "text_b", "label"}` per line, label 1 where the same
answer serves both; without one, our own two parts (`semantic_pairs.py`). Nothing is asked of a model or a network: each
pair is decided as the product does, by its embedder, guards, score and calibration.

The calibration never sees what it is measured on: pairs are dealt into five folds (two with a text in common into the
same one), and each is decided at the threshold that the other four lead to.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.semantic_pairs import FOLDER, PARTS, Pair, read

from cognitionos.llm_gateway.domain import semantic_text
from cognitionos.llm_gateway.domain.semantic_calibration import BOUNDS, LEVELS, STARTS, Tally, calibrate, level_of
from cognitionos.llm_gateway.domain.semantic_guards import objection
from cognitionos.llm_gateway.domain.semantic_score import match, score, words_to_compare
from cognitionos.llm_gateway.infrastructure.semantic_embedder import embedder
from cognitionos.llm_gateway.infrastructure.semantic_words import WordVectors
from cognitionos.llm_gateway.infrastructure.wordllama_provider import WordLlamaProvider

FOLDS = 5
USUAL_THRESHOLD = 0.80
_AT_ONCE = 256
Accepts = Callable[["Weighed"], bool]


@dataclass(frozen=True, slots=True)
class Weighed:
    """A pair as the cache sees it. `sure` 0: a guard objects, named by `refusal`."""

    pair: Pair
    similarity: float
    sure: float
    refusal: str | None
    fold: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was accepted of all pairs."""

    pairs: int
    positives: int
    hits: int
    false_hits: int

    def line(self, name: str) -> str:
        """A row of the table."""
        negatives = self.pairs - self.positives
        shares = (
            self.hits / max(self.pairs, 1),
            self.false_hits / max(self.hits, 1),
            self.false_hits / max(negatives, 1),
            (self.hits - self.false_hits) / max(self.positives, 1),
        )
        cells = "".join(f"{100 * share:14.2f} %" for share in shares)
        return f"{name:34}{self.hits:8}{self.false_hits:8}{cells}"


async def weigh(pairs: Sequence[Pair]) -> list[Weighed]:
    """Every pair through embedder, guards and score."""
    embed, found = embedder(WordLlamaProvider()), []
    words = WordVectors(embed)
    folds = folds_of(pairs)
    for start in range(0, len(pairs), _AT_ONCE):
        some = pairs[start : start + _AT_ONCE]
        vectors = iter(await embed([text.lower() for each in some for text in (each.text_a, each.text_b)]))
        for place, pair in enumerate(some, start):
            similarity = sum(a * b for a, b in zip(next(vectors), next(vectors), strict=True))
            one, other = semantic_text.read(pair.text_a), semantic_text.read(pair.text_b)
            refusal, sure = objection(one, other), 0.0
            if refusal is None:
                likeness = await words.likeness(words_to_compare(one, other))
                sure = score(match(one, other, similarity=similarity, likeness=likeness))
            found.append(Weighed(pair, similarity, sure, refusal, folds[place]))
    return found


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


def tuned_similarity(weighed: Sequence[Weighed], bound: float) -> list[float]:
    """For each fold the lowest similarity above which the other folds have no more than `bound` wrong."""
    found = []
    for fold in range(FOLDS):
        others = sorted((each for each in weighed if each.fold != fold), key=lambda each: -each.similarity)
        lowest, wrong = 2.0, 0
        for count, each in enumerate(others, start=1):
            wrong += not each.pair.label
            if wrong <= bound * count:
                lowest = each.similarity
        found.append(lowest)
    return found


def report(name: str, weighed: Sequence[Weighed]) -> None:
    """Print the table of a set."""
    positives = sum(each.pair.label for each in weighed)
    print(f"\n{name}: {len(weighed)} pairs, {positives} mean the same, {len(weighed) - positives} do not")
    print(f"{'':34}{'hits':>8}{'false':>8}{'hit rate':>16}{'false / hits':>16}{'false / neg.':>16}{'recall':>16}")
    usual = outcome(weighed, lambda each: each.similarity >= USUAL_THRESHOLD)
    print(usual.line(f"similarity alone >= {USUAL_THRESHOLD:.2f}"))
    for bound in BOUNDS:
        lowest = tuned_similarity(weighed, bound)
        print(outcome(weighed, _above(lowest, lambda each: each.similarity)).line(f"similarity tuned to {bound:.0%}"))
    print(
        outcome(weighed, lambda each: each.refusal is None and each.similarity >= USUAL_THRESHOLD).line("with guards")
    )
    for bound in BOUNDS:
        start = STARTS[bound]
        print(outcome(weighed, lambda each, start=start: each.sure >= start).line(f"ours, {bound:.0%}, as shipped"))
    for bound in BOUNDS:
        found = thresholds(weighed, bound)
        said = " ".join("off" if each is None else f"{each:g}" for each in sorted(found, key=lambda each: each or 2))
        line = outcome(weighed, _above(found, lambda each: each.sure)).line(f"ours, {bound:.0%}, calibrated")
        print(f"{line}   thresholds {said}")
    refusals = Counter(each.refusal for each in weighed if each.refusal and not each.pair.label)
    wrongly = Counter(each.refusal for each in weighed if each.refusal and each.pair.label)
    print(
        "guards refused: " + ", ".join(f"{guard} {refusals[guard]} (+{wrongly[guard]})" for guard in refusals | wrongly)
    )
    print("(in brackets: of those that mean the same)")


def _above(lowest: Sequence[float | None], value: Callable[[Weighed], float]) -> Accepts:
    def accepts(each: Weighed) -> bool:
        limit = lowest[each.fold]
        return limit is not None and value(each) >= limit

    return accepts


def main(names: list[str]) -> int:
    """Report on the files, or on our own parts; gives the exit status."""
    files = [Path(name) for name in names] or [FOLDER / f"{part}.jsonl" for part in PARTS]
    for file in files:
        try:
            pairs = read(file)
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            return 2
        started = time.perf_counter()
        weighed = asyncio.run(weigh(pairs))
        report(file.name, weighed)
        print(f"{1000 * (time.perf_counter() - started) / max(len(pairs), 1):.2f} ms a pair")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
