"""The aggregates in PostgreSQL."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from cognitionos.platform.unit_of_work import UnitOfWork
from cognitionos.tenancy.domain.api_key import ApiKey, ApiKeyNotFound
from cognitionos.tenancy.domain.tenant import NameTaken, Project, ProjectNotFound, Tenant
from cognitionos.tenancy.infrastructure.tables import api_keys


class SqlTenants:
    """Tenants and projects."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, tenant: Tenant, project: Project) -> None:
        """Store both. Raises `NameTaken`."""
        self._session.add(tenant)
        await self._flush(tenant.name)
        self._session.add(project)
        await self._flush(project.name)

    async def add_project(self, project: Project) -> None:
        """Store it. Raises `NameTaken`."""
        self._session.add(project)
        await self._flush(project.name)

    async def project(self, project_id: UUID) -> Project:
        """The project. Raises `ProjectNotFound`."""
        found = await self._session.get(Project, project_id)
        if found is None:
            raise ProjectNotFound(f"There is no project {project_id}.", fields={"project_id": "is not yours"})
        return found

    async def _flush(self, name: str) -> None:
        try:
            await self._session.flush()
        except IntegrityError as error:
            raise NameTaken(f"The name '{name}' is taken.", fields={"name": "is taken; choose another"}) from error


class SqlApiKeys:
    """A tenant's keys."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, key: ApiKey) -> None:
        """Store it."""
        self._session.add(key)
        await self._session.flush()

    async def get(self, key_id: UUID) -> ApiKey:
        """The key, locked for the unit of work. Raises `ApiKeyNotFound`."""
        statement = select(ApiKey).where(api_keys.c.id == key_id).with_for_update()
        found = (await self._session.execute(statement)).scalar_one_or_none()
        if found is None:
            raise ApiKeyNotFound(f"There is no key {key_id}.")
        return found


class TenancyWork(UnitOfWork):
    """A unit of work of this context."""

    def __init__(self, session: AsyncSession) -> None:
        super().__init__(session)
        self.tenants = SqlTenants(session)
        self.api_keys = SqlApiKeys(session)
