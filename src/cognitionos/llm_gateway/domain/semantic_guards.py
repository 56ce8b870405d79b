"""May the answer to one question serve another? Guards that say no, whatever the similarity of their vectors.

Each looks at two readings and sees one kind of difference that vectors do not: both ways round it says the same.
"""

from collections.abc import Callable
from itertools import pairwise

from cognitionos.kernel.english import GRAMMAR, root, stem, words
from cognitionos.llm_gateway.domain.semantic_spelling import is_another
from cognitionos.llm_gateway.domain.semantic_text import Reading
from cognitionos.llm_gateway.domain.semantic_words import DIRECTIONS, KINDS, OPPOSITES, STRICT_DIRECTIONS

Guard = Callable[[Reading, Reading], bool]
"""Whether the two may be the same question."""
_OPPOSITES = frozenset(frozenset(root(word) for word in pair) for pair in OPPOSITES)
_COMPARED = frozenset(word for pair in _OPPOSITES for word in pair)
_MAKES_ANOTHER = words("er or ist ian ism ee less")
_KINDS = tuple(frozenset(stem(word) for word in kind) for kind in KINDS)
_NEAR_KINDS = frozenset(
    frozenset(pair)
    for pair in (
        ("what", "when"),
        ("what", "amount"),
        ("what", "statement"),
        ("how", "what"),
        ("how", "statement"),
        ("whether", "statement"),
    )
)
_ASK_FOR_A_MODE = words("whether who when where why")
_FEW_WORDS = 5
"""So many words may change places as a phrase that moves: `the list in Python`, `the Python list`."""
_TIME_WORDS = words("time times date dates day days year years deadline")
_OF_ALL = words("all every each")
_SYMMETRIC = words("and or between vs versus with")


def same_numbers(one: Reading, other: Reading) -> bool:
    """The same numbers in the same order, in digits or in words, of the same things, and no two different units."""
    if one.numbers != other.numbers or (one.units and other.units and one.units != other.units):
        return False
    return all(numbers == other.counted.get(around, numbers) for around, numbers in one.counted.items())


def same_polarity(one: Reading, other: Reading) -> bool:
    """Both deny, and the same, or neither does."""
    if one.negations % 2 != other.negations % 2 or bool(one.negations) != bool(other.negations):
        return False
    return not ((one.denied - other.denied) & {*other.content} and (other.denied - one.denied) & {*one.content})


def same_names(one: Reading, other: Reading) -> bool:
    """No name in the one that the other lacks, however it writes it."""
    return one.names <= other.stems and other.names <= one.stems


def same_dates(one: Reading, other: Reading) -> bool:
    """The same days, months and times of day."""
    return one.dates == other.dates


def same_literals(one: Reading, other: Reading) -> bool:
    """The same quoted text, code, identifiers and flags, to the letter."""
    return one.literals == other.literals


def same_markers(one: Reading, other: Reading) -> bool:
    """The same 'before', 'without', 'only', 'first' and their like."""
    return one.markers == other.markers


def same_persons(one: Reading, other: Reading) -> bool:
    """Not one about 'his' and the other about 'her'; not 'what are your plans' and 'what are plans'."""
    if one.persons and other.persons and one.persons != other.persons:
        return False
    return _owns(one, other) and _owns(other, one)


def same_kind(one: Reading, other: Reading) -> bool:
    """Both ask how, or why, or when, or how much of the same measure, or whether."""
    kinds = frozenset((one.kind, other.kind))
    if len(kinds) == 2 and (kinds not in _NEAR_KINDS or min(len(one.content), len(other.content)) < 2):
        return False
    if "how" in kinds and (one.asks_for_a_thing or other.asks_for_a_thing):
        return False
    if kinds == {"what", "when"} and not all(_TIME_WORDS & {*each.tokens} for each in (one, other)):
        return False
    return one.measure == other.measure or not (one.measure and other.measure)


def same_modality(one: Reading, other: Reading) -> bool:
    """Not one whether something may be and the other whether it should, has to or is going to be."""
    if one.kind == other.kind in {"who", "why"} and ("should" in one.modals) != ("should" in other.modals):
        return False
    asks = one.kind == other.kind in _ASK_FOR_A_MODE and one.modals and other.modals
    return not asks or bool(one.modals & other.modals)


def same_parts(one: Reading, other: Reading) -> bool:
    """As many questions in the one as in the other."""
    return one.parts == other.parts


def same_time(one: Reading, other: Reading) -> bool:
    """Not one about what was and the other about what is."""
    return not (_only_past(one) and _only_present(other)) and not (_only_past(other) and _only_present(one))


def no_opposites(one: Reading, other: Reading) -> bool:
    """No word in the one whose opposite stands in its place in the other."""
    mine, others = _apart(one, other)
    return not any(_are_opposites(a, b) for a in mine for b in others)


def same_forms(one: Reading, other: Reading) -> bool:
    """No word in the one that names the doer, the believer or the lack of another: 'transform', 'transformer'."""
    mine, others = _apart(one, other)
    return not any(_makes(a, b) or _makes(b, a) for a in mine for b in others)


