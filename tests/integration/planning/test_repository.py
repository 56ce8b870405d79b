"""Goals and runs, stored and read again: every field comes back as the type it had."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.fakes.planning_engine import Bench, a_principal

from cognitionos.kernel.ids import new_id
from cognitionos.planning.domain.goal import Goal, GoalNotFound
from cognitionos.planning.domain.graph import InvalidGraph
from cognitionos.planning.domain.run import Run, RunNotFound, RunStatus
from cognitionos.planning.domain.task import TaskSpec
from cognitionos.planning.infrastructure.repository import PlanningWork
from cognitionos.platform.unit_of_work import units_of_work

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def a_goal(**changes: Any) -> Goal:
    given: dict[str, Any] = {
        "id": new_id(),
        "tenant_id": new_id(),
        "project_id": new_id(),
        "api_key_id": new_id(),
        "user": "somebody",
        "title": "Title",
        "statement": "Statement",
        "budget_nanousd": 1,
        "run_id": new_id(),
        "created_at": NOON,
        "status": RunStatus.FAILED,
        "result_text": "text",
        "error": {"type": "/problems/x", "title": "X", "detail": "x"},
        "finished_at": NOON,
    }
    return Goal(**{**given, **changes})


def fields_of(aggregate: object) -> dict[str, tuple[type, Any]]:
    return {name: (type(value), value) for name, value in vars(aggregate).items() if not name.startswith("_")}


def begin(bench: Bench) -> Any:
    return units_of_work(PlanningWork, database=bench.base.database, bus=bench.base.bus, relay=bench.base.outbox)


async def test_a_goal_comes_back_as_it_was(bench: Bench) -> None:
    goal = a_goal()
    before = fields_of(goal)
    async with begin(bench)(goal.tenant_id) as work:
        work.goals.add(goal)

    async with begin(bench)(goal.tenant_id) as work:
        again = await work.goals.get(goal.id)
        assert again is not goal
        assert fields_of(again) == before


async def test_a_run_comes_back_as_it_was_with_its_first_event_counted(bench: Bench) -> None:
    who = a_principal()
    run_id = await bench.runs.start(who, [TaskSpec(key="t1", kind="step")])

    async with begin(bench)(who.tenant_id) as work:
        run = await work.runs.locked(run_id)

    assert (type(run), run.status, run.total_tasks, run.open_tasks, run.last_seq) == (Run, RunStatus.QUEUED, 1, 1, 1)
    assert run.status is RunStatus.QUEUED


async def test_what_is_not_there_is_named(bench: Bench) -> None:
    with pytest.raises(GoalNotFound):
        async with begin(bench)(new_id()) as work:
            await work.goals.get(new_id())
    with pytest.raises(RunNotFound):
        async with begin(bench)(new_id()) as work:
            await work.runs.locked(new_id())


async def test_a_graph_that_goes_round_leaves_nothing_behind(bench: Bench) -> None:
    who = a_principal()

    with pytest.raises(InvalidGraph):
        await bench.runs.start(
            who,
            [TaskSpec(key="a", kind="step", depends_on=("b",)), TaskSpec(key="b", kind="step", depends_on=("a",))],
        )

    assert await bench.rows(who.tenant_id, "SELECT 1 FROM runs") == []
