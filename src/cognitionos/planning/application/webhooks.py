"""Webhooks: endpoints of the tenant's own that are told what happens in runs, and tried for days."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from cognitionos.events.llm_gateway import BudgetThresholdReached
from cognitionos.events.planning import WebhookDue
from cognitionos.kernel.clock import Clock
from cognitionos.kernel.errors import Unavailable
from cognitionos.kernel.money import usd_text
from cognitionos.kernel.principal import Principal
from cognitionos.planning.domain.webhook import (
    BUDGET,
    LONGEST_URL,
    PING,
    Attempt,
    BadWebhook,
    Message,
    must_be_events,
    must_be_secret,
    secret_of,
    signature,
)
from cognitionos.platform.bus import Delivery
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
SUBSCRIBER = "planning.webhooks"
BUDGETS = "planning.webhooks_of_budgets"
"""The durable subscribers: of what is due, and of budgets."""
OLD_SECRET_FOR = timedelta(hours=24)
AT_ONCE_EACH = 4
AT_ONCE = 12
"""Messages under way at once in a process: to one webhook, to all. What hangs must leave room for other jobs."""
BUSY_AGAIN_IN = timedelta(seconds=2)

CheckUrl = Callable[[str], Awaitable[None]]
Post = Callable[[str, dict[str, str], str], Awaitable[Attempt]]
"""POST a body with these headers; what fails is an `Attempt` too."""
Wake = Callable[[], Awaitable[None]]
"""Tells workers that something is due."""


class WebhookStore(Protocol):
    """Webhooks of one tenant at a time."""

    async def add(self, tenant_id: UUID, webhook_id: UUID, *, new: "NewWebhook", sealed: bytes) -> None:
        """Keep a webhook. Raises `TooManyWebhooks`."""

    async def change(self, tenant_id: UUID, webhook_id: UUID, change: "Change") -> None:
        """Change what is not None; enabling forgets past failures. Raises `WebhookNotFound`."""

    async def remove(self, tenant_id: UUID, webhook_id: UUID) -> None:
        """Forget it with its deliveries. Raises `WebhookNotFound`."""

    async def renew_secret(self, tenant_id: UUID, webhook_id: UUID, sealed: bytes, *, before_until: datetime) -> None:
        """Sign with a new secret, and with the old one too until then. Raises `WebhookNotFound`."""

    async def enqueue(self, tenant_id: UUID, webhook_id: UUID, event: str, data: dict[str, str]) -> UUID:
        """A delivery that is due. Raises `WebhookNotFound`, `WebhookDisabled`."""

    async def tell(self, tenant_id: UUID, event: str, data: dict[str, str | None], delivery: Delivery) -> None:
        """A delivery that is due for each webhook that asked for `event`; the fact in `delivery` is settled with it."""

    async def replay(self, tenant_id: UUID, webhook_id: UUID, delivery_id: UUID) -> None:
        """Try an ended delivery from the start. Raises `DeliveryNotFound`, `DeliveryPending`, `WebhookDisabled`."""

    async def due(self, tenant_id: UUID, delivery_id: UUID) -> Message | None:
        """What is to be sent; None where nothing is (any more)."""

    async def later(self, due: WebhookDue, delivery: Delivery, after: timedelta) -> None:
        """Look at it again; it was not tried."""

    async def record(self, message: Message, attempt: Attempt, delivery: Delivery) -> str:
        """Keep what became of an attempt, plan the next, disable what has failed for days; the outcome in a word."""


class Secrets(Protocol):
    """Seals what signs, for one webhook."""

    def new(self) -> bytes:
        """A random key."""

    def seal(self, webhook_id: UUID, secret: str) -> bytes:
        """Unreadable in the database."""

    def unseal(self, webhook_id: UUID, sealed: bytes) -> str:
        """Raises `Unavailable` where the installation's secret is another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWebhook:
    """What somebody asks for; without a `secret` one is made."""

    url: str
    events: Sequence[str]
    description: str | None = None
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is None stays."""

    url: str | None = None
    events: Sequence[str] | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """Use cases of webhooks."""

    store: WebhookStore
    secrets: Secrets
    check_url: CheckUrl
    wake: Wake
    now: Clock
    new_id: Callable[[], UUID]

    async def create(self, who: Principal, new: NewWebhook) -> tuple[UUID, str]:
        """Keep a webhook; its id and its secret, which is not shown again.

        Raises `BadWebhook`, `TooManyWebhooks`, and what the check of the URL raises.
        """
        events = must_be_events(new.events)
        secret = secret_of(self.secrets.new()) if new.secret is None else must_be_secret(new.secret)
        await self._check(new.url)
        webhook_id = self.new_id()
        given = NewWebhook(url=new.url, events=events, description=new.description)
        await self.store.add(who.tenant_id, webhook_id, new=given, sealed=self.secrets.seal(webhook_id, secret))
        log.info("webhook_created", webhook_id=str(webhook_id))
        return webhook_id, secret

    async def change(self, who: Principal, webhook_id: UUID, change: Change) -> None:
        """Raises as `create`, and `WebhookNotFound`."""
        if change.events is not None:
            must_be_events(change.events)
        if change.url is not None:
            await self._check(change.url)
        await self.store.change(who.tenant_id, webhook_id, change)

    async def remove(self, who: Principal, webhook_id: UUID) -> None:
        """Tell it nothing more."""
        await self.store.remove(who.tenant_id, webhook_id)
        log.info("webhook_removed", webhook_id=str(webhook_id))

    async def renew_secret(self, who: Principal, webhook_id: UUID) -> str:
        """A new secret; for a day messages carry a signature of each."""
        secret = secret_of(self.secrets.new())
        sealed = self.secrets.seal(webhook_id, secret)
        await self.store.renew_secret(who.tenant_id, webhook_id, sealed, before_until=self.now() + OLD_SECRET_FOR)
        log.info("webhook_secret_renewed", webhook_id=str(webhook_id))
        return secret

    async def ping(self, who: Principal, webhook_id: UUID) -> UUID:
        """Send a message that means nothing; the delivery's id."""
        delivery_id = await self.store.enqueue(who.tenant_id, webhook_id, PING, {"webhook_id": str(webhook_id)})
        await self.wake()
        return delivery_id

    async def replay(self, who: Principal, webhook_id: UUID, delivery_id: UUID) -> None:
        """Send a delivery again, under its id."""
        await self.store.replay(who.tenant_id, webhook_id, delivery_id)
        await self.wake()

    async def _check(self, url: str) -> None:
        if len(url) > LONGEST_URL:
            fault = {"url": f"must have at most {LONGEST_URL} characters"}
            raise BadWebhook(f"url: {fault['url']}", fields=fault)
        await self.check_url(url)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetTelling:
    """Subscriber of `BudgetThresholdReached`: each alert once to each webhook that asked for it."""

    store: WebhookStore
    wake: Wake

    async def handle(self, event: BudgetThresholdReached, delivery: Delivery) -> None:
        """Enqueue the messages."""
        data = {
            "alert_id": str(event.alert_id),
            "budget_id": str(event.budget_id),
            "subject": event.subject,
            "period": event.period,
            "threshold": event.threshold,
            "limit_usd": usd_text(event.limit_nanousd),
            "spent_usd": usd_text(event.spent_nanousd),
            "resets_at": event.resets_at,
            "alerts_href": "/v1/budgets/alerts",
        }
        await self.store.tell(event.tenant_id, BUDGET, data, delivery)
        await self.wake()


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSending:
    """Subscriber of `WebhookDue`: one attempt, its record, the next one planned. At least once, under the same id."""

    store: WebhookStore
    secrets: Secrets
    post: Post
    now: Clock
    observe: Callable[[str], None]
    _under_way: Counter[UUID] = field(default_factory=Counter)
    _all: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def handle(self, due: WebhookDue, delivery: Delivery) -> None:
        """Send what is due. An endpoint that already has its share of messages under way is come back to."""
        message = await self.store.due(due.tenant_id, due.delivery_id)
        if message is None:
            return
        if self._under_way[message.webhook_id] >= AT_ONCE_EACH or self._all.locked():
            await self.store.later(due, delivery, BUSY_AGAIN_IN)
            return
        async with self._share(message.webhook_id):
            attempt = await self._attempt(message)
        outcome = await self.store.record(message, attempt, delivery)
        self.observe(outcome)
        log.info(
            "webhook_attempted",
            webhook_id=str(message.webhook_id),
            delivery_id=str(message.id),
            attempt=message.attempts + 1,
            outcome=outcome,
            status=attempt.status,
            error=attempt.error,
        )

    @asynccontextmanager
    async def _share(self, webhook_id: UUID) -> AsyncIterator[None]:
        self._under_way[webhook_id] += 1
        try:
            async with self._all:
                yield
        finally:
            self._under_way[webhook_id] -= 1
            if not self._under_way[webhook_id]:
                del self._under_way[webhook_id]

    async def _attempt(self, message: Message) -> Attempt:
        """Nothing is sent unsigned, nor signed with another secret."""
        try:
            headers = self._headers(message)
        except Unavailable as error:
            return Attempt(at=self.now(), duration_ms=0, error=error.detail)
        return await self.post(message.url, headers, message.body)

    def _headers(self, message: Message) -> dict[str, str]:
        at = self.now()
        secrets = [self.secrets.unseal(message.webhook_id, sealed) for sealed in message.sealed_secrets]
        return {
            "content-type": "application/json",
            "user-agent": "CognitionOS",
            "webhook-id": str(message.id),
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(signature(each, str(message.id), at, message.body) for each in secrets),
        }
