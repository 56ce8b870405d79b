"""The critic's loop: a draft is judged, sent back with reasons, corrected; at most three times."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cognitionos.agents.application.assignment import Assignment
from cognitionos.agents.application.conversation import judged_by
from cognitionos.agents.application.ports import Files, Observer
from cognitionos.agents.application.session import Session
from cognitionos.agents.application.thinking import Thinking
from cognitionos.agents.domain.agent_run import Step, StepKind
from cognitionos.agents.domain.role import AgentDefinition
from cognitionos.agents.domain.verdict import VERDICT_SCHEMA, Verdict, verdict_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Asks the critic."""

    thinking: Thinking
    files: Files
    observe: Observer

    async def judge(
        self,
        session: Session,
        critic: AgentDefinition,
        *,
        assignment: Assignment,
        system: str,
        draft: str,
        number: int,
    ) -> Verdict:
        """The critic's verdict on draft `number` (from 0). Raises `AgentFailed` when it cannot be understood."""
        files = await self.files.of_agent_run(assignment.tenant_id, session.state.agent_run_id)
        messages = judged_by(system, assignment, draft=draft, files=files, evidence=_evidence(session))
        was_known = len(session.steps)
        answer, _ = await self.thinking.structured(
            session,
            f"{critic.role}/{number}",
            definition=critic,
            messages=messages,
            schema=VERDICT_SCHEMA,
            kind=StepKind.VERDICT,
        )
        verdict = verdict_of(answer)
        if len(session.steps) > was_known:
            self.observe.verdict(accepted=verdict.accepted)
            await session.report("agent.verdict", _told(verdict, number))
        return verdict


def _evidence(session: Session) -> Sequence[Step]:
    """What tools answered, so that the critic need not take the agent's word for it."""
    return [step for step in session.steps.values() if step.kind is StepKind.TOOL]


def _told(verdict: Verdict, number: int) -> dict[str, Any]:
    return {"round": number + 1, "accepted": verdict.accepted, "reasons": list(verdict.reasons)}
