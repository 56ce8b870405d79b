"""The hot path: find a key by its prefix, note its use."""

from dataclasses import dataclass
from uuid import UUID

from cognitionos.platform.database import Database
from cognitionos.tenancy.application.ports import KnownKey
from cognitionos.tenancy.infrastructure.tables import scopes_of

_FIND = """
SELECT id, tenant_id, project_id, secret_hash, scopes, expires_at, revoked_at, last_used_at FROM find_api_key(%s)
"""
_NOTE = """
UPDATE api_keys SET last_used_at = now(), secret_hash = %(hash)s
WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute' OR secret_hash <> %(hash)s)
"""
_EARLIER = """
WITH RECURSIVE line (id) AS (
  SELECT replaces FROM api_keys WHERE id = %s
  UNION SELECT k.replaces FROM api_keys k JOIN line l ON k.id = l.id
)
SELECT id FROM line WHERE id IS NOT NULL
"""
_SPEAKS = """
WITH RECURSIVE line (id, revoked_at, expires_at) AS (
  SELECT id, revoked_at, expires_at FROM api_keys WHERE id = %s
  UNION SELECT k.id, k.revoked_at, k.expires_at FROM api_keys k JOIN line l ON k.replaces = l.id
)
SELECT EXISTS (SELECT FROM line WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()))
"""
_OWNED = {
    "project": "SELECT EXISTS (SELECT FROM projects WHERE id = %s)",
    "api_key": "SELECT EXISTS (SELECT FROM api_keys WHERE id = %s)",
}
_TENANT = "SELECT tenant_id, first_project_id FROM find_tenant(%s)"


@dataclass(frozen=True, slots=True)
class KeyStore:
    """Raw statements over the pool of the hot paths."""

    database: Database

    async def find(self, prefix: str) -> KnownKey | None:
        """The key with `prefix`, whoever's it is."""
        async with self.database.connection() as connection:
            row = await (await connection.execute(_FIND, (prefix,))).fetchone()
        if row is None:
            return None
        key_id, tenant_id, project_id, secret_hash, scopes, expires_at, revoked_at, last_used_at = row
        return KnownKey(
            id=key_id,
            tenant_id=tenant_id,
            project_id=project_id,
            secret_hash=bytes(secret_hash),
            scopes=scopes_of(scopes),
            expires_at=expires_at,
            revoked_at=revoked_at,
            last_used_at=last_used_at,
        )

    async def note_use(self, key: KnownKey, secret_hash: bytes) -> None:
        """Write down that `key` was used, at most once a minute, and the hash that it is known by."""
        async with self.database.transaction(key.tenant_id) as connection:
            await connection.execute(_NOTE, {"id": key.id, "hash": secret_hash})

    async def earlier(self, tenant_id: UUID, key_id: UUID) -> tuple[UUID, ...]:
        """The keys that `key_id` replaced, one after the other."""
        async with self.database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_EARLIER, (key_id,))).fetchall()
        return tuple(row[0] for row in rows)

    async def speaks(self, tenant_id: UUID, key_id: UUID) -> bool:
        """Whether `key_id`, or one that replaced it, is neither revoked nor over."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_SPEAKS, (key_id,))).fetchone()
        return row is not None and bool(row[0])

    async def owns(self, tenant_id: UUID, kind: str, identifier: UUID) -> bool:
        """Whether the tenant has this `project` or `api_key`, revoked ones among them; of other kinds nobody knows."""
        if kind not in _OWNED:
            return True
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_OWNED[kind].encode(), (identifier,))).fetchone()
        return bool(row and row[0])

    async def find_tenant(self, name: str) -> tuple[UUID, UUID] | None:
        """The tenant called `name` and its first project."""
        async with self.database.connection() as connection:
            row = await (await connection.execute(_TENANT, (name,))).fetchone()
        return None if row is None else (row[0], row[1])
