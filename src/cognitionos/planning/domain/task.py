"""Tasks: what one is asked for as, what a worker holds, and how it may end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import fmean
from types import MappingProxyType
from typing import Any
from uuid import UUID

from cognitionos.kernel.errors import Conflict, DomainError, NotFound
from cognitionos.planning.domain.approval import Ask
from cognitionos.planning.domain.forked import Forked
from cognitionos.planning.domain.graph import topological_order
from cognitionos.planning.domain.reference import item_key
from cognitionos.planning.domain.retry import RetryPolicy
from cognitionos.planning.domain.urgency import in_bites, priorities

PURE_KINDS = frozenset({"value", "wait", "condition", "approval", "map"})
"""Kinds without an effect: they take no slot, and what ends at once may run inside the commit of its parents."""

WAITING_KINDS = frozenset({"wait", "approval", "map", "workflow"})
"""Kinds that wait without a worker: their declared `timeout_s` is for all of that, and there is no default."""

DEFAULT_TIMEOUT_S = 600.0


class TaskStatus(StrEnum):
    """`pending`: waits for other tasks. `ready`: waits for a worker (or for its back-off). `paused`: would be ready.

    The rest says itself.
    """

    PENDING = "pending"
    READY = "ready"
    PAUSED = "paused"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the task."""
        return self in {TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.SKIPPED}


class TaskNotFound(NotFound):
    """The run has no task of that key."""


