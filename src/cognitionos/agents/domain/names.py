"""Proper names in English running text, by their capitals; and whether a text knows them.

Where capitals say nothing (headings, labels, the first word of a sentence, other languages) nothing is called a name,
unless something else says that it is one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from cognitionos.agents.domain.literals import plain
from cognitionos.kernel.english import FOREIGN, GRAMMAR, NUMBERS, stem, words

_WORD = re.compile(r"[^\W\d_](?:[\w&]|['\u2019](?=[^\W_])|-(?=\w)|\.(?=[^\W_]\.))*")
_SENTENCE_END = re.compile(r"(?:[.!?:;•|]|[\"“'(\[*_#>-])\s*\Z")
_LABEL = re.compile(
    r"(?m)^(?:[ \t>]*(?:[-*•]|\d{1,3}[.)]|#{1,6})?[ \t]*)(?P<label>\*\*[^*\n]{1,80}\*\*|[^\n:|.*]{1,40}:(?=\s|$))"
)
_HEADING = re.compile(r"(?m)^\s*(?:#{1,6}\s[^\n]*|\*\*[^*\n]{1,120}\*\*\s*|[|].*[|]\s*)$")
_JOINS = words("of & de da del della di van von der den la le du el al bin ibn y")
_TITLES = words(
    "dr prof professor mr mrs ms miss sir dame dear st director president chair ceo cto cfo coo minister mayor"
)
_NEVER = words("""
    i ok okay utc gmt cet cest est pst am pm ad bc api apis http https url urls json xml csv pdf html css sql yaml toml
    md ai ml it hr pr faq id ids ui ux usd eur gbp usa us uk eu un english german french spanish italian
    european american asian african internet web january february march april may june july august september october
    november december
    monday tuesday wednesday thursday friday saturday sunday q1 q2 q3 q4 vat rsvp ps nb tbd todo ceo cto cfo coo cpu gpu
    ram ssd os vpn ip tcp udp dns tls ssl ssh gb mb kb tb kwh monday's yes no note summary recommendation conclusion
    total overview result results option options step steps figure table section appendix part page
    """)
_ACTS = words("""
    said says signed wrote writes approved founded joined acquired announced agreed won offers charges ships delivers
    insists reported reports praises noted notes confirmed told leads led owns scored beat recommended recommends argues
    argued proposed proposes asked replied answered owes bought sold hired resigned
    """)
_COMMON_ENDINGS = ("ing", "tion", "tions", "ment", "ments", "ness", "ity", "ities", "ly", "ed", "ism", "ers", "ors")
_BESIDE = (-3, -2, -1, 1, 2, 3)
_MOSTLY = 0.7
_SHORT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A name at `start`..`end`; `parts` are its words as `plain` gives them, without what joins them."""

    parts: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    lower: str
    start: int
    end: int
    is_first: bool

    @property
    def is_capital(self) -> bool:
        word = self.lower.partition("'")[0]  # "I'm", "It's"
        return self.text[0].isupper() and word not in _NEVER and word not in GRAMMAR


def words_of(text: str) -> list[str]:
    """The words of a text by which names are looked up: folded, without endings, the parts of joined words too."""
    return [stem(word) for word in re.findall(r"[^\W_]+", plain(text).replace("'s", ""))]


def names(text: str) -> Iterator[Name]:
    """The names of `text`, in order; none in other languages than English."""
    found = list(_words(text))
    if not _is_english(found):
        return
    for sequence, behind in _sequences(found, text):
        kept = _without_first(sequence, behind)
        parts = tuple(stem(part) for word in kept for part in re.findall(r"[^\W_]+", word.lower))
        if parts:
            yield Name(parts=parts, start=kept[0].start, end=kept[-1].end)


def silent_parts(text: str) -> list[tuple[int, int]]:
    """Headings and labels, where capitals say nothing."""
    return [match.span() for match in _HEADING.finditer(text)] + [
        match.span("label") for match in _LABEL.finditer(text)
    ]


