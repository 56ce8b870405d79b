"""A conversation as server-sent events: steps and messages from the journal, words as this process hears them.

What is durable has an `id` (`TURN.STEP`, `TURN.end`) and is read from the database, so that a stream can be taken up
after any of them, in any process. Words of an answer that is on its way are told once, by whoever works on the turn.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from cognitionos.agents.application.conversation_feed import Ear, Feed
from cognitionos.agents.application.step_events import Told, event_of
from cognitionos.agents.domain.conversation import Turn, TurnStatus
from cognitionos.agents.infrastructure.conversation_queries import Progress, TalkQueries
from cognitionos.agents.infrastructure.conversation_views import turn_view

SSE = "text/event-stream"
HEARTBEAT_S = 15.0
LOOK_S = 1.0
_DURABLE = frozenset({"agent.answered", "agent.tool_called", "agent.handed_off", "turn.ended"})
_END = "end"
_STOPPING = Told(
    kind="error",
    data={"type": "/problems/unavailable", "detail": "The server stops; follow the conversation anew in a moment."},
)

Asked = Callable[[UUID, UUID], Awaitable[Sequence[Mapping[str, Any]]]]
"""(tenant, turn): the approvals that a turn waits or waited for."""
GoOn = Callable[[UUID, UUID], Awaitable[object]]
"""(tenant, conversation): go on here with a turn that nobody works on."""
Attend = Callable[[UUID], Awaitable[None]]
"""(conversation): hear of a turn that another process works on. Lasts for some seconds."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a conversation: after step `step` of turn `number`."""

    number: int
    step: int = 0

    @classmethod
    def parse(cls, text: str) -> "Mark":
        """From the `id` of an event; raises `ValueError` for anything else."""
        number, _, step = text.partition(".")
        if len(text) > 20 or not text.isascii():
            raise ValueError(text)
        return cls(int(number) + 1) if step == _END else cls(int(number), int(step))


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStreams:
    """Makes the streams."""

    talks: TalkQueries
    feed: Feed
    asked: Asked
    go_on: GoOn
    attend: Attend

    async def follow(
        self, tenant_id: UUID, conversation_id: UUID, ear: Ear, *, mark: Mark, only: bool = False
    ) -> AsyncIterator[bytes]:
        """What happened after `mark` and what happens, until no turn is under way (`only`: until this one ends)."""
        place, quiet = _Place(number=mark.number, step=mark.step), _Quiet()
        while True:
            progress = await self.talks.progress(tenant_id, conversation_id, number=place.number, after=place.step)
            if progress is None:
                yield b": no turn is under way\n\n"
                return
            for frame in await self._news(tenant_id, progress, place):
                yield quiet.broken_by(frame)
            if progress.turn.status.is_final:
                if only:
                    return
                place = _Place(number=place.number + 1)
                continue
            if self.feed.closing:
                yield _frame(_STOPPING)
                return
            if progress.is_untended:
                await self.go_on(tenant_id, conversation_id)
            if conversation_id not in self.feed.speaking:
                await self.attend(conversation_id)
            async for frame in _heard(ear, place):
                yield quiet.broken_by(frame)
            if quiet.is_long:
                yield quiet.broken_by(b": still here\n\n")

    async def _news(self, tenant_id: UUID, progress: Progress, place: "_Place") -> list[bytes]:
        """Steps, questions and the end since the last look."""
        frames, turn = [], progress.turn
        for place.step, step in progress.steps:
            place.shown.add(step.key)
            told = event_of(step)
            if told is not None:
                frames.append(_frame(told, at=f"{place.number}.{place.step}"))
        if place.asked or turn.status is TurnStatus.WAITING:
            frames += [_frame(told) for told in _decisions(await self.asked(tenant_id, turn.id), place.asked)]
        if turn.status.is_final:
            frames.append(_end(turn))
        return frames


@dataclass(slots=True, kw_only=True)
class _Place:
    """How far a stream has come: the last step told, the keys of all that were, what was asked with its last status."""

    number: int
    step: int = 0
    shown: set[str] = field(default_factory=set)
    asked: dict[str, str] = field(default_factory=dict)


async def _heard(ear: Ear, place: _Place) -> AsyncIterator[bytes]:
    """What is told in passing of this turn, until it is time to look again; no words of steps that have been shown."""
    look_at = asyncio.get_running_loop().time() + LOOK_S
    while True:
        try:
            async with asyncio.timeout_at(look_at):
                number, _, told = await ear.get()
        except TimeoutError:
            return
        if told.kind in _DURABLE:
            return
        if number == place.number and told.data.get("step") not in place.shown:
            yield _frame(told)


def _decisions(approvals: Sequence[Mapping[str, Any]], asked: dict[str, str]) -> Iterator[Told]:
    """What is asked and what was decided since the last look; `asked` is what has been told, by status."""
    for each in approvals:
        key, status = each["approval_id"], each["status"]
        before, asked[key] = asked.get(key), status
        if status == "pending" and before is None:
            shown = ("approval_id", "prompt", "details", "default", "deadline_at")
            yield Told(kind="approval.requested", data={name: each[name] for name in shown})
        elif before == "pending" and status != "pending":
            data = {"approval_id": key, "decision": status, "by": each["by"], "comment": each["comment"]}
            yield Told(kind="approval.decided", data=data)


class _Quiet:
    """How long nothing has been sent."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._since = self._clock()

    def broken_by(self, frame: bytes) -> bytes:
        """The frame, which is sent now."""
        self._since = self._clock()
        return frame

    @property
    def is_long(self) -> bool:
        """Whether it is time for a sign of life."""
        return self._clock() - self._since >= HEARTBEAT_S


def _end(turn: Turn) -> bytes:
    at = f"{turn.number}.{_END}"
    if turn.status is TurnStatus.SUCCEEDED:
        return _frame(Told(kind="message", data=msgspec.to_builtins(turn_view(turn))), at=at)
    error = turn.error or {"type": "turn-cancelled", "detail": "The turn was cancelled."}
    told = Told(kind="error", data={"type": f"/problems/{error['type']}", "detail": error["detail"]})
    return _frame(told, at=at)


def _frame(told: Told, *, at: str = "") -> bytes:
    head = f"id: {at}\n" if at else ""
    return b"%bevent: %b\ndata: %b\n\n" % (head.encode(), told.kind.encode(), msgspec.json.encode(told.data))
