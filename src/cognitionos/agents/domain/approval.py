"""A tool call that waits for a person: what is asked, and what was decided. Whoever runs tasks carries both."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Default = Literal["approve", "reject", "fail"]
"""What counts when nobody decides in time; `fail` ends the task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolApproval:
    """One call, and nothing but this call: `key` binds the place in the journal, the tool and the exact arguments, and
    what a stranger's tool was said to be (`offer`).
    """

    step_key: str
    tool: str
    arguments: Mapping[str, Any]
    reason: str
    deadline_s: float = 86_400.0
    default: Default = "reject"
    offer: str = ""

    @property
    def key(self) -> str:
        """See `approval_key`."""
        return approval_key(self.step_key, self.tool, self.arguments, offer=self.offer)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDecision:
    """What somebody decided about one call; `by` is None where the deadline decided."""

    approved: bool
    by: str | None = None
    comment: str | None = None


class NeedsApproval(Exception):
    """The agent cannot go on before a person decides. Nothing of it is held meanwhile: its journal is where it is.

    Performed again with `approvals` by key, it does the approved calls and tells the model of the rejected ones.
    """

    def __init__(self, requests: Sequence[ToolApproval]) -> None:
        super().__init__(f"{len(requests)} tool calls wait for a person")
        self.requests = tuple(requests)


def approval_key(step_key: str, tool: str, arguments: Mapping[str, Any], *, offer: str = "") -> str:
    """The same for the same call in every attempt, and for no other call (SHA-256 of the canonical JSON)."""
    text = json.dumps([step_key, tool, arguments, *([offer] if offer else [])], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
