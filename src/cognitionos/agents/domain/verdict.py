"""A critic's judgement: accept, or send back with reasons. After three times there is no fourth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_ROUNDS = 3

VERDICT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "accepted": {"type": "boolean", "description": "true if the result may be used as it is"},
        "reasons": {
            "type": "array",
            "items": {"type": "string"},
            "description": "what must change; empty if accepted",
        },
    },
    "required": ["accepted", "reasons"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Accepted, or what must change."""

    accepted: bool
    reasons: tuple[str, ...]


def verdict_of(answer: Mapping[str, Any]) -> Verdict:
    """The verdict in an answer that fits `VERDICT_SCHEMA`. A rejection without a reason still is one."""
    reasons = tuple(reason.strip() for reason in answer["reasons"] if reason.strip())
    if not answer["accepted"] and not reasons:
        reasons = ("The critic gave no reason; check the result against the task.",)
    return Verdict(accepted=answer["accepted"], reasons=() if answer["accepted"] else reasons)


def send_back(verdict: Verdict) -> str:
    """What the agent is told when its result comes back."""
    reasons = "\n".join(f"- {reason}" for reason in verdict.reasons)
    return f"A critic sent your result back:\n{reasons}\nCorrect it and give the whole result again."
