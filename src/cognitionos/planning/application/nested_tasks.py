"""The kind `workflow`: starts a run of a workflow, waits for it without a slot, and ends as it ended."""

import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from cognitionos.kernel.errors import Invalid
from cognitionos.planning.application.ports import Report
from cognitionos.planning.application.values import FOREVER_S
from cognitionos.planning.application.workflows import checked_run_input
from cognitionos.planning.domain.reference import STATE
from cognitionos.planning.domain.run import RunNotFailed, RunStatus
from cognitionos.planning.domain.task import (
    ClaimedTask,
    Failed,
    NestedRun,
    Outcome,
    Postponed,
    Problem,
    Retrying,
    Succeeded,
)
from cognitionos.planning.domain.workflow import Workflow

DEEPEST_NESTING = 20
LOOK_AGAIN_S = 30.0
LOOK_SOON_S = 1.0
"""After a retry: the run may end again before this task is parked, and its end then wakes nobody."""
TRIED = "tried"
"""In the task's state: how many of its failures the nested run has been retried after."""
_CANCELLED = {"type": "/problems/nested-run-cancelled", "title": "Nested run cancelled"}
RetryBelow = Callable[[ClaimedTask, UUID], Awaitable[None]]
"""Take up the run that the task waits for from what failed in it. Raises `RunNotFailed`, `LeaseLost`."""


class NestedTooDeeply(Invalid):
    """Runs start runs down to a depth of 20; a workflow that starts itself comes to this."""


class CopyFiles(Protocol):
    """Gives a run the files of another, `tasks` being who wrote them there and here: `Agents.copy_files`."""

    async def __call__(self, tenant_id: UUID, run_id: UUID, /, *, to_run: UUID, tasks: Mapping[UUID, UUID]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedEnd:
    """How far a nested run is; `output` is that of its last task, or of its last tasks by key."""

    status: RunStatus
    output: Any
    error: Mapping[str, str] | None


class NestedRuns(Protocol):
    """What a task needs to know of workflows and runs."""

    async def workflow(self, tenant_id: UUID, name: str, version: int | None) -> Workflow:
        """The version, else the latest, or `WorkflowNotFound`."""

    async def depth(self, tenant_id: UUID, run_id: UUID) -> int:
        """How many runs are above this one."""

    async def end(self, tenant_id: UUID, run_id: UUID) -> NestedEnd:
        """How far the run is. Raises `InputTooLarge`."""

    async def again(self, tenant_id: UUID, run_id: UUID) -> NestedRun | None:
        """A fork of the run from what had not ended well; None if all of it had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedTasks:
    """Does tasks of kind `workflow`: `{"workflow": "name" or "name@version", "input"}`."""

    runs: NestedRuns
    copy_files: CopyFiles
    retry: RetryBelow

    async def __call__(self, task: ClaimedTask, report: Report) -> Outcome:
        """First the run, started in the commit that parks this task; when it has ended, its end."""
        state = task.spec.get(STATE, {})
        started, continues = state.get("run_id"), state.get("continues")
        if started is None:
            return await self._start(task) if continues is None else await self._continue(task, UUID(continues))
        end = await self.runs.end(task.tenant_id, UUID(started))
        if not end.status.is_final:
            return Postponed(state={"run_id": started, TRIED: task.failures}, after_s=LOOK_AGAIN_S)
        if end.status is RunStatus.SUCCEEDED:
            return Succeeded(output=end.output, details={"run_id": started})
        error = end.error or {**_CANCELLED, "detail": f"The run {started} was cancelled."}
        return await self._ended_badly(task, UUID(started), Problem(**error))

    async def _ended_badly(self, task: ClaimedTask, started: UUID, problem: Problem) -> Outcome:
        """After the wait that the task's policy grants for this problem, the run goes on from what failed in it."""
        slug = problem.type.removeprefix("/problems/")
        if task.retry.names(slug) and task.failures > task.spec[STATE].get(TRIED, 0):
            with suppress(RunNotFailed):  # somebody has retried it by hand
                await self.retry(task, started)
            return Postponed(state={"run_id": str(started), TRIED: task.failures}, after_s=LOOK_SOON_S)
        wait_s = task.retry.wait_named_s(slug, failures=task.failures + 1, jitter=random.random())
        return Failed(problem=problem) if wait_s is None else Retrying(problem=problem, after_s=wait_s)

    async def _continue(self, task: ClaimedTask, earlier: UUID) -> Outcome:
        """A fork has come to this task: what the run of the task it is forked from had done is not done again."""
        end = await self.runs.end(task.tenant_id, earlier)
        if end.status is RunStatus.SUCCEEDED:  # it ended well, and the task that waited for it did not
            return Succeeded(output=end.output, details={"run_id": str(earlier)})
        nested = await self.runs.again(task.tenant_id, earlier)
        if nested is None or nested.fork is None:
            return await self._start(task)
        await self.copy_files(task.tenant_id, earlier, to_run=nested.fork.id, tasks=nested.fork.reused)
        return Postponed(state={}, after_s=FOREVER_S, nested=nested)

    async def _start(self, task: ClaimedTask) -> Outcome:
        name, _, version = str(task.spec["workflow"]).partition("@")
        depth = await self.runs.depth(task.tenant_id, task.run_id)
        if depth >= DEEPEST_NESTING:
            raise NestedTooDeeply(
                f"'{name}' was not started: the run {task.run_id} is nested {depth} deep already, which is the limit. "
                "Workflows that start each other need a condition that ends it."
            )
        workflow = await self.runs.workflow(task.tenant_id, name, int(version) if version else None)
        run_input = checked_run_input(workflow, task.spec.get("input"))
        nested = NestedRun(
            workflow=workflow.name,
            version=workflow.version,
            input=run_input,
            tasks=tuple(workflow.specs()),
            result_key=workflow.result_key,
        )
        return Postponed(state={}, after_s=FOREVER_S, nested=nested)
