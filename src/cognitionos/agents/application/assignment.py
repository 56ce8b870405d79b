"""What is asked of agents, and what they give back."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cognitionos.agents.domain.approval import ToolDecision
from cognitionos.agents.domain.consensus import DEADLINE_S
from cognitionos.agents.domain.conversation import Exchange
from cognitionos.agents.domain.grounding import Check, told
from cognitionos.agents.domain.workspace import Artifact
from cognitionos.platform.database import Write

Report = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Tell whoever watches the run: (kind such as `agent.tool_called`, JSON data)."""

HearWords = Callable[[str, str, str], None]
"""Take the next words of an answer that is on its way: (role, key of the step, words)."""


Together = Callable[[str, dict[str, Any], Write], Awaitable[None]]
"""Tell the same in one commit with what is written; raises what the writing raises."""


async def unheard(_kind: str, _data: dict[str, Any]) -> None:
    """A `Report` to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which task is worked on, for whom, and by which right. The same (run_id, task_id) continues from its journal.

    `workflow` names the declared workflow of the run; a `critical` run goes on where a budget halts others. `above` are
    the subjects of budgets (`run:ID`, `workflow:NAME`) of the runs that started it.
    `together`: a step and the event that tells of it share a commit; None: whoever watches has none to share.
    `approvals` are the decisions about this task's tool calls so far, by `ToolApproval.key`. With `hear` the answers of
    its agents are asked for as streams. `anew`: no answer that another call has had, or is about to have, will do.
    """

    tenant_id: UUID
    project_id: UUID
    api_key_id: UUID | None
    user: str | None
    goal_id: UUID | None
    run_id: UUID
    task_id: UUID
    task_key: str
    fence: int
    role: str
    deadline_s: float
    report: Report = unheard
    hear: HearWords | None = None
    together: Together | None = None
    workflow: str | None = None
    critical: bool = False
    above: tuple[str, ...] = ()
    approvals: Mapping[str, ToolDecision] = field(default_factory=dict)
    anew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment(Identity):
    """One task for an agent. `inputs` are the outputs of upstream tasks by key, `review` lets `critics` judge.

    `version` is the agent's that it was given to; None: the one that counts now.
    Of several critics two thirds must accept; those silent after `consensus_s` do not count as accepting.
    """

    goal: str
    instructions: str
    expected_output: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    memories: tuple[str, ...] = ()
    review: bool = False
    version: int | None = None
    critics: tuple[str, ...] = ("critic",)
    consensus_s: float = DEADLINE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Identity):
    """One structured answer, such as a plan. `variables` are shown by name, in order.

    `previous` are earlier (answer, objection) pairs: with them the question is a repair round.
    """

    variables: Mapping[str, str]
    schema: Mapping[str, Any]
    previous: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat(Identity):
    """One turn of a conversation: `run_id` is the conversation, `task_id` the turn."""

    exchange: Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A task done. `artifacts` are the files that this task wrote; figures are sums over the whole journal.

    `check`: its claims, where its agent's were to be looked up.
    """

    text: str
    artifacts: tuple[Artifact, ...]
    model: str
    simulated: bool
    prompt_versions: Mapping[str, str]
    cost_nanousd: int
    prompt_tokens: int
    completion_tokens: int
    steps: int
    rounds: int
    check: Check | None = None

    @property
    def figures(self) -> dict[str, Any]:
        """What is told of it wherever it is kept: model, prompts, cost in nano-dollars, tokens, steps."""
        return {
            "model": self.model,
            "simulated": self.simulated,
            "prompt_versions": dict(self.prompt_versions),
            "cost_nanousd": self.cost_nanousd,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "steps": self.steps,
            **({} if self.check is None else {"grounding": told(self.check)}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A structured answer: `value` is parsed JSON that nobody has checked against the schema.

    `fault` says what is wrong with one that is no JSON; its `value` is None.
    """

    value: Any
    text: str
    model: str
    simulated: bool
    prompt_version: str
    cost_nanousd: int
    prompt_tokens: int
    completion_tokens: int
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectCall(Identity):
    """One tool call that a task is, without a model in between. `role` says whose tools and rules hold."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectResult:
    """What the tool gave, as JSON, and the files it wrote."""

    content: Any
    files: tuple[str, ...]
