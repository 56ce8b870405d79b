"""Where the use cases meet models, the journal, the run's files, the tools and the metrics."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from cognitionos.agents.domain.agent_run import AgentRunStart, AgentRunState, AgentRunStatus, Place, Step
from cognitionos.agents.domain.prompt import Prompt
from cognitionos.agents.domain.role import AgentDefinition, OwnAgent
from cognitionos.agents.domain.tool import MAX_RESULT_CHARACTERS, MOST_TASK_RESULT, CallOutcome, Effect, ToolSpec
from cognitionos.agents.domain.tool_rule import Spellings, ToolRule, one_way
from cognitionos.agents.domain.workspace import Artifact, FileChanges
from cognitionos.llm_gateway.facade import Caller, ChatRequest, ChatResult, Hear
from cognitionos.platform.database import Write


class Models(Protocol):
    """The gateway, as far as agents need it."""

    async def complete(self, caller: Caller, request: ChatRequest, /) -> ChatResult:
        """See `Gateway.complete`."""
        ...

    async def window(self, tenant_id: UUID, model: str | None, /) -> int | None:
        """See `Gateway.window`."""
        ...

    async def listen(self, caller: Caller, request: ChatRequest, hear: Hear, /) -> ChatResult:
        """See `Gateway.listen`."""
        ...

    async def open_budget(self, tenant_id: UUID, subject: str, limit_nanousd: int, /) -> None:
        """See `Gateway.open_budget`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectStart:
    """A tool call that will touch the outside world, before it does."""

    key: str
    step_key: str
    tool: str
    effect: Effect
    arguments: str


Within = Callable[[Write], Awaitable[None]]
"""Does the writing in a transaction of its own; returns after the commit, raises what the writing raises."""


class Journal(Protocol):
    """The truth about agent runs. Every write raises `LeaseLost` where a newer fencing number is known."""

    async def open(self, start: AgentRunStart) -> AgentRunState:
        """Start the agent run of this task, or take it up: from here on, older fencing numbers are refused."""
        ...

    async def began_with(self, tenant_id: UUID, run_id: UUID, role: str, /) -> int | None:
        """The version of the agent that the run, or the conversation, worked with last; None: none of the tenant's."""
        ...

    async def record(
        self,
        place: Place,
        step: Step,
        *,
        changes: FileChanges,
        effect_key: str | None = None,
        within: Within | None = None,
    ) -> tuple[Artifact, ...]:
        """In one commit: the step, the files it wrote or removed, the end of its effect. Gives what was written.

        `within` is who commits, with what else there is to write; None: the journal itself. Raises `InputIsReadOnly`
        and `WorkspaceLimit`; then nothing is kept.
        """
        ...

    async def begin_effect(self, place: Place, effect: EffectStart) -> bool:
        """Note that the effect is about to happen. False: an earlier attempt noted it and never said how it ended.

        One that ended is noted anew: its journal was set aside by a retry, and the call is made again under its key.
        """
        ...

    async def newest(self, tenant_id: UUID, run_id: UUID, key: str, /) -> Mapping[str, Any] | None:
        """The content of the newest step of this key among all tasks of the run; None: there is none."""
        ...

    async def finish(self, place: Place, status: AgentRunStatus, *, error: str | None = None) -> None:
        """Say how it ended."""
        ...


class Files(Protocol):
    """The files of runs. What agents write goes through `Journal.record`."""

    async def of_run(self, tenant_id: UUID, run_id: UUID) -> list[Artifact]:
        """All of a run's, by name."""
        ...

    async def of_agent_run(self, tenant_id: UUID, agent_run_id: UUID) -> list[Artifact]:
        """Those this agent run wrote last, by name."""
        ...

    async def read(self, tenant_id: UUID, run_id: UUID, name: str) -> tuple[Artifact, bytes]:
        """One with its content. Raises `FileNotFound`."""
        ...

    async def put_input(self, tenant_id: UUID, run_id: UUID, *, name: str, media_type: str, content: bytes) -> Artifact:
        """Store an input of the goal; one of the same name is replaced. Raises `BadFileName`, `WorkspaceLimit`."""
        ...


