"""Critics judge a draft: sent back with reasons it is corrected, at most three times. Several agree by two thirds."""

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cognitionos.agents.application.assignment import Assignment
from cognitionos.agents.application.conversation import judged_by
from cognitionos.agents.application.grounding import Draft, as_lines
from cognitionos.agents.application.ports import Files, Observer, Roster
from cognitionos.agents.application.session import Session
from cognitionos.agents.application.thinking import Thinking
from cognitionos.agents.domain.agent_run import AgentFailed, Step, StepKind
from cognitionos.agents.domain.consensus import GRACE_S, Consensus, stance
from cognitionos.agents.domain.role import AgentDefinition
from cognitionos.agents.domain.verdict import VERDICT_SCHEMA, Verdict, verdict_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Asks the critics."""

    thinking: Thinking
    files: Files
    observe: Observer
    roster: Roster

    async def judge(self, session: Session, *, assignment: Assignment, draft: Draft) -> Verdict:
        """The verdict on a draft. Raises `AgentFailed` when there is none: a single critic that cannot
        be understood, several of whom too few answered in time.
        """
        critics = [session.agent(name) for name in assignment.critics]
        if len(critics) == 1:
            place, was_known = f"{critics[0].role}/{draft.number}", len(session.steps)
            verdict = await self._vote(session, critics[0], place, assignment=assignment, draft=draft)
            if len(session.steps) > was_known:
                await self._tell(session, verdict, draft.number)
            return verdict
        return await self._agree(session, critics, assignment=assignment, draft=draft)

    async def _agree(
        self, session: Session, critics: Sequence[AgentDefinition], *, assignment: Assignment, draft: Draft
    ) -> Verdict:
        """What they agree on is journaled: a late vote changes nothing, in a replay neither."""
        key = f"consensus/{draft.number}"
        done = session.done(key)
        if done is None:
            consensus = await self._votes(session, critics, assignment=assignment, draft=draft)
            done = _settled(key, consensus, at=self.thinking.now())
            verdict = consensus.verdict()
            told = {**_told(verdict, draft.number), "critics": len(critics), "votes": len(consensus.votes)}
            await session.record(done, told=("agent.verdict", told))
            self.observe.verdict(accepted=verdict.accepted)
        consensus = _consensus(done)
        if consensus.is_open:
            raise AgentFailed(
                f"No two thirds of the {consensus.critics} critics of task '{assignment.task_key}' agreed: "
                f"{len(consensus.votes)} gave a verdict that can be read (they had {assignment.consensus_s:g} s).",
                fields={"limit": "consensus deadline"},
            )
        return consensus.verdict()

    async def _votes(
        self, session: Session, critics: Sequence[AgentDefinition], *, assignment: Assignment, draft: Draft
    ) -> Consensus:
        """Every vote that comes before the deadline or before it is decided; a critic not understood has none."""
        for critic in critics:
            await self.thinking.room(session, critic)  # journaled once, before they vote side by side
        running = [
            asyncio.create_task(
                self._vote(
                    session,
                    critic,
                    f"{critic.role}/{draft.number}.{each}",
                    assignment=assignment,
                    draft=draft,
                    apart=stance(each, len(critics)),
                )
            )
            for each, critic in enumerate(critics)
        ]
        try:
            await _decided(running, timeout_s=assignment.consensus_s)
        finally:
            for task in running:
                task.cancel()
            ended = await asyncio.gather(*running, return_exceptions=True)
        for end in ended:
            if isinstance(end, BaseException) and not isinstance(end, AgentFailed | asyncio.CancelledError):
                raise end
        return _consensus_of(ended)

    async def _vote(
        self,
        session: Session,
        critic: AgentDefinition,
        place: str,
        *,
        assignment: Assignment,
        draft: Draft,
        apart: str = "",
    ) -> Verdict:
        prompt = await self.roster.prompt(assignment.tenant_id, session.prompts[critic.role])
        files = await self.files.of_agent_run(assignment.tenant_id, session.state.agent_run_id)
        answer = await self.thinking.structured(
            session,
            place,
            definition=critic,
            messages=judged_by(
                prompt,
                assignment,
                draft=draft.text,
                files=files,
                apart=apart,
                doubts=as_lines(draft.doubts),
                evidence=_evidence(session),
                characters=(await self.thinking.room(session, critic)).characters,
            ),
            schema=VERDICT_SCHEMA,
            kind=StepKind.VERDICT,
        )
        return verdict_of(answer)

    async def _tell(self, session: Session, verdict: Verdict, number: int, **more: int) -> None:
        self.observe.verdict(accepted=verdict.accepted)
        await session.report("agent.verdict", {**_told(verdict, number), **more})


async def _decided(running: Sequence["asyncio.Task[Verdict]"], *, timeout_s: float) -> None:
    """Wait for the votes until they decide, all are there, or the time is up."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    pending: AbstractSet[asyncio.Task[Verdict]] = set(running)
    while pending and end > loop.time():
        _, pending = await asyncio.wait(pending, timeout=end - loop.time(), return_when=asyncio.FIRST_COMPLETED)
        ended = [each.exception() or each.result() if each.done() else None for each in running]
        if any(isinstance(each, Exception) and not isinstance(each, AgentFailed) for each in ended):
            return
        consensus = _consensus_of(ended)
        if consensus.is_accepted:
            return
        if consensus.is_decided:
            end = min(end, loop.time() + GRACE_S)


def _consensus_of(ended: Sequence[Any]) -> Consensus:
    """What those who voted come to, among all who were asked."""
    return Consensus(
        critics=len(ended), votes={each: end for each, end in enumerate(ended) if isinstance(end, Verdict)}
    )


def _settled(key: str, consensus: Consensus, *, at: datetime) -> Step:
    """What was agreed on, as a step."""
    votes = {
        str(number): {"accepted": vote.accepted, "reasons": list(vote.reasons)}
        for number, vote in sorted(consensus.votes.items())
    }
    words = f"{consensus.accepting} of {consensus.critics} critics accepted, {len(votes)} answered in time."
    content = {"text": words, "critics": consensus.critics, "votes": votes}
    return Step(key=key, role="consensus", kind=StepKind.DECISION, content=content, started_at=at, ended_at=at)


def _consensus(step: Step) -> Consensus:
    votes = {
        int(number): Verdict(accepted=vote["accepted"], reasons=tuple(vote["reasons"]))
        for number, vote in step.content["votes"].items()
    }
    return Consensus(critics=step.content["critics"], votes=votes)


def _evidence(session: Session) -> Sequence[Step]:
    """What tools answered, so that the critic need not take the agent's word for it."""
    return [step for step in session.steps.values() if step.kind is StepKind.TOOL]


def _told(verdict: Verdict, number: int) -> dict[str, Any]:
    return {"round": number + 1, "accepted": verdict.accepted, "reasons": list(verdict.reasons)}
