"""Fixtures that every test may ask for by name (the names are a contract):

- `servers` (session): a real PostgreSQL and a real Redis or Valkey, see `tests/servers.py`.
- `database` (module): `TestDatabase(app_url, owner_url, admin_url)`, migrated to head, cloned from a template, empty.
- `redis_url` (module): an empty Redis database of its own.
- `settings` (module): `Settings` that point at both; no provider configured, local models not looked for.
- `run` (module): `run(coroutine)` runs on the module's event loop, so that plain fixtures can open async resources.

An `async def test_...` runs on one event loop per module, the same as `run`, each under a limit of 60 s
(`@pytest.mark.long`: 600 s). Waiting: `tests/waiting.py`.
"""

import asyncio
import inspect
import itertools
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from tests.servers import (
    TestDatabase,
    TestServers,
    create_database,
    drop_database,
    make_template,
    redis_database,
    running_servers,
)

from cognitionos.platform.config import Settings

# how fast a busy machine makes examples is no property of ours
hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("patient")

Run = Callable[[Coroutine[Any, Any, Any]], Any]

_RUNNER = pytest.StashKey[asyncio.Runner]()
_TEST_LIMIT_S = 180.0
_LONG_TEST_LIMIT_S = 600.0
# a server has 16 databases; 0 is left alone, it may be somebody's
_redis_numbers = itertools.cycle(range(1, 16))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run async tests on their module's event loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    limit_s = _LONG_TEST_LIMIT_S if pyfuncitem.get_closest_marker("long") else _TEST_LIMIT_S
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names if name in pyfuncitem.funcargs}
    _module_runner(pyfuncitem).run(_limited(pyfuncitem.obj(**arguments), limit_s))
    return True


async def _limited(test: Coroutine[Any, Any, Any], limit_s: float) -> None:
    async with asyncio.timeout(limit_s):
        await test


def _module_runner(node: pytest.Item | pytest.Module) -> asyncio.Runner:
    module = node.getparent(pytest.Module)
    assert module is not None
    runner = module.stash.get(_RUNNER, None)
    if runner is None:
        runner = module.stash[_RUNNER] = asyncio.Runner()

        def close() -> None:
            del module.stash[_RUNNER]
            runner.close()

        module.addfinalizer(close)
    return runner


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest) -> Run:
    """`run(coroutine)`: its result, on the module's event loop."""
    return _module_runner(request.node).run


@pytest.fixture(scope="session")
def servers() -> Iterator[TestServers]:
    """A real PostgreSQL (superuser URL) and a real Redis or Valkey, for the whole session."""
    with running_servers() as started:
        yield started


@pytest.fixture(scope="session")
def template(servers: TestServers) -> Iterator[TestDatabase]:
    """The migrated database that `database` clones. Connect to it and cloning fails."""
    made = make_template(servers)
    yield made
    drop_database(servers, made)


@pytest.fixture(scope="module")
def database(servers: TestServers, template: TestDatabase) -> Iterator[TestDatabase]:
    """A migrated, empty database of this module's own."""
    clone = create_database(servers, template=template)
    yield clone
    drop_database(servers, clone)


@pytest.fixture(scope="module")
def redis_url(servers: TestServers) -> Iterator[str]:
    """A Redis database of this module's own, empty."""
    url = redis_database(servers, next(_redis_numbers))
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture(scope="module")
def settings(database: TestDatabase, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The product's settings on this module's database and Redis; a port of the system's choice; no provider."""
    return Settings(
        database_url=database.app_url,
        migration_database_url=database.owner_url,
        redis_url=redis_url,
        data_dir=Path(tmp_path_factory.mktemp("data")),
        port=0,
        detect_local_models=False,
        openai_api_key=None,
        openai_base_url=None,
        anthropic_api_key=None,
        model=None,
    )
