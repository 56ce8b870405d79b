"""Circuits that every process shares: one Redis hash of those that are not simply closed, changed by compare-and-set.

Each process keeps a copy, read again at every change (a signal) and every second, so that a call to a healthy
deployment asks nobody. While Redis is gone each process goes on alone with its copy, and hands over what it has opened
when Redis is back. What opened and closed is written to PostgreSQL, for history.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress

import msgspec
from redis.asyncio import Redis

from cognitionos.llm_gateway.application.ports import CircuitStep
from cognitionos.llm_gateway.domain.circuit import CLOSED, Circuit, CircuitState
from cognitionos.llm_gateway.infrastructure import metrics
from cognitionos.llm_gateway.infrastructure.circuit_history import CircuitHistory
from cognitionos.platform.logging import get_logger
from cognitionos.platform.redis import REDIS_ERRORS
from cognitionos.platform.signals import Signals

log = get_logger(__name__)

CHANNEL = "llm_circuits"
KEY = "cognitionos:circuits"
LOOK_AGAIN_S = 1.0
REST_S = 1.0
FORGOTTEN_AFTER_S = 900.0
"""A circuit that nobody touched for so long is as good as new."""
_CHANGE = """
local current = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if current ~= ARGV[2] then return {0, current} end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
redis.call('EXPIRE', KEYS[1], 3600)
return {1, ARGV[3]}
"""


class RedisCircuitStore:
    """See the module. `open` on the loop that uses it."""

    def __init__(self, redis: Redis, signals: Signals, history: CircuitHistory) -> None:
        self._redis = redis
        self._signals = signals
        self._history = history
        self._script = redis.register_script(_CHANGE)
        self._known: dict[str, Circuit] = {}
        self._raw: dict[str, bytes] = {}
        self._one_at_a_time = asyncio.Lock()
        self._clock_ahead_s = 0.0
        self._alone = False
        self._rest_until = 0.0
        self._reader: asyncio.Task[None] | None = None
        self._closing = False

    async def open(self) -> None:
        """Learn what the others know, and keep learning."""
        await self.refresh()
        self._reader = asyncio.create_task(self._keep_fresh(), name="circuits")

    async def close(self) -> None:
        """Stop learning; finish writing."""
        self._closing = True  # a cancellation that meets the end of a read in Redis' client is lost
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader
        await self._history.written()

    @property
    def known(self) -> Mapping[str, Circuit]:
        """Every circuit that is not simply closed."""
        return self._known

    def now(self) -> float:
        """Redis' clock, as far as it is known."""
        return time.time() + self._clock_ahead_s

    async def change(self, deployment: str, step: CircuitStep) -> Circuit | None:
        """One step, against what Redis holds; against our own copy from when it does not answer until it does."""
        async with self._one_at_a_time:
            while True:
                before = self._known.get(deployment, CLOSED)
                after = step(before, self.now())
                if after is None or after == before:
                    return after
                if await self._stored(deployment, after):
                    break
        if after.state is not before.state:
            self._tell(deployment, before, after)
            await self._signals.send(CHANNEL)
        return after

    async def refresh(self) -> None:
        """Take over what Redis holds. Where Redis had been gone, tell it first what was opened meanwhile."""
        if time.monotonic() < self._rest_until or (self._alone and not await self._answers()):
            return
        async with self._one_at_a_time:
            try:
                if self._alone:
                    await self._hand_over()
                async with self._redis.pipeline(transaction=False) as together:
                    together.time()
                    together.hgetall(KEY)
                    (seconds, microseconds), held = await together.execute()
            except REDIS_ERRORS as error:
                self._go_alone(error)
                return
            self._clock_ahead_s = seconds + microseconds / 1e6 - time.time()
            self._alone = False
            self._take(held)

    async def _answers(self) -> bool:
        """Whether Redis does again. No step waits meanwhile."""
        try:
            await self._redis.ping()
        except REDIS_ERRORS as error:
            self._go_alone(error)
            return False
        return True

    async def _stored(self, deployment: str, after: Circuit) -> bool:
        """Whether `after` is in place; if not, our copy is now what another process had put there."""
        text = b"" if after == CLOSED else msgspec.json.encode(after)
        if not self._alone:
            try:
                done, current = await self._script(keys=[KEY], args=[deployment, self._raw.get(deployment, b""), text])
            except REDIS_ERRORS as error:
                self._go_alone(error)
            else:
                self._learn(deployment, current)
                return bool(done)
        self._learn(deployment, text)
        return True

    async def _hand_over(self) -> None:
        for deployment, circuit in self._known.items():
            if circuit.state is not CircuitState.CLOSED:
                await self._redis.hsetnx(KEY, deployment, self._raw[deployment])

    async def _keep_fresh(self) -> None:
        with self._signals.listen(CHANNEL) as woken:
            while not self._closing:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN_S):
                        await woken.wait()
                woken.clear()
                await self.refresh()

    def _take(self, held: Mapping[bytes, bytes]) -> None:
        raw = {name.decode(): text for name, text in held.items()}
        for deployment in set(self._raw) - set(raw):
            self._learn(deployment, b"")
        for deployment, text in raw.items():
            if text != self._raw.get(deployment):
                self._learn(deployment, text)

    def _learn(self, deployment: str, text: bytes) -> None:
        circuit = _read(text)
        if circuit == CLOSED or self.now() - circuit.changed_at > FORGOTTEN_AFTER_S:
            circuit = CLOSED
            self._known.pop(deployment, None)
        else:
            self._known[deployment] = circuit
        if text:
            self._raw[deployment] = text
        else:
            self._raw.pop(deployment, None)
        metrics.circuit_is(deployment, circuit.state)

    def _tell(self, deployment: str, before: Circuit, after: Circuit) -> None:
        log.warning("circuit_changed", deployment=deployment, before=before.state, after=after.state)
        if after.state is CircuitState.OPEN:
            metrics.circuit_opened(deployment)
        self._history.add(deployment, before, after)

    def _go_alone(self, error: Exception) -> None:
        if not self._alone:
            log.warning("circuits_not_shared", reason=str(error))
        self._alone = True
        self._rest_until = time.monotonic() + REST_S


def _read(text: bytes) -> Circuit:
    try:
        return msgspec.json.decode(text, type=Circuit) if text else CLOSED
    except msgspec.DecodeError:  # another version of us wrote it
        return CLOSED
