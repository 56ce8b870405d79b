"""What the end of some tasks brings about: counters of their dependents, and pure tasks that can run at once."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

LATER = object()
"""What `compute` gives for a task that cannot end here: it becomes ready, and goes the ordinary way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A pure task that waits for `pending` others."""

    id: UUID
    run_id: UUID
    key: str
    kind: str
    spec: Mapping[str, Any]
    pending: int
    dependents: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`done`: pure tasks that ran, with their output. `fewer`: by how much each other counter goes down."""

    done: list[tuple[Waiting, Any]] = field(default_factory=list)
    fewer: Counter[UUID] = field(default_factory=Counter)


def advance(
    ended: Iterable[tuple[UUID, ...]], waiting: Mapping[UUID, Waiting], compute: Callable[[Waiting], Any]
) -> Progress:
    """Follow the edges of `ended` (the dependents of each ended task) through the pure tasks in `waiting` (Kahn).

    A task whose last parent ends here runs here; one with a parent elsewhere only has its counter lowered.
    """
    progress = Progress()
    edges = deque(ended)
    while edges:
        for child in edges.popleft():
            progress.fewer[child] += 1
            node = waiting.get(child)
            if node is not None and progress.fewer[child] == node.pending:
                output = compute(node)
                if output is LATER:
                    continue
                del progress.fewer[child]
                progress.done.append((node, output))
                edges.append(node.dependents)
    return progress
