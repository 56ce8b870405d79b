"""Runs from the outside: start one from a graph of tasks, cancel one."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.event import Event
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.engine import LEASES, TASKS, run_channel
from cognitionos.planning.domain.forked import ForkedTask, OldTask
from cognitionos.planning.domain.goal import Goal
from cognitionos.planning.domain.run import Run, RunEvent
from cognitionos.planning.domain.task import TaskSpec
from cognitionos.planning.domain.workflow import Workflow
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.logging import get_logger
from cognitionos.platform.signals import Signals

log = get_logger(__name__)
CANCEL_COMMITTED = declare("runs.cancel_committed")


class GoalRepository(Protocol):
    """Goals in one unit of work."""

    def add(self, goal: Goal) -> None: ...
    async def get(self, goal_id: UUID) -> Goal: ...
    async def locked(self, goal_id: UUID) -> Goal: ...


class RunRepository(Protocol):
    """Runs in one unit of work, with their tasks and events."""

    async def start(
        self,
        run: Run,
        tasks: Sequence[TaskSpec],
        *,
        events: Sequence[RunEvent],
        new_id: Callable[[], UUID],
        result_key: str | None = None,
    ) -> None: ...
    async def locked(self, run_id: UUID) -> Run: ...
    async def cancel(self, run: Run, now: datetime) -> Sequence[Run]: ...
    async def pause(self, run: Run, *, stops_now: bool, now: datetime) -> None: ...
    async def resume(self, run: Run, now: datetime) -> None: ...
    async def nested(self, run_id: UUID) -> list[UUID]: ...
    async def get(self, run_id: UUID) -> Run: ...
    async def snapshot_seq(self, run_id: UUID, name: str) -> int: ...
    async def old_tasks(self, run_id: UUID, *, seq: int | None) -> list[OldTask]: ...
    async def specs_of(self, run_id: UUID, keys: Collection[str]) -> dict[str, Mapping[str, Any]]: ...
    async def start_forked(self, run: Run, tasks: Sequence[ForkedTask], *, events: Sequence[RunEvent]) -> None: ...
    async def ended_badly(self, run_id: UUID) -> list[tuple[UUID, int]]: ...
    async def failed_below(self, run_id: UUID) -> list[UUID]: ...
    async def retry(self, run: Run, now: datetime, *, below: Collection[UUID] = ()) -> None: ...


class WorkflowRepository(Protocol):
    """Workflows in one unit of work."""

    async def latest_locked(self, name: str) -> tuple[int, str] | None: ...
    async def get(self, name: str, version: int | None) -> Workflow: ...
    async def latest_of(self, names: Sequence[str]) -> dict[str, int]: ...
    async def add(self, workflow: Workflow) -> None: ...


class Work(Protocol):
    """One commit of planning."""

    @property
    def goals(self) -> GoalRepository: ...
    @property
    def runs(self) -> RunRepository: ...
    @property
    def workflows(self) -> WorkflowRepository: ...
    def publish(self, *events: Event) -> None: ...


Begin = Callable[[UUID], AbstractAsyncContextManager[Work]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedFrom:
    """Which version of a workflow a run executes, on what, and which task's output is the run's."""

    workflow: str
    version: int
    input: Any
    result_key: str | None
    critical: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Use cases of runs."""

    begin: Begin
    signals: Signals
    now: Clock
    new_id: Callable[[], UUID]

    async def start(self, who: Principal, tasks: Sequence[TaskSpec], *, origin: StartedFrom | None = None) -> UUID:
        """Start a run of `tasks`; gives its id. Raises `InvalidGraph` naming a cycle or a missing task."""
        async with self.begin(who.tenant_id) as work:
            run_id = await self.add(work, who, tasks, origin=origin)
        await self.signals.send(TASKS)
        return run_id

    async def add(
        self,
        work: Work,
        who: Principal,
        tasks: Sequence[TaskSpec],
        *,
        origin: StartedFrom | None = None,
        why: Mapping[str, Any] | None = None,
    ) -> UUID:
        """The same in somebody's unit of work, which wakes the workers when it is committed; `why` is for readers."""
        run = Run(
            id=self.new_id(),
            tenant_id=who.tenant_id,
            project_id=who.project_id,
            goal_id=None,
            api_key_id=who.api_key_id,
            user=who.user,
            created_at=self.now(),
        )
        if origin is not None:
            run.workflow, run.workflow_version, run.input = origin.workflow, origin.version, origin.input
            run.critical = origin.critical
        await work.runs.start(
            run,
            tasks,
            events=[RunEvent(kind="run.queued", data=why or {})],
            new_id=self.new_id,
            result_key=origin.result_key if origin else None,
        )
        return run.id

    async def cancel(self, who: Principal, run_id: UUID) -> None:
        """End the run, and its goal and the runs below it; what runs of them stops within a second.

        Raises `RunAlreadyFinished`.
        """
        now = self.now()
        async with self.begin(who.tenant_id) as work:
            run = await work.runs.locked(run_id)
            nested = await work.runs.cancel(run, now)
            statement = None
            if run.goal_id is not None:
                goal = await work.goals.locked(run.goal_id)
                work.publish(goal.cancel(now))
                statement = goal.statement
            work.publish(run.finished(now, statement=statement))
            work.publish(*(each.finished(now, statement=None) for each in nested))
        crash_point(CANCEL_COMMITTED)
        log.info("run_cancelled", run_id=str(run_id))
        await self.signals.send(LEASES)
        for each in (run_id, *(each.id for each in nested)):
            await self.signals.send(run_channel(each))
        if run.parent_task_id is not None:
            await self.signals.send(TASKS)
