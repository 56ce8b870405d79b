"""A goal's plan as it stands: what was planned, what was planned anew, and what waits for a person."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from cognitionos.kernel.money import usd_text
from cognitionos.planning.domain.approval import ApprovalStatus
from cognitionos.planning.domain.goal import GoalNotFound
from cognitionos.planning.domain.replan import DEFAULT_REPLANS
from cognitionos.planning.domain.task import TaskStatus
from cognitionos.planning.infrastructure.views import ProblemView
from cognitionos.platform.database import Database


class PlanState(StrEnum):
    """`planning`: it is being made. `proposed`: it waits for a person. `accepted`: its tasks are in the run.

    `rejected`: a person said no, or nobody yes in time. `failed`: there is none. `cancelled`: the goal ended before.
    """

    PLANNING = "planning"
    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PlanTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task of the plan. `budget_share` is in percent of the goal's budget, `budget_usd` what it may cost at most;
    null where the plan does not say. `status` is null as long as the plan is only proposed. `capability` is `general`,
    `research`, or an agent of the tenant's own, which works in its `agent_version`.
    """

    key: str
    title: str
    instructions: str
    depends_on: list[str]
    expected_output: str | None
    review: bool
    capability: str | None
    agent_version: int | None
    budget_share: float | None
    budget_usd: str | None
    status: TaskStatus | None


class PlanApproval(msgspec.Struct, frozen=True, kw_only=True):
    """The question to a person: `POST /v1/approvals/{id}/approve` or `/reject` answers it."""

    id: UUID
    status: ApprovalStatus
    deadline_at: datetime
    decided_by: str | None
    comment: str | None


class PlanMade(msgspec.Struct, frozen=True, kw_only=True):
    """One plan: the goal's first, or one that `replaces` a task which failed for the reason in `because`."""

    key: str
    state: PlanState
    replaces: str | None
    because: ProblemView | None
    approval: PlanApproval | None
    tasks: list[PlanTask]


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """A goal's plan. `tasks` are those of every plan in `plans`, the first one's first; one that was replaced failed.

    `replans` of at most `most_replans` times it was planned again.
    """

    goal_id: UUID
    run_id: UUID
    state: PlanState
    approve_plan: bool
    replans: int
    most_replans: int
    tasks: list[PlanTask]
    plans: list[PlanMade]


_GOAL = "SELECT run_id, budget_nanousd FROM goals WHERE id = %s"
_PLANS = """
SELECT t.id, t.key, t.spec, t.status, t.output, t.error ->> 'type' AS error FROM tasks t
WHERE t.run_id = %s AND t.kind = 'plan' ORDER BY t.position
"""
_TASKS = """
SELECT t.key, t.status, t.spec -> 'budget_nanousd' AS budget_nanousd,
  ARRAY(SELECT d.key FROM tasks d WHERE d.id = ANY(t.dependencies) ORDER BY d.position) AS depends_on
FROM tasks t WHERE t.run_id = %s AND t.kind <> 'plan' ORDER BY t.position
"""
_APPROVALS = """
SELECT task_id, id, status, deadline_at, decided_by, comment FROM approvals
WHERE run_id = %s AND task_id = ANY(%s) ORDER BY id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanQueries:
    """Reads plans."""

    database: Database

    async def of_goal(self, tenant_id: UUID, goal_id: UUID) -> PlanView:
        """The goal's plan as it stands, or `GoalNotFound`."""
        async with self.database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            goal = await (await cursor.execute(_GOAL, (goal_id,))).fetchone()
            if goal is None:
                raise GoalNotFound(f"There is no goal {goal_id}.")
            plans = await (await cursor.execute(_PLANS, (goal["run_id"],))).fetchall()
            tasks = await (await cursor.execute(_TASKS, (goal["run_id"],))).fetchall()
            asked = (goal["run_id"], [plan["id"] for plan in plans])
            approvals = await (await cursor.execute(_APPROVALS, asked)).fetchall()
        rows = {task["key"]: task for task in tasks}
        last = {each.pop("task_id"): msgspec.convert(each, PlanApproval) for each in approvals}
        made = [_made(plan, rows, last.get(plan["id"]), goal["budget_nanousd"]) for plan in plans]
        first: dict[str, Any] = plans[0]["spec"] if plans else {}
        return PlanView(
            goal_id=goal_id,
            run_id=goal["run_id"],
            state=made[0].state if made else PlanState.PLANNING,
            approve_plan="approve" in first,
            replans=max(0, len(made) - 1),
            most_replans=first.get("replans", DEFAULT_REPLANS),
            tasks=[task for plan in made for task in plan.tasks],
            plans=made,
        )


def _made(
    plan: dict[str, Any], rows: dict[str, dict[str, Any]], approval: PlanApproval | None, budget_nanousd: int
) -> PlanMade:
    """One plan; its tasks as they are in the run, else as they were proposed."""
    replan = plan["spec"].get("replan") or {}
    shown = plan["output"] or (plan["spec"].get("$state") or {}).get("plan") or {}
    prefix = f"{replan['key']}." if replan else ""
    error = replan.get("error")
    return PlanMade(
        key=plan["key"],
        state=_state(plan, approval),
        replaces=replan.get("key"),
        because=None if error is None else msgspec.convert(error, ProblemView),
        approval=approval,
        tasks=[_task(task, prefix, rows, budget_nanousd) for task in shown.get("tasks", ())],
    )


def _task(task: dict[str, Any], prefix: str, rows: dict[str, dict[str, Any]], budget_nanousd: int) -> PlanTask:
    key, share = f"{prefix}{task['key']}", task.get("budget_share")
    row = rows.get(key)
    limit = row["budget_nanousd"] if row else None if share is None else round(budget_nanousd * share / 100)
    return PlanTask(
        key=key,
        title=task["title"],
        instructions=task["instructions"],
        depends_on=row["depends_on"] if row else task["depends_on"],
        expected_output=task["expected_output"],
        review=task["review"],
        capability=task.get("capability"),
        agent_version=task.get("agent_version"),
        budget_share=share,
        budget_usd=None if limit is None else usd_text(limit),
        status=TaskStatus(row["status"]) if row else None,
    )


def _state(plan: dict[str, Any], approval: PlanApproval | None) -> PlanState:
    match plan["status"]:
        case "succeeded":
            return PlanState.ACCEPTED
        case "cancelled":
            return PlanState.CANCELLED
        case "failed":
            refused = plan["error"] in {"/problems/approval-rejected", "/problems/approval-expired"}
            return PlanState.REJECTED if refused else PlanState.FAILED
    is_open = approval is not None and approval.status is ApprovalStatus.PENDING
    return PlanState.PROPOSED if is_open else PlanState.PLANNING
