"""From how sure on answers may be reused, so that no more than the tenant's share of them is wrong.

The threshold is one of `LEVELS`. It starts where the labelled pairs that ship with the tests put it. Judgements move
it: up as soon as more than the bound's share of what it lets through was wrong; down a level at a time, when it is
proven that the share below is within the bound. Where even the highest level is proven to break it, there is none.

"Proven" is by a confidence sequence for a share, a mixture of likelihood ratios over a beta prior: it holds at every
moment at once with `CONFIDENCE`, so looking after each judgement is no mistake, as it would be with Clopper and
Pearson's interval. Source: H. Robbins, "Statistical methods related to the law of the iterated logarithm", 1970.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma, log

LEVELS = (
    0.30, 0.40, 0.50, 0.60, 0.70, 0.75, 0.80, 0.84, 0.87, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 0.994,
)  # fmt: skip
BOUNDS = (0.01, 0.02, 0.05)
STARTS = {0.01: 0.95, 0.02: 0.92, 0.05: 0.80}
"""The first threshold for each bound: `python -m tests.bench.semantic` shows what it lets through."""
CONFIDENCE = 0.95
_PRIOR = (0.5, 12.0)
_STEPS = 60


@dataclass(frozen=True, slots=True)
class Tally:
    """Judged reuses of one level up to the next: how many, and how many of them were wrong."""

    judged: int = 0
    wrong: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(self.judged + other.judged, self.wrong + other.wrong)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """`threshold` None: nothing is reused, since the bound cannot be kept. `state` says how it came about.

    `shipped`, `raised`, `lowered` or `off`; `tally` is what was judged at the threshold and above, `at_most` the share
    of wrong ones that is proven for it.
    """

    threshold: float | None
    state: str
    tally: Tally
    at_most: float


def level_of(score: float) -> int | None:
    """The place in `LEVELS` of the highest level that `score` reaches; None: it reaches none."""
    reached = [place for place, level in enumerate(LEVELS) if score >= level]
    return reached[-1] if reached else None


def calibrate(bound: float, tallies: Sequence[Tally]) -> Calibration:
    """The threshold for `bound` after the judgements in `tallies`, one of each level."""
    above = _from_the_top(tallies)
    start = LEVELS.index(STARTS[bound])
    level: int | None = start
    state = "shipped"
    if above[start].wrong <= bound * above[start].judged:
        while level and at_most(above[level - 1]) <= bound:
            level, state = level - 1, "lowered"
    else:
        within = (place for place in range(start + 1, len(LEVELS)) if above[place].wrong <= bound * above[place].judged)
        level, state = next(within, len(LEVELS) - 1), "raised"
        if above[level].wrong > bound * above[level].judged and at_least(above[level]) > bound:
            level, state = None, "off"
    tally = above[-1 if level is None else level]
    threshold = None if level is None else LEVELS[level]
    return Calibration(threshold=threshold, state=state, tally=tally, at_most=at_most(tally))


def at_most(tally: Tally) -> float:
    """The largest share of wrong ones that the judgements do not refute."""
    if tally.wrong >= tally.judged:
        return 1.0
    inside, outside = tally.wrong / tally.judged, 1.0
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if _is_refuted(tally, middle) else (middle, outside)
    return outside


def at_least(tally: Tally) -> float:
    """The smallest share of wrong ones that the judgements do not refute."""
    if tally.wrong == 0:
        return 0.0
    outside, inside = 0.0, tally.wrong / tally.judged
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        outside, inside = (middle, inside) if _is_refuted(tally, middle) else (outside, middle)
    return outside


def _is_refuted(tally: Tally, share: float) -> bool:
    """Whether the judgements are 1 / (1 - CONFIDENCE) times likelier under the mixture than with this share wrong."""
    if not 0.0 < share < 1.0:
        return True
    a, b = _PRIOR
    right = tally.judged - tally.wrong
    mixture = _log_beta(a + tally.wrong, b + right) - _log_beta(a, b)
    return mixture - tally.wrong * log(share) - right * log(1 - share) >= -log(1 - CONFIDENCE)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _from_the_top(tallies: Sequence[Tally]) -> list[Tally]:
    sums, total = [], Tally()
    for tally in reversed(tallies):
        total = total + tally
        sums.append(total)
    return sums[::-1]
