"""The task of a map: one for each item of a list, with `{"$ref": "item"}` and `{"$ref": "index"}` in its input."""

from collections.abc import Mapping
from typing import Any

from cognitionos.planning.domain.goal import checked_budget
from cognitionos.planning.domain.reference import MAP_TASK, STATE
from cognitionos.planning.domain.retry import RetryPolicy
from cognitionos.planning.domain.task import DEFAULT_TIMEOUT_S, TaskSpec

MOST_ITEMS = 10_000
MOST_AT_ONCE = 1_000


def item_specs(spec: Mapping[str, Any]) -> tuple[TaskSpec, ...]:
    """A task for each item of the list `over`; their keys are made where the map's is known."""
    task = spec[MAP_TASK]
    given = {"input": task.get("input")} if task["kind"] == "value" else task.get("input") or {}
    terms: dict[str, Any] = {}
    if task.get("budget_usd") is not None:
        terms["budget_nanousd"] = checked_budget(task["budget_usd"])
    if task.get("heartbeat_s") is not None:
        terms["heartbeat_s"] = task["heartbeat_s"]
    retry = RetryPolicy.of(task["retry"]) if task.get("retry") else None
    collects = {"collect": True} if spec.get("on_error") == "collect" else {}
    return tuple(
        TaskSpec(
            key=str(number),
            kind=task["kind"],
            spec={**given, **terms, STATE: {"item": item, "index": number, **collects}},
            retry=retry,
            timeout_s=task.get("timeout_s") or DEFAULT_TIMEOUT_S,
        )
        for number, item in enumerate(spec["over"])
    )
