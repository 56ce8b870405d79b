"""What an agent was given, as its answer is compared with it: words, numbers with their columns, dates, lists."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, groupby, zip_longest
from typing import Any

from cognitionos.agents.domain.arithmetic import Column, Figure
from cognitionos.agents.domain.dates import Moment, moments
from cognitionos.agents.domain.literals import literals, plain
from cognitionos.agents.domain.names import initials_of, words_of
from cognitionos.agents.domain.quantities import Quantity, measured, quantities, unit_named
from cognitionos.kernel.json_text import read_json

MOST_CHARACTERS = 100_000
"""Of evidence that is read, the last text first."""
BLANK = "¤"
"""Stands for each character of what was read already."""
_MOST_DEPTH = 12
_APART = 100
_LABELLED = re.compile(r"\b([^\W\d_]{2,})[ .#:]{1,2}(\d+[a-z]?)\b")
_BULLET = re.compile(r"\s*(?:[-*•]|\d{1,3}[.)])\s")
_AND = re.compile(r"\s(?:and|or|&)\s")
_PHRASE = re.compile(r"[.:;\n]")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+")
_RULE = re.compile(r"[-: ]*")
_FIGURE = re.compile(r"(?<![^\W\d_])\d+(?:\.\d+)?\b(?![^\W\d])")


@dataclass
class _Found:
    """What was found so far."""

    texts: list[str] = field(default_factory=list)
    numbers: list[Quantity] = field(default_factory=list)
    tables: list[tuple[Column, ...]] = field(default_factory=list)
    counts: set[int] = field(default_factory=set)


class Evidence:
    """Texts (plain or JSON) as evidence. Reading them is work: make it once for all claims."""

    def __init__(self, texts: Sequence[str]) -> None:
        found, left = _Found(), MOST_CHARACTERS
        for text in reversed(texts):
            _take(text[-left:] if left else "", found, depth=0)
            left = max(0, left - len(text))
        self.texts = tuple(found.texts)
        self.numbers = tuple(found.numbers)
        self.tables = tuple(found.tables)
        self.counts = frozenset(found.counts)
        self.plain = "\n".join(plain(text) for text in self.texts)

    @cached_property
    def moments(self) -> tuple[Moment, ...]:
        """Its dates and times, each once."""
        found = (moment for text in self.texts for moment in moments(text))
        return tuple({(moment.readings, moment.minutes): moment for moment in found}.values())

    @cached_property
    def words(self) -> Mapping[str, tuple[int, ...]]:
        """Its words and where they stand, counted through; texts lie far apart."""
        found: dict[str, list[int]] = {}
        place = 0
        for text in self.texts:
            for word in words_of(text):
                found.setdefault(word, []).append(place)
                place += 1
            place += _APART
        return {word: tuple(places) for word, places in found.items()}

    @cached_property
    def labelled(self) -> Mapping[str, set[str]]:
        """The numbers that stand right behind a word: "room 4", "Debian 12"."""
        found: dict[str, set[str]] = {}
        for word, number in _LABELLED.findall(self.plain):
            found.setdefault(word, set()).add(number)
        return found

    @cached_property
    def marked(self) -> frozenset[str]:
        """The figures in its identifiers."""
        said = (each.text for text in self.texts for each in literals(text))
        return frozenset(digits.lstrip("0") for text in said for digits in re.findall(r"\d+", text))

    @cached_property
    def initials(self) -> frozenset[str]:
        """What its names may be shortened to."""
        return frozenset().union(*(initials_of(text) for text in self.texts))


def figures_of(quantity: Quantity) -> list[Figure]:
    """A number as figures, one for each way to read it; cents are of any currency."""
    return [Figure(value, "" if quantity.measure == "cent" else quantity.measure) for value in quantity.base]


def without_marks(text: str) -> str:
    """`text` with dates, times and identifiers blanked out: their figures are no numbers to reckon with."""
    spans = [(each.start, each.end) for each in moments(text)]
    return blanked(text, [*spans, *((each.start, each.end) for each in literals(text))])


def counts_in(text: str) -> set[int]:
    """How many things the lists of `text` hold: bullets, numbered lines, lines of a table, words in a series."""
    found, run = set(), 0
    for line in [*text.split("\n"), ""]:
        if _BULLET.match(line) or line.lstrip().startswith("|"):
            run += 1
        elif line.strip() or run == 1:
            found |= {run, run - 2} if run > 1 else set()
            run = 0
        if not line.strip() and run > 1:
            found |= {run, run - 2}
            run = 0
    for phrase in _PHRASE.split(text):
        parts = phrase.split(", ")
        ends = next((place for place, part in enumerate(parts[1:], 1) if _AND.search(f" {part}")), 0)
        if ends:
            found.add(ends + 1 + (not parts[ends].startswith(("and ", "or "))))
    return found - {0, -1}


def blanked(text: str, spans: Iterable[tuple[int, int]], filler: str = BLANK) -> str:
    """`text` with these pieces of it blanked out, as long as before."""
    parts, at = [], 0
    for start, end in sorted(spans):
        if end > at:
            begin = max(start, at)
            parts += [text[at:begin], filler * (end - begin)]
            at = end
    return "".join([*parts, text[at:]])


def _take(text: str, found: _Found, *, depth: int) -> None:
    """Text, or the JSON that it is."""
    if depth < _MOST_DEPTH and text.lstrip()[:1] in {"{", "["}:
        try:
            value = read_json(text)
        except ValueError:
            value = None
        if isinstance(value, dict | list):
            _take_value(value, "", found, depth=depth + 1)
            return
    _take_text(text, found)


def _take_value(value: Any, name: str, found: _Found, *, depth: int) -> None:
    if depth > _MOST_DEPTH:
        return
    if isinstance(value, Mapping):
        found.texts.append("; ".join(str(key).replace("_", " ") for key in value))
        found.counts.add(len(value))
        _take_records(list(value.values()), found)
        for key, each in value.items():
            _take_value(each, str(key), found, depth=depth + 1)
    elif isinstance(value, list):
        found.counts.add(len(value))
        _take_records(value, found)
        for each in value:
            _take_value(each, name, found, depth=depth + 1)
    elif isinstance(value, str):
        _take(value, found, depth=depth + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found.texts.append(f"{name.replace('_', ' ')} {value}")
        found.numbers.extend(_cell(str(value), name))


def _take_records(values: Sequence[Any], found: _Found) -> None:
    """A list of records or of rows is a table; a list of numbers is a column."""
    if all(isinstance(each, Mapping) for each in values):
        keys = list(dict.fromkeys(key for each in values for key in each))
        rows: list[list[Any]] = [[each.get(key) for key in keys] for each in values]
    elif all(isinstance(each, list) for each in values) and values:
        keys, rows = [""] * max(len(each) for each in values), list(values)
    else:
        keys, rows = [""], [[each] for each in values]
    if len(rows) > 1:
        read = [[_cell(_shown(cell), str(key)) for key, cell in zip(keys, row, strict=False)] for row in rows]
        found.tables.append(_columns(read))


def _shown(value: Any) -> str:
    """A number as text, nothing else."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _take_text(text: str, found: _Found) -> None:
    """Tables line by line (CSV, Markdown, aligned words), the rest as sentences."""
    lines, place = text.split("\n"), 0
    rest: list[str] = []
    while place < len(lines):
        mark = (
            "|"
            if lines[place].lstrip().startswith("|")
            else next((m for m in ("\t", ";", ",") if m in lines[place]), "")
        )
        end = place
        width = lines[place].count(mark) if mark else 0
        while mark and end < len(lines) and lines[end].count(mark) == width:
            end += 1
        if end - place > 1 and not any(f"{mark} " in line for line in lines[place:end] if mark == ","):
            _take_table("\n".join(lines[place:end]), mark, found)
            place = end
        else:
            rest.append(lines[place])
            place += 1
    _take_prose("\n".join(rest), found)


