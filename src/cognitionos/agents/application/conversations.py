"""Conversations: a message is worked on like a task, journaled, under the same limits and budgets."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cognitionos.agents.application.assignment import Chat, Outcome, Report, unheard
from cognitionos.agents.application.conversation_ports import Remembered, Talks
from cognitionos.agents.application.ports import Roster
from cognitionos.agents.application.runs import AgentRuns
from cognitionos.agents.domain.agent_run import LeaseLost
from cognitionos.agents.domain.approval import NeedsApproval, ToolDecision
from cognitionos.agents.domain.conversation import (
    MOST_TURNS_SHOWN,
    Exchange,
    Talk,
    Turn,
    TurnCancelled,
    TurnStatus,
)
from cognitionos.kernel.clock import Clock
from cognitionos.kernel.errors import DomainError
from cognitionos.kernel.principal import Principal
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
MEMORIES = 5
LONGEST_S = 86_400.0
_NOBODY_TO_ASK = "In a conversation nobody is asked: calls that need an approval are made in runs."
_CANCELLED = "The turn was cancelled."


@dataclass(frozen=True, kw_only=True)
class Conversations:
    """Talking with agents. A turn is worked on by the process that got its message; after a crash by any that resumes
    it. `running` are the turns of this process, `working` the agents' part of them.
    """

    talks: Talks
    runs: AgentRuns
    roster: Roster
    recall: Remembered
    now: Clock
    new_id: Callable[[], UUID]
    lease_s: float = 10.0
    look_s: float = 0.5
    running: dict[UUID, asyncio.Task[Turn]] = field(default_factory=dict)
    working: dict[UUID, asyncio.Task[Turn]] = field(default_factory=dict)

    async def open(self) -> None:
        """Nothing runs yet."""

    async def close(self) -> None:
        """Break off what runs; it can be taken up at once."""
        tasks = list(self.running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def create(self, who: Principal, *, agent: str, title: str) -> Talk:
        """A new conversation. Raises `AgentNotFound`."""
        await self.roster.agent(who.tenant_id, agent)
        talk = Talk(
            id=self.new_id(),
            tenant_id=who.tenant_id,
            project_id=who.project_id,
            agent=agent,
            title=title,
            created_at=self.now(),
        )
        await self.talks.create(talk)
        return talk

    async def say(
        self, who: Principal, conversation_id: UUID, message: str, *, report: Report = unheard
    ) -> asyncio.Task[Turn]:
        """The work on the next turn, which goes on if nobody waits for it. Raises `ConversationNotFound`, and
        `ConversationBusy`; the work raises what an agent's raises, and `TurnCancelled`.
        """
        talk = await self.talks.get(who.tenant_id, conversation_id)
        turn = await self.talks.begin(
            who.tenant_id,
            conversation_id,
            turn_id=self.new_id(),
            message=message,
            api_key_id=who.api_key_id,
            user=who.user,
            lease_s=self.lease_s,
        )
        return self._start(talk, turn, report)

    async def resume(self, who: Principal, conversation_id: UUID, *, report: Report = unheard) -> asyncio.Task[Turn]:
        """The work on a turn that a crash broke off, from its journal. Raises `NothingToResume`, `ConversationBusy`."""
        talk = await self.talks.get(who.tenant_id, conversation_id)
        turn = await self.talks.take_up(who.tenant_id, conversation_id, lease_s=self.lease_s)
        return self._start(talk, turn, report)

    async def cancel(self, who: Principal, conversation_id: UUID) -> Turn | None:
        """End the turn under way, in whichever process; None: there is none."""
        turn = await self.talks.cancel(who.tenant_id, conversation_id)
        if turn is not None and turn.id in self.working:
            self.working[turn.id].cancel()
        return turn

    async def delete(self, who: Principal, conversation_id: UUID) -> None:
        """The conversation, what its agents did and the files they wrote."""
        await self.cancel(who, conversation_id)
        await self.talks.delete(who.tenant_id, conversation_id)

    def _start(self, talk: Talk, turn: Turn, report: Report) -> asyncio.Task[Turn]:
        task = asyncio.create_task(self._held(talk, turn, report))
        self.running[turn.id] = task
        task.add_done_callback(lambda done: self._ended(turn.id, done))
        return task

    def _ended(self, turn_id: UUID, task: asyncio.Task[Turn]) -> None:
        self.running.pop(turn_id, None)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, DomainError):
            log.error("turn_failed", turn_id=str(turn_id), error=repr(error))

    async def _held(self, talk: Talk, turn: Turn, report: Report) -> Turn:
        """Work under a lease that is renewed; when it is lost the work ends."""
        work = self.working[turn.id] = asyncio.create_task(self._worked(talk, turn, report))
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=self.look_s)
                if not work.done() and not await self.talks.renew(talk.tenant_id, turn, lease_s=self.lease_s):
                    raise TurnCancelled(_CANCELLED)
            if work.cancelled():
                raise TurnCancelled(_CANCELLED)
            return work.result()
        except asyncio.CancelledError:
            await self.talks.release(talk.tenant_id, turn)
            raise
        finally:
            del self.working[turn.id]
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _worked(self, talk: Talk, turn: Turn, report: Report) -> Turn:
        """The turn as it ended."""
        try:
            outcome = await self._answered(talk, turn, report)
        except LeaseLost as error:
            raise TurnCancelled(_CANCELLED) from error
        except Exception as error:
            told = {"type": "internal-error", "detail": "The agent stopped for a reason of ours; the log has it."}
            if isinstance(error, DomainError):
                told = {"type": error.type_slug(), "detail": error.detail}
            await self.talks.finish(talk.tenant_id, turn, TurnStatus.FAILED, error=told)
            raise
        ended = await self.talks.finish(
            talk.tenant_id, turn, TurnStatus.SUCCEEDED, answer=outcome.text, outcome=_needed(outcome)
        )
        if ended is None:
            raise TurnCancelled(_CANCELLED)
        return ended

    async def _answered(self, talk: Talk, turn: Turn, report: Report) -> Outcome:
        """What the agent says; it is told of calls that would need an approval that nobody can give."""
        chat = await self._chat(talk, turn, report)
        rejected: dict[str, ToolDecision] = {}
        while True:
            try:
                return await self.runs.converse(chat.under(rejected))
            except NeedsApproval as needed:
                decision = ToolDecision(approved=False, comment=_NOBODY_TO_ASK)
                rejected |= {each.key: decision for each in needed.requests}

    async def _chat(self, talk: Talk, turn: Turn, report: Report) -> Chat:
        earlier = await self.talks.earlier(talk.tenant_id, talk.id, before=turn.number, limit=MOST_TURNS_SHOWN)
        memories: tuple[str, ...] = ()
        with suppress(DomainError):  # without what memory knows there still is an answer
            memories = tuple(await self.recall(talk.tenant_id, talk.project_id, turn.message, MEMORIES))
        return Chat(
            tenant_id=talk.tenant_id,
            project_id=talk.project_id,
            api_key_id=turn.api_key_id,
            user=turn.user_name,
            goal_id=None,
            run_id=talk.id,
            task_id=turn.id,
            task_key=f"turn {turn.number}",
            fence=turn.fence,
            role=talk.agent,
            deadline_s=LONGEST_S,
            report=report,
            exchange=Exchange(message=turn.message, earlier=tuple(earlier), memories=memories),
        )


def _needed(outcome: Outcome) -> Mapping[str, Any]:
    return {
        "model": outcome.model,
        "simulated": outcome.simulated,
        "prompt_versions": dict(outcome.prompt_versions),
        "cost_nanousd": outcome.cost_nanousd,
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
        "steps": outcome.steps,
        "files": [each.name for each in outcome.artifacts],
    }
