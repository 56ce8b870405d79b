"""One suite for tenancy's ports: PostgreSQL and the in-memory twin answer alike."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from tests.conftest import Run
from tests.edge import tenancy_services
from tests.fakes.tenancy import TenancyInMemory

from cognitionos.kernel.ids import new_id
from cognitionos.kernel.principal import Permission
from cognitionos.platform.config import Settings
from cognitionos.tenancy.application.ports import Begin
from cognitionos.tenancy.domain.api_key import ApiKeyNotFound, KeyText, issue
from cognitionos.tenancy.domain.tenant import NameTaken, Project, ProjectNotFound, Tenant, open_tenant, start_project

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(scope="module", params=["postgresql", "memory"])
def begin(request: pytest.FixtureRequest, settings: Settings, run: Run) -> AsyncIterator[Begin]:
    if request.param == "memory":
        yield TenancyInMemory().begin
        return
    stack = AsyncExitStack()
    services = run(stack.enter_async_context(tenancy_services(settings)))
    yield services.tenants.begin
    run(stack.aclose())


async def a_tenant(begin: Begin) -> tuple[Tenant, Project]:
    tenant, project, _ = open_tenant(uuid4().hex, tenant_id=new_id(), project_id=new_id(), now=NOW)
    async with begin(tenant.id) as work:
        await work.tenants.add(tenant, project)
    return tenant, project


async def test_a_tenant_name_is_taken_whatever_its_case(begin: Begin) -> None:
    tenant, _ = await a_tenant(begin)
    double, project, _ = open_tenant(tenant.name.upper(), tenant_id=new_id(), project_id=new_id(), now=NOW)

    with pytest.raises(NameTaken):
        async with begin(double.id) as work:
            await work.tenants.add(double, project)


async def test_two_projects_of_a_tenant_differ_in_name_and_two_tenants_may_share_one(begin: Begin) -> None:
    one, _ = await a_tenant(begin)
    await a_tenant(begin)  # it has a project 'default' too
    double, _ = start_project("default", tenant_id=one.id, project_id=new_id(), now=NOW)

    with pytest.raises(NameTaken):
        async with begin(one.id) as work:
            await work.tenants.add_project(double)


async def test_another_tenant_s_project_is_not_found(begin: Begin) -> None:
    one, _ = await a_tenant(begin)
    _, theirs = await a_tenant(begin)

    async with begin(one.id) as work:
        with pytest.raises(ProjectNotFound):
            await work.tenants.project(theirs.id)


async def test_a_key_comes_back_with_the_types_it_had_and_only_for_its_tenant(begin: Begin) -> None:
    tenant, project = await a_tenant(begin)
    other, _ = await a_tenant(begin)
    key, _ = issue(
        KeyText.generate(lambda _: uuid4().bytes * 2),
        key_id=new_id(),
        tenant_id=tenant.id,
        project_id=project.id,
        name="ci",
        scopes=frozenset({Permission.GOALS_READ, Permission.KEYS_ADMIN}),
        digest=str.encode,
        now=NOW,
        created_by=new_id(),
        expires_at=NOW.replace(year=2030),
    )
    stored = dict(vars(key))
    async with begin(tenant.id) as work:
        await work.api_keys.add(key)

    async with begin(tenant.id) as work:
        found = await work.api_keys.get(key.id)
    for name in [each for each in stored if not each.startswith("_")]:
        assert getattr(found, name) == stored[name], name
        assert type(getattr(found, name)) is type(stored[name]), name
    assert all(type(scope) is Permission for scope in found.scopes)
    async with begin(other.id) as work:
        with pytest.raises(ApiKeyNotFound):
            await work.api_keys.get(key.id)


async def test_what_a_unit_of_work_changes_is_there_in_the_next(begin: Begin) -> None:
    tenant, project = await a_tenant(begin)
    key, _ = issue(
        KeyText.generate(lambda _: uuid4().bytes * 2),
        key_id=new_id(),
        tenant_id=tenant.id,
        project_id=project.id,
        name="ci",
        scopes=frozenset({Permission.GOALS_READ}),
        digest=str.encode,
        now=NOW,
    )
    async with begin(tenant.id) as work:
        await work.api_keys.add(key)

    async with begin(tenant.id) as work:
        (await work.api_keys.get(key.id)).revoke(NOW)

    async with begin(tenant.id) as work:
        assert (await work.api_keys.get(key.id)).revoked_at == NOW
