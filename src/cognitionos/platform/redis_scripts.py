"""Scripts in Redis for hot paths: redis-py's connections and hiredis, without redis-py's work for each command.

For each command redis-py takes a connection out of its pool, looks whether it is alive, sets time-outs and wakes a task
twice: more CPU than anything else a lone call did for itself (`docs/performance.md`). Here everything goes down one
connection at once, in the order it was asked; redis-py makes it (address, TLS, password, database).
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio import Connection, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from cognitionos.platform.once import Once
from cognitionos.platform.redis import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, REDIS_ERRORS

_MORE = object()
Word = bytes | str | int | float


class Script:
    """A Lua script, sent by its hash."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisScripts:
    """Runs scripts. Connects at first use, and again at the next one after the connection was lost.

    Where Redis let somebody wait in vain it hangs, and nobody else waits: until it can be connected to, which each use
    tries anew behind it, they fail at once.
    """

    def __init__(self, redis: Redis) -> None:
        self._pool = redis.connection_pool
        self._line: _Line | None = None
        self._connects: Once[None, _Line] = Once()
        self._hangs = False

    async def run(self, script: Script, *, keys: Sequence[bytes | str], args: Sequence[Word]) -> Any:
        """What the script gives, texts as bytes. Raises `REDIS_ERRORS`."""
        try:
            return await self._run(script, keys, args)
        except RedisTimeoutError:
            self._hangs = True
            raise

    async def _run(self, script: Script, keys: Sequence[bytes | str], args: Sequence[Word]) -> Any:
        line = self._line
        if line is None or line.is_lost:
            connecting = self._connects.begin(None, self._connect)
            if self._hangs:
                raise RedisTimeoutError("Redis hangs")
            line = await asyncio.shield(connecting)
        reply = await line.ask(("EVALSHA", script.sha, len(keys), *keys, *args))
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            reply = await line.ask(("EVAL", script.text, len(keys), *keys, *args))
        if isinstance(reply, hiredis.ReplyError):
            raise ResponseError(str(reply))
        return reply

    async def close(self) -> None:
        """Close the connection; what is under way fails."""
        if self._line is not None:
            self._line.lose(RedisConnectionError("closed"))

    async def _connect(self) -> "_Line":
        connection: Connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except REDIS_ERRORS:
            self._hangs = loop.time() - began >= CONNECT_TIMEOUT_S  # redis-py has no one name for a time-out
            raise
        self._line, self._hangs = _Line(connection), False
        return self._line


class _Line(asyncio.Protocol):
    """One connection, as redis-py has set it up: questions go out as they come, answers come in their order."""

    def __init__(self, connection: Connection) -> None:
        writer = connection._writer  # noqa: SLF001 - nothing public leads to it; redis-py reads no more from here on
        if writer is None:
            raise RedisConnectionError("the connection was lost at once")
        self.is_lost = False
        self._connection = connection
        self._transport = writer.transport
        self._loop = asyncio.get_running_loop()
        self._replies = hiredis.Reader(notEnoughData=_MORE)
        self._asked: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._transport.set_protocol(self)

    def ask(self, words: tuple[Any, ...]) -> "asyncio.Future[Any]":
        """The answer to one command; who stops waiting for it disturbs nobody."""
        answer = self._loop.create_future()
        if self.is_lost:
            answer.set_exception(RedisConnectionError("the connection was lost"))
            return answer
        now = self._loop.time()
        self._asked.append((now, answer))
        if self._timer is None:
            self._timer = self._loop.call_at(now + ANSWER_TIMEOUT_S, self._look_at_the_clock)
        self._transport.write(hiredis.pack_command(words))
        return answer

    def lose(self, error: Exception) -> None:
        """Give it up: whoever waits is told."""
        if self.is_lost:
            return
        self.is_lost = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        for _, answer in self._asked:
            if not answer.done():
                answer.set_exception(error)
        self._asked.clear()

    def data_received(self, data: bytes) -> None:
        """Answers. What Redis says without having been asked is not for us."""
        try:
            self._replies.feed(data)
            while (reply := self._replies.gets()) is not _MORE:
                if not isinstance(reply, hiredis.PushNotification):
                    _, answer = self._asked.popleft()
                    if not answer.done():
                        answer.set_result(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            self.lose(RedisConnectionError(f"not what was asked: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side is gone."""
        self.lose(RedisConnectionError("Redis closed the connection" if exc is None else str(exc)))

    def _look_at_the_clock(self) -> None:
        """The oldest question's time is up, or it was when the timer was set: one timer serves them all."""
        self._timer = None
        if self._asked:
            due = self._asked[0][0] + ANSWER_TIMEOUT_S
            if due <= self._loop.time():
                self.lose(RedisTimeoutError("Redis does not answer"))
            else:
                self._timer = self._loop.call_at(due, self._look_at_the_clock)
