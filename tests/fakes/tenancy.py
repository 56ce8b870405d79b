"""Tenancy's ports in memory. They pass the same suite as PostgreSQL (`tests/integration/tenancy/test_ports.py`)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from cognitionos.kernel.event import Event
from cognitionos.tenancy.application.ports import Work
from cognitionos.tenancy.domain.api_key import ApiKey, ApiKeyNotFound
from cognitionos.tenancy.domain.tenant import NameTaken, Project, ProjectNotFound, Tenant


@dataclass
class TenancyInMemory:
    """Every tenant's rows; a unit of work sees those of its tenant."""

    tenants: dict[UUID, Tenant] = field(default_factory=dict)
    projects: dict[UUID, Project] = field(default_factory=dict)
    keys: dict[UUID, ApiKey] = field(default_factory=dict)
    published: list[Event] = field(default_factory=list)

    @asynccontextmanager
    async def begin(self, tenant_id: UUID) -> AsyncIterator[Work]:
        work = _Work(_Tenants(self, tenant_id), _Keys(self, tenant_id))
        yield work
        self.published.extend(work.events)


@dataclass
class _Work:
    tenants: "_Tenants"
    api_keys: "_Keys"
    events: list[Event] = field(default_factory=list)

    def publish(self, *events: Event) -> None:
        self.events.extend(events)


@dataclass
class _Tenants:
    store: TenancyInMemory
    tenant_id: UUID

    async def add(self, tenant: Tenant, project: Project) -> None:
        if any(each.name.lower() == tenant.name.lower() for each in self.store.tenants.values()):
            raise NameTaken(f"The name '{tenant.name}' is taken.")
        self.store.tenants[tenant.id] = tenant
        await self.add_project(project)

    async def add_project(self, project: Project) -> None:
        same = (each for each in self.store.projects.values() if each.tenant_id == project.tenant_id)
        if any(each.name == project.name for each in same):
            raise NameTaken(f"The name '{project.name}' is taken.")
        self.store.projects[project.id] = project

    async def project(self, project_id: UUID) -> Project:
        found = self.store.projects.get(project_id)
        if found is None or found.tenant_id != self.tenant_id:
            raise ProjectNotFound(f"There is no project {project_id}.")
        return found


@dataclass
class _Keys:
    store: TenancyInMemory
    tenant_id: UUID

    async def add(self, key: ApiKey) -> None:
        self.store.keys[key.id] = key

    async def get(self, key_id: UUID) -> ApiKey:
        found = self.store.keys.get(key_id)
        if found is None or found.tenant_id != self.tenant_id:
            raise ApiKeyNotFound(f"There is no key {key_id}.")
        return found
