"""Scripts on a connection of their own: answers in their order, and whatever goes wrong an error of Redis's client."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from tests.waiting import eventually

from cognitionos.platform import redis_scripts
from cognitionos.platform.redis import REDIS_ERRORS, open_redis
from cognitionos.platform.redis_scripts import RedisScripts, Script

ECHO = Script("return ARGV[1]")
SET = Script("redis.call('SET', KEYS[1], ARGV[1]) return {1, false, ARGV[1], {redis.call('GET', KEYS[1])}}")
WRONG = Script("return redis.call('INCR', KEYS[1])")


class Between:
    """Passes bytes on between clients and Redis. `silent`: what Redis says is kept back."""

    def __init__(self, redis_url: str) -> None:
        self.target = urlsplit(redis_url)
        self.silent = False
        self.connections = 0
        self._open: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, here = await self._connect()
        self._open += (writer, here)

        async def back() -> None:
            while data := await there.read(65536):
                if not self.silent:
                    writer.write(data)

        answers = asyncio.create_task(back())
        while data := await reader.read(65536):
            here.write(data)
        here.close()
        answers.cancel()

    def url(self, port: int) -> str:
        """Redis's address as seen from here."""
        database = "" if self.target.scheme == "unix" else self.target.path
        return f"redis://127.0.0.1:{port}{database}?{self.target.query}"

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.target.scheme == "unix":
            return await asyncio.open_unix_connection(self.target.path)
        return await asyncio.open_connection(self.target.hostname, self.target.port)

    def cut(self) -> None:
        """Close every connection."""
        for each in self._open:
            each.close()


@asynccontextmanager
async def scripts_between(redis_url: str) -> AsyncIterator[tuple[RedisScripts, Between]]:
    between = Between(redis_url)
    server = await asyncio.start_server(between.serve, "127.0.0.1", 0)
    redis = open_redis(between.url(server.sockets[0].getsockname()[1]))
    scripts = RedisScripts(redis)
    try:
        yield scripts, between
    finally:
        await scripts.close()
        await redis.aclose()
        between.cut()
        server.close()


async def echo(scripts: RedisScripts, word: str) -> bytes:
    said: bytes = await scripts.run(ECHO, keys=[], args=[word])
    return said


async def test_a_script_that_redis_does_not_know_is_sent_whole_and_known_from_then_on(redis_url: str) -> None:
    async with scripts_between(redis_url) as (scripts, _), Redis.from_url(redis_url) as redis:
        await redis.script_flush()

        assert await scripts.run(SET, keys=["a"], args=["ö"]) == [1, None, "ö".encode(), ["ö".encode()]]
        assert await redis.script_exists(SET.sha) == [True]
        assert await redis.get("a") == "ö".encode()  # in the database that the URL names


async def test_many_that_ask_at_once_get_each_its_own_answer_on_one_connection(redis_url: str) -> None:
    async with scripts_between(redis_url) as (scripts, between):
        words = [str(number) for number in range(200)]
        said = await asyncio.gather(*(echo(scripts, word) for word in words))

        assert [each.decode() for each in said] == words
        assert between.connections == 1


async def test_whoever_stops_waiting_takes_nobody_elses_answer(redis_url: str) -> None:
    async with scripts_between(redis_url) as (scripts, _):
        await echo(scripts, "first")
        left = asyncio.create_task(echo(scripts, "left"))
        stays = asyncio.create_task(echo(scripts, "stays"))
        await asyncio.sleep(0)
        left.cancel()

        assert await stays == b"stays"


async def test_an_error_of_a_script_is_the_askers_alone(redis_url: str) -> None:
    async with scripts_between(redis_url) as (scripts, between):
        await scripts.run(SET, keys=["b"], args=["no number"])
        wrong, right = await asyncio.gather(
            scripts.run(WRONG, keys=["b"], args=[]), echo(scripts, "right"), return_exceptions=True
        )

        assert isinstance(wrong, ResponseError)
        assert right == b"right"
        assert between.connections == 1


async def test_a_lost_connection_fails_who_waits_and_the_next_one_connects_anew(redis_url: str) -> None:
    async with scripts_between(redis_url) as (scripts, between):
        await echo(scripts, "before")
        between.silent = True
        waits = asyncio.create_task(echo(scripts, "waits"))
        await asyncio.sleep(0)
        between.cut()

        with pytest.raises(REDIS_ERRORS):
            await waits
        between.silent = False
        assert await echo(scripts, "after") == b"after"
        assert between.connections == 2


async def test_a_redis_that_does_not_answer_is_given_up(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_scripts, "ANSWER_TIMEOUT_S", 0.1)
    async with scripts_between(redis_url) as (scripts, between):
        await echo(scripts, "before")
        between.silent = True

        async with asyncio.timeout(5):
            said = await asyncio.gather(*(echo(scripts, "never") for _ in range(3)), return_exceptions=True)

        assert all(isinstance(each, REDIS_ERRORS) for each in said)


async def test_where_redis_hangs_nobody_waits_for_it_twice_and_it_is_found_when_it_is_back(redis_url: str) -> None:
    async with scripts_between(redis_url) as (scripts, between):
        await echo(scripts, "before")
        between.silent = True
        first_s, *others_s = [await _fails_within(scripts) for _ in range(20)]
        between.silent = False

        async def answers() -> bool:
            with suppress(*REDIS_ERRORS):
                return await echo(scripts, "after") == b"after"
            return False

        assert await eventually(answers)
        assert await echo(scripts, "at once") == b"at once"
    assert first_s >= redis_scripts.ANSWER_TIMEOUT_S - 0.05
    assert sum(others_s) < redis_scripts.ANSWER_TIMEOUT_S


async def _fails_within(scripts: RedisScripts) -> float:
    asked = time.monotonic()
    with pytest.raises(REDIS_ERRORS):
        await echo(scripts, "never")
    return time.monotonic() - asked


async def test_without_redis_asking_fails_at_once() -> None:
    redis = open_redis("redis://127.0.0.1:1/0")

    with pytest.raises(REDIS_ERRORS):
        await echo(RedisScripts(redis), "nobody")
    await redis.aclose()
