"""Which workers live: each says so in Redis for as long as its lease lasts, so that a dead one is gone with it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from redis.asyncio import Redis

from cognitionos import __version__
from cognitionos.platform.logging import get_logger
from cognitionos.platform.redis import REDIS_ERRORS

log = get_logger(__name__)
_PREFIX = "cognitionos:worker:"


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process that lives; `id` is what the tasks it holds are leased to."""

    id: str
    host: str
    pid: int
    version: str
    slots: int
    started_at: datetime


@dataclass(frozen=True, kw_only=True)
class Presence:
    """The worker's sign of life. Without Redis nobody is seen, and everybody works on."""

    redis: Redis
    worker: str
    slots: int
    lease_s: float

    async def run(self) -> None:
        """Say so every third of a lease, until cancelled; then take it back."""
        said = msgspec.json.encode(
            Worker(
                id=self.worker,
                host=socket.gethostname(),
                pid=os.getpid(),
                version=__version__,
                slots=self.slots,
                started_at=datetime.now(UTC),
            )
        )
        key = f"{_PREFIX}{self.worker}"
        try:
            while True:
                try:
                    await self.redis.set(key, said, px=int(self.lease_s * 1000))
                except REDIS_ERRORS as error:
                    log.warning("presence_not_said", reason=str(error))
                await asyncio.sleep(self.lease_s / 3)
        finally:
            with suppress(*REDIS_ERRORS):
                await self.redis.delete(key)


async def living_workers(redis: Redis) -> list[Worker]:
    """Who lives, by start. Raises what Redis raises."""
    found = [msgspec.json.decode(said, type=Worker) async for said in _said(redis)]
    return sorted(found, key=lambda worker: worker.started_at)


async def _said(redis: Redis) -> AsyncIterator[bytes | str]:
    async for key in redis.scan_iter(match=f"{_PREFIX}*", count=1000):
        said = await redis.get(key)
        if said is not None:
            yield said
