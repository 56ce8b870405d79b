"""What follows from numbers by simple arithmetic: sums, means, differences, shares, changes, products, rates.

Any number follows from enough others somehow. So operands are few (columns of a table, pairs of which one stands in
the answer too), and the sentence has to speak of the operation: "in total", "more than", "per person".
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from statistics import fmean, median
from typing import Generic, TypeVar


class Operation(StrEnum):
    """How a number follows."""

    SUM = "sum"
    DIFFERENCE = "difference"
    SHARE = "share"
    PRODUCT = "product"
    RATE = "rate"
    OF_COLUMN = "of a column"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in its measure's own unit."""

    value: float
    measure: str


Column = tuple[Figure | None, ...]
"""Numbers that belong together, line by line."""
Made = tuple[Operation, Figure]
Item = TypeVar("Item")

_MOST_TABLES = 200
_MOST_ROWS = 100
_MOST_COLUMNS = 6
_OF_SMALL = frozenset({Operation.PRODUCT, Operation.RATE})
_TALK = {
    Operation.SUM: r"total|totals|sum|together|combined|altogether|overall|in all|both|all|add|adds|plus|and|\+",
    Operation.DIFFERENCE: r"differ\w*|more|less|fewer|than|above|below|beyond|left|leav\w+|remain\w*|rest|short|gap"
    r"|margin"
    r"|ris\w+|rose|fell|fall\w*|dr[oe]p\w*|gr[eo]w\w*|gain\w*|los[ts]|loses?|losing|(?:in|de)creas\w+|declin\w+|up|down|by"
    r"|sav\w+|cheaper|longer|shorter|later|earlier|faster|slower|higher|lower|larger|smaller|exceed\w*|chang\w+|compared"
    r"|ahead|behind|instead|lasted|took|takes|after|old|age|years|points|reduc\w+|cut|difference|-|\u2212",
    Operation.SHARE: r"%|percent\w*|share|rate|of|half|third|quarter|ratio|gain|off",
    Operation.PRODUCT: r"times|twice|double|triple|half|each|total|whole|over|costs?|pays?|need\w*|for|year|month|makes"
    r"|x|\u00d7|\*",
    Operation.RATE: r"per|each|every|average|a|an|mean|times|ratio|divided|share|twice|/",
    Operation.OF_COLUMN: r".",
}
_CUES = {
    operation: re.compile(rf"(?<!\w)(?:{words})(?!\w)" if words != "." else ".", re.IGNORECASE)
    for operation, words in _TALK.items()
}


class Ordered(Generic[Item]):
    """What is found by its size."""

    def __init__(self, sized: Iterable[tuple[float, Item]]) -> None:
        given = sorted(sized, key=lambda each: each[0])
        self._sizes, self._items = [size for size, _ in given], [item for _, item in given]

    def between(self, least: float, most: float) -> Sequence[Item]:
        """Those whose size is from `least` to `most`."""
        return self._items[bisect_left(self._sizes, least) : bisect_right(self._sizes, most)]


def is_small(figure: Figure) -> bool:
    """Whether sums and differences with it say nothing: a neighbour follows from every number."""
    return not figure.measure and figure.value in {0, 1, 2}


def of_pairs(pairs: Iterable[tuple[Figure, Figure]]) -> Iterator[Made]:
    """What the pairs give; of small numbers only products and rates."""
    for one, other in pairs:
        few = is_small(one) or is_small(other)
        yield from (each for each in of_pair(one, other) if not few or each[0] in _OF_SMALL)


def spoken_of(sentence: str) -> frozenset[Operation]:
    """The operations that the words of a sentence may mean."""
    return frozenset(operation for operation, cue in _CUES.items() if cue.search(sentence))


def of_tables(tables: Sequence[tuple[Column, ...]]) -> Iterator[Made]:
    """Each column's sum, mean, median and range; the sum of two columns' products; each line's pairs."""
    for table in tables[:_MOST_TABLES]:
        for column in table:
            for figure in _of_column([figure for figure in column if figure is not None]):
                yield Operation.OF_COLUMN, figure
        for one, other in combinations(table[:_MOST_COLUMNS], 2):
            lines = [(a, b) for a, b in zip(one, other, strict=False) if a is not None and b is not None][:_MOST_ROWS]
            for a, b in lines:
                yield from of_pair(a, b)
            if len(lines) > 1:
                made = Figure(sum(a.value * b.value for a, b in lines), lines[0][0].measure or lines[0][1].measure)
                yield Operation.PRODUCT, made


def of_pair(one: Figure, other: Figure) -> Iterator[Made]:
    """What two numbers give together, either way round."""
    a, b = one.value, other.value
    if (one.measure == "%") != (other.measure == "%"):
        yield from _of_share(one, other)
        return
    if one.measure == other.measure:
        yield Operation.DIFFERENCE, Figure(abs(a - b), one.measure)
        yield Operation.SUM, Figure(a + b, one.measure)
        if one.measure == "%":
            return
        for x, y in ((a, b), (b, a)):
            if y:
                yield Operation.SHARE, Figure(100 * x / y, "%")
                yield Operation.DIFFERENCE, Figure(100 * (x - y) / y, "%")
    if one.measure != other.measure or not one.measure:
        for measure in {one.measure, other.measure} - ({""} if one.measure or other.measure else set()):
            yield Operation.PRODUCT, Figure(a * b, measure)
    for top, under in ((one, other), (other, one)):
        if under.value:
            measure = "" if top.measure == under.measure else top.measure
            yield Operation.RATE, Figure(top.value / under.value, measure)


def _of_column(column: Sequence[Figure]) -> Iterator[Figure]:
    if len(column) < 2:
        return
    values, measure = [figure.value for figure in column], column[0].measure
    yield Figure(sum(values), measure)
    yield Figure(fmean(values), measure)
    yield Figure(median(values), measure)
    yield Figure(max(values) - min(values), measure)


def _of_share(one: Figure, other: Figure) -> Iterator[Made]:
    """A percentage of something, what is left of it, what it becomes."""
    for share, whole in ((one, other), (other, one)):
        if share.measure == "%":
            part = share.value / 100
            yield Operation.SHARE, Figure(part * whole.value, whole.measure)
            yield Operation.DIFFERENCE, Figure((1 - part) * whole.value, whole.measure)
            yield Operation.DIFFERENCE, Figure((1 + part) * whole.value, whole.measure)
