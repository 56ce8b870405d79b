"""The fields of a planned task as models write them. What can mean one thing only is taken; all else is a fault, named.

Taken: what is left out or null, numbers as text (`"20 %"`), `"true"`, one dependency without its list, a list of
lines for a text. A share of 0 says nothing.
"""

import heapq
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cognitionos.planning.domain.graph import InvalidGraph, topological_order

_WORDS = {"true": True, "false": False, "": False}
MOST_SHARE = 100


class FieldFault(ValueError):
    """What is wrong with a field, in words that follow its name."""


def text_in(value: Any) -> str:
    """A text, empty where there is none."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = "\n".join(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if value is None or isinstance(value, str):
        return (value or "").replace("\x00", "").strip()
    raise FieldFault("must be a text")


def share_in(value: Any) -> float | None:
    """Percent of a budget, None where nothing is said."""
    if isinstance(value, str):
        value = value.replace("\x00", "").strip().removesuffix("%").strip() or None
    try:
        share = None if value is None or isinstance(value, bool | list | dict) else float(value)
    except (ValueError, OverflowError):
        share = math.nan
    if (share is None and value is not None) or (share is not None and not 0 <= share <= MOST_SHARE):
        raise FieldFault(f"must be a number of percent from 0 to {MOST_SHARE}")
    return share or None


def flag_in(value: Any) -> bool:
    """Whether; not, where nothing is said."""
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), value)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise FieldFault("must be true or false")


def references_in(value: Any, *, known: Collection[str], unused: Collection[str], prefix: str) -> tuple[str, ...]:
    """The `known` tasks that are named, each once; those left `unused` (null) have no result to wait for."""
    wanted = [value] if isinstance(value, str | int) and not isinstance(value, bool) else value
    if wanted is None:
        return ()
    if not isinstance(wanted, list) or not all(_is_name(each) for each in wanted):
        raise FieldFault("must be a list of tasks")
    found, strangers = dict[str, None](), list[str]()
    for each in wanted:
        name = str(each).strip()
        key = f"{prefix}{name}" if name.isdecimal() else name
        if key in known:
            found[key] = None
        elif name and each is not None and key not in unused:
            strangers.append(name[:40])
    if strangers:
        raise FieldFault(f"names {', '.join(map(repr, strangers[:5]))}, which is no task of the plan")
    return tuple(found)


def in_order(depends_on: Mapping[str, Sequence[str]]) -> list[str]:
    """The keys as they come, but each after those it depends on. Raises `FieldFault` with a cycle."""
    try:
        topological_order(depends_on)
    except InvalidGraph as cycle:
        raise FieldFault(cycle.detail[:1].lower() + cycle.detail[1:].rstrip(".")) from cycle
    place = {key: number for number, key in enumerate(depends_on)}
    left = {key: set(parents) for key, parents in depends_on.items()}
    children: dict[str, list[str]] = {key: [] for key in depends_on}
    for key, parents in left.items():
        for parent in parents:
            children[parent].append(key)
    ready = [(place[key], key) for key, parents in left.items() if not parents]
    order: list[str] = []
    while ready:
        _, key = heapq.heappop(ready)
        order.append(key)
        for child in children[key]:
            left[child].discard(key)
            if not left[child]:
                heapq.heappush(ready, (place[child], child))
    return order


def _is_name(value: Any) -> bool:
    return value is None or (isinstance(value, str | int) and not isinstance(value, bool))
