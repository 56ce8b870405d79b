"""Running one task: its handler under its deadline, and its errors weighed by its policy."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.errors import DomainError, Unavailable
from cognitionos.planning.application.heartbeat import heartbeat
from cognitionos.planning.application.ports import Compute, Handler
from cognitionos.planning.application.recording import Recorder
from cognitionos.planning.application.time_limits import attempt_s, limited
from cognitionos.planning.domain.intake import MOST_IN, Intake
from cognitionos.planning.domain.kinds import must_be_input
from cognitionos.planning.domain.reference import STATE, Known, Reference, Wanted, references_of, resolved
from cognitionos.planning.domain.replan import PLANNED
from cognitionos.planning.domain.retry import TIMED_OUT, UNFORESEEN
from cognitionos.planning.domain.step import Ended, Reported, Started
from cognitionos.planning.domain.task import ClaimedTask, Failed, FannedOut, LeaseLost, Outcome, Problem, Retrying
from cognitionos.platform.database import Write
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)

MOST_LOST_STARTS = 30
"""A task that takes its worker down each time must not go round for ever. So many because a death counts against all
that the worker held: where every second start is lost to chance, one task in a thousand loses ten of them."""

_NOTHING = Known()


@dataclass(slots=True, kw_only=True)
class Computed:
    """The ends of pure tasks for one commit, what their inputs weigh, and what is for the next claim."""

    ended: list[Ended] = field(default_factory=list)
    weight: int = 0
    left: list[ClaimedTask] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Does tasks by kind. A new kind is one more entry in `handlers` (or in `pure`)."""

    handlers: Mapping[str, Handler]
    pure: Mapping[str, Compute]
    recorder: Recorder
    known: Callable[[UUID, Mapping[UUID, Wanted]], Awaitable[Mapping[UUID, Known]]]
    now: Clock

    def is_pure(self, task: ClaimedTask) -> bool:
        """Whether `compute` does it."""
        return task.kind in self.pure

    async def compute(self, tasks: Sequence[ClaimedTask]) -> Computed:
        """The ends of pure tasks of one tenant. What their references lead to is read in one go.

        What is too much for that, or for one commit, is left; of any tasks at least one is done.
        """
        references = {task.id: references_of(task.key, task.kind, task.spec) for task in tasks}
        try:
            known = await self._known(tasks, references)
            done = Computed()
            for task in tasks:
                mine = known.get(task.run_id, _NOTHING)
                if done.weight >= MOST_IN or mine.lacks(references[task.id]):
                    done.left.append(task)
                else:
                    self._compute(task, references[task.id], mine, done)
            if tasks and not done.ended:  # each of them asks for too much to be read with others
                alone = done.left.pop(0)
                known = await self._known([alone], references)
                self._compute(alone, references[alone.id], known.get(alone.run_id, _NOTHING), done)
        except Unavailable as error:
            return Computed(ended=[Ended(task=task, outcome=_weighed(task, error)) for task in tasks])
        return done

    async def _known(
        self, tasks: Sequence[ClaimedTask], references: Mapping[UUID, Sequence[Reference]]
    ) -> Mapping[UUID, Known]:
        asked: defaultdict[UUID, list[Reference]] = defaultdict(list)
        for task in tasks:
            asked[task.run_id] += references[task.id]
        wanted = {run_id: found for run_id, each in asked.items() if (found := Wanted.by(each))}
        return await self.known(tasks[0].tenant_id, wanted) if wanted else {}

    def _compute(self, task: ClaimedTask, references: Sequence[Reference], known: Known, done: Computed) -> None:
        intake, now = Intake(), self.now()
        try:
            ready = _with_input(task, known, intake) if references else task
            outcome = self.pure[task.kind](ready.spec, now)
        except Exception as error:  # noqa: BLE001 - whatever a task raises is its outcome
            outcome = _weighed(task, error)
        done.weight += intake.taken + (outcome.weight if isinstance(outcome, FannedOut) else 0)
        done.ended.append(Ended(task=task, outcome=limited(task, outcome, now)))

    async def perform(self, task: ClaimedTask) -> None:
        """Run `task` to its outcome and write that. A lost lease ends it without a word: it is another's now."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.recorder.put(Started(task=task)))
                group.create_task(self._to_its_end(task))
        except* LeaseLost:
            log.info("lease_lost", task=task.key, run_id=str(task.run_id))

    async def _to_its_end(self, task: ClaimedTask) -> None:
        outcome = limited(task, await self._outcome(task), self.now())
        await self.recorder.put(Ended(task=task, outcome=outcome))

    async def _outcome(self, task: ClaimedTask) -> Outcome:
        if task.lost_starts >= MOST_LOST_STARTS:
            return Failed(problem=_problem("worker-lost", f"{MOST_LOST_STARTS} workers were lost while running it."))
        handler = self.handlers.get(task.kind)
        if handler is None:
            return Failed(problem=_problem("unknown-kind", f"No task of kind '{task.kind}' can be run here."))

        try:
            async with asyncio.timeout(attempt_s(task, self.now())), heartbeat(task.spec.get("heartbeat_s")) as beat:

                async def report(kind: str, data: Mapping[str, Any], also: Write | None = None, /) -> None:
                    beat()
                    await self.recorder.put(Reported(task=task, kind=kind, data=data, also=also))

                return await handler(await self._resolved(task), report)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a task raises is its outcome
            return _weighed(task, error)

    async def _resolved(self, task: ClaimedTask) -> ClaimedTask:
        references = references_of(task.key, task.kind, task.spec)
        if not references:
            return task
        wanted = Wanted.by(references)
        known = (await self.known(task.tenant_id, {task.run_id: wanted}))[task.run_id] if wanted else _NOTHING
        return _with_input(task, known, Intake())


def _with_input(task: ClaimedTask, known: Known, intake: Intake) -> ClaimedTask:
    spec = resolved(task.key, task.kind, task.spec, known, intake)
    given = {name: value for name, value in spec.items() if name != STATE and name not in PLANNED}
    if given:
        must_be_input(task.kind, given)
    return replace(task, spec=spec)


def _weighed(task: ClaimedTask, error: Exception) -> Outcome:
    problem = _problem_of(task, error)
    wait_s = task.retry.wait_s(error, failures=task.failures + 1, jitter=random.random())
    known = isinstance(error, DomainError | TimeoutError)
    log.warning(
        "task_attempt_failed",
        task=task.key,
        kind=task.kind,
        run_id=str(task.run_id),
        attempt=task.attempt,
        problem=problem.type,
        retry_in_s=wait_s,
        exc_info=None if known else error,
    )
    return Failed(problem=problem) if wait_s is None else Retrying(problem=problem, after_s=wait_s)


def _problem_of(task: ClaimedTask, error: Exception) -> Problem:
    if isinstance(error, DomainError):
        return Problem.of(error)
    if isinstance(error, TimeoutError):
        return _problem(TIMED_OUT, f"Task '{task.key}' did not end within {task.timeout_s:g} s.")
    return _problem(UNFORESEEN, f"Task '{task.key}' met an error of ours ({type(error).__name__}); see the log.")


def _problem(slug: str, detail: str) -> Problem:
    return Problem(type=f"/problems/{slug}", title=slug.replace("-", " ").capitalize(), detail=detail)
