"""What one process tells of a turn and another hears, over a real Redis: who is heard, and what is taken back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from tests.waiting import eventually

from cognitionos.agents.application.conversation_feed import Ear, Feed
from cognitionos.agents.application.step_events import Told
from cognitionos.agents.domain.conversation import Turn, TurnStatus
from cognitionos.agents.infrastructure.far_words import TELLING, FarWords
from cognitionos.cli.listening import free_port
from cognitionos.platform.redis import open_redis
from cognitionos.platform.signals import Signals


@dataclass(frozen=True, slots=True)
class Process:
    """One of several over one Redis."""

    feed: Feed
    far: FarWords

    def speak(self, turn: Turn, *words: str, step: str = "executor/0/0") -> None:
        self.feed.speaking[turn.conversation_id] = turn
        for each in words:
            self.feed.tell(turn, Told(kind="agent.delta", data={"role": "executor", "step": step, "text": each}))

    async def listen(self, turn: Turn) -> Ear:
        ear = self.feed.listen(turn.conversation_id)
        await self.far.attend(turn.conversation_id)
        return ear


@asynccontextmanager
async def processes(redis_url: str, count: int) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            redis = await stack.enter_async_context(open_redis(redis_url))
            signals, feed = Signals(redis), Feed()
            far = FarWords(redis, signals, feed)
            for resource in (signals, far):
                await resource.open()
                stack.push_async_callback(resource.close)
            made.append(Process(feed, far))
        yield made


def a_turn() -> Turn:
    return Turn(
        id=uuid4(), conversation_id=uuid4(), number=1, api_key_id=None, user_name=None, message="Count.",
        status=TurnStatus.RUNNING, fence=1, started_at=datetime(2026, 11, 21, tzinfo=UTC),
    )  # fmt: skip


def telling(turn: Turn) -> int:
    return sum(task.get_name() == f"{TELLING}{turn.conversation_id}" for task in asyncio.all_tasks())


async def followed_by(listener: Process, turn: Turn, *, tellers: int) -> bool:
    await listener.far.attend(turn.conversation_id)
    return telling(turn) == tellers


async def heard(ear: Ear, count: int) -> list[str]:
    """The next words, `<` for those taken back, and the kind of whatever else is told."""
    async with asyncio.timeout(20):
        told = [(await ear.get()).told for _ in range(count)]
    return ["<" if each.kind == "agent.restarted" else each.data.get("text", each.kind) for each in told]


async def test_who_takes_a_turn_over_takes_back_what_its_last_worker_left_unfinished(redis_url: str) -> None:
    turn = a_turn()
    again = replace(turn, fence=2)
    async with processes(redis_url, 3) as (first, second, listener):
        first.feed.speaking[turn.conversation_id] = turn
        ear = await listener.listen(turn)
        await eventually(lambda: telling(turn) == 1)
        first.speak(turn, "One ", "two ")
        before = await heard(ear, 2)

        second.feed.speaking[turn.conversation_id] = again
        await eventually(lambda: followed_by(listener, turn, tellers=2))
        second.speak(again, "One ")
        after = await heard(ear, 2)
        first.speak(turn, "three")  # it does not know yet
        second.speak(again, "two ")
        late = await heard(ear, 1)

    assert (before, after, late) == (["One ", "two "], ["<", "One "], ["two "])


async def test_who_works_on_a_turn_hears_nobody_elsewhere(redis_url: str) -> None:
    turn = a_turn()
    again = replace(turn, fence=2)
    async with processes(redis_url, 2) as (first, second):
        first.feed.speaking[turn.conversation_id] = turn
        ear = await second.listen(turn)
        await eventually(lambda: telling(turn) == 1)
        second.feed.speaking[turn.conversation_id] = again
        first.speak(turn, "One ")
        first.speak(replace(turn, number=2), "Two ")  # a later turn: it has come back
        told = await heard(ear, 1)

    assert told == ["Two "]


async def test_without_redis_nobody_is_told_and_nothing_fails() -> None:
    turn = a_turn()
    async with processes(f"redis://127.0.0.1:{free_port('127.0.0.1', 0)}/1", 2) as (first, second):
        first.feed.speaking[turn.conversation_id] = turn
        ear, near = await second.listen(turn), first.feed.listen(turn.conversation_id)
        first.speak(turn, "One ")

        assert await heard(near, 1) == ["One "]
        assert ear.empty()
