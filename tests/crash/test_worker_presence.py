"""Which workers live is known within a lease, however one ends."""

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
import redis.asyncio
from tests.conftest import Run
from tests.crash.kit import a_product
from tests.waiting import eventually

from cognitionos.cli.crash_test.processes import Processes
from cognitionos.platform.config import Settings
from cognitionos.platform.presence import living_workers

LEASE_S = 1.0  # of the kit


@pytest.fixture(scope="module")
def product(settings: Settings, run: Run) -> Iterator[Processes]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(a_product(settings)))
    run(stack.aclose())


async def test_a_killed_worker_is_gone_within_its_lease_and_one_that_is_asked_to_stop_at_once(
    product: Processes, settings: Settings
) -> None:
    client = redis.asyncio.Redis.from_url(settings.redis_url.get_secret_value())

    async def pids() -> set[int]:
        return {worker.pid for worker in await living_workers(client)}

    doomed, leaving = await product.worker(), await product.worker()

    async def both() -> bool:
        return await pids() == {doomed.pid, leaving.pid}

    async def one() -> bool:
        return await pids() == {leaving.pid}

    await eventually(both)
    doomed.kill()
    await doomed.wait()
    killed_at = time.monotonic()
    await eventually(one)
    gone_s = time.monotonic() - killed_at
    leaving.terminate()
    await leaving.wait()

    assert gone_s <= LEASE_S + 0.5
    assert await pids() == set()
    await client.aclose()
