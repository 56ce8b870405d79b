"""Goals and runs as aggregates, in one unit of work."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from cognitionos.planning.domain.forked import ForkedTask, OldTask
from cognitionos.planning.domain.goal import Goal, GoalNotFound
from cognitionos.planning.domain.run import Run, RunEvent, RunNotFound
from cognitionos.planning.domain.task import TaskSpec, in_order
from cognitionos.planning.infrastructure import (
    control_rows,
    fork_rows,
    nested_rows,
    open_tasks,
    parking_rows,
    run_rows,
    tables,
)
from cognitionos.planning.infrastructure.duration_rows import seconds_of
from cognitionos.planning.infrastructure.schedule_rows import ScheduleRows
from cognitionos.planning.infrastructure.workflow_rows import WorkflowRows
from cognitionos.platform.unit_of_work import UnitOfWork


class Goals:
    """Goals of the tenant of the session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, goal: Goal) -> None:
        """Keep a new goal."""
        self._session.add(goal)

    async def get(self, goal_id: UUID) -> Goal:
        """The goal, or `GoalNotFound`."""
        goal = await self._session.get(Goal, goal_id)
        if goal is None:
            raise GoalNotFound(f"There is no goal {goal_id}.")
        return goal

    async def locked(self, goal_id: UUID) -> Goal:
        """The goal under its row lock. Lock its run first: that is the order of the engine."""
        found = await self._session.execute(
            select(Goal)
            .where(tables.goals.c.id == goal_id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return found.scalar_one()


class Runs:
    """Runs of the tenant of the session, with their tasks and events."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work

    async def start(
        self,
        run: Run,
        tasks: Sequence[TaskSpec],
        *,
        events: Sequence[RunEvent],
        new_id: Callable[[], UUID],
        result_key: str | None = None,
    ) -> None:
        """Keep a new run with its graph of tasks; raises `InvalidGraph`. What waits for nothing can be claimed."""
        connection = await self._work.connection()
        measured_s = await seconds_of(connection, run.workflow, tasks)
        graph = in_order(tuple(tasks), first_position=0, new_id=new_id, measured_s=measured_s)
        run.grow(len(graph))
        run.result_task_id = next((task.id for task in graph if task.spec.key == result_key), None)
        self._work.session.add(run)
        await self._work.session.flush()
        await run_rows.insert_tasks(connection, run, graph)
        await run_rows.append_events(connection, run, events, at=run.created_at)
        await self._work.session.flush()

    async def locked(self, run_id: UUID) -> Run:
        """The run under its row lock, or `RunNotFound`."""
        found = await self._work.session.execute(
            select(Run).where(tables.runs.c.id == run_id).with_for_update(key_share=True)
        )
        run = found.scalar_one_or_none()
        if run is None:
            raise RunNotFound(f"There is no run {run_id}.")
        return run

    async def cancel(self, run: Run, now: datetime) -> Sequence[Run]:
        """Cancel a locked run with every task that has not ended, and the runs below it; gives those.

        The task that waits for it goes on. Raises `RunAlreadyFinished`.
        """
        events = run.cancel(now)
        connection = await self._work.connection()
        nested = await nested_rows.cancel_below(connection, run, now)
        await open_tasks.cancel(connection, run)
        if run.parent_task_id is not None:
            await parking_rows.wake(connection, run.parent_task_id, {})
        await run_rows.append_events(connection, run, events, at=now)
        await self._work.session.flush()
        return nested

    async def pause(self, run: Run, *, stops_now: bool, now: datetime) -> None:
        """Pause a locked run. Raises `RunAlreadyFinished`."""
        events = run.pause(stops_now=stops_now)
        connection = await self._work.connection()
        await run_rows.append_events(connection, run, events, at=now)
        await open_tasks.lock(connection, run)  # waits for whoever takes or gives back one of them at this moment
        await open_tasks.hold(connection, run, at=now)
        await self._work.session.flush()

    async def resume(self, run: Run, now: datetime) -> None:
        """Let a locked run go on. Raises `RunNotPaused`."""
        events = run.resume()
        connection = await self._work.connection()
        await run_rows.append_events(connection, run, events, at=now)
        await open_tasks.release(connection, run, at=now)
        await self._work.session.flush()

    async def nested(self, run_id: UUID) -> list[UUID]:
        """The runs below this one, each after the one that started it."""
        return await control_rows.nested(await self._work.connection(), run_id)

    async def ended_badly(self, run_id: UUID) -> list[tuple[UUID, int]]:
        """The tasks that failed or were cancelled, each with its fencing number."""
        return await control_rows.ended_badly(await self._work.connection(), run_id)

    async def failed_below(self, run_id: UUID) -> list[UUID]:
        """The runs to retry with this one: those that its failed and cancelled tasks had started, and so on down."""
        return await control_rows.failed_below(await self._work.connection(), run_id)

    async def retry(self, run: Run, now: datetime, *, below: Collection[UUID] = ()) -> None:
        """Let what failed or was cancelled of a locked run start anew, or wait for the locked runs `below` that go on.

        Raises `RunNotFailed`.
        """
        run.must_have_failed()
        connection = await self._work.connection()
        events = run.retry(await control_rows.open_again(connection, run, below=below))
        await run_rows.append_events(connection, run, events, at=now)
        await self._work.session.flush()

    async def get(self, run_id: UUID) -> Run:
        """The run, or `RunNotFound`."""
        run = await self._work.session.get(Run, run_id)
        if run is None:
            raise RunNotFound(f"There is no run {run_id}.")
        return run

    async def snapshot_seq(self, run_id: UUID, name: str) -> int:
        """Up to which event a snapshot goes, or `SnapshotNotFound`."""
        return await fork_rows.snapshot_seq(await self._work.connection(), run_id, name)

    async def old_tasks(self, run_id: UUID, *, seq: int | None) -> list[OldTask]:
        """The run's tasks in order, as they were after event `seq`, else as they are."""
        return await fork_rows.old_tasks(await self._work.connection(), run_id, seq=seq)

    async def specs_of(self, run_id: UUID, keys: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """What these tasks were asked for as."""
        return await fork_rows.specs_of(await self._work.connection(), run_id, keys)

    async def start_forked(self, run: Run, tasks: Sequence[ForkedTask], *, events: Sequence[RunEvent]) -> None:
        """Keep a forked run."""
        self._work.session.add(run)
        await self._work.session.flush()
        connection = await self._work.connection()
        await fork_rows.insert_forked(connection, run, tasks)
        await run_rows.append_events(connection, run, events, at=run.created_at)
        await self._work.session.flush()


class PlanningWork(UnitOfWork):
    """One unit of work of planning."""

    def __init__(self, session: AsyncSession) -> None:
        super().__init__(session)
        self.goals = Goals(session)
        self.runs = Runs(self)
        self.workflows = WorkflowRows(self)
        self.schedules = ScheduleRows(self)
