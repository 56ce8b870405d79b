"""Requests a minute for each key: a sliding window in Redis, and one in this process while Redis is gone.

The window is the usual two-bucket estimate: the current bucket's count plus the share of the previous one that still
lies in the last `WINDOW_S` seconds. It guards load, not money, so it fails open to a per-process window (counted).
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from prometheus_client import Counter

from cognitionos.kernel.errors import LimitExceeded
from cognitionos.kernel.value import value
from cognitionos.platform.logging import get_logger
from cognitionos.platform.redis import REDIS_ERRORS
from cognitionos.platform.redis_scripts import RedisScripts, Script

log = get_logger(__name__)

WINDOW_S = 60
RETRY_REDIS_AFTER_S = 5.0
AHEAD_S = 0.25
_SMALLEST_SHARE = 20  # of the limit, that one process takes ahead at most
_MOST_LOCAL_KEYS = 10_000

FALLBACKS = Counter("cognitionos_rate_limit_fallback_total", "Requests limited by this process because Redis was gone")
REFUSED = Counter("cognitionos_rate_limit_refused_total", "Requests refused because their key's rate was used up")

# KEYS: the window. ARGV: limit, window in microseconds, how many. Gives: granted, used (rounded up), microseconds left.
_TAKE = Script("""
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local size, limit = tonumber(ARGV[2]), tonumber(ARGV[1])
local bucket = math.floor(now / size)
local h = redis.call('HMGET', KEYS[1], 'b', 'c', 'p')
local b, c, p = tonumber(h[1] or '-9'), tonumber(h[2] or '0'), tonumber(h[3] or '0')
if b == bucket - 1 then p = c; c = 0 elseif b ~= bucket then p = 0; c = 0 end
local left = size - now % size
local used = c + p * left / size
local granted = math.min(tonumber(ARGV[3]), math.floor(limit - used))
if granted < 1 then
  local wait = left
  if p > 0 and c + 1 <= limit then wait = left - (limit - c - 1) * size / p
  elseif c > 0 then wait = left + size - math.max(0, limit - 1) * size / c end
  return {0, math.ceil(used), math.ceil(math.max(1, wait))}
