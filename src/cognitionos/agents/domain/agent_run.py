"""An agent run: one performance of a task by an agent and its critic, as a journal of finished steps.

Every step has a key that says where in the performance it stands (`executor/0/2` is the third answer of the first
draft, `executor/0/2.1` the second tool call it asked for). The same place has the same key in every attempt: what is
journaled under it is replayed, never repeated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import UUID

from cognitionos.kernel.errors import Conflict, DomainError, Unavailable


class AgentFailed(DomainError):
    """The agent ended without a result, for good: rejected three times, out of its limits, or not understood."""


class ToolFailed(AgentFailed):
    """The call that a task is came to no result, for good: refused, wrong, or of an unknown end."""


class ToolUnavailable(Unavailable):
    """The tool of the call that a task is does not answer now; to call it again does no harm."""


class LeaseLost(Conflict):
    """Another worker holds this task now: what this one has to say comes too late."""


class AgentRunStatus(StrEnum):
    """`running` also says: may be taken up again."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class StepKind(StrEnum):
    """A model's answer, a tool's answer, a critic's judgement, what was settled (a hand-off, a consensus)."""

    MODEL = "model"
    TOOL = "tool"
    VERDICT = "verdict"
    DECISION = "decision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One finished step. `content` is JSON: what was said or done, enough to replay it."""

    key: str
    role: str
    kind: StepKind
    content: Mapping[str, Any]
    started_at: datetime
    ended_at: datetime
    model: str = ""
    simulated: bool = False
    cost_nanousd: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over steps."""

    steps: int = 0
    tool_calls: int = 0
    cost_nanousd: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which agent run a worker writes to, and by which right: an older fencing number is refused.

    `task_id`: whose its files are; None where nobody goes back to what they were before, as in a conversation.
    """

    tenant_id: UUID
    run_id: UUID
    agent_run_id: UUID
    task_id: UUID | None
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRunStart:
    """What an agent run begins with. On a second start only `fence` counts: the rest is as it was stored.

    `opening` are the first messages, `prompts` the prompt version of each role (`executor@1`), `definitions` the
    version of each agent that a tenant wrote.
    """

    agent_run_id: UUID
    tenant_id: UUID
    run_id: UUID
    task_id: UUID
    task_key: str
    fence: int
    role: str
    prompts: Mapping[str, str]
    opening: tuple[Mapping[str, Any], ...]
    started_at: datetime
    definitions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRunState:
    """An agent run as its journal has it. `ahead`: steps that a replay finds done when it comes to them.

    `anew`: an earlier journal of its task was set aside.
    """

    agent_run_id: UUID
    prompts: Mapping[str, str]
    opening: tuple[Mapping[str, Any], ...]
    steps: Mapping[str, Step] = field(default_factory=dict)
    ahead: Mapping[str, Step] = field(default_factory=dict)
    definitions: Mapping[str, int] = field(default_factory=dict)
    anew: bool = False


def totals_of(steps: Mapping[str, Step], *, role: str | None = None) -> Totals:
    """The sums over `steps`, or over those of one role and what was summed up for it."""
    counted = [step for step in steps.values() if role in (None, step.role, step.content.get("for"))]
    return Totals(
        steps=len(counted),
        tool_calls=sum(1 for step in counted if step.kind is StepKind.TOOL),
        cost_nanousd=sum(step.cost_nanousd for step in counted),
        prompt_tokens=sum(step.prompt_tokens for step in counted),
        completion_tokens=sum(step.completion_tokens for step in counted),
    )


def idempotency_key(run_id: UUID, task_id: UUID, step_key: str, *, arguments: str = "") -> str:
    """The same for every attempt of the same call, different for any other."""
    return sha256(f"{run_id}/{task_id}/{step_key}/{arguments}".encode()).hexdigest()[:40]
