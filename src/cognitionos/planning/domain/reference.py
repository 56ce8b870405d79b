"""Input by reference: `{"$ref": "run.input.x"}` or `{"$ref": "tasks.KEY.output.path"}` anywhere in a task's input.

Resolved when the task starts, in one pass: what a reference brings in is data, and is not looked at for more.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cognitionos.kernel.errors import Invalid

REF = "$ref"
DEEPEST = 64
"""Lists and objects within each other; what walks them may then recurse."""


class UnresolvedReference(Invalid):
    """A reference leads to nothing in what there is."""


class NotAReference(ValueError):
    """A `$ref` that cannot be read; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where a value comes from: the output of `task`, or the run's input when that is None; then down `path`."""

    task: str | None
    path: tuple[str, ...]

    def __str__(self) -> str:
        """As written."""
        return ".".join((*(("run", "input") if self.task is None else ("tasks", self.task, "output")), *self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What references may lead to. The output of a task that was skipped is not in it."""

    run_input: Any = None
    outputs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the references of some tasks of one run ask for."""

    outputs: frozenset[str]
    run_input: bool

    @classmethod
    def by(cls, references: Iterable[Reference]) -> "Wanted | None":
        """What these ask for; None: nothing."""
        tasks = {reference.task for reference in references}
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
    raise NotAReference("a reference is 'run.input', 'tasks.KEY.output' or either followed by '.name' or '.0'")


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


def resolve(value: Any, known: Known) -> Any:
    """`value` with every reference replaced by what it leads to; raises `UnresolvedReference`."""
    if isinstance(value, Mapping):
        if REF in value:
            return _found(reference_of(value), known)
        return {name: resolve(child, known) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(child, known) for child in value]
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


def _found(reference: Reference, known: Known) -> Any:
    if reference.task is None:
        return followed(known.run_input, reference)
    if reference.task not in known.outputs:
        return None
    return followed(known.outputs[reference.task], reference)


_NESTED = (Mapping, list, tuple)
