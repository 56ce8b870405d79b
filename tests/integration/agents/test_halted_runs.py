"""Agents near the end of a budget, over the real gateway: halted unless their run is critical; workflows pay too."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg
import pytest
from tests.conftest import Run, TestDatabase
from tests.fakes.agents_bench import an_assignment
from tests.upstream import running_upstream

from cognitionos.agents.facade import Assignment
from cognitionos.composition import Services, build
from cognitionos.llm_gateway.domain.budget import Period
from cognitionos.llm_gateway.facade import BudgetHalted
from cognitionos.platform.config import Settings


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Services]:
    async with running_upstream() as upstream:
        given = {"openai_api_key": "upstream-key", "openai_base_url": upstream.base_url, "model": "gpt-4o-mini"}
        services = build(Settings(**{**settings.model_dump(), **given}))
        await services.open()
        try:
            yield services
        finally:
            await services.close()


@pytest.fixture(scope="module")
def services(settings: Settings, run: Run) -> Iterator[Services]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(opened(settings)))
    run(stack.aclose())


async def nearly_spent(services: Services, assignment: Assignment, database: TestDatabase) -> str:
    """Open a budget of a dollar on the assignment's workflow, of which 95 cents are gone."""
    subject = f"workflow:{assignment.workflow}"
    await services.llm_gateway.budgets.open(assignment.tenant_id, subject, limit_nanousd=10**9, period=Period.TOTAL)
    with psycopg.connect(database.admin_url) as admin:
        admin.execute(
            "UPDATE budgets SET spent_nanousd = 950000000 WHERE tenant_id = %s AND subject = %s",
            [assignment.tenant_id, subject],
        )
    return subject


async def test_a_run_of_a_workflow_halts_near_the_end_of_its_workflows_budget(
    services: Services, database: TestDatabase
) -> None:
    assignment = an_assignment(workflow="nightly")
    subject = await nearly_spent(services, assignment, database)

    with pytest.raises(BudgetHalted) as halted:
        await services.agents.agents.perform(assignment)

    assert halted.value.subject == subject
    assert "raise its limit" in halted.value.detail


async def test_a_critical_run_goes_on_and_its_workflow_pays(services: Services, database: TestDatabase) -> None:
    assignment = an_assignment(workflow="nightly", critical=True)
    subject = await nearly_spent(services, assignment, database)

    await services.agents.agents.perform(assignment)

    spend = await services.llm_gateway.gateway.spent(assignment.tenant_id, subject)
    assert spend.calls == 1
    assert spend.spent_nanousd > 950_000_000
