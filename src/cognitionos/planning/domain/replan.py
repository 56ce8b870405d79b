"""Planning again: a task that failed for good is replaced by smaller ones, while what is done stays done."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cognitionos.kernel.errors import Invalid, LimitExceeded
from cognitionos.planning.domain.task import ClaimedTask, Graft, Problem, TaskSpec

REPLAN = "replan"
"""In the spec of a `plan` task: which task it plans anew, and why."""
REPLANS = "replans"
"""In the spec of a planned task: how often its run may be planned again."""

PLAN_TASKS = "plan_tasks"
"""In the spec of a goal's first `plan` task: how many tasks each of its plans may have."""

VERSIONS = "versions"
"""In the spec of a planned task: which version of an agent of the tenant's own it was given to, by name."""

WITHIN = "within_s"
"""In the spec of a declared task of a kind that waits: how many seconds it may take in all."""

PLANNED = frozenset({REPLANS, VERSIONS, "budget_nanousd", "critical", "heartbeat_s", WITHIN})
"""The terms in the spec of a task (a plan's, or declared), beside what its kind takes."""

DEFAULT_REPLANS = 1
MOST_REPLANS = 150
DEEPEST = 150
"""Each replacement of a replacement adds a part to the key: `t2`, `t2.n1`, `t2.n1.n3`."""

NO_PLAN_HELPS = frozenset(
    f"/problems/{slug}"
    for slug in (
        "approval-expired",
        "approval-rejected",
        "budget-exhausted",
        "budget-halted",
        "call-unbounded",
        "internal-error",
        "model-not-found",
        "price-unknown",
        "provider-key-refused",
        "provider-unavailable",
    )
)
"""Somebody said no, nothing is left to pay with, or nobody answers: another plan would end the same way."""


class TaskTooLarge(LimitExceeded):
    """The task used up its own budget (its share of its goal's, or what its workflow says) before it was done."""


class NothingToReplace(Invalid):
    """The task that was to be planned anew is not there any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedTask:
    """Something done, that a new plan may build on."""

    id: UUID
    key: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A run at the moment when one of its tasks is planned anew. `goal` is the spec of its first `plan` task.

    `depends_on` and `dependents` are the failed task's; everything it depends on is among `finished`.
    """

    goal: Mapping[str, Any]
    task_id: UUID
    key: str
    title: str
    instructions: str
    depends_on: tuple[str, ...]
    dependents: tuple[UUID, ...]
    finished: tuple[FinishedTask, ...]

    @property
    def graft(self) -> Graft:
        """Where a new plan goes."""
        done = {task.key: task.id for task in self.finished}
        return Graft(
            replaces=self.task_id, key=self.key, inherits=self.depends_on, feeds=self.dependents, finished=done
        )


def may_replan(task: ClaimedTask, problem: Problem, *, used: int) -> bool:
    """Whether the failure of a planned task leads to another plan, after its run was planned again `used` times.

    One that was to plan has had its repair round: its failure is the goal's.
    """
    allowed = task.spec.get(REPLANS, 0)
    return (
        task.kind != "plan" and used < allowed and task.key.count(".") < DEEPEST and problem.type not in NO_PLAN_HELPS
    )


def planning_again(task: ClaimedTask, problem: Problem) -> TaskSpec:
    """The task that plans anew what `task` did not do."""
    replan = {"task_id": str(task.id), "key": task.key, "error": problem.as_json()}
    spec: dict[str, Any] = {"title": f"Plan {task.key} again", REPLAN: replan}
    if task.spec.get("critical") is True:
        spec["critical"] = True
    return TaskSpec(key=f"{task.key}.plan", kind="plan", spec=spec)
