"""Requests a minute for each key: a sliding window in Redis, and one in this process while Redis is gone.

The window is the usual two-bucket estimate: the current bucket's count plus the share of the previous one that still
lies in the last `WINDOW_S` seconds. It guards load, not money, so it fails open to a per-process window (counted).
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Counter
from redis.asyncio import Redis

from cognitionos.kernel.errors import LimitExceeded
from cognitionos.platform.logging import get_logger
from cognitionos.platform.redis import REDIS_ERRORS

log = get_logger(__name__)

WINDOW_S = 60
RETRY_REDIS_AFTER_S = 5.0
_MOST_LOCAL_KEYS = 10_000

FALLBACKS = Counter("cognitionos_rate_limit_fallback_total", "Requests limited by this process because Redis was gone")
REFUSED = Counter("cognitionos_rate_limit_refused_total", "Requests refused because their key's rate was used up")

# KEYS: the window. ARGV: limit, window in microseconds. Gives: allowed (0/1), used (rounded up), microseconds to wait.
_TAKE = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local size = tonumber(ARGV[2])
local limit = tonumber(ARGV[1])
local bucket = math.floor(now / size)
local h = redis.call('HMGET', KEYS[1], 'b', 'c', 'p')
local b, c, p = tonumber(h[1] or '-9'), tonumber(h[2] or '0'), tonumber(h[3] or '0')
if b == bucket - 1 then p = c; c = 0 elseif b ~= bucket then p = 0; c = 0 end
local left = size - now % size
local used = c + p * left / size
if used + 1 > limit then
  local wait = left
  if p > 0 and c + 1 <= limit then wait = left - (limit - c - 1) * size / p
  elseif c > 0 then wait = left + size - math.max(0, limit - 1) * size / c end
  return {0, math.ceil(used), math.ceil(math.max(1, wait))}
end
redis.call('HSET', KEYS[1], 'b', bucket, 'c', c + 1, 'p', p)
redis.call('PEXPIRE', KEYS[1], math.ceil(size * 2 / 1000))
return {1, math.ceil(used + 1), left}
"""


class RateLimited(LimitExceeded):
    """The key has made its requests of this minute; `Retry-After` says when it may go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The outcome of one request: whether it may pass, what is left, and seconds until there is (more) room."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: float


class RedisWindow:
    """The window that all processes share: one Lua script, one round trip."""

    def __init__(self, redis: Redis, *, window_s: float = WINDOW_S) -> None:
        self._script = redis.register_script(_TAKE)
        self._window_us = int(window_s * 1_000_000)

    async def take(self, key: str, limit: int) -> Grant:
        """Count one request of `key`. Raises `REDIS_ERRORS`."""
        allowed, used, wait_us = await self._script(keys=[f"cognitionos:rate:{key}"], args=[limit, self._window_us])
        return Grant(allowed=bool(allowed), limit=limit, remaining=max(0, limit - used), reset_s=wait_us / 1_000_000)


class LocalWindow:
    """The same window in this process's memory; the least recently used keys are forgotten."""

    def __init__(self, *, window_s: float = WINDOW_S, clock: Callable[[], float] = time.time) -> None:
        self._window_s = window_s
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[int, int, int]] = OrderedDict()

    async def take(self, key: str, limit: int) -> Grant:
        """Count one request of `key`."""
        now, size = self._clock(), self._window_s
        bucket, left = int(now // size), size - now % size
        current, previous = self._counts(key, bucket)
        used = current + previous * left / size
        if used + 1 > limit:
            wait_s = _wait_s(current, previous, limit=limit, left=left, size=size)
            return Grant(allowed=False, limit=limit, remaining=0, reset_s=max(wait_s, 0.001))
        self._buckets[key] = (bucket, current + 1, previous)
        self._buckets.move_to_end(key)
        if len(self._buckets) > _MOST_LOCAL_KEYS:
            self._buckets.popitem(last=False)
        return Grant(allowed=True, limit=limit, remaining=max(0, int(limit - used - 1)), reset_s=left)

    def _counts(self, key: str, bucket: int) -> tuple[int, int]:
        last, current, previous = self._buckets.get(key, (bucket, 0, 0))
        if last == bucket:
            return current, previous
        return (0, current) if last == bucket - 1 else (0, 0)


class RateLimiter:
    """`RedisWindow`, and `LocalWindow` for some seconds after each failure of Redis."""

    def __init__(self, shared: RedisWindow, local: LocalWindow, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._local = local
        self._clock = clock
        self._redis_again_at = 0.0

    async def take(self, key: str, limit: int) -> Grant:
        """Count one request of `key`, wherever that is possible. Never raises for want of Redis."""
        if self._clock() >= self._redis_again_at:
            try:
                return await self._shared.take(key, limit)
            except REDIS_ERRORS as error:
                self._redis_again_at = self._clock() + RETRY_REDIS_AFTER_S
                log.warning("rate_limit_falls_back", reason=str(error), retry_in_s=RETRY_REDIS_AFTER_S)
        FALLBACKS.inc()
        return await self._local.take(key, limit)


def over(redis: Redis) -> RateLimiter:
    """The limiter of a process: shared through `redis`, local while that is gone."""
    return RateLimiter(RedisWindow(redis), LocalWindow())


def _wait_s(current: int, previous: int, *, limit: int, left: float, size: float) -> float:
    """Seconds until one more request fits: within this bucket if the previous one fades enough, else in the next."""
    if previous and current + 1 <= limit:
        return left - (limit - current - 1) * size / previous
    if current:
        return left + size - max(0, limit - 1) * size / current
    return left
