"""Tasks: what one is asked for as, what a worker holds, and how it may end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from cognitionos.kernel.errors import Conflict, DomainError
from cognitionos.planning.domain.graph import topological_order
from cognitionos.planning.domain.retry import RetryPolicy

PURE_KINDS = frozenset({"value", "wait"})
"""Kinds without an effect: they take no slot, and what ends at once may run inside the commit of its parents."""

DEFAULT_TIMEOUT_S = 600.0


class TaskStatus(StrEnum):
    """`pending`: waits for other tasks. `ready`: waits for a worker (or for its back-off). The rest says itself."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the task."""
        return self in {TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELLED}


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
    """A task with its place in the graph; edges are ids, `position` is a topological order."""

    id: UUID
    position: int
    spec: TaskSpec
    dependencies: tuple[UUID, ...]
    dependents: tuple[UUID, ...]

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
class Expansion:
    """More tasks for the run that a task (a plan) brought about; the output of `result_key` is the run's result."""

    tasks: tuple[TaskSpec, ...]
    result_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """Done. `details` say how (model, cost, prompt versions); they are shown, `output` is passed on."""

    output: Any
    details: Mapping[str, Any] = field(default_factory=dict)
    expansion: Expansion | None = None


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
    """Nothing to do for `after_s` seconds; then the task goes on with `spec`. Nobody holds it until then."""

    spec: Mapping[str, Any]
    after_s: float


Outcome = Succeeded | Failed | Retrying | Postponed


def in_order(specs: tuple[TaskSpec, ...], *, first_position: int, new_id: Callable[[], UUID]) -> list[NewTask]:
    """`specs` as a graph, each after what it depends on; raises `InvalidGraph` for a cycle or a missing key."""
    by_key = {spec.key: spec for spec in specs}
    order = topological_order({key: spec.depends_on for key, spec in by_key.items()})
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
        )
        for index, key in enumerate(order)
    ]
