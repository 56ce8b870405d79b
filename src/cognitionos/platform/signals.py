"""Wake-ups: 'look again', by Redis pub/sub to every process and at once to this one.

A signal carries no fact and may be lost or doubled: whoever listens reads PostgreSQL, and also looks by its own clock,
more often while this process knows that it hears nothing (`look_again_s`).
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
SEND_WITHIN_S = 0.2
"""So long a sender waits for Redis; the rest happens behind it."""
DEAF_LOOK_S = 1.0
"""So often what others change is looked for in PostgreSQL while nobody can tell."""
_SILENT_S = 1.0
"""After so much silence Redis is asked for a sign of life; after as much again the subscription is lost."""
_CANCEL_AGAIN_S = 0.1


class Signals:
    """One subscription per process, fanned out to the listeners in it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._me = new_id().bytes
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._takers: dict[str, Callable[[str], None]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._hangs = False
        self.is_deaf = True
        """Whether signals of other processes may pass unheard: no subscription stands, as far as is known."""

    def look_again_s(self, usual_s: float) -> float:
        """How old a copy of what is in PostgreSQL may get: `usual_s`, less while nobody would tell of a change."""
        return min(usual_s, DEAF_LOOK_S) if self.is_deaf else usual_s

    async def open(self) -> None:
        """Start the subscription on the running loop."""
        self._reader = asyncio.create_task(self._read(), name="signals")

    async def close(self) -> None:
        """Stop the subscription."""
        while self._reader is not None and not self._reader.done():
            self._reader.cancel()  # again, because redis 8.1 swallows a cancellation that meets it while connecting
            await asyncio.wait({self._reader}, timeout=_CANCEL_AGAIN_S)
        if self._sending:
            await asyncio.wait(self._sending)

    async def send(self, channel: str) -> None:
        """Wake every listener of `channel`: here at once, elsewhere as soon as Redis says so. Never raises.

        Where Redis hangs, the sender waits `SEND_WITHIN_S`, and no more until Redis has answered.
        """
        self._wake(channel)
        sending = asyncio.create_task(self._publish(channel))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        if not self._hangs:
            _, late = await asyncio.wait({sending}, timeout=SEND_WITHIN_S)
            self._hangs = bool(late)

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

    async def _publish(self, channel: str) -> None:
        try:
            await self._redis.publish(CHANNEL_PREFIX + channel, self._me)
            self._hangs = False
        except REDIS_ERRORS as error:
            log.debug("signal_not_sent", channel=channel, reason=str(error))

    async def _read(self) -> None:
        while True:
            try:
                await self._read_until_lost()
            except REDIS_ERRORS as error:
                self.is_deaf = True
                log.warning("signals_lost", reason=str(error), retry_in_s=RECONNECT_S)
                await asyncio.sleep(RECONNECT_S)

    async def _read_until_lost(self) -> None:
        async with self._redis.pubsub() as subscription:
            await subscription.psubscribe(CHANNEL_PREFIX + "*")
            is_asked = True
            while True:
                message = await subscription.get_message(timeout=_SILENT_S)
                if message is None and is_asked:
                    raise TimeoutError("Redis gives no sign of life")
                is_asked = message is None
                if message is None:
                    await subscription.ping()
                elif message["type"] == "pmessage" and message["data"] != self._me:  # ours has woken us already
                    self._wake(message["channel"].decode().removeprefix(CHANNEL_PREFIX))
                elif message["type"] == "psubscribe":
                    self._hears()

    def _hears(self) -> None:
        self.is_deaf = False
        for channel in list(self._listeners):  # what was sent while the subscription was down
            self._wake(channel)