MustWait = Callable[[Mapping[str, Any]], bool]


def _never(_arguments: Mapping[str, Any]) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """On whose behalf a tool works. `idempotency_key` is the same for every attempt of the same call.

    `caller` pays for what models do for the tool.

    `must_wait` says of what a call leads to, as arguments, whether a person would have to approve it by itself.
    `task_s`: the seconds of a task that is this call, without a model: what is short for a model's sake is not for it.
    """

    tenant_id: UUID
    project_id: UUID
    goal_id: UUID | None
    run_id: UUID
    task_id: UUID
    user: str | None
    idempotency_key: str
    caller: Caller
    must_wait: MustWait = _never
    task_s: float | None = None

    @property
    def longest(self) -> int:
        """How many characters of an answer are of use."""
        return MAX_RESULT_CHARACTERS if self.task_s is None else MOST_TASK_RESULT


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswer:
    """What a tool gives: JSON for the model, and what it did to the run's files. `is_error`: it did not work."""

    content: Mapping[str, Any]
    changes: FileChanges = field(default_factory=FileChanges)
    is_error: bool = False


RunTool = Callable[[ToolContext, Mapping[str, Any]], Awaitable[ToolAnswer]]
"""Do a call whose arguments fit the schema. A `DomainError` is told to the model."""


def _nothing_wrong() -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that can be run. `why_not` says why it cannot be had on this machine, None: it can.

    `effect_of` tells the effect of particular arguments where it is less than the tool's worst; `spellings`, in which
    ways an argument may be written, so that no rule is evaded by another one. `timeout_s` is for agents' calls.
    `task_properties`: further arguments, that a task may say and no model.
    """

    spec: ToolSpec
    run: RunTool
    timeout_s: float = 60.0
    why_not: Callable[[], str | None] = _nothing_wrong
    effect_of: Callable[[Mapping[str, Any]], Effect] | None = None
    spellings: Spellings = one_way
    task_properties: Mapping[str, Any] = field(default_factory=dict)

    def effect(self, arguments: Mapping[str, Any]) -> Effect:
        """What this call may do to the outside world."""
        return self.effect_of(arguments) if self.effect_of is not None else self.spec.effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """What a tenant adds: tools of its own servers and databases, and its rules, by name."""

    tools: Mapping[str, Tool] = field(default_factory=dict)
    rules: Mapping[str, ToolRule] = field(default_factory=dict)
    is_strict: bool = True


KitOf = Callable[[UUID], Awaitable[Kit]]
"""The kit of a tenant as it is now."""


async def no_kit(_tenant_id: UUID) -> Kit:
    """Nothing added, and every tool as open as its agent has it."""
    return Kit(is_strict=False)


class Roster(Protocol):
    """The agents and prompts of a tenant: those that ship with the product, and its own."""

    async def agent(self, tenant_id: UUID, role: str, *, version: int | None = None) -> AgentDefinition:
        """The agent as it is now, or in a version that a run began with. Raises `AgentNotFound`."""
        ...

    async def own(self, tenant_id: UUID) -> Sequence[OwnAgent]:
        """The agents that the tenant wrote, in the versions that count now, by name."""
        ...

    async def prompt(self, tenant_id: UUID, name: str) -> Prompt:
        """The prompt `role@version`. Raises `PromptNotFound`."""
        ...


class Observer(Protocol):
    """Counts what happened, for the metrics."""

    def step(self, step: Step) -> None:
        """A step was journaled."""
        ...

    def tool_call(self, tool: str, outcome: CallOutcome, seconds: float) -> None:
        """A tool call ended."""
        ...

    def verdict(self, *, accepted: bool) -> None:
        """A critic judged."""
        ...

    def resumed(self, steps: int) -> None:
        """An agent run was taken up with this many steps in its journal."""
        ...
