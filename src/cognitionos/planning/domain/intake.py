"""How much a task may take in by reference: counted before it is copied, written or compared.

A value of which each task takes in the one before it twice doubles with each task; shared as objects it costs nothing
until somebody writes it out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cognitionos.kernel.errors import Invalid

MOST_IN = 8 * 2**20
"""What references bring into one task, and what one step of a run computes; as `weight` counts."""
MOST_READ = 2 * MOST_IN
"""Bytes of JSON after which no more outputs are read for tasks that start together."""
MOST_FANNED = 4 * MOST_IN
"""What the tasks of a map's items say together."""
DEEPEST_IN = 256
"""Lists and objects within each other in what a reference brings in."""
_EACH = 32


class InputTooLarge(Invalid):
    """What the references of a task lead to is more than a task may take in."""


@dataclass(slots=True)
class Intake:
    """What the references of one task have brought in: no more than `MOST_IN` together."""

    field: str = ""
    taken: int = 0

    def take(self, value: Any, what: str) -> Any:
        """`value`, counted; raises `InputTooLarge` naming the field and `what` was too much."""
        before, self.taken = self.taken, MOST_IN  # also what was refused took its time to count
        self.taken = before + weight(value, MOST_IN - before, what, self.field)
        return value


def weight(value: Any, most: int, what: str, field: str = "") -> int:
    """What `value` comes to: 32 for each value in it, about what that costs in memory, and the characters of texts,
    names and big numbers.

    Takes time by `most` and not by what `value` comes to, however often the same object is in it. Raises
    `InputTooLarge`.
    """
    total, level, depth = _EACH, [value], 0
    while level:
        below: list[Any] = []
        for here in level:
            if isinstance(here, str):
                total += len(here)
            elif isinstance(here, Mapping):
                total += _EACH * len(here) + sum(map(len, here))
                below += here.values() if total <= most else ()
            elif isinstance(here, list | tuple):
                total += _EACH * len(here)
                below += here if total <= most else ()
            elif isinstance(here, int):
                total += here.bit_length() // 3
            if total > most:
                raise too_large(what, field)
        level, depth = below, depth + 1
        if below and depth > DEEPEST_IN:
            raise _too_deep(what, field)
    return total


def read_too_much(what: str, field: str = "") -> InputTooLarge:
    """For what is not even read."""
    fault = f"{what}: what it refers to has more than {MOST_READ // 2**20} MiB together"
    return InputTooLarge(f"{fault}. Give each task less to read.", fields={field: fault} if field else {})


def too_large(what: str, field: str = "") -> InputTooLarge:
    """For what is more than a task takes in."""
    fault = f"{what} is too much: a task takes in {MOST_IN // 2**20} MiB by reference"
    place = f" (field '{field}')" if field else ""
    return InputTooLarge(
        f"{fault}{place}. Refer to the part that is needed, or let the tasks before it give less.",
        fields={field: fault} if field else {},
    )


def _too_deep(what: str, field: str) -> InputTooLarge:
    fault = f"{what} has more than {DEEPEST_IN} lists and objects within each other"
    place = f" (field '{field}')" if field else ""
    return InputTooLarge(f"{fault}{place}. Refer to a part of it.", fields={field: fault} if field else {})
