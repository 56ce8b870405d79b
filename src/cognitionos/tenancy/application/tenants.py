"""Tenants and projects."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.principal import Principal
from cognitionos.tenancy.application.ports import Begin
from cognitionos.tenancy.domain.tenant import Project, Tenant, open_tenant, start_project


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """Makes tenants (the operator does) and projects (their administrators do)."""

    begin: Begin
    now: Clock
    new_id: Callable[[], UUID]

    async def create(self, name: str) -> tuple[Tenant, Project]:
        """A tenant with its first project. Raises `NameTaken`, `NameInvalid`."""
        tenant, project, events = open_tenant(name, tenant_id=self.new_id(), project_id=self.new_id(), now=self.now())
        async with self.begin(tenant.id) as work:
            await work.tenants.add(tenant, project)
            work.publish(*events)
        return tenant, project

    async def create_project(self, who: Principal, name: str) -> Project:
        """One more project of the caller's tenant. Raises `NameTaken`, `NameInvalid`."""
        project, events = start_project(name, tenant_id=who.tenant_id, project_id=self.new_id(), now=self.now())
        async with self.begin(who.tenant_id) as work:
            await work.tenants.add_project(project)
            work.publish(*events)
        return project
