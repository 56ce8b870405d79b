"""What those who watch are told of a journaled step: the same when it happens and when it is read again."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from cognitionos.agents.domain.agent_run import Step, StepKind
from cognitionos.agents.domain.tool import clipped

_LONGEST_ANSWER = 300
_LONGEST_CALL = 200


class Told(NamedTuple):
    """Something that happened, as JSON data."""

    kind: str
    data: Mapping[str, Any]


def event_of(step: Step) -> Told | None:
    """None where nobody is told of the step by itself."""
    if step.kind is StepKind.TOOL:
        return Told(kind="agent.tool_called", data=_called(step))
    if step.kind is StepKind.DECISION and "from" in step.content:
        return Told(kind="agent.handed_off", data=_handed_off(step))
    if step.kind is StepKind.DECISION and "unsupported" in step.content:
        return Told(kind="agent.checked", data=_checked(step))
    return Told(kind="agent.answered", data=_answered(step)) if "tool_calls" in step.content else None


def _answered(step: Step) -> dict[str, Any]:
    calls = [call["function"]["name"] for call in step.content["tool_calls"]]
    return {
        "role": step.role,
        "step": step.key,
        "model": step.model,
        "simulated": step.simulated,
        "tokens": step.prompt_tokens + step.completion_tokens,
        "cost_nanousd": step.cost_nanousd,
        "calls": calls,
        "text": clipped(step.content["text"], _LONGEST_ANSWER),
    }


def _called(step: Step) -> dict[str, Any]:
    return {
        "role": step.role,
        "step": step.key,
        "tool": step.content["tool"],
        "outcome": step.content["outcome"],
        "seconds": round((step.ended_at - step.started_at).total_seconds(), 3),
        "arguments": clipped(step.content["arguments"], _LONGEST_CALL),
        "result": clipped(step.content["result"], _LONGEST_CALL),
        "files": step.content["files"],
    }


def _checked(step: Step) -> dict[str, Any]:
    return {name: step.content[name] for name in ("draft", "checked", "unsupported")}


def _handed_off(step: Step) -> dict[str, Any]:
    depth = int(step.key.rpartition("/")[2])
    return {"from": step.content["from"], "to": step.role, "reason": step.content["text"], "depth": depth}
