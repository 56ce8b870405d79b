"""The kit of `cognitionos crash-test`, on the test's servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cognitionos.cli.crash_test.processes import Processes, clean_environment
from cognitionos.platform.config import Settings


@asynccontextmanager
async def a_product(settings: Settings, **more: str) -> AsyncIterator[Processes]:
    """The product on the servers of `settings`, with short leases."""
    environment = clean_environment(
        DATABASE_URL=settings.database_url.get_secret_value(),
        REDIS_URL=settings.redis_url.get_secret_value(),
        COGNITIONOS_LEASE_S="1",
        COGNITIONOS_SWEEP_S="0.3",
        COGNITIONOS_DATA_DIR=str(settings.data_dir),
        **more,
    )
    processes = Processes(environment=environment, logs=settings.data_dir / "logs")
    try:
        yield processes
    finally:
        await processes.kill_all()


async def its_child_died(process: asyncio.subprocess.Process, *, within_s: float = 20.0) -> bool:
    """Whether `process` (the API's master, whose child serves) has ended because its child killed itself."""
    async with asyncio.timeout(within_s):
        return await process.wait() != 0
