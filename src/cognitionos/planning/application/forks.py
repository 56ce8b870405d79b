"""Forks: a run done again from some task on, with what came before it reused."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.declared_names import FindStrangers, worker_faults, workflow_faults
from cognitionos.planning.application.engine import TASKS
from cognitionos.planning.application.nested_tasks import CopyFiles
from cognitionos.planning.application.runs import Begin
from cognitionos.planning.domain.fork import (
    InvalidFork,
    changed_specs,
    continued,
    done_again,
    forked,
    result_of,
    touched_by,
)
from cognitionos.planning.domain.forked import Forked, OldTask
from cognitionos.planning.domain.goal import Goal
from cognitionos.planning.domain.named import names_of
from cognitionos.planning.domain.run import Run, RunEvent
from cognitionos.platform.logging import get_logger
from cognitionos.platform.signals import Signals

log = get_logger(__name__)
SAME: Any = object()
"""In place of an input: the one that the run had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkFrom:
    """Where to begin: at a task, at a snapshot, or at what is changed; else at what had not ended well."""

    task: str | None = None
    snapshot: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    run_input: Any = SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Forks:
    """Use cases of forks."""

    begin: Begin
    signals: Signals
    copy_files: CopyFiles
    strangers: FindStrangers
    open_budget: Callable[[UUID, str, int], Awaitable[None]]
    now: Clock
    new_id: Callable[[], UUID]

    async def fork(self, who: Principal, run_id: UUID, start: ForkFrom) -> Run:
        """A new run of the same tasks; only `start` and what depends on it is done again. Gives it, queued.

        The run of a goal gets a goal of its own with the same budget. Raises `InvalidFork`, `SnapshotNotFound`.
        """
        async with self.begin(who.tenant_id) as work:
            source = await work.runs.get(run_id)
            seq = None if start.snapshot is None else await work.runs.snapshot_seq(run_id, start.snapshot)
            tasks = await work.runs.old_tasks(run_id, seq=seq)
            specs = await work.runs.specs_of(run_id, start.changes)
            goal = None if source.goal_id is None else await work.goals.get(source.goal_id)
        first = [*start.changes, *([start.task] if start.task is not None else [])]
        run_input = source.input if start.run_input is SAME else start.run_input
        made = changed_specs(tasks, specs, start.changes, run_input=run_input)
        await self._check_names(who, tasks, start)
        touched = touched_by(tasks, before=source.input, after=run_input)
        kept, again = done_again(tasks, start=first, touched=touched)
        if not again:
            raise InvalidFork("All of it had ended well; say from which task on it is to be done again.")
        nested = {} if seq is not None else continued(kept, again, start=first, touched=touched)
        new = tuple(forked(kept, again, new_id=self.new_id, changes=made, continues=nested))
        result = result_of(source.result_task_id, tasks, new)
        fork = Forked(id=self.new_id(), source=run_id, tasks=new, result_task_id=result)
        run = self._run(who, source, start, fork)
        copy = None if goal is None else self._goal(who, goal, run)
        await self.copy_files(who.tenant_id, run_id, to_run=run.id, tasks=fork.reused)
        if copy is not None:
            await self.open_budget(who.tenant_id, copy.subject, copy.budget_nanousd)
        async with self.begin(who.tenant_id) as work:
            if copy is not None:
                work.goals.add(copy)
                work.publish(copy.submitted())
            await work.runs.start_forked(run, fork.tasks, events=[RunEvent(kind="run.queued", data=fork.told())])
        log.info("run_forked", run_id=str(run.id), forked_from=str(run_id), again=len(again))
        await self.signals.send(TASKS)
        return run

    async def _check_names(self, who: Principal, tasks: Sequence[OldTask], start: ForkFrom) -> None:
        """What a change names outright must be there, as in a workflow."""
        kinds = {task.key: task.kind for task in tasks}
        named = [name for key, given in start.changes.items() for name in names_of(kinds[key], given, f"changes.{key}")]
        faults = await worker_faults(self.strangers, who.tenant_id, named)
        async with self.begin(who.tenant_id) as work:
            faults |= await workflow_faults(work.workflows, named)
        if faults:
            raise InvalidFork("; ".join(f"{at}: {fault}" for at, fault in faults.items()), fields=faults)

    def _run(self, who: Principal, source: Run, start: ForkFrom, fork: Forked) -> Run:
        return Run(
            id=fork.id,
            tenant_id=who.tenant_id,
            project_id=who.project_id,
            goal_id=None if source.goal_id is None else self.new_id(),
            api_key_id=who.api_key_id,
            user=who.user,
            created_at=self.now(),
            total_tasks=len(fork.tasks),
            open_tasks=fork.open_tasks,
            result_task_id=fork.result_task_id,
            workflow=source.workflow,
            workflow_version=source.workflow_version,
            input=source.input if start.run_input is SAME else start.run_input,
            forked_from=source.id,
            forked_at=start.task or start.snapshot,
            critical=source.critical,
        )

    def _goal(self, who: Principal, goal: Goal, run: Run) -> Goal:
        return Goal(
            id=run.goal_id or self.new_id(),
            tenant_id=who.tenant_id,
            project_id=who.project_id,
            api_key_id=who.api_key_id,
            user=who.user,
            title=goal.title,
            statement=goal.statement,
            budget_nanousd=goal.budget_nanousd,
            run_id=run.id,
            created_at=run.created_at,
        )
