"""Goals: submit, cancel."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.engine import TASKS
from cognitionos.planning.application.runs import Begin, Runs, Work
from cognitionos.planning.domain.goal import (
    Goal,
    GoalAlreadyFinished,
    GoalTerms,
    InputFile,
    check_terms,
    checked_budget,
    checked_files,
    checked_statement,
    title_of,
)
from cognitionos.planning.domain.replan import PLAN_TASKS, REPLANS
from cognitionos.planning.domain.run import Run, RunAlreadyFinished, RunEvent
from cognitionos.planning.domain.task import TaskSpec
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.logging import get_logger
from cognitionos.platform.signals import Signals

log = get_logger(__name__)
BEFORE_COMMIT = declare("goals.before_commit")
AFTER_COMMIT = declare("goals.after_commit")

PLAN_KEY = "plan"
OpenBudget = Callable[[UUID, str, int], Awaitable[None]]


class PutFile(Protocol):
    """Keeps a file for a run: `Agents.put_file`."""

    async def __call__(
        self, tenant_id: UUID, run_id: UUID, /, *, name: str, media_type: str, content: bytes
    ) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission(GoalTerms):
    """What somebody asks for. `inputs` are `(name, media type, base64 content)`."""

    inputs: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """Use cases of goals."""

    begin: Begin
    runs: Runs
    signals: Signals
    open_budget: OpenBudget
    put_file: PutFile
    default_budget_usd: str
    now: Clock
    new_id: Callable[[], UUID]

    async def submit(self, who: Principal, submission: Submission) -> Goal:
        """Take a goal; gives it, queued. Raises `InvalidGoal` naming the fields.

        Budget and files are in place before the goal is: a worker may claim its plan right after the commit. A crash in
        between leaves a budget and files that nobody will ever name.
        """
        files = checked_files(submission.inputs)
        goal = await self.prepare(who, submission)
        for file in files:
            await self.put_file(
                goal.tenant_id, goal.run_id, name=file.name, media_type=file.media_type, content=file.content
            )
        async with self.begin(who.tenant_id) as work:
            await self.add(work, goal, files, submission=submission)
            crash_point(BEFORE_COMMIT)
        crash_point(AFTER_COMMIT)
        log.info("goal_submitted", goal_id=str(goal.id), run_id=str(goal.run_id), files=len(files))
        await self.signals.send(TASKS)
        return goal

    def check(self, who: Principal, submission: Submission) -> None:
        """Raise `InvalidGoal` if it could not be submitted."""
        self._goal(who, submission)

    async def prepare(self, who: Principal, submission: Submission) -> Goal:
        """The goal with its budget open, not yet kept. Raises `InvalidGoal` naming the fields."""
        goal = self._goal(who, submission)
        await self.open_budget(goal.tenant_id, goal.subject, goal.budget_nanousd)
        return goal

    async def add(self, work: Work, goal: Goal, files: Sequence[InputFile], *, submission: Submission) -> None:
        """Keep a prepared goal and its run in somebody's unit of work, which wakes the workers after its commit."""
        work.goals.add(goal)
        run, task = _run_of(goal, critical=submission.critical), _plan_task(goal, files, submission)
        await work.runs.start(run, [task], events=[_queued(goal)], new_id=self.new_id)
        work.publish(goal.submitted())

    async def cancel(self, who: Principal, goal_id: UUID) -> None:
        """End the goal and its run. Raises `GoalNotFound`, `GoalAlreadyFinished`."""
        async with self.begin(who.tenant_id) as work:
            goal = await work.goals.get(goal_id)
        try:
            await self.runs.cancel(who, goal.run_id)
        except RunAlreadyFinished as error:
            raise GoalAlreadyFinished(f"The goal {goal_id} has ended already.") from error

    def _goal(self, who: Principal, submission: Submission) -> Goal:
        statement = checked_statement(submission.statement)
        check_terms(submission)
        budget = self.default_budget_usd if submission.budget_usd is None else submission.budget_usd
        return Goal(
            id=self.new_id(),
            tenant_id=who.tenant_id,
            project_id=who.project_id,
            api_key_id=who.api_key_id,
            user=who.user,
            title=title_of(statement, submission.title),
            statement=statement,
            budget_nanousd=checked_budget(budget),
            run_id=self.new_id(),
            created_at=self.now(),
        )


def _run_of(goal: Goal, *, critical: bool) -> Run:
    return Run(
        id=goal.run_id,
        tenant_id=goal.tenant_id,
        project_id=goal.project_id,
        goal_id=goal.id,
        api_key_id=goal.api_key_id,
        user=goal.user,
        created_at=goal.created_at,
        critical=critical,
    )


def _plan_task(goal: Goal, files: Sequence[InputFile], submission: Submission) -> TaskSpec:
    spec: dict[str, Any] = {
        "title": "Make a plan",
        "statement": goal.statement,
        "inputs": [{"name": file.name, "media_type": file.media_type, "bytes": len(file.content)} for file in files],
        "budget_nanousd": goal.budget_nanousd,
        REPLANS: submission.replans,
    }
    if submission.approve_plan:
        spec["approve"] = {"deadline_s": submission.plan_deadline_s}
    if submission.critical:
        spec["critical"] = True
    if submission.plan_tasks is not None:
        spec[PLAN_TASKS] = submission.plan_tasks
    return TaskSpec(key=PLAN_KEY, kind="plan", spec=spec)


def _queued(goal: Goal) -> RunEvent:
    return RunEvent(kind="run.queued", data={"goal_id": str(goal.id), "title": goal.title})
