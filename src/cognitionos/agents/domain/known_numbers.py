"""Is a number of an answer in its evidence, or does it follow from there by counting or simple arithmetic?"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import combinations, product

from cognitionos.agents.domain.arithmetic import Figure, Made, Operation, Ordered, of_pairs, of_tables, spoken_of
from cognitionos.agents.domain.evidence import Evidence, counts_in, figures_of
from cognitionos.agents.domain.literals import plain
from cognitionos.agents.domain.quantities import CURRENCIES, Quantity, bounds
from cognitionos.kernel.english import GRAMMAR, stem, words

_MOST_OPERANDS = 40
_MOST_MOMENTS = 30
_MOST_COUNTED = 1_000
_LONGEST_LIST = 40
_LONGEST_SENTENCE = 300
_ROUNDS = 3
_FEW = 12
_BACK = 24
_LITTLE_LESS = 0.95
_DAY_S, _DAYS_A_MONTH = 86_400, 30.44
_YEAR = re.compile(r"1[5-9]\d\d|20\d\d|21\d\d")
_STEP = re.compile(
    r"\b(?:step|option|part|phase|point|example|tip|item|stage|approach|alternative|no|nr)\.?\s\Z", re.IGNORECASE
)
_LINE_BEGINS = re.compile(r"(?:\A|\n)[\s#*]*\Z")
_LIST_MARK = re.compile(r"[.)]\s")
_ITEM = re.compile(r"[ \t]*(?:[-*•|]|\d{1,3}[.)])")
_BEFORE = re.compile(r"\b([^\W\d_]{2,}) #?\Z")
_PART = re.compile(
    r"\b(?:the|these|those|all|other|both|first|last|next|following|remaining|only)\s(?:\w+\s)?\Z", re.IGNORECASE
)
_ONE_IN = re.compile(r"\b(?:one|1) (?:in|out of)(?: every)? \Z", re.IGNORECASE)
_IN_HUNDRED = re.compile(r"\b(?:in|out of|of)(?: every)? \Z", re.IGNORECASE)
_RATE = re.compile(r"\s?(?:\w+\s)?(?:per|an?|each|every)\s(?:second|minute|hour|day|week|month|quarter|year)\b")
_PER_UNIT = (60.0, 3_600.0, 24.0, 7.0, 12.0, 52.0, 365.0, 4.0)
_LABELS = words("""
    room table line coach seat episode class order version page issue ticket batch chapter article section number build
    gate platform track floor flight channel port row level house invoice case file group team zone unit exhibit clause
    """)
"""Before a number: its name, not how many."""


class KnownNumbers:
    """The numbers of `text` (an answer of which other claims are blanked out) beside the evidence."""

    def __init__(self, text: str, evidence: Evidence) -> None:
        self._text, self._evidence = text, evidence

    def judge(self, numbers: Sequence[Quantity]) -> list[bool]:
        """Of each number whether it is given or follows, also from others that follow."""
        known = [self._is_given(each) for each in numbers]
        for _ in range(_ROUNDS):
            if all(known):
                break
            results = self._results([each for each, is_known in zip(numbers, known, strict=True) if is_known])
            more = [is_known or self._follows(each, results) for each, is_known in zip(numbers, known, strict=True)]
            if more == known:
                break
            known = more
        return known

    def is_mark(self, number: Quantity) -> bool:
        """Whether it counts lines or steps, and so claims nothing."""
        before = self._before(number)
        begins = _LINE_BEGINS.search(before) is not None and _LIST_MARK.match(self._text, number.end) is not None
        return begins or _STEP.search(before) is not None

    def _before(self, number: Quantity) -> str:
        return self._text[max(0, number.start - _BACK) : number.start]

    def _said(self, number: Quantity) -> str:
        return self._text[number.start : number.end]

    def _is_given(self, number: Quantity) -> bool:
        if self._is_year(number):
            years = {year for moment in self._evidence.moments for year, *_ in moment.readings}
            return int(number.values[0]) in years or self._is_there(number)
        labelled = self._labelled(number)
        if labelled is not None:
            return labelled
        before = self._before(number)
        if number.values[0] in {100, 1000} and _IN_HUNDRED.search(before):
            return True
        if _ONE_IN.search(before):
            return self._is_one_in(number.values[0])
        if self._is_there(number) or self._said(number) in self._evidence.marked:
            return True
        return not number.measure and self._is_count(number)

    def _is_there(self, number: Quantity) -> bool:
        """Whether the evidence says it, by the number itself, in another unit, or (a percentage) as a fraction."""
        likely = {number.factor, 1.0} | ({0.01} if number.measure == "%" else set())
        likely |= {_DAY_S * _DAYS_A_MONTH * number.factor} if number.measure == "months" else set()
        return any(
            _fits(number, other)
            for factor in likely
            for least, most in bounds(number, factor)
            for other in self._sizes.between(least * _LITTLE_LESS, most / _LITTLE_LESS)
        )

    @cached_property
    def _sizes(self) -> Ordered[Quantity]:
        """The evidence's numbers by what they say, and by that in their measure's own unit."""
        numbers = dict.fromkeys(self._evidence.numbers)
        return Ordered((abs(size), number) for number in numbers for size in {*number.values, *number.base})

    def _is_one_in(self, number: float) -> bool:
        percent = 100 / (number or 1)
        share = Quantity(values=(percent,), step=2.0, start=0, end=0, measure="%", is_exact=False)
        if self._is_there(share):
            return True
        pairs = _by_size(of_pairs(combinations(self._figures, 2)))
        found = (figure for bound in bounds(share, 1.0) for _, figure in pairs.between(*bound))
        return any(figure.measure == "%" for figure in found)

    def _labelled(self, number: Quantity) -> bool | None:
        """Of a number that names something ("room 7", "Debian 12"): whether it does there too; None: it does not."""
        said, before = self._said(number), _BEFORE.search(self._before(number))
        if before is None or not said.isdecimal():
            return None
        known = self._evidence.labelled.get(plain(before[1]))
        if known is None or not (before[1][0].isupper() or before[1] in _LABELS):
            return None
        return said in known

    def _is_year(self, number: Quantity) -> bool:
        return not number.measure and _YEAR.fullmatch(self._said(number)) is not None

    def _is_count(self, number: Quantity) -> bool:
        """Whether so many things are listed, or some of a list are meant; a count of what is not spoken of is none."""
        value, noun = number.values[0], stem(number.noun)
        if value != int(value) or value > _MOST_COUNTED:
            return False
        if value in self._counts or (noun and len(self._evidence.words.get(noun, ())) == value):
            return True
        if value > _FEW:
            return False
        is_part = number.noun == "of" or _PART.search(self._before(number)) is not None
        if is_part and value < max(self._counts, default=0):
            return True
        if number.noun in GRAMMAR or not noun:
            return value <= 3
        return noun not in self._evidence.words

    @cached_property
    def _counts(self) -> frozenset[int]:
        return self._evidence.counts | counts_in(self._text)

    def _follows(self, number: Quantity, results: Ordered[Made]) -> bool:
        """Whether it follows by arithmetic that its sentence speaks of."""
        if self._is_year(number) or self._labelled(number) is not None:
            return False
        spoken, strict = spoken_of(self._sentence(number)), number.measure in self._measures
        for factor in {number.factor, 1.0}:
            for bound in bounds(number, factor):
                for operation, figure in (*self._aggregates.between(*bound), *results.between(*bound)):
                    if operation in spoken and _may_be(number, figure, strict=strict, factor=factor):
                        return True
        return _RATE.match(self._text, number.end) is not None and any(
            _may_be(number, other, strict=strict, factor=factor)
            and any(least <= abs(value) <= most for value in _per_unit(other.value))
            for other in self._figures
            for factor in {number.factor, 1.0}
            for least, most in bounds(number, factor)
        )

    @cached_property
    def _measures(self) -> frozenset[str]:
        """What numbers of the evidence measure, money aside (tables seldom say which): such follow from such only."""
        return frozenset(number.measure for number in self._evidence.numbers) - {"", "%"} - CURRENCIES

    @cached_property
    def _figures(self) -> Sequence[Figure]:
        made = (each for other in self._evidence.numbers for each in figures_of(other))
        return list(dict.fromkeys(made))[:_MOST_OPERANDS]

    def _results(self, given: Sequence[Quantity]) -> Ordered[Made]:
        """What follows from pairs: of the answer's numbers, of these and the evidence's; of a few of the evidence's."""
        mine = [figure for other in given[:_MOST_OPERANDS] for figure in figures_of(other)]
        pairs = [*combinations(mine, 2), *product(mine, self._figures)]
        if len({figure.value for figure in self._figures}) <= _FEW:
            pairs += combinations(self._figures, 2)
        return _by_size(of_pairs(pairs))

    @cached_property
    def _aggregates(self) -> Ordered[Made]:
        """What follows from the evidence alone: of its tables, and the time between its dates and times."""
        times = sorted({max(moment.minutes) for moment in self._evidence.moments if moment.minutes})[:_MOST_MOMENTS]
        days = sorted({day for moment in self._evidence.moments for day in moment.days})[:_MOST_MOMENTS]
        apart = [Figure(60 * (later - sooner), "time") for sooner, later in combinations(times, 2)]
        for first, last in combinations(days, 2):
            count = (last - first).days
            apart += [Figure(_DAY_S * count, "time"), Figure(_DAY_S * (count + 1), "time")]
            apart.append(Figure(count / _DAYS_A_MONTH, "months"))
        made = list(of_tables(self._evidence.tables))
        return _by_size([*made, *((Operation.OF_COLUMN, figure) for figure in apart)])

    def _sentence(self, number: Quantity) -> str:
        """The sentence of a number, with the line that its list hangs on."""
        start = max(self._text.rfind(mark, 0, number.start) for mark in (". ", "\n", "! ", "? "))
        line = self._text.rfind("\n", 0, number.start) + 1
        if _ITEM.match(self._text, line):
            start = _head_of_list(self._text, line) - 1
        ends = [at for mark in (". ", "\n") if (at := self._text.find(mark, number.end)) >= 0]
        start, end = max(start + 1, number.start - _LONGEST_SENTENCE), min(ends, default=len(self._text))
        return self._text[start : min(end, number.end + _LONGEST_SENTENCE)]


