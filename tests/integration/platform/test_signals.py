"""Wake-ups: at once in this process, by Redis in the others, and still at once here when Redis is gone."""

import asyncio
import signal
import time
from collections.abc import Iterator

import pytest
from tests.conftest import Run
from tests.servers import scratch_dir
from tests.waiting import eventually

from cognitionos.platform.embedded import EmbeddedServers
from cognitionos.platform.redis import open_redis
from cognitionos.platform.signals import DEAF_LOOK_S, SEND_WITHIN_S, Signals


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


@pytest.fixture
def own_redis() -> Iterator[EmbeddedServers]:
    with scratch_dir() as folder:
        server = EmbeddedServers(folder, postgres=None, valkey=True)
        server.start()
        yield server
        server.stop()


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


async def test_who_hears_nothing_knows_it_looks_more_often_and_no_sender_waits(own_redis: EmbeddedServers) -> None:
    client, process = open_redis(own_redis.urls.redis or ""), own_redis.valkey and own_redis.valkey.process
    assert process is not None
    signals = Signals(client)
    unheard = signals.look_again_s(10)
    await signals.open()
    assert await eventually(lambda: not signals.is_deaf)
    heard = signals.look_again_s(10)

    process.send_signal(signal.SIGSTOP)
    try:
        assert await eventually(lambda: signals.is_deaf)
        began = time.monotonic()
        for _ in range(30):  # a sender that waits for each would wait for 30 time-outs
            await signals.send("tasks")
        took_s = time.monotonic() - began
    finally:
        process.send_signal(signal.SIGCONT)
    with signals.listen("tasks") as woken:
        assert await eventually(lambda: not signals.is_deaf)
        assert await eventually(woken.is_set)  # what was sent meanwhile is looked for

    assert (unheard, heard, signals.look_again_s(0.5)) == (DEAF_LOOK_S, 10, 0.5)
    assert took_s < 30 * SEND_WITHIN_S
    await signals.close()
    await client.aclose()
