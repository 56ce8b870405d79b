"""What `tests.bench.semantic` prints of a set of weighed pairs: a table, or the same as a JSON document."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.bench.semantic_weigh import FOLDS, Accepts, Outcome, Weighed, outcome, thresholds, tuned_similarity

from cognitionos.llm_gateway.domain.semantic_calibration import BOUNDS, STARTS

USUAL_THRESHOLD = 0.80
"""The threshold on the similarity that caches commonly ship with."""
_COLUMNS = ("hit_rate", "false_hit_rate", "false_of_negatives", "recall")
_LEGEND = """\
hit rate: reused, of all pairs; false-hit rate: wrongly reused, of those reused;
false of neg.: wrongly reused, of the pairs with label 0; recall: rightly reused, of the pairs with label 1"""


def of(name: str, weighed: Sequence[Weighed], *, seconds: float) -> dict[str, Any]:
    """Everything said of a set, rates between 0 and 1. A rate of nothing (no hit, no negative) is null."""
    positives = sum(each.pair.label for each in weighed)
    refusals = Counter((each.refusal, each.pair.label) for each in weighed if each.refusal)
    return {
        "file": name,
        "pairs": len(weighed),
        "positives": positives,
        "negatives": len(weighed) - positives,
        "rules": [*_rules(weighed)],
        "refused_by_guards": {
            guard: {"label_0": refusals[guard, False], "label_1": refusals[guard, True]}
            for guard in dict.fromkeys(guard for guard, _ in refusals)
        },
        "seconds": round(seconds, 3),
    }


def table(report: dict[str, Any]) -> str:
    """The report for a reader."""
    head = ("hits", "false", "hit rate", "false-hit rate", "false of neg.", "recall")
    lines = [
        "",
        (
            f"{report['file']}: {report['pairs']} pairs, {report['positives']} mean the same (label 1),"
            f" {report['negatives']} do not"
        ),
        f"{'':40}{head[0]:>7}{head[1]:>7}" + "".join(f"{each:>16}" for each in head[2:]),
    ]
    for rule in report["rules"]:
        cells = "".join(f"{'-' if rule[each] is None else f'{100 * rule[each]:.2f} %':>16}" for each in _COLUMNS)
        said = " ".join("off" if each is None else f"{each:.3g}" for each in rule["thresholds"])
        lines.append(f"{rule['rule']:40}{rule['hits']:7}{rule['false_hits']:7}{cells}   at {said}")
    refused = (f"{guard} {each['label_0']} (+{each['label_1']})" for guard, each in report["refused_by_guards"].items())
    per_pair = 1000 * report["seconds"] / report["pairs"]
    return "\n".join(
        (
            *lines,
            _LEGEND,
            f"refused by guards (in brackets: of those that mean the same): {', '.join(refused) or 'none'}",
            f"{report['seconds']:.1f} s, {per_pair:.2f} ms a pair",
        )
    )


def _rules(weighed: Sequence[Weighed]) -> Iterator[dict[str, Any]]:
    def by_similarity(each: Weighed) -> float:
        return each.similarity

    def by_guarded_similarity(each: Weighed) -> float:
        return each.similarity if each.refusal is None else -1.0

    def by_score(each: Weighed) -> float:
        return each.sure

    usual = [USUAL_THRESHOLD] * FOLDS
    yield _rule("plain similarity, threshold 0.80", weighed, usual, by_similarity)
    for bound in BOUNDS:
        tuned = tuned_similarity(weighed, bound)
        yield _rule(f"plain similarity, tuned to {bound:.0%}", weighed, tuned, by_similarity, bound)
    yield _rule("our guards, similarity 0.80", weighed, usual, by_guarded_similarity)
    for bound in BOUNDS:
        shipped = [STARTS[bound]] * FOLDS
        yield _rule(f"ours, error bound {bound:.0%}", weighed, shipped, by_score, bound)
    for bound in BOUNDS:
        found = thresholds(weighed, bound)
        yield _rule(f"ours, error bound {bound:.0%}, calibrated", weighed, found, by_score, bound)


def _rule(
    name: str,
    weighed: Sequence[Weighed],
    limits: Sequence[float | None],
    value: Callable[[Weighed], float],
    bound: float | None = None,
) -> dict[str, Any]:
    found = outcome(weighed, _above(limits, value))
    return {
        "rule": name,
        "bound": bound,
        "thresholds": sorted(dict.fromkeys(limits), key=lambda each: 2.0 if each is None else each),
        "hits": found.hits,
        "false_hits": found.false_hits,
        **_rates(found),
    }


def _rates(found: Outcome) -> dict[str, float | None]:
    shares = (
        (found.hits, found.pairs),
        (found.false_hits, found.hits),
        (found.false_hits, found.pairs - found.positives),
        (found.hits - found.false_hits, found.positives),
    )
    return {
        name: round(part / whole, 6) if whole else None for name, (part, whole) in zip(_COLUMNS, shares, strict=True)
    }


def _above(limits: Sequence[float | None], value: Callable[[Weighed], float]) -> Accepts:
    def accepts(each: Weighed) -> bool:
        limit = limits[each.fold]
        return limit is not None and value(each) >= limit

    return accepts
