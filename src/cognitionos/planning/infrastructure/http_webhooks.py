"""Webhooks over HTTP."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, Router, delete, get, patch, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from cognitionos.kernel.principal import Permission
from cognitionos.planning.application.webhooks import Change, NewWebhook, Webhooks
from cognitionos.planning.domain.webhook import DeliveryStatus
from cognitionos.planning.infrastructure.webhook_queries import (
    AfterDelivery,
    AfterWebhook,
    DeliveryView,
    WebhookQueries,
    WebhookView,
)
from cognitionos.platform.http_api import Who, instance, problems, requires
from cognitionos.platform.idempotency import shows_secret
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page


class CreateWebhook(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where to, and what of; `secret` (`whsec_...`) only to bring one along."""

    url: str
    events: list[str]
    description: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    secret: str | None = None


class ChangeWebhook(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays."""

    url: str | None = None
    events: list[str] | None = None
    enabled: bool | None = None


class CreatedWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """The secret is shown this once."""

    id: UUID
    secret: str
    href: str


class WebhookSecret(msgspec.Struct, frozen=True, kw_only=True):
    """The new secret, shown this once. For 24 hours messages are signed with the old one as well."""

    secret: str


class WebhookRoutes(Controller):
    """Endpoints that are told what happens."""

    path = "/v1/webhooks"
    tags = ("webhooks",)

    @post(
        status_code=201,
        guards=[requires(Permission.TENANT_ADMIN)],
        opt=shows_secret(),
        summary="Create a webhook",
        responses=problems(403),
        response_headers=[ResponseHeader(name="Location", description="the webhook", documentation_only=True)],
    )
    async def create(
        self, data: JSONBody[CreateWebhook], webhooks: NamedDependency[Webhooks], who: Who
    ) -> Response[CreatedWebhook]:
        """It is told of what happens from now on. At most 20."""
        new = NewWebhook(url=data.url, events=data.events, description=data.description, secret=data.secret)
        webhook_id, secret = await webhooks.create(who, new)
        href = f"/v1/webhooks/{webhook_id}"
        created = CreatedWebhook(id=webhook_id, secret=secret, href=href)
        return Response(created, status_code=201, headers={"location": href})

    @get(guards=[requires(Permission.RUNS_READ)], summary="List webhooks")
    async def list_webhooks(
        self,
        webhook_queries: NamedDependency[WebhookQueries],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[WebhookView]:
        """The oldest first."""
        after = decode_cursor(cursor, AfterWebhook)
        rows = await webhook_queries.webhooks(who.tenant_id, limit=limit, after=after)
        return page(rows, limit, lambda row: (row.id,))

    @get(
        "/{webhook_id:uuid}", guards=[requires(Permission.RUNS_READ)], summary="Read a webhook", responses=problems(404)
    )
    async def read(
        self, webhook_id: FromPath[UUID], webhook_queries: NamedDependency[WebhookQueries], who: Who
    ) -> WebhookView:
        """How it is doing."""
        return await webhook_queries.webhook(who.tenant_id, webhook_id)

    @patch(
        "/{webhook_id:uuid}",
        guards=[requires(Permission.TENANT_ADMIN)],
        summary="Change, disable or enable a webhook",
        responses=problems(404, 422),
    )
    async def change(
        self,
        webhook_id: FromPath[UUID],
        data: JSONBody[ChangeWebhook],
        webhooks: NamedDependency[Webhooks],
        webhook_queries: NamedDependency[WebhookQueries],
        who: Who,
    ) -> WebhookView:
        """Enabling forgets that it failed. What is due while it is disabled fails, and can be replayed."""
        await webhooks.change(who, webhook_id, Change(url=data.url, events=data.events, enabled=data.enabled))
        return await webhook_queries.webhook(who.tenant_id, webhook_id)

    @delete(
        "/{webhook_id:uuid}",
        guards=[requires(Permission.TENANT_ADMIN)],
        summary="Delete a webhook",
        responses=problems(404),
    )
    async def remove(self, webhook_id: FromPath[UUID], webhooks: NamedDependency[Webhooks], who: Who) -> None:
        """With its deliveries."""
        await webhooks.remove(who, webhook_id)

    @post(
        "/{webhook_id:uuid}/secret",
        status_code=200,
        guards=[requires(Permission.TENANT_ADMIN)],
        opt=shows_secret(),
        summary="Renew a webhook's secret",
        responses=problems(404),
    )
    async def renew_secret(
        self, webhook_id: FromPath[UUID], webhooks: NamedDependency[Webhooks], who: Who
    ) -> WebhookSecret:
        """The old one goes on to sign, beside it, for 24 hours."""
        return WebhookSecret(secret=await webhooks.renew_secret(who, webhook_id))

    @post(
        "/{webhook_id:uuid}/ping",
        status_code=202,
        guards=[requires(Permission.TENANT_ADMIN)],
        summary="Send a test message",
        responses=problems(404, 409),
    )
    async def ping(
        self,
        webhook_id: FromPath[UUID],
        webhooks: NamedDependency[Webhooks],
        webhook_queries: NamedDependency[WebhookQueries],
        who: Who,
    ) -> DeliveryView:
        """A message of type `webhook.ping`."""
        delivery_id = await webhooks.ping(who, webhook_id)
        return await webhook_queries.delivery(who.tenant_id, webhook_id, delivery_id)

    @get(
        "/{webhook_id:uuid}/deliveries",
        guards=[requires(Permission.RUNS_READ)],
        summary="List a webhook's deliveries",
        responses=problems(404),
    )
    async def deliveries(
        self,
        webhook_id: FromPath[UUID],
        webhook_queries: NamedDependency[WebhookQueries],
        who: Who,
        status: FromQuery[DeliveryStatus | None] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[DeliveryView]:
        """The newest first. What has ended is kept for 30 days."""
        after = decode_cursor(cursor, AfterDelivery)
        rows = await webhook_queries.deliveries(who.tenant_id, webhook_id, limit=limit, after=after, status=status)
        return page(rows, limit, lambda row: (row.created_at, row.id))

    @get(
        "/{webhook_id:uuid}/deliveries/{delivery_id:uuid}",
        guards=[requires(Permission.RUNS_READ)],
        summary="Read a delivery",
        responses=problems(404),
    )
    async def delivery(
        self,
        webhook_id: FromPath[UUID],
        delivery_id: FromPath[UUID],
        webhook_queries: NamedDependency[WebhookQueries],
        who: Who,
    ) -> DeliveryView:
        """With its body and the log of its attempts."""
        return await webhook_queries.delivery(who.tenant_id, webhook_id, delivery_id)

    @post(
        "/{webhook_id:uuid}/deliveries/{delivery_id:uuid}/replay",
        status_code=202,
        guards=[requires(Permission.TENANT_ADMIN)],
        summary="Send a delivery again",
        responses=problems(404, 409),
    )
    async def replay(
        self,
        webhook_id: FromPath[UUID],
        delivery_id: FromPath[UUID],
        webhooks: NamedDependency[Webhooks],
        webhook_queries: NamedDependency[WebhookQueries],
        who: Who,
    ) -> DeliveryView:
        """Under the same `webhook-id`, so that a receiver sees that it is the same message."""
        await webhooks.replay(who, webhook_id, delivery_id)
        return await webhook_queries.delivery(who.tenant_id, webhook_id, delivery_id)


def routes(webhooks: Webhooks, webhook_queries: WebhookQueries) -> Router:
    """The routes, with what they need."""
    return Router(
        path="/",
        route_handlers=[WebhookRoutes],
        dependencies={"webhooks": instance(webhooks), "webhook_queries": instance(webhook_queries)},
    )
