"""Webhooks, wired."""

from dataclasses import dataclass
from functools import partial

from cognitionos.composition.base import Base, Resource
from cognitionos.events.llm_gateway import BudgetThresholdReached
from cognitionos.events.planning import WebhookDue
from cognitionos.planning.application.webhooks import BUDGETS, SUBSCRIBER, BudgetTelling, Webhooks, WebhookSending
from cognitionos.planning.infrastructure.webhook_client import SealedSecrets, WebhookClient, observe
from cognitionos.planning.infrastructure.webhook_queries import WebhookQueries
from cognitionos.planning.infrastructure.webhook_store import PostgresWebhooks
from cognitionos.platform.http import HttpClient
from cognitionos.platform.http_address import AllowedHosts
from cognitionos.platform.http_guard import PublicResolver
from cognitionos.platform.outbox import DELIVERIES
from cognitionos.platform.sealing import SealingKey


@dataclass(frozen=True, kw_only=True)
class WebhookServices:
    """What tells tenants' own endpoints."""

    webhooks: Webhooks
    queries: WebhookQueries
    resources: tuple[Resource, ...]


def build(base: Base) -> WebhookServices:
    """Webhooks on `base`, subscribed to what is due. No I/O."""
    allowed = AllowedHosts.parse(base.settings.webhook_allow)
    http = HttpClient(resolver=PublicResolver(allowed))
    client = WebhookClient(http=http, allowed=allowed, now=base.now)
    secrets = SealedSecrets(key=SealingKey.of(base.settings, "webhook-secrets"))
    store, wake = PostgresWebhooks(database=base.database), partial(base.signals.send, DELIVERIES)
    sending = WebhookSending(store=store, secrets=secrets, post=client.post, now=base.now, observe=observe)
    base.bus.subscribe(WebhookDue, SUBSCRIBER, sending.handle)
    base.bus.subscribe(BudgetThresholdReached, BUDGETS, BudgetTelling(store=store, wake=wake).handle)
    return WebhookServices(
        webhooks=Webhooks(
            store=store, secrets=secrets, check_url=client.check, wake=wake, now=base.now, new_id=base.new_id
        ),
        queries=WebhookQueries(database=base.database),
        resources=(http,),
    )
