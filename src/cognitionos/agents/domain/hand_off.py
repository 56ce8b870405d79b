"""Giving a task to another agent: the tool for it, and what the other one is told."""

from collections.abc import Mapping, Sequence
from typing import Any

from cognitionos.agents.domain.context_window import Message, digest
from cognitionos.agents.domain.tool import ToolSpec, clipped

HAND_OFF = "hand_off"
MOST_HAND_OFFS = 3
_MOST_REASON = 4_000


def hand_off_spec(agents: Sequence[str]) -> ToolSpec:
    """The tool as a model that may hand off to `agents` is told of it."""
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {
            "agent": {"type": "string", "enum": list(agents)},
            "reason": {"type": "string", "minLength": 1, "description": "why, and what it has to know"},
        },
        "required": ["agent", "reason"],
        "additionalProperties": False,
    }
    return ToolSpec(
        name=HAND_OFF,
        description="Give your whole task to another agent, which ends it in your place. You are done then.",
        parameters=parameters,
    )


def taken_over(
    system: Message, opening: Sequence[Message], rest: Sequence[Message], *, giver: str, reason: str
) -> list[Message]:
    """The first messages of the agent that takes over: its prompt, the task, why it has it, what was done so far."""
    done = [line for message in rest if (line := digest(message))]
    parts = [f"## Handed over by {giver}", clipped(reason, _MOST_REASON)]
    if done:
        parts += [f"## What {giver} did so far, shortened", *(f"- {line}" for line in done)]
    *before, last = opening[1:]
    return [system, *before, {**last, "content": f"{last['content']}\n\n" + "\n".join(parts)}]