def _by_size(made: Iterable[Made]) -> Ordered[Made]:
    return Ordered((abs(each[1].value), each) for each in made)


def _fits(claim: Quantity, known: Quantity) -> bool:
    """Whether a number of the evidence is the one that is claimed."""
    cents = "cent" in {claim.measure, known.measure} and {claim.measure, known.measure} <= CURRENCIES
    if claim.measure == known.measure or cents:
        return _near(claim, known.base, claim.factor)
    if claim.measure and known.measure:
        return _is_span(claim, known)
    if _near(claim, known.values, 1.0):
        return True
    shares = tuple(100 * value for value in known.values if 0 < abs(value) < 10)
    return claim.measure == "%" and _near(claim, shares, 1.0)


def _is_span(claim: Quantity, known: Quantity) -> bool:
    """Whether months or years are so many days, as people reckon."""
    months = known.base[0] / _DAY_S / _DAYS_A_MONTH
    return (claim.measure, known.measure) == ("months", "time") and abs(months - claim.base[0]) < 0.03 * claim.base[0]


def _may_be(claim: Quantity, made: Figure, *, strict: bool, factor: float) -> bool:
    """Whether the two may be compared by this factor; `strict`: what is measured must be said by both."""
    if claim.measure == made.measure or (claim.measure == "cent" and made.measure in CURRENCIES):
        return factor == claim.factor
    return not (strict or made.measure == "%" or claim.measure == "%" or (claim.measure and made.measure))


def _near(claim: Quantity, values: Sequence[float], factor: float) -> bool:
    """Whether one of `values` would be said as `claim` is."""
    return any(least <= abs(value) <= most for least, most in bounds(claim, factor) for value in values)


def _per_unit(value: float) -> Iterator[float]:
    """A rate for other spans of time."""
    for each in _PER_UNIT:
        yield value * each
        yield value / each


def _head_of_list(text: str, line: int) -> int:
    """Where the line begins that a list hangs on; `line` is where one of its items does."""
    for _ in range(_LONGEST_LIST):
        if line == 0 or (text[line : text.find("\n", line)].strip() and not _ITEM.match(text, line)):
            break
        line = text.rfind("\n", 0, line - 1) + 1
    return line
