"""Which sealed secrets the present `COGNITIONOS_SECRET_KEY` opens, for `cognitionos doctor`."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
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
from cognitionos.platform.crypto import purpose_key
from cognitionos.platform.diagnosis import Finding, tenants_of
from cognitionos.platform.sealing import SecretUnreadable

MOST_TENANTS = 2_000
Opens = Callable[[], object]
"""Opens one secret, or raises `SecretUnreadable`."""


def examine_secrets(settings: Settings) -> Finding:
    """How many of them do not open. It looks at each tenant in turn, by that tenant's policy."""
    owner = settings.migration_database_url or settings.database_url
    try:
        tenants = tenants_of(owner.get_secret_value())
        kept, closed = asyncio.run(_counted(settings, tenants[:MOST_TENANTS]))
    except (psycopg.Error, Unavailable) as error:
        return Finding(
            name="sealed secrets",
            ok=False,
            detail=f"not looked at: {str(error).strip()}",
            remedy="let MIGRATION_DATABASE_URL name cognitionos_owner",
            required=False,
        )
    among = f" of the {MOST_TENANTS:,} newest tenants" if len(tenants) > MOST_TENANTS else ""
    if not closed:
        return Finding(name="sealed secrets", ok=True, detail=f"{kept.total()} kept{among}, none unreadable")
    named = ", ".join(f"{count} of {kept[kind]} {kind}" for kind, count in closed.items())
    return Finding(
        name="sealed secrets",
        ok=False,
        detail=f"sealed under another COGNITIONOS_SECRET_KEY{among}: {named}",
        remedy="set the former key again, or have their owners set them anew (docs/operations.md, 'The secret key')",
        required=False,
    )


async def _counted(settings: Settings, tenants: Sequence[UUID]) -> tuple[Counter[str], Counter[str]]:
    """What is kept, and what of it does not open, by kind."""
    kept, closed = Counter[str](), Counter[str]()
    base = platform.build(settings)
    await base.database.open()
    try:
        for tenant_id in tenants:
            for kind, opens in await _sealed(base, tenant_id):
                kept[kind] += 1
                try:
                    opens()
                except SecretUnreadable:
                    closed[kind] += 1
    finally:
        await base.database.close()
        await base.redis.aclose()
    return kept, closed


async def _sealed(base: Base, tenant_id: UUID) -> list[tuple[str, Opens]]:
    key = partial(purpose_key, base.settings.secret_key.get_secret_value())
    providers, tools = OwnModelsStore(base.database, base.signals), ToolStore(base.database)
    webhooks, secrets = PostgresWebhooks(database=base.database), SealedSecrets(key=key("webhook-secrets"))
    return [
        *(
            ("keys of providers", partial(opened_key, key("provider-keys"), row))
            for row in await providers.providers(tenant_id)
            if row.sealed_key is not None
        ),
        *(
            ("secrets of tool servers", partial(opened_secrets, key("tool-secrets"), row))
            for row in await tools.servers(tenant_id)
            if row.sealed is not None
        ),
        *(
            ("addresses of databases", partial(opened_address, key("tool-secrets"), row))
            for row in await tools.databases(tenant_id)
        ),
        *(
            ("secrets of webhooks", partial(secrets.unseal, webhook_id, sealed))
            for webhook_id, sealed in (await webhooks.sealed(tenant_id)).items()
        ),
    ]