end
redis.call('HSET', KEYS[1], 'b', bucket, 'c', c + granted, 'p', p)
redis.call('PEXPIRE', KEYS[1], math.ceil(size * 2 / 1000))
return {granted, math.ceil(used + granted), left}
""")


class RateLimited(LimitExceeded):
    """The key has made its requests of this minute; `Retry-After` says when it may go on."""


@value
class Grant:
    """The outcome of one request: how many may pass, what is left, and seconds until there is (more) room."""

    granted: int
    limit: int
    remaining: int
    reset_s: float

    @property
    def allowed(self) -> bool:
        """Whether the request may pass."""
        return self.granted > 0


class RedisWindow:
    """The window that all processes share: one Lua script, one round trip."""

    def __init__(self, scripts: RedisScripts, *, window_s: float = WINDOW_S) -> None:
        self._scripts = scripts
        self._window_us = int(window_s * 1_000_000)

    async def take(self, key: str, limit: int, count: int = 1) -> Grant:
        """Count up to `count` requests of `key`. Raises `REDIS_ERRORS`."""
        arguments = [limit, self._window_us, count]
        granted, used, wait_us = await self._scripts.run(_TAKE, keys=[f"cognitionos:rate:{key}"], args=arguments)
        return Grant(granted=granted, limit=limit, remaining=max(0, limit - used), reset_s=wait_us / 1_000_000)


class LocalWindow:
    """The same window in this process's memory; the least recently used keys are forgotten."""

    def __init__(self, *, window_s: float = WINDOW_S, clock: Callable[[], float] = time.time) -> None:
        self._window_s = window_s
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[int, int, int]] = OrderedDict()

    async def take(self, key: str, limit: int, count: int = 1) -> Grant:
        """Count up to `count` requests of `key`."""
        now, size = self._clock(), self._window_s
        bucket, left = int(now // size), size - now % size
        current, previous = self._counts(key, bucket)
        used = current + previous * left / size
        granted = min(count, int(limit - used))
        if granted < 1:
            wait_s = _wait_s(current, previous, limit=limit, left=left, size=size)
            return Grant(granted=0, limit=limit, remaining=0, reset_s=max(wait_s, 0.001))
        self._buckets[key] = (bucket, current + granted, previous)
        self._buckets.move_to_end(key)
        if len(self._buckets) > _MOST_LOCAL_KEYS:
            self._buckets.popitem(last=False)
        return Grant(granted=granted, limit=limit, remaining=max(0, int(limit - used - granted)), reset_s=left)

    def _counts(self, key: str, bucket: int) -> tuple[int, int]:
        last, current, previous = self._buckets.get(key, (bucket, 0, 0))
        if last == bucket:
            return current, previous
        return (0, current) if last == bucket - 1 else (0, 0)


@dataclass(slots=True)
class _Credit:
    """What this process took ahead for one key, and how fast the key is."""

    left: int = 0
    until: float = 0.0
    shared_remaining: int = 0
    reset_at: float = 0.0
    second: int = 0
    seen: int = 0
    pace: int = 0
    asking: "asyncio.Future[Grant] | None" = None
    waiting: int = 0

    def count(self, now: float) -> None:
        """Note a request; `pace` is the number of the second before, `seen` that of this one until now."""
        if int(now) != self.second:
            self.pace = self.seen if int(now) == self.second + 1 else 0
            self.second, self.seen = int(now), 0
        self.seen += 1


class RateLimiter:
    """`RedisWindow`, and `LocalWindow` for some seconds after each failure of Redis.

    A round trip costs more CPU than the rest of the edge, so a fast key's next `AHEAD_S` are taken at once; of one that
    has just begun, that share of what it made in this second. They are counted before they are used: the limit holds
    over all processes; what is not used in time is lost.
    """

    def __init__(self, shared: RedisWindow, local: LocalWindow, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._local = local
        self._clock = clock
        self._redis_again_at = 0.0
        self._credits: OrderedDict[str, _Credit] = OrderedDict()

    async def take(self, key: str, limit: int) -> Grant:
        """Count one request of `key`, wherever that is possible. Never raises for want of Redis."""
        now = self._clock()
        credit = self._credit(key)
        credit.count(now)
        while credit.asking is not None and credit.left < 1:
            refusal = await _answered(credit, credit.asking)
            if refusal is not None:
                return refusal
        if credit.left > 0 and now < credit.until:
            credit.left -= 1
            remaining = credit.shared_remaining + credit.left
            return Grant(granted=1, limit=limit, remaining=remaining, reset_s=max(0.0, credit.reset_at - now))
        soon = min(int(max(credit.pace, credit.seen) * AHEAD_S), limit // _SMALLEST_SHARE)
        return await self._take_ahead(key, limit, credit, ahead=max(soon, credit.waiting))

    async def _take_ahead(self, key: str, limit: int, credit: _Credit, *, ahead: int) -> Grant:
        """Count this request and `ahead` others; those that come meanwhile wait for the answer."""
        now, asking = self._clock(), asyncio.get_running_loop().create_future()
        credit.asking = asking
        try:
            grant = await self._take(key, limit, 1 + ahead)
            credit.left, credit.until = max(0, grant.granted - 1), now + 2 * AHEAD_S
            credit.shared_remaining, credit.reset_at = grant.remaining, now + grant.reset_s
            asking.set_result(grant)
        finally:
            asking.cancel()
            credit.asking = None
        return replace(grant, remaining=grant.remaining + credit.left)

    async def _take(self, key: str, limit: int, count: int) -> Grant:
        if self._clock() >= self._redis_again_at:
            try:
                return await self._shared.take(key, limit, count)
            except REDIS_ERRORS as error:
                self._redis_again_at = self._clock() + RETRY_REDIS_AFTER_S
                log.warning("rate_limit_falls_back", reason=str(error), retry_in_s=RETRY_REDIS_AFTER_S)
        FALLBACKS.inc()
        return await self._local.take(key, limit)

    def _credit(self, key: str) -> _Credit:
        credit = self._credits.get(key)
        if credit is None:
            credit = self._credits[key] = _Credit()
            if len(self._credits) > _MOST_LOCAL_KEYS:
                self._credits.popitem(last=False)
        return credit


async def _answered(credit: _Credit, asking: "asyncio.Future[Grant]") -> Grant | None:
    """Wait until Redis has answered somebody; a refusal is one for all that waited for it."""
    credit.waiting += 1
    try:
        await asyncio.wait((asking,))
    finally:
        credit.waiting -= 1
    return None if asking.cancelled() or asking.result().allowed else asking.result()


def over(scripts: RedisScripts) -> RateLimiter:
    """The limiter of a process: shared through Redis, local while that is gone."""
    return RateLimiter(RedisWindow(scripts), LocalWindow())


def _wait_s(current: int, previous: int, *, limit: int, left: float, size: float) -> float:
    """Seconds until one more request fits: within this bucket if the previous one fades enough, else in the next."""
    if previous and current + 1 <= limit:
        return left - (limit - current - 1) * size / previous
    if current:
        return left + size - max(0, limit - 1) * size / current
    return left
