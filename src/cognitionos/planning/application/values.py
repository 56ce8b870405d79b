"""The kinds that take no slot: they have no effect, and wait for nobody."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from cognitionos.kernel.errors import DomainError
from cognitionos.planning.application.ports import Compute
from cognitionos.planning.domain.progress import LATER
from cognitionos.planning.domain.reference import Known, resolve
from cognitionos.planning.domain.task import Outcome, Postponed, Succeeded


def compute_value(spec: Mapping[str, Any], _: datetime) -> Succeeded:
    """The kind `value`: returns its input and does nothing else (joins, tests, benches)."""
    return Succeeded(output=spec.get("input"))


def compute_wait(spec: Mapping[str, Any], now: datetime) -> Outcome:
    """The kind `wait`: ends after `duration_s`, or at the time `until`. Waiting, it is only a row with that time."""
    until = spec.get("until")
    end = now + timedelta(seconds=spec["duration_s"]) if until is None else datetime.fromisoformat(until)
    after_s = (end - now).total_seconds()
    if after_s > 0:
        return Postponed(spec={"until": end.isoformat()}, after_s=after_s)
    return Succeeded(output={"until": end.isoformat()})


def computed(compute: Compute, spec: Mapping[str, Any], now: datetime, known: Known | None = None) -> Any:
    """The output of a pure task within the commit of its parents, or `LATER` for whatever does not simply end well."""
    try:
        outcome = compute(spec if known is None else resolve(spec, known), now)
    except DomainError:
        return LATER
    return outcome.output if isinstance(outcome, Succeeded) else LATER


PURE: dict[str, Compute] = {"value": compute_value, "wait": compute_wait}
