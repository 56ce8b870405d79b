"""A goal's plan as it stands: what was planned, what was planned anew, and what waits for a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Any, NamedTuple
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
from cognitionos.platform.paging import encode_cursor


class InPlan(NamedTuple):
    """Where a page of a plan ended: the position of the planning task, and the task's number in what it planned."""

    position: int
    number: int


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
    """A goal's plan, or a page of it. `tasks` are those of every plan in `plans`, the first one's first; one that was
    replaced failed. `replans` of at most `most_replans` times it was planned again.

    A page has the plans that its tasks are of, each with those tasks; `next_cursor` is null on the last one.
    """

    goal_id: UUID
    run_id: UUID
    state: PlanState
    approve_plan: bool
    replans: int
    most_replans: int
    tasks: list[PlanTask]
    plans: list[PlanMade]
    next_cursor: str | None


# a row for each task of a plan, and one for a plan without; a large plan has its tasks in a row of its own
_PLANNED = """
SELECT t.id, t.key, t.position, t.status, t.error ->> 'type' AS error, t.spec -> 'replan' AS replan, p.task,
  coalesce(p.number, 1)::int AS number
FROM tasks t LEFT JOIN payloads o ON o.id = t.output_payload
LEFT JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(coalesce(o.body, t.output) -> 'tasks') WHEN 'array'
    THEN coalesce(o.body, t.output) -> 'tasks' ELSE t.spec #> '{$state,plan,tasks}' END)
  WITH ORDINALITY AS p(task, number) ON true
WHERE t.run_id = %(run)s AND t.kind = 'plan' AND t.position >= %(position)s
  AND (t.position > %(position)s OR coalesce(p.number, 1) > %(number)s)
ORDER BY t.position, p.number LIMIT %(limit)s
"""
_GOAL = "SELECT run_id, budget_nanousd FROM goals WHERE id = %s"
_FIRST = """
SELECT t.id, t.status, t.error ->> 'type' AS error, t.spec ? 'approve' AS approve_plan,
  (t.spec ->> 'replans')::int AS most_replans, count(*) OVER () AS plans
FROM tasks t WHERE t.run_id = %s AND t.kind = 'plan' ORDER BY t.position LIMIT 1
"""
_TASKS = """
SELECT t.key, t.status, t.spec -> 'budget_nanousd' AS budget_nanousd,
  ARRAY(SELECT d.key FROM tasks d WHERE d.id = ANY(t.dependencies) ORDER BY d.position) AS depends_on
FROM tasks t WHERE t.run_id = %s AND t.key = ANY(%s) AND t.kind <> 'plan'
"""
_APPROVALS = """
SELECT task_id, id, status, deadline_at, decided_by, comment FROM approvals
WHERE run_id = %s AND task_id = ANY(%s) ORDER BY id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanQueries:
    """Reads plans."""

    database: Database

    async def of_goal(self, tenant_id: UUID, goal_id: UUID, *, limit: int, after: InPlan | None) -> PlanView:
        """A page of the goal's plan as it stands, or `GoalNotFound`."""
        async with self.database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            goal = await (await cursor.execute(_GOAL, (goal_id,))).fetchone()
            if goal is None:
                raise GoalNotFound(f"There is no goal {goal_id}.")
            run_id = goal["run_id"]
            first = await (await cursor.execute(_FIRST, (run_id,))).fetchone()
            place = (after or InPlan(position=-1, number=0))._asdict() | {"run": run_id, "limit": limit + 1}
            planned = await (await cursor.execute(_PLANNED, place)).fetchall()
            page, more = planned[:limit], len(planned) > limit
            keys = [_key(row, row["task"]["key"]) for row in page if row["task"]]
            tasks = await (await cursor.execute(_TASKS, (run_id, keys))).fetchall()
            asked = [row["id"] for row in (*page, *([first] if first else ()))]
            approvals = await (await cursor.execute(_APPROVALS, (run_id, asked))).fetchall()
        last = {each.pop("task_id"): msgspec.convert(each, PlanApproval) for each in approvals}
        rows = {task["key"]: task for task in tasks}
        plans = [list(of_one) for _, of_one in groupby(page, key=lambda row: row["id"])]
        made = [_made(plan, rows, last.get(plan[0]["id"]), goal["budget_nanousd"]) for plan in plans]
        return PlanView(
            goal_id=goal_id,
            run_id=run_id,
            state=_state(first, last.get(first["id"])) if first else PlanState.PLANNING,
            approve_plan=first is not None and first["approve_plan"],
            replans=first["plans"] - 1 if first else 0,
            most_replans=DEFAULT_REPLANS if first is None or first["most_replans"] is None else first["most_replans"],
            tasks=[task for plan in made for task in plan.tasks],
            plans=made,
            next_cursor=encode_cursor(page[-1]["position"], page[-1]["number"]) if more else None,
        )


def _made(
    plan: Sequence[dict[str, Any]],
    rows: Mapping[str, dict[str, Any]],
    approval: PlanApproval | None,
    budget_nanousd: int,
) -> PlanMade:
    """One plan from its rows of this page; its tasks as they are in the run, else as they were proposed."""
    first = plan[0]
    replan = first["replan"] or {}
    error = replan.get("error")
    return PlanMade(
        key=first["key"],
        state=_state(first, approval),
        replaces=replan.get("key"),
        because=None if error is None else msgspec.convert(error, ProblemView),
        approval=approval,
        tasks=[_task(row, rows, budget_nanousd) for row in plan if row["task"]],
    )


def _key(plan: Mapping[str, Any], key: str) -> str:
    """What the plan's task is called in the run."""
    return f"{plan['replan']['key']}.{key}" if plan["replan"] else key


def _task(planned: Mapping[str, Any], rows: Mapping[str, dict[str, Any]], budget_nanousd: int) -> PlanTask:
    task = planned["task"]
    key, share = _key(planned, task["key"]), task.get("budget_share")
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


def _state(plan: Mapping[str, Any], approval: PlanApproval | None) -> PlanState:
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
