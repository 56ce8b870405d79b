"""Where tenants, projects and keys live, and how the aggregates map to it."""

from typing import Any

from sqlalchemy import Column, DateTime, ForeignKey, LargeBinary, Table, Text, TypeDecorator, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import registry

from cognitionos.kernel.principal import Permission
from cognitionos.tenancy.domain.api_key import ApiKey
from cognitionos.tenancy.domain.tenant import Project, Tenant

mapper = registry()
_WORDS = frozenset(scope.value for scope in Permission)


class Scopes(TypeDecorator[frozenset[Permission]]):
    """A set of permissions as `text[]`; a word that this version does not know gives nothing."""

    impl = ARRAY(Text)
    cache_ok = True

    def process_bind_param(self, value: frozenset[Permission] | None, dialect: Any) -> list[str] | None:
        """Sorted, so that equal sets are stored alike."""
        return None if value is None else sorted(scope.value for scope in value)

    def process_result_value(self, value: list[str] | None, dialect: Any) -> frozenset[Permission] | None:
        """The set again."""
        return None if value is None else scopes_of(value)


def scopes_of(words: list[str]) -> frozenset[Permission]:
    """The permissions among `words`."""
    return frozenset(Permission(word) for word in words if word in _WORDS)


tenants = Table(
    "tenants",
    mapper.metadata,
    Column("tenant_id", Uuid, primary_key=True, key="id"),
    Column("name", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)
projects = Table(
    "projects",
    mapper.metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", ForeignKey(tenants.c.id), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)
api_keys = Table(
    "api_keys",
    mapper.metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", ForeignKey(tenants.c.id), nullable=False),
    Column("project_id", ForeignKey(projects.c.id), nullable=False),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("scopes", Scopes, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Uuid),
    Column("replaces", Uuid),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Column("last_used_at", DateTime(timezone=True)),
)

mapper.map_imperatively(Tenant, tenants)
mapper.map_imperatively(Project, projects)
mapper.map_imperatively(ApiKey, api_keys)
