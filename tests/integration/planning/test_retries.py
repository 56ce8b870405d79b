"""What a retry finds of a commit in which one task failed and others decided how the run goes on."""

from typing import Any

import pytest
from tests.fakes.planning_engine import Bench, a_principal

from cognitionos.planning.domain.step import Ended, Entry
from cognitionos.planning.domain.task import ClaimedTask, Expansion, Failed, Problem, Succeeded, TaskSpec

WRONG = Problem(type="/problems/wrong", title="Wrong", detail="it went wrong")


@pytest.fixture(autouse=True)
def nothing_left(bench: Bench, run: Any) -> None:
    async def hand_back() -> None:
        async with bench.base.database.connection() as connection:
            await connection.execute("SELECT hand_back_tasks('w')")

    run(hand_back())


def a_step(key: str, *after: str) -> TaskSpec:
    return TaskSpec(key=key, kind="step", depends_on=after)


def ended(task: ClaimedTask, *, plan: Expansion) -> Entry:
    """How a task ends that goes well: `c` chooses `yes`, `plan` brings its tasks about."""
    cut = frozenset({"no"}) if task.key == "c" else frozenset()
    expansion = plan if task.key == "plan" else None
    return Ended(task=task, outcome=Succeeded(output=task.key, skips=cut, expansion=expansion))


async def test_what_was_decided_beside_a_failure_is_decided_again(bench: Bench) -> None:
    who = a_principal()
    choice = TaskSpec(key="c", kind="condition", spec={"left": True, "then": ["yes"], "else": ["no"]})
    graph = [choice, a_step("fails"), a_step("plan"), a_step("yes", "c"), a_step("no", "c"), a_step("join", "no")]
    planned = Expansion(tasks=(a_step("t1"),), result_key="t1")
    run_id = await bench.runs.start(who, graph)
    first = {task.key: task for task in await bench.store.claim(worker="w", slots=10, lease_s=60)}
    failure = Ended(task=first["fails"], outcome=Failed(problem=WRONG))

    decided = [ended(first[key], plan=planned) for key in ("c", "plan")]
    await bench.store.record(who.tenant_id, "w", [*decided, failure])
    before = await bench.status(who, run_id)
    async with bench.runs.begin(who.tenant_id) as work:
        await work.runs.retry(await work.runs.locked(run_id), bench.base.now())
    ran: list[str] = []
    while claimed := await bench.store.claim(worker="w", slots=10, lease_s=60):
        ran += [task.key for task in claimed]
        await bench.store.record(who.tenant_id, "w", [ended(task, plan=planned) for task in claimed])
    skipped = await bench.rows(
        who.tenant_id, "SELECT key FROM tasks WHERE run_id = %s AND status = 'skipped' ORDER BY key", run_id
    )

    assert before == "failed"
    assert sorted(ran) == ["c", "fails", "plan", "t1", "yes"]
    assert skipped == [("join",), ("no",)]
    assert await bench.status(who, run_id) == "succeeded"
