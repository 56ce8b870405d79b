"""Older steps that no longer fit are summed up by the summarizer: a model call like any other, journaled and paid for.

Where money or the model does not permit it, they become one line each, as `domain/context_window.py` says, and a step
says so and why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from cognitionos.agents.application.hand_off import Stage
from cognitionos.agents.application.ports import Roster
from cognitionos.agents.application.session import Session
from cognitionos.agents.application.thinking import Thinking
from cognitionos.agents.domain.agent_run import AgentFailed, Step, StepKind
from cognitionos.agents.domain.context_window import Message, estimated_tokens, foldable, transcript
from cognitionos.agents.domain.conversation import Exchange, after, mark_of, said_in
from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.facade import (
    BudgetExhausted,
    ModelNotFound,
    PriceUnknown,
    RequestRefused,
    system,
    user,
)

SUMMARIZER = "summarizer"
TALK = f"{SUMMARIZER}/conversation"
MOST_WORDS = 400
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_ASKED = (
    "Sum up these earlier steps for the agent that goes on with the task and sees only your words: facts, figures, "
    "names of files, decisions, what failed and why, what is still open. At most {words} words."
)
_NOT_PERMITTED = (AgentFailed, BudgetExhausted, ModelNotFound, PriceUnknown, RequestRefused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """Makes room. `recorded`: in a replay, the steps that were journaled; nothing else is summed up then."""

    thinking: Thinking
    roster: Roster
    recorded: Mapping[str, Step] | None = None

    async def fit(self, session: Session, stage: Stage, key: str, *, tools: Sequence[Mapping[str, Any]]) -> None:
        """Before the question `key`: fold what does not fit, or what was folded there in an earlier attempt."""
        at = f"{SUMMARIZER}/{key}"
        done = session.done(at)
        if done is None and session.done(key) is None and not stage.in_lines and self._may(at):
            done = await self._folded(session, stage, at, tools)
        if done is not None:
            stage.fold(done.content)

    def _may(self, at: str) -> bool:
        return self.recorded is None or at in self.recorded

    async def talk(self, session: Session, stage: Stage, exchange: Exchange, *, limit: int) -> Sequence[Message]:
        """The first messages of a turn of a conversation in about `limit` tokens: what was said before, summed up where
        it does not fit. A summary goes on from an earlier turn's. `stage` begins with what was packed into lines.
        """
        done = session.done(TALK)
        before = done.content["goes_on"] if done is not None else await self._summary_before(session, exchange)
        given = exchange
        if before is not None:
            given = replace(exchange, earlier=exchange.earlier[after(before["through"], exchange.earlier) or 0 :])
        summary = before["text"] if before is not None else ""
        whole = replace(stage, opening=stage.opening[:1], rest=said_in(given), summary=summary)
        if done is None and not session.steps:
            done = await self._talk_folded(session, whole, given, before, limit=limit)
        if done is not None:
            whole.fold(done.content)
        if whole.in_lines or not whole.summary:
            return stage.opening
        return [*whole.shown, *whole.rest]

    async def _summary_before(self, session: Session, exchange: Exchange) -> Mapping[str, Any] | None:
        """What an earlier turn summed up, where this one is still given what comes after it."""
        if not exchange.earlier:
            return None
        who = session.identity
        found = await session.journal.newest(who.tenant_id, who.run_id, TALK)
        if found is None or "through" not in found or after(found["through"], exchange.earlier) is None:
            return None
        return {"text": found["text"], "through": found["through"]}

    async def _talk_folded(
        self, session: Session, stage: Stage, given: Exchange, before: Mapping[str, Any] | None, *, limit: int
    ) -> Step | None:
        number = foldable(stage.shown, stage.rest, limit=limit)
        if not number:
            return None
        number += number % 2  # a message goes with its answer
        more = {"through": mark_of(given.earlier[number // 2 - 1]), "goes_on": before}
        try:
            return await self._summed_up(session, stage, TALK, number=number, limit=limit, more=more)
        except _NOT_PERMITTED as error:
            return await self._in_lines(session, stage, TALK, error)

    async def _folded(self, session: Session, stage: Stage, at: str, tools: Sequence[Mapping[str, Any]]) -> Step | None:
        room = await self.thinking.room(session, stage.definition, beside=tools)
        limit = min(room.prompt, session.tokens_left(stage.definition))
        number = foldable(stage.shown, stage.rest, limit=limit)
        if not number:
            return None
        try:
            return await self._summed_up(session, stage, at, number=number, limit=limit)
        except _NOT_PERMITTED as error:
            return await self._in_lines(session, stage, at, error)

    async def _summed_up(
        self, session: Session, stage: Stage, at: str, *, number: int, limit: int, more: Mapping[str, Any] = _NOTHING
    ) -> Step:
        tenant_id, lead = session.identity.tenant_id, stage.definition
        summarizer = await self.roster.agent(tenant_id, SUMMARIZER)
        told = self.recorded[at].content.get("prompts", {}) if self.recorded is not None else {}
        prompt = await self.roster.prompt(tenant_id, told.get(SUMMARIZER, summarizer.prompt))
        room = await self.thinking.room(session, summarizer)
        words = max(40, min(MOST_WORDS, limit // 12))
        parts = [f"## Goal\n{_ASKED.format(words=words)}"]
        if stage.summary:
            parts.append(f"## Summed up before\n{stage.summary}")
        asked = [system(prompt.text), user("\n\n".join(parts))]
        left = min(room.prompt, session.tokens_left(lead) // 2) - estimated_tokens(asked)
        if left < limit // 8:
            raise AgentFailed("There are too few tokens left to sum them up.")
        steps = transcript(stage.rest[:number], limit=left)
        asked[1] = user("\n\n".join([*parts, f"## Results of earlier tasks\n{steps}"]))
        more = {"covers": number, "for": lead.role, "prompts": {SUMMARIZER: prompt.name}, **more}
        return await self.thinking.answer(session, at, definition=summarizer, opening=asked, more=more)

    async def _in_lines(self, session: Session, stage: Stage, at: str, error: DomainError) -> Step:
        """The steps are shortened, and the journal says why."""
        now = self.thinking.now()
        text = f"Older steps were shortened to a line each, not summed up: {error.detail}"
        step = Step(
            key=at,
            role=stage.definition.role,
            kind=StepKind.DECISION,
            content={"text": text, "covers": 0, "shortened": True, "goes_on": None},
            started_at=now,
            ended_at=now,
        )
        told = {"role": step.role, "step": at, "reason": error.detail}
        await session.record(step, told=("agent.shortened", told))
        return step