def is_known(name: Name, places: Mapping[str, Sequence[int]], initials: AbstractSet[str]) -> bool:
    """Whether the words of a name stand at some `places`, and those of two words not always far from each other."""
    missing = [part for part in name.parts if part not in places and not _is_near(part, places.keys())]
    if missing:
        return len(name.parts) == 1 and name.parts[0] in initials
    if len(name.parts) != 2 or not (name.parts[0] in places and name.parts[1] in places):
        return True
    others = {*places[name.parts[1]]}
    return any(place + apart in others for place in places[name.parts[0]] for apart in _BESIDE)


def initials_of(text: str) -> frozenset[str]:
    """The first letters of capitalised words in a row: "European Space Agency" is also "esa"."""
    rows = re.findall(r"(?:[A-Z][\w&-]+\s(?:(?:of|for|the|and|de)\s)?){1,6}[A-Z][\w&-]+", text)
    return frozenset(plain("".join(word[0] for word in row.split() if word[0].isupper())) for row in rows)


def _words(text: str) -> Iterator[_Word]:
    end = 0
    for match in _WORD.finditer(text):
        said = re.sub(r"['\u2019]s?\Z", "", match.group())
        before = text[max(0, match.start() - 4) : match.start()]
        is_first = end == 0 or "\n" in text[end : match.start()] or bool(_SENTENCE_END.search(before))
        end = match.end()
        yield _Word(said, plain(said), match.start(), match.start() + len(said), is_first)


def _sequences(found: Sequence[_Word], text: str) -> Iterator[tuple[Sequence[_Word], str]]:
    """Capitalised words in a row, and the word behind them; what joins two of them ("of") may stand between."""
    place = 0
    while place < len(found):
        sequence, last = [], None
        while place < len(found) and found[place].is_capital and (last is None or _follows(found[place], last, text)):
            last = found[place]
            sequence.append(last)
            place += 1
            pair = found[place : place + 2]
            if len(pair) == 2 and pair[0].lower in _JOINS and pair[1].is_capital and _follows(pair[0], last, text):
                last = pair[0]
                place += 1
        if sequence:
            yield sequence, found[place].lower if place < len(found) else ""
        else:
            place += 1


def _follows(word: _Word, before: _Word, text: str) -> bool:
    """Whether nothing but a space or a joining sign stands between two words of one sentence."""
    return not word.is_first and not text[before.end : word.start].replace("\u2019", "'").removeprefix("'s").strip(
        " .&-'"
    )


def _without_first(sequence: Sequence[_Word], behind: str) -> Sequence[_Word]:
    """The words of a sequence that must be a name: the first of a sentence only where more than its place says so."""
    first = sequence[0]
    kept = [word for word in sequence if word.lower.rstrip(".") not in _TITLES]
    if not first.is_first or not kept or kept[0] is not first:
        return kept
    if len(kept) > 1:
        is_common = first.lower.endswith(_COMMON_ENDINGS) or first.lower in NUMBERS
        return kept[1:] if is_common else kept
    return kept if behind in _ACTS or any(each.isupper() for each in first.text[1:]) else []


def _is_near(part: str, every: AbstractSet[str]) -> bool:
    """Whether a longer or shorter form of the word is known: "Norwegians" by "norwegian", "Utrecht's" by "utrecht"."""
    return len(part) > 4 and (part.rstrip("s") in every or f"{part}s" in every or f"{part}e" in every)


def _is_english(found: Sequence[_Word]) -> bool:
    """Whether its small words are English sooner than another language's, and most words are without a capital."""
    capitals = sum(word.text[0].isupper() for word in found)
    english, foreign = (sum(word.lower in known for word in found) for known in (GRAMMAR, FOREIGN))
    return english >= foreign and (len(found) < _SHORT or capitals < _MOSTLY * len(found))
