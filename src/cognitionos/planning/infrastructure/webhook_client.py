"""What webhooks need of the world: a POST that leads nowhere inside, secrets that are sealed, a counter."""

import asyncio
import os
import time
from dataclasses import dataclass
from uuid import UUID

import aiohttp
from prometheus_client import Counter

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.errors import DomainError
from cognitionos.planning.domain.webhook import Attempt
from cognitionos.platform.http import HttpClient
from cognitionos.platform.http_address import AllowedHosts
from cognitionos.platform.http_guard import check_base_url
from cognitionos.platform.sealing import SealingKey, seal, unseal

WITHIN_S = 15.0
_KEY_BYTES = 32

ATTEMPTS = Counter("cognitionos_webhook_attempts_total", "Attempts to deliver to webhooks", ["outcome"])


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookClient:
    """Sends. `http` resolves with a `PublicResolver` of the same `allowed`: each connect is checked again."""

    http: HttpClient
    allowed: AllowedHosts
    now: Clock
    within_s: float = WITHIN_S

    async def check(self, url: str) -> None:
        """Raise `BadUrl` or `DestinationRefused` for a URL that leads inside."""
        await check_base_url(url, self.allowed)

    async def post(self, url: str, headers: dict[str, str], body: str) -> Attempt:
        """One attempt. Redirects are not followed, and of the answer only its status is looked at."""
        at, started = self.now(), time.perf_counter()
        status, error = None, None
        try:
            async with asyncio.timeout(self.within_s):
                await self.check(url)
                async with self.http.session.post(
                    url, headers=headers, data=body.encode(), allow_redirects=False
                ) as response:
                    status = response.status
        except TimeoutError:
            error = f"no answer within {self.within_s:g} s"
        except DomainError as refusal:
            error = refusal.detail
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            error = f"the request failed: {type(failure).__name__}"
        duration_ms = round((time.perf_counter() - started) * 1000)
        return Attempt(at=at, duration_ms=duration_ms, status=status, error=error)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSecrets:
    """`Secrets` under the installation's key."""

    key: SealingKey

    def new(self) -> bytes:
        """See `Secrets.new`."""
        return os.urandom(_KEY_BYTES)

    def seal(self, webhook_id: UUID, secret: str) -> bytes:
        """See `Secrets.seal`."""
        return seal(self.key, secret, about=f"webhook:{webhook_id}")

    def unseal(self, webhook_id: UUID, sealed: bytes) -> str:
        """See `Secrets.unseal`."""
        return unseal(self.key, sealed, about=f"webhook:{webhook_id}", named="the webhook's secret")


def observe(outcome: str) -> None:
    """Count an attempt."""
    ATTEMPTS.labels(outcome).inc()
