"""What tenants say of models: their own providers, their routes, their roles' defaults. Rows, and the SQL for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import UUID

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cognitionos.llm_gateway.infrastructure.openai_provider import LimitField
from cognitionos.platform.database import Database
from cognitionos.platform.signals import Signals

CHANNEL = "llm_models"
Row = TypeVar("Row")
Kind = Literal["openai", "anthropic"]

_READ = """
SELECT json_build_object(
  'providers', COALESCE((SELECT json_agg(json_build_object(
      'name', name, 'kind', kind, 'base_url', base_url, 'sealed_key', encode(sealed_key, 'base64'), 'models', models,
      'free', free, 'recover_tool_calls', recover_tool_calls, 'limit_field', limit_field)
      ORDER BY name) FROM model_providers), '[]'),
  'routes', COALESCE((SELECT json_object_agg(name, candidates) FROM model_routes), '{}'),
  'defaults', COALESCE((SELECT json_object_agg(role, json_build_object(
      'temperature', temperature, 'max_tokens', max_tokens)) FROM model_role_defaults), '{}'))::text
"""
_PUT_PROVIDER = """
INSERT INTO model_providers (tenant_id, name, kind, base_url, sealed_key, models, free, recover_tool_calls, limit_field)
VALUES (%(tenant_id)s, %(name)s, %(kind)s, %(base_url)s, %(sealed_key)s, %(models)s, %(free)s, %(recover_tool_calls)s,
  %(limit_field)s)
ON CONFLICT (tenant_id, name) DO UPDATE SET kind = excluded.kind, base_url = excluded.base_url,
  sealed_key = excluded.sealed_key, models = excluded.models, free = excluded.free,
  recover_tool_calls = excluded.recover_tool_calls, limit_field = excluded.limit_field, changed_at = now()
RETURNING *
"""
_PUT_ROUTE = """
INSERT INTO model_routes (tenant_id, name, candidates) VALUES (%s, %s, %s)
ON CONFLICT (tenant_id, name) DO UPDATE SET candidates = excluded.candidates, changed_at = now() RETURNING *
"""
_PUT_DEFAULTS = """
INSERT INTO model_role_defaults (tenant_id, role, temperature, max_tokens) VALUES (%s, %s, %s, %s)
ON CONFLICT (tenant_id, role) DO UPDATE SET temperature = excluded.temperature, max_tokens = excluded.max_tokens,
  changed_at = now() RETURNING *
"""
_DELETE = {
    "provider": "DELETE FROM model_providers WHERE name = %s",
    "route": "DELETE FROM model_routes WHERE name = %s",
    "defaults": "DELETE FROM model_role_defaults WHERE role = %s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRow:
    """A tenant's provider as stored."""

    tenant_id: UUID
    name: str
    kind: Kind
    base_url: str
    sealed_key: bytes | None
    models: list[str]
    free: bool
    recover_tool_calls: bool
    limit_field: LimitField | None
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRow:
    """A tenant's route as stored: candidates in order, each `{"model", "weight"}`."""

    tenant_id: UUID
    name: str
    candidates: list[dict[str, Any]]
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultsRow:
    """A role's defaults as stored."""

    tenant_id: UUID
    role: str
    temperature: float | None
    max_tokens: int | None
    changed_at: datetime


class ReadProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as a process reads it."""

    name: str
    kind: Kind
    base_url: str
    sealed_key: str | None
    models: tuple[str, ...]
    free: bool
    recover_tool_calls: bool
    limit_field: LimitField | None = None


class ReadChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate of a route."""

    model: str
    weight: int | None = None


class ReadDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """A role's defaults."""

    temperature: float | None
    max_tokens: int | None


class ReadModels(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a tenant says, in one read."""

    providers: tuple[ReadProvider, ...]
    routes: dict[str, tuple[ReadChoice, ...]]
    defaults: dict[str, ReadDefaults]


class OwnModelsStore:
    """The three tables. Whatever is written here is told to every process (`CHANNEL`)."""

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals

    async def read(self, tenant_id: UUID) -> bytes:
        """Everything a tenant says, as the JSON text of a `ReadModels`: equal texts mean that nothing changed."""
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_READ)).fetchone()
        return str(row[0]).encode() if row else b"{}"

    async def providers(self, tenant_id: UUID, name: str | None = None) -> list[ProviderRow]:
        """The tenant's providers by name, or the one."""
        return await self._rows(ProviderRow, tenant_id, "model_providers", "name", name)

    async def routes(self, tenant_id: UUID, name: str | None = None) -> list[RouteRow]:
        """The tenant's routes by name, or the one."""
        return await self._rows(RouteRow, tenant_id, "model_routes", "name", name)

    async def defaults(self, tenant_id: UUID, role: str | None = None) -> list[DefaultsRow]:
        """The tenant's defaults by role, or those of the one."""
        return await self._rows(DefaultsRow, tenant_id, "model_role_defaults", "role", role)

    async def put_provider(self, tenant_id: UUID, values: Mapping[str, Any]) -> ProviderRow:
        """Make or replace a provider."""
        return await self._put(ProviderRow, tenant_id, _PUT_PROVIDER, {**values, "tenant_id": tenant_id})

    async def put_route(self, tenant_id: UUID, name: str, candidates: Sequence[Mapping[str, Any]]) -> RouteRow:
        """Make or replace a route."""
        return await self._put(RouteRow, tenant_id, _PUT_ROUTE, (tenant_id, name, Jsonb(list(candidates))))

    async def put_defaults(
        self, tenant_id: UUID, role: str, *, temperature: float | None, max_tokens: int | None
    ) -> DefaultsRow:
        """Make or replace a role's defaults."""
        return await self._put(DefaultsRow, tenant_id, _PUT_DEFAULTS, (tenant_id, role, temperature, max_tokens))

    async def delete(self, tenant_id: UUID, what: Literal["provider", "route", "defaults"], name: str) -> bool:
        """Take it away; says whether it was there."""
        async with self._database.transaction(tenant_id) as connection:
            was_there = (await connection.execute(_DELETE[what].encode(), (name,))).rowcount > 0
        if was_there:
            await self._signals.send(CHANNEL)
        return was_there

    async def _put(self, kind: type[Row], tenant_id: UUID, statement: Any, values: Any) -> Row:
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(kind))
            row = await (await cursor.execute(statement, values)).fetchone()
        await self._signals.send(CHANNEL)
        if row is None:
            raise RuntimeError("an INSERT with RETURNING gave no row")
        return row

    async def _rows(self, kind: Any, tenant_id: UUID, table: str, column: str, name: str | None) -> list[Any]:
        where = "" if name is None else f"WHERE {column} = %s"
        statement = f"SELECT * FROM {table} {where} ORDER BY {column}"  # noqa: S608 - both are words of ours
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(kind))
            return await (await cursor.execute(statement.encode(), None if name is None else (name,))).fetchall()
