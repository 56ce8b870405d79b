"""What is told of turns, carried to those who follow them in other processes: Redis pub/sub, to each such process.

Nothing is carried of a turn that nobody elsewhere follows. Whoever follows says so again every second, by a signal;
each process that follows has one subscription of its own. What is lost on the way stands in the journal: a step of
whose words some were lost is told no further until it is journaled.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from redis.asyncio import Redis

from cognitionos.agents.application.conversation_feed import Ear, Feed, Heard
from cognitionos.agents.application.step_events import Told
from cognitionos.kernel.ids import new_id
from cognitionos.platform.logging import get_logger
from cognitionos.platform.redis import REDIS_ERRORS
from cognitionos.platform.signals import Signals

log = get_logger(__name__)
FOLLOWED = "conversation_followed"
"""Signals `conversation_followed:CONVERSATION:PROCESS`."""
CHANNEL_PREFIX = "cognitionos:conversation_words:"
TELLING = "agents.far_words.tell."
"""The name of a task that tells of a conversation begins with this."""
SAY_S = 0.8
FORGET_S = 3.0
RECONNECT_S = 1.0
_DELTA = "agent.delta"


class _Said(msgspec.Struct, array_like=True):
    """One telling. `number` and `fence` are those of its turn."""

    number: int
    fence: int
    kind: str
    data: dict[str, Any]


class _Parcel(msgspec.Struct, array_like=True):
    """What was told since the last time by `teller`; `count` counts from 0, so that nobody misses any unawares."""

    conversation: UUID
    teller: UUID
    count: int
    said: list[_Said]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Parcel).decode


@dataclass(slots=True, kw_only=True)
class _Followed:
    """A conversation that is followed here: how far its words came. `open`: roles by steps whose words were told."""

    attended_at: float
    said_at: float = 0.0
    teller: UUID | None = None
    count: int = 0
    place: tuple[int, int] = (0, 0)
    open: dict[str, str] = field(default_factory=dict)
    is_torn: bool = False


class FarWords:
    """Tells other processes of the turns in `feed`, and `feed` of theirs."""

    def __init__(self, redis: Redis, signals: Signals, feed: Feed) -> None:
        self._redis = redis
        self._signals = signals
        self._feed = feed
        self._me = new_id()
        self._followed: dict[UUID, _Followed] = {}
        self._reader: asyncio.Task[None] | None = None
        self._subscribed = False
        self._followers: dict[UUID, dict[UUID, float]] = {}
        self._telling: dict[UUID, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Look out for followers."""
        self._signals.take(FOLLOWED, self._is_followed)

    async def close(self) -> None:
        """Tell and hear nothing more."""
        tasks = [*self._telling.values(), *([self._reader] if self._reader else [])]
        while tasks := [task for task in tasks if not task.done()]:
            for task in tasks:
                task.cancel()  # again, because redis 8.1 swallows a cancellation that meets it while connecting
            await asyncio.wait(tasks, timeout=0.1)

    async def attend(self, conversation_id: UUID) -> None:
        """Hear of a conversation for `FORGET_S` from now on, where another process works on its turn."""
        now = time.monotonic()
        followed = self._followed.setdefault(conversation_id, _Followed(attended_at=now))
        followed.attended_at = now
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="agents.far_words.read")
        elif self._subscribed:
            await self._say(conversation_id, followed)

    async def _say(self, conversation_id: UUID, followed: _Followed) -> None:
        if time.monotonic() - followed.said_at >= SAY_S:
            followed.said_at = time.monotonic()
            await self._signals.send(f"{FOLLOWED}:{conversation_id}:{self._me}")

    async def _read(self) -> None:
        """Hear what other processes tell, as long as anything is followed."""
        while self._followed:
            try:
                await self._read_until_lost()
            except REDIS_ERRORS as error:
                log.debug("far_words_lost", reason=str(error), retry_in_s=RECONNECT_S)
                await asyncio.sleep(RECONNECT_S)
                self._forget()
            finally:
                self._subscribed = False

    async def _read_until_lost(self) -> None:
        async with self._redis.pubsub() as subscription:
            await subscription.subscribe(f"{CHANNEL_PREFIX}{self._me}")
            while self._followed:
                message = await subscription.get_message(timeout=FORGET_S)
                if message is not None and message["type"] == "subscribe":
                    self._subscribed = True
                    for conversation_id, followed in list(self._followed.items()):
                        await self._say(conversation_id, followed)
                elif message is not None and message["type"] == "message":
                    self._hear(_decode(message["data"]))
                else:
                    await subscription.ping()
                    self._forget()

    def _forget(self) -> None:
        """What nobody attends to any more."""
        oldest = time.monotonic() - FORGET_S
        self._followed = {key: each for key, each in self._followed.items() if each.attended_at >= oldest}

    def _hear(self, parcel: _Parcel) -> None:
        followed = self._followed.get(parcel.conversation)
        if followed is None:
            return
        here = self._feed.speaking.get(parcel.conversation)
        newer = (here.number, here.fence + 1) if here is not None else (0, 0)
        fresh = [said for said in parcel.said if (said.number, said.fence) >= max(followed.place, newer)]
        if not fresh:
            return  # of a turn that has gone on, or goes on here
        if followed.teller not in (None, parcel.teller) or parcel.count > followed.count > 0:
            followed.is_torn = True
        followed.teller, followed.count = parcel.teller, parcel.count + 1
        for said in fresh:
            if (said.number, said.fence) > followed.place:
                self._begin(parcel.conversation, followed, (said.number, said.fence))
            self._pass_on(parcel.conversation, followed, said)

    def _begin(self, conversation_id: UUID, followed: _Followed, place: tuple[int, int]) -> None:
        """A turn, or the work on it, begins: words that its last worker left unfinished are taken back."""
        if followed.place[0] == place[0]:
            for step, role in followed.open.items():
                told = Told(kind="agent.restarted", data={"role": role, "step": step})
                self._feed.pass_on(conversation_id, Heard(*place, told))
        followed.place, followed.is_torn = place, False
        followed.open.clear()

    def _pass_on(self, conversation_id: UUID, followed: _Followed, said: _Said) -> None:
        if said.kind == _DELTA:
            if followed.is_torn:
                return
            followed.open[said.data["step"]] = said.data["role"]
        else:
            followed.is_torn = False
            followed.open.pop(said.data.get("step", ""), None)
        self._feed.pass_on(conversation_id, Heard(said.number, said.fence, Told(said.kind, said.data)))

    def _is_followed(self, name: str) -> None:
        """Somebody follows the conversation of this name in the process of this name."""
        conversation_id, process = (UUID(each) for each in name.split(":"))
        is_told = conversation_id in self._telling
        if process == self._me or not (is_told or conversation_id in self._feed.speaking):
            return
        self._followers.setdefault(conversation_id, {})[process] = time.monotonic()
        if not is_told:
            ear, name = self._feed.listen(conversation_id), f"{TELLING}{conversation_id}"
            self._telling[conversation_id] = asyncio.create_task(self._tell(conversation_id, ear), name=name)

    async def _tell(self, conversation_id: UUID, ear: Ear) -> None:
        """Tell of a conversation as long as another process follows it."""
        teller, count, followers = new_id(), 0, self._followers[conversation_id]
        try:
            while followers:
                said = [_Said(number, fence, told.kind, dict(told.data)) for number, fence, told in await _heard(ear)]
                if said:
                    await self._put(followers, _encode(_Parcel(conversation_id, teller, count, said)))
                    count += 1
                oldest = time.monotonic() - FORGET_S
                for process in [each for each, at in followers.items() if at < oldest]:
                    del followers[process]
        finally:
            del self._followers[conversation_id], self._telling[conversation_id]

    async def _put(self, followers: Iterable[UUID], parcel: bytes) -> None:
        """To each of them, once; what Redis does not take is lost."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for process in followers:
                    pipe.publish(f"{CHANNEL_PREFIX}{process}", parcel)
                await pipe.execute()
        except REDIS_ERRORS as error:
            log.debug("far_words_not_told", reason=str(error))


async def _heard(ear: Ear) -> list[Heard]:
    """All that was told since, nothing where nothing was for a while."""
    try:
        async with asyncio.timeout(FORGET_S / 3):
            heard = [await ear.get()]
    except TimeoutError:
        return []
    while not ear.empty():
        heard.append(ear.get_nowait())
    return heard
