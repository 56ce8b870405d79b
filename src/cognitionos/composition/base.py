"""What every context is built from, and what has a life: opened on the loop that uses it, closed in reverse."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from dramatiq.brokers.redis import RedisBroker
from redis.asyncio import Redis

from cognitionos.kernel.clock import Clock, utc_now
from cognitionos.kernel.ids import new_id
from cognitionos.platform.bus import Bus
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database
from cognitionos.platform.http import HttpClient
from cognitionos.platform.jobs import make_broker, sender
from cognitionos.platform.outbox import Outbox
from cognitionos.platform.redis import open_redis
from cognitionos.platform.redis_scripts import RedisScripts
from cognitionos.platform.signals import Signals


class Resource(Protocol):
    """Something with a life on one event loop."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...


class Background(Protocol):
    """A loop that the worker process runs until it is cancelled: an engine, a sweeper."""

    async def run(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Base:
    """The platform, built but not open."""

    settings: Settings
    database: Database
    redis: Redis
    scripts: RedisScripts
    signals: Signals
    bus: Bus
    broker: RedisBroker
    outbox: Outbox
    http: HttpClient
    now: Clock = utc_now
    new_id: Callable[[], UUID] = new_id

    @property
    def resources(self) -> tuple[Resource, ...]:
        """In the order they are opened."""
        return (self.database, self.signals, self.http)


def build(settings: Settings) -> Base:
    """The platform for `settings`. No I/O."""
    redis = open_redis(settings.redis_url.get_secret_value())
    database = Database(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
    bus = Bus()
    broker = make_broker(settings.redis_url.get_secret_value())
    return Base(
        settings=settings,
        database=database,
        redis=redis,
        scripts=RedisScripts(redis),
        signals=Signals(redis),
        bus=bus,
        broker=broker,
        outbox=Outbox(database=database, bus=bus, send=sender(broker)),
        http=HttpClient(longest_silence_s=settings.attempt_timeout_s),
    )
