"""The kinds that take no slot: they have no effect, and what they wait for is a row."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from cognitionos.kernel.errors import DomainError, Invalid
from cognitionos.planning.application.fanning import compute_condition, compute_map
from cognitionos.planning.application.ports import Compute
from cognitionos.planning.domain.approval import DEADLINE_S, ApprovalExpired, ApprovalRejected, Ask
from cognitionos.planning.domain.intake import Intake
from cognitionos.planning.domain.progress import LATER, Waiting
from cognitionos.planning.domain.reference import STATE, Known, resolved
from cognitionos.planning.domain.task import Outcome, Postponed, Succeeded

FOREVER_S = 366 * 86_400.0
"""How long a task waits for what has no time of its own; then it looks by itself."""


class SignalTimedOut(Invalid):
    """The signal that a task waited for did not come in time."""


def compute_value(spec: Mapping[str, Any], _: datetime) -> Succeeded:
    """The kind `value`: returns its input and does nothing else (joins, tests, benches)."""
    return Succeeded(output=spec.get("input"))


def compute_wait(spec: Mapping[str, Any], now: datetime) -> Outcome:
    """The kind `wait`: for `duration_s`, until a time, or for a signal. Waiting, it is only a row with a time."""
    if "signal" in spec:
        return _wait_for_signal(spec, now)
    end = _end(spec, now)
    after_s = (end - now).total_seconds()
    if after_s > 0:
        return Postponed(state={"until": end.isoformat()}, after_s=after_s)
    return Succeeded(output={"until": end.isoformat()})


def compute_approval(spec: Mapping[str, Any], now: datetime) -> Outcome:
    """The kind `approval`: ends with what a person decided, or with its default when nobody did in time."""
    state = spec.get(STATE, {})
    if "decision" in state:
        decided = {name: state.get(name) for name in ("decision", "by", "comment", "at")}
        return _decided(spec, decided)
    deadline_s = float(spec.get("deadline_s") or DEADLINE_S)
    until = datetime.fromisoformat(state["until"]) if "until" in state else now + timedelta(seconds=deadline_s)
    left_s = (until - now).total_seconds()
    if left_s > 0:
        state = {"asked": True, "until": until.isoformat()}
        return Postponed(state=state, after_s=left_s, asks=(_ask(spec, left_s),))
    default = spec.get("default") or "fail"
    if default == "fail":
        raise ApprovalExpired(f"Nobody decided in time: {spec['prompt'][:200]}")
    decision = "approved" if default == "approve" else "rejected"
    return _decided(spec, {"decision": decision, "by": None, "comment": None, "at": now.isoformat()}, is_expired=True)


def computed(
    compute: Compute, node: Waiting, now: datetime, known: Known | None = None, intake: Intake | None = None
) -> Succeeded | object:
    """The end of a pure task within the commit of its parents, or `LATER` for whatever does not simply end well.

    `intake` counts what its references bring in.
    """
    try:
        spec = node.spec
        if known is not None:
            spec = resolved(node.key, node.kind, spec, known, Intake() if intake is None else intake)
        outcome = compute(spec, now)
    except DomainError:
        return LATER
    return outcome if isinstance(outcome, Succeeded) else LATER


def _end(spec: Mapping[str, Any], now: datetime) -> datetime:
    """When a wait ends: said before, said as a time, or so many seconds from now."""
    until = spec.get(STATE, {}).get("until") or spec.get("until")
    if until is None:
        return now + timedelta(seconds=spec["duration_s"])
    return datetime.fromisoformat(until)


def _wait_for_signal(spec: Mapping[str, Any], now: datetime) -> Outcome:
    state = spec.get(STATE, {})
    if "payload" in state:
        return Succeeded(output=state["payload"], details={"signal": spec["signal"]})
    timeout_s = spec.get("timeout_s")
    until = state.get("until") or (timeout_s is not None and (now + timedelta(seconds=timeout_s)).isoformat()) or None
    left_s = FOREVER_S if until is None else (datetime.fromisoformat(until) - now).total_seconds()
    if left_s > 0:
        return Postponed(state={"signal": spec["signal"], "until": until}, after_s=left_s)
    if "default" in spec:
        return Succeeded(output=spec["default"], details={"signal": spec["signal"], "timed_out": True})
    raise SignalTimedOut(f"The signal '{spec['signal']}' did not come within {timeout_s:g} s.")


def _ask(spec: Mapping[str, Any], deadline_s: float) -> Ask:
    return Ask(
        key="approval",
        prompt=spec["prompt"],
        details=spec.get("details"),
        deadline_s=deadline_s,
        default=spec.get("default") or "fail",
        approvers=tuple(spec.get("approvers") or ()),
    )


def _decided(spec: Mapping[str, Any], decided: dict[str, Any], *, is_expired: bool = False) -> Succeeded:
    """The decision as the output. Raises `ApprovalRejected` unless the task goes on after a no."""
    if decided["decision"] == "rejected" and (spec.get("on_reject") or "fail") == "fail":
        who, why = decided["by"] or "the deadline", decided["comment"]
        raise ApprovalRejected(f"Rejected by {who}" + (f": {why}" if why else "."))
    details = {"decision": decided["decision"], "by": decided["by"], "expired": is_expired}
    return Succeeded(output=decided, details=details)


PURE: dict[str, Compute] = {
    "value": compute_value,
    "wait": compute_wait,
    "condition": compute_condition,
    "approval": compute_approval,
    "map": compute_map,
}
