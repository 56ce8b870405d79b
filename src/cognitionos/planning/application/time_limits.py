"""How long a task may take in all, where it waits without a worker: waits, approvals, nested runs, maps and items.

The moment is kept in the task's state when it first waits. A map's is its items' too: each of them ends by then, so
that nothing else has to watch the map. A limit that has passed is no failure to be tried again.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from cognitionos.planning.domain.reference import DEADLINE, STATE
from cognitionos.planning.domain.replan import WITHIN
from cognitionos.planning.domain.retry import TIMED_OUT
from cognitionos.planning.domain.task import (
    WAITING_KINDS,
    ClaimedTask,
    Failed,
    FannedOut,
    Outcome,
    Postponed,
    Problem,
    Retrying,
)


def deadline_of(spec: Mapping[str, Any], now: datetime) -> datetime | None:
    """When the task must have ended, None: at no time; one that has not waited yet has all its time before it."""
    kept, within_s = spec.get(STATE, {}).get(DEADLINE), spec.get(WITHIN)
    moments = [] if kept is None else [datetime.fromisoformat(kept)]
    if within_s is not None:
        moments.append(now + timedelta(seconds=within_s))
    return min(moments, default=None)


def attempt_s(task: ClaimedTask, now: datetime) -> float:
    """How long a worker may be at it now: no longer than the map that the task is of may take."""
    deadline = deadline_of(task.spec, now) if task.kind not in WAITING_KINDS else None
    return task.timeout_s if deadline is None else min(task.timeout_s, (deadline - now).total_seconds())


def limited(task: ClaimedTask, outcome: Outcome, now: datetime) -> Outcome:
    """`outcome`, with no wait in it that is longer than the task may take."""
    deadline = deadline_of(task.spec, now)
    if deadline is None:
        return outcome
    left_s, moment = (deadline - now).total_seconds(), deadline.isoformat()
    match outcome:
        case Retrying(problem=problem) | Failed(problem=problem) if left_s <= 0 and problem.type.endswith(TIMED_OUT):
            return Failed(problem=timed_out(task))
        case Retrying(problem=problem, after_s=after_s) if after_s >= left_s:
            return Failed(problem=problem)
        case Postponed() if left_s <= 0:
            return Failed(problem=timed_out(task))
        case Postponed():
            asks = tuple(replace(ask, deadline_s=min(ask.deadline_s, left_s)) for ask in outcome.asks)
            state = {**outcome.state, DEADLINE: moment}
            return replace(outcome, state=state, after_s=min(outcome.after_s, left_s), asks=asks)
        case FannedOut():
            items = [replace(each, spec=_ending(each.spec, moment)) for each in outcome.tasks]
            return replace(outcome, tasks=tuple(items), deadline=moment)
    return outcome


def timed_out(task: ClaimedTask) -> Problem:
    """Why a task ended at its limit."""
    within_s = task.spec.get(WITHIN)
    when = "in the time that it has" if within_s is None else f"within {within_s:g} s"
    return Problem(
        type=f"/problems/{TIMED_OUT}", title="Task timed out", detail=f"Task '{task.key}' did not end {when}."
    )


def _ending(spec: Mapping[str, Any], moment: str) -> Mapping[str, Any]:
    return {**spec, STATE: {**spec.get(STATE, {}), DEADLINE: moment}}
