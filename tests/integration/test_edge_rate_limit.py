"""One suite for both windows, and what happens between them when Redis goes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY
from tests.conftest import Run
from tests.waiting import eventually

from cognitionos.kernel.ids import new_id
from cognitionos.platform.rate_limit import Grant, LocalWindow, RateLimiter, RedisWindow
from cognitionos.platform.redis import open_redis
from cognitionos.platform.redis_scripts import RedisScripts

WINDOW_S = 0.5
Window = RedisWindow | LocalWindow


@asynccontextmanager
async def scripts_at(url: str) -> AsyncIterator[RedisScripts]:
    redis = open_redis(url)
    scripts = RedisScripts(redis)
    yield scripts
    await scripts.close()
    await redis.aclose()


@pytest.fixture(scope="module", params=["redis", "local"])
def window(request: pytest.FixtureRequest, redis_url: str, run: Run) -> Iterator[Window]:
    if request.param == "local":
        yield LocalWindow(window_s=WINDOW_S)
        return
    redis = scripts_at(redis_url)
    yield RedisWindow(run(redis.__aenter__()), window_s=WINDOW_S)
    run(redis.__aexit__(None, None, None))


@pytest.fixture
def key() -> str:
    return str(new_id())


async def test_a_window_lets_the_limit_pass_and_no_more(window: Window, key: str) -> None:
    grants = [await window.take(key, 3) for _ in range(4)]

    assert [grant.allowed for grant in grants] == [True, True, True, False]
    assert [grant.remaining for grant in grants] == [2, 1, 0, 0]


async def test_a_refusal_says_how_long_and_that_is_long_enough_but_not_for_ever(window: Window, key: str) -> None:
    for _ in range(5):
        await window.take(key, 5)
    refused = await window.take(key, 5)

    assert 0 < refused.reset_s <= 2 * WINDOW_S
    passed = await eventually(lambda: _passes(window, key), timeout_s=4 * WINDOW_S)
    assert passed


async def test_keys_do_not_share_a_window(window: Window, key: str) -> None:
    await window.take(key, 1)

    assert (await window.take(key + "other", 1)).allowed


async def test_several_are_granted_at_once_up_to_the_limit(window: Window, key: str) -> None:
    first, second = await window.take(key, 10, 8), await window.take(key, 10, 8)

    assert (first.granted, second.granted) == (8, 2)


async def test_a_fast_key_stays_inside_the_limit_over_two_processes(redis_url: str, key: str) -> None:
    second_s, passed = [0.0], 0

    async with scripts_at(redis_url) as one, scripts_at(redis_url) as other:
        processes = [RateLimiter(RedisWindow(each), LocalWindow(), clock=lambda: second_s[0]) for each in (one, other)]
        for number in range(900):
            second_s[0] = number / 300
            passed += (await processes[number % 2].take(key, 400)).allowed

    assert 380 <= passed <= 400


class CountedWindow(RedisWindow):
    """How often Redis was asked."""

    asked = 0

    async def take(self, key: str, limit: int, count: int = 1) -> Grant:
        self.asked += 1
        return await super().take(key, limit, count)


@pytest.mark.parametrize(("limit", "passed"), [(1000, 40), (19, 19), (3, 3)])
async def test_a_crowd_of_one_key_shares_what_it_asks_redis(redis_url: str, key: str, limit: int, passed: int) -> None:
    async with scripts_at(redis_url) as scripts:
        window = CountedWindow(scripts)
        limiter = RateLimiter(window, LocalWindow())
        grants = await asyncio.gather(*(limiter.take(key, limit) for _ in range(40)))

    assert sum(grant.allowed for grant in grants) == passed
    assert window.asked <= 4


async def test_whoever_waits_goes_on_when_the_one_that_asked_is_cancelled(redis_url: str, key: str) -> None:
    async with asyncio.timeout(5), scripts_at(redis_url) as scripts:
        limiter = RateLimiter(RedisWindow(scripts), LocalWindow())
        asks, waits = (asyncio.create_task(limiter.take(key, 100)) for _ in range(2))
        await asyncio.sleep(0)
        asks.cancel()
        grant = await waits

    assert grant.allowed


async def test_without_redis_each_process_limits_by_itself_and_counts_it(key: str) -> None:
    before = REGISTRY.get_sample_value("cognitionos_rate_limit_fallback_total") or 0

    async with scripts_at("redis://127.0.0.1:1/0") as scripts:
        limiter = RateLimiter(RedisWindow(scripts), LocalWindow())
        grants = [await limiter.take(key, 2) for _ in range(3)]

    assert [grant.allowed for grant in grants] == [True, True, False]
    assert REGISTRY.get_sample_value("cognitionos_rate_limit_fallback_total") == before + 3


async def test_redis_is_asked_again_after_a_while(redis_url: str, key: str) -> None:
    second_s = [0.0]
    async with scripts_at("redis://127.0.0.1:1/0") as gone, scripts_at(redis_url) as back:
        limiter = RateLimiter(RedisWindow(gone), LocalWindow(), clock=lambda: second_s[0])
        await limiter.take(key, 5)
        limiter._shared = RedisWindow(back)

        second_s[0] += 6
        await limiter.take(key, 5)
        shared = await RedisWindow(back).take(key, 5)

    assert shared.remaining == 3


async def _passes(window: Window, key: str) -> bool:
    return (await window.take(key, 5)).allowed
