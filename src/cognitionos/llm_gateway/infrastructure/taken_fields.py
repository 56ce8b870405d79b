"""What a translation takes of each object that it tells in other words: the rest is refused by name."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

_EMPTY: tuple[Any, ...] = ([], {}, "")


def not_taken(given: Mapping[str, Any], taken: AbstractSet[str], where: str) -> str | None:
    """The path of the first field of `given` that is not `taken` and says something; null and empty say nothing."""
    if given.keys() <= taken:
        return None
    for name, value in given.items():
        if name not in taken and value is not None and value not in _EMPTY:
            return f"{where}.{name}"
    return None
