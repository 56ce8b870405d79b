"""The task of a map: one for each item of a list, with `{"$ref": "item"}` and `{"$ref": "index"}` in its input."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cognitionos.planning.domain.goal import checked_budget
from cognitionos.planning.domain.intake import MOST_FANNED, weight
from cognitionos.planning.domain.reference import MAP_TASK, STATE
from cognitionos.planning.domain.retry import RetryPolicy
from cognitionos.planning.domain.task import TaskSpec
from cognitionos.planning.domain.workflow import DeclaredTask, time_limits

MOST_ITEMS = 10_000
MOST_AT_ONCE = 1_000


def weight_of_items(spec: Mapping[str, Any]) -> int:
    """What the tasks of the items say together, as `weight` counts; raises `InputTooLarge`."""
    number = len(spec["over"])
    items = weight(spec["over"], MOST_FANNED, "the list", "over")
    return items + number * weight(
        spec[MAP_TASK], (MOST_FANNED - items) // number, f"'task' for {number} items", "task"
    )


def item_specs(spec: Mapping[str, Any]) -> tuple[TaskSpec, ...]:
    """A task for each item of the list `over`; their keys are made where the map's is known."""
    task = spec[MAP_TASK]
    given = task.get("input")
    budget_usd, retry = task.get("budget_usd"), task.get("retry")
    timeout_s, within_s = time_limits(task["kind"], task.get("timeout_s"))
    item = DeclaredTask(
        kind=task["kind"],
        input=given if task["kind"] == "value" else given or {},
        retry=RetryPolicy.of(retry) if retry else None,
        timeout_s=timeout_s,
        budget_nanousd=None if budget_usd is None else checked_budget(budget_usd),
        heartbeat_s=task.get("heartbeat_s"),
        within_s=within_s,
    ).spec("")
    collects = {"collect": True} if spec.get("on_error") == "collect" else {}
    return tuple(
        replace(item, key=str(number), spec={**item.spec, STATE: {"item": value, "index": number, **collects}})
        for number, value in enumerate(spec["over"])
    )
