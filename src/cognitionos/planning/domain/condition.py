"""What a condition may ask. Numbers compare with numbers and texts with texts, as JSON: true is not 1, however deep."""

from collections.abc import Callable, Mapping
from typing import Any

from cognitionos.kernel.errors import Invalid


class NotComparable(Invalid):
    """The two sides of a condition cannot be compared in this way."""


def holds(op: str, left: Any, right: Any) -> bool:
    """Whether the condition is true. Raises `NotComparable`."""
    try:
        return bool(_OPERATORS[op](left, right))
    except TypeError as error:
        raise NotComparable(f"'{op}' cannot compare {_kind(left)} with {_kind(right)}.") from error


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def check(left: Any, right: Any) -> bool:
        both_numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (left, right))
        if not both_numbers and not (isinstance(left, str) and isinstance(right, str)):
            raise TypeError
        return compare(left, right)

    return check


def _is_in(member: Any, whole: Any) -> bool:
    if isinstance(whole, list | tuple):
        return any(_equal(member, each) for each in whole)
    if isinstance(whole, str | Mapping) and isinstance(member, str):
        return member in whole
    raise TypeError


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a text"}
    return names.get(type(value), "a list" if isinstance(value, list | tuple) else "an object")


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
    "in": _is_in,
    "contains": lambda left, right: _is_in(right, left),
    "exists": lambda left, _: left is not None,
    "truthy": lambda left, _: bool(left),
}
OPERATORS = tuple(_OPERATORS)
