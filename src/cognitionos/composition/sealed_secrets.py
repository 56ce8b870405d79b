"""Which sealed secrets the present `COGNITIONOS_SECRET_KEY` opens, for `cognitionos doctor`."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import psycopg

from cognitionos.agents.infrastructure.mcp_servers import opened_secrets
from cognitionos.agents.infrastructure.sql_tool import opened_address
from cognitionos.agents.infrastructure.tool_store import ToolStore
from cognitionos.composition import base as platform
from cognitionos.composition.base import Base
from cognitionos.kernel.errors import Unavailable
from cognitionos.llm_gateway.infrastructure.own_models import OwnModelsStore
from cognitionos.llm_gateway.infrastructure.provider_keys import opened_key
from cognitionos.planning.infrastructure.webhook_client import SealedSecrets
from cognitionos.planning.infrastructure.webhook_store import PostgresWebhooks
from cognitionos.platform.config import Settings
from cognitionos.platform.diagnosis import Finding, tenants_of
from cognitionos.platform.sealing import SealingKey, SecretUnreadable

MOST_TENANTS = 2_000
Opens = Callable[[SealingKey], object]
"""Opens one secret with a key, or raises `SecretUnreadable`."""


def examine_secrets(settings: Settings) -> Finding:
    """How many of them do not open. It looks at each tenant in turn, by that tenant's policy."""
    owner = settings.migration_database_url or settings.database_url
    try:
        tenants = tenants_of(owner.get_secret_value())
        counted = asyncio.run(_counted(settings, tenants[:MOST_TENANTS]))
    except (psycopg.Error, Unavailable) as error:
        return Finding(
            name="sealed secrets",
            ok=False,
            detail=f"not looked at: {str(error).strip()}",
            remedy="let MIGRATION_DATABASE_URL name cognitionos_owner",
            required=False,
        )
    among = f" of the {MOST_TENANTS:,} newest tenants" if len(tenants) > MOST_TENANTS else ""
    if not counted.closed:
        before = f", {counted.before} under COGNITIONOS_SECRET_KEY_BEFORE" if counted.before else ""
        detail = f"{counted.kept.total()} kept{among}, none unreadable{before}"
        return Finding(name="sealed secrets", ok=True, detail=detail)
    named = ", ".join(f"{count} of {counted.kept[kind]} {kind}" for kind, count in counted.closed.items())
    return Finding(
        name="sealed secrets",
        ok=False,
        detail=f"sealed under another COGNITIONOS_SECRET_KEY{among}: {named}",
        remedy="set that as COGNITIONOS_SECRET_KEY_BEFORE, or have their owners set them anew"
        " (docs/operations.md, 'The secret key')",
        required=False,
    )


@dataclass(slots=True)
class _Counted:
    """What is kept and what of it does not open, by kind; how many open by the key before only."""

    kept: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    before: int = 0

    def add(self, kind: str, opens: Opens, key: SealingKey) -> None:
        self.kept[kind] += 1
        if _opens(opens, SealingKey(key.present)):
            return
        if _opens(opens, key):
            self.before += 1
        else:
            self.closed[kind] += 1


def _opens(opens: Opens, key: SealingKey) -> bool:
    try:
        opens(key)
    except SecretUnreadable:
        return False
    return True


async def _counted(settings: Settings, tenants: Sequence[UUID]) -> _Counted:
    counted, base = _Counted(), platform.build(settings)
    await base.database.open()
    try:
        for tenant_id in tenants:
            for kind, purpose, opens in await _sealed(base, tenant_id):
                counted.add(kind, opens, SealingKey.of(settings, purpose))
    finally:
        await base.database.close()
        await base.redis.aclose()
    return counted


async def _sealed(base: Base, tenant_id: UUID) -> list[tuple[str, str, Opens]]:
    """Every secret of a tenant: its kind, what its key is for, and how it is opened."""
    providers, tools = OwnModelsStore(base.database, base.signals), ToolStore(base.database)
    webhooks = PostgresWebhooks(database=base.database)
    return [
        *(
            ("keys of providers", "provider-keys", partial(opened_key, row=row))
            for row in await providers.providers(tenant_id)
            if row.sealed_key is not None
        ),
        *(
            ("secrets of tool servers", "tool-secrets", partial(opened_secrets, server=row))
            for row in await tools.servers(tenant_id)
            if row.sealed is not None
        ),
        *(
            ("addresses of databases", "tool-secrets", partial(opened_address, row=row))
            for row in await tools.databases(tenant_id)
        ),
        *(
            ("secrets of webhooks", "webhook-secrets", partial(_opened_webhook, webhook_id=webhook_id, sealed=sealed))
            for webhook_id, sealed in (await webhooks.sealed(tenant_id)).items()
        ),
    ]


def _opened_webhook(key: SealingKey, webhook_id: UUID, sealed: bytes) -> str:
    return SealedSecrets(key=key).unseal(webhook_id, sealed)
