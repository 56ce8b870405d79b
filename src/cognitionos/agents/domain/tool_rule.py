"""What a tenant says of a tool: who may use it, and which calls wait for a person."""

import operator
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cognitionos.agents.domain.approval import Default

DEADLINE_S = 24 * 3600.0


class Approval(StrEnum):
    """Which calls wait for a person: none, every one, or those whose arguments meet all conditions."""

    NEVER = "never"
    ALWAYS = "always"
    WHEN = "when"


class Comparison(StrEnum):
    """How a condition compares an argument with its value."""

    EQUALS = "=="
    DIFFERS = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    IN = "in"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    EXISTS = "exists"


Spell = Callable[[str], Sequence[str]]
"""Other ways to write the same text: first as the tool takes it. None of what it refuses.

Raises `ValueError` for a text of which nobody can say how the tool takes it: the condition counts as holding.
"""
Spellings = Callable[[str], Spell | None]
"""How the argument at a path may be written; None: in one way only."""

_COMPARE: Mapping[Comparison, Callable[[Any, Any], Any]] = {
    Comparison.EQUALS: operator.eq,
    Comparison.DIFFERS: operator.ne,
    Comparison.LESS: operator.lt,
    Comparison.AT_MOST: operator.le,
    Comparison.MORE: operator.gt,
    Comparison.AT_LEAST: operator.ge,
    Comparison.IN: lambda found, value: found in value,
    Comparison.CONTAINS: operator.contains,
    Comparison.STARTS_WITH: lambda found, value: str(found).startswith(str(value)),
    Comparison.EXISTS: lambda _, value: value is not False,
}


def one_way(_path: str) -> Spell | None:
    """`Spellings` of a tool whose arguments are what they are."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One test of an argument, found by its path (`items.0.price`)."""

    path: str
    op: Comparison
    value: Any = None

    def holds(self, arguments: Mapping[str, Any], spellings: Spellings = one_way) -> bool:
        """Whether it holds. What cannot be compared (a text with a number) counts as holding: a person looks.

        Of an argument with `spellings` it is enough that it holds for one of them, or for one of the value's; of a list
        for one of its members'.
        """
        there, found = _at(arguments, self.path)
        if not there:
            return self.op is Comparison.DIFFERS or (self.op is Comparison.EXISTS and self.value is False)
        spell = spellings(self.path)
        if spell is None or not isinstance(found, str | list):
            return self._compares(found, self.value)
        try:
            if self.op is Comparison.DIFFERS:
                return self._compares(_as_taken(found, spell), _as_taken(self.value, _leniently(spell)))
            ways, values = _ways(found, spell), _ways(self.value, _leniently(spell))
        except ValueError:
            return True
        return any(self._compares(way, value) for way in ways for value in values)

    def _compares(self, found: Any, value: Any) -> bool:
        try:
            return bool(_COMPARE[self.op](found, value))
        except TypeError:
            return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRule:
    """A tenant's word on `tool`, a name or `server.*`.

    `roles` empty: every agent that has the tool; of tools that the tenant added, the executor. A call that waits is
    decided as `default` says when nobody did within `deadline_s`.
    """

    tool: str
    allowed: bool = True
    roles: tuple[str, ...] = ()
    approval: Approval = Approval.NEVER
    conditions: tuple[Condition, ...] = ()
    deadline_s: float = DEADLINE_S
    default: Default = "reject"

    def admits(self, role: str) -> bool:
        """Whether this role may use the tool."""
        return self.allowed and (not self.roles or role in self.roles)

    def needs_approval(self, arguments: Mapping[str, Any], spellings: Spellings = one_way) -> bool:
        """Whether a call with these arguments waits for a person."""
        if self.approval is Approval.WHEN:
            return all(condition.holds(arguments, spellings) for condition in self.conditions)
        return self.approval is Approval.ALWAYS


def rule_for(rules: Mapping[str, ToolRule], name: str) -> ToolRule | None:
    """The rule that goes for the tool: its own before that of its family (`server.*`)."""
    if name in rules or "." not in name:
        return rules.get(name)
    return rules.get(f"{name.partition('.')[0]}.*")


def _leniently(spell: Spell) -> Spell:
    """For a rule's own value, which may be the beginning of a URL and no whole one."""

    def spelled(text: str) -> Sequence[str]:
        with suppress(ValueError):
            return spell(text)
        return ()

    return spelled


def _as_taken(value: Any, spell: Spell) -> Any:
    """The text as the tool takes it; of a list, each of its texts."""
    if isinstance(value, list):
        return [_as_taken(each, spell) for each in value]
    return next(iter(spell(value)), value) if isinstance(value, str) else value


def _ways(value: Any, spell: Spell) -> list[Any]:
    """A value in each of its spellings; of a list, its members as they are taken, and one with all their spellings."""
    if isinstance(value, list):
        return [_as_taken(value, spell), [way for each in value for way in _ways(each, spell)]]
    return [value, *spell(value)] if isinstance(value, str) else [value]


def _at(value: Any, path: str) -> tuple[bool, Any]:
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isascii() and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return False, None
    return True, value
