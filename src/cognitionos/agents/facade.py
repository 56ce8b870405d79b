"""What other contexts may know of agents: give one a task, ask one a question, put and read a run's files."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cognitionos.agents.application.assignment import (
    Answer,
    Assignment,
    DirectCall,
    DirectResult,
    Outcome,
    Question,
    Report,
)
from cognitionos.agents.application.definitions import CRITIC
from cognitionos.agents.application.histories import Histories
from cognitionos.agents.application.known_names import KnownNames, Strangers
from cognitionos.agents.application.ports import Files
from cognitionos.agents.application.replay import AgentReplay, Diverged
from cognitionos.agents.application.runs import AgentRuns
from cognitionos.agents.domain.agent_run import AgentFailed, LeaseLost, ToolFailed, ToolUnavailable
from cognitionos.agents.domain.approval import NeedsApproval, ToolApproval, ToolDecision
from cognitionos.agents.domain.consensus import DEADLINE_S as CONSENSUS_S
from cognitionos.agents.domain.notes import as_notes
from cognitionos.agents.domain.role import AgentNotFound, OwnAgent
from cognitionos.agents.domain.workspace import Artifact, BadFileName, EarlierFileGone, FileNotFound, WorkspaceLimit

__all__ = [
    "CONSENSUS_S",
    "CRITIC",
    "AgentFailed",
    "AgentNotFound",
    "AgentReplay",
    "Agents",
    "Answer",
    "Artifact",
    "Assignment",
    "BadFileName",
    "DirectCall",
    "DirectResult",
    "Diverged",
    "EarlierFileGone",
    "FileNotFound",
    "LeaseLost",
    "NeedsApproval",
    "Outcome",
    "OwnAgent",
    "Question",
    "Report",
    "Strangers",
    "ToolApproval",
    "ToolDecision",
    "ToolFailed",
    "ToolUnavailable",
    "WorkspaceLimit",
    "as_notes",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """Agents and the files they work on."""

    runs: AgentRuns
    workspace: Files
    histories: Histories
    names: KnownNames

    async def perform(self, assignment: Assignment) -> Outcome:
        """Do a task; the same (run_id, task_id) goes on where its journal ends, in any process.

        Raises `AgentFailed` and `BudgetExhausted` (final), `ProviderUnavailable` (try again), `LeaseLost`, and
        `NeedsApproval`: to be performed again when a person has decided.
        """
        return await self.runs.perform(assignment)

    async def ask(self, question: Question) -> Answer:
        """One structured answer, journaled under (run_id, task_id, number of objections). Raises as `perform`.

        The model is asked once: an answer that is no JSON is given with its `fault`, for the next objection.
        """
        return await self.runs.ask(question)

    async def call_tool(self, call: DirectCall) -> DirectResult:
        """Call a tool without a model; the same (run_id, task_id) gives what its journal holds.

        Raises `ToolFailed` (final), `ToolUnavailable` (may be called again), `LeaseLost`, `NeedsApproval`.
        """
        return await self.runs.call_tool(call)

    async def own(self, tenant_id: UUID) -> Sequence[OwnAgent]:
        """The agents that the tenant wrote, in the versions that count now: what a planner may choose from."""
        return await self.runs.roster.own(tenant_id)

    async def strangers(self, tenant_id: UUID, *, agents: Collection[str], tools: Collection[str]) -> Strangers:
        """Those of the names that no agent and no tool of the tenant has; what cannot be known now is not there."""
        return await self.names.strangers(tenant_id, agents=agents, tools=tools)

    async def set_aside(self, tenant_id: UUID, run_id: UUID, tasks: Sequence[tuple[UUID, int]]) -> None:
        """Let these tasks begin anew, with the files as they stood before them; see `Histories.set_aside`."""
        await self.histories.set_aside(tenant_id, run_id, tasks)

    async def recorded(self, tenant_id: UUID, run_id: UUID) -> list[dict[str, Any]]:
        """The run's journals as JSON: what `replay` takes."""
        return await self.histories.recorded(tenant_id, run_id)

    def replay(self, recorded: Sequence[Mapping[str, Any]]) -> AgentReplay:
        """These agents again, from their journals: `perform` and `ask` raise `Diverged` at the first difference."""
        return AgentReplay.of(self.runs, recorded)

    async def copy_files(self, tenant_id: UUID, run_id: UUID, *, to_run: UUID, tasks: Mapping[UUID, UUID]) -> None:
        """Give another run this one's inputs, and what these tasks wrote as they left it; `tasks`: who they are there.

        Raises `EarlierFileGone`, as `set_aside`.
        """
        await self.histories.copy_files(tenant_id, run_id, to_run=to_run, tasks=tasks)

    async def put_file(self, tenant_id: UUID, run_id: UUID, *, name: str, media_type: str, content: bytes) -> Artifact:
        """Store an input of the run; one of the same name is replaced. Raises `BadFileName`, `WorkspaceLimit`."""
        return await self.workspace.put_input(tenant_id, run_id, name=name, media_type=media_type, content=content)

    async def files(self, tenant_id: UUID, run_id: UUID) -> list[Artifact]:
        """Inputs and outputs of the run, by name."""
        return await self.workspace.of_run(tenant_id, run_id)

    async def read_file(self, tenant_id: UUID, run_id: UUID, name: str) -> tuple[Artifact, bytes]:
        """One file with its content. Raises `FileNotFound`."""
        return await self.workspace.read(tenant_id, run_id, name)
