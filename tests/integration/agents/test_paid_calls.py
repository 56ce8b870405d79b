"""Agents over the real gateway and a strict OpenAI-compatible server: conversations it accepts, money that adds up."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from tests.conftest import Run
from tests.fakes.agents_bench import an_assignment
from tests.upstream import Say, Upstream, running_upstream

from cognitionos.agents.facade import Assignment
from cognitionos.composition import Services, build
from cognitionos.llm_gateway.facade import BudgetExhausted, ProviderUnavailable
from cognitionos.platform.config import Settings


@dataclass
class Paid:
    """The product's services with a priced model behind them."""

    services: Services
    upstream: Upstream

    async def perform(self, assignment: Assignment, *says: Say) -> Any:
        """The outcome when the model says `says`."""
        self.upstream.reset()
        self.upstream.then(*says)
        return await self.services.agents.agents.perform(assignment)

    async def agent_run(self, assignment: Assignment) -> tuple[UUID, str, int]:
        """The agent run's id, status and cost by its own row."""
        async with self.services.base.database.transaction(assignment.tenant_id) as connection:
            query = "SELECT id, status, cost_nanousd FROM agent_runs WHERE task_id = %s"
            row = await (await connection.execute(query, (assignment.task_id,))).fetchone()
        assert row is not None
        return row[0], row[1], row[2]


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Paid]:
    async with running_upstream() as upstream:
        given = {"openai_api_key": "upstream-key", "openai_base_url": upstream.base_url, "model": "gpt-4o-mini"}
        services = build(Settings(**{**settings.model_dump(), **given}))
        await services.open()
        try:
            yield Paid(services, upstream)
        finally:
            await services.close()


@pytest.fixture(scope="module")
def paid(settings: Settings, run: Run) -> Iterator[Paid]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(opened(settings)))
    run(stack.aclose())


def asks_for(tool: str, **arguments: Any) -> Say:
    """An answer that calls a tool."""
    call = {"id": "call_1", "type": "function", "function": {"name": tool, "arguments": json.dumps(arguments)}}
    return Say(tool_calls=[call])


def judges(*reasons: str) -> Say:
    return Say(text=json.dumps({"accepted": not reasons, "reasons": list(reasons)}))


async def test_a_reviewed_task_is_a_conversation_that_a_strict_server_accepts(paid: Paid) -> None:
    outcome = await paid.perform(
        an_assignment(review=True),
        asks_for("write_file", name="answer.md", text="41"),
        Say(text="It is 41."),
        judges("21 times 2 is 42"),
        Say(text=""),
        asks_for("write_file", name="answer.md", text="42"),
        Say(text="It is 42."),
        judges(),
    )

    assert (outcome.text, outcome.rounds, outcome.simulated) == ("It is 42.", 2, False)
    assert outcome.model == "openai/gpt-4o-mini"
    assert [file.name for file in outcome.artifacts] == ["answer.md"]
    assert len(paid.upstream.calls) == 7
    for call in paid.upstream.calls:
        roles = [message["role"] for message in call["messages"]]
        assert all(before != after or after == "tool" for before, after in pairwise(roles))


async def test_the_agent_run_s_cost_is_what_the_ledger_says(paid: Paid) -> None:
    assignment = an_assignment()

    outcome = await paid.perform(assignment, asks_for("list_files"), Say(text="No files."))

    agent_run_id, status, cost = await paid.agent_run(assignment)
    spend = await paid.services.llm_gateway.gateway.spent(assignment.tenant_id, f"agent_run:{agent_run_id}")
    assert status == "succeeded"
    assert outcome.cost_nanousd == cost == spend.spent_nanousd > 0
    assert (spend.limit_nanousd, spend.held_nanousd, spend.calls) == (1_000_000_000, 0, 2)


async def test_a_goal_s_budget_stops_its_agent_before_the_next_call(paid: Paid) -> None:
    assignment = an_assignment()
    gateway = paid.services.llm_gateway.gateway
    await gateway.open_budget(assignment.tenant_id, f"goal:{assignment.goal_id}", 1)

    with pytest.raises(BudgetExhausted) as refused:
        await paid.perform(assignment, Say(text="never said"))

    assert refused.value.subject == f"goal:{assignment.goal_id}"
    assert paid.upstream.calls == []
    assert (await paid.agent_run(assignment))[1] == "failed"


async def test_a_provider_that_is_gone_leaves_the_task_to_be_taken_up_again(paid: Paid) -> None:
    assignment = an_assignment()
    with pytest.raises(ProviderUnavailable):
        await paid.perform(assignment, asks_for("list_files"), *[Say(status=500) for _ in range(10)])

    outcome = await paid.perform(assignment, Say(text="No files."))

    assert outcome.text == "No files."
    assert len(paid.upstream.calls) == 1
