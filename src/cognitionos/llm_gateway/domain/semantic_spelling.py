"""Words that look alike and mean something else: `hypotension`, `hypertension`; `order`, `preorder`; `iran`, `iraq`.

Vectors made of pieces of words put such words side by side, often nearer than two words for one thing. Forms and
spellings of one word (`renew`, `renewal`; `colour`, `color`) are told from them by how English builds them.
"""

import re
from functools import lru_cache

from cognitionos.kernel.english import UNITS, root, words
from cognitionos.llm_gateway.domain.semantic_words import ONE_WORD, PREFIXES

_SHARED = 0.6
"""The share of the longer word's letters that words which look alike have in common, at head and tail together."""
_LONG = 5
"""A common head or a common tail of so many letters is enough."""
_SHORT = 4
"""A longer word is not alike by chance: one that stands in another is enough."""
_BEHIND_A_PREFIX = 3
"""A common tail of so many letters is enough where two prefixes stand before it: `uptime`, `downtime`."""
_BEFORE_LESS = 3
"""A common head of so many letters is enough where one of the two lacks it: `painless`, `painful`."""
_ENDINGS = words("e es ed er est ing ion ation ition lation ment ance ence ancy ency y ie ies ied ly") | {""}
"""Any two of these behind the same letters make forms of one word; none and an `e` do not: `breath`, `breathe`."""
_CHANGES = frozenset(
    frozenset(pair.split("/"))
    for pair in words(
        """
        be/ption t/ssion t/sion d/sion de/sion se/sion e/tion ing/tion y/ication er/ration er/ry in/nation ain/enance
        oy/uction ze/sis se/sis le/ility ent/ence ant/ance ent/ency ant/ancy y/iness y/ial y/ize y/ise e/ure d/se d/ce
        w/wal ve/val se/sal ss/ssal r/rral t/ttal y/yal
        """
    )
)
"""What becomes of the end of a word where more than its ending changes: `describe`, `description`."""
_SHORTEST_BASE, _LONGEST_OVERLAP = 3, 3
"""Letters of the word before its ending; letters with which two endings begin alike: `ance`, `ancy`."""
_SPELLINGS = (
    ({"s", "z"}, re.compile(r"[iy]-[aei]")),
    ({"", "u"}, re.compile(r"o-r")),
    ({"", "l"}, re.compile(r"\w{3}l-")),
    ({"", "ue"}, re.compile(r"og-$")),
    ({"", "e"}, re.compile(r"-ment")),
    ({"c", "s"}, re.compile(r"n-e$")),
    ({"e", "o"}, re.compile(r"\w{5}-r$")),
    ({"er", "re"}, re.compile(r"-$")),
)
"""The letters in which two spellings of a word differ, and what stands on both sides of the place."""


@lru_cache(maxsize=8192)
def is_another(one: str, other: str) -> bool:
    """Whether the two look alike though neither is a form of the other. Both in lower case, without their plural."""
    if one == other or not (_look_alike(one, other) or _look_alike(root(one), root(other))):
        return False
    return not _are_forms(one, other)


def _look_alike(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    if len(longer) < _SHORT:
        return False
    if len(shorter) >= _SHORT and shorter in longer:
        return True
    head, tail = _head(one, other), _head(one[::-1], other[::-1])
    if head >= _BEFORE_LESS and one.endswith("less") != other.endswith("less"):
        return True
    if tail >= _BEHIND_A_PREFIX and {one[: len(one) - tail], other[: len(other) - tail]} <= PREFIXES:
        return True
    return max(head, tail) >= _LONG or min(head + tail, len(shorter)) >= _SHARED * len(longer)


def _head(one: str, other: str) -> int:
    """How many letters the two have in common at their heads."""
    least = min(len(one), len(other))
    return next((place for place in range(least) if one[place] != other[place]), least)


def _are_forms(one: str, other: str) -> bool:
    base, other_base = (ONE_WORD.get(word) or UNITS.get(word, word) for word in (one, other))
    if base == other_base:
        return True
    if f"{base}e" == other_base or f"{other_base}e" == base:
        return False
    stripped, other_stripped = (word if word.endswith("ee") else root(word) for word in (base, other_base))
    return stripped == other_stripped or any(
        _end_as_forms(a, b) or _are_spellings(a, b) for a, b in ((base, other_base), (stripped, other_stripped))
    )


def _end_as_forms(one: str, other: str) -> bool:
    head = _head(one, other)
    for at in range(head, max(_SHORTEST_BASE, head - _LONGEST_OVERLAP) - 1, -1):
        ends = frozenset((one[at:], other[at:]))
        if ends in _CHANGES or ends <= _ENDINGS:
            return True
    return False


def _are_spellings(one: str, other: str) -> bool:
    head = _head(one, other)
    tail = _head(one[head:][::-1], other[head:][::-1])
    left = {one[head : len(one) - tail], other[head : len(other) - tail]}
    around = f"{one[:head]}-{one[len(one) - tail :]}"
    return any(left == apart and beside.search(around) for apart, beside in _SPELLINGS)
