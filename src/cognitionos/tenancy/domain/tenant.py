"""A tenant is a customer, whose data no other sees; a project is a part of its work, with keys and goals of its own."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cognitionos.events.tenancy import ProjectCreated, TenantCreated
from cognitionos.kernel.errors import Conflict, Invalid, NotFound
from cognitionos.kernel.event import Event

LONGEST_NAME = 200
FIRST_PROJECT = "default"


class NameTaken(Conflict):
    """Another tenant (or another project of this tenant) has that name."""


class NameInvalid(Invalid):
    """A name is 1 to 200 printable characters without space at its ends."""


class ProjectNotFound(NotFound):
    """The tenant has no project with that id."""


class TenantNotFound(NotFound):
    """There is no tenant with that name."""


@dataclass(eq=False, kw_only=True)
class Tenant:
    """A customer."""

    id: UUID
    name: str
    created_at: datetime


@dataclass(eq=False, kw_only=True)
class Project:
    """A part of a tenant's work."""

    id: UUID
    tenant_id: UUID
    name: str
    created_at: datetime


def open_tenant(name: str, *, tenant_id: UUID, project_id: UUID, now: datetime) -> tuple[Tenant, Project, list[Event]]:
    """A new tenant with its first project. Raises `NameInvalid`."""
    tenant = Tenant(id=tenant_id, name=valid_name(name), created_at=now)
    project = Project(id=project_id, tenant_id=tenant_id, name=FIRST_PROJECT, created_at=now)
    return tenant, project, [TenantCreated(tenant_id=tenant_id, at=now, name=tenant.name, project_id=project_id)]


def start_project(name: str, *, tenant_id: UUID, project_id: UUID, now: datetime) -> tuple[Project, list[Event]]:
    """One more project of a tenant. Raises `NameInvalid`."""
    project = Project(id=project_id, tenant_id=tenant_id, name=valid_name(name), created_at=now)
    return project, [ProjectCreated(tenant_id=tenant_id, at=now, project_id=project_id, name=project.name)]


def valid_name(name: str) -> str:
    """`name`, if it may be one; raises `NameInvalid`."""
    if not name or len(name) > LONGEST_NAME or name != name.strip() or not name.isprintable():
        message = f"must be 1 to {LONGEST_NAME} printable characters without space at the ends"
        raise NameInvalid(f"The name {message}.", fields={"name": message})
    return name
