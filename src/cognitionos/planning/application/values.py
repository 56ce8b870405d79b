"""The kinds that take no slot: they have no effect, and wait for nobody."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cognitionos.kernel.errors import DomainError
from cognitionos.planning.application.ports import Compute
from cognitionos.planning.domain.progress import LATER
from cognitionos.planning.domain.reference import Known, resolve
from cognitionos.planning.domain.task import Succeeded


def compute_value(spec: Mapping[str, Any], _: datetime) -> Succeeded:
    """The kind `value`: returns its input and does nothing else (joins, tests, benches)."""
    return Succeeded(output=spec.get("input"))


def computed(compute: Compute, spec: Mapping[str, Any], now: datetime, known: Known | None = None) -> Any:
    """The output of a pure task within the commit of its parents, or `LATER` for whatever does not simply end well."""
    try:
        outcome = compute(spec if known is None else resolve(spec, known), now)
    except DomainError:
        return LATER
    return outcome.output if isinstance(outcome, Succeeded) else LATER


PURE: dict[str, Compute] = {"value": compute_value}
