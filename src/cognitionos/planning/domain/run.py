"""A run: one execution of a graph of tasks, its states, and the numbered list of what happened in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from cognitionos.events.planning import RunFinished
from cognitionos.kernel.errors import Conflict, NotFound
from cognitionos.planning.domain.task import Problem

MOST_NAMED = 100
"""Of many tasks, an event names so many."""


class RunStatus(StrEnum):
    """The words on the wire, for runs and goals alike."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self in {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED}

    @property
    def has_failed(self) -> bool:
        """Whether it ended without its result."""
        return self in {RunStatus.FAILED, RunStatus.CANCELLED}


class RunNotFound(NotFound):
    """No such run, or not of this tenant."""


class RunAlreadyFinished(Conflict):
    """What was asked needs a run that still goes on."""


class RunNotPaused(Conflict):
    """Only a paused run can be resumed."""


class RunNotFailed(Conflict):
    """Only a run that failed or was cancelled can be retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """Something that happened in a run. It gets its number when it is written, under the run's row lock."""

    kind: str
    task_key: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False, kw_only=True)
class Run:
    """One execution. `open_tasks` are those that have not ended; the run ends when none is left."""

    id: UUID
    tenant_id: UUID
    project_id: UUID
    goal_id: UUID | None
    api_key_id: UUID | None
    user: str | None
    created_at: datetime
    status: RunStatus = RunStatus.QUEUED
    total_tasks: int = 0
    open_tasks: int = 0
    last_seq: int = 0
    result_task_id: UUID | None = None
    result_text: str | None = None
    error: dict[str, str] | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    workflow: str | None = None
    workflow_version: int | None = None
    input: Any = None
    stops_now: bool = False
    forked_from: UUID | None = None
    forked_at: str | None = None
    parent_run_id: UUID | None = None
    parent_task_id: UUID | None = None
    depth: int = 0
    critical: bool = False

    def grow(self, tasks: int) -> None:
        """Take in `tasks` more."""
        self._must_go_on()
        self.total_tasks += tasks
        self.open_tasks += tasks

    def start(self, now: datetime) -> list[RunEvent]:
        """A worker has begun; again: nothing."""
        if self.started_at is not None:
            return []
        if self.status is RunStatus.QUEUED:
            self.status = RunStatus.RUNNING
        self.started_at = now
        return [RunEvent(kind="run.started")]

    def end_tasks(self, number: int) -> None:
        """`number` tasks ended well."""
        self._must_go_on()
        self.open_tasks -= number

    def succeed(self, result_text: str | None, now: datetime) -> list[RunEvent]:
        """Every task ended well."""
        self._must_go_on()
        if self.open_tasks:
            raise Conflict(f"run {self.id} has {self.open_tasks} tasks left")
        self.result_text = result_text
        return self._finish(RunStatus.SUCCEEDED, now, {})

    def fail(self, problem: Problem, now: datetime) -> list[RunEvent]:
        """A task failed for good."""
        self._must_go_on()
        self.error = problem.as_json()
        return self._finish(RunStatus.FAILED, now, {"error": self.error})

    def cancel(self, now: datetime) -> list[RunEvent]:
        """Somebody no longer wants it. Raises `RunAlreadyFinished`."""
        self._must_go_on()
        return self._finish(RunStatus.CANCELLED, now, {})

    def pause(self, *, stops_now: bool) -> list[RunEvent]:
        """Let no task start; what runs ends (`stops_now`: stops after its next step). Again: nothing more."""
        self._must_go_on()
        if self.status is RunStatus.PAUSED and self.stops_now >= stops_now:
            return []
        self.status, self.stops_now = RunStatus.PAUSED, stops_now
        return [RunEvent(kind="run.paused", data={"now": stops_now})]

    def resume(self) -> list[RunEvent]:
        """Go on where it was. Raises `RunNotPaused`."""
        if self.status is not RunStatus.PAUSED:
            raise RunNotPaused(f"The run {self.id} is {self.status}, not paused.")
        self.status = RunStatus.QUEUED if self.started_at is None else RunStatus.RUNNING
        self.stops_now = False
        return [RunEvent(kind="run.resumed")]

    def must_have_failed(self) -> None:
        """Raise `RunNotFailed` unless there is something to retry."""
        if not self.status.has_failed:
            remedy = "fork it instead" if self.status is RunStatus.SUCCEEDED else "cancel it first"
            raise RunNotFailed(f"The run {self.id} is {self.status}, there is nothing to retry; {remedy}.")

    def retry(self, tasks: Sequence[str]) -> list[RunEvent]:
        """Go on after its end, with these tasks open again. Raises `RunNotFailed`."""
        self.must_have_failed()
        self.status = RunStatus.QUEUED if self.started_at is None else RunStatus.RUNNING
        self.open_tasks = len(tasks)
        self.error = self.finished_at = None
        self.stops_now = False
        return [RunEvent(kind="run.retried", data={"tasks": list(tasks[:MOST_NAMED]), "number": len(tasks)})]

    def finished(self, now: datetime, *, statement: str | None) -> RunFinished:
        """The fact for the other contexts."""
        return RunFinished(
            tenant_id=self.tenant_id,
            at=now,
            project_id=self.project_id,
            goal_id=self.goal_id,
            run_id=self.id,
            api_key_id=self.api_key_id,
            user=self.user,
            status=self.status.value,
            statement=statement,
            result_text=self.result_text,
            error_type=(self.error or {}).get("type"),
        )

    def _finish(self, status: RunStatus, now: datetime, data: Mapping[str, Any]) -> list[RunEvent]:
        self.status = status
        self.finished_at = now
        self.open_tasks = 0
        return [RunEvent(kind=f"run.{status}", data=data)]

    def _must_go_on(self) -> None:
        if self.status.is_final:
            raise RunAlreadyFinished(f"The run {self.id} is {self.status} already.")
