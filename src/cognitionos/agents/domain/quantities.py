"""Numbers in running text: value, unit and how exactly they were said ("1.2 thousand", "3 %", "half an hour").

A number written in two ways that cannot be told apart ("1.200") has both values.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from cognitionos.kernel.english import NUMBERS, UNITS, words

Hedge = Literal["", "about", "above", "below"]
"""How a number was softened: "some 400", "over 400", "nearly 400"."""

_SCALES = {
    **dict.fromkeys(("hundred", "hundreds"), 1e2),
    **dict.fromkeys(("thousand", "thousands", "k", "K"), 1e3),
    **dict.fromkeys(("million", "millions", "mn", "M", "mio"), 1e6),
    **dict.fromkeys(("billion", "billions", "bn", "B"), 1e9),
    "trillion": 1e12,
}
_NEEDS_MONEY = words("M B")
_MEASURES: Mapping[str, tuple[str, float]] = {
    **{unit: ("time", factor) for unit, factor in (("ms", 1e-3), ("s", 1), ("min", 60), ("h", 3600), ("day", 86400))},
    **{unit: ("time", factor) for unit, factor in (("us", 1e-6), ("ns", 1e-9), ("week", 604_800))},
    **{unit: ("months", factor) for unit, factor in (("month", 1), ("quarter_", 3), ("year", 12))},
    **{unit: ("mass", factor) for unit, factor in (("mg", 1e-3), ("g", 1), ("kg", 1e3), ("t", 1e6))},
    **{unit: ("imperial mass", factor) for unit, factor in (("oz", 1), ("lb", 16))},
    **{unit: ("length", factor) for unit, factor in (("mm", 1e-3), ("cm", 1e-2), ("m", 1), ("km", 1e3))},
    **{unit: ("imperial length", factor) for unit, factor in (("inch", 1), ("foot", 12), ("mile", 63_360))},
    **{unit: ("volume", factor) for unit, factor in (("ml", 1e-3), ("cl", 1e-2), ("l", 1))},
    **{unit: ("bytes", factor) for unit, factor in (("kb", 1e3), ("mb", 1e6), ("gb", 1e9), ("tb", 1e12))},
    **{unit: ("binary bytes", 1024.0**power) for power, unit in enumerate(("kib", "mib", "gib", "tib"), 1)},
    **{unit: ("power", factor) for unit, factor in (("w", 1), ("kw", 1e3), ("mw", 1e6))},
    **{unit: ("energy", factor) for unit, factor in (("wh", 1), ("kwh", 1e3), ("mwh", 1e6), ("gwh", 1e9))},
    "cent": ("cent", 0.01),
    "pence": ("cent", 0.01),
}
"""What a unit measures, and how much of the measure's own unit it is; every other unit measures itself."""
_ALSO = {
    name: names[0]
    for names in (
        ("ms", "msec", "millisecond", "milliseconds"),
        ("us", "µs", "microsecond", "microseconds"),
        ("ns", "nanosecond", "nanoseconds"),
        ("quarter_", "quarters"),
        ("t", "tonne", "tonnes", "ton", "tons"),
        ("kib", "kibibyte", "kibibytes"),
        ("mib", "mebibyte", "mebibytes"),
        ("gib", "gibibyte", "gibibytes"),
        ("tib", "tebibyte", "tebibytes"),
        ("cl", "centilitre", "centiliter"),
        ("mw", "megawatt", "megawatts"),
        ("wh",),
        ("kwh",),
        ("mwh",),
        ("gwh",),
        ("m²", "m2", "sqm"),
        ("degree", "°c", "celsius"),
        ("chf", "francs"),
        ("cent", "cents"),
        ("pence",),
        ("d_", "d"),
        ("%", "pct"),
    )
    for name in names
}
_UNITS = {**UNITS, **_ALSO, "d": "day"}
_SIGNS = words("$ € £ ¥")
CURRENCIES = _SIGNS | words("chf cent")
"""Measures of money; cents are of any currency."""
_LONE = words("m s g l h w v t d")
"""Units of one letter: only right behind digits or a space, never behind a number in words."""

_DIGITS = r"\d{1,3}(?:[,'\u2019\u00a0\u202f]\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d{1,24}(?:[.,]\d{1,24})?"
_ONES = "two|three|four|five|six|seven|eight|nine"
_WORDS = (
    "(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
    f"(?:[- ](?:one|{_ONES}))?|{_ONES}|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
    "|half(?= an? )|(?:a |one )?(?:hundred|thousand|million|billion|dozen)"
)
_NUMBER = re.compile(
    rf"""
    (?P<money>[$€£¥]\s?)?
    (?<![\w.,#])(?P<minus>(?<![\w)])[-\u2212](?=\d))?
    (?:(?P<digits>{_DIGITS})(?P<ordinal>(?:st|nd|rd|th)\b)?|\b(?P<words>{_WORDS})\b(?!['\u2019]))
    """,
    re.VERBOSE | re.IGNORECASE,
)
_AFTER = re.compile(
    r"(?P<scale>\s?(?:hundred|thousands?|millions?|billions?|trillion|mn|mio|bn|k|K|M|B)\b)?"
    r"(?:(?P<sign>\s?(?:%|°\s?C\b|°|[$€£¥]))|(?:[\s\u00a0-]|\s?an?\s)?(?P<unit>(?:square\s|percentage\s)?[A-Za-zµ]+[²2]?)\b)?"
)
_SOFT: tuple[tuple[Hedge, re.Pattern[str]], ...] = (
    ("below", re.compile(r"\b(?:just under|nearly|almost|close to|less than|fewer than|below|under)\s+\S?$")),
    ("above", re.compile(r"\b(?:just over|more than|over|well over|above)\s+\S?$")),
    ("about", re.compile(r"\b(?:about|around|some|roughly|approximately|approx\.?|circa|ca\.)\s*\S?$|[~≈]\s*\S?$")),
)
_LOOK_BACK = 24
_SLACK = 0.15
"""How far "over 200" and "nearly 200" may lie from what they stand for."""
_TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number at `start`..`end`. `values` are as said with scale words, `factor` leads to the measure's own unit.

    `step` is the worth of its last figure that was said. `noun` is the word behind it, "" where its unit is.
    """

    values: tuple[float, ...]
    step: float
    start: int
    end: int
    measure: str = ""
    factor: float = 1.0
    hedge: Hedge = ""
    is_exact: bool = True
    noun: str = ""

    @property
    def base(self) -> tuple[float, ...]:
        """The values in the measure's own unit: 90 minutes are 5,400."""
        return tuple(value * self.factor for value in self.values)


