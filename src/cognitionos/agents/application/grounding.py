"""A draft's claims looked up in what its agent was given: recorded, sent back once, put before a person."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cognitionos.agents.application.hand_off import Stage
from cognitionos.agents.application.session import Session
from cognitionos.agents.domain.agent_run import AgentFailed, Step, StepKind
from cognitionos.agents.domain.approval import NeedsApproval, ToolApproval, ToolDecision
from cognitionos.agents.domain.grounding import Check, Claim, Grounding, check, check_of, told
from cognitionos.agents.domain.literals import ClaimKind, literals
from cognitionos.agents.domain.tool import CallOutcome, clipped
from cognitionos.kernel.clock import Clock
from cognitionos.kernel.json_text import storable

ROLE = "grounding"
_MOST_SHOWN = 4_000
_SENT_BACK = (
    "These claims of your result are in nothing that you were given:\n{claims}\nCheck each one: correct it, leave it "
    "out, or say what it follows from. Then give the whole result again."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An agent's text, from 0 the how many-th, and what its check found; None: nobody wanted one."""

    text: str
    number: int
    grounding: Grounding = Grounding.OFF
    check: Check | None = None

    @property
    def doubts(self) -> Sequence[Claim]:
        """Claims that a critic, or the agent itself, is to be asked about."""
        return (
            self.check.unsupported if self.check is not None and self.grounding.level >= Grounding.REVIEW.level else ()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Looks up claims. What was found is a step of the journal: a replay, or another worker, finds the same."""

    now: Clock

    async def checked(self, session: Session, stage: Stage, text: str, *, number: int) -> Draft:
        """The draft, checked as the task's agent wants or, if that is stricter, the one that wrote it."""
        wanted = (session.agent(session.identity.role).grounding, stage.definition.grounding)
        grounding = max(wanted, key=lambda each: each.level)
        if grounding is Grounding.OFF:
            return Draft(text=text, number=number)
        key = _key(number)
        done = session.done(key)
        if done is None:
            started = self.now()
            found = await asyncio.to_thread(check, text, _evidence(session))
            done = Step(
                key=key,
                role=ROLE,
                kind=StepKind.DECISION,
                content=storable({"text": _words(found), "draft": number + 1, **told(found)}),
                started_at=started,
                ended_at=self.now(),
            )
            await session.record(done)
        return Draft(text=text, number=number, grounding=grounding, check=check_of(done.content))

    async def must_stand(self, session: Session, draft: Draft) -> None:
        """Where a person decides about what remains unsupported: raises `NeedsApproval` before they did, `AgentFailed`
        where they said no.
        """
        if draft.grounding is not Grounding.APPROVE or not draft.doubts:
            return
        key = f"{_key(draft.number)}/decision"
        done = session.done(key)
        if done is None:
            asked = _approval(draft)
            decision = session.identity.approvals.get(asked.key)
            if decision is None:
                raise NeedsApproval([asked])
            done = _decided(key, decision, self.now)
            await session.record(done)
        if not done.content["approved"]:
            raise AgentFailed(
                f"The answer of task '{session.identity.task_key}' was rejected, {done.content['text']}: "
                f"{_listed(draft.doubts)}"
            )


def sent_back(draft: Draft) -> str:
    """What the agent is told of its unsupported claims, where no critic judges."""
    return _SENT_BACK.format(claims=as_lines(draft.doubts))


def as_lines(claims: Sequence[Claim]) -> str:
    """Claims for a model, one a line."""
    return "\n".join(f"- {claim.kind.value}: {claim.text}" for claim in claims)


def _key(number: int) -> str:
    return f"{ROLE}/{number}"


def _evidence(session: Session) -> list[str]:
    """What their tools answered and what the agents of the task began with (last: that is read in any case); of what
    they asked tools with, addresses.
    """
    texts: list[str] = []
    for step in session.steps.values():
        if step.kind is StepKind.TOOL:
            texts.append(" ".join([*step.content["files"], *_addresses(step.content)]))
            texts.append(step.content["result"])
    texts += (str(message.get("content") or "") for message in session.state.opening)
    return [text for text in texts if text]


def _addresses(call: Mapping[str, Any]) -> list[str]:
    """Of a call that worked: what was reached is there."""
    if call["outcome"] != CallOutcome.OK.value:
        return []
    return [each.text for each in literals(call["arguments"]) if each.kind is ClaimKind.ADDRESS]


def _approval(draft: Draft) -> ToolApproval:
    return ToolApproval(
        step_key=_key(draft.number),
        tool="the answer",
        arguments={
            "answer": clipped(draft.text, _MOST_SHOWN),
            "unsupported": [each.as_json() for each in draft.doubts],
        },
        reason=f"Nothing that its agent was given supports: {_listed(draft.doubts)}",
    )


def _decided(key: str, decision: ToolDecision, now: Clock) -> Step:
    verdict = "accepted" if decision.approved else "not accepted"
    text = f"{verdict} by {decision.by}" if decision.by else f"{verdict}, because nobody decided in time"
    text += f" ({decision.comment})" if decision.by and decision.comment else ""
    at = now()
    content = {"text": text, "approved": decision.approved, "by": decision.by, "comment": decision.comment}
    return Step(key=key, role=ROLE, kind=StepKind.DECISION, content=content, started_at=at, ended_at=at)


def _words(found: Check) -> str:
    if not found.unsupported:
        return f"All of {found.checked} claims were found in what the agent was given."
    return (
        f"{len(found.unsupported)} of {found.checked} claims are in nothing that the agent was given: "
        f"{_listed(found.unsupported)}"
    )


def _listed(claims: Sequence[Claim]) -> str:
    shown = "; ".join(claim.text for claim in claims[:10])
    return shown if len(claims) <= 10 else f"{shown}; and {len(claims) - 10} more"
