"""Redis for speed, never for truth: short time-outs, and every caller goes on without it."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

REDIS_ERRORS: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)
CONNECT_TIMEOUT_S = 0.5
ANSWER_TIMEOUT_S = 1.0


def open_redis(url: str) -> Redis:
    """A client for `url` that connects at first use and fails within a second instead of hanging."""
    return Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=False,
    )
