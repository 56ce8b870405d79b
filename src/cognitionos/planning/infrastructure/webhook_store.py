"""Webhooks and their deliveries in PostgreSQL. What is to be sent is an outbox row, due when the attempt is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from cognitionos.events.planning import WebhookDue
from cognitionos.planning.application.webhooks import SUBSCRIBER, Change, NewWebhook
from cognitionos.planning.domain.webhook import (
    DISABLED,
    MOST_WEBHOOKS,
    Attempt,
    DeliveryNotFound,
    DeliveryPending,
    Message,
    TooManyWebhooks,
    WebhookDisabled,
    WebhookNotFound,
    next_attempt_in,
    why_disabled,
)
from cognitionos.platform import outbox
from cognitionos.platform.bus import Delivery
from cognitionos.platform.database import Database

Connection = AsyncConnection[Any]

_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('webhooks:' || %s, 0))"
_SEALED = "SELECT id, sealed FROM webhooks"
_COUNT = "SELECT count(*) FROM webhooks"
_ADD = """
INSERT INTO webhooks (id, tenant_id, url, description, events, sealed) VALUES (%s, %s, %s, %s, %s, %s)
"""
_CHANGE = """
UPDATE webhooks SET url = coalesce(%(url)s, url), events = coalesce(%(events)s, events),
  disabled_at = CASE WHEN %(enabled)s THEN NULL WHEN NOT %(enabled)s THEN coalesce(disabled_at, now())
    ELSE disabled_at END,
  disabled_because = CASE WHEN %(enabled)s THEN NULL
    WHEN NOT %(enabled)s AND disabled_at IS NULL THEN 'it was disabled by hand' ELSE disabled_because END,
  failing_since = CASE WHEN %(enabled)s THEN NULL ELSE failing_since END
WHERE id = %(id)s
"""
_REMOVE = "DELETE FROM webhooks WHERE id = %s"
_RENEW_SECRET = """
UPDATE webhooks w SET sealed = %s, (sealed_before, before_until) = (
  SELECT array_agg(b.sealed), array_agg(b.until) FROM (
    SELECT w.sealed, %s::timestamptz AS until
    UNION ALL SELECT o.sealed, o.until FROM unnest(w.sealed_before, w.before_until) AS o (sealed, until)
    WHERE o.until > now() ORDER BY until DESC LIMIT 10
  ) AS b
) WHERE w.id = %s
"""  # noqa: S105
_IS_DISABLED = "SELECT disabled_at IS NOT NULL FROM webhooks WHERE id = %s"
_ENQUEUE = """
WITH told AS (
  INSERT INTO webhook_deliveries (id, tenant_id, webhook_id, event, body)
  SELECT gen_random_uuid(), w.tenant_id, w.id, %(event)s,
    json_build_object('type', %(event)s::text, 'timestamp', now(), 'data', %(data)s::jsonb)::text
  FROM webhooks w
  WHERE w.disabled_at IS NULL AND (w.id = %(webhook)s OR (%(webhook)s::uuid IS NULL AND %(event)s = ANY (w.events)))
  RETURNING id, tenant_id
), due AS (
  INSERT INTO outbox (id, tenant_id, event_type, subscriber, payload, due_at)
  SELECT gen_random_uuid(), t.tenant_id, 'WebhookDue', %(subscriber)s,
    jsonb_build_object('tenant_id', t.tenant_id, 'at', now(), 'event_id', gen_random_uuid(), 'delivery_id', t.id), now()
  FROM told t
)
SELECT id FROM told
"""
_ENDED = """
SELECT d.status <> 'pending', w.disabled_at IS NOT NULL FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
WHERE d.id = %s AND d.webhook_id = %s FOR UPDATE OF d
"""
_AGAIN = "UPDATE webhook_deliveries SET status = 'pending', attempts = 0, next_at = now() WHERE id = %s"
_DUE = """
SELECT d.id, d.webhook_id, d.tenant_id, w.url, w.sealed,
  ARRAY(SELECT o.sealed FROM unnest(w.sealed_before, w.before_until) AS o (sealed, until) WHERE o.until > now()),
  d.body, d.attempts, w.disabled_at IS NOT NULL
FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.id = %s AND d.status = 'pending'
"""
_GIVE_UP = "UPDATE webhook_deliveries SET status = 'failed', next_at = NULL WHERE id = %s"
_OUTBOX = """
INSERT INTO outbox (id, tenant_id, event_type, subscriber, payload, due_at)
SELECT gen_random_uuid(), %(tenant)s, 'WebhookDue', %(subscriber)s,
  jsonb_build_object(
    'tenant_id', %(tenant)s::uuid, 'at', now(), 'event_id', gen_random_uuid(), 'delivery_id', %(id)s::uuid
  ),
  now() + %(after)s::interval
"""
_RECORD = """
UPDATE webhook_deliveries SET status = %(status)s, attempts = attempts + 1, log = log || %(entry)s::jsonb,
  next_at = now() + %(after)s::interval, delivered_at = CASE WHEN %(status)s = 'delivered' THEN now() END
WHERE id = %(id)s
"""
_WORKS = "UPDATE webhooks SET failing_since = NULL WHERE id = %s AND failing_since IS NOT NULL"
_FAILS = "UPDATE webhooks SET failing_since = coalesce(failing_since, %s) WHERE id = %s RETURNING failing_since"
_DISABLE = """
UPDATE webhooks SET disabled_at = now(), disabled_because = %s WHERE id = %s AND disabled_at IS NULL RETURNING url
"""
_FORGET = """
DELETE FROM webhook_deliveries WHERE webhook_id = %s AND created_at < now() - interval '30 days' AND status <> 'pending'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresWebhooks:
    """A `WebhookStore`."""

    database: Database

    async def add(self, tenant_id: UUID, webhook_id: UUID, *, new: NewWebhook, sealed: bytes) -> None:
        """See `WebhookStore.add`."""
        async with self.database.transaction(tenant_id) as connection:
            await connection.execute(_ONE_AT_A_TIME, (str(tenant_id),))
            row = await (await connection.execute(_COUNT)).fetchone()
            if row is not None and row[0] >= MOST_WEBHOOKS:
                raise TooManyWebhooks(f"There are {MOST_WEBHOOKS} webhooks already; delete one.")
            values = (webhook_id, tenant_id, new.url, new.description, list(new.events), sealed)
            await connection.execute(_ADD, values)

    async def change(self, tenant_id: UUID, webhook_id: UUID, change: Change) -> None:
        """See `WebhookStore.change`."""
        events = None if change.events is None else list(change.events)
        values = {"url": change.url, "events": events, "enabled": change.enabled, "id": webhook_id}
        async with self.database.transaction(tenant_id) as connection:
            _must_be_one(await connection.execute(_CHANGE, values), webhook_id)

    async def remove(self, tenant_id: UUID, webhook_id: UUID) -> None:
        """See `WebhookStore.remove`."""
        async with self.database.transaction(tenant_id) as connection:
            _must_be_one(await connection.execute(_REMOVE, (webhook_id,)), webhook_id)

    async def renew_secret(self, tenant_id: UUID, webhook_id: UUID, sealed: bytes, *, before_until: datetime) -> None:
        """See `WebhookStore.renew_secret`."""
        async with self.database.transaction(tenant_id) as connection:
            _must_be_one(await connection.execute(_RENEW_SECRET, (sealed, before_until, webhook_id)), webhook_id)

    async def sealed(self, tenant_id: UUID) -> dict[UUID, bytes]:
        """The secret that each webhook of the tenant signs with, as it is kept."""
        async with self.database.transaction(tenant_id) as connection:
            return dict(await (await connection.execute(_SEALED)).fetchall())

    async def enqueue(self, tenant_id: UUID, webhook_id: UUID, event: str, data: dict[str, str]) -> UUID:
        """See `WebhookStore.enqueue`."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_IS_DISABLED, (webhook_id,))).fetchone()
            if row is None:
                raise _not_found(webhook_id)
            found = await _enqueue(connection, webhook_id, event, data)
            if not found:
                raise WebhookDisabled(f"The webhook {webhook_id} is disabled.")
        return found[0]

    async def tell(self, tenant_id: UUID, event: str, data: dict[str, str | None], delivery: Delivery) -> None:
        """See `WebhookStore.tell`."""
        async with self.database.transaction(tenant_id) as connection:
            await outbox.settle(connection, delivery)
            await _enqueue(connection, None, event, data)

    async def replay(self, tenant_id: UUID, webhook_id: UUID, delivery_id: UUID) -> None:
        """See `WebhookStore.replay`."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_ENDED, (delivery_id, webhook_id))).fetchone()
            if row is None:
                raise DeliveryNotFound(f"There is no delivery {delivery_id} of this webhook.")
            if not row[0]:
                raise DeliveryPending(f"The delivery {delivery_id} is still being tried.")
            if row[1]:
                raise WebhookDisabled(f"The webhook {webhook_id} is disabled.")
            await connection.execute(_AGAIN, (delivery_id,))
            await _due(connection, tenant_id, delivery_id, timedelta())

    async def due(self, tenant_id: UUID, delivery_id: UUID) -> Message | None:
        """See `WebhookStore.due`. What is due at a webhook that was disabled meanwhile has failed."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_DUE, (delivery_id,))).fetchone()
            if row is not None and row[8]:
                await connection.execute(_GIVE_UP, (delivery_id,))
        if row is None or row[8]:
            return None
        secrets = tuple(bytes(each) for each in (row[4], *row[5]))
        return Message(
            id=row[0],
            webhook_id=row[1],
            tenant_id=row[2],
            url=row[3],
            sealed_secrets=secrets,
            body=row[6],
            attempts=row[7],
        )

    async def later(self, due: WebhookDue, delivery: Delivery, after: timedelta) -> None:
        """See `WebhookStore.later`."""
        async with self.database.transaction(due.tenant_id) as connection:
            await outbox.settle(connection, delivery)
            await _due(connection, due.tenant_id, due.delivery_id, after)

    async def record(self, message: Message, attempt: Attempt, delivery: Delivery) -> str:
        """See `WebhookStore.record`: delivered, retried, given_up or disabled."""
        async with self.database.transaction(message.tenant_id) as connection:
            await outbox.settle(connection, delivery)
            if attempt.succeeded:
                await _keep(connection, message, attempt, "delivered", None)
                await connection.execute(_WORKS, (message.webhook_id,))
                await connection.execute(_FORGET, (message.webhook_id,))
                return "delivered"
            row = await (await connection.execute(_FAILS, (attempt.at, message.webhook_id))).fetchone()
            if row is None:  # deleted while it was asked
                return "given_up"
            reason, after = why_disabled(attempt, row[0]), next_attempt_in(message.attempts + 1)
            if reason is not None:
                await _keep(connection, message, attempt, "failed", None)
                await _disable(connection, message, reason)
                return "disabled"
            await _keep(connection, message, attempt, "failed" if after is None else "pending", after)
            if after is None:
                return "given_up"
            await _due(connection, message.tenant_id, message.id, after)
            return "retried"


async def _keep(
    connection: Connection, message: Message, attempt: Attempt, status: str, after: timedelta | None
) -> None:
    entry = {
        "at": attempt.at.isoformat(),
        "duration_ms": attempt.duration_ms,
        "status": attempt.status,
        "error": attempt.error,
    }
    values = {"status": status, "entry": Jsonb([entry]), "after": after, "id": message.id}
    await connection.execute(_RECORD, values)


async def _disable(connection: Connection, message: Message, reason: str) -> None:
    """Tell it nothing more, and those who want to know that."""
    row = await (await connection.execute(_DISABLE, (reason, message.webhook_id))).fetchone()
    if row is not None:
        data = {"webhook_id": str(message.webhook_id), "url": row[0], "reason": reason}
        await _enqueue(connection, None, DISABLED, data)


async def _enqueue(
    connection: Connection, webhook_id: UUID | None, event: str, data: Mapping[str, str | None]
) -> list[UUID]:
    """To one webhook, or to all that asked for `event`."""
    values = {"event": event, "data": Jsonb(data), "webhook": webhook_id, "subscriber": SUBSCRIBER}
    return [row[0] for row in await (await connection.execute(_ENQUEUE, values)).fetchall()]


async def _due(connection: Connection, tenant_id: UUID, delivery_id: UUID, after: timedelta) -> None:
    values = {"tenant": tenant_id, "subscriber": SUBSCRIBER, "id": delivery_id, "after": after}
    await connection.execute(_OUTBOX, values)


def _must_be_one(cursor: Any, webhook_id: UUID) -> None:
    if cursor.rowcount == 0:
        raise _not_found(webhook_id)


def _not_found(webhook_id: UUID) -> WebhookNotFound:
    return WebhookNotFound(f"There is no webhook {webhook_id}.")
