"""Wake-ups: at once in this process, by Redis in the others, and still at once here when Redis is gone."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.conftest import Run
from tests.waiting import eventually

from cognitionos.platform.redis import open_redis
from cognitionos.platform.signals import Signals


@pytest.fixture
def two(redis_url: str, run: Run) -> Iterator[tuple[Signals, Signals]]:
    """Two processes' worth of signals on one Redis."""
    clients = [open_redis(redis_url), open_redis(redis_url)]
    here, there = (Signals(client) for client in clients)
    run(here.open())
    run(there.open())
    yield here, there
    for signals, client in ((here, clients[0]), (there, clients[1])):
        run(signals.close())
        run(client.aclose())


async def test_a_signal_reaches_the_other_process(two: tuple[Signals, Signals]) -> None:
    here, there = two

    with there.listen("tasks") as woken:

        async def sent_and_seen() -> bool:  # the subscription may not stand yet at the first try
            await here.send("tasks")
            return woken.is_set()

        assert await eventually(sent_and_seen)


async def test_a_signal_of_another_channel_wakes_nobody(two: tuple[Signals, Signals]) -> None:
    here, there = two

    with there.listen("tasks") as tasks, there.listen("run:1") as run_1:
        await eventually(tasks.is_set)  # a fresh subscription wakes everybody once
        tasks.clear()
        run_1.clear()
        await here.send("run:1")
        await asyncio.wait_for(run_1.wait(), 5)

        assert not tasks.is_set()


async def test_without_redis_this_process_is_still_woken() -> None:
    client = open_redis("redis://127.0.0.1:1/0")
    alone = Signals(client)
    await alone.open()

    with alone.listen("tasks") as woken:
        await alone.send("tasks")
        await asyncio.wait_for(woken.wait(), 1)

    await alone.close()
    await client.aclose()


async def test_closing_ends_the_subscription_at_whatever_moment_it_comes(redis_url: str) -> None:
    for moment in range(40):
        client = open_redis(redis_url)
        signals = Signals(client)
        await signals.open()
        for _ in range(moment):  # so many steps into connecting and subscribing
            await asyncio.sleep(0)

        await asyncio.wait_for(signals.close(), 5)

        await client.aclose()
