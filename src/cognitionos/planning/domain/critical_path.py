"""The critical path of a run, from what its tasks took: the chain that decided how long it lasted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from cognitionos.planning.domain.graph import topological_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A task with what it took. `items_of`: the key of the map whose item it is."""

    id: UUID
    key: str
    kind: str
    seconds: float
    dependents: tuple[UUID, ...]
    items_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalPath:
    """`length_s`: the longest chain, which no number of workers can beat. `work_s`: all tasks, one after the other."""

    tasks: tuple[Measured, ...]
    length_s: float
    work_s: float

    @property
    def most_speed_up(self) -> float | None:
        """How many times faster than one after the other it could be at most; None before anything took time."""
        return self.work_s / self.length_s if self.length_s > 0 else None

    def speed_up(self, wall_s: float | None) -> float | None:
        """How many times faster than one after the other it was."""
        return self.work_s / wall_s if wall_s else None


def critical_path(tasks: Sequence[Measured]) -> CriticalPath:
    """The longest path by measured seconds; `tasks` are in an order in which each comes after what it depends on, but
    for a map's items, which come after it and are done before it ends.

    What a plan brought about comes after the plan; a map itself takes no time, its items do.
    """
    parents = _parents(tasks)
    maps = {task.items_of for task in tasks if task.items_of is not None}
    best: dict[UUID, float] = {}
    before: dict[UUID, Measured | None] = {}
    work = 0.0
    order = _in_order(tasks, parents)
    for task in order:
        seconds = 0.0 if task.key in maps else task.seconds
        work += seconds
        last = max(parents[task.id], key=lambda parent: best.get(parent.id, 0.0), default=None)
        before[task.id] = last
        best[task.id] = seconds + (best.get(last.id, 0.0) if last is not None else 0.0)
    end = max(reversed(order), key=lambda task: best[task.id], default=None)  # of equals the last
    path: list[Measured] = []
    here = end
    while here is not None:
        path.append(here)
        here = before[here.id]
    return CriticalPath(tasks=tuple(reversed(path)), length_s=best[end.id] if end is not None else 0.0, work_s=work)


def _parents(tasks: Sequence[Measured]) -> dict[UUID, list[Measured]]:
    parents: dict[UUID, list[Measured]] = {task.id: [] for task in tasks}
    for task in tasks:
        for child in task.dependents:
            parents[child].append(task)
    by_key = {task.key: task for task in tasks}
    plan: Measured | None = None
    for task in tasks:
        above = by_key.get(task.items_of) if task.items_of is not None else None
        if above is not None:
            parents[task.id] += [each for each in parents[above.id] if each.items_of != above.key]
        elif plan is not None and not parents[task.id]:
            parents[task.id].append(_brought_about_by(task, by_key) or plan)
        if task.kind == "plan":
            plan = task
    return parents


def _brought_about_by(task: Measured, by_key: Mapping[str, Measured]) -> Measured | None:
    """The plan that replaced a task, for what it brought about; for that plan, the task that failed."""
    replaced, dot, name = task.key.rpartition(".")
    if not dot:
        return None
    return by_key.get(replaced if task.kind == "plan" and name == "plan" else f"{replaced}.plan")


def _in_order(tasks: Sequence[Measured], parents: Mapping[UUID, Sequence[Measured]]) -> list[Measured]:
    """Each after what it depends on: as they are, but where a later plan has put tasks before earlier ones."""
    if sum(1 for task in tasks if task.kind == "plan") <= 1:
        return _items_before_their_map(tasks)
    by_key = {task.key: task for task in tasks}
    return [by_key[key] for key in topological_order({t.key: [p.key for p in parents[t.id]] for t in tasks})]


def _items_before_their_map(tasks: Sequence[Measured]) -> list[Measured]:
    items: dict[str, list[Measured]] = {}
    for task in tasks:
        if task.items_of is not None:
            items.setdefault(task.items_of, []).append(task)
    return [each for task in tasks if task.items_of is None for each in (*items.get(task.key, ()), task)]
