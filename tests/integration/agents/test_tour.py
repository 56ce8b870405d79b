"""The tour of docs/examples on the real product: only the model's words are simulated.

Planner, engine, sandbox, files, critic, memory and database are those of the product; a changed figure in the file
changes the result.
"""

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Run
from tests.fakes.planning_engine import a_principal, running_loops
from tests.servers import TestDatabase
from tests.waiting import eventually

from cognitionos.agents.infrastructure.queries import StepView
from cognitionos.composition import Services, build
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.goals import Submission
from cognitionos.planning.infrastructure.views import GoalView
from cognitionos.platform.config import Settings

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"
SUPPLIERS = (EXAMPLES / "suppliers.csv").read_text()
COMPARE = "Compare the three suppliers in docs/examples/suppliers.csv and write a one-page recommendation"
NEGOTIATE = "Draft the negotiation points for our preferred supplier"
FINAL = {"succeeded", "failed", "cancelled"}


@dataclass
class Product:
    """The services, with one worker's loops running."""

    services: Services

    async def done(self, who: Principal, statement: str, *, csv: str | None = None) -> GoalView:
        """A goal, to its end, and what it left for the subscribers delivered."""
        inputs = [] if csv is None else [("suppliers.csv", "text/csv", base64.b64encode(csv.encode()).decode())]
        goal = await self.services.planning.goals.submit(who, Submission(statement=statement, inputs=inputs))

        async def ended() -> GoalView | None:
            view = await self.services.planning.queries.goal(who.tenant_id, goal.id)
            return view if view.status in FINAL else None

        view = await eventually(ended, timeout_s=50)
        assert view is not None
        await self._deliver(who)
        return view

    async def steps(self, who: Principal, goal: GoalView) -> list[StepView]:
        """The journal of the goal's run."""
        return await self.services.agents.queries.steps(who.tenant_id, goal.run_id, limit=200, after=None)

    async def text(self, who: Principal, goal: GoalView, name: str) -> str:
        """A file of the goal's run."""
        return (await self.services.agents.agents.read_file(who.tenant_id, goal.run_id, name))[1].decode()

    async def _deliver(self, who: Principal) -> None:
        base = self.services.base
        async with base.database.transaction(who.tenant_id) as connection:
            rows = await (await connection.execute("SELECT id FROM outbox")).fetchall()
        for row in rows:
            await base.outbox.deliver(row[0], who.tenant_id)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Product]:
    services = build(settings)
    await services.open()
    try:
        async with running_loops(*services.planning.background):
            yield Product(services)
    finally:
        await services.close()


@pytest.fixture(scope="module")
def product(settings: Settings, run: Run) -> Iterator[Product]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(opened(settings)))
    run(stack.aclose())


def verdicts(steps: list[StepView]) -> list[Any]:
    """What the critic said, in order."""
    return [step.text for step in steps if step.kind == "verdict"]


async def test_the_first_example_computes_from_the_file_and_the_second_recalls_it(product: Product) -> None:
    who = a_principal()

    goal = await product.done(who, COMPARE, csv=SUPPLIERS)

    assert (goal.status, goal.error, goal.simulated) == ("succeeded", None, True)
    assert goal.plan is not None
    assert [task.depends_on for task in goal.plan] == [[], [], ["t1", "t2"], ["t3"]]
    assert goal.result is not None
    assert "Choose Nordwind Components" in goal.result.text
    assert "$4.337" in goal.result.text
    assert {each.name for each in goal.result.artifacts} >= {"recommendation.md", "comparison.csv"}
    assert "## Risk" in await product.text(who, goal, "recommendation.md")
    steps = await product.steps(who, goal)
    assert len(verdicts(steps)) == 2
    assert '"accepted": false' in verdicts(steps)[0]
    assert {step.call.outcome for step in steps if step.call is not None} == {"ok"}
    await the_second_goal_recalls_the_first(product, who)


async def the_second_goal_recalls_the_first(product: Product, who: Principal) -> None:
    goal = await product.done(who, NEGOTIATE)

    assert goal.status == "succeeded", goal.error
    assert goal.result is not None
    assert "Negotiation points for Nordwind Components, from memory" in goal.result.text
    assert "$4.337" in goal.result.text
    assert [each.name for each in goal.result.artifacts] == ["negotiation.md"]
    calls = [step.call.tool for step in await product.steps(who, goal) if step.call is not None]
    assert calls[0] == "recall"
    assert sorted(calls[1:]) == ["remember", "write_file"]


async def test_another_figure_in_the_file_gives_another_result(product: Product) -> None:
    dearer = SUPPLIERS.replace("Nordwind Components,4.10", "Nordwind Components,9.10")

    goal = await product.done(a_principal(), COMPARE, csv=dearer)

    assert goal.result is not None
    assert "Choose Halden Parts" in goal.result.text
    assert "Nordwind Components (0.709)" in goal.result.text


async def test_without_the_file_the_tour_says_that_nothing_could_be_computed(product: Product) -> None:
    goal = await product.done(a_principal(), COMPARE)

    assert goal.result is not None
    assert "could not be worked out" in goal.result.text
    assert "Choose" not in goal.result.text


async def test_the_second_example_without_the_first_says_that_memory_knows_nothing(product: Product) -> None:
    goal = await product.done(a_principal(), NEGOTIATE)

    assert goal.result is not None
    assert goal.result.text.startswith("Memory knows of no recommended supplier")


async def test_any_other_goal_gets_words_that_say_they_mean_nothing(product: Product) -> None:
    goal = await product.done(a_principal(), "Find the best name for a cat")

    assert goal.status == "succeeded"
    assert goal.result is not None
    assert "its words mean nothing" in goal.result.text


async def test_a_stranger_sees_no_step_of_the_run(product: Product, database: TestDatabase) -> None:
    goal = await product.done(a_principal(), "Name the cat")

    assert await product.steps(a_principal(), goal) == []
