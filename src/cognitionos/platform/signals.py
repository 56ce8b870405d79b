"""Wake-ups: 'look again', by Redis pub/sub to every process and at once to this one.

A signal carries no fact and may be lost or doubled: whoever listens reads PostgreSQL, and also looks by its own clock.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redis.asyncio import Redis

from cognitionos.kernel.ids import new_id
from cognitionos.platform.logging import get_logger
from cognitionos.platform.redis import REDIS_ERRORS

log = get_logger(__name__)
CHANNEL_PREFIX = "cognitionos:signal:"
RECONNECT_S = 1.0
_READ_TIMEOUT_S = 30.0
_CANCEL_AGAIN_S = 0.1


class Signals:
    """One subscription per process, fanned out to the listeners in it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._me = new_id().bytes
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._takers: dict[str, Callable[[str], None]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start the subscription on the running loop."""
        self._reader = asyncio.create_task(self._read(), name="signals")

    async def close(self) -> None:
        """Stop the subscription."""
        while self._reader is not None and not self._reader.done():
            self._reader.cancel()  # again, because redis 8.1 swallows a cancellation that meets it while connecting
            await asyncio.wait({self._reader}, timeout=_CANCEL_AGAIN_S)

    async def send(self, channel: str) -> None:
        """Wake every listener of `channel`: here at once, elsewhere as soon as Redis says so. Never raises."""
        self._wake(channel)
        try:
            await self._redis.publish(CHANNEL_PREFIX + channel, self._me)
        except REDIS_ERRORS as error:
            log.debug("signal_not_sent", channel=channel, reason=str(error))

    @contextmanager
    def listen(self, channel: str) -> Iterator[asyncio.Event]:
        """An event that is set at each signal of `channel`; the listener clears it before it looks."""
        woken = asyncio.Event()
        self._listeners[channel].add(woken)
        try:
            yield woken
        finally:
            self._listeners[channel].discard(woken)
            if not self._listeners[channel]:
                del self._listeners[channel]

    def take(self, prefix: str, take: Callable[[str], None]) -> None:
        """Call `take` with the rest of the name of each channel `prefix:...` that is signalled."""
        self._takers[prefix] = take

    def _wake(self, channel: str) -> None:
        for woken in self._listeners.get(channel, ()):
            woken.set()
        prefix, _, rest = channel.partition(":")
        if rest and prefix in self._takers:
            self._takers[prefix](rest)

    async def _read(self) -> None:
        while True:
            try:
                await self._read_until_lost()
            except REDIS_ERRORS as error:
                log.warning("signals_lost", reason=str(error), retry_in_s=RECONNECT_S)
                await asyncio.sleep(RECONNECT_S)

    async def _read_until_lost(self) -> None:
        async with self._redis.pubsub() as subscription:
            await subscription.psubscribe(CHANNEL_PREFIX + "*")
            for channel in list(self._listeners):  # what was sent while the subscription was down
                self._wake(channel)
            while True:
                message = await subscription.get_message(ignore_subscribe_messages=True, timeout=_READ_TIMEOUT_S)
                if message is None:
                    await subscription.ping()
                elif message["type"] == "pmessage" and message["data"] != self._me:  # ours has woken us already
                    self._wake(message["channel"].decode().removeprefix(CHANNEL_PREFIX))
