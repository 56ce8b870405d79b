"""What the use cases need from outside. The in-memory twins are in `tests/fakes/tenancy.py`."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cognitionos.kernel.event import Event
from cognitionos.kernel.principal import Permission
from cognitionos.tenancy.domain.api_key import ApiKey
from cognitionos.tenancy.domain.tenant import Project, Tenant


class TenantRepository(Protocol):
    """Tenants and their projects."""

    async def add(self, tenant: Tenant, project: Project) -> None:
        """Store both. Raises `NameTaken`."""
        ...

    async def add_project(self, project: Project) -> None:
        """Store it. Raises `NameTaken`."""
        ...

    async def project(self, project_id: UUID) -> Project:
        """The project. Raises `ProjectNotFound`."""
        ...


class ApiKeyRepository(Protocol):
    """A tenant's keys."""

    async def add(self, key: ApiKey) -> None:
        """Store it."""
        ...

    async def get(self, key_id: UUID) -> ApiKey:
        """The key, locked for the unit of work. Raises `ApiKeyNotFound`."""
        ...


class Work(Protocol):
    """One unit of work of one tenant."""

    @property
    def tenants(self) -> TenantRepository: ...
    @property
    def api_keys(self) -> ApiKeyRepository: ...
    def publish(self, *events: Event) -> None: ...


Begin = Callable[[UUID], AbstractAsyncContextManager[Work]]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """What authentication reads of a key."""

    id: UUID
    tenant_id: UUID
    project_id: UUID
    secret_hash: bytes
    scopes: frozenset[Permission]
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


FindKey = Callable[[str], Awaitable[KnownKey | None]]
"""The key with a prefix, whoever's it is."""

NoteUse = Callable[[KnownKey, bytes], Awaitable[None]]
"""Write down that the key was used now, and the hash that it is known by."""
