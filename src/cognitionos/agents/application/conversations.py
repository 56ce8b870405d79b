"""Conversations: a message is worked on like a task, journaled, under the same limits and budgets."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cognitionos.agents.application.assignment import Chat, Outcome
from cognitionos.agents.application.conversation_feed import Feed
from cognitionos.agents.application.conversation_ports import Decisions, Forget, Remembered, Talks
from cognitionos.agents.application.ports import Roster
from cognitionos.agents.application.runs import AgentRuns
from cognitionos.agents.application.step_events import Told
from cognitionos.agents.domain.agent_run import LeaseLost
from cognitionos.agents.domain.approval import NeedsApproval
from cognitionos.agents.domain.conversation import (
    MOST_TURNS_SHOWN,
    ConversationBusy,
    ConversationNotFound,
    Exchange,
    NothingToResume,
    Talk,
    Turn,
    TurnBrokenOff,
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
ENDING_S = 0.2
"""How long work whose turn has just ended or waits may take to say so."""
MOST_BROKEN_OFF = 3
"""A turn that ended this many processes is not given to another one."""
MOST_TAKEN_UP = 20
GRACE_S = 1.0
"""How long a sweep leaves a turn to those who follow it: there its words are heard."""
_CANCELLED = "The turn was cancelled."


@dataclass(frozen=True, slots=True)
class Underway:
    """A turn and the work on it, which goes on if nobody waits for it."""

    turn: Turn
    work: asyncio.Task[Turn]


@dataclass(frozen=True, kw_only=True)
class Conversations:
    """Talking with agents. A turn is worked on by the process that got its message; after a crash by any that resumes
    it. `running` are the turns of this process, `working` the agents' part of them; `feed` tells of both.
    """

    talks: Talks
    runs: AgentRuns
    roster: Roster
    recall: Remembered
    decisions: Decisions
    forget: Forget
    now: Clock
    new_id: Callable[[], UUID]
    lease_s: float = 10.0
    look_s: float = 0.5
    feed: Feed = field(default_factory=Feed)
    running: dict[UUID, asyncio.Task[Turn]] = field(default_factory=dict)
    working: dict[UUID, asyncio.Task[Turn]] = field(default_factory=dict)

    async def open(self) -> None:
        """Nothing runs yet."""

    async def close(self) -> None:
        """Break off what runs; it can be taken up at once."""
        self.feed.closing = True
        tasks = list(self.running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def create(self, who: Principal, *, agent: str, title: str, user: str | None = None) -> Talk:
        """A new conversation, with `user` where whoever asks speaks for one. Raises `AgentNotFound`."""
        await self.roster.agent(who.tenant_id, agent)
        talk = Talk(
            id=self.new_id(),
            tenant_id=who.tenant_id,
            project_id=who.project_id,
            agent=agent,
            title=title,
            created_at=self.now(),
            user_name=user or who.user,
        )
        await self.talks.create(talk)
        return talk

    async def say(self, who: Principal, conversation_id: UUID, message: str) -> Underway:
        """The next turn. Raises `ConversationNotFound`, and `ConversationBusy`; the work raises what an agent's raises,
        and `TurnCancelled`.
        """
        talk = await self.talks.get(who.tenant_id, conversation_id)
        turn = await self.talks.begin(
            who.tenant_id,
            conversation_id,
            turn_id=self.new_id(),
            message=message,
            api_key_id=who.api_key_id,
            user=who.user or talk.user_name,
            lease_s=self.lease_s,
        )
        return self._start(talk, turn)

    async def resume(self, who: Principal, conversation_id: UUID) -> Underway:
        """A turn that a crash broke off, from its journal. Raises `NothingToResume`, `ConversationBusy`."""
        talk = await self.talks.get(who.tenant_id, conversation_id)
        turn = await self.talks.take_up(who.tenant_id, conversation_id, lease_s=self.lease_s)
        return self._start(talk, turn)

    async def go_on(self, tenant_id: UUID, conversation_id: UUID) -> Underway | None:
        """The turn that nobody works on, if there is one and nobody else has taken it up meanwhile."""
        try:
            talk = await self.talks.get(tenant_id, conversation_id)
            turn = await self.talks.take_up(tenant_id, conversation_id, lease_s=self.lease_s)
        except (ConversationNotFound, NothingToResume, ConversationBusy):
            return None
        log.info("turn_taken_up", turn_id=str(turn.id), broken_off=turn.broken_off)
        return self._start(talk, turn)

    async def sweep(self) -> int:
        """Go on with turns of any tenant that nobody works on; how many were taken up."""
        room = MOST_TAKEN_UP - len(self.running)
        if room <= 0:
            return 0
        untended = await self.talks.untended(grace_s=GRACE_S, most=room)
        return sum([await self.go_on(*each) is not None for each in untended])

    async def any_open(self) -> bool:
        """Whether a turn of any tenant is worked on, or soon has to be."""
        return bool(await self.talks.untended(grace_s=-self.lease_s, most=1))

    async def cancel(self, who: Principal, conversation_id: UUID) -> Turn | None:
        """End the turn under way, in whichever process; None: there is none."""
        turn = await self.talks.cancel(who.tenant_id, conversation_id)
        if turn is not None and turn.id in self.working:
            self.working[turn.id].cancel()
        return turn

    async def delete(self, who: Principal, conversation_id: UUID) -> None:
        """The conversation, what its agents did, the files they wrote, and what else keeps its words.

        That goes first: who repeats a deletion that broke off finds the conversation, and all of it goes.
        """
        turn = await self.cancel(who, conversation_id)
        await self.forget(who.tenant_id, conversation_id)
        await self.talks.delete(who.tenant_id, conversation_id)
        if turn is not None:  # what it said on until it knew that it was cancelled
            await self.forget(who.tenant_id, conversation_id)

    def _start(self, talk: Talk, turn: Turn) -> Underway:
        task = asyncio.create_task(self._held(talk, turn))
        self.running[turn.id], self.feed.speaking[talk.id] = task, turn
        task.add_done_callback(lambda done: self._ended(turn, done))
        return Underway(turn, task)

    def _ended(self, turn: Turn, task: asyncio.Task[Turn]) -> None:
        self.running.pop(turn.id, None)
        if self.feed.speaking.get(turn.conversation_id) is turn:
            del self.feed.speaking[turn.conversation_id]
        self.feed.tell(turn, Told(kind="turn.ended", data={}))
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, DomainError):
            log.error("turn_failed", turn_id=str(turn.id), error=repr(error))

    async def _held(self, talk: Talk, turn: Turn) -> Turn:
        """Work under a lease that is renewed; when it is lost the work ends."""
        work = self.working[turn.id] = asyncio.create_task(self._worked(talk, turn))
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=self.look_s)
                if work.done() or await self.talks.renew(talk.tenant_id, turn, lease_s=self.lease_s):
                    continue
                await asyncio.wait({work}, timeout=ENDING_S)
                if not work.done():
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

    async def _worked(self, talk: Talk, turn: Turn) -> Turn:
        """The turn as it ended, or as it waits."""
        try:
            outcome = await self._answered(talk, turn)
        except NeedsApproval as needed:
            return _still_ours(await self.talks.park(talk.tenant_id, turn, needed.requests))
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
        return _still_ours(ended)

    async def _answered(self, talk: Talk, turn: Turn) -> Outcome:
        """What the agent says. Raises `NeedsApproval` where it has to wait for people."""
        if turn.broken_off >= MOST_BROKEN_OFF:
            raise TurnBrokenOff(f"{turn.broken_off} processes ended at work on this turn; it is not tried again.")
        return await self.runs.converse(await self._chat(talk, turn))

    async def _chat(self, talk: Talk, turn: Turn) -> Chat:
        async def report(kind: str, data: dict[str, Any]) -> None:
            self.feed.tell(turn, Told(kind, data))

        def hear(role: str, step: str, words: str) -> None:
            self.feed.tell(turn, Told(kind="agent.delta", data={"role": role, "step": step, "text": words}))

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
            hear=hear,
            anew=turn.follows_failure,
            approvals=await self.decisions(talk.tenant_id, turn.id) if turn.fence > 1 else {},
            exchange=Exchange(message=turn.message, earlier=tuple(earlier), memories=memories),
        )


def _still_ours(turn: Turn | None) -> Turn:
    if turn is None:
        raise TurnCancelled(_CANCELLED)
    return turn


def _needed(outcome: Outcome) -> dict[str, Any]:
    return {**outcome.figures, "files": [each.name for each in outcome.artifacts]}
