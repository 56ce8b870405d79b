"""What the tasks of a workflow name outright: agents, tools, other workflows; and which of those they always start."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cognitionos.planning.domain.graph import topological_order
from cognitionos.planning.domain.reference import MAP_TASK
from cognitionos.planning.domain.workflow import DeclaredTask


class NamedKind(StrEnum):
    """What a name is of."""

    AGENT = "agent"
    TOOL = "tool"
    WORKFLOW = "workflow"


@dataclass(frozen=True, slots=True)
class Named:
    """A name in a task's input and the field it stands in. What a reference will bring is not known and not here."""

    kind: NamedKind
    name: str
    field: str

    @property
    def workflow(self) -> tuple[str, int | None]:
        """`name` or `name@version`, apart."""
        name, _, version = self.name.partition("@")
        return name, int(version) if version else None


def names_in(tasks: Mapping[str, DeclaredTask]) -> list[Named]:
    """Every name in checked tasks, those of maps' items included."""
    return [each for key, task in tasks.items() for each in names_of(task.kind, task.input, f"tasks.{key}.input")]


def names_of(kind: str, given: Any, at: str) -> Iterator[Named]:
    """The names in one task's input, of which `at` is the field."""
    yield from _names(kind, given, at)
    item = given.get(MAP_TASK) if kind == "map" and isinstance(given, Mapping) else None
    if isinstance(item, Mapping):
        yield from _names(item.get("kind"), item.get("input"), f"{at}.{MAP_TASK}.input")


def always_started(tasks: Mapping[str, DeclaredTask]) -> list[Named]:
    """The workflows that every run of the tasks starts, unless it fails: no condition and no map decides on them."""
    nested = [key for key, task in tasks.items() if task.kind == "workflow"]
    if not nested:
        return []
    chosen = {name for task in tasks.values() if task.kind == "condition" for name in _branches(task.input)}
    may_be_skipped: set[str] = set()
    for key in topological_order({key: task.depends_on for key, task in tasks.items()}):
        parents = tasks[key].depends_on
        if key in chosen or (parents and all(each in may_be_skipped for each in parents)):
            may_be_skipped.add(key)
    return names_in({key: tasks[key] for key in nested if key not in may_be_skipped})


def _names(kind: Any, given: Any, at: str) -> Iterator[Named]:
    if not isinstance(given, Mapping):
        return
    if kind == "agent":
        for field in ("agent", "role"):
            if isinstance(given.get(field), str):
                yield Named(NamedKind.AGENT, given[field], f"{at}.{field}")
        critics = given.get("critics")
        for number, name in enumerate(critics if isinstance(critics, list) else ()):
            yield Named(NamedKind.AGENT, name, f"{at}.critics.{number}")
    elif kind in {NamedKind.TOOL, NamedKind.WORKFLOW} and isinstance(given.get(kind), str):
        yield Named(NamedKind(kind), given[kind], f"{at}.{kind}")


def _branches(given: Any) -> Iterator[str]:
    for branch in ("then", "else"):
        named = given.get(branch) if isinstance(given, Mapping) else None
        yield from named if isinstance(named, list) else ()
