"""A goal as somebody words it over HTTP, for now or for a schedule's times."""

from typing import Annotated

import msgspec

from cognitionos.planning.domain.goal import (
    LARGEST_PLAN,
    LONGEST_PLAN_DEADLINE_S,
    LONGEST_STATEMENT,
    LONGEST_TITLE,
    PLAN_DEADLINE_S,
)
from cognitionos.planning.domain.replan import DEFAULT_REPLANS, MOST_REPLANS


class WantedGoal(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be done. `budget_usd`, a decimal text or a number, is what its model calls may cost at most.

    `critical`: it goes on where a budget near its end halts other runs. `approve_plan`: its plan waits for a person to
    approve it, at most `plan_deadline_s`; then the goal fails. `replans`: how often a task that failed for good is
    planned anew, in smaller steps or another way, before the goal fails. `plan_tasks`: how many tasks a plan may have
    at most; without it 12, and 6 in the place of a task.
    """

    statement: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_STATEMENT)]
    budget_usd: str | int | float | None = None
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TITLE)] | None = None
    critical: bool = False
    approve_plan: bool = False
    plan_deadline_s: Annotated[float, msgspec.Meta(ge=1, le=LONGEST_PLAN_DEADLINE_S)] = PLAN_DEADLINE_S
    replans: Annotated[int, msgspec.Meta(ge=0, le=MOST_REPLANS)] = DEFAULT_REPLANS
    plan_tasks: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_PLAN)] | None = None
