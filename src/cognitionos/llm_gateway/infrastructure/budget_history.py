"""What was left of a run's budgets when each of its models was asked, summed up from the ledger."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any
from uuid import UUID

from cognitionos.platform.database import Database

_COUNTED = """
SELECT c.call_id, c.run_id = %(run)s AS asked, coalesce(c.held_at, c.settled_at), c.settled_at, c.cost_nanousd,
  b.subject, b.limit_nanousd, llm_next_reset(
    b.period, coalesce(b.time_zone, (SELECT time_zone FROM budget_settings), 'UTC'), coalesce(c.held_at, c.settled_at))
FROM calls c JOIN budgets b ON b.subject = ANY (ARRAY[
    'goal:' || c.goal_id, 'run:' || c.run_id, 'task:' || c.task_id, 'agent_run:' || c.agent_run_id])
  AND (b.id = ANY (c.budget_ids) OR (c.budget_ids IS NULL AND b.created_at <= c.settled_at))
WHERE c.run_id = %(run)s
  OR c.goal_id IN (SELECT m.goal_id FROM calls m WHERE m.run_id = %(run)s AND m.goal_id IS NOT NULL)
ORDER BY c.settled_at
"""
_WIDEST_FIRST = ("goal", "run", "task", "agent_run")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLeft:
    """The tightest budget when a call was made, by its limit as it is now, and what was not spent of it by then."""

    subject: str
    left_nanousd: int


@dataclass(frozen=True, slots=True)
class BudgetHistory:
    """Reads of one tenant at a time."""

    database: Database

    async def of_run(self, tenant_id: UUID, run_id: UUID) -> dict[UUID, BudgetLeft]:
        """By call of the run: of the budgets of its goal, run, task and agent run, the one with the least left."""
        async with self.database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_COUNTED, {"run": run_id})).fetchall()
        return _tightest(rows)


def _tightest(rows: Iterable[tuple[Any, ...]]) -> dict[UUID, BudgetLeft]:
    """`rows` by settlement: call, whether it is meant, when held, when settled, cost, budget, limit, end of period."""
    counted: dict[tuple[str, datetime | None], list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        counted[row[5], row[7]].append(row)
    left: dict[UUID, BudgetLeft] = {}
    for (subject, _), booked in sorted(counted.items(), key=lambda each: _WIDEST_FIRST.index(each[0][0].split(":")[0])):
        settled_at = [row[3] for row in booked]
        spent = [0, *accumulate(row[4] or 0 for row in booked)]
        for call_id, asked, at, settled, cost, _, limit, _ in booked:
            before = spent[bisect_right(settled_at, at)] - ((cost or 0) if settled <= at else 0)
            here = BudgetLeft(subject=subject, left_nanousd=max(0, limit - before))
            if asked and (call_id not in left or here.left_nanousd < left[call_id].left_nanousd):
                left[call_id] = here
    return left
