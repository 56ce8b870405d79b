"""Reads, straight to what is shown."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from cognitionos.kernel.principal import Principal
from cognitionos.platform.database import Database


class After(NamedTuple):
    """Where a page ended: newest first."""

    created_at: datetime
    id: UUID


_KEYS = """
SELECT id, project_id, name, prefix, scopes, created_at, replaces, expires_at, revoked_at, last_used_at FROM api_keys
WHERE %(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""
_PROJECTS = """
SELECT id, name, created_at FROM projects
WHERE %(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""
_ME = """
SELECT t.name, p.name FROM tenants t JOIN projects p ON p.tenant_id = t.tenant_id WHERE p.id = %s
"""


class ApiKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is listed: everything but the secret. `prefix` is the beginning of the key's text.

    `replaces` is the key that it succeeded, whose budgets it spends from.
    """

    id: UUID
    project_id: UUID
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    replaces: UUID | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class ProjectView(msgspec.Struct, frozen=True, kw_only=True):
    """A project as it is listed."""

    id: UUID
    name: str
    created_at: datetime


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the key stands for."""

    tenant_id: UUID
    tenant: str
    project_id: UUID
    project: str
    api_key_id: UUID | None
    scopes: list[str]


@dataclass(frozen=True, slots=True)
class TenancyQueries:
    """A tenant's own view of itself."""

    database: Database

    async def keys(self, tenant_id: UUID, *, limit: int, after: After | None) -> list[ApiKeyView]:
        """The newest `limit + 1` keys after the cursor."""
        at, key_id = after or (None, None)
        async with self.database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(ApiKeyView))
            await cursor.execute(_KEYS, {"at": at, "id": key_id, "limit": limit + 1})
            return await cursor.fetchall()

    async def projects(self, tenant_id: UUID, *, limit: int, after: After | None) -> list[ProjectView]:
        """The newest `limit + 1` projects after the cursor."""
        at, project_id = after or (None, None)
        async with self.database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(ProjectView))
            await cursor.execute(_PROJECTS, {"at": at, "id": project_id, "limit": limit + 1})
            return await cursor.fetchall()

    async def me(self, who: Principal) -> Me:
        """The caller, with names."""
        async with self.database.transaction(who.tenant_id) as connection:
            row = await (await connection.execute(_ME, (who.project_id,))).fetchone()
        tenant, project = row or ("", "")
        return Me(
            tenant_id=who.tenant_id,
            tenant=tenant,
            project_id=who.project_id,
            project=project,
            api_key_id=who.api_key_id,
            scopes=sorted(scope.value for scope in who.permissions),
        )
