"""Reads of webhooks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from cognitionos.planning.domain.webhook import DeliveryNotFound, DeliveryStatus, WebhookNotFound
from cognitionos.platform.database import Database

_WEBHOOK = """
SELECT id, url, description, events, disabled_at IS NULL AS enabled, disabled_because, failing_since, created_at,
  '/v1/webhooks/' || id AS href
FROM webhooks
"""
_WEBHOOKS = _WEBHOOK + "WHERE %(after)s::uuid IS NULL OR id > %(after)s ORDER BY id LIMIT %(limit)s"
_ONE_WEBHOOK = _WEBHOOK + "WHERE id = %(id)s"
_DELIVERY = """
SELECT id, webhook_id, event, run_id, status, attempts, log, body, created_at, next_at, delivered_at,
  '/v1/webhooks/' || webhook_id || '/deliveries/' || id AS href
FROM webhook_deliveries WHERE webhook_id = %(webhook)s
"""
_DELIVERIES = (
    _DELIVERY
    + """
  AND (%(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s))
  AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""
)
_ONE_DELIVERY = _DELIVERY + "AND id = %(id)s"

View = TypeVar("View")


class WebhookView(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint. `failing_since`: no attempt has succeeded since then. Its secret is not shown again."""

    id: UUID
    url: str
    description: str | None
    events: list[str]
    enabled: bool
    disabled_because: str | None
    failing_since: datetime | None
    created_at: datetime
    href: str


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """`status`: what the endpoint answered; null where it did not, `error` says why."""

    at: datetime
    duration_ms: int
    status: int | None
    error: str | None


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """One message, with the log of its attempts; `body` is what was signed and sent."""

    id: UUID
    webhook_id: UUID
    event: str
    run_id: UUID | None
    status: DeliveryStatus
    attempts: int
    log: list[AttemptView]
    body: str
    created_at: datetime
    next_at: datetime | None
    delivered_at: datetime | None
    href: str


class AfterWebhook(NamedTuple):
    """Where a page ended."""

    id: UUID


class AfterDelivery(NamedTuple):
    """Where a page ended."""

    at: datetime
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookQueries:
    """A tenant's own view of its webhooks."""

    database: Database

    async def webhooks(self, tenant_id: UUID, *, limit: int, after: AfterWebhook | None) -> list[WebhookView]:
        """`limit + 1` after the cursor, the oldest first."""
        return await self._read(tenant_id, _WEBHOOKS, {"after": after and after.id, "limit": limit + 1}, WebhookView)

    async def webhook(self, tenant_id: UUID, webhook_id: UUID) -> WebhookView:
        """One, or `WebhookNotFound`."""
        found = await self._read(tenant_id, _ONE_WEBHOOK, {"id": webhook_id}, WebhookView)
        if not found:
            raise WebhookNotFound(f"There is no webhook {webhook_id}.")
        return found[0]

    async def deliveries(
        self,
        tenant_id: UUID,
        webhook_id: UUID,
        *,
        limit: int,
        after: AfterDelivery | None,
        status: DeliveryStatus | None,
    ) -> list[DeliveryView]:
        """The newest `limit + 1` after the cursor, or `WebhookNotFound`."""
        values = {
            "webhook": webhook_id,
            "at": after and after.at,
            "id": after and after.id,
            "status": status and status.value,
            "limit": limit + 1,
        }
        found = await self._read(tenant_id, _DELIVERIES, values, DeliveryView)
        if not found:
            await self.webhook(tenant_id, webhook_id)
        return found

    async def delivery(self, tenant_id: UUID, webhook_id: UUID, delivery_id: UUID) -> DeliveryView:
        """One, or `DeliveryNotFound`."""
        values = {"webhook": webhook_id, "id": delivery_id}
        found = await self._read(tenant_id, _ONE_DELIVERY, values, DeliveryView)
        if not found:
            raise DeliveryNotFound(f"There is no delivery {delivery_id} of this webhook.")
        return found[0]

    async def _read(self, tenant_id: UUID, query: str, values: dict[str, Any], view: type[View]) -> list[View]:
        async with (
            self.database.transaction(tenant_id) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(query.encode(), values)
            return [msgspec.convert(row, view) for row in await cursor.fetchall()]
