"""Background jobs: Dramatiq over Redis. PostgreSQL remembers what is to be done; a message only says 'look'.

Retries are the outbox's (`MAX_ATTEMPTS`, back-off in the row), so Dramatiq's own are off: a message that fails or is
lost with Redis is sent again by the sweep.
"""

from collections.abc import Awaitable, Callable
from uuid import UUID

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, AsyncIO, ShutdownNotifications, TimeLimit
from redis import ConnectionPool, Redis

QUEUE = "default"
DELIVER = "deliver"
TIME_LIMIT_MS = 600_000
AGE_LIMIT_MS = 3_600_000

Deliver = Callable[[UUID, UUID], Awaitable[None]]


def make_broker(redis_url: str) -> RedisBroker:
    """A broker on `redis_url`. No global broker: actors are declared on the one they are given."""
    pool = ConnectionPool.from_url(redis_url, socket_connect_timeout=0.5, socket_timeout=10)
    middleware = [
        AgeLimit(max_age=AGE_LIMIT_MS),
        TimeLimit(time_limit=TIME_LIMIT_MS),
        ShutdownNotifications(),
        AsyncIO(),
    ]
    return RedisBroker(  # type: ignore[no-untyped-call]
        client=Redis(connection_pool=pool), middleware=middleware, namespace="cognitionos"
    )


def sender(broker: RedisBroker) -> Callable[[UUID, UUID], None]:
    """A `Send` for the outbox: enqueues without needing the actor's code in this process."""

    def send(delivery_id: UUID, tenant_id: UUID) -> None:
        broker.enqueue(
            dramatiq.Message(
                queue_name=QUEUE, actor_name=DELIVER, args=(str(delivery_id), str(tenant_id)), kwargs={}, options={}
            )
        )

    broker.declare_queue(QUEUE)
    return send


def register(broker: RedisBroker, deliver: Deliver) -> None:
    """Declare the one actor every message is for."""

    @dramatiq.actor(actor_name=DELIVER, queue_name=QUEUE, broker=broker)
    async def deliver_one(delivery_id: str, tenant_id: str) -> None:
        await deliver(UUID(delivery_id), UUID(tenant_id))
