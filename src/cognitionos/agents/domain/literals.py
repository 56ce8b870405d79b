"""What a text repeats to the letter: addresses, file names, identifiers, code, quotations."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class ClaimKind(StrEnum):
    """What of an answer can be looked up in its evidence."""

    NUMBER = "number"
    MONEY = "money"
    PERCENTAGE = "percentage"
    DATE = "date"
    TIME = "time"
    QUOTATION = "quotation"
    ADDRESS = "address"
    IDENTIFIER = "identifier"
    NAME = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """A piece of text that is right to the letter or not at all."""

    kind: ClaimKind
    text: str
    start: int
    end: int


_ENDS = r"(?<![.,;:!?)\]'\"*_])"
_LITERAL = re.compile(
    rf"""
    (?P<url>(?:https?|ftp|wss?)://[^\s<>"'`)\]]+{_ENDS} | www\.[\w.-]+\.\w{{2,}}(?:/[^\s<>"'`)\]]*)?{_ENDS})
  | (?P<email>[\w.+-]{{1,64}}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{1,6}}{_ENDS})
  | `(?P<code>[^`\n]{{1,200}})`
  | (?P<id>
      (?<![\w./#@-])(?:
        \d{{1,3}}(?:\.\d{{1,3}}){{3}}(?::\d{{1,5}})?                         # an address of a machine
      | v?\d{{1,6}}(?:\.\d{{1,6}}){{2,4}}[\w.-]{{0,20}}(?<!\.)                # a version
      | v\d{{1,6}}(?:\.\d{{1,6}})?\b
      | \d{{1,9}}(?:-\d{{1,9}}){{2,6}}(?:-[\dXx])?                            # ISBN, telephone
      | [#@]\w[\w-]{{0,60}}
      | /?(?:[\w.-]{{1,60}}/){{1,12}}[\w.-]{{1,60}}(?<![.-])                  # a path
      | [\w-]{{1,60}}\.[A-Za-z][A-Za-z0-9]{{1,4}}(?!\w|\.\w)                  # a file name
      | (?=[\w-]{{0,40}}\d)(?=[\w-]{{0,40}}[A-Za-z])[A-Za-z0-9]{{1,30}}(?:[-_][A-Za-z0-9]{{1,30}}){{0,6}}
      | [A-Za-z]\w{{0,40}}_\w{{1,40}}
      | [a-z0-9-]{{1,40}}(?:\.[a-z][a-z0-9-]{{1,40}}){{2,5}}                   # a host
      | [a-z]{{1,30}}(?:[A-Z][a-z0-9]{{1,30}}){{1,6}}
      )(?![\w/])
    )
    """,
    re.VERBOSE,
)
_QUOTE = re.compile(r"\"([^\"\n]{3,400})\"|“([^”\n]{3,400})”|«([^»\n]{3,400})»|„([^“”\n]{3,400})[“”]")
_GLUED_UNIT = re.compile(
    r"\d+(?:\.\d+)?(?:st|nd|rd|th|s|ms|us|ns|min|h|d|w|k|K|m|M|bn|B|g|kg|mg|km|cm|mm|l|ml|%|x|W|kW|kWh|GB|MB|KB|TB|GiB|MiB|m2|am|pm)\Z"
)
_RANGE = re.compile(r"\d+(?:-\w+)\Z")
_NOT_FILES = re.compile(
    r"(?:e\.g|i\.e|etc|vs|a\.m|p\.m|ca|no|approx|dr|prof|mr|mrs|ms|st|ltd|inc|co|corp)\Z", re.IGNORECASE
)
_LEAST_WORDS = 4
_SPACE = re.compile(r"\s+")
_SIGNS = str.maketrans(
    {
        "\u2019": "'",
        "\u2018": "'",
        "“": '"',
        "”": '"',
        "\u2013": "-",
        "—": "-",
        "\u2011": "-",
        "\u00a0": " ",
        "…": "...",
    }
)
_IN_ADDRESSES = frozenset("-._+")
"""What joins the parts of a host's or a mailbox's name."""
_OUTSIDE = " .,;:!?\"'()[]"


def plain(text: str) -> str:
    """One spelling of case, spaces, quotation marks, dashes and accents."""
    folded = unicodedata.normalize("NFKD", text.translate(_SIGNS)).casefold()
    return _SPACE.sub(" ", "".join(each for each in folded if not unicodedata.combining(each))).strip()


def literals(text: str) -> Iterator[Literal]:
    """Addresses, file names, identifiers and code of `text`, in order."""
    for match in _LITERAL.finditer(text):
        kind = ClaimKind.ADDRESS if match["url"] or match["email"] else ClaimKind.IDENTIFIER
        said = match["code"] or match.group()
        if match["id"] and (_GLUED_UNIT.match(said) or _RANGE.match(said) or _NOT_FILES.match(said) or _is_or(said)):
            continue
        yield Literal(kind=kind, text=said, start=match.start(), end=match.end())


def quotations(text: str) -> Iterator[Literal]:
    """Quoted words, from four on: fewer are a title, a term or irony."""
    for match in _QUOTE.finditer(text):
        said = next(group for group in match.groups() if group is not None)
        if len(said.split()) >= _LEAST_WORDS:
            yield Literal(kind=ClaimKind.QUOTATION, text=said, start=match.start(), end=match.end())


def is_repeated(literal: Literal, evidence: str) -> bool:
    """Whether `evidence` (as `plain` gives it) holds it; of a quotation with gaps, every part."""
    if literal.kind is ClaimKind.QUOTATION:
        parts = [part.strip(_OUTSIDE) for part in re.split(r"\.\.\.|\[[^\]]*\]", plain(literal.text))]
        return all(part in evidence for part in parts if part)
    said = plain(literal.text).strip(_OUTSIDE)
    if literal.kind is ClaimKind.ADDRESS:
        said = re.sub(r"\Ahttps?://(?:www\.)?|\Awww\.", "", said).rstrip("/")
    found = evidence.find(said)
    while found >= 0:
        before, after = (
            evidence[found - 1 : found] if found else "",
            evidence[found + len(said) : found + len(said) + 1],
        )
        is_part = literal.kind is ClaimKind.ADDRESS and before in _IN_ADDRESSES
        is_part = is_part and not evidence.endswith("www.", 0, found)
        if not (is_part or _joins(before, said[:1]) or _joins(after, said[-1:])):
            return True
        found = evidence.find(said, found + 1)
    return False


def _joins(outside: str, inside: str) -> bool:
    """Whether a character belongs to the same word as its neighbour."""
    return bool(outside) and (outside.isalnum() or outside == "@") and inside.isalnum()


def _is_or(said: str) -> bool:
    """Whether a slash stands between words ("and/or") and not between folders."""
    return 0 < said.count("/") < 2 and not said.startswith("/") and not re.search(r"[._\d]", said)
