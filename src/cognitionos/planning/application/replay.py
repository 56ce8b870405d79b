"""Replay: a finished run done again from what was recorded, with no call to a model or a tool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from cognitionos.agents.facade import AgentReplay
from cognitionos.kernel.errors import Conflict, Invalid
from cognitionos.planning.application.ports import Compute
from cognitionos.planning.application.replaying import Again
from cognitionos.planning.domain.replay_report import ReplayReport

FORMAT = 1
"""Of recordings. A later product must still replay what an earlier one exported, or say that it cannot."""


class RunNotOver(Conflict):
    """Only a run that has ended can be replayed."""


class UnknownRecording(Invalid):
    """The recording is of a format that this version does not know."""


class ReplayAgents(Protocol):
    """Makes agents that answer from journals: `Agents.replay`."""

    def __call__(self, recorded: Sequence[Mapping[str, Any]], /) -> AgentReplay: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Does recordings again."""

    agents: ReplayAgents
    pure: Mapping[str, Compute]

    async def run(self, recording: Mapping[str, Any], *, tenant_id: UUID) -> ReplayReport:
        """Every task in order, up to the first divergence, by the agents of `tenant_id`. Raises `UnknownRecording`."""
        if recording.get("format") != FORMAT:
            raise UnknownRecording(f"The recording has format {recording.get('format')!r}; {FORMAT} can be replayed.")
        tasks = recording["tasks"]
        report = ReplayReport(run_id=UUID(recording["run"]["id"]), tasks=len(tasks))
        agents = self.agents(recording["journals"])
        again = Again(recording=recording, tenant_id=tenant_id, agents=agents, pure=self.pure, report=report)
        for task in tasks:
            report.divergence = await again.task(task)
            if report.divergence is not None:
                break
        return report
