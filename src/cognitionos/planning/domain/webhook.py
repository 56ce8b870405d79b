"""Webhooks: what they may be told, how a message is signed, and how long an endpoint is tried.

Signatures are Standard Webhooks' (version 1): HMAC-SHA256 over `id.timestamp.body`, keyed with what follows `whsec_`.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from cognitionos.kernel.errors import Conflict, Invalid, LimitExceeded, NotFound

PING = "webhook.ping"
DISABLED = "webhook.disabled"
BUDGET = "budget.threshold"
EVENTS = (
    "run.queued", "run.planned", "run.started", "run.paused", "run.resumed", "run.retried", "run.signalled",
    "run.succeeded", "run.failed", "run.cancelled", "task.failed", "approval.requested", "approval.decided", BUDGET,
    DISABLED,
)  # fmt: skip
"""What a webhook may ask for: what is rare in a run, and of budgets. Task by task is for the event stream."""

MOST_WEBHOOKS = 20
LONGEST_URL = 2_000
RETRY_AFTER_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds between one attempt and the next; after the last there is none."""
DISABLED_AFTER = timedelta(days=5)
PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)


class WebhookNotFound(NotFound):
    """There is no webhook with this id."""


class DeliveryNotFound(NotFound):
    """There is no delivery with this id."""


class BadWebhook(Invalid):
    """The URL, an event or the secret is not one that a webhook can have."""


class TooManyWebhooks(LimitExceeded):
    """A tenant has at most 20 webhooks."""


class WebhookDisabled(Conflict):
    """The webhook is told nothing until it is enabled again."""


class DeliveryPending(Conflict):
    """The delivery is still being tried."""


class DeliveryStatus(StrEnum):
    """How far a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What became of one attempt: the endpoint's status, or why there is none."""

    at: datetime
    duration_ms: int
    status: int | None = None
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        """Any 2xx; a redirect is not followed and not a success."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """410: the endpoint wants nothing any more."""
        return self.status == 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One delivery that is due: `body` is sent as it is, at each attempt the same, under the same `id`."""

    id: UUID
    webhook_id: UUID
    tenant_id: UUID
    url: str
    sealed_secrets: tuple[bytes, ...]
    body: str
    attempts: int


def must_be_events(events: Sequence[str]) -> list[str]:
    """`events`, each once, in order. Raises `BadWebhook`."""
    faults = {
        f"events.{place}": f"must be one of {', '.join(EVENTS)}"
        for place, event in enumerate(events)
        if event not in EVENTS
    }
    if not events:
        faults = {"events": "must name at least one event"}
    if faults:
        field, fault = next(iter(faults.items()))
        raise BadWebhook(f"{field}: {fault}", fields=faults)
    return list(dict.fromkeys(events))


def must_be_secret(secret: str) -> str:
    """`secret`, if it is `whsec_` and the base64 of 24 to 64 bytes. Raises `BadWebhook`."""
    try:
        size = len(_key(secret)) if secret.startswith(PREFIX) else 0
    except (binascii.Error, ValueError):
        size = 0
    if size not in _SECRET_BYTES:
        fault = {"secret": "must be 'whsec_' and the base64 of 24 to 64 bytes"}
        raise BadWebhook(f"secret: {fault['secret']}", fields=fault)
    return secret


def secret_of(key: bytes) -> str:
    """A key as receivers' libraries take it."""
    return PREFIX + base64.b64encode(key).decode()


def signature(secret: str, message_id: str, at: datetime, body: str) -> str:
    """`v1,` and the base64 of the HMAC-SHA256, as the header `webhook-signature` carries it."""
    signed = f"{message_id}.{int(at.timestamp())}.{body}"
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed.encode(), "sha256")).decode()


def next_attempt_in(attempts: int) -> timedelta | None:
    """When to try again after `attempts` (at least 1) have failed; None: no more."""
    return timedelta(seconds=RETRY_AFTER_S[attempts - 1]) if attempts <= len(RETRY_AFTER_S) else None


def why_disabled(attempt: Attempt, failing_since: datetime) -> str | None:
    """Why a webhook is told nothing any more after this failed attempt; None: it is."""
    if attempt.is_gone:
        return "it answered 410 Gone"
    if attempt.at - failing_since >= DISABLED_AFTER:
        return f"every attempt since {failing_since.isoformat(timespec='seconds')} has failed"
    return None


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
