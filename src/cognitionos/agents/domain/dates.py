"""Dates and times of day in running text, each in the ways it is written; what a text leaves open stays open.

"3/4/2026" may be March or April and is read as both.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from cognitionos.kernel.english import NUMBERS

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR = r"(?:1[5-9]|20|21)\d\d"
_DATE = re.compile(
    rf"""
    (?<![\w./-])(?:
      (?P<iso>{_YEAR}-\d\d-\d\d)(?![\d-]|\.\d)
    | (?P<iso_month>{_YEAR}-(?:0[1-9]|1[0-2]))(?![\d-])
    | (?P<d1>{_DAY})\.?\s(?:of\s)?(?P<m1>{_MONTH})(?:,?\s(?P<y1>{_YEAR}))?\b
    | (?P<m2>{_MONTH})\s(?P<d2>{_DAY})\b(?!:)(?:,?\s(?P<y2>{_YEAR})\b)?
    | (?P<m3>{_MONTH})\s(?P<y3>{_YEAR})\b
    | (?P<a>\d{{1,2}})(?P<mark>[./-])(?P<b>\d{{1,2}})(?P=mark)(?P<y4>{_YEAR}|\d\d)(?![\w/-]|\.\d)
    | (?P<m5>(?-i:January|February|March|April|June|July|August|September|October|November|December|(?<=\bin\ )May))\b
    | (?P<weekday>(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)s?\b
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_TIME = re.compile(
    r"(?<![\w.,:])(?:(?P<h>[01]?\d|2[0-4])[:h](?P<m>[0-5]\d)(?::(?P<s>[0-5]\d)(?:\.\d+)?)?\s?(?P<half>[ap]\.?m\b)?"
    r"|(?P<h2>1[0-2]|0?[1-9])\s?(?P<half2>[ap]\.?m\b)"
    r"|(?P<h3>\d{1,2}|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\s?o['\u2019]clock)(?![:\w])",
    re.IGNORECASE,
)
_STAMP = re.compile(rf"(?<![\w-])({_YEAR}-\d\d-\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A date or a time of day. `readings` are (year, month, day, weekday), None where the text leaves it open;
    `minutes` are those after midnight.
    """

    start: int
    end: int
    readings: tuple[tuple[int | None, int | None, int | None, int | None], ...] = ()
    minutes: tuple[float, ...] = ()

    @property
    def days(self) -> tuple[date, ...]:
        """The whole dates among its readings."""
        found = []
        for year, month, day, _ in self.readings:
            if year is not None and month is not None and day is not None:
                made = _made(year, month, day)
                found += [made] if made is not None else []
        return tuple(found)


def moments(text: str) -> Iterator[Moment]:
    """Every date and time of `text`, in order; of two that overlap the one that begins first."""
    found = sorted((*_stamps(text), *_dates(text), *_times(text)), key=lambda each: (each.start, -each.end))
    end = 0
    for each in found:
        if each.start >= end:
            end = each.end
            yield each


def agrees(claim: Moment, known: Sequence[Moment]) -> bool:
    """Whether what `claim` says of a date or a time is said by `known`; a year may come from another date."""
    if claim.minutes:
        return any(abs(said - each) < 0.5 for said in claim.minutes for one in known for each in one.minutes)
    return any(_said(reading, known) for reading in claim.readings)


def later(day: date, *, days: int = 0, months: int = 0) -> date:
    """So much later (or earlier); the last day of a month stays in its month."""
    count = day.year * 12 + day.month - 1 + months
    year, month = divmod(count, 12)
    if not 1 <= year <= 9998:
        return day
    last = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
    return date(year, month + 1, min(day.day, last)) + timedelta(days=days)


def _said(reading: tuple[int | None, int | None, int | None, int | None], known: Sequence[Moment]) -> bool:
    year, month, day, weekday = reading
    others = [other for one in known for other in one.readings]
    if month is None and day is None and weekday is not None:
        return any(weekday in (other[3], _weekday(other)) for other in others)
    for other in others:
        if month != other[1] or (day is not None and day != other[2]):
            continue
        if year is None or other[0] == year:
            return True
        if other[0] is None and any(each[0] == year for each in others):
            return True
    return False


def _weekday(reading: tuple[int | None, int | None, int | None, int | None]) -> int | None:
    year, month, day, _ = reading
    made = _made(year, month, day) if year and month and day else None
    return None if made is None else made.weekday()


def _stamps(text: str) -> Iterator[Moment]:
    """Time stamps as machines write them: a date, and a time right behind it."""
    for match in _STAMP.finditer(text):
        year, month, day = (int(part) for part in match[1].split("-"))
        yield Moment(start=match.start(1), end=match.end(1), readings=((year, month, day, None),))
        minutes = int(match[2]) * 60 + int(match[3])
        exact = minutes + int(match[4] or 0) / 60
        yield Moment(start=match.start(2), end=match.end(), minutes=(float(minutes), exact))


def _dates(text: str) -> Iterator[Moment]:
    for match in _DATE.finditer(text):
        yield Moment(start=match.start(), end=match.end(), readings=tuple(_readings(match)))


def _readings(match: re.Match[str]) -> Iterator[tuple[int | None, int | None, int | None, int | None]]:
    if match["iso"] or match["iso_month"]:
        year, month, *rest = (int(part) for part in (match["iso"] or match["iso_month"]).split("-"))
        yield year, month, (rest[0] if rest else None), None
    elif match["weekday"]:
        yield None, None, None, _DAYS.index(match["weekday"].casefold())
    elif match["y4"]:
        one, other, year = int(match["a"]), int(match["b"]), int(match["y4"])
        year += 2000 if year < 100 else 0
        for day, month in {(one, other), (other, one)}:
            if month <= 12 and day <= 31:
                yield year, month, day, None
    else:
        for month_text, day_text, year_text in (
            (match["m1"], match["d1"], match["y1"]),
            (match["m2"], match["d2"], match["y2"]),
            (match["m3"], None, match["y3"]),
            (match["m5"], None, None),
        ):
            if month_text:
                year_said = int(year_text) if year_text else None
                day_said = int(re.sub(r"\D", "", day_text)) if day_text else None
                yield year_said, _MONTHS.index(month_text[:3].casefold()) + 1, day_said, None


def _times(text: str) -> Iterator[Moment]:
    for match in _TIME.finditer(text):
        hours_said = match["h"] or match["h2"] or match["h3"]
        hours = int(hours_said) if hours_said.isdecimal() else int(NUMBERS[hours_said.casefold()])
        half = (match["half"] or match["half2"] or "").casefold()
        if half:
            hours = hours % 12 + (12 if half.startswith("p") else 0)
        minutes = hours * 60.0 + int(match["m"] or 0)
        said = {minutes, minutes + int(match["s"] or 0) / 60}
        if match["h3"]:
            said.add((minutes + 720) % 1440)
        yield Moment(start=match.start(), end=match.end(), minutes=tuple(sorted(said)))


def _made(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
