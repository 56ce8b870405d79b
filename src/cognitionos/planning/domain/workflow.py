"""A workflow: a graph of tasks as data, checked whole when it is declared, and unchangeable from then on."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from cognitionos.kernel.errors import Invalid, NotFound
from cognitionos.kernel.json_schema import faults_of, schema_faults, with_defaults
from cognitionos.planning.domain.graph import InvalidGraph, leaves, topological_order
from cognitionos.planning.domain.kinds import KINDS, input_faults
from cognitionos.planning.domain.reference import (
    MAP_TASK,
    NotAReference,
    Reference,
    UnresolvedReference,
    followed,
    reference_of,
    references_in,
    walked,
)
from cognitionos.planning.domain.replan import WITHIN
from cognitionos.planning.domain.retry import RetryPolicy
from cognitionos.planning.domain.task import DEFAULT_TIMEOUT_S, WAITING_KINDS, TaskSpec

MOST_TASKS = 10_000
MOST_FAULTS = 100
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")


_NAMES_NOTHING = (
    "of a nested run must name in 'only' the types of problem after which it goes on from what failed; "
    "what may pass by itself its own tasks try again"
)
_NEVER_AGAIN = {
    "wait": (
        "is not for a 'wait': what did not come is not waited for again; its input says how long "
        "('timeout_s' of a 'signal') and what counts then ('default')"
    ),
    "approval": (
        "is not for an 'approval': a decision is not asked for again; its input says how long ('deadline_s'), what "
        "counts then ('default') and whether a no is the end ('on_reject'); a retry of the run asks anew"
    ),
}


class InvalidWorkflow(Invalid):
    """The workflow cannot be taken as it is; `fields` names every fault."""


class InvalidRunInput(Invalid):
    """The run's input lacks something that a task refers to."""


class WorkflowNotFound(NotFound):
    """No such workflow, or not this version of it, or not of this tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredTask:
    """One task as declared. An agent's may cost `budget_nanousd` at most, and takes a step each `heartbeat_s`.

    One of `WAITING_KINDS` may take `within_s` in all.
    """

    kind: str
    depends_on: tuple[str, ...] = ()
    input: Any = None
    retry: RetryPolicy | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    budget_nanousd: int | None = None
    heartbeat_s: float | None = None
    within_s: float | None = None

    def as_json(self) -> dict[str, Any]:
        """As stored and shown."""
        return {
            "kind": self.kind,
            "depends_on": list(self.depends_on),
            "input": self.input,
            "retry": self.retry.as_json() if self.retry else None,
            "timeout_s": self.timeout_s,
            **self.terms,
        }

    @property
    def terms(self) -> dict[str, Any]:
        """What only some kinds have: absent, not null, so that what was declared before them stays the same."""
        terms = {"budget_nanousd": self.budget_nanousd, "heartbeat_s": self.heartbeat_s, WITHIN: self.within_s}
        return {name: value for name, value in terms.items() if value is not None}

    def spec(self, key: str) -> TaskSpec:
        """As part of a run."""
        spec = {"input": self.input} if KINDS[self.kind] is None else {**self.input, **self.terms}
        return TaskSpec(
            key=key,
            kind=self.kind,
            spec=spec,
            depends_on=self.depends_on,
            retry=self.retry,
            timeout_s=self.timeout_s,
        )


def time_limits(kind: str, declared_s: float | None) -> tuple[float, float | None]:
    """What a declared `timeout_s` means for a task of this kind: `timeout_s` of each attempt, `within_s` in all."""
    if kind in WAITING_KINDS:
        return DEFAULT_TIMEOUT_S, declared_s
    return declared_s or DEFAULT_TIMEOUT_S, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """One version. `digest` is of its content: the same content is the same version. With an `input_schema` it is a
    template: what a run is given is checked against it, and its defaults are filled in.
    """

    id: UUID
    tenant_id: UUID
    name: str
    version: int
    digest: str
    created_at: datetime
    tasks: Mapping[str, DeclaredTask] = field(repr=False)
    input_schema: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def result_key(self) -> str | None:
        """The task whose output is the run's: the last one, if there is one last one."""
        last = leaves({key: task.depends_on for key, task in self.tasks.items()})
        return last[0] if len(last) == 1 else None

    def specs(self) -> list[TaskSpec]:
        """The tasks of a run."""
        return [task.spec(key) for key, task in self.tasks.items()]

    def input_of(self, given: Any) -> Any:
        """A run's input from what was given: with the schema's defaults.

        Raises `InvalidRunInput` unless it fits the schema and everything that tasks refer to is in it.
        """
        faults: dict[str, str] = {}
        if self.input_schema is not None:
            given = with_defaults({} if given is None else given, self.input_schema)
            found = faults_of(given, self.input_schema)
            faults = {"input" if at == "$" else f"input.{at}": fault for at, fault in found.items()}
        for key, task in self.tasks.items():
            for reference in references_in(task.input):
                if reference.task is None and reference.local is None:
                    _follow(given, reference, key, faults)
        if faults:
            raise InvalidRunInput(_told(faults), fields=faults)
        return given


