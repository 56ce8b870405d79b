"""What the end of some tasks brings about: counters of their dependents, pure tasks that can run at once, skips.

A task is skipped when a condition that it depends on did not choose it, or when everything it depends on was skipped;
that is known when its last dependency has ended.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cognitionos.planning.domain.task import Succeeded

LATER = object()
"""What `compute` gives for a task that cannot end here: it becomes ready, and goes the ordinary way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A task that waits for `pending` others. Of all its `parents`, `skipped` ended without having run.

    One that a condition did not choose counts as skipped by all of them.
    """

    id: UUID
    run_id: UUID
    key: str
    kind: str
    spec: Mapping[str, Any]
    pending: int
    dependents: tuple[UUID, ...]
    is_pure: bool = True
    parents: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Edges:
    """The dependents of a task that ended; `cut` are the keys of those it did not choose."""

    to: tuple[UUID, ...]
    is_skipped: bool = False
    cut: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`done`: pure tasks that ran, with their output. `skipped`: those that never will.

    `fewer`: by how much each other counter goes down. `skips`: by how much each other task's `skipped` goes up.
    """

    done: list[tuple[Waiting, Any]] = field(default_factory=list)
    skipped: list[Waiting] = field(default_factory=list)
    fewer: Counter[UUID] = field(default_factory=Counter)
    skips: Counter[UUID] = field(default_factory=Counter)


def advance(
    ended: Iterable[Edges], waiting: Mapping[UUID, Waiting], compute: Callable[[Waiting], Succeeded | object]
) -> Progress:
    """Follow the edges of the ended tasks through the tasks in `waiting` (Kahn).

    A pure task whose last parent ends here runs here; one with a parent elsewhere only has its counter lowered.
    """
    progress = Progress()
    fewer, skips = progress.fewer, progress.skips
    queue = deque(ended)
    while queue:
        edges = queue.popleft()
        for child in edges.to:
            fewer[child] += 1
            node = waiting.get(child)
            if edges.is_skipped:
                skips[child] += 1
            elif edges.cut and node is not None and node.key in edges.cut:
                skips[child] += node.parents
            if node is None or fewer[child] != node.pending:
                continue
            if is_skipped(node.skipped + skips.get(child, 0), node.parents):
                del fewer[child], skips[child]
                progress.skipped.append(node)
                queue.append(Edges(node.dependents, is_skipped=True))
            elif node.is_pure:
                outcome = compute(node)
                if isinstance(outcome, Succeeded):
                    del fewer[child], skips[child]
                    progress.done.append((node, outcome.output))
                    queue.append(Edges(node.dependents, cut=outcome.skips))
    return progress


def is_skipped(skipped: int, parents: int) -> bool:
    """Whether a task with so many parents, of which `skipped` did not run, will not run either."""
    return 0 < skipped >= parents
