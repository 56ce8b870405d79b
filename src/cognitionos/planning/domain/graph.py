"""Graphs of tasks as a mapping from each key to what it depends on. Iterative: a chain of 10,000 must not recurse."""

from collections import deque
from collections.abc import Iterable, Mapping

from cognitionos.kernel.errors import Invalid


class InvalidGraph(Invalid):
    """The dependencies name a task that is not there, or go round in a circle."""


def topological_order(depends_on: Mapping[str, Iterable[str]]) -> list[str]:
    """Keys so that each comes after what it depends on (Kahn 1962), breadth first, ties in the given order.

    Raises `InvalidGraph` naming a missing key, or the tasks of one cycle.
    """
    children: dict[str, list[str]] = {key: [] for key in depends_on}
    open_parents: dict[str, int] = {}
    for key, parents in depends_on.items():
        distinct = set(parents)
        open_parents[key] = len(distinct)
        for parent in distinct:
            if parent not in children:
                raise InvalidGraph(f"Task '{key}' depends on '{parent}', which is not there.")
            children[parent].append(key)
    queue = deque(key for key, count in open_parents.items() if count == 0)
    order: list[str] = []
    while queue:
        key = queue.popleft()
        order.append(key)
        for child in children[key]:
            open_parents[child] -= 1
            if open_parents[child] == 0:
                queue.append(child)
    if len(order) < len(open_parents):
        raise InvalidGraph("The dependencies go round: " + " -> ".join(_a_cycle(depends_on, set(order))))
    return order


def leaves(depends_on: Mapping[str, Iterable[str]]) -> list[str]:
    """The keys nothing depends on, in the given order."""
    needed = {parent for parents in depends_on.values() for parent in parents}
    return [key for key in depends_on if key not in needed]


def _a_cycle(depends_on: Mapping[str, Iterable[str]], outside: set[str]) -> list[str]:
    """Walk backwards among the keys that Kahn could not order until one repeats."""
    key = next(each for each in depends_on if each not in outside)
    seen: dict[str, int] = {}
    path: list[str] = []
    while key not in seen:
        seen[key] = len(path)
        path.append(key)
        key = next(parent for parent in depends_on[key] if parent not in outside)
    return [*path[seen[key] :], key]
