"""What a replay found: how the tasks were done again, and where that first led elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Where the replay first did otherwise than the run had done."""

    task: str
    step: str | None
    field: str
    expected: Any
    actual: Any


@dataclass(kw_only=True)
class ReplayReport:
    """`replayed`: tasks whose agents worked again; `recomputed`: those without effect; `recorded`: calls of tools and
    of HTTP, for which the recorded answer stood in; `taken`: results taken over as they were.
    """

    run_id: UUID
    tasks: int
    replayed: int = 0
    recomputed: int = 0
    recorded: int = 0
    taken: int = 0
    steps: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    divergence: Divergence | None = None


def first_difference(task: str, name: str, was: Any, now: Any) -> Divergence | None:
    """The first part in which `now` is not what `was` recorded under this name; of objects, by their fields."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for part in {**was, **now}:
            if was.get(part) != now.get(part):
                at = f"{name}.{part}"
                return Divergence(task=task, step=None, field=at, expected=was.get(part), actual=now.get(part))
        return None
    return None if was == now else Divergence(task=task, step=None, field=name, expected=was, actual=now)
