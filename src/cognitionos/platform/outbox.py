"""The transactional outbox: one row for each durable subscriber of an event, written in the commit of the change.

A row is deleted by the subscriber's own transaction (`settle`), so it is inbox and outbox in one: no row, effect done.
Messages in Redis only say 'look': a lost one is sent again by the sweep (docs/decisions/0003-outbox.md).
"""

import asyncio
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import msgspec
from prometheus_client import Counter
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from cognitionos.kernel.event import Event
from cognitionos.kernel.ids import new_id
from cognitionos.platform import telemetry
from cognitionos.platform.bus import Bus, Delivery
from cognitionos.platform.database import Database
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
SWEEP_BATCH = 200
MAX_ATTEMPTS = 12
LONGEST_BACKOFF_S = 3600.0
DELIVERIES = "deliveries"
"""The channel of who wrote rows without relaying them: a worker sweeps at once."""

DEAD = Counter("cognitionos_deliveries_dead_total", "Facts that a subscriber failed to take 12 times", ["subscriber"])

_INSERT = """
INSERT INTO outbox (id, tenant_id, event_type, subscriber, payload, traceparent)
VALUES (%s, %s, %s, %s, %s, %s)
"""
_TAKE = """
UPDATE outbox SET attempts = attempts + 1, due_at = now() + interval '60 seconds'
WHERE id = %s AND dead_at IS NULL RETURNING event_type, subscriber, payload, attempts, traceparent
"""
_FAILED = """
UPDATE outbox SET error = %s, due_at = now() + %s, dead_at = CASE WHEN attempts >= %s THEN now() END WHERE id = %s
"""
_UNDELIVERED = """
WITH asked AS (SELECT coalesce(%s::timestamptz, now()) AS at)
SELECT count(outbox.id), asked.at
FROM asked LEFT JOIN outbox
  ON subscriber = %s AND error IS NULL AND created_at <= asked.at
GROUP BY asked.at
"""
_LOOK_AGAIN_S = 0.05


class AlreadyDelivered(Exception):
    """Another worker finished this delivery first; the transaction that finds out must be rolled back."""


class Send(Protocol):
    """Puts a wake-up for one delivery on the queue; may block for a network round trip, may raise if Redis is gone."""

    def __call__(self, delivery_id: UUID, tenant_id: UUID, /) -> None: ...


async def write(connection: AsyncConnection[Any], bus: Bus, events: list[Event]) -> list[UUID]:
    """Write the rows of `events` in the transaction of `connection`; gives the ids to relay after the commit."""
    carrier: dict[str, str] = {}
    telemetry.inject(carrier)
    trace = carrier.get("traceparent")
    rows = [
        (new_id(), event.tenant_id, type(event).__name__, subscription.name, Jsonb(msgspec.to_builtins(event)), trace)
        for event in events
        for subscription in bus.subscribers(event)
    ]
    if rows:
        async with connection.cursor() as cursor:
            await cursor.executemany(_INSERT, rows)
    return [row[0] for row in rows]


async def settle(connection: AsyncConnection[Any], delivery: Delivery) -> None:
    """Mark `delivery` done in the subscriber's own transaction, or raise `AlreadyDelivered`."""
    cursor = await connection.execute("DELETE FROM outbox WHERE id = %s", (delivery.id,))
    if cursor.rowcount == 0:
        raise AlreadyDelivered


class Outbox:
    """Relays rows after the commit, delivers them in a worker, sweeps what a crash left behind."""

    def __init__(self, *, database: Database, bus: Bus, send: Send) -> None:
        self._database = database
        self._bus = bus
        self._send = send

    async def relay(self, tenant_id: UUID, ids: list[UUID]) -> None:
        """Wake a worker for each row just committed. Failing is harmless: the sweep finds the row seconds later."""
        if ids:
            await asyncio.to_thread(self._relay_all, [(row_id, tenant_id) for row_id in ids])

    async def sweep(self) -> int:
        """Wake a worker for each row that is due and was not delivered; gives their number."""
        async with self._database.connection() as connection:
            cursor = await connection.execute("SELECT delivery_id, tenant FROM due_deliveries(%s)", (SWEEP_BATCH,))
            due = [(row[0], row[1]) for row in await cursor.fetchall()]
        if due:
            await asyncio.to_thread(self._relay_all, due)
        return len(due)

    async def caught_up(self, tenant_id: UUID, subscriber: str, *, within_s: float) -> bool:
        """Wait until `subscriber` has heard what this tenant had published by now; False when that takes too long.

        What failed once is not waited for.
        """
        asked: datetime | None = None
        try:
            async with asyncio.timeout(within_s):
                while True:
                    async with self._database.transaction(tenant_id) as connection:
                        cursor = await connection.execute(_UNDELIVERED, (asked, subscriber))
                        undelivered, asked = (await cursor.fetchall())[0]
                    if not undelivered:
                        return True
                    await asyncio.sleep(_LOOK_AGAIN_S)
        except TimeoutError:
            return False

    async def deliver(self, delivery_id: UUID, tenant_id: UUID) -> None:
        """Run the subscriber of one row. A failure is recorded with the time of the next attempt."""
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_TAKE, (delivery_id,))).fetchone()
        if row is None:
            return
        event_name, subscriber, payload, attempt, trace = row
        delivery = Delivery(id=delivery_id, tenant_id=tenant_id, attempt=attempt)
        try:
            with telemetry.span(
                f"deliver {event_name}", kind="consumer", carrier={"traceparent": trace} if trace else None
            ):
                await self._handle(event_name, subscriber, payload, delivery)
        except AlreadyDelivered:
            return
        except Exception as error:
            log.exception("delivery_failed", event_type=event_name, subscriber=subscriber, attempt=attempt)
            await self._failed(delivery, error)
            if attempt >= MAX_ATTEMPTS:
                DEAD.labels(subscriber).inc()

    async def _handle(self, event_name: str, subscriber: str, payload: object, delivery: Delivery) -> None:
        subscription = self._bus.subscription(event_name, subscriber)
        if subscription is None:
            raise LookupError(f"no subscriber {subscriber} of {event_name} in this version")
        event = msgspec.convert(payload, subscription.event_type, strict=False)
        await subscription.handle(event, delivery)
        async with self._database.transaction(delivery.tenant_id) as connection:
            await connection.execute("DELETE FROM outbox WHERE id = %s", (delivery.id,))

    async def _failed(self, delivery: Delivery, error: Exception) -> None:
        wait = timedelta(seconds=min(2.0**delivery.attempt, LONGEST_BACKOFF_S))
        async with self._database.transaction(delivery.tenant_id) as connection:
            await connection.execute(_FAILED, (repr(error)[:2000], wait, MAX_ATTEMPTS, delivery.id))

    def _relay_all(self, due: list[tuple[UUID, UUID]]) -> None:
        try:
            for delivery_id, tenant_id in due:
                self._send(delivery_id, tenant_id)
        except Exception as error:  # noqa: BLE001 - whatever the queue's client raises, the sweep sends again
            log.warning("relay_failed", reason=str(error), rows=len(due))
