"""A plan before people: shown, and run only when somebody has said yes."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from cognitionos.planning.domain.approval import ApprovalExpired, ApprovalRejected, Ask
from cognitionos.planning.domain.goal import PLAN_DEADLINE_S
from cognitionos.planning.domain.plan import Plan
from cognitionos.planning.domain.reference import STATE
from cognitionos.planning.domain.task import ClaimedTask, Postponed

KEY = "plan"


def put_before_people(plan: Plan, *, details: Mapping[str, Any], terms: Mapping[str, Any], now: datetime) -> Postponed:
    """The plan waits for a person; it is kept with the task, so that what is approved is what runs."""
    deadline_s = float(terms.get("deadline_s") or PLAN_DEADLINE_S)
    number = len(plan.tasks)
    ask = Ask(
        key=KEY,
        prompt=f"May this plan of {number} task{'' if number == 1 else 's'} run?",
        details=plan.as_json(),
        deadline_s=deadline_s,
    )
    state = {
        "asked": [KEY],
        "plan": plan.as_json(),
        "details": dict(details),
        "until": (now + timedelta(seconds=deadline_s)).isoformat(),
    }
    return Postponed(state=state, after_s=deadline_s, asks=(ask,))


def proposed(task: ClaimedTask) -> Mapping[str, Any] | None:
    """The plan that the task put before people, with its details; None before that."""
    state = task.spec.get(STATE) or {}
    return state if "plan" in state else None


def still_open(state: Mapping[str, Any], now: datetime) -> Postponed | None:
    """Waiting on, where nobody has decided and there is time left. Raises when somebody said no, or nobody anything."""
    decision = state.get("decision")
    if decision == "approved":
        return None
    if decision == "rejected":
        who, why = state.get("by") or "somebody", state.get("comment")
        raise ApprovalRejected(f"The plan was rejected by {who}" + (f": {why}" if why else "."))
    left_s = (datetime.fromisoformat(state["until"]) - now).total_seconds()
    if left_s <= 0:
        raise ApprovalExpired("Nobody approved the plan in time.")
    return Postponed(state={}, after_s=left_s)
