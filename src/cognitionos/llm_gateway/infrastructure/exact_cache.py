"""Whole answers in Redis for five minutes, by tenant and fingerprint. No Redis, no cache: never an error."""

import asyncio
import time
from uuid import UUID

from redis.asyncio import Redis

from cognitionos.llm_gateway.infrastructure import metrics
from cognitionos.platform.redis import REDIS_ERRORS

KEPT_S = 300
REST_S = 1.0
LARGEST_BYTES = 1_000_000
_PREFIX = "cognitionos:answer"


class ExactCache:
    """Forgets at will. Stores in the background, so that no answer waits for it."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._rest_until = 0.0
        self._storing: set[asyncio.Task[None]] = set()

    async def get(self, tenant_id: UUID, key: str) -> bytes | None:
        """The stored answer; None also when Redis does not answer."""
        if time.monotonic() < self._rest_until:
            return None
        try:
            kept = await self._redis.get(_name(tenant_id, key))
        except REDIS_ERRORS:
            self._rest()
            return None
        return kept if isinstance(kept, bytes) else None

    def put(self, tenant_id: UUID, key: str, answer: bytes) -> None:
        """Store an answer in the background; a very large one is left out."""
        if len(answer) <= LARGEST_BYTES and time.monotonic() >= self._rest_until:
            task = asyncio.get_running_loop().create_task(self._store(_name(tenant_id, key), answer))
            self._storing.add(task)
            task.add_done_callback(self._storing.discard)

    async def stored(self) -> None:
        """Wait until everything put so far is stored or given up."""
        await asyncio.gather(*self._storing)

    async def _store(self, name: str, answer: bytes) -> None:
        try:
            await self._redis.set(name, answer, ex=KEPT_S)
        except REDIS_ERRORS:
            self._rest()

    def _rest(self) -> None:
        """Leave a Redis that fails alone for a while, so that a hanging one does not slow every call."""
        metrics.CACHE_ERRORS.inc()
        self._rest_until = time.monotonic() + REST_S


def _name(tenant_id: UUID, key: str) -> str:
    return f"{_PREFIX}:{tenant_id}:{key}"