class LeaseLost(Conflict):
    """The task was cancelled, or another worker holds it now: whatever this one has to say comes too late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A task before it is part of a run. `depends_on` are keys of the same run."""

    key: str
    kind: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    retry: RetryPolicy | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task with its place in the graph; edges are ids, `position` is a topological order.

    `is_held`: one of a map that must not start before another of it has ended. `ended`: so many of its dependencies
    had ended before it was there. `priority`: among what is ready, the higher goes first (`urgency.py`).
    """

    id: UUID
    position: int
    spec: TaskSpec
    dependencies: tuple[UUID, ...]
    dependents: tuple[UUID, ...]
    is_held: bool = False
    ended: int = 0
    priority: int = 0

    @property
    def pending(self) -> int:
        """How many ends it waits for."""
        return len(self.dependencies) - self.ended + self.is_held

    @property
    def is_pure(self) -> bool:
        """Whether it takes no slot."""
        return self.spec.kind in PURE_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedTask:
    """A task under this worker's lease. `attempt` counts starts, `failures` those that ended in an error."""

    tenant_id: UUID
    project_id: UUID
    run_id: UUID
    goal_id: UUID | None
    api_key_id: UUID | None
    user: str | None
    id: UUID
    key: str
    kind: str
    spec: Mapping[str, Any]
    attempt: int
    failures: int
    fence: int
    retry: RetryPolicy
    timeout_s: float

    @property
    def lost_starts(self) -> int:
        """How many workers were lost while they ran it: starts that came to no end and were not handed back."""
        return self.attempt - self.failures - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why something failed, in the words of a problem document."""

    type: str
    title: str
    detail: str

    @classmethod
    def of(cls, error: DomainError) -> "Problem":
        """A domain error's own words."""
        slug = error.type_slug()
        return cls(
            type=f"/problems/{slug}", title=error.title or slug.replace("-", " ").capitalize(), detail=error.detail
        )

    def as_json(self) -> dict[str, str]:
        """As stored and shown."""
        return {"type": self.type, "title": self.title, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class Graft:
    """A place in a run that is under way: instead of the task `replaces` (its key is `key`), before those it `feeds`.

    `finished` are the ids of tasks that are done, by key; `inherits` are those that the replaced task depended on.
    """

    replaces: UUID
    key: str
    inherits: tuple[str, ...]
    feeds: tuple[UUID, ...]
    finished: Mapping[str, UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """More tasks for the run that a task (a plan) brought about; the output of `result_key` is the run's result.

    With a `graft` it takes the replaced task's place, and its tasks may depend on what is finished.
    """

    tasks: tuple[TaskSpec, ...]
    result_key: str
    graft: Graft | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """Done. `details` say how (model, cost, prompt versions); they are shown, `output` is passed on.

    `skips`: keys of dependents that a condition did not choose; they never run.
    """

    output: Any
    details: Mapping[str, Any] = field(default_factory=dict)
    expansion: Expansion | None = None
    skips: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Failed for good, and the run with it."""

    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """Failed this time; to be tried again in `after_s` seconds."""

    problem: Problem
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """Nothing to do for `after_s` seconds, or until something wakes the task; nobody holds it until then.

    It goes on with `state` in its spec (`STATE`). In the same commit `asks` are put before people, `nested` is started.
    """

    state: Mapping[str, Any]
    after_s: float
    asks: tuple[Ask, ...] = ()
    nested: "NestedRun | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FannedOut:
    """The task waits for `tasks`, of which at most `concurrency` (None: any number) are ready at once.

    Their keys follow from the task's own. With a `deadline` (ISO 8601) it must have ended by then. `weight`: of what
    they say (`domain/intake.py`).
    """

    tasks: tuple[TaskSpec, ...]
    concurrency: int | None
    deadline: str | None = None
    weight: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedRun:
    """The run of a workflow that a task starts and waits for; with a `fork` it is one of an earlier run's tasks."""

    workflow: str
    version: int
    input: Any
    tasks: tuple[TaskSpec, ...] = ()
    result_key: str | None = None
    fork: Forked | None = None


Outcome = Succeeded | Failed | Retrying | Postponed | FannedOut


def in_order(
    specs: tuple[TaskSpec, ...],
    *,
    first_position: int,
    new_id: Callable[[], UUID],
    measured_s: Mapping[str, float] = MappingProxyType({}),
) -> list[NewTask]:
    """`specs` as a graph, each after what it depends on; raises `InvalidGraph` for a cycle or a missing key.

    `measured_s`: what tasks took before, by key. Another takes what these did on average; a pure one nothing.
    """
    by_key = {spec.key: spec for spec in specs}
    depends_on = {key: spec.depends_on for key, spec in by_key.items()}
    order = topological_order(depends_on)
    usual_s = fmean(measured_s.values()) if measured_s else 1.0
    expected_s = {key: measured_s.get(key, 0.0 if spec.kind in PURE_KINDS else usual_s) for key, spec in by_key.items()}
    urgency = priorities(order, depends_on, expected_s)
    ids = {key: new_id() for key in order}
    dependents: dict[str, list[UUID]] = {key: [] for key in order}
    for key in order:
        for parent in dict.fromkeys(by_key[key].depends_on):
            dependents[parent].append(ids[key])
    return [
        NewTask(
            id=ids[key],
            position=first_position + index,
            spec=by_key[key],
            dependencies=tuple(ids[parent] for parent in dict.fromkeys(by_key[key].depends_on)),
            dependents=tuple(dependents[key]),
            priority=in_bites(urgency[key], index) if by_key[key].kind in PURE_KINDS else urgency[key],
        )
        for index, key in enumerate(order)
    ]


def grafted(expansion: Expansion, *, first_position: int, new_id: Callable[[], UUID]) -> list[NewTask]:
    """The tasks of an expansion in order, with edges to what is finished and to what waits; raises `InvalidGraph`."""
    graft = expansion.graft
    if graft is None:
        return in_order(expansion.tasks, first_position=first_position, new_id=new_id)
    inner = tuple(
        replace(spec, depends_on=tuple(key for key in spec.depends_on if key not in graft.finished))
        for spec in expansion.tasks
    )
    done = {
        spec.key: tuple(graft.finished[key] for key in dict.fromkeys(spec.depends_on) if key in graft.finished)
        for spec in expansion.tasks
    }
    return [
        replace(
            task,
            dependencies=(*done[task.spec.key], *task.dependencies),
            dependents=(*task.dependents, *(graft.feeds if task.spec.key == expansion.result_key else ())),
            ended=len(done[task.spec.key]),
        )
        for task in in_order(inner, first_position=first_position, new_id=new_id)
    ]


def fan(parent: ClaimedTask, fanned: FannedOut, *, first_position: int, new_id: Callable[[], UUID]) -> list[NewTask]:
    """The tasks of a map, side by side below it; those beyond its concurrency are held."""
    ready = len(fanned.tasks) if fanned.concurrency is None else fanned.concurrency
    return [
        NewTask(
            id=new_id(),
            position=first_position + number,
            spec=replace(spec, key=item_key(parent.key, number)),
            dependencies=(),
            dependents=(parent.id,),
            is_held=number >= ready,
            priority=in_bites(0, number) if spec.kind in PURE_KINDS else 0,
        )
        for number, spec in enumerate(fanned.tasks)
    ]