def quantities(text: str) -> Iterator[Quantity]:
    """Every number of `text`, in order. A "one" is a pronoun and left out."""
    match = _NUMBER.search(text)
    while match is not None:
        found = _read(text, match)
        yield found
        match = _NUMBER.search(text, max(found.end, match.end()))


def bounds(claim: Quantity, factor: float) -> Iterator[tuple[float, float]]:
    """Between which sizes a number lies that is said as `claim`: rounded to its last figure, softened by its hedge."""
    for said in claim.values:
        size, half = abs(said) * factor, claim.step * factor / 2
        if claim.hedge:
            half = max(half, _round_part(said) * factor / 2)
        elif claim.is_exact and abs(said) < 10:
            half = 0.0
        half += 1e-9 * (half + size)
        below = _SLACK * size if claim.hedge == "below" else 0.0
        above = _SLACK * size if claim.hedge == "above" else 0.0
        yield size - max(half, below), size + max(half, above)


def unit_named(name: str) -> tuple[str, float]:
    """What a column of this name measures ("latency_ms", "price (EUR)"): ("", 1) where it says nothing."""
    for word in reversed(re.split(r"[^A-Za-z%²2°]+", name)):
        unit = _UNITS.get(word.casefold(), "") if len(word) > 1 or word == "%" else ""
        if unit:
            return _MEASURES.get(unit, (unit, 1.0))
    return "", 1.0


def measured(quantity: Quantity, measure: str, factor: float) -> Quantity:
    """The number with the unit that its column names, where it has none of its own."""
    return quantity if quantity.measure or not measure else replace(quantity, measure=measure, factor=factor)


def _read(text: str, match: re.Match[str]) -> Quantity:
    after = _AFTER.match(text, match.end())
    if after is None:
        raise ValueError("what may be empty is always there")
    said = match["digits"]
    values, step = _value(said) if said is not None else _worded(match["words"].casefold())
    end, scale = match.end(), 1.0
    if after["scale"] and (after["scale"].strip() not in _NEEDS_MONEY or match["money"]):
        scale = _SCALES[after["scale"].strip()]
        end = after.end("scale")
    unit, noun = _unit(match, after, said)
    if unit and not match["money"]:
        end = after.end("sign") if after["sign"] else after.end("unit")
    measure, factor = _MEASURES.get(unit, (unit, 1.0))
    return Quantity(
        values=tuple(value * scale for value in values),
        step=step * scale,
        start=match.start(),
        end=end,
        measure=measure,
        factor=factor,
        hedge=_hedge(text, match.start()),
        is_exact=said is None or (scale == 1.0 and "." not in said),
        noun=noun,
    )


def _unit(match: re.Match[str], after: re.Match[str], said: str | None) -> tuple[str, str]:
    """The unit of a number, or the word behind it."""
    word = (after["unit"] or "").casefold()
    if match["money"]:
        return match["money"].strip(), word
    if after["sign"]:
        sign = after["sign"].replace(" ", "").casefold()
        return _UNITS.get(sign, sign), ""
    if word.startswith("square "):
        return ("m²", "") if word.removeprefix("square ") in {"metre", "metres", "meter", "meters"} else (word, "")
    if word.startswith("percentage"):
        return "%", ""
    if word in _LONE and (said is None or match["ordinal"]):
        return "", word
    unit = _UNITS.get(word, "")
    return (unit, "") if unit else ("", word)


def _value(said: str) -> tuple[tuple[float, ...], float]:
    """What digits say, and the worth of the last one."""
    plain = re.sub(r"['\u2019\u00a0\u202f]", "", said)
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", plain):
        plain = plain.replace(",", "")
    elif re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?|\d{1,3}(?:\.\d{3})+,\d+", plain):
        plain = plain.replace(".", "").replace(",", ".")
    elif re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", plain):
        return (float(plain), float(plain.replace(".", ""))), 1e-3
    plain = plain.replace(",", ".")
    decimals = len(plain.partition(".")[2])
    return (float(plain),), 10.0**-decimals


def _worded(said: str) -> tuple[tuple[float, ...], float]:
    """What a number in words says."""
    total = 0.0
    for word in re.split(r"[- ]", said):
        if word in {"a", "one"}:
            total += word == "one" and total > 0
        elif word == "half":
            return (0.5,), 0.1
        else:
            total += float(NUMBERS[word])
    return (total,), 1.0


def _hedge(text: str, start: int) -> Hedge:
    before = text[max(0, start - _LOOK_BACK) : start].casefold()
    return next((hedge for hedge, pattern in _SOFT if pattern.search(before)), "")


def _round_part(value: float) -> float:
    """The worth of the last figure of a round number that is not zero: 100 for 2,300; at most half of its size."""
    worth = 1.0
    while value and value % (worth * 10) == 0 and worth * 10 <= abs(value) / 2:
        worth *= 10
    return worth
