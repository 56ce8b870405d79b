"""The fixtures that all integration tests stand on."""

import asyncio
import inspect

import psycopg
import pytest
import redis
from tests.conftest import Run
from tests.servers import TestDatabase, docker_answers
from tests.waiting import eventually

from cognitionos.platform.config import Settings

_seen_loops: list[asyncio.AbstractEventLoop] = []


def test_a_module_gets_a_migrated_database_of_its_own(database: TestDatabase) -> None:
    with psycopg.connect(database.app_url) as connection:
        row = connection.execute("SELECT version_num, current_user FROM alembic_version").fetchone()

    assert row is not None
    assert row[1] == "cognitionos_app"


def test_the_owner_may_change_the_schema_of_a_clone(database: TestDatabase) -> None:
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("CREATE SCHEMA made_by_owner")
        connection.execute("DROP SCHEMA made_by_owner")


def test_a_module_gets_an_empty_redis_database(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


def test_settings_point_at_both(settings: Settings, database: TestDatabase, redis_url: str) -> None:
    assert settings.database_url.get_secret_value() == database.app_url
    assert settings.redis_url.get_secret_value() == redis_url
    assert settings.openai_base_url is None


async def test_an_async_test_runs() -> None:
    _seen_loops.append(asyncio.get_running_loop())


async def test_all_async_tests_of_a_module_share_one_loop(run: Run) -> None:
    assert asyncio.get_running_loop() in _seen_loops


def test_run_uses_the_same_loop(run: Run) -> None:
    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert run(loop()) in _seen_loops


async def test_eventually_waits_for_plain_and_async_conditions() -> None:
    attempts = iter([0, 0, 7])

    async def later() -> int:
        return next(attempts)

    assert await eventually(later) == 7
    assert inspect.iscoroutinefunction(later)


async def test_eventually_shows_the_last_value() -> None:
    with pytest.raises(AssertionError, match=r"\[\]"):
        await eventually(list, timeout_s=0.02)


def test_asking_for_docker_gives_an_answer_at_once() -> None:
    assert docker_answers() in (True, False)