def checked_name(name: str) -> str:
    """The name, or `InvalidWorkflow`."""
    if not NAME.fullmatch(name):
        fault = {"name": "must be 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit"}
        raise InvalidWorkflow(_told(fault), fields=fault)
    return name


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise `InvalidWorkflow` unless every word of the schema of a run's input counts."""
    faults = {"input_schema" if at == "$" else f"input_schema.{at}": told for at, told in schema_faults(schema).items()}
    if faults:
        shown = dict(list(faults.items())[:MOST_FAULTS])
        raise InvalidWorkflow(_told(shown), fields=shown)


def check_tasks(tasks: Mapping[str, DeclaredTask]) -> None:
    """Raise `InvalidWorkflow` with every fault of the tasks by field (at most 100)."""
    faults: dict[str, str] = {}
    if not 1 <= len(tasks) <= MOST_TASKS:
        faults["tasks"] = f"{len(tasks)} tasks; a workflow has 1 to {MOST_TASKS}"
    references: dict[str, list[tuple[str, Reference]]] = {}
    for key, task in tasks.items():
        if not _KEY.fullmatch(key):
            faults[f"tasks.{key[:100]}"] = "a key is 1 to 100 letters, digits, '_' or '-'"
        faults |= _dependency_faults(key, task, tasks)
        faults |= _input_faults(key, task)
        faults |= _branch_faults(key, task, tasks)
        faults |= _retry_faults(key, task)
        if task.kind != "agent":
            terms = (name.replace("nanousd", "usd") for name in task.terms if name != WITHIN)
            faults |= {f"tasks.{key}.{name}": "is for tasks of the kind 'agent'" for name in terms}
        found = _references(f"tasks.{key}.input", task, faults)
        if found:
            references[key] = found
    faults |= _graph_faults(tasks, references) if not faults else {}
    if faults:
        shown = dict(list(faults.items())[:MOST_FAULTS])
        raise InvalidWorkflow(_told(shown), fields=shown)


def _dependency_faults(key: str, task: DeclaredTask, tasks: Mapping[str, DeclaredTask]) -> dict[str, str]:
    unknown = [each for each in task.depends_on if each not in tasks]
    if not unknown:
        return {}
    return {f"tasks.{key}.depends_on": f"there is no task {_quoted(unknown[:10])}"}


def _input_faults(key: str, task: DeclaredTask) -> dict[str, str]:
    if task.kind not in KINDS:
        return {f"tasks.{key}.kind": f"there is no kind '{task.kind[:100]}'; there are {_quoted(KINDS)}"}
    faults = input_faults(task.kind, task.input)
    return {f"tasks.{key}.input{'.' if name else ''}{name}": fault for name, fault in faults.items()}


