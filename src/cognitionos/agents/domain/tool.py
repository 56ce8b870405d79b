"""What an agent may do, as the model is told of it and as the rules need it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MAX_ARGUMENT_CHARACTERS = 256 * 1024
MAX_RESULT_CHARACTERS = 12_000


class Effect(StrEnum):
    """What a call does to the world outside the run, and so what may happen to one that was in flight at a crash.

    `none`: repeated. `idempotent`: repeated with the same key. `unsafe`: not repeated, reported as interrupted.
    """

    NONE = "none"
    IDEMPOTENT = "idempotent"
    UNSAFE = "unsafe"


class CallOutcome(StrEnum):
    """How a tool call ended. All but `ok` are told to the model, which may try something else."""

    OK = "ok"
    ERROR = "error"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool's name, what it is for, the JSON schema of its arguments, and its effect (the worst it may have)."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    effect: Effect = Effect.NONE


def clipped(text: str, limit: int) -> str:
    """`text`, or its beginning and its end with a note of how much is left out between them."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    return f"{text[:head]}\n[... {len(text) - head - tail} characters left out ...]\n{text[-tail:] if tail else ''}"
