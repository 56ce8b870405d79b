"""Forks: a new run of an earlier run's tasks, of which only some are done again."""

import json
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any
from uuid import UUID

from cognitionos.kernel.errors import Conflict, Invalid, NotFound
from cognitionos.planning.domain.forked import Forked, ForkedTask, OldTask
from cognitionos.planning.domain.kinds import KINDS, input_faults
from cognitionos.planning.domain.reference import REF, STATE, UnresolvedReference, followed, reference_of, references_in
from cognitionos.planning.domain.replan import PLANNED
from cognitionos.planning.domain.task import PURE_KINDS


class InvalidFork(Invalid):
    """The fork cannot be made as it was asked for; `fields` says why."""


class SnapshotNotFound(NotFound):
    """The run has no snapshot of that name."""


class SnapshotExists(Conflict):
    """The run has a snapshot of that name already."""


def touched_by(tasks: Sequence[OldTask], *, before: Any, after: Any) -> frozenset[str]:
    """The references of `tasks` to the run's input that lead to something else when it is `after` and not `before`."""
    if after is before:
        return frozenset()
    told = frozenset[str]().union(*(task.reads for task in tasks))
    return frozenset(each for each in told if _written(each, before) != _written(each, after))


def done_again(
    tasks: Sequence[OldTask], *, start: Collection[str], touched: AbstractSet[str] = frozenset()
) -> tuple[list[OldTask], frozenset[UUID]]:
    """Which tasks the new run has, and which of them it does again: those in `start`, those with references that are
    `touched` by its input, those that had not ended well, and everything that comes after any of these.

    What a plan or a map that is begun anew had brought about is left out: it will bring about its own. A map that is
    not, but waits for some of its items again, keeps the others.
    Raises `InvalidFork` naming keys that are not there.
    """
    keys = {task.key for task in tasks}
    unknown = [key for key in start if key not in keys]
    if unknown:
        shown = ", ".join(f"'{key[:100]}'" for key in unknown[:10])
        raise InvalidFork(f"The run has no task {shown}.", fields={"from": f"there is no task {shown}"})
    wanted = set(start)
    first = [
        task for task in tasks if task.key in wanted or not (task.is_done or task.is_skipped) or task.reads & touched
    ]
    again = _with_what_follows(first, {task.id: task for task in tasks})
    tasks, again = _without_replacements(tasks, again)
    replanned = min((task.position for task in tasks if task.kind == "plan" and task.id in again), default=None)
    anew = {child for task in tasks if task.id in again and task.items_of is None for child in task.dependents}
    maps = {
        task.key
        for task in tasks
        if task.kind == "map" and (task.id in anew or task.key in wanted or task.reads & touched)
    }
    kept = [
        task
        for task in tasks
        if (replanned is None or task.position <= replanned) and (task.items_of is None or task.items_of not in maps)
    ]
    return kept, frozenset(again) & {task.id for task in kept}


def continued(
    tasks: Sequence[OldTask],
    again: Collection[UUID],
    *,
    start: Collection[str],
    touched: AbstractSet[str] = frozenset(),
) -> dict[UUID, UUID]:
    """The nested runs, by task, whose finished work is kept: what they were started with is as it was.

    Not those of a task in `start`: it begins its run anew.
    """
    after = {child for task in tasks if task.id in again and task.items_of is None for child in task.dependents}
    return {
        task.id: task.nested
        for task in tasks
        if task.nested is not None
        and task.id in again
        and task.id not in after
        and task.key not in start
        and not task.reads & touched
    }


def forked(
    tasks: Sequence[OldTask],
    again: Collection[UUID],
    *,
    new_id: Callable[[], UUID],
    changes: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    continues: Mapping[UUID, UUID] = MappingProxyType({}),
) -> list[ForkedTask]:
    """The tasks of the new run, in order, with edges among themselves; `continues` are earlier nested runs by task."""
    ids = {task.id: new_id() for task in tasks}
    replaced = {task.id for task in tasks if task.is_replaced and task.id not in again}
    dependents = {
        task.id: [each for each in task.dependents if each in ids and task.id not in replaced] for task in tasks
    }
    parents: dict[UUID, list[OldTask]] = {task.id: [] for task in tasks}
    for task in tasks:
        for child in dependents[task.id]:
            parents[child].append(task)
    items = Counter(task.items_of for task in tasks if task.items_of is not None)
    held = _held(tasks, again)
    return [
        ForkedTask(
            id=ids[task.id],
            old=task,
            position=position,
            is_reused=task.id not in again,
            dependencies=tuple(ids[parent.id] for parent in parents[task.id] if parent.items_of is None),
            dependents=tuple(ids[child] for child in dependents[task.id]),
            pending=_waits_for(parents[task.id], again) + (task.id in held) if task.id in again else 0,
            skipped=sum(1 for parent in parents[task.id] if parent.is_skipped and parent.id not in again),
            spec=changes.get(task.key),
            items=items.get(task.key) if task.kind == "map" and task.id in again else None,
            is_held=task.id in held,
            continues=continues.get(task.id),
        )
        for position, task in enumerate(tasks)
    ]