def _branch_faults(key: str, task: DeclaredTask, tasks: Mapping[str, DeclaredTask]) -> dict[str, str]:
    """What a condition names and what does not depend on it."""
    if task.kind != "condition" or not isinstance(task.input, Mapping):
        return {}
    faults = {}
    for branch in ("then", "else"):
        named = task.input.get(branch)
        for other in named if isinstance(named, list) else ():
            if not isinstance(other, str) or other not in tasks or key not in tasks[other].depends_on:
                faults[f"tasks.{key}.input.{branch}"] = f"{_quoted([str(other)])} does not depend on '{key}'"
    return faults


def _retry_faults(key: str, task: DeclaredTask) -> dict[str, str]:
    """A policy that would never count: what is tried again there is the items, the tasks of the nested run, nothing."""
    at = f"tasks.{key}"
    if task.kind != "map":
        return _useless(f"{at}.retry", task.kind, task.retry.as_json() if task.retry else None)
    faults = {f"{at}.retry": f"is for the items: give 'retry' to {at}.input.{MAP_TASK}"} if task.retry else {}
    item = task.input.get(MAP_TASK) if isinstance(task.input, Mapping) else None
    told = item if isinstance(item, Mapping) else {}
    return faults | _useless(f"{at}.input.{MAP_TASK}.retry", told.get("kind"), told.get("retry"))


def _useless(at: str, kind: Any, retry: Any) -> dict[str, str]:
    """What is wrong with a policy of this kind, where it is one."""
    if not isinstance(retry, Mapping):
        return {}
    if kind == "workflow":
        return {} if retry.get("only") else {at: _NAMES_NOTHING}
    return {at: _NEVER_AGAIN[kind]} if isinstance(kind, str) and kind in _NEVER_AGAIN else {}


def _references(at: str, task: DeclaredTask, faults: dict[str, str]) -> list[tuple[str, Reference]]:
    found = []
    for path, raw in walked(task.input, at):
        try:
            if raw is None:
                raise NotAReference("is nested too deeply")
            reference = reference_of(raw)
            if reference.local and not (task.kind == "map" and path.startswith(f"{at}.{MAP_TASK}.")):
                raise NotAReference(f"there is no '{reference.local}' but in the task of a map")
            found.append((path, reference))
        except NotAReference as fault:
            faults[path] = str(fault)
    return found


def _graph_faults(
    tasks: Mapping[str, DeclaredTask], references: Mapping[str, Sequence[tuple[str, Reference]]]
) -> dict[str, str]:
    """A cycle, by name; then the references to what does not come before."""
    depends_on = {key: task.depends_on for key, task in tasks.items()}
    try:
        order = topological_order(depends_on)
    except InvalidGraph as cycle:
        return {"tasks": cycle.detail}
    distant = [
        (key, path, reference.task)
        for key, found in references.items()
        for path, reference in found
        if reference.task is not None and reference.task not in depends_on[key]
    ]
    bits = {task: 1 << number for number, task in enumerate(dict.fromkeys(task for _, _, task in distant))}
    before = _before(order, depends_on, bits) if distant else {}
    return {
        path: f"'{task}' does not come before '{key}'; name it, or what comes after it, in 'depends_on'"
        for key, path, task in distant
        if not before[key] & bits[task]
    }


def _before(order: Iterable[str], depends_on: Mapping[str, Iterable[str]], bits: Mapping[str, int]) -> dict[str, int]:
    """Which of the tasks in `bits` come before each task, as a set of bits: 10,000 in a chain are 12 MB, not 5 GB."""
    before: dict[str, int] = {}
    for key in order:
        here = 0
        for parent in depends_on[key]:
            here |= before[parent] | bits.get(parent, 0)
        before[key] = here
    return before


def _follow(given: Any, reference: Reference, key: str, faults: dict[str, str]) -> None:
    try:
        followed(given, reference)
    except UnresolvedReference:
        if len(faults) < MOST_FAULTS:
            faults.setdefault(".".join(("input", *reference.path)), f"is needed by task '{key}'")


def _told(faults: Mapping[str, str]) -> str:
    return "; ".join(f"{field}: {fault}" for field, fault in list(faults.items())[:10])


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name[:100]}'" for name in names)
