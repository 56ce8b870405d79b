"""Input by reference: `{"$ref": "run.input.x"}` or `{"$ref": "tasks.KEY.output.path"}` anywhere in a task's input.

In the task of a map also `{"$ref": "item.path"}` and `{"$ref": "index"}`. Resolved when the task starts, in one pass:
what a reference brings in is data, and is not looked at for more.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cognitionos.kernel.errors import Invalid
from cognitionos.planning.domain.intake import Intake, read_too_much

REF = "$ref"
STATE = "$state"
"""The field of a task's spec that the engine keeps for itself: where the task is, not what it is. No input has it."""
DEADLINE = "deadline"
"""The field of `STATE` that says when the task must have ended."""
MAP_TASK = "task"
"""The field of a map's input that is resolved once for each of its items, not for the map."""
DEEPEST = 64
"""Lists and objects within each other; what walks them may then recurse."""


class UnresolvedReference(Invalid):
    """A reference leads to nothing in what there is."""


class NotAReference(ValueError):
    """A `$ref` that cannot be read; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where a value comes from: the output of `task`, or the run's input when that is None; then down `path`.

    `local`: 'item' or 'index' of a map instead.
    """

    task: str | None
    path: tuple[str, ...]
    local: str | None = None

    def __str__(self) -> str:
        """As written."""
        if self.local is not None:
            return ".".join((self.local, *self.path))
        return ".".join((*(("run", "input") if self.task is None else ("tasks", self.task, "output")), *self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What references may lead to. The output of a task that was skipped is not in it, and is null for them.

    `unread`: the tasks whose outputs were too much to be read with the others; None among them: the run's input.
    """

    run_input: Any = None
    outputs: dict[str, Any] = field(default_factory=dict)
    locals: Mapping[str, Any] = field(default_factory=dict)
    unread: frozenset[str | None] = frozenset()

    def lacks(self, references: Iterable[Reference]) -> bool:
        """Whether some of these lead to what was not read."""
        return bool(self.unread) and any(each.local is None and each.task in self.unread for each in references)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the references of some tasks of one run ask for."""

    outputs: frozenset[str]
    run_input: bool

    @classmethod
    def by(cls, references: Iterable[Reference]) -> "Wanted | None":
        """What these ask for; None: nothing."""
        tasks = {reference.task for reference in references if reference.local is None}
        keys = frozenset(task for task in tasks if task is not None)
        return cls(outputs=keys, run_input=None in tasks) if tasks else None


def reference_of(value: Mapping[str, Any]) -> Reference:
    """The reference in an object with a `$ref`, or `NotAReference`."""
    text = value[REF]
    if len(value) != 1:
        raise NotAReference(f"an object with '{REF}' has nothing else in it")
    match text.split(".") if isinstance(text, str) else ():
        case ["run", "input", *path] if all(path):
            return Reference(task=None, path=tuple(path))
        case ["tasks", key, "output", *path] if key and all(path):
            return Reference(task=key, path=tuple(path))
        case ["item", *path] if all(path):
            return Reference(task=None, path=tuple(path), local="item")
        case ["index"]:
            return Reference(task=None, path=(), local="index")
    raise NotAReference(
        "a reference is 'run.input', 'tasks.KEY.output' or, in a map's task, 'item', each followed by '.name' or '.0' "
        "as need be, or 'index'"
    )


def walked(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    """Every object with a `$ref` in `value`, with its path below `at`, and everything too deep as `(path, None)`."""
    left = [(at, value, 0)]
    while left:
        path, here, depth = left.pop()
        if isinstance(here, Mapping):
            if REF in here:
                yield path, here
                continue
            children: Iterable[tuple[Any, Any]] = here.items()
        elif isinstance(here, list | tuple):
            children = enumerate(here)
        else:
            continue
        if depth == DEEPEST:
            yield path, None
            continue
        left += [(f"{path}.{name}", child, depth + 1) for name, child in children if isinstance(child, _NESTED)]


def references_in(value: Any) -> list[Reference]:
    """The references in a checked input."""
    if not isinstance(value, _NESTED):
        return []
    return [reference_of(found) for _, found in walked(value, "") if found is not None]


def references_of(key: str, kind: str, spec: Mapping[str, Any]) -> list[Reference]:
    """What must be known before the task runs; for a map whose items have run: their outputs."""
    items = _items_run(kind, spec)
    if items is not None:
        return [Reference(task=item_key(key, number), path=()) for number in range(items)]
    if STATE in spec or kind == "map":
        return references_in({name: value for name, value in spec.items() if not _is_kept(kind, name)})
    return references_in(spec)


def resolved(key: str, kind: str, spec: Mapping[str, Any], known: Known, intake: Intake) -> Mapping[str, Any]:
    """The task's spec with its references replaced, counted in `intake`. What is in `STATE` stays.

    Raises `UnresolvedReference`, `InputTooLarge`.
    """
    state = spec.get(STATE, {})
    items = _items_run(kind, spec)
    if items is not None:
        keys = [item_key(key, number) for number in range(items)]
        if not known.unread.isdisjoint(keys):
            raise read_too_much(f"The map '{key}'")
        outputs = intake.take([known.outputs.get(each) for each in keys], f"What the items of the map '{key}' gave")
        return {STATE: {**state, "outputs": outputs}}
    if "item" in state:
        known = replace(known, locals={"item": state["item"], "index": state["index"]})
    found = {}
    for name, value in spec.items():
        intake.field = name
        found[name] = value if _is_kept(kind, name) else resolve(value, known, intake)
    return found


def item_key(key: str, number: int) -> str:
    """The key of a map's task for one item: no declared key has a bracket in it."""
    return f"{key}[{number}]"


def resolve(value: Any, known: Known, intake: Intake) -> Any:
    """`value` with every reference replaced by what it leads to.

    Raises `UnresolvedReference`, `InputTooLarge`.
    """
    if isinstance(value, Mapping):
        if REF in value:
            reference = reference_of(value)
            return intake.take(_found(reference, known, intake), f"What '{reference}' leads to")
        return {name: resolve(child, known, intake) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(child, known, intake) for child in value]
    return value


def followed(value: Any, reference: Reference) -> Any:
    """What is at the reference's path in `value`; raises `UnresolvedReference`."""
    here = value
    for name in reference.path:
        if isinstance(here, Mapping) and name in here:
            here = here[name]
        elif isinstance(here, list) and name.isascii() and name.isdecimal() and int(name[:9]) < len(here):
            here = here[int(name[:9])]
        else:
            raise UnresolvedReference(f"The reference '{reference}' leads to nothing: there is no '{name}'.")
    return here


def _is_kept(kind: str, name: str) -> bool:
    return name == STATE or (kind == "map" and name == MAP_TASK)


def _items_run(kind: str, spec: Mapping[str, Any]) -> int | None:
    items: int | None = spec[STATE].get("items") if kind == "map" and STATE in spec else None
    return items


def _found(reference: Reference, known: Known, intake: Intake) -> Any:
    if reference.local is not None:
        return followed(known.locals.get(reference.local), reference)
    if reference.task in known.unread:
        raise read_too_much(f"'{reference}'", intake.field)
    if reference.task is None:
        return followed(known.run_input, reference)
    if reference.task not in known.outputs:
        return None
    return followed(known.outputs[reference.task], reference)


_NESTED = (Mapping, list, tuple)