def from_failed(
    tasks: Sequence[OldTask], *, source: UUID, old_result: UUID | None, new_id: Callable[[], UUID]
) -> Forked | None:
    """A fork from what had not ended well; None if all of it had."""
    kept, again = done_again(tasks, start=())
    if not again:
        return None
    nested = continued(kept, again, start=())
    new = tuple(forked(kept, again, new_id=new_id, continues=nested))
    return Forked(id=new_id(), source=source, tasks=new, result_task_id=result_of(old_result, tasks, new))


def _written(reference: str, run_input: Any) -> str | None:
    try:
        return json.dumps(followed(run_input, reference_of({REF: reference})), sort_keys=True)
    except UnresolvedReference:
        return None


def _waits_for(parents: Sequence[OldTask], again: Collection[UUID]) -> int:
    return sum(1 for parent in parents if parent.id in again)


def _held(tasks: Sequence[OldTask], again: Collection[UUID]) -> set[UUID]:
    """Of the items that are done again, those beyond what their map may have at once."""
    at_once = {task.key: task.at_once for task in tasks if task.kind == "map"}
    started: Counter[str] = Counter()
    held = set()
    for task in tasks:
        if task.items_of is not None and task.id in again and task.kind not in PURE_KINDS:
            started[task.items_of] += 1
            if started[task.items_of] > at_once.get(task.items_of, 1):
                held.add(task.id)
    return held


def result_of(old_result: UUID | None, tasks: Sequence[OldTask], new: Sequence[ForkedTask]) -> UUID | None:
    """The new run's result task: the same as before, or the one whose place was given back to it."""
    key = next((task.key for task in tasks if task.id == old_result), None)
    if key is None:
        return None
    same = next((task.id for task in new if task.old.key == key), None)
    return same or next((t.id for t in new if t.old.is_replaced and key.startswith(f"{t.old.key}.")), None)


def _without_replacements(tasks: Sequence[OldTask], again: set[UUID]) -> tuple[list[OldTask], set[UUID]]:
    """A replaced task that is done again, or whose plan is, gets its place back: what stood there is left out."""
    plans = {task.key.removesuffix(".plan"): task.id for task in tasks if task.kind == "plan"}
    back = [task for task in tasks if task.is_replaced and (task.id in again or plans.get(task.key) in again)]
    if not back:
        return list(tasks), again
    prefixes = tuple(f"{task.key}." for task in back)
    kept = [task for task in tasks if not task.key.startswith(prefixes)]
    found = _with_what_follows([task for task in kept if task.id in again or task in back], {t.id: t for t in kept})
    return kept, found


def _with_what_follows(first: Sequence[OldTask], tasks: Mapping[UUID, OldTask]) -> set[UUID]:
    found = {task.id for task in first}
    queue = deque(first)
    while queue:
        for child in queue.popleft().dependents:
            if child in tasks and child not in found:
                found.add(child)
                queue.append(tasks[child])
    return found


def changed_specs(
    tasks: Sequence[OldTask], specs: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Any], *, run_input: Any
) -> dict[str, Mapping[str, Any]]:
    """The new spec of each changed task: the changed fields in the old input; of a `value` the whole input.

    Raises `InvalidFork` naming every fault; what an input refers to must come before its task, or be in `run_input`.
    """
    by_key = {task.key: task for task in tasks}
    faults: dict[str, str] = {}
    made: dict[str, Mapping[str, Any]] = {}
    for key, change in changes.items():
        task = by_key.get(key)
        if task is None:
            faults[f"changes.{key[:100]}"] = "there is no such task"
        elif KINDS.get(task.kind) is None and task.kind != "value":
            faults[f"changes.{key}"] = f"the input of kind '{task.kind}' is not given by hand"
        elif task.kind != "value" and not isinstance(change, Mapping):
            faults[f"changes.{key}"] = "must be an object of fields"
        else:
            made[key] = {"input": change} if task.kind == "value" else {**specs.get(key, {}), **change}
            ours = PLANNED - (change.keys() if isinstance(change, Mapping) else set())
            given = {name: value for name, value in made[key].items() if name not in ours}
            faults |= _faults_of(task, given, tasks, run_input)
    if faults:
        raise InvalidFork("; ".join(f"{name}: {fault}" for name, fault in faults.items()), fields=faults)
    return made


def _faults_of(task: OldTask, spec: Mapping[str, Any], tasks: Sequence[OldTask], run_input: Any) -> dict[str, str]:
    at = f"changes.{task.key}"
    given = {name: value for name, value in spec.items() if name != STATE}
    faults = {}
    if task.kind != "value":
        faults = {f"{at}{'.' if name else ''}{name}": fault for name, fault in input_faults(task.kind, given).items()}
    try:
        references = list(references_in(given))
        for reference in references:
            if reference.task is None and reference.local is None:
                followed(run_input, reference)
    except ValueError as fault:
        return {at: str(fault)}
    except UnresolvedReference as fault:
        return {at: fault.detail}
    wanted = {reference.task for reference in references if reference.task is not None}
    for key in wanted - _before(task, tasks):
        faults[at] = f"'{key}' does not come before '{task.key}'"
    return faults


def _before(task: OldTask, tasks: Sequence[OldTask]) -> set[str]:
    """The keys of what comes before `task`; `tasks` are in an order in which each comes after what it depends on."""
    reaches = {task.id}
    found: set[str] = set()
    for each in reversed(tasks):
        if not reaches.isdisjoint(each.dependents):
            reaches.add(each.id)
            found.add(each.key)
    return found
