"""Is what an answer says in what its agent was given? Claims that can be looked up are; the rest is not judged.

Seen: numbers with their units, dates and times, money, quotations, addresses, file names, identifiers, proper names.
Not seen: a wrong relation between right facts, a negation, a cause or an event invented in plain words.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import cached_property
from itertools import islice
from typing import Any

from cognitionos.agents.domain.dates import Moment, agrees, later, moments
from cognitionos.agents.domain.evidence import BLANK, Evidence, blanked
from cognitionos.agents.domain.known_numbers import KnownNumbers
from cognitionos.agents.domain.literals import ClaimKind, is_repeated, literals, quotations
from cognitionos.agents.domain.names import is_known, names, silent_parts
from cognitionos.agents.domain.quantities import CURRENCIES, Quantity, quantities

MOST_ANSWER_CHARACTERS = 50_000
MOST_CLAIMS = 400
MOST_UNSUPPORTED = 50
_LONGEST_CLAIM = 200
_MOST_SPANS = 30
_MOST_APART = 40_000
_LIST_ITEM = "•"
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)


class Grounding(StrEnum):
    """What is done with the claims of an agent's answer that nothing supports; each does what those before it do.

    `off`: nothing. `report`: they are recorded. `review`: the critic, or the agent itself, is asked once more about
    them. `approve`: a person decides about those that remain.
    """

    OFF = "off"
    REPORT = "report"
    REVIEW = "review"
    APPROVE = "approve"

    @property
    def level(self) -> int:
        """Its place in the order."""
        return list(Grounding).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A piece of an answer that can be looked up, at `start`..`end` (characters)."""

    kind: ClaimKind
    text: str
    start: int
    end: int

    def as_json(self) -> dict[str, Any]:
        """As it is stored and shown; `start` and `end` count characters of the answer."""
        return {"kind": self.kind.value, "text": self.text, "start": self.start, "end": self.end}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How many claims were looked up, and the first of those that nothing supports, in the order of the answer."""

    checked: int
    unsupported: tuple[Claim, ...]


def check(answer: str, evidence: Sequence[str]) -> Check:
    """Look up the claims of `answer` in `evidence` (texts, plain or JSON). Takes milliseconds to a second of CPU."""
    judged = sorted(_Reading(answer[:MOST_ANSWER_CHARACTERS], Evidence(evidence)).judged(), key=_place)[:MOST_CLAIMS]
    unsupported = [claim for claim, is_supported in judged if not is_supported]
    return Check(checked=len(judged), unsupported=tuple(unsupported[:MOST_UNSUPPORTED]))


def told(found: Check) -> dict[str, Any]:
    """As it is stored and shown."""
    return {"checked": found.checked, "unsupported": [each.as_json() for each in found.unsupported]}


def check_of(stored: Mapping[str, Any]) -> Check:
    """From `told`."""
    claims = (Claim(**{**each, "kind": ClaimKind(each["kind"])}) for each in stored["unsupported"])
    return Check(checked=stored["checked"], unsupported=tuple(claims))


@dataclass
class _Reading:
    """An answer being read; what was read is blanked out, so that nothing is read twice."""

    answer: str
    evidence: Evidence
    text: str = field(init=False)
    found: list[tuple[Claim, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Code is no claim."""
        self.text = blanked(self.answer, (match.span() for match in _FENCE.finditer(self.answer)))

    def judged(self) -> list[tuple[Claim, bool]]:
        """Each claim, and whether it is supported."""
        known = self.evidence
        self._take((each.kind, each.start, each.end, is_repeated(each, known.plain)) for each in quotations(self.text))
        dates = list(moments(self.text))
        self._take(
            (each.kind, each.start, each.end, is_repeated(each, known.plain))
            for each in literals(self.text)
            if each.kind is ClaimKind.ADDRESS or not _is_within(each.start, each.end, dates)
        )
        self._take(
            (
                ClaimKind.TIME if each.minutes else ClaimKind.DATE,
                each.start,
                each.end,
                agrees(each, known.moments) or agrees(each, self._later),
            )
            for each in dates
            if BLANK not in self.text[each.start : each.end]
        )
        self._numbers()
        self.text = blanked(self.text, silent_parts(self.answer), filler=_LIST_ITEM)
        self._take(
            (ClaimKind.NAME, each.start, each.end, is_known(each, known.words, known.initials))
            for each in names(self.text)
        )
        return self.found

    def _take(self, judged: Iterable[tuple[ClaimKind, int, int, bool]]) -> None:
        new = [
            (Claim(kind=kind, text=self.answer[start:end][:_LONGEST_CLAIM], start=start, end=end), is_supported)
            for kind, start, end, is_supported in islice(judged, MOST_CLAIMS)
        ]
        self.found += new
        self.text = blanked(self.text, ((claim.start, claim.end) for claim, _ in new))

    def _numbers(self) -> None:
        known = KnownNumbers(self.text, self.evidence)
        numbers = [each for each in islice(quantities(self.text), MOST_CLAIMS) if not known.is_mark(each)]
        judged = zip(numbers, known.judge(numbers), strict=True)
        self._take((_kind(each), each.start, each.end, is_supported) for each, is_supported in judged)

    @cached_property
    def _later(self) -> Sequence[Moment]:
        """The known dates and times plus or minus the known durations; of dates a day more or less, for ends."""
        spans = [each for each in self.evidence.numbers if each.measure in {"time", "months"}][:_MOST_SPANS]
        lengths = {(span.measure, value) for span in spans for value in span.base}
        times = sorted({at for other in self.evidence.moments for at in other.minutes})[:_MOST_SPANS]
        minutes = {
            (at + sign * value / 60) % 1440
            for at in times
            for measure, value in lengths
            for sign in (1, -1)
            if measure == "time"
        }
        known = sorted({day for other in self.evidence.moments for day in other.days})[:_MOST_SPANS]
        days = {moved for day in known for measure, value in lengths for moved in _moved(day, measure, value)}
        readings = tuple((day.year, day.month, day.day, day.weekday()) for day in days)
        return Moment(start=0, end=0, minutes=tuple(minutes)), Moment(start=0, end=0, readings=readings)


def _moved(day: date, measure: str, value: float) -> Iterator[date]:
    """The day so much later and earlier, and the days beside it."""
    count = round(value / 86_400) if measure == "time" else round(value)
    if 0 < count < _MOST_APART:
        for sign in (1, -1):
            moved = later(day, days=sign * count) if measure == "time" else later(day, months=sign * count)
            yield from (later(moved, days=more) for more in (-1, 0, 1))


def _is_within(start: int, end: int, dates: Sequence[Moment]) -> bool:
    at = bisect_right(dates, start, key=lambda date: date.start) - 1
    return at >= 0 and end <= dates[at].end


def _kind(number: Quantity) -> ClaimKind:
    if number.measure == "%":
        return ClaimKind.PERCENTAGE
    return ClaimKind.MONEY if number.measure in CURRENCIES else ClaimKind.NUMBER


def _place(judged: tuple[Claim, bool]) -> int:
    return judged[0].start
