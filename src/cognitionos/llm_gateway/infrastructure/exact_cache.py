"""Whole answers in Redis for five minutes, by tenant and fingerprint. No Redis, no cache: never an error."""

import time
from uuid import UUID

from redis.asyncio import Redis

from cognitionos.llm_gateway.infrastructure import metrics
from cognitionos.llm_gateway.infrastructure.batching import GroupCommit
from cognitionos.platform.redis import REDIS_ERRORS

KEPT_S = 300
REST_S = 1.0
LARGEST_BYTES = 1_000_000
_PREFIX = "cognitionos:answer"


class ExactCache:
    """Forgets at will. Stores in the background, so that no answer waits for it.

    Look-ups that come together share a round trip, and so do stores: each costs more CPU than the rest of a hit.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._rest_until = 0.0
        self._lookups: GroupCommit[str, bytes | None] = GroupCommit(self._look_up)
        self._stores: GroupCommit[tuple[str, bytes], None] = GroupCommit(self._store)

    async def get(self, tenant_id: UUID, key: str) -> bytes | None:
        """The stored answer; None also when Redis does not answer."""
        if time.monotonic() < self._rest_until:
            return None
        return await self._lookups.submit(_name(tenant_id, key))

    def put(self, tenant_id: UUID, key: str, answer: bytes) -> None:
        """Store an answer in the background; a very large one is left out."""
        if len(answer) <= LARGEST_BYTES and time.monotonic() >= self._rest_until:
            self._stores.submit((_name(tenant_id, key), answer))

    async def stored(self) -> None:
        """Wait until everything put so far is stored or given up."""
        await self._stores.drain()

    async def _look_up(self, names: list[str]) -> list[bytes | None]:
        try:
            kept = await self._redis.mget(names)
        except REDIS_ERRORS:
            self._rest()
            return [None] * len(names)
        return [each if isinstance(each, bytes) else None for each in kept]

    async def _store(self, answers: list[tuple[str, bytes]]) -> list[None]:
        try:
            async with self._redis.pipeline(transaction=False) as together:
                for name, answer in answers:
                    together.set(name, answer, ex=KEPT_S)
                await together.execute()
        except REDIS_ERRORS:
            self._rest()
        return [None] * len(answers)

    def _rest(self) -> None:
        """Leave a Redis that fails alone for a while, so that a hanging one does not slow every call."""
        metrics.CACHE_ERRORS.inc()
        self._rest_until = time.monotonic() + REST_S


def _name(tenant_id: UUID, key: str) -> str:
    return f"{_PREFIX}:{tenant_id}:{key}"