def _cells(line: str, mark: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.strip().strip("|" if mark == "|" else "").split(mark)]


def _take_table(text: str, mark: str, found: _Found) -> None:
    """A head without numbers names the units of the columns."""
    rows = [_cells(line, mark) for line in without_marks(text).split("\n")]
    rows = [row for row in rows if not all(_RULE.fullmatch(cell) for cell in row)]
    if not rows:
        return
    has_head = not any(_FIGURE.search(cell) for cell in rows[0])
    head, body = (rows[0], rows[1:]) if has_head else ([""] * len(rows[0]), rows)
    found.counts |= {len(body), len(rows)}
    found.texts.append(text.replace("_", " ").replace(mark, f"{mark} "))
    read = [[_cell(cell, name) for name, cell in zip(head, row, strict=False)] for row in body]
    found.numbers.extend(number for row in read for cell in row for number in cell)
    if len(body) > 1:
        found.tables.append(_columns(read))


def _take_prose(text: str, found: _Found) -> None:
    """The numbers of lines alike are columns; so are those of one measure in a sentence."""
    found.texts.append(text)
    found.counts |= counts_in(text)
    lines = [[list(quantities(part)) for part in _SENTENCE.split(line)] for line in without_marks(text).split("\n")]
    found.numbers.extend(number for line in lines for sentence in line for number in sentence)
    for width, alike in groupby(([*chain(*line)] for line in lines), key=len):
        rows = list(alike)
        if width and len(rows) > 1:
            found.tables.append(_columns([[[number] for number in row] for row in rows]))
    for line in lines:
        for sentence in line:
            found.tables.extend(_alike(sentence))


def _alike(numbers: Sequence[Quantity]) -> Iterator[tuple[Column, ...]]:
    """The numbers of one measure in a sentence, as a column."""
    by_measure: dict[str, list[Figure]] = {}
    for number in numbers:
        by_measure.setdefault(number.measure, []).append(figures_of(number)[0])
    for column in by_measure.values():
        if len(column) > 1:
            yield (tuple(column),)


def _columns(rows: Sequence[Sequence[Sequence[Quantity]]]) -> tuple[Column, ...]:
    """Rows of cells turned round; a cell that is not one number is none."""
    columns = zip_longest(*([figures_of(cell[0])[0] if len(cell) == 1 else None for cell in row] for row in rows))
    return tuple(tuple(column) for column in columns if any(column))


def _cell(text: str, name: str) -> list[Quantity]:
    """The numbers of a cell, in the unit that its column names."""
    measure, factor = unit_named(name)
    return [measured(number, measure, factor) for number in quantities(text)]
