"""What an agent may do, as the model is told of it and as the rules need it."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cognitionos.kernel.errors import Unavailable

MAX_ARGUMENT_CHARACTERS = 256 * 1024
MAX_RESULT_CHARACTERS = 12_000
MOST_TASK_RESULT = 8 * 2**20
"""Characters, as JSON, of what a call gives that is a task by itself: what another task may take in."""
_LONGEST_NAME = 64
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_-]")


class Effect(StrEnum):
    """What a call does to the world outside the run, and so what may happen to one that was in flight at a crash.

    `none`: repeated. `idempotent`: repeated with the same key. `unsafe`: not repeated, reported as interrupted.
    """

    NONE = "none"
    IDEMPOTENT = "idempotent"
    UNSAFE = "unsafe"


class ToolNotReached(Unavailable):
    """Nothing was sent to the tool: whatever its effect is, it did not happen."""


class CallOutcome(StrEnum):
    """How a tool call ended. All but `ok` are told to the model, which may try something else."""

    OK = "ok"
    ERROR = "error"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"


class Access(StrEnum):
    """What a tenant's agents may do with a tool of which the tenant says nothing.

    `open`: call it. `closed`: nothing.
    """

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool's name, what it is for, the JSON schema of its arguments, and its effect (the worst it may have).

    `ruled_as`: the name that rules go by, where several tools share one. `offer` stands for what a stranger said of the
    tool: an approval is for the tool as it was offered then.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    effect: Effect = Effect.NONE
    access: Access = Access.OPEN
    ruled_as: str = ""
    offer: str = ""

    @property
    def wire_name(self) -> str:
        """Its name as models are told it: letters, digits, `_` and `-`, at most 64 of them (OpenAI, Anthropic)."""
        plain = _NOT_PLAIN.sub("_", self.name.replace(".", "__"))
        if len(plain) <= _LONGEST_NAME:
            return plain
        return f"{plain[: _LONGEST_NAME - 9]}_{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"

    @property
    def rule_name(self) -> str:
        """The name that rules go by."""
        return self.ruled_as or self.name


def clipped(text: str, limit: int) -> str:
    """`text`, or its beginning and its end with a note of how much is left out between them."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    return f"{text[:head]}\n[... {len(text) - head - tail} characters left out ...]\n{text[-tail:] if tail else ''}"
