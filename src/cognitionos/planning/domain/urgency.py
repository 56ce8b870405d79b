"""Which tasks of a run go first where slots are scarce: those of its longest path (Kelley and Walker 1959)."""

from collections.abc import Iterable, Mapping, Sequence

LEAST = -100
BITE = 250
"""Tasks that need no slot are taken so many at a time."""


def priorities(
    order: Sequence[str], depends_on: Mapping[str, Iterable[str]], seconds: Mapping[str, float]
) -> dict[str, int]:
    """0 for each task of the longest path, down to -100 by how much shorter the longest path through a task is.

    `order` is topological, `seconds` what each task is expected to take. Relative to the run's own longest path, so
    that the runs of a tenant stay equals.
    """
    before: dict[str, float] = {}
    after = dict.fromkeys(order, 0.0)
    for key in order:
        before[key] = max((before[each] + seconds[each] for each in depends_on[key]), default=0.0)
    for key in reversed(order):
        longest_from_here = seconds[key] + after[key]
        for each in depends_on[key]:
            after[each] = max(after[each], longest_from_here)
    through = {key: before[key] + seconds[key] + after[key] for key in order}
    longest = max(through.values(), default=0.0)
    return {key: round(LEAST * (longest - length) / longest) if longest else 0 for key, length in through.items()}


def in_bites(priority: int, place: int) -> int:
    """The priority of the task at `place` (from 0) of those that need no slot: each bite goes behind the one before.

    So the first of a run go ahead of what is left of another's thousands, and many of one share with many of another.
    """
    return priority - place // BITE
