"""What the operator's commands share: the database and Redis themselves, not a tenant's key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from cognitionos.cli.note import SECRET_FILE, running_stack
from cognitionos.cli.settings import read_settings
from cognitionos.kernel.errors import NotFound

if TYPE_CHECKING:
    from cognitionos.composition.base import Base
    from cognitionos.composition.tenancy import TenancyServices
    from cognitionos.platform.config import Settings

_REMEDY = "Set DATABASE_URL, or start the local stack ('cognitionos up') and name its directory with --data"


class NoSuchTenant(NotFound):
    """No tenant has that name."""


def operator_settings(data_dir: Path) -> "Settings":
    """The environment's; what it leaves open about the servers and the secret is the running stack's of `data_dir`.

    A DATABASE_URL that is not the stack's leaves the stack out of it. Raises `DatabaseUnreachable`.
    """
    from cognitionos.platform.database_url import require_database

    given = read_settings().model_fields_set
    note = running_stack(data_dir) or {}
    known: dict[str, str] = {}
    if note and not ("database_url" in given and note.get("database_url")):
        known = {name: note[name] for name in ("database_url", "redis_url") if note.get(name)}
        if (secret := data_dir / SECRET_FILE).exists():
            known["secret_key"] = secret.read_text().strip()
    settings = read_settings(to_serve=True, **{name: known[name] for name in known.keys() - given})
    require_database(settings.database_url.get_secret_value(), remedy=_REMEDY)
    return settings


@asynccontextmanager
async def operator_base(data_dir: Path) -> "AsyncIterator[Base]":
    """The platform on these servers, its database open for the length of a block."""
    from cognitionos.composition import base as platform

    base = platform.build(operator_settings(data_dir))
    await base.database.open()
    try:
        yield base
    finally:
        await base.database.close()
        await base.redis.aclose()


async def find_tenant(services: "TenancyServices", name: str) -> tuple[UUID, UUID]:
    """The ids of a tenant and of its first project. Raises `NoSuchTenant`."""
    found = await services.key_store.find_tenant(name)
    if found is None:
        raise NoSuchTenant(f"There is no tenant '{name}'; 'cognitionos tenants create {name}' makes it.")
    return found