def same_spelling(one: Reading, other: Reading) -> bool:
    """No word in the one that looks like a word in the other and is no form of it: 'order', 'preorder'."""
    mine, others = (each - GRAMMAR for each in _apart(one, other))
    return not any(
        is_another(a, b) and not _is_joined(a, other) and not _is_joined(b, one) for a in mine for b in others
    )


def no_sibling(one: Reading, other: Reading) -> bool:
    """No member of a kind (a colour, a language, a system) in the one where the other has another member."""
    mine, others = _apart(one, other)
    return not any(mine & kind and others & kind for kind in _KINDS)


def same_direction(one: Reading, other: Reading) -> bool:
    """Not 'from Paris to London' and 'from London to Paris'; not 'cats that eat mice' and 'mice that eat cats'.

    Nor 'who eats mice' and 'who do mice eat'.
    """
    if {one.asks_for, other.asks_for} == {"subject", "object"}:
        return False
    return _agree_on_roles(one, other) and not _is_turned(one, other) and not _is_shuffled(one, other)


def same_language(one: Reading, other: Reading) -> bool:
    """Both in English, which the other guards can read; else the same words in the same order."""
    return (one.is_english and other.is_english) or one.tokens == other.tokens


GUARDS: dict[str, Guard] = {
    "language": same_language,
    "numbers": same_numbers,
    "negation": same_polarity,
    "names": same_names,
    "dates": same_dates,
    "literals": same_literals,
    "markers": same_markers,
    "persons": same_persons,
    "kind": same_kind,
    "modality": same_modality,
    "time": same_time,
    "opposites": no_opposites,
    "forms": same_forms,
    "spelling": same_spelling,
    "parts": same_parts,
    "siblings": no_sibling,
    "direction": same_direction,
}
"""By the word under which a refusal is counted, in the order they are asked."""


def objection(one: Reading, other: Reading) -> str | None:
    """The first guard that says no; None: none does."""
    return next((name for name, agrees in GUARDS.items() if not agrees(one, other)), None)


def _apart(one: Reading, other: Reading) -> tuple[frozenset[str], frozenset[str]]:
    """The words that only one of them has."""
    return one.stems - other.stems, other.stems - one.stems


def _are_opposites(one: str, other: str) -> bool:
    return frozenset((root(one), root(other))) in _OPPOSITES


def _is_joined(word: str, other: Reading) -> bool:
    """The other writes it as two words."""
    return any(word[:at] in other.stems and word[at:] in other.stems for at in range(2, len(word) - 1))


def _makes(word: str, other: str) -> bool:
    """Not by comparing: `faster` is `fast`."""
    base = root(word)
    return len(base) > 3 and other.startswith(base) and other[len(base) :] in _MAKES_ANOTHER and base not in _COMPARED


def _owns(one: Reading, other: Reading) -> bool:
    """Whom the one asks about the other speaks of too."""
    return not one.owner or one.owner.removesuffix("r") in {token.removesuffix("r") for token in other.tokens}


def _only_past(reading: Reading) -> bool:
    return reading.is_past and not reading.is_present


def _only_present(reading: Reading) -> bool:
    return reading.is_present and not reading.is_past


def _agree_on_roles(one: Reading, other: Reading) -> bool:
    """No word of direction leads here to a word and there to another, each of which both questions have."""
    for direction in set(DIRECTIONS.values()):
        mine, others = _heads(one, direction), _heads(other, direction)
        if (mine - others) & {*other.content} and (others - mine) & {*one.content}:
            return False
    for head in {head for _, head in one.roles} & {head for _, head in other.roles}:
        mine, others = ({each for each, at in reading.roles if at == head} for reading in (one, other))
        if not mine & others and mine <= STRICT_DIRECTIONS and others <= STRICT_DIRECTIONS:
            return False
    return True


def _heads(reading: Reading, direction: str) -> set[str]:
    return {head for each, head in reading.roles if each == direction}


def _is_turned(one: Reading, other: Reading) -> bool:
    """`x verb y` here and `y verb x` there, but for words between equals ('x and y')."""
    if _SYMMETRIC & {*one.tokens} & {*other.tokens}:
        return False
    there = set(zip(other.content, other.content[1:], other.content[2:], strict=False))
    return any((c, b, a) in there for (a, b), (_, c) in pairwise(pairwise(one.content)))


def _is_shuffled(one: Reading, other: Reading) -> bool:
    """The words that both have stand in an order that no phrase which moves as a whole explains.

    `A hired B in C` here, `B hired A in C` there. In a long text a phrase may move to the front or the end only.
    """
    mine = [word for word in one.content if word in other.stems]
    theirs = [word for word in other.content if word in one.stems]
    if mine == theirs or len(mine) != len(theirs):
        return False
    start = next(place for place, word in enumerate(mine) if word != theirs[place])
    end = next(place for place in range(len(mine), 0, -1) if mine[place - 1] != theirs[place - 1])
    here, there = mine[start:end], theirs[start:end]
    if one.kind != "what" and _OF_ALL & {*one.tokens}:
        return True
    first = there.index(here[0])
    return there[first:] + there[:first] != here or (len(mine) > _FEW_WORDS and len(here) < len(mine))
