"""The kinds `condition` and `map`: choose which tasks go on; one task for each item of a list."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cognitionos.kernel.errors import Invalid
from cognitionos.planning.domain.condition import holds
from cognitionos.planning.domain.kinds import InvalidTaskInput
from cognitionos.planning.domain.map_task import MOST_ITEMS, item_specs, weight_of_items
from cognitionos.planning.domain.reference import DEADLINE, STATE
from cognitionos.planning.domain.task import PURE_KINDS, FannedOut, Outcome, Succeeded

CONCURRENCY = 10


class TaskTimedOut(Invalid):
    """The items of a map took longer than it may."""


def compute_condition(spec: Mapping[str, Any], _: datetime) -> Succeeded:
    """True or false; the tasks of the branch that was not chosen are skipped. Raises `NotComparable`."""
    is_true = holds(spec.get("op") or "truthy", spec.get("left"), spec.get("right"))
    chosen, other = spec.get("then") or (), spec.get("else") or ()
    if not is_true:
        chosen, other = other, chosen
    return Succeeded(output=is_true, skips=frozenset(other) - frozenset(chosen))


def compute_map(spec: Mapping[str, Any], now: datetime) -> Outcome:
    """First the tasks of its items; when these have ended, their outputs in order.

    Raises `InvalidTaskInput`, `InputTooLarge`, and `TaskTimedOut` for items that were collected only because their
    time was over.
    """
    state = spec.get(STATE, {})
    outputs, deadline = state.get("outputs"), state.get(DEADLINE)
    if outputs is not None:
        if deadline is not None and now >= datetime.fromisoformat(deadline):
            raise TaskTimedOut("The items of the map did not end in the time that it has.")
        return Succeeded(output=outputs, details={"items": len(outputs)})
    over, most = spec.get("over"), spec.get("max_items") or MOST_ITEMS
    if not isinstance(over, list):
        raise InvalidTaskInput("A map goes over a list, and this is none.", fields={"over": "must be a list"})
    if len(over) > most:
        fault = f"has {len(over)} items; {most} are allowed ('max_items')"
        raise InvalidTaskInput(f"The list {fault}.", fields={"over": fault})
    if not over:
        return Succeeded(output=[], details={"items": 0})
    weight, is_pure = weight_of_items(spec), spec["task"]["kind"] in PURE_KINDS
    concurrency = None if is_pure else spec.get("concurrency") or CONCURRENCY
    return FannedOut(tasks=item_specs(spec), concurrency=concurrency, weight=weight)
