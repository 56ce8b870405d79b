"""A question as the guards of the semantic cache read it: its numbers, names, markers, kind and content words."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from cognitionos.kernel.english import FOREIGN, GRAMMAR, NUMBERS, UNITS, stem, words
from cognitionos.llm_gateway.domain.semantic_words import (
    DATES,
    DIRECTIONS,
    FILLERS,
    MARKERS,
    MODALS,
    NEGATIONS,
    PAST,
    PERSONS,
    PHRASES,
    PRESENT,
    SAME,
)

LONGEST = 2000
"""Characters of a question that is looked up by its meaning; a longer one is a document."""
_TOKEN = re.compile(
    r"""
    (?P<code> `[^`]*` )
  | (?P<quote> "[^"]*" | “[^”]*” | «[^»]*» | (?<![\w])'[^']{2,200}'(?!\w) )
  | (?P<flag> (?<!\S)--?[A-Za-z][\w-]* )
  | (?P<number> [$€£¥]?\ ?(?<![\w.])\d+(?:[.,:/]\d+)*(?:st|nd|rd|th)?(?:\s?[%°$€£¥])? )
  | (?P<word> [^\W_]+(?:'[^\W\d_]+)*(?:[._/\\@:\#][^\W_]+(?:'[^\W\d_]+)*)*[+\#]* )
    """,
    re.VERBOSE,
)
_QUOTES = re.compile(r'"{2,}')
_OWNER = re.compile(r"\b(?:what|who|where|when|which) (?:is|are|was|were) (your|their|his|her|our)\b")
_PERFECT = re.compile(r"\b(?:has|have)(?: \w+){0,3} (?:\w{2,}ed|been|become|done|made|gone|got)\b")
_THING = re.compile(r"^(?:\w+ ){0,2}?(?:what|which) (\w+)")
_DEFINES = re.compile(r"^what (?:is|are|was|were)((?: [\w'-]+){1,4})$")
_FURTHER = re.compile(r"\band (?:how|what|why|when|where|who|which) \w+ \w+")
_CAMEL = re.compile(r"[a-z][A-Z]|[a-z]\d|\d[a-z]|[A-Z]{2}")
_IDENTIFIER = re.compile(r"[._/\\@:#\d]|[+#]$")
_CONTRACTION = re.compile(r"'(?:s|m|re|ve|ll|d)$", re.IGNORECASE)
_DETERMINERS = words("a an the my your his her its our their this that")
_PHRASES = tuple((re.compile(pattern, re.IGNORECASE), by) for pattern, by in PHRASES)
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]")
_HELPS = "is|are|was|were|am|can|could|may|might|must|should|shall|will|would|has|have|had"
_MEASURES = {
    "time": r"how long|how many (?:seconds?|minutes?|hours?|days?|weeks?|months?|years?)|how much time|duration|time\b",
    "distance": r"how far|how many (?:miles|kilomet\w+|km)|distance",
    "age": r"how old|what age",
    "often": r"how often|how frequently",
    "weight": r"how heavy|how much does .* weigh|weight",
    "size": r"how (?:tall|high|wide|deep|big|large|fast|hot|cold|small|thick|strong|slow|early|late|soon)",
    "cost": r"how expensive|how much (?:does|do|did|would|will|is|are) .* cost|cost|price",
    "count": r"how many|number of",
    "amount": r"how much|what amount|amount of",
}
_REASON = r"\b(?:what|which) (?:is|was|are|were|(?:could|might|would) be)? ?(?:the|some|a)? ?(?:\w+ )?reasons?\b"
_MANY = r"long|many|much|far|old|often|tall|high|heavy|big|large|fast|wide|deep|expensive|frequently|hot|cold|small"
_WAY = r"\bwhat(?: is| are|s)? (?:the |some |a |your )?(?:easiest )?(?:ways?|methods?|steps?|procedure|process)\b"
_KINDS = {
    "why": rf"{_REASON}|\bwhy\b|\bhow come\b|\bwhat makes\b|\bwhat causes\b|\bfor what reason",
    "amount": rf"\bhow (?:{_MANY}|slow|thick|strong|soon)\b|\bwhat (?:number|amount) of\b",
    "how": rf"{_WAY}|\bwhat (?:do|should|can|must) i (?:have to |need to )?do to\b|\bhow\b",
    "when": r"\bwhen\b|\bwhat (?:time|date|year|day)\b",
    "where": r"\bwhere\b",
    "who": r"\bwho(?:m|se)?\b|\bwhich (?:author|person)\b",
    "what": r"\bwhat\b|\bwhich\b|\bname the\b",
}
_ENDS = re.compile(
    rf"^(?:who|whom|what|which)(?: (?!(?:{_HELPS})\b)\w+)?? "
    rf"(?:(?P<object>do|does|did)\b|(?P<subject>(?!(?:{_HELPS})\b)\w+) (?!(?:{_HELPS}|do|does|did)\b)\w)"
)
_COMPILED_KINDS = tuple((re.compile(pattern), kind) for kind, pattern in _KINDS.items())
_COMPILED_MEASURES = tuple((re.compile(pattern), measure) for measure, pattern in _MEASURES.items())
_WHETHER = re.compile(
    r"^(?:\W*(?:and|so|but|hi|hello|hey|please)\b\W*)?"
    rf"(?:{_HELPS}|do|does|did)\b"
)
_SAYS_NOTHING = GRAMMAR | FILLERS | NUMBERS.keys()
_ENGLISH = GRAMMAR | FILLERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is in a question. Words are in lower case; `content` are the words that carry it, each once, in order.

    `asks_for` is an end of its verb: `subject` ('who beat them'), `object` ('who did they beat'), or "".
    """

    tokens: tuple[str, ...]
    stems: frozenset[str]
    content: tuple[str, ...]
    numbers: tuple[str, ...]
    units: frozenset[str]
    counted: Mapping[str, frozenset[str]]
    dates: frozenset[str]
    negations: int
    denied: frozenset[str]
    names: frozenset[str]
    literals: tuple[str, ...]
    markers: frozenset[str]
    persons: frozenset[str]
    owner: str
    modals: frozenset[str]
    roles: frozenset[tuple[str, str]]
    kind: str
    asks_for: str
    asks_for_a_thing: bool
    parts: int
    measure: str
    is_past: bool
    is_present: bool
    is_english: bool


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    lower: str
    first: bool


@lru_cache(maxsize=4096)
def read(text: str) -> Reading:
    """Read a question."""
    plain = _plain(text)
    tokens = [*_tokens(plain)]
    words = [each.lower for each in tokens if each.kind == "word"]
    numbers, units = _numbers(tokens)
    lowered = " ".join(each.lower for each in tokens)
    kind = _kind_of(lowered)
    content = _content(tokens)
    return Reading(
        tokens=tuple(each.lower for each in tokens),
        stems=frozenset(stem(each.lower) for each in tokens),
        content=content,
        numbers=numbers,
        units=units,
        counted=_counted(tokens, frozenset(content)),
        dates=frozenset(DATES[_month(each)] for each in tokens if _month(each) in DATES),
        negations=sum(word in NEGATIONS for word in words),
        denied=_denied(words, frozenset(content)),
        names=_names(tokens),
        literals=tuple(sorted(each.lower for each in tokens if each.kind in {"code", "quote", "flag"} or _is_id(each))),
        markers=_markers(words),
        persons=frozenset(PERSONS[word] for word in words if word in PERSONS),
        owner=_owner(lowered),
        modals=frozenset(MODALS[word] for word in words if word in MODALS),
        roles=_roles(words, frozenset(content)),
        kind=kind,
        asks_for=_end_asked_for(lowered),
        asks_for_a_thing=_asks_for_a_thing(lowered, frozenset(content)),
        parts=_parts(plain, lowered),
        measure=_measure_of(lowered) if kind in {"amount", "what"} else "",
        is_past=any(word in PAST for word in words) or bool(_PERFECT.search(lowered)),
        is_present=any(word in PRESENT for word in words),
        is_english=_is_english(text, words),
    )


def _plain(text: str) -> str:
    """One spelling of spaces, apostrophes and turns of phrase. Case stays: it shows names."""
    plain = " ".join(_QUOTES.sub('"', text.replace("\u2019", "'")).split())
    for pattern, by in _PHRASES:
        plain = pattern.sub(by, plain)
    return plain


def _tokens(text: str) -> list[_Token]:
    found, first = [], True
    for match in _TOKEN.finditer(text):
        kind, word = match.lastgroup or "word", match.group().strip()
        if kind == "word":
            word = _CONTRACTION.sub("", word)
        if kind == "quote":
            word = word[1:-1]
        lower = "usa" if word == "US" else word.casefold()
        found.append(_Token(kind=kind, text=word, lower=SAME.get(lower, lower), first=first))
        first = text[match.end() : match.end() + 1] in {".", "?", "!", ":"}
    return found


def _is_id(token: _Token) -> bool:
    return token.kind == "word" and bool(_IDENTIFIER.search(token.text))


def _numbers(tokens: list[_Token]) -> tuple[tuple[str, ...], frozenset[str]]:
    numbers, units = [], set()
    for place, token in enumerate(tokens):
        after = tokens[place + 1].lower if place + 1 < len(tokens) else ""
        number = _number(token, after)
        if number:
            numbers.append(number)
            sign = next((each for each in token.text if each in "$€£¥%°"), None)
            units.update({UNITS[each] for each in (sign or after,) if each in UNITS})
    return tuple(numbers), frozenset(units)


def _number(token: _Token, after: str) -> str:
    """One spelling of a number; an ordinal ends in a point. "" for anything else."""
    if token.kind == "number":
        value = token.lower.strip("$€£¥%° ")
        ordinal = value.endswith(("st", "nd", "rd", "th"))
        value = re.sub(r"(?<=\d),(?=\d{3}\b)", "", re.sub(r"[a-z]+$", "", value))
        return re.sub(r"^(\d{1,2}):00$", r"\1", value) + "." * ordinal
    return "" if token.lower == "second" and after == "ago" else NUMBERS.get(token.lower, "")


def _counted(tokens: list[_Token], content: frozenset[str]) -> Mapping[str, frozenset[str]]:
    """The numbers by what stands beside them: in `from 5 to 9 pears` 5 by `from`, 9 by `to` and by `pear`."""
    found: dict[str, set[str]] = {}
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        number = _number(token, after.lower if after else "")
        if number and before and before.lower in DIRECTIONS:
            found.setdefault(f"{DIRECTIONS[before.lower]} _", set()).add(number)
        if number and after and stem(after.lower) in content:
            found.setdefault(stem(after.lower), set()).add(number)
    return {around: frozenset(numbers) for around, numbers in found.items()}


def _month(token: _Token) -> str:
    """`may` and `march` are months only with a capital inside a sentence."""
    if token.lower == "may":
        return "may_" if token.text == "May" and not token.first else ""
    if token.lower == "fall":
        return ""
    return token.lower


def _names(tokens: list[_Token]) -> frozenset[str]:
    """Capitalised words inside sentences, and words in capitals or with digits anywhere; none where most are so."""
    words = [each for each in tokens if each.kind == "word"]
    inside = [each for each in words if not each.first and each.lower not in GRAMMAR]
    capitals = [each for each in inside if each.text[:1].isupper()]
    if len(inside) >= 4 and len(capitals) > 0.7 * len(inside):  # Written Like A Title: capitals say nothing
        capitals = []
    marked = [each for each in words if _CAMEL.search(each.text) and not each.text.isupper()]
    acronyms = [each for each in words if each.text.isupper() and len(each.text) > 1]
    if len(acronyms) == len(words):
        acronyms = []
    known = (*capitals, *marked, *acronyms)
    return frozenset(stem(each.lower) for each in known if each.lower not in DATES and each.lower not in GRAMMAR)


def _content(tokens: list[_Token]) -> tuple[str, ...]:
    """Quoted text, code and flags stand as they are; numbers and dates have guards of their own."""
    left = (
        stem(each.lower) if each.kind == "word" else each.lower
        for each in tokens
        if each.kind != "number" and each.lower not in _SAYS_NOTHING and _month(each) not in DATES
    )
    return tuple(dict.fromkeys(left))


def _markers(words: list[str]) -> frozenset[str]:
    """`last` may be a verb: it marks behind a determiner or before a time."""
    return frozenset(
        MARKERS[word]
        for place, word in enumerate(words)
        if word in MARKERS
        and (
            word != "last"
            or words[place - 1 : place] in [[each] for each in _DETERMINERS]
            or "".join(words[place + 1 : place + 2]) in UNITS.keys() | DATES.keys()
        )
    )


def _roles(words: list[str], content: frozenset[str]) -> frozenset[tuple[str, str]]:
    """Each word of direction with the content words right behind it: `("to", "london")`."""
    roles = set()
    for place, word in enumerate(words):
        direction = DIRECTIONS.get(word)
        if direction is None:
            continue
        behind = words[place + 1 :]
        for after, each in enumerate(behind):
            if stem(each) in content:
                roles.add((direction, stem(each)))
            elif after or each not in _DETERMINERS:
                break
    return frozenset(roles)


def _denied(words: list[str], content: frozenset[str]) -> frozenset[str]:
    """The content word behind each negation."""
    found, behind = set(), ""
    for word in reversed(words):
        if word in NEGATIONS and behind:
            found.add(behind)
        if stem(word) in content:
            behind = stem(word)
    return frozenset(found)


def _owner(lowered: str) -> str:
    """Whose thing is asked for: `what are your goals`."""
    found = _OWNER.search(lowered)
    return found[1] if found else ""


def _end_asked_for(lowered: str) -> str:
    found = _ENDS.search(lowered)
    return "" if found is None else found.lastgroup or ""


def _asks_for_a_thing(lowered: str, content: frozenset[str]) -> bool:
    """`Which language should I learn`, `what is a language`: no paraphrase of it begins with `how`."""
    thing, defines = _THING.match(lowered), _DEFINES.match(lowered)
    return (thing is not None and stem(thing[1]) in content) or (
        defines is not None and all(stem(word) in content or word in _DETERMINERS for word in defines[1].split())
    )


def _parts(plain: str, lowered: str) -> int:
    """How many questions are asked."""
    asked = sum(sentence.count(" ") >= 2 for sentence in plain.split("?")[:-1])
    return max(asked, 1) + len(_FURTHER.findall(lowered))


def _kind_of(lowered: str) -> str:
    """By the first word that asks; of readings that begin there, the more special one."""
    if _WHETHER.match(lowered):
        return "whether"
    matches = [pattern.search(lowered) for pattern, _ in _COMPILED_KINDS]
    found = [(match.start(), place) for place, match in enumerate(matches) if match]
    return _COMPILED_KINDS[min(found)[1]][1] if found else "statement"


def _measure_of(lowered: str) -> str:
    return next((measure for pattern, measure in _COMPILED_MEASURES if pattern.search(lowered)), "")


def _is_english(text: str, words: list[str]) -> bool:
    """Latin letters, and more of English's small words than of other languages'."""
    letters = sum(each.isalpha() for each in text)
    if letters and len(_LATIN.findall(text)) < letters:
        return False
    counts: Mapping[str, int] = Counter(words)
    english = sum(count for word, count in counts.items() if word in _ENGLISH)
    foreign = sum(count for word, count in counts.items() if word in FOREIGN)
    return english > foreign and english >= 0.15 * max(len(words), 1)
